/** A clock that stands still until a test moves it, and that can be set wrong, suspended and rebooted. */
import type { TimedClock } from '../../src/host/timer.ts'

export class SimClock implements TimedClock {
    wall = Date.parse('2026-11-20T02:30:00Z')
    #boot = 1
    #ms = 60_000
    #timers = new Set<{ at: number; action: () => void; sleeps?: true }>()

    nowMs = () => this.wall
    bootMs = () => this.#ms
    bootId = () => `boot-${this.#boot}`

    after = (ms: number, action: () => void) => {
        const timer = { at: this.#ms + ms, action }
        this.#timers.add(timer)
        return () => this.#timers.delete(timer)
    }

    /** As `after`, but by a clock that stands still while the machine is suspended: that of systemd's timers. */
    afterAwake = (ms: number, action: () => void) => {
        const timer = { at: this.#ms + ms, action, sleeps: true as const }
        this.#timers.add(timer)
        return () => this.#timers.delete(timer)
    }

    /** The machine sleeps for so long; what is due by then fires when it wakes. */
    suspend(ms: number): void {
        for (const timer of this.#timers) if (timer.sleeps) timer.at += ms
        this.#move(this.#ms + ms)
        this.advance(0)
    }

    /** How long (ms) until the next timer fires. */
    get nextIn(): number | undefined {
        const next = Math.min(...[...this.#timers].map(({ at }) => at))
        return Number.isFinite(next) ? Math.max(0, next - this.#ms) : undefined
    }

    get waiting(): number {
        return this.#timers.size
    }

    /** Lets time pass; timers fire in their order, each at its time. */
    advance(ms: number): void {
        const end = this.#ms + ms
        for (;;) {
            const next = [...this.#timers].sort((a, b) => a.at - b.at)[0]
            if (next === undefined || next.at > end) break
            this.#timers.delete(next)
            this.#move(Math.max(next.at, this.#ms))
            next.action()
        }
        this.#move(end)
    }

    /** The process died: nobody waits any more. */
    forget(): void {
        this.#timers.clear()
    }

    reboot(): void {
        this.forget()
        this.#boot++
        this.#ms = 5_000
    }

    #move(to: number): void {
        this.wall += to - this.#ms
        this.#ms = to
    }
}
