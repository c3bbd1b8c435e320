/** Followers of a running change: each reads the journal at its own pace, so the journal is the queue and has no bound to hit. */
import type { ProgressEvent } from './change.ts'

/**
 * One follower: a bell that rings when the journal grew, and the newest progress of each task. Progress that a slow
 * follower did not fetch is replaced, never queued.
 */
export class Follower {
    readonly #progress = new Map<string, ProgressEvent>()
    #rang = false
    #wake: (() => void) | undefined
    #closed = false

    get closed(): boolean {
        return this.#closed
    }

    ring(): void {
        this.#rang = true
        this.#wake?.()
        this.#wake = undefined
    }

    show(progress: ProgressEvent): void {
        this.#progress.set(progress.task, progress)
        this.ring()
    }

    takeProgress(): ProgressEvent[] {
        const taken = [...this.#progress.values()]
        this.#progress.clear()
        return taken
    }

    /** Resolves at the next ring, or at once when it rang since the last wait. */
    async wait(): Promise<void> {
        if (!this.#rang && !this.#closed) await new Promise<void>(resolve => (this.#wake = resolve))
        this.#rang = false
    }

    close(): void {
        this.#closed = true
        this.ring()
    }
}
