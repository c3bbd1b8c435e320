/**
 * The task `guard.arm`. The order is the point: directory, program and snapshot durable; `armed` durable; the timer confirmed
 * by systemd; only then may the next task change a file.
 */
import { areaById } from '../catalog/areas.ts'
import { asFault, Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import { close } from '../host/libc.ts'
import type { PlaceTree } from '../host/place.ts'
import type { PathAction } from '../host/put-in-place.ts'
import { saveBefore } from '../host/snapshot.ts'
import { toByteString } from '../host/tree.ts'
import { guardPath } from './forbidden.ts'
import { areaHostOf, bootUnit, rollbackUnit, timerUnit, withGuardTrees } from './host.ts'
import { observe } from './observe.ts'
import type { Addresses, GuardDirectory, GuardRecord, Way } from './record.ts'
import { rollBackNow } from './fire.ts'
import { sweepTemporaries } from './sweep.ts'
import { diagnosticsOf, guardFor, type GuardHost, type GuardParams, paramsOf, preparedOf } from './tasks.ts'

export function guardArm(host: GuardHost): TaskKind<Json> {
    return {
        kind: 'guard.arm',
        async do(given, context) {
            const params = paramsOf(given)
            const prepared = preparedOf(params, context)
            if (!prepared.apply) return undefined
            const guard = guardFor(host, params, context)
            const { ways, addresses } = prepared
            await arm(host, guard, { ...params, change: context.change, ways, addresses }, context)
            return { guard: guard.id }
        },
        async undo(given, context) {
            const params = paramsOf(given)
            const guard = guardFor(host, params, context)
            if (guard.armed() !== undefined) await rollBackNow(host, guard, context)
            else if (isEmpty(guard)) guard.removeAll()
            else guard.tidy()
            sweepTemporaries(host.disk, diagnosticsOf(context, params.area))
        },
    }
}

/** One that never came to be armed has nothing to tell. */
const isEmpty = (guard: GuardDirectory): boolean =>
    guard.applied() === undefined && guard.executed() === undefined && guard.confirmed() === undefined

export interface ArmWish {
    change: string
    area: GuardParams['area']
    actions: PathAction[]
    timeoutMs: number
    ways: Way[]
    addresses: Addresses
}

/** Resolves when the guard is armed and its timer runs; throws when it is not, and then nothing is armed. */
export async function arm(
    host: GuardHost,
    guard: GuardDirectory,
    wish: ArmWish,
    context: TaskContext,
): Promise<void> {
    const { clock, disk, systemd } = host
    const area = areaById(wish.area)
    const cannot = (why: string, hint: string) =>
        new Fault('failed', `cannot arm the guard: ${why}`, { hint })
    for (const unit of [rollbackUnit(guard.id), bootUnit]) {
        const { load } = await systemd.unitState(unit)
        if (load !== 'loaded')
            throw cannot(`systemd does not know ${unit} (${load})`, 'install the package again')
    }
    const paths = pathsOf(wish.actions, [...area.always, ...area.sweeps])
    // An arming that a crash cut short has left what it had: never half a guard that is armed, never two timers.
    guard.remove('armed')
    await systemd.stop(timerUnit(guard.id))
    guard.removeAll()
    disk.mkdir(guard.path, 0o700)
    await withGuardTrees(host, guard, async (live, own) => {
        await saveBefore(paths, live, own, 'snapshot', { signal: context.signal })
        host.keepProgram(guard.file('proxsave'))
        const record: GuardRecord = {
            version: 1,
            id: guard.id,
            change: wish.change,
            area: wish.area,
            created: new Date(clock.nowMs()).toISOString(),
            place: 'host',
            actions: wish.actions,
            sweeps: area.sweeps.map(directory => ({
                directory,
                names: live.names(toByteString(directory.slice(1))),
            })),
            ways: wish.ways,
            addresses: wish.addresses,
            diagnostics: diagnosticsOf(context, wish.area),
            timeoutMs: wish.timeoutMs,
        }
        guard.write('guard.json', record)
        disk.mkdir(record.diagnostics, 0o700)
        // For reading: what was going to be done, in the words of the guard.
        disk.replace(
            `${record.diagnostics}/plan.json`,
            Buffer.from(`${JSON.stringify(record, undefined, 4)}\n`),
            0o600,
        )
        keepOriginals(live, own, wish.actions)
    })
    const code = host.areas[wish.area]
    const to = { disk, directory: diagnosticsOf(context, wish.area), addresses: wish.addresses }
    await observe(code, areaHostOf(host), to, 'before')
    context.signal.throwIfAborted()
    try {
        guard.write('armed', { boot: clock.bootId(), deadlineMs: clock.bootMs() + wish.timeoutMs })
        await systemd.startTransientTimer({
            unit: rollbackUnit(guard.id),
            description: `proxsave: roll back ${area.phrase} unless it is confirmed`,
            afterMs: wish.timeoutMs,
        })
    } catch (error) {
        // Nothing was changed yet: there is nothing to roll back.
        guard.remove('armed')
        const fault = asFault(error)
        throw cannot(fault.message, fault.hint ?? 'systemctl status; nothing was changed')
    }
    context.log(
        `armed: the old state returns in ${Math.round(wish.timeoutMs / 1000)} s unless it is confirmed`,
    )
}

function pathsOf(actions: readonly PathAction[], always: readonly string[]): string[] {
    const paths = new Set(actions.map(({ path }) => guardPath(path)))
    for (const path of always) paths.add(toByteString(path.slice(1)))
    return [...paths]
}

/** Made for the eyes of a person at a console without this program: plain copies under their own names. */
function keepOriginals(live: PlaceTree, own: PlaceTree, actions: readonly PathAction[]): void {
    own.makeDirectory('old-files')
    for (const { path } of actions) {
        const found = live.look(path)
        if (found?.type !== 'file') continue
        const name = path.replaceAll('/', '_').slice(-200)
        own.remove(`old-files/${name}`)
        const fd = live.openFile(path)
        try {
            own.writeFile(`old-files/${name}`, fd, found)
        } finally {
            close(fd)
        }
    }
    own.settle()
}
