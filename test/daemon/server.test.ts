/** The socket's own rules, tried with short times and with another user. */
import { afterEach, describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import { Fault } from '../../src/core/errors.ts'
import type { Daemon } from '../../src/daemon/daemon.ts'
import { logTo } from '../../src/daemon/log.ts'
import { type AnyRoute, route } from '../../src/daemon/route.ts'
import { Router } from '../../src/daemon/router.ts'
import { listen, type Server } from '../../src/daemon/server.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
})

async function serve(routes: AnyRoute[], options: { requestMs?: number; uid?: number } = {}) {
    const base = mkdtempSync(join(tmpdir(), 'proxsave-server-'))
    closing.push(() => rmSync(base, { recursive: true, force: true }))
    const path = join(base, 'p.sock')
    let said = ''
    const log = logTo(text => {
        said += text
    }, false)
    const start = (): Promise<Server> =>
        listen({
            path,
            router: new Router(routes),
            daemon: {} as Daemon,
            log,
            uid: process.getuid!(),
            ...options,
        })
    const server = await start()
    closing.push(() => server.close())
    return { path, base, server, start, said: () => said }
}

const ping = route({
    method: 'GET',
    path: '/v1/ping',
    summary: 'ping',
    access: 'root',
    handle: () => ({ pong: 1 }),
})

function get(path: string, target = '/v1/ping'): Promise<Response> {
    return fetch(`http://x${target}`, { unix: path })
}

describe('a request that does not come to its end', () => {
    const partial = [
        ['has no bytes at all', ''],
        ['stops in its headers', 'GET /v1/ping HTTP/1.1\r\nHos'],
        ['stops in its body', 'POST /v1/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc'],
    ] as const
    for (const [name, bytes] of partial)
        test(`and ${name} is closed after its time`, async () => {
            const { path } = await serve([ping], { requestMs: 60 })
            const answer = await new Promise<string>(resolve => {
                let text = ''
                const socket = connect(path, () => socket.write(bytes))
                socket.on('data', chunk => {
                    text += chunk.toString()
                })
                socket.on('close', () => resolve(text))
            })
            expect(answer).toContain('408')
        })

    test('while the daemon itself may take as long as it needs', async () => {
        const slow = route({
            method: 'GET',
            path: '/v1/slow',
            summary: 'slow',
            access: 'root',
            handle: () => new Promise(resolve => setTimeout(() => resolve({ done: true }), 200)),
        })
        const { path } = await serve([slow], { requestMs: 60 })
        expect(await (await get(path, '/v1/slow')).json()).toEqual({ done: true })
    })
})

describe('a stream', () => {
    const fails = route({
        method: 'GET',
        path: '/v1/fails',
        summary: 'fails',
        access: 'root',
        stream: true,
        query: Type.Object({ after: Type.Integer() }),
        async handle({ query, send }) {
            for (let at = 0; at < query.after; at++) await send({ event: 'item', item: at })
            throw new Fault('damaged', 'cannot go on: it is broken')
        },
    })

    test('that fails before its first record has the status of the fault', async () => {
        const { path } = await serve([fails])
        const answer = await get(path, '/v1/fails?after=0')
        expect(answer.status).toBe(422)
        expect((await answer.json()) as object).toEqual({
            error: { kind: 'damaged', message: 'cannot go on: it is broken' },
        })
    })

    test('that fails later ends with an error record', async () => {
        const { path } = await serve([fails])
        const lines = (await (await get(path, '/v1/fails?after=2')).text()).trim().split('\n')
        expect(lines.map(line => JSON.parse(line).event)).toEqual(['item', 'item', 'error'])
    })

    test('whose client leaves is told so', async () => {
        const { promise, resolve } = Promise.withResolvers<string>()
        const endless = route({
            method: 'GET',
            path: '/v1/endless',
            summary: 'endless',
            access: 'root',
            stream: true,
            async handle({ send, signal }) {
                signal.addEventListener('abort', () => resolve('told'))
                await send({ event: 'item' })
                await new Promise(() => undefined)
            },
        })
        const { path } = await serve([endless])
        const leave = new AbortController()
        const response = await fetch('http://x/v1/endless', { unix: path, signal: leave.signal })
        await response.body!.getReader().read()
        leave.abort()
        expect(await promise).toBe('told')
    })
})

describe('the place of the socket', () => {
    test('is taken over when nobody answers there', async () => {
        const { path, start } = await serve([ping])
        // A killed daemon leaves its socket behind: bind one and go without unlinking it.
        rmSync(path)
        const child = Bun.spawnSync([
            process.execPath,
            '-e',
            `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
        ])
        expect(child.signalCode).toBe('SIGKILL')
        expect(existsSync(path)).toBe(true)
        const again = await start()
        closing.push(() => again.close())
        expect((await get(path)).status).toBe(200)
    })

    test('is left to another daemon that answers there', async () => {
        const { path, start } = await serve([ping])
        const fault = await start().catch(error => error)
        expect(fault).toBeInstanceOf(Fault)
        expect(fault.kind).toBe('conflict')
        expect((await get(path)).status).toBe(200)
    })

    test('is never a file of somebody else', async () => {
        const { base } = await serve([ping])
        const path = join(base, 'precious')
        writeFileSync(path, 'precious')
        const options = {
            path,
            router: new Router([ping]),
            daemon: {} as Daemon,
            log: logTo(() => {}, false),
            uid: 0,
        }
        expect((await listen(options).catch(error => error)).message).toContain('not a socket')
        expect(existsSync(path)).toBe(true)
    })

    test('is gone after a clean stop', async () => {
        const { path, server } = await serve([ping])
        await server.close()
        expect(existsSync(path)).toBe(false)
    })
})

describe('another user', () => {
    const root = process.getuid?.() === 0
    if (!root) console.log('skip: only root can try the socket as another user')
    test.skipIf(!root)('is refused by the kernel, and by the daemon when the mode is wide open', async () => {
        const { path, base, said } = await serve([ping])
        chmodSync(base, 0o755)
        // The daemon answers from this very process: curl must not block it.
        const asked = async () => {
            const child = Bun.spawn(
                [
                    'setpriv',
                    '--reuid=65534',
                    '--regid=65534',
                    '--clear-groups',
                    'curl',
                    '-sS',
                    '--unix-socket',
                    path,
                    'http://x/v1/ping',
                ],
                { stdout: 'pipe', stderr: 'pipe' },
            )
            return `${await new Response(child.stdout).text()}${await new Response(child.stderr).text()}`
        }
        expect(await asked()).toContain('connect')
        chmodSync(path, 0o666)
        expect(await asked()).toContain('only root may')
        expect(said()).toContain('refused a connection of uid 65534')
    })
})

test('a server of another kind in the way is not unlinked', async () => {
    const base = mkdtempSync(join(tmpdir(), 'proxsave-server-'))
    const path = join(base, 'other.sock')
    const other = createServer()
    await new Promise<void>(resolve => other.listen(path, resolve))
    closing.push(
        () => rmSync(base, { recursive: true, force: true }),
        () => new Promise<void>(resolve => other.close(() => resolve())),
    )
    const options = {
        path,
        router: new Router([ping]),
        daemon: {} as Daemon,
        log: logTo(() => {}, false),
        uid: 0,
    }
    expect((await listen(options).catch(error => error)).kind).toBe('conflict')
    expect(existsSync(path)).toBe(true)
})
