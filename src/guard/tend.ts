/** Guards that are still armed although no change waits for them: none is left to itself. */
import { asFault } from '../core/errors.ts'
import { rollBackNow } from './fire.ts'
import { rollbackUnit, timerUnit } from './host.ts'
import { listGuards } from './record.ts'
import type { GuardHost } from './tasks.ts'

/**
 * For the start of the daemon, behind the recovery of changes. A guard that has time left gets its timer again when that is
 * gone; any other is rolled back. Resolves to what was done, as sentences.
 */
export async function tendArmed(host: GuardHost): Promise<string[]> {
    const told: string[] = []
    for (const guard of listGuards(host.disk, host.state)) {
        const armed = guard.armed()
        if (armed === undefined) continue
        const say = (text: string) => void told.push(`guard ${guard.id}: ${text}`)
        try {
            const leftMs = armed.deadlineMs - host.clock.bootMs()
            if (armed.boot === host.clock.bootId() && leftMs > 0) {
                const { active } = await host.systemd.unitState(timerUnit(guard.id))
                if (active === 'active') continue
                await host.systemd.startTransientTimer({
                    unit: rollbackUnit(guard.id),
                    description: `proxsave: roll back ${guard.id} unless it is confirmed`,
                    afterMs: leftMs,
                })
                say('armed without a timer; it has one again')
            } else {
                await rollBackNow(host, guard, { log: say })
                say('was left armed and is rolled back now')
            }
        } catch (error) {
            say(asFault(error).message)
        }
    }
    return told
}
