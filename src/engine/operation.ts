/** What a worker can be asked to do: one operation a file, registered in the feature's `index.ts`. */
import type { Json } from './change.ts'

export interface OperationIo {
    progress(event: { done: number; total?: number; unit: 'bytes' | 'entries'; text?: string }): void
    warn(text: string): void
    /** One row of a listing; resolves when the reader can take more. */
    item(item: Json): Promise<void> | void
    signal?: AbortSignal
}

/** Params come from the daemon as JSON; their shape is the operation's own. */
// biome-ignore lint/suspicious/noExplicitAny: each operation declares the shape of its params
export type Operation = (params: any, io: OperationIo) => Promise<Json>
