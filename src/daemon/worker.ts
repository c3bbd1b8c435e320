/** The worker's side of its pipe: reads one operation, runs it, and says how it goes in NDJSON. */
import { join } from 'node:path'
import type { Operation } from '../engine/operation.ts'
import { Fault, toRecord } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json } from '../engine/change.ts'
import { type Lock, tryHold } from '../engine/lock.ts'
import { dieWithParent, setUmask } from '../host/libc.ts'

interface Job {
    operation: string
    params: Json
    state: string
}

/** Operations that write below the state directory: one at a time, and recovery waits for their lock. */
const exclusive: ReadonlySet<string> = new Set(['archive.write', 'archive.stage'])

/** Rows of a listing that wait to go out together. */
const rowBytes = 32 * 1024

/** Progress is for eyes: more lines than this a second tell nobody more. */
const progressEveryMs = 100

/** Runs the job in `input`; resolves to the exit status. `write` resolves when the reader may be sent more. */
export async function work(
    input: string,
    operations: Record<string, Operation>,
    write: (line: string) => Promise<void> | void,
    stop: AbortSignal,
): Promise<number> {
    // Rows of a listing go out together: a system call for each would take longer than finding them.
    let rows = ''
    const say = (record: unknown) => {
        const lines = `${rows}${JSON.stringify(record)}\n`
        rows = ''
        return write(lines)
    }
    try {
        dieWithParent()
        setUmask(0o077)
        const { operation: name, params, state } = JSON.parse(input) as Job
        const operation = Object.hasOwn(operations, name) ? operations[name] : undefined
        if (operation === undefined)
            throw new Fault('failed', `cannot run ${name}: this version of proxsave has no such operation`)
        const lock = exclusive.has(name) ? await takeWorkerLock(state) : undefined
        try {
            let saidMs = 0
            const value = await operation(params, {
                progress(event) {
                    const nowMs = performance.now()
                    if (nowMs - saidMs < progressEveryMs && event.done !== event.total) return
                    saidMs = nowMs
                    void say({ event: 'progress', ...event })
                },
                warn: text => void say({ event: 'warning', text }),
                item(item) {
                    const row = JSON.stringify({ event: 'item', item })
                    if (rows.length + row.length > rowBytes) return say({ event: 'item', item })
                    rows += `${row}\n`
                },
                signal: stop,
            })
            await say({ event: 'result', value })
        } finally {
            lock?.release()
        }
        return 0
    } catch (error) {
        await say({ event: 'error', error: toRecord(error) })
        return 0
    }
}

/** A worker that is being killed may still hold the lock for a moment. */
async function takeWorkerLock(state: string): Promise<Lock> {
    const lock = await waitForLock(workerLock(state), limits.workerStopMs + 1_000)
    if (lock !== undefined) return lock
    throw new Fault('conflict', 'cannot start the worker: an earlier one is still at work', {
        hint: `wait until it is done: fuser -v ${workerLock(state)} names it`,
    })
}

/** Held by a worker that writes below the state directory; recovery waits for it. */
export function workerLock(state: string): string {
    return join(state, 'worker.lock')
}

/** Takes a lock, waiting at most `mostMs`; undefined when somebody held it all the time. */
export async function waitForLock(path: string, mostMs: number): Promise<Lock | undefined> {
    const untilMs = performance.now() + mostMs
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 200)) {
        const lock = tryHold(path)
        if (lock !== undefined || performance.now() >= untilMs) return lock
        await Bun.sleep(pauseMs)
    }
}
