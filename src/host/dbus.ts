/** A connection to D-Bus that comes back by itself and on which nothing waits for ever. */
import type { Message, MessageBus } from 'dbus-next'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

export const systemBusSocket = '/run/dbus/system_bus_socket'

export interface BusCall {
    destination: string
    path: string
    interface: string
    member: string
    signature?: string
    body?: unknown[]
}

export interface BusSignal {
    /** Unique name of the sender, which the bus vouches for. */
    sender: string
    path: string
    interface: string
    member: string
    body: unknown[]
}

export interface BusOptions {
    /** Path of the bus's socket. */
    socket: string
    /** Time for one call (ms), and for connecting. */
    callMs?: number
    /** Runs on each new connection before the first call: match rules, subscriptions. */
    prepare?: (call: (call: BusCall) => Promise<unknown[]>) => Promise<void>
    onSignal?: (signal: BusSignal) => void
    /** The connection is gone; whoever waits for a signal waits in vain. */
    onLost?: () => void
}

/** An answer of the other side that says no; `type` is the D-Bus name of the error. */
export class BusError extends Error {
    constructor(
        readonly type: string,
        text: string,
    ) {
        super(text)
        this.name = 'BusError'
    }
}

/** The bus does not answer, or went away during a call: whether the call had its effect is unknown. */
export class BusLost extends Error {
    override name = 'BusLost'
}

interface Live {
    bus: MessageBus
    makeMessage: typeof Message
    /** Rejects when the connection ends; awaited only in races. */
    lost: Promise<never>
    drop(why: string): void
}

/** So many calls in a row without an answer, and the connection is given up. */
const mostUnanswered = 3

export class Bus {
    #live: Promise<Live> | undefined
    #unanswered = 0

    constructor(readonly options: BusOptions) {}

    /** Connects when needed. Throws `BusError` for a refusal, `BusLost` when there is no answer. */
    async call(call: BusCall, callMs = this.options.callMs ?? limits.busMs): Promise<unknown[]> {
        return this.#send(await this.#connection(), call, callMs)
    }

    /** Ends the connection; a later call opens a new one. */
    close(): void {
        const live = this.#live
        this.#live = undefined
        live?.then(({ drop }) => drop('it was closed')).catch(() => undefined)
    }

    async #send(live: Live, call: BusCall, callMs: number): Promise<unknown[]> {
        const message = new live.makeMessage({ signature: '', body: [], ...call })
        try {
            const reply = await within(
                callMs,
                Promise.race([live.bus.call(message), live.lost]),
                'it does not answer',
            )
            this.#unanswered = 0
            return reply?.body ?? []
        } catch (error) {
            if (error instanceof BusLost) {
                if (++this.#unanswered >= mostUnanswered) live.drop('it does not answer')
                throw error
            }
            const { type, text } = error as { type?: unknown; text?: unknown }
            if (typeof type === 'string') throw new BusError(type, typeof text === 'string' ? text : type)
            throw new BusLost(error instanceof Error ? error.message : String(error))
        }
    }

    #connection(): Promise<Live> {
        this.#live ??= this.#connect().catch(error => {
            this.#live = undefined
            throw error
        })
        return this.#live
    }

    async #connect(): Promise<Live> {
        // Only the daemon needs the library; every other role starts without paying for it.
        const library = await import('dbus-next')
        const callMs = this.options.callMs ?? limits.busMs
        // With "socket=" the library takes node's own sockets and never asks for its native module.
        const bus = library.sessionBus({ busAddress: `unix:socket=${this.options.socket}` })
        let reject: (error: BusLost) => void = () => undefined
        const lost = new Promise<never>((_, no) => {
            reject = no
        })
        lost.catch(() => undefined)
        let gone = false
        const drop = (why: string) => {
            if (gone) return
            gone = true
            this.#live = undefined
            this.#unanswered = 0
            streamOf(bus).destroy()
            reject(new BusLost(why))
            this.options.onLost?.()
        }
        const live = { bus, makeMessage: library.Message, lost, drop }
        const connected = new Promise<void>(resolve => {
            bus.once('connect', resolve)
        })
        bus.on('error', (error: unknown) => drop(error instanceof Error ? error.message : String(error)))
        streamOf(bus).once('end', () => drop('the connection ended'))
        streamOf(bus).once('close', () => drop('the connection ended'))
        bus.on('message', (message: Message) => {
            if (message.type === library.MessageType.SIGNAL) this.options.onSignal?.(message)
        })
        try {
            await within(callMs, Promise.race([connected, lost]), 'it does not answer')
            await this.options.prepare?.(call => this.#send(live, call, callMs))
        } catch (error) {
            drop(error instanceof Error ? error.message : String(error))
            throw error
        }
        return live
    }
}

/** An error of the bus as people should read it. */
export function busFault(doing: string, error: unknown): Fault {
    if (error instanceof Fault) return error
    const why = error instanceof Error ? error.message : String(error)
    if (error instanceof BusError) return new Fault('failed', `cannot ${doing}: ${why}`, { cause: error })
    const missing = /ENOENT|ECONNREFUSED/.test(why)
    return new Fault('failed', `cannot ${doing}: ${missing ? 'there is no D-Bus here' : `D-Bus: ${why}`}`, {
        hint: 'is systemd running, and dbus.service with it?',
        cause: error,
    })
}

/** The library ends its socket politely, and then waits for a peer that may hang: this is the socket itself. */
function streamOf(bus: MessageBus): { destroy(): void; once(event: string, listener: () => void): void } {
    return (bus as unknown as { _connection: { stream: ReturnType<typeof streamOf> } })._connection.stream
}

function within<T>(ms: number, work: Promise<T>, why: string): Promise<T> {
    let timer: ReturnType<typeof setTimeout>
    const limit = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new BusLost(why)), ms)
    })
    return Promise.race([work, limit]).finally(() => clearTimeout(timer))
}
