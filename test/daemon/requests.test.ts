/** What comes in at the socket: everything that is not a proper request is refused, and the daemon stays up. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { statSync } from 'node:fs'
import { connect } from 'node:net'
import { limits } from '../../src/core/limits.ts'
import { RunningDaemon } from './running.ts'

let daemon: RunningDaemon
beforeAll(async () => {
    daemon = await RunningDaemon.begin()
})
afterAll(() => daemon.end())

/** Sends raw bytes; resolves to what came back when the daemon closed, or after `mostMs`. */
function raw(bytes: string | Uint8Array, mostMs = 5_000): Promise<string> {
    return new Promise(resolve => {
        let answer = ''
        const socket = connect(daemon.socket, () => socket.write(bytes))
        const timer = setTimeout(() => socket.destroy(), mostMs)
        socket.on('data', chunk => {
            answer += chunk.toString('latin1')
        })
        socket.on('error', () => undefined)
        socket.on('close', () => {
            clearTimeout(timer)
            resolve(answer)
        })
    })
}

const errorOf = (text: string) =>
    (JSON.parse(text) as { error: { kind: string; message: string; hint?: string } }).error

describe('the socket', () => {
    test('is for its owner alone', () => {
        expect(statSync(daemon.socket).mode & 0o777).toBe(0o600)
    })

    test('answers with JSON, and keeps the connection', async () => {
        const two = 'GET /v1/changes HTTP/1.1\r\nHost: x\r\n\r\n'
        const answer = await raw(`${two}${two.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}`)
        expect(answer.match(/HTTP\/1\.1 200 OK/g)?.length).toBe(2)
    })
})

describe('a request', () => {
    const refused: [string, string, string, string | undefined, number, string][] = [
        ['with an unknown path', 'GET', '/v1/nothing', undefined, 404, 'no such path'],
        ['with a wrong method', 'DELETE', '/v1/status', undefined, 405, 'no such method'],
        ['with an unknown field', 'POST', '/v1/backups', '{"jobb":"x"}', 400, 'unknown field "jobb"'],
        ['with a field of the wrong type', 'POST', '/v1/backups', '{"pin":"yes"}', 400, 'field "pin"'],
        ['with a list for a body', 'POST', '/v1/backups', '[]', 400, 'must be an object'],
        ['with broken JSON', 'POST', '/v1/backups', '{"job":', 400, 'not JSON'],
        ['with an unknown parameter', 'GET', '/v1/backups?al=true', undefined, 400, 'unknown parameter "al"'],
        ['with a parameter given twice', 'GET', '/v1/backups?all=true&all=true', undefined, 400, 'twice'],
        ['with a bad number', 'GET', '/v1/changes/x/events?after=-1', undefined, 400, '"after"'],
        ['with a broken encoding', 'GET', '/v1/jobs/%ff', undefined, 400, 'not encoded'],
        ['with a body where none is taken', 'POST', '/v1/reload', '{"now":1}', 400, 'no body'],
        [
            'for an unknown change',
            'GET',
            '/v1/changes/20200101-000000-abcd',
            undefined,
            500,
            'cannot find the change',
        ],
        ['for an unknown backup', 'GET', '/v1/backups/abcdef', undefined, 404, 'cannot find the backup'],
        ['for a job that is not there', 'GET', '/v1/jobs/nightly', undefined, 400, 'cannot use the job'],
        [
            'with a prototype for a field',
            'POST',
            '/v1/backups',
            '{"__proto__":{"job":"x"}}',
            400,
            '__proto__',
        ],
    ]
    for (const [name, method, path, body, status, words] of refused)
        test(`${name} is refused in words`, async () => {
            const answer = await daemon.api(method, path, body)
            expect(answer.status).toBe(status)
            expect(errorOf(answer.text).message).toStartWith('cannot ')
            expect(errorOf(answer.text).message).toContain(words)
        })

    test('with a mistyped field names the one that was meant', async () => {
        const { text } = await daemon.api('POST', '/v1/backups', '{"not":"x"}')
        expect(errorOf(text).hint).toBe('did you mean "note"?')
    })

    test('with a body that is too long is refused, whether it says so or not', async () => {
        const long = await daemon.api('POST', '/v1/backups', 'x'.repeat(limits.requestBytes + 1))
        expect(long.status).toBe(413)
        const piece = 'x'.repeat(65_536)
        const chunk = `${piece.length.toString(16)}\r\n${piece}\r\n`
        const head = 'POST /v1/backups HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
        expect(await raw(head + chunk.repeat(20))).toContain('413')
    })

    test('with endless headers is refused', async () => {
        expect(await raw(`GET /v1/status HTTP/1.1\r\nHost: ${'x'.repeat(200_000)}`)).toContain('431')
    })

    test('that is not HTTP is refused with JSON', async () => {
        const answer = await raw('\x16\x03\x01 hello\r\n\r\n')
        expect(answer).toContain('400 Bad Request')
        expect(errorOf(answer.split('\r\n\r\n')[1]!).message).toContain('not HTTP')
    })
})

describe('a thousand malformed requests', () => {
    /** Deterministic: the same seed makes the same storm. */
    function* storm(seed: number): Generator<Uint8Array> {
        let x = seed
        const random = (below: number) => {
            x ^= x << 13
            x ^= x >>> 17
            x ^= x << 5
            return (x >>> 0) % below
        }
        const good = [
            'GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n',
            'POST /v1/backups HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{"note":"abc"}',
            'POST /v1/archives/verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"bac\r\n0\r\n\r\n',
            'GET /v1/changes/x/events?after=1 HTTP/1.1\r\nHost: x\r\n\r\n',
        ]
        for (;;) {
            const bytes = Buffer.from(good[random(good.length)]!)
            for (let times = 1 + random(6); times > 0; times--) bytes[random(bytes.length)] = random(256)
            // A cut leaves the request incomplete: the client then just goes away.
            yield random(3) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes
        }
    }

    test('leave the daemon up, with no more connections than before', async () => {
        const seed = 20_261_120
        const requests = storm(seed)
        let sent = 0
        const sender = async () => {
            while (sent < 1_000) {
                sent++
                await raw(requests.next().value!, 40)
            }
        }
        await Promise.all(Array.from({ length: 25 }, sender))
        const { status, text } = await daemon.api('GET', '/v1/status')
        expect(status, `seed ${seed}`).toBe(200)
        expect(JSON.parse(text).daemon.pid).toBe(daemon.pid)
        expect(daemon.log).not.toContain('unexpected:')
        // A mutated request may have been a proper one; nothing but a backup that refuses can have come of it.
        expect(JSON.parse(text).running).toBe(null)
    }, 60_000)

    test('and as many slow connections as it takes still let others in once they are closed', async () => {
        const idle = await Promise.all(
            Array.from(
                { length: limits.connections + 20 },
                () =>
                    new Promise<import('node:net').Socket>(resolve => {
                        const socket = connect(daemon.socket, () => resolve(socket))
                        socket.on('error', () => resolve(socket))
                    }),
            ),
        )
        const answer = await raw('GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        expect(answer).toContain('503')
        for (const socket of idle) socket.destroy()
        let status = 0
        for (let tries = 0; tries < 50 && status !== 200; tries++)
            status = await daemon.api('GET', '/v1/changes').then(
                ({ status }) => status,
                () => 0,
            )
        expect(status).toBe(200)
    })
})
