/** Runs one operation on an archive in the daemon's worker: progress to the terminal, rows to the caller, the result. */
import type { WorkerEvent } from '../client/types.ts'
import { Fault } from '../core/errors.ts'
import type { Cli } from './command.ts'
import { safe } from './output.ts'
import { showProgress } from './progress.ts'

type Streamed = WorkerEvent | { event: 'result'; value: unknown }

export async function runArchive<T>(
    cli: Cli,
    operation: string,
    body: Record<string, unknown>,
    onItem: (item: unknown) => void | Promise<void> = () => undefined,
): Promise<T> {
    const progress = await showProgress(cli)
    const interrupt = new AbortController()
    const release = cli.terminal.onInterrupt(() =>
        interrupt.abort(new Fault('refused', `cannot finish ${operation}: interrupted`)),
    )
    try {
        for await (const event of cli.client.stream<Streamed>('POST', `/v1/archives/${operation}`, {
            body,
            signal: interrupt.signal,
        })) {
            if (event.event === 'progress') progress.update(event)
            else if (event.event === 'warning') progress.line(`  warning: ${safe(event.text)}`)
            else if (event.event === 'item') {
                progress.stop()
                await onItem(event.item)
            } else return event.value as T
        }
        throw new Fault('unreachable', `cannot finish ${operation}: the daemon ended the answer early`)
    } catch (error) {
        if (interrupt.signal.aborted) throw interrupt.signal.reason
        throw error
    } finally {
        progress.stop()
        release()
    }
}
