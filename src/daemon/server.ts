/**
 * HTTP on the Unix socket: who may talk, how much and how long, and the way from bytes to a route and back.
 *
 * `node:net` accepts and hands each connection to `node:http`, because only there the descriptor is known that the
 * kernel's word about the peer belongs to. The time limits are ours for the same reason: http's own do not see
 * connections that it did not accept.
 */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { asFault, Fault, toRecord } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { peerOf, setUmask } from '../host/libc.ts'
import type { Daemon } from './daemon.ts'
import type { Log } from './log.ts'
import type { Peer } from './route.ts'
import { checkBody, checkQuery, type Router, statusOf } from './router.ts'

export interface ServerOptions {
    path: string
    router: Router
    daemon: Daemon
    log: Log
    /** Besides root. */
    uid: number
    /** Milliseconds for a whole request; tests shorten it. */
    requestMs?: number
    connections?: number
}

export interface Server {
    /** Takes no more connections, ends the open ones, removes the socket. */
    close(): Promise<void>
}

/** Listens; the socket is there, 0600, when this resolves. Throws a conflict when another daemon answers there. */
export async function listen(options: ServerOptions): Promise<Server> {
    const { path } = options
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 })
    await removeStale(path)

    const http = createHttpServer({ maxHeaderSize: limits.requestHeaderBytes })
    const sockets = new Map<Socket, Deadline>()
    const requestMs = options.requestMs ?? limits.requestMs

    http.on('request', (request, response) => {
        const socket = request.socket as Socket
        void serve(options, request, response, sockets.get(socket)).catch(error => {
            options.log.error(`cannot answer ${request.method} ${request.url}: ${asFault(error).message}`)
            socket.destroy()
        })
    })
    http.on('clientError', (error, socket) => {
        const code = (error as { code?: string }).code
        const status = code === 'HPE_HEADER_OVERFLOW' ? 431 : 400
        refuse(socket as Socket, status, new Fault('usage', 'cannot accept the request: it is not HTTP'))
    })

    const server = createServer(socket => {
        socket.on('error', () => socket.destroy())
        if (sockets.size >= (options.connections ?? limits.connections)) {
            refuse(socket, 503, new Fault('unreachable', 'cannot accept the connection: too many are open'))
            return
        }
        const peer = identify(socket)
        if (peer === undefined || (peer.uid !== 0 && peer.uid !== options.uid)) {
            options.log.warning(`refused a connection of uid ${peer?.uid ?? 'unknown'}`)
            refuse(
                socket,
                403,
                new Fault('refused', 'cannot accept the connection: only root may', {
                    hint: 'run this as root',
                }),
            )
            return
        }
        const deadline = new Deadline(requestMs, peer, () =>
            refuse(socket, 408, new Fault('usage', 'cannot accept the request: it takes too long to arrive')),
        )
        sockets.set(socket, deadline)
        socket.once('close', () => {
            deadline.close()
            sockets.delete(socket)
        })
        http.emit('connection', socket)
    })

    const umask = setUmask(0o177)
    try {
        await new Promise<void>((resolve, reject) => {
            server.once('error', reject)
            server.listen(path, () => resolve())
        })
        chmodSync(path, 0o600)
    } catch (error) {
        throw new Fault(
            'failed',
            `cannot listen at ${path}: ${error instanceof Error ? error.message : error}`,
            {
                cause: error,
            },
        )
    } finally {
        setUmask(umask)
    }
    server.on('error', error => options.log.error(`the socket failed: ${error.message}`))

    return {
        async close() {
            const closed = new Promise<void>(resolve => server.close(() => resolve()))
            rmSync(path, { force: true })
            for (const socket of sockets.keys()) socket.destroy()
            http.closeAllConnections?.()
            await Promise.race([closed, new Promise(resolve => setTimeout(resolve, 1_000).unref())])
        },
    }
}

/** A socket that nobody listens on is what a killed daemon left. */
async function removeStale(path: string): Promise<void> {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat === undefined) return
    if (!stat.isSocket())
        throw new Fault('failed', `cannot listen at ${path}: something that is not a socket is there`, {
            hint: `look what it is, and move it away`,
        })
    const answered = await new Promise<boolean>(resolve => {
        const probe = connect(path, () => {
            probe.destroy()
            resolve(true)
        })
        probe.on('error', () => resolve(false))
    })
    if (answered)
        throw new Fault('conflict', `cannot listen at ${path}: another daemon answers there`, {
            hint: 'systemctl status proxsave tells which; a second one needs its own --socket and --state',
        })
    rmSync(path, { force: true })
}

function identify(socket: Socket): Peer | undefined {
    const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd
    if (fd === undefined || fd < 0) return undefined
    try {
        return peerOf(fd)
    } catch {
        return undefined
    }
}

/** Ends a connection that sends a request too slowly, or none; stands still while we are the ones who work. */
class Deadline {
    readonly peer: Peer
    readonly #ms: number
    readonly #late: () => void
    #timer: ReturnType<typeof setTimeout> | undefined
    #closed = false

    constructor(ms: number, peer: Peer, late: () => void) {
        this.#ms = ms
        this.peer = peer
        this.#late = late
        this.start()
    }

    /** Begins to wait for the next request; on a connection that is closed there will be none. */
    start(): void {
        this.stop()
        if (!this.#closed) this.#timer = setTimeout(this.#late, this.#ms)
    }

    stop(): void {
        clearTimeout(this.#timer)
    }

    close(): void {
        this.#closed = true
        this.stop()
    }
}

/** An answer to what never became a request. */
function refuse(socket: Socket, status: number, fault: Fault): void {
    if (socket.destroyed) return
    const body = `${JSON.stringify({ error: toRecord(fault) })}\n`
    const head = [
        `HTTP/1.1 ${status} ${statusText[status] ?? 'Error'}`,
        'content-type: application/json',
        `content-length: ${Buffer.byteLength(body)}`,
        'connection: close',
    ]
    // Closing with unread bytes would be a reset, and the other side would not see the answer.
    socket.resume()
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
    // Whoever does not read it does not keep the connection either.
    setTimeout(() => socket.destroy(), 1_000).unref()
}

const statusText: Record<number, string> = {
    400: 'Bad Request',
    403: 'Forbidden',
    408: 'Request Timeout',
    431: 'Request Header Fields Too Large',
    503: 'Service Unavailable',
}

async function serve(
    options: ServerOptions,
    request: IncomingMessage,
    response: ServerResponse,
    deadline: Deadline | undefined,
): Promise<void> {
    const gone = new AbortController()
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    response.on('close', () => {
        if (!response.writableFinished) gone.abort(new Fault('refused', 'cannot go on: the client is gone'))
        deadline?.start()
    })
    const answer = new Answer(response, gone.signal)
    try {
        const text = await readBody(request)
        deadline?.stop()
        const url = readUrl(request.url ?? '')
        const match = options.router.match(request.method ?? '', url.pathname)
        if ('missing' in match) {
            if (match.missing === 'method') response.setHeader('allow', match.allowed.join(', '))
            throw match.missing === 'path'
                ? unknownPath(url.pathname)
                : wrongMethod(request.method, url.pathname)
        }
        options.daemon.served++
        const { route, params } = match
        const call = {
            params,
            body: checkBody(route.method === 'GET' ? undefined : route.body, text) as never,
            query: checkQuery(route.query, url.searchParams) as never,
            peer: deadline?.peer ?? { pid: 0, uid: -1 },
            by: readBy(request, deadline?.peer),
            signal: gone.signal,
            send: (record: unknown) => answer.send(record),
        }
        const value = await route.handle(call, options.daemon)
        if (route.stream) answer.end()
        else answer.document(200, value ?? {})
    } catch (error) {
        if (gone.signal.aborted) return
        const fault = asFault(error)
        if (!(error instanceof Fault))
            options.log.error(`${request.method} ${request.url?.slice(0, 200)}: ${fault.message}`)
        if (fault.facts.broken === 1) response.setHeader('connection', 'close')
        answer.fault(fault)
    }
}

function unknownPath(path: string): Fault {
    return new Fault('usage', `cannot find ${path.slice(0, 200)}: the API has no such path`, {
        hint: 'docs/openapi.yaml lists them',
        facts: { missing: 'path' },
    })
}

function wrongMethod(method: string | undefined, path: string): Fault {
    return new Fault('usage', `cannot ${method} ${path.slice(0, 200)}: the path has no such method`, {
        facts: { status: 405 },
    })
}

function readUrl(url: string): URL {
    try {
        return new URL(url, 'http://proxsave')
    } catch {
        throw new Fault('usage', 'cannot accept the request: its address is not valid')
    }
}

/** Who asks, in the words of the client, which is root; only its shape is checked. */
function readBy(request: IncomingMessage, peer: Peer | undefined): string {
    const by = request.headers['proxsave-by']
    return typeof by === 'string' && /^[\x21-\x7e]{1,64}$/.test(by) ? by : `uid${peer?.uid ?? '?'}`
}

/** How long (ms) a body that is too long is read on before it is refused. */
const drainMs = 1_000

async function readBody(request: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = []
    let size = 0
    const tooLong = () =>
        new Fault(
            'usage',
            `cannot accept the request: its body is longer than ${limits.requestBytes} bytes`,
            {
                facts: { status: 413, broken: 1 },
            },
        )
    let late: ReturnType<typeof setTimeout> | undefined
    try {
        await new Promise<void>((resolve, reject) => {
            // Closing with unread bytes would be a reset, and the other side would not see the answer: for a moment what
            // is too much is read and dropped.
            const refuse = () => {
                chunks.length = 0
                late ??= setTimeout(() => reject(tooLong()), drainMs)
            }
            if (Number(request.headers['content-length'] ?? 0) > limits.requestBytes) refuse()
            request.on('data', (chunk: Buffer) => {
                size += chunk.length
                if (size > limits.requestBytes) refuse()
                else if (late === undefined) chunks.push(chunk)
            })
            request.on('end', () => (late === undefined ? resolve() : reject(tooLong())))
            request.on('error', reject)
            request.on('close', () =>
                reject(new Fault('refused', 'cannot accept the request: it ended early')),
            )
        })
    } finally {
        clearTimeout(late)
    }
    try {
        return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
    } catch {
        throw new Fault('usage', 'cannot accept the request: the body is not UTF-8')
    }
}

/** One answer: a document, or NDJSON that begins with the first record. */
class Answer {
    readonly #response: ServerResponse
    readonly #gone: AbortSignal
    #streaming = false

    constructor(response: ServerResponse, gone: AbortSignal) {
        this.#response = response
        this.#gone = gone
    }

    document(status: number, value: unknown): void {
        const body = `${JSON.stringify(value)}\n`
        this.#response.writeHead(status, {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
        })
        this.#response.end(body)
    }

    async send(record: unknown): Promise<void> {
        this.#gone.throwIfAborted()
        this.#open()
        if (this.#response.write(`${JSON.stringify(record)}\n`)) return
        await new Promise<void>((resolve, reject) => {
            const settle = () => {
                this.#response.off('drain', settle)
                this.#gone.removeEventListener('abort', settle)
                if (this.#gone.aborted) reject(this.#gone.reason)
                else resolve()
            }
            this.#response.on('drain', settle)
            this.#gone.addEventListener('abort', settle)
        })
    }

    end(): void {
        this.#open()
        this.#response.end()
    }

    /** A status while nothing was sent, a last record afterwards. */
    fault(fault: Fault): void {
        if (!this.#streaming) {
            const status = typeof fault.facts.status === 'number' ? fault.facts.status : statusOf(fault)
            this.document(status, { error: toRecord(fault) })
            return
        }
        this.#response.end(`${JSON.stringify({ event: 'error', error: toRecord(fault) })}\n`)
    }

    #open(): void {
        if (this.#streaming) return
        this.#streaming = true
        this.#response.writeHead(200, { 'content-type': 'application/x-ndjson' })
        // The client shall see that it was accepted before the first event comes.
        this.#response.flushHeaders()
    }
}
