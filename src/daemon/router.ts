/** Finds the route of a request and checks what came with it; knows nothing of sockets. */
import type { TSchema } from '@sinclair/typebox'
import { type ValueError, ValueErrorType } from '@sinclair/typebox/value'
import { Value } from '@sinclair/typebox/value'
import { closest, distance } from 'fastest-levenshtein'
import { Fault, type FaultKind } from '../core/errors.ts'
import type { AnyRoute } from './route.ts'

export interface Matched {
    route: AnyRoute
    params: Record<string, string>
}

export type Match = Matched | { missing: 'path' } | { missing: 'method'; allowed: string[] }

export class Router {
    readonly #routes: { route: AnyRoute; parts: string[] }[]

    constructor(routes: readonly AnyRoute[]) {
        this.#routes = routes.map(route => ({ route, parts: route.path.split('/') }))
    }

    /** `path` without the query, still percent-encoded. Throws a usage fault for a broken encoding. */
    match(method: string, path: string): Match {
        const parts = path.split('/')
        const allowed: string[] = []
        for (const { route, parts: wanted } of this.#routes) {
            const params = matchParts(wanted, parts)
            if (params === undefined) continue
            if (route.method === method) return { route, params }
            allowed.push(route.method)
        }
        return allowed.length > 0 ? { missing: 'method', allowed } : { missing: 'path' }
    }
}

function matchParts(wanted: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
    if (wanted.length !== parts.length) return undefined
    const params: Record<string, string> = {}
    for (const [at, name] of wanted.entries()) {
        const part = parts[at]!
        if (name.startsWith('{')) {
            if (part === '') return undefined
            params[name.slice(1, -1)] = decode(part)
        } else if (name !== part) return undefined
    }
    return params
}

function decode(part: string): string {
    try {
        return decodeURIComponent(part)
    } catch {
        throw new Fault('usage', 'cannot accept the request: its path is not encoded properly')
    }
}

/** The body as its schema wants it. A route without a schema takes no body, or an empty object. */
export function checkBody(schema: TSchema | undefined, text: string): unknown {
    let value: unknown = {}
    if (text.trim() !== '') {
        try {
            value = JSON.parse(text)
        } catch (error) {
            const why = error instanceof Error ? error.message : String(error)
            throw new Fault('usage', `cannot accept the request: the body is not JSON: ${why}`)
        }
    }
    if (schema === undefined) {
        if (value !== null && typeof value === 'object' && Object.keys(value).length === 0) return undefined
        throw new Fault('usage', 'cannot accept the request: it takes no body')
    }
    return checked(schema, value, 'field')
}

/** The query as its schema wants it: numbers and booleans are read from their text. */
export function checkQuery(schema: TSchema | undefined, search: URLSearchParams): unknown {
    const value: Record<string, string> = {}
    for (const [name, text] of search) {
        if (Object.hasOwn(value, name))
            throw new Fault('usage', `cannot accept the request: "${short(name)}" is there twice`)
        Object.defineProperty(value, name, { value: text, enumerable: true, writable: true })
    }
    if (schema === undefined) {
        const [first] = Object.keys(value)
        if (first === undefined) return undefined
        throw new Fault('usage', `cannot accept the request: unknown parameter "${short(first)}"`)
    }
    return checked(schema, Value.Convert(schema, value), 'parameter')
}

function checked(schema: TSchema, value: unknown, what: string): unknown {
    const first = Value.Errors(schema, value).First()
    if (first === undefined) return value
    throw refusal(schema, first, what)
}

function refusal(schema: TSchema, error: ValueError, what: string): Fault {
    const name = short(error.path.slice(1).replaceAll('/', '.'))
    if (error.type === ValueErrorType.ObjectAdditionalProperties) {
        const known = Object.keys((schema as { properties?: object }).properties ?? {})
        const nearest = known.length > 0 ? closest(name, known) : ''
        const near = nearest !== '' && distance(name, nearest) <= 2
        return new Fault('usage', `cannot accept the request: unknown ${what} "${name}"`, {
            hint: near
                ? `did you mean "${nearest}"?`
                : known.length > 0
                  ? `known are ${known.join(', ')}`
                  : undefined,
        })
    }
    if (name === '') return new Fault('usage', `cannot accept the request: the body must be an object`)
    if (error.type === ValueErrorType.ObjectRequiredProperty)
        return new Fault('usage', `cannot accept the request: ${what} "${name}" is missing`)
    return new Fault(
        'usage',
        `cannot accept the request: ${what} "${name}": ${error.message.replace(/^E/, 'e').replace(/\.$/, '')}`,
    )
}

/** Names from outside come back in messages, but not by the kilobyte and not with control characters. */
function short(name: string): string {
    const clean = name.replaceAll(/[^\x20-\x7e]/g, '?')
    return clean.length > 60 ? `${clean.slice(0, 57)}...` : clean
}

const statusOfKind: Record<FaultKind, number> = {
    failed: 500,
    usage: 400,
    unreachable: 503,
    refused: 403,
    damaged: 422,
    partial: 500,
    'rolled-back': 500,
    conflict: 409,
    stuck: 500,
}

/** The HTTP status of a fault. What is not there says so in its facts. */
export function statusOf(fault: Fault): number {
    return fault.facts.missing !== undefined ? 404 : statusOfKind[fault.kind]
}
