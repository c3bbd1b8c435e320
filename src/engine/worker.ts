/** Heavy work in a process of its own, as tasks and routes ask for it; `src/host/worker.ts` spawns the real one. */
import type { Json } from './change.ts'

/** What a worker says while it works; the result or the fault comes as the outcome of `runWorker`. */
export type WorkerEvent =
    | { event: 'progress'; done: number; total?: number; unit: 'bytes' | 'entries'; text?: string }
    | { event: 'warning'; text: string }
    | { event: 'item'; item: Json }

export interface WorkerOptions {
    /** Called in order, one at a time; the worker waits at its pipe while the promise is pending. */
    onEvent?: (event: WorkerEvent) => void | Promise<void>
    /** Aborting ends the worker: SIGTERM, then SIGKILL. The promise then rejects with `Fault('refused')`. */
    signal?: AbortSignal
}

/**
 * Runs one operation of `src/backup/index.ts` in a worker and resolves to its result. Throws the worker's own fault,
 * or one that says how the worker died.
 */
export type RunWorker = (operation: string, params: Json, options?: WorkerOptions) => Promise<Json>
