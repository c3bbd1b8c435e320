/** docs/openapi.yaml, written from the routes themselves: what is checked and what is described cannot differ. */
import { type TSchema, Type } from '@sinclair/typebox'
import { FaultAnswer } from '../core/answers.ts'
import type { AnyRoute } from './route.ts'

export function openapiPage(routes: readonly AnyRoute[]): string {
    const paths: Record<string, Record<string, unknown>> = {}
    for (const route of routes) {
        paths[route.path] ??= {}
        paths[route.path]![route.method.toLowerCase()] = operation(route)
    }
    const page = {
        openapi: '3.1.0',
        info: {
            title: 'proxsave',
            version: '1',
            description:
                'HTTP over the Unix socket /run/proxsave/proxsave.sock, for root. Unknown fields are refused. For example: curl --unix-socket /run/proxsave/proxsave.sock http://proxsave/v1/status',
            license: { name: 'MIT' },
        },
        servers: [{ url: 'http://proxsave', description: 'the Unix socket; the host name is not looked at' }],
        paths,
    }
    const head = '# Written by packaging/generate-openapi from src/daemon/routes; edit those.\n'
    return `${head}${Bun.YAML.stringify(plain(page), null, 2)}\n`
}

function operation(route: AnyRoute): unknown {
    const parameters = [...pathParameters(route.path), ...queryParameters(route.query)]
    return {
        summary: route.summary,
        ...(parameters.length > 0 ? { parameters } : {}),
        ...(route.body === undefined
            ? {}
            : { requestBody: { content: { 'application/json': { schema: route.body } } } }),
        responses: {
            200: {
                description: route.stream === true ? 'one record a line, as they come' : 'done',
                content: {
                    [route.stream === true ? 'application/x-ndjson' : 'application/json']: {
                        schema: route.answer ?? Type.Object({}),
                    },
                },
            },
            default: {
                description: 'refused or failed; error.kind says how',
                content: { 'application/json': { schema: Type.Object({ error: FaultAnswer }) } },
            },
        },
    }
}

function pathParameters(path: string): unknown[] {
    return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
        name,
        in: 'path',
        required: true,
        schema: { type: 'string' },
    }))
}

function queryParameters(query: TSchema | undefined): unknown[] {
    const { properties = {}, required = [] } = (query ?? {}) as {
        properties?: Record<string, TSchema>
        required?: string[]
    }
    return Object.entries(properties).map(([name, schema]) => ({
        name,
        in: 'query',
        required: required.includes(name),
        schema,
    }))
}

/** As JSON has it: typebox keeps symbols in its schemas that no reader should see. */
function plain(value: unknown): unknown {
    return JSON.parse(JSON.stringify(value))
}
