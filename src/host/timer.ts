/** Waiting by the clock of the boot: a timer of the runtime stands still while the machine is suspended. */
import type { Clock } from './clock.ts'

export interface TimedClock extends Pick<Clock, 'nowMs' | 'bootMs' | 'bootId'> {
    /** Calls `action` once, `ms` of boot time from now; what it returns takes that back. */
    after(ms: number, action: () => void): () => void
}

/** Long waits look at the clock of the boot this often (ms), so that one which ended in suspend is seen soon after. */
const lookMs = 2_000

export function withTimers(clock: Clock): TimedClock {
    return {
        nowMs: clock.nowMs,
        bootMs: clock.bootMs,
        bootId: clock.bootId,
        after(ms, action) {
            const until = clock.bootMs() + ms
            let timer: ReturnType<typeof setTimeout>
            const look = () => {
                const left = until - clock.bootMs()
                if (left <= 0) action()
                else timer = setTimeout(look, Math.min(left, lookMs))
            }
            timer = setTimeout(look, Math.min(Math.max(ms, 0), lookMs))
            return () => clearTimeout(timer)
        },
    }
}
