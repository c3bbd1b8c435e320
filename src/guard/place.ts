/** Puts the files of an armed guard in place, and has the live system load them. A rollback that begins meanwhile wins. */
import { areaById } from '../catalog/areas.ts'
import { asFault, Fault } from '../core/errors.ts'
import type { TaskContext } from '../engine/kinds.ts'
import type { Lock } from '../engine/lock.ts'
import { findProgram } from '../host/exec.ts'
import { PlaceTree } from '../host/place.ts'
import { arrange, checkPlaces, type PathAction, putInPlace } from '../host/put-in-place.ts'
import { Snapshot } from '../host/snapshot.ts'
import { writeAfter } from './edited.ts'
import { applyUnit, areaHostOf, withGuardTrees } from './host.ts'
import { runWays } from './load.ts'
import { observe } from './observe.ts'
import type { GuardDirectory, Way } from './record.ts'
import { type AppliedResult, diagnosticsOf, type GuardHost, rolledBack } from './tasks.ts'

/** How long (ms) to wait for whoever holds the lock: a rollback that has begun wins. */
const lockMs = 5_000

/** Puts the staged entries in place under the lock. Throws when the guard is not armed any more. */
export async function placeGuarded(
    host: GuardHost,
    guard: GuardDirectory,
    actions: readonly PathAction[],
    from: { dir: string; at: string },
    context: TaskContext,
): Promise<void> {
    await whileArmed(host, guard, () =>
        withGuardTrees(host, guard, async (live, own) => {
            const snapshot = Snapshot.read(own, 'snapshot')
            if (snapshot === undefined) throw new Fault('stuck', 'cannot apply: the guard has no snapshot')
            const ready = new PlaceTree(from.dir, host.calls)
            try {
                const work = arrange(actions, snapshot)
                const places = { live, from: { tree: ready, at: from.at }, snapshot }
                checkPlaces(work, places)
                await putInPlace(work, places, {
                    key: guard.id,
                    log: text => context.log(text),
                    warn: text => context.warn(text),
                    signal: context.signal,
                })
                writeAfter(own, live, snapshot.paths)
            } finally {
                ready.close()
            }
        }),
    )
}

/** Changes files of an armed guard under its lock, so that no rollback does at the same time. Throws when it is armed no more. */
export async function whileArmed(
    host: GuardHost,
    guard: GuardDirectory,
    act: () => Promise<void>,
): Promise<void> {
    const lock = await lockGuard(host, guard)
    try {
        if (hasFired(guard)) throw fired(guard)
        if (guard.armed() === undefined)
            throw new Fault('failed', 'cannot apply: the guard was disarmed before anything was applied')
        guard.mark('placing')
        await act()
    } finally {
        lock.release()
    }
}

/** Loads what was put in place, looks around, and notes that the new state is complete. */
export async function loadGuarded(
    host: GuardHost,
    guard: GuardDirectory,
    context: TaskContext,
): Promise<AppliedResult> {
    const record = guard.record()
    const directory = diagnosticsOf(context, record.area)
    const { way, problem } = await load(host, guard, record.ways, directory, context)
    if (problem !== undefined) context.warn(problem)
    // Somebody who has removed `armed` meanwhile has confirmed it.
    if (hasFired(guard)) throw fired(guard)
    guard.write('applied', { boot: host.clock.bootId(), ms: host.clock.bootMs() })
    const to = { disk: host.disk, directory, addresses: record.addresses }
    const health = await observe(host.areas[record.area], areaHostOf(host), to, 'after')
    for (const { level, text } of health) context.log(`${level}: ${text}`)
    return { ...(way === undefined ? {} : { way }), ...(problem === undefined ? {} : { problem }), health }
}

function load(
    host: GuardHost,
    guard: GuardDirectory,
    ways: readonly Way[],
    directory: string,
    context: TaskContext,
) {
    host.disk.mkdir(directory, 0o700)
    let number = 0
    return runWays(
        ways,
        async ({ argv: [name, ...args], timeoutMs }) => {
            if (hasFired(guard)) throw fired(guard)
            const program = findProgram(name)
            if (program === undefined) return { ok: false, missing: true, why: 'it is not installed' }
            const mostMs = loadingMs(host, guard)
            if (mostMs <= 0) return { ok: false, why: 'not tried: what is left of the window is for you' }
            try {
                const ended = await host.systemd.runTransient({
                    unit: applyUnit(guard.id, ++number),
                    description: `proxsave: ${name} for guard ${guard.id}`,
                    argv: [program, ...args],
                    timeoutMs: Math.min(timeoutMs, mostMs),
                    output: `${directory}/apply.txt`,
                    leavesChildren: true,
                })
                if (ended.result === 'done') return { ok: true }
                if (ended.timedOut)
                    return {
                        ok: false,
                        why: `it did not end within ${Math.round(Math.min(timeoutMs, mostMs) / 1000)} s`,
                    }
                return { ok: false, why: `exit status ${ended.status ?? 'unknown'}` }
            } catch (error) {
                return { ok: false, why: asFault(error).message }
            }
        },
        text => context.log(text),
    )
}

/** How long (ms) loading may still take: the last third of the window is for the person who decides. */
function loadingMs({ clock }: GuardHost, guard: GuardDirectory): number {
    const armed = guard.armed()
    if (armed === undefined) return 0
    return armed.deadlineMs - clock.bootMs() - guard.record().timeoutMs / 3
}

async function lockGuard(host: GuardHost, guard: GuardDirectory): Promise<Lock> {
    const until = host.clock.bootMs() + lockMs
    for (;;) {
        const lock = guard.tryLock()
        if (lock !== undefined) return lock
        if (host.clock.bootMs() >= until) throw fired(guard)
        await new Promise<void>(resolve => void host.clock.after(50, resolve))
    }
}

const hasFired = (guard: GuardDirectory): boolean => guard.state() === 'EXECUTED' || guard.marked('returning')
const fired = (guard: GuardDirectory): Fault => rolledBack(guard, areaById(guard.record().area).phrase)
