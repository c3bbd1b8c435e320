/** Speaks HTTP with the daemon over its Unix socket; every failure is a fault that a person can act on. */
import { Fault, type FaultRecord, fromRecord } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

export interface CallOptions {
    body?: unknown
    query?: Record<string, string | number | boolean | undefined>
    signal?: AbortSignal
}

export interface Client {
    /** One request, one document. Throws the daemon's fault, or `unreachable`. */
    call<T>(method: string, path: string, options?: CallOptions): Promise<T>
    /** One request, a stream of records; an `error` record is thrown as its fault. */
    stream<T extends { event: string }>(
        method: string,
        path: string,
        options?: CallOptions,
    ): AsyncGenerator<T>
}

/** `by` tells the daemon who asks, for `history`: `root@pts/0`. */
export function connect(socket: string, by: string): Client {
    return {
        async call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
            const response = await send(socket, by, method, path, options)
            const text = await received(response.text(), socket)
            return parse(text) as T
        },
        async *stream<T extends { event: string }>(method: string, path: string, options: CallOptions = {}) {
            const response = await send(socket, by, method, path, options)
            for await (const line of readLines(response, socket)) {
                const record = parse(line) as T & { error?: FaultRecord }
                if (record.event === 'error' && record.error !== undefined) throw fromRecord(record.error)
                yield record as T
            }
        },
    }
}

async function send(
    socket: string,
    by: string,
    method: string,
    path: string,
    { body, query, signal }: CallOptions,
): Promise<Response> {
    const search = new URLSearchParams()
    for (const [name, value] of Object.entries(query ?? {}))
        if (value !== undefined) search.set(name, String(value))
    const url = `http://proxsave${path}${search.size > 0 ? `?${search}` : ''}`
    const headers: Record<string, string> = { 'proxsave-by': by.replaceAll(/[^\x21-\x7e]/g, '').slice(0, 64) }
    if (body !== undefined) headers['content-type'] = 'application/json'

    let response: Response
    try {
        response = await fetch(url, {
            method,
            headers,
            body: body === undefined ? undefined : JSON.stringify(body),
            signal,
            unix: socket,
            keepalive: false,
            // A quiet stream is a change that works, or a job that waits for the lock.
            timeout: false,
        } as RequestInit)
    } catch (error) {
        if (signal?.aborted) throw signal.reason
        throw unreachable(socket, error)
    }
    if (response.ok) return response
    const text = await received(response.text(), socket)
    const record = (parse(text) as { error?: FaultRecord }).error
    throw record === undefined
        ? new Fault('failed', `cannot understand the daemon: it answered with status ${response.status}`)
        : fromRecord(record)
}

function parse(text: string): unknown {
    try {
        return JSON.parse(text)
    } catch (error) {
        throw new Fault('failed', 'cannot understand the daemon: its answer is not JSON', {
            hint: 'is something else listening at this socket?',
            cause: error,
        })
    }
}

async function received<T>(answer: Promise<T>, socket: string): Promise<T> {
    try {
        return await answer
    } catch (error) {
        throw lost(socket, error)
    }
}

async function* readLines(response: Response, socket: string): AsyncGenerator<string> {
    const decoder = new TextDecoder()
    const reader = response.body?.getReader()
    if (reader === undefined) return
    let pending = ''
    try {
        for (;;) {
            const { done, value } = await received(reader.read(), socket)
            if (done) break
            pending += decoder.decode(value, { stream: true })
            let from = 0
            for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n', from)) {
                yield pending.slice(from, end)
                from = end + 1
            }
            pending = pending.slice(from)
            if (pending.length > limits.lineBytes)
                throw new Fault('failed', 'cannot understand the daemon: a line is too long')
        }
        if (pending !== '') throw lost(socket, undefined)
    } finally {
        // Ends the request when the caller stops early: the daemon then stops its worker.
        await reader.cancel().catch(() => undefined)
    }
}

/** The connection ended in the middle of an answer. */
function lost(socket: string, cause: unknown): Fault {
    if (cause instanceof Fault) return cause
    return new Fault('unreachable', `cannot go on: the daemon at ${socket} closed the connection`, {
        hint: 'it is probably restarting; proxsavectl attach follows a running change',
        facts: { lost: 1 },
        cause,
    })
}

function unreachable(socket: string, error: unknown): Fault {
    const code = (error as { code?: string }).code ?? ''
    const reasons: Record<string, [string, string]> = {
        ENOENT: ['there is no socket', 'start it: systemctl start proxsave'],
        ECONNREFUSED: ['nobody listens there', 'start it: systemctl start proxsave'],
        EACCES: ['permission denied', 'run this as root'],
        EPERM: ['permission denied', 'run this as root'],
    }
    const [why, hint] = reasons[code] ?? [
        error instanceof Error ? error.message : String(error),
        'see what it says: systemctl status proxsave',
    ]
    return new Fault('unreachable', `cannot reach the daemon at ${socket}: ${why}`, { hint, cause: error })
}
