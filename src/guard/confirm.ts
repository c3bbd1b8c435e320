/** The task `guard.confirm`: waits for somebody to say over a new connection that the host can still be reached. */
import { areaById } from '../catalog/areas.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import { dropSecondNames, Snapshot } from '../host/snapshot.ts'
import { disarm } from './decide.ts'
import { rollBackNow } from './fire.ts'
import { timerUnit, withGuardTrees } from './host.ts'
import { worthTelling } from './observe.ts'
import type { Addresses, GuardDirectory } from './record.ts'
import {
    type AppliedResult,
    guardFor,
    type GuardHost,
    guardTaskIds,
    paramsOf,
    preparedOf,
    rolledBack,
    tellOutcome,
} from './tasks.ts'

export function guardConfirm(host: GuardHost): TaskKind<Json> {
    return {
        kind: 'guard.confirm',
        async do(given, context) {
            const params = paramsOf(given)
            if (!preparedOf(params, context).apply) return undefined
            const guard = guardFor(host, params, context)
            const applied = context.results.get(guardTaskIds(params.area).apply) as AppliedResult | undefined
            try {
                const by = await awaitDecision(host, guard, applied, context)
                tellOutcome(params, context, 'confirmed')
                return { confirmed: by }
            } catch (error) {
                tellOutcome(params, context, 'rolled back')
                throw error
            }
        },
        // What was confirmed is taken back by the undo of `guard.apply`, what is armed by that of `guard.arm`.
        async undo() {},
    }
}

/** Resolves to who confirmed; throws `rolled-back` when the guard fired or was told to. */
export async function awaitDecision(
    host: GuardHost,
    guard: GuardDirectory,
    applied: AppliedResult | undefined,
    context: TaskContext,
): Promise<string> {
    const record = guard.record()
    const area = areaById(record.area)
    const armed = guard.armed()
    const ended = () => endOf(host, guard, context, area.phrase)
    if (armed === undefined) return ended()
    if (armed.boot !== host.clock.bootId()) {
        // The boot unit should have done it before the network came up.
        await rollBackNow(host, guard, context)
        return ended()
    }
    const left = Math.max(0, armed.deadlineMs - host.clock.bootMs())
    const watching = watchFiles(host, guard, context.change, area.commit)
    let value: string
    try {
        value = await context.ask(
            {
                id: area.commit,
                text: questionText(area.phrase, guard, applied),
                choices: [
                    { value: 'COMMIT', text: 'keep the new state' },
                    { value: 'ROLLBACK', text: 'return to the old one now' },
                ],
                timeoutMs: left,
                safe: 'ROLLBACK',
            },
            (answer, by) => {
                if (answer === 'COMMIT') disarm(guard, by, host.clock)
            },
        )
    } catch (error) {
        // Confirmed or rolled back, and then the journal refused the answer: files are the truth.
        if (guard.armed() !== undefined) throw error
        return await ended()
    } finally {
        await watching.close()
    }
    // An answer that an earlier process was given may have been about another one.
    if (value !== 'COMMIT' || guard.armed() !== undefined) await rollBackNow(host, guard, context)
    return ended()
}

/** What became of a guard that is not armed any more: files are the truth, not the answer. */
async function endOf(
    host: GuardHost,
    guard: GuardDirectory,
    context: TaskContext,
    phrase: string,
): Promise<string> {
    if (guard.state() === 'EXECUTED') {
        guard.tidy()
        throw rolledBack(guard, phrase)
    }
    const by = guard.confirmed()?.by ?? 'the removal of armed'
    try {
        await host.systemd.stop(timerUnit(guard.id))
    } catch {
        // It finds nothing armed when it fires.
    }
    guard.tidy()
    await dropUnneeded(host, guard)
    context.log(`confirmed by ${by}: the new state of ${phrase} stays`)
    return by
}

/** Files that did not change, or are back, have one name again. The copies stay, for the undo. */
export async function dropUnneeded(host: GuardHost, guard: GuardDirectory): Promise<void> {
    try {
        await withGuardTrees(host, guard, (live, own) => {
            const snapshot = Snapshot.read(own, 'snapshot')
            if (snapshot !== undefined) dropSecondNames(snapshot, live)
            own.settle()
        })
    } catch {
        // It is confirmed, whatever else goes wrong.
    }
}

function questionText(phrase: string, guard: GuardDirectory, applied: AppliedResult | undefined): string {
    const record = guard.record()
    const { addresses } = record
    const told = worthTelling(applied?.health ?? []).map(({ level, text }) => `${level}: ${text}`)
    const health =
        applied === undefined ? [] : told.length === 0 ? ['All checks of the host are well.'] : told
    const problem = applied?.problem === undefined ? [] : [applied.problem]
    return [
        `The new state of ${phrase} is in place.${record.area === 'network' ? movedLine(addresses) : ''}`,
        ...problem,
        ...health,
        'Can you still reach this host? Over a new connection: proxsavectl commit keeps it, proxsavectl rollback returns now; without either the old state returns by itself.',
    ].join('\n')
}

function movedLine({ before, after }: Addresses): string {
    if (after === undefined) return ' Its new address is not known: the new files leave that to others.'
    if (after.length === before.length && after.every(one => before.includes(one))) return ''
    return ` The address was ${before.join(', ') || 'none'} and is ${after.join(', ') || 'none'} now.`
}

/** How often (ms) to look besides: neither chokidar nor inotify sees everything. */
const lookMs = 1_000

/** Markers, a confirmation or a rollback by somebody else become the answer to the open question. */
function watchFiles(
    host: GuardHost,
    guard: GuardDirectory,
    change: string,
    question: string,
): { close(): Promise<void> } {
    let closed = false
    const tell = (value: 'COMMIT' | 'ROLLBACK', by: string) => {
        try {
            host.answer(change, question, value, by)
        } catch (error) {
            // Not asked yet, or answered already: the next look finds out.
            if (!(error instanceof Fault)) throw error
        }
    }
    const look = () => {
        if (closed) return
        const state = guard.state()
        if (state === 'EXECUTED') tell('ROLLBACK', 'the guard')
        else if (state === 'DISARMED') tell('COMMIT', guard.confirmed()?.by ?? 'the removal of armed')
        else if (guard.marked('rollback')) tell('ROLLBACK', 'a marker file')
        else if (guard.marked('commit')) tell('COMMIT', 'a marker file')
    }
    const watch = host.watch(guard.path, look)
    let stop = () => {}
    const again = () => {
        look()
        if (!closed) stop = host.clock.after(lookMs, again)
    }
    stop = host.clock.after(lookMs, again)
    return {
        async close() {
            closed = true
            stop()
            await watch.close()
        },
    }
}
