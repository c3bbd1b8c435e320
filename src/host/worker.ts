/** Spawns the worker: this same binary, one operation as JSON on its standard input, NDJSON back, killed when asked. */
import { type ChildProcess, spawn } from 'node:child_process'
import { Fault, type FaultRecord, fromRecord } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

type WorkerEvent =
    | { event: 'progress'; done: number; total?: number; unit: 'bytes' | 'entries'; text?: string }
    | { event: 'warning'; text: string }
    | { event: 'item'; item: Json }

type Outcome = { event: 'result'; value: Json } | { event: 'error'; error: FaultRecord }

export interface WorkerCommand {
    /** Program and arguments that make this binary a worker: `['/proc/self/exe', 'worker']`. */
    argv: [string, ...string[]]
    /** The worker takes its lock and its cache below this directory. */
    state: string
    /** A worker without a sign of life for this long (ms) is killed. */
    silenceMs?: number
}

/** `engine/worker.ts` has the meaning of the parameters. */
export function workerRunner(command: WorkerCommand) {
    return (
        operation: string,
        params: Json,
        options: { onEvent?: (event: WorkerEvent) => void | Promise<void>; signal?: AbortSignal } = {},
    ): Promise<Json> => run(command, operation, params, options)
}

async function run(
    command: WorkerCommand,
    operation: string,
    params: Json,
    options: { onEvent?: (event: WorkerEvent) => void | Promise<void>; signal?: AbortSignal },
): Promise<Json> {
    const stopped = () =>
        new Fault('refused', `cannot finish ${operation}: it was stopped`, { facts: { stopped: 1 } })
    if (options.signal?.aborted) throw stopped()

    const [program, ...args] = command.argv
    const child = spawn(program, args, {
        argv0: 'proxsave',
        stdio: ['pipe', 'pipe', 'pipe'],
        // The environment could carry secrets of whoever started the daemon by hand; a worker needs none of it.
        env: {
            PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
            LC_ALL: 'C.UTF-8',
            TZ: process.env.TZ ?? '',
        },
    })
    const ended = whenEnded(child)
    const complaint = collectTail(child)

    let killer: ReturnType<typeof setTimeout> | undefined
    const stop = () => {
        child.kill('SIGTERM')
        killer ??= setTimeout(() => child.kill('SIGKILL'), limits.workerStopMs)
    }
    options.signal?.addEventListener('abort', stop, { once: true })

    let silent = false
    let listening = true
    const silenceMs = command.silenceMs ?? limits.workerSilenceMs
    const watchdog = setTimeout(() => {
        // A reader that is behind holds the worker up; that is not the worker's silence.
        if (!listening) return watchdog.refresh()
        silent = true
        child.kill('SIGKILL')
    }, silenceMs)

    try {
        child.stdin!.on('error', () => undefined) // The worker may die before it read: `ended` tells why.
        child.stdin!.end(JSON.stringify({ operation, params, state: command.state }))

        let outcome: Outcome | undefined
        for await (const record of readRecords(child, operation)) {
            watchdog.refresh()
            if (record.event === 'result' || record.event === 'error') outcome = record
            else if (options.onEvent !== undefined) {
                listening = false
                await options.onEvent(record)
                listening = true
                watchdog.refresh()
            }
        }
        const end = await ended
        if (options.signal?.aborted) throw stopped()
        if (outcome?.event === 'error') throw fromRecord(outcome.error)
        if (outcome?.event === 'result' && end === 'exit 0') return outcome.value
        throw died(operation, end, silent ? silenceMs : undefined, complaint())
    } catch (error) {
        child.kill('SIGKILL')
        const end = await ended
        if (options.signal?.aborted) throw stopped()
        if (child.pid === undefined) throw died(operation, end, undefined, '')
        throw error
    } finally {
        clearTimeout(watchdog)
        clearTimeout(killer)
        options.signal?.removeEventListener('abort', stop)
    }
}

function died(operation: string, end: string, silenceMs: number | undefined, complaint: string): Fault {
    const why =
        silenceMs !== undefined
            ? `the worker showed no sign of life for ${Math.round(silenceMs / 1000)} s and was killed`
            : `the worker ended early (${end})${complaint === '' ? '' : `: ${complaint}`}`
    return new Fault('failed', `cannot finish ${operation}: ${why}`, {
        hint:
            silenceMs !== undefined
                ? 'look for a dead network mount or a failing disk: dmesg, findmnt'
                : 'look at journalctl -u proxsave for the moment it happened, and at the free memory',
    })
}

function whenEnded(child: ChildProcess): Promise<string> {
    return new Promise(resolve => {
        child.once('error', error => resolve(`could not be started: ${error.message}`))
        child.once('close', (status, signal) => resolve(signal === null ? `exit ${status}` : signal))
    })
}

/** The last line a worker wrote to standard error: all that a dying runtime can still say. */
function collectTail(child: ChildProcess): () => string {
    let tail = ''
    child.stderr?.on('data', (chunk: Buffer) => {
        tail = (tail + chunk.toString('utf8')).slice(-4096)
    })
    return () => tail.trim().split('\n').at(-1)?.slice(0, 500) ?? ''
}

async function* readRecords(child: ChildProcess, operation: string): AsyncGenerator<WorkerEvent | Outcome> {
    const bad = (why: string) => new Fault('failed', `cannot understand the worker of ${operation}: ${why}`)
    const pieces: Buffer[] = []
    let pending = 0
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
        let from = 0
        for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
            pieces.push(chunk.subarray(from, end))
            from = end + 1
            const line = Buffer.concat(pieces).toString('utf8')
            pieces.length = 0
            pending = 0
            yield parseRecord(line, bad)
        }
        pieces.push(chunk.subarray(from))
        pending += chunk.length - from
        if (pending > limits.lineBytes) throw bad('a line is too long')
    }
    // A last line without its end belongs to a worker that was killed: the missing outcome says so.
}

function parseRecord(line: string, bad: (why: string) => Fault): WorkerEvent | Outcome {
    let record: WorkerEvent | Outcome
    try {
        record = JSON.parse(line)
    } catch {
        throw bad(`a line is not JSON: ${line.slice(0, 200)}`)
    }
    if (!['progress', 'warning', 'item', 'result', 'error'].includes(record?.event))
        throw bad('an unknown event')
    return record
}
