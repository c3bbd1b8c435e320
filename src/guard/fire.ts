/** Has a guard rolled back, now: by its unit, or by the kept program itself when systemd cannot be asked. */
import { areaById } from '../catalog/areas.ts'
import { asFault, Fault } from '../core/errors.ts'
import type { TaskContext } from '../engine/kinds.ts'
import { rollbackUnit } from './host.ts'
import type { GuardDirectory } from './record.ts'
import type { GuardHost } from './tasks.ts'

/** A rollback with every command of the network hanging to its limit takes less (ms). */
const wholeMs = 300_000
/** How long (ms) the unit may take before the program is started beside it; both wait for the lock. */
const unitMs = 150_000
const lookMs = 100

/** Resolves when `armed` is gone; throws `stuck` when it does not go. */
export async function rollBackNow(
    host: GuardHost,
    guard: GuardDirectory,
    context: TaskContext,
): Promise<void> {
    if (guard.armed() === undefined) return
    const { clock } = host
    const deadline = guard.armed()
    const early = deadline !== undefined && clock.bootMs() < deadline.deadlineMs
    // What a timer that fires meanwhile shall know too.
    if (early)
        try {
            guard.mark('rollback')
        } catch (error) {
            // A disk without room must not keep the old state from coming back.
            context.log(asFault(error).message)
        }
    let started = false
    try {
        const result = await host.systemd.start(rollbackUnit(guard.id), unitMs)
        started = result === 'done'
        if (!started) context.log(`${rollbackUnit(guard.id)}: ${result}`)
    } catch (error) {
        context.log(asFault(error).message)
    }
    if (!started && guard.armed() !== undefined) host.spawnRollback(guard)
    const until = clock.bootMs() + wholeMs
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
