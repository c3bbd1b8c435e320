/** Confirming and rolling back on request: which guard is meant, the one durable step, and who does the rest. */
import { asFault, Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Clock } from '../host/clock.ts'
import type { Disk } from '../host/disk.ts'
import type { Exec } from '../host/exec.ts'
import { rollbackUnit, timerUnit } from './host.ts'
import { GuardDirectory, guardIdShape, listGuards, stateOf } from './record.ts'
import { isUnarmed } from './unarmed.ts'

/** What the unit of the package knows; the guards of another state directory are rolled back by their kept program. */
export const defaultState = '/var/lib/proxsave'

const packageProgram = '/usr/lib/proxsave/proxsave'

/** Between two looks at a lock that is held (ms). */
const lookMs = 100

export type Verb = 'commit' | 'roll back'

/**
 * The guard that a person means: its id, a change or the beginning of one; undefined is the only armed one. Throws when
 * that is none, or when what is meant is decided already: `rolled-back` when it was rolled back.
 */
export function chooseGuard(disk: Disk, state: string, verb: Verb, reference?: string): GuardDirectory {
    const guards = listGuards(disk, state).filter(
        ({ id }) => reference === undefined || id.startsWith(reference),
    )
    const armed = guards.filter(guard => guard.state() === 'ARMED')
    if (armed.length > 1)
        throw new Fault('usage', `cannot ${verb}: ${armed.length} guards are armed`, {
            hint: `name one: ${armed.map(({ id }) => id).join(', ')}`,
        })
    if (armed[0] !== undefined) return armed[0]
    const last = newest(guards)
    const which = reference === undefined ? '' : ` of ${reference}`
    if (last === undefined)
        throw new Fault('failed', `cannot ${verb}: no guard${which} is armed`, {
            hint: 'proxsavectl status shows one that is',
        })
    if (isUnarmed(last))
        throw new Fault('failed', `cannot ${verb}: ${last.id} is not armed yet, nothing of it was changed`, {
            hint: 'wait until it is asked for: proxsavectl status',
        })
    const executed = last.executed()
    if (executed !== undefined)
        throw new Fault(
            'rolled-back',
            `cannot ${verb}: ${last.id} was rolled back already, ${executed.time}`,
            {
                hint: `what it did: ${last.file('log')}`,
            },
        )
    const confirmed = last.confirmed()
    const how = confirmed === undefined ? '' : ` by ${confirmed.by}, ${confirmed.time}`
    throw new Fault('failed', `cannot ${verb}: no guard${which} is armed`, {
        hint: `the last one, ${last.id}, was confirmed${how}`,
        facts: { confirmed: last.id },
    })
}

/** By the time they were made; equal ones by their names. */
export function newest(guards: readonly GuardDirectory[]): GuardDirectory | undefined {
    const made = (guard: GuardDirectory) => {
        try {
            return guard.record().created
        } catch {
            return ''
        }
    }
    return guards
        .map(guard => ({ guard, made: made(guard) }))
        .sort((a, b) => (a.made < b.made || (a.made === b.made && a.guard.id < b.guard.id) ? -1 : 1))
        .at(-1)?.guard
}

/**
 * Confirms, or throws and nothing is decided: `conflict` while somebody holds the guard's lock, `rolled-back` when it was
 * rolled back. Nothing to do when it was confirmed already. Whether the one who asks may is `mayConfirm`'s matter. Once
 * `armed` is gone it is confirmed, whatever else goes wrong.
 */
export function disarm(guard: GuardDirectory, by: string, clock: Clock): void {
    if (tryDisarm(guard, by, clock) === 'held') throw heldFault(guard)
}

/** As `disarm`, but waits for the lock, bounded, and throws when it is not armed any more. */
export async function commitGuard(
    disk: Disk,
    state: string,
    id: string,
    by: string,
    { clock, waitMs = limits.guardLockMs }: { clock: Clock; waitMs?: number },
): Promise<void> {
    const guard = new GuardDirectory(disk, state, id)
    if (!guard.exists()) throw new Fault('failed', `cannot commit: there is no guard ${id}`)
    const until = clock.bootMs() + waitMs
    for (;;) {
        const became = tryDisarm(guard, by, clock)
        if (became === 'disarmed') return
        if (became === 'was not armed')
            throw new Fault('failed', 'cannot commit: it is not armed any more', {
                hint: 'proxsavectl status tells what came of it',
            })
        if (clock.bootMs() >= until) throw heldFault(guard)
        await new Promise(resolve => setTimeout(resolve, lookMs))
    }
}

function heldFault(guard: GuardDirectory): Fault {
    const doing =
        guard.applied() === undefined ? 'the new state is being put in place' : 'the rollback is running'
    return new Fault('conflict', `cannot commit: ${doing}`, {
        hint: 'proxsavectl status tells what came of it',
    })
}

function tryDisarm(guard: GuardDirectory, by: string, clock: Clock): 'disarmed' | 'was not armed' | 'held' {
    const lock = guard.tryLock()
    if (lock === undefined) return 'held'
    try {
        // Written before `armed` goes: the old files are back already.
        if (guard.executed() !== undefined)
            throw new Fault('rolled-back', 'cannot commit: it was rolled back already', {
                hint: `what was done: ${guard.file('log')}`,
            })
        const armed = guard.armed()
        if (armed === undefined) return 'was not armed'
        if (armed.boot !== clock.bootId())
            throw new Fault(
                'conflict',
                'cannot commit: this host was started anew: the old state comes back',
                {
                    hint: 'proxsavectl status tells when it is there',
                },
            )
        if (guard.marked('returning'))
            throw new Fault('conflict', 'cannot commit: the old state is coming back already', {
                hint: 'proxsavectl status tells when it is there',
            })
        guard.remove('armed')
        tidyConfirmed(guard, { time: new Date(clock.nowMs()).toISOString(), by })
        return 'disarmed'
    } finally {
        lock.release()
    }
}

/** What is only for the report, and room: the confirmation does not depend on any of it. */
function tidyConfirmed(guard: GuardDirectory, confirmed: { time: string; by: string }): void {
    const steps = [
        () => guard.write('confirmed', confirmed),
        () => guard.remove('commit'),
        () => guard.remove('rollback'),
        () => guard.remove('proxsave'),
    ]
    for (const step of steps)
        try {
            step()
        } catch {
            // A full disk must not make somebody believe that the new state goes back: it does not any more.
        }
}

/** Behind a confirmation. A timer that stays finds nothing armed, so nobody needs to hear of a failure. */
export async function stopGuardTimer(exec: Exec, id: string): Promise<void> {
    if (!guardIdShape.test(id)) return
    await exec(['systemctl', 'stop', '--no-block', timerUnit(id)], { timeoutMs: limits.guardUnitMs })
}

export interface RollbackHost {
    exec: Exec
    /** Starts a program that lives on without us; throws when it cannot. */
    launch: (argv: readonly [string, ...string[]]) => Promise<void>
}

/**
 * Has the guard rolled back by the program that is made for it, and does not wait for that. The unit first: there it
 * survives whoever asked. systemctl reaches systemd without D-Bus; when it cannot, the kept program is started alone.
 */
export async function requestRollback(
    disk: Disk,
    guard: GuardDirectory,
    { exec, launch }: RollbackHost,
): Promise<void> {
    try {
        // What a timer that fires meanwhile shall know too: it wins over a marker that confirms.
        disk.replace(guard.file('rollback'), new Uint8Array(), 0o600)
    } catch {
        // A disk without room must not keep the old state from coming back.
    }
    await startRollback(guard, { exec, launch })
}

/** As `requestRollback`, for one that is due whether or not anybody asked. */
export async function startRollback(guard: GuardDirectory, { exec, launch }: RollbackHost): Promise<void> {
    const { id } = guard
    const state = stateOf(guard)
    let why = `its state directory is ${state}`
    if (state === defaultState) {
        // It may have failed too often of late to be started again.
        await exec(['systemctl', 'reset-failed', rollbackUnit(id)], { timeoutMs: limits.guardUnitMs })
        const ran = await exec(['systemctl', 'start', '--no-block', rollbackUnit(id)], {
            timeoutMs: limits.guardUnitMs,
        })
        if (ran.found && ran.status === 0) return
        why = ran.found ? Buffer.from(ran.stderr).toString('utf8').split('\n')[0]! : 'there is no systemctl'
    }
    const given = ['rollback', id, '--asked', '--state', state]
    try {
        // Where the state directory allows no programs, that of the package.
        await launch([guard.file('proxsave'), ...given]).catch(() => launch([packageProgram, ...given]))
    } catch (error) {
        const said = asFault(error).message
        throw new Fault('failed', `cannot roll back: systemd did not start it (${why}), and alone: ${said}`, {
            hint: `touch ${guard.file('rollback')}, or try: systemctl start ${rollbackUnit(id)}`,
        })
    }
}
