/** Guards as the daemon sees them: who may confirm one, and the question of the running change that waits for it. */
import { areas } from '../catalog/areas.ts'
import type { GuardInfo } from '../core/answers.ts'
import { asFault, Fault } from '../core/errors.ts'
import { chooseGuard, commitGuard, requestRollback, stopGuardTimer } from '../guard/decide.ts'
import { mayConfirm } from '../guard/confirm-rights.ts'
import { type GuardDirectory, listGuards } from '../guard/record.ts'
import { guardInfo, guardInfos, guardStatus, newAddress } from '../guard/status.ts'
import { launch } from '../host/launch.ts'
import type { Origin } from '../host/origin.ts'
import { ownAddresses } from '../host/reach.ts'
import type { Daemon } from './daemon.ts'

/** Instead of an id: the only armed one. */
export const theArmed = 'armed'

export function readGuards({ parts: { disk, state, clock } }: Daemon): GuardInfo[] {
    return guardInfos(disk, state, clock)
}

/** What `status` tells; undefined when all is quiet. */
export function tellGuard({ parts: { disk, state, clock, store } }: Daemon): GuardInfo | undefined {
    return guardStatus(disk, state, clock, {
        finished: change => !store.exists(change) || store.summary(change).state === 'done',
        newest: () => store.list()[0]?.id,
    })
}

/** `reference`: a guard, a change, the beginning of one, or `armed`. */
export async function commitAsked(
    daemon: Daemon,
    reference: string,
    origin: Origin,
    by: string,
): Promise<GuardInfo> {
    const { disk, state, clock, runner, exec, log } = daemon.parts
    const guard = chooseGuard(disk, state, 'commit', reference === theArmed ? undefined : reference)
    checkRights(daemon, guard, origin)
    const waiting = waitingFor(daemon, guard)
    if (waiting === undefined) await commitGuard(disk, state, guard.id, by, { clock })
    else
        try {
            runner.answer(waiting.change, waiting.question, 'COMMIT', by)
        } catch (error) {
            // Confirmed, and then the journal refused: the task finds it out by itself.
            if (guard.state() !== 'DISARMED') throw error
        }
    log.notice(`the guard ${guard.id} was confirmed by ${by}`)
    void stopGuardTimer(exec, guard.id)
    return guardInfo(guard, clock)
}

/** Has it rolled back, and does not wait for that. Anybody may: it only brings back what was. */
export async function rollbackAsked(daemon: Daemon, reference: string, by: string): Promise<GuardInfo> {
    const { disk, state, clock, runner, exec, log } = daemon.parts
    const guard = chooseGuard(disk, state, 'roll back', reference === theArmed ? undefined : reference)
    log.notice(`the guard ${guard.id} is rolled back, asked by ${by}`)
    await requestRollback(disk, guard, { exec, launch })
    const waiting = waitingFor(daemon, guard)
    if (waiting !== undefined)
        try {
            runner.answer(waiting.change, waiting.question, 'ROLLBACK', by)
        } catch (error) {
            // Only history wants to know who asked: it is under way already.
            log.warning(asFault(error).message)
        }
    return guardInfo(guard, clock)
}

/**
 * For an answer to a question of a change: that which confirms a guard needs the right to. Throws `refused`, and when no
 * guard of the change is armed that the question could be about.
 */
export function checkAnswer(
    daemon: Daemon,
    change: string,
    answer: { id: string; value: string },
    origin: Origin,
): void {
    if (!answer.id.endsWith('.commit') || answer.value === 'ROLLBACK') return
    const { disk, state } = daemon.parts
    const guard = listGuards(disk, state).find(one => {
        if (one.state() !== 'ARMED') return false
        const { area, change: owner } = guardInfo(one, daemon.parts.clock)
        return commitOf(area) === answer.id && changesOf(daemon, change).includes(owner)
    })
    if (guard === undefined)
        throw new Fault('refused', `cannot answer ${answer.id}: no guard of this change is armed`, {
            hint: 'proxsavectl status tells what became of it',
        })
    checkRights(daemon, guard, origin)
}

function checkRights({ parts: { clock } }: Daemon, guard: GuardDirectory, origin: Origin): void {
    const address = newAddress(guardInfo(guard, clock))
    const asked = { address, own: ownAddresses(), marker: guard.file('commit') }
    const rights = mayConfirm(origin, guard.applied(), clock.bootId(), asked)
    if (!rights.ok) throw new Fault('refused', `cannot commit: ${rights.why}`, { hint: rights.hint })
}

/** The open question of the running change that this guard's confirmation answers. */
function waitingFor(daemon: Daemon, guard: GuardDirectory): { change: string; question: string } | undefined {
    const running = daemon.parts.runner.running()
    if (running === undefined) return undefined
    const { area, change: owner } = guardInfo(guard, daemon.parts.clock)
    const question = commitOf(area)
    const asked = running.questions.some(({ id }) => id === question)
    if (question === undefined || !asked) return undefined
    const change = running.summary.id
    return changesOf(daemon, change).includes(owner) ? { change, question } : undefined
}

const commitOf = (area: string): string | undefined => areas.find(({ id }) => id === area)?.commit

/** An undo works in the name of the change that it undoes. */
function changesOf({ parts: { store } }: Daemon, change: string): string[] {
    const undoes = store.exists(change) ? store.summary(change).facts.undoes : undefined
    return typeof undoes === 'string' ? [change, undoes] : [change]
}
