/** Has a guard rolled back, now: by its unit, or by the kept program itself when systemd cannot be asked. */
import { areaById } from '../catalog/areas.ts'
import { asFault, Fault } from '../core/errors.ts'
import { startRollback } from './decide.ts'
import { rollbackUnit } from './host.ts'
import type { GuardDirectory } from './record.ts'
import type { GuardHost } from './tasks.ts'

/** How long (ms) its unit is waited for: longer than it takes with every command of the area hanging to its limit. */
const unitMs = 900_000
/** Without the unit's word: so long (ms) the guard may stay armed. */
const armedMs = 900_000
const lookMs = 100

/** Resolves when `armed` is gone; throws `stuck` when it does not go. */
export async function rollBackNow(
    host: GuardHost,
    guard: GuardDirectory,
    { log }: { log(text: string): void },
): Promise<void> {
    const armed = guard.armed()
    if (armed === undefined) return
    const { clock } = host
    // What a timer that fires meanwhile shall know too.
    if (clock.bootMs() < armed.deadlineMs)
        try {
            guard.mark('rollback')
        } catch (error) {
            // A disk without room must not keep the old state from coming back.
            log(asFault(error).message)
        }
    try {
        // It may have failed too often of late to be started again.
        await host.systemd.resetFailed(rollbackUnit(guard.id))
        const result = await host.systemd.start(rollbackUnit(guard.id), unitMs)
        if (result !== 'done') log(`${rollbackUnit(guard.id)}: ${result}`)
    } catch (error) {
        log(asFault(error).message)
    }
    if (guard.armed() !== undefined)
        try {
            // Without D-Bus, and without systemd at last.
            await startRollback(guard, host)
        } catch (error) {
            log(asFault(error).message)
        }
    const until = clock.bootMs() + armedMs
    while (guard.armed() !== undefined) {
        if (clock.bootMs() >= until) throw stuck(guard)
        await new Promise<void>(resolve => void clock.after(lookMs, resolve))
    }
}

function stuck(guard: GuardDirectory): Fault {
    const { phrase } = areaById(guard.record().area)
    return new Fault('stuck', `cannot roll back ${phrase}: the guard is still armed`, {
        hint: `${guard.file('log')} tells why; the old files are in ${guard.file('old-files')}`,
    })
}
