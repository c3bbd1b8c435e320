/** The shape of a route: data that the server checks requests against and docs/openapi.yaml is written from. */
import type { Static, TSchema } from '@sinclair/typebox'
import type { Daemon } from './daemon.ts'

/** Who is at the other end of the socket; the kernel says so. */
export interface Peer {
    pid: number
    uid: number
}

export interface Call<Body = undefined, Query = undefined> {
    /** Parts of the path: `{id}`. */
    params: Record<string, string>
    body: Body
    query: Query
    peer: Peer
    /** Who asks, for history: `root@pts/0`. */
    by: string
    /** Aborted when the client is gone. */
    signal: AbortSignal
    /** Sends one record of an NDJSON answer; resolves when the client may be sent more. Only on routes with `stream`. */
    send(record: unknown): Promise<void>
}

type Of<S extends TSchema | undefined> = S extends TSchema ? Static<S> : undefined

export interface Route<B extends TSchema | undefined = undefined, Q extends TSchema | undefined = undefined> {
    method: 'GET' | 'POST' | 'DELETE'
    /** `/v1/backups/{id}`. */
    path: string
    summary: string
    /** `root`: uid 0, or the daemon's own user when it does not run as root. */
    access: 'root'
    body?: B
    query?: Q
    /** Schema of the answer, or of one record when `stream` is set. */
    answer?: TSchema
    /** The answer is NDJSON, sent with `call.send`. */
    stream?: true
    handle(call: Call<Of<B>, Of<Q>>, daemon: Daemon): Promise<unknown> | unknown
}

/** Any route; what its handler takes was checked against its own schemas. */
export type AnyRoute = Omit<Route<TSchema, TSchema>, 'handle'> & {
    handle(call: Call<never, never>, daemon: Daemon): Promise<unknown> | unknown
}

/** Gives a route's handler the types of the route's own schemas. */
export function route<B extends TSchema | undefined = undefined, Q extends TSchema | undefined = undefined>(
    definition: Route<B, Q>,
): AnyRoute {
    return definition as unknown as AnyRoute
}
