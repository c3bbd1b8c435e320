/**
 * Takes back what a person had confirmed: the old files return, and because the new ones are what people came in by, that is
 * guarded like the first change was.
 */
import { areaById } from '../catalog/areas.ts'
import { Fault } from '../core/errors.ts'
import type { TaskContext } from '../engine/kinds.ts'
import { putBack } from '../host/put-back.ts'
import { Snapshot } from '../host/snapshot.ts'
import { showPath } from '../host/tree.ts'
import { arm } from './arm.ts'
import { awaitDecision, dropUnneeded } from './confirm.ts'
import { editedSince } from './edited.ts'
import { rollBackNow } from './fire.ts'
import { withGuardTrees } from './host.ts'
import { loadGuarded, whileArmed } from './place.ts'
import { GuardDirectory, undoSuffix } from './record.ts'
import {
    type AppliedResult,
    diagnosticsOf,
    guardFor,
    type GuardHost,
    type GuardParams,
    guardTaskIds,
} from './tasks.ts'

/** `undo.conflict` of a guard waits this long (ms). */
const conflictMs = 600_000

/** Nothing when the guard is armed (its own rollback does it), has fired, or never applied anything. */
export async function takeBackConfirmed(
    host: GuardHost,
    params: GuardParams,
    context: TaskContext,
): Promise<void> {
    const first = guardFor(host, params, context)
    if (!first.exists() && context.results.get(guardTaskIds(params.area).apply) !== undefined)
        throw new Fault('failed', 'cannot undo it: what the guard had kept is not there any more', {
            hint: 'the backup before it has the old files',
        })
    if (!first.exists() || first.state() !== 'DISARMED') return
    const second = new GuardDirectory(host.disk, host.state, `${first.id}${undoSuffix}`)
    if (first.applied() === undefined) {
        if (first.marked('placing')) await returnHalf(host, first, context)
        // The end of an undo that did not get to this.
        if (second.state() !== 'ARMED') second.removeAll()
        return
    }
    const record = first.record()
    const { phrase } = areaById(record.area)
    // Half removed: what it was is over.
    if (!second.exists() && second.state() !== 'ARMED') second.removeAll()
    try {
        let applied: AppliedResult | undefined
        if (second.state() === 'DISARMED' && second.applied() === undefined) {
            const leave = await editedToLeave(host, first, context)
            const { before, after, ...ends } = record.addresses
            const addresses = { ...ends, before: after ?? [], after: before }
            const { change, area, actions, timeoutMs, ways } = record
            await arm(host, second, { change, area, actions, timeoutMs, ways, addresses }, context)
            await returnFiles(host, first, second, leave, context)
            applied = await loadGuarded(host, second, context)
        } else if (second.state() === 'ARMED' && second.applied() === undefined) {
            // An earlier process died between arming and the end of it: what it did half is not worth asking about.
            await rollBackNow(host, second, context)
        }
        await awaitDecision(host, second, applied, context)
    } catch (error) {
        // Nobody is asked any more; a daemon that stops leaves it to the next.
        if (second.state() === 'ARMED' && !context.signal.aborted) await rollBackNow(host, second, context)
        if (second.state() === 'ARMED') throw error
        // The next undo begins anew; what this one's guard did is kept for reading.
        const told = keepLog(host, second, diagnosticsOf(context, record.area))
        second.removeAll()
        if (!(error instanceof Fault) || error.kind !== 'rolled-back') throw error
        throw new Fault(error.kind, error.message, { hint: error.hint?.replace(second.file('log'), told) })
    }
    await dropUnneeded(host, first)
    // Before the second guard goes: an undo that comes again must not begin again.
    first.remove('placing')
    first.remove('applied')
    second.removeAll()
    context.log(`${phrase} is as it was before`)
}

function keepLog(host: GuardHost, guard: GuardDirectory, directory: string): string {
    const to = `${directory}/undo.log`
    const log = host.disk.read(guard.file('log'))
    if (log !== undefined) host.disk.replace(to, log, 0o600)
    return to
}

/** `armed` was removed by hand while files were put in place: it stands again, and its own rollback does it. */
async function returnHalf(host: GuardHost, guard: GuardDirectory, context: TaskContext): Promise<void> {
    const { clock } = host
    guard.write('armed', { boot: clock.bootId(), deadlineMs: clock.bootMs() })
    await rollBackNow(host, guard, context)
}

/** The old files in the place of the new ones; when that fails the guard returns to the new ones at once. */
async function returnFiles(
    host: GuardHost,
    first: GuardDirectory,
    second: GuardDirectory,
    leave: ReadonlySet<string>,
    context: TaskContext,
): Promise<void> {
    try {
        await whileArmed(host, second, async () => {
            const problems = await withGuardTrees(host, first, async (live, own) => {
                const snapshot = Snapshot.read(own, 'snapshot')
                if (snapshot === undefined)
                    throw new Fault(
                        'stuck',
                        'cannot put the old files back: the snapshot of the guard is not there',
                    )
                const teller = {
                    key: second.id,
                    log: (text: string) => context.log(text),
                    warn: (text: string) => context.warn(text),
                }
                return putBack(snapshot.paths, live, snapshot, teller, async () => leave)
            })
            if (problems.length > 0)
                throw new Fault('failed', `cannot put the old files back: ${problems.join('; ')}`)
        })
    } catch (error) {
        await rollBackNow(host, second, context)
        throw error
    }
}

async function editedToLeave(
    host: GuardHost,
    first: GuardDirectory,
    context: TaskContext,
): Promise<ReadonlySet<string>> {
    const edited = await withGuardTrees(host, first, (live, own) => {
        const snapshot = Snapshot.read(own, 'snapshot')
        return snapshot === undefined ? [] : editedSince(own, live, snapshot)
    })
    if (edited.length === 0) return new Set()
    const answer = await context.ask({
        id: 'undo.conflict',
        text: `Edited since the restore: ${edited.map(path => `/${showPath(path)}`).join(', ')}. Keep them as they are now, or put back the state before?`,
        choices: [
            { value: 'keep', text: 'leave them as they are now' },
            { value: 'restore', text: 'put back the state before; the edits are lost' },
        ],
        // A recovery must not wait for ever for somebody who is not there.
        timeoutMs: conflictMs,
        safe: 'keep',
    })
    if (answer === 'restore') return new Set()
    for (const path of edited) context.warn(`/${showPath(path)} was edited since and is left as it is`)
    return new Set(edited)
}
