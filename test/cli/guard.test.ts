/** Guards on the command line: without the daemon, while a change is followed, and at a real terminal. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LocalGuards } from '../../src/cli/command.ts'
import { runCli } from '../../src/cli/main.ts'
import type { Client, GuardInfo } from '../../src/client/types.ts'
import { Fault } from '../../src/core/errors.ts'
import { until } from '../daemon/running.ts'

setDefaultTimeout(30_000)

const time = '2026-11-20T12:00:00.000Z'
const armed: GuardInfo = {
    id: 'c1-network',
    change: 'c1',
    area: 'network',
    state: 'ARMED',
    applied: true,
    secondsLeft: 172,
    deadline: '2026-11-20T12:02:52.000Z',
    addresses: { before: ['192.0.2.10'], after: ['192.0.2.20'] },
    reconnect: ['192.0.2.10'],
    log: '/var/lib/proxsave/guard/c1-network/log',
    directory: '/var/lib/proxsave/guard/c1-network',
}
const executed: GuardInfo = {
    ...armed,
    state: 'EXECUTED',
    secondsLeft: undefined,
    why: 'deadline',
    executed: time,
}
const confirmed: GuardInfo = {
    ...armed,
    state: 'DISARMED',
    secondsLeft: undefined,
    reconnect: ['192.0.2.20'],
    confirmed: { time, by: 'root@tty1' },
}
const unreachable = new Fault('unreachable', 'cannot reach the daemon: nobody listens there')
const lost = new Fault('unreachable', 'cannot go on: the connection was closed', { facts: { lost: 1 } })

interface Play {
    call?: (method: string, path: string) => unknown
    events?: object[]
    guards?: Partial<LocalGuards>
}

/** One command line, with a daemon and a host of the test. */
async function run(args: string[], { call = () => ({}), events = [], guards }: Play) {
    const said = { out: '', err: '' }
    const calls: string[] = []
    const local: string[] = []
    let interrupt = () => {}
    const client: Client = {
        async call<T>(method: string, path: string) {
            calls.push(`${method} ${path}`)
            return (await call(method, path)) as T
        },
        async *stream<T extends { event: string }>(
            _method: string,
            _path: string,
            { signal }: { signal?: AbortSignal } = {},
        ) {
            for (const event of events) {
                if ((event as { event: string }).event === 'hang') {
                    interrupt()
                    signal!.throwIfAborted()
                }
                const { until: words } = event as { until?: string }
                if (words === undefined) yield event as T
                else await until(() => (said.out + said.err).includes(words), `it says ${words}`)
            }
        },
    }
    const here: LocalGuards = {
        list: () => [],
        commit: async () => confirmed,
        rollback: async () => armed,
        ...guards,
    }
    const spied: LocalGuards = {
        list: () => here.list(),
        commit(...given) {
            local.push(`commit ${given.join(' ')}`)
            return here.commit(...given)
        },
        rollback(...given) {
            local.push(`rollback ${given.join(' ')}`)
            return here.rollback(...given)
        },
    }
    const status = await runCli(args, {
        connect: () => client,
        files: { exists: () => false, read: () => new Uint8Array(), create: () => {} },
        guards: async () => spied,
        version: '1',
        terminal: {
            out: text => {
                said.out += text
            },
            err: text => {
                said.err += text
            },
            drained: async () => {},
            inIsTerminal: false,
            outIsTerminal: false,
            errIsTerminal: false,
            columns: 0,
            env: {},
            cwd: '/',
            user: 'root@tty1',
            onInterrupt: handler => {
                interrupt = handler
                return () => {}
            },
            readInput: async () => '',
        },
    })
    return { status, ...said, calls, local }
}

const dead = () => {
    throw unreachable
}

describe('commit', () => {
    test('asks the daemon for the armed guard, or for the one that is named', async () => {
        const one = await run(['commit'], { call: () => confirmed })
        expect([one.status, one.calls, one.local]).toEqual([0, ['POST /v1/guards/armed/commit'], []])
        expect(one.out).toBe(
            [
                'DISARMED, the new state stays: network of the change c1, confirmed by root@tty1',
                '  addresses before: 192.0.2.10; after: 192.0.2.20',
                '  reconnect to: 192.0.2.20',
                '  log: /var/lib/proxsave/guard/c1-network/log\n',
            ].join('\n'),
        )
        const named = await run(['commit', 'c1', '--json'], { call: () => confirmed })
        expect(named.calls).toEqual(['POST /v1/guards/c1/commit'])
        expect(JSON.parse(named.out)).toMatchObject({ state: 'DISARMED', confirmed: { by: 'root@tty1' } })
    })

    test('works here when the daemon is dead', async () => {
        const ran = await run(['commit', 'c1'], { call: dead })
        expect([ran.status, ran.local]).toEqual([0, ['commit c1 root@tty1']])
        expect(ran.out).toContain('DISARMED')
    })

    test('is not decided here for the daemon of another socket', async () => {
        for (const verb of ['commit', 'rollback', 'status']) {
            const ran = await run([verb, '--socket', '/demo/proxsave.sock'], { call: dead })
            expect([ran.status, ran.local]).toEqual([3, []])
        }
    })

    test('is refused as the daemon refuses it, and then not tried here', async () => {
        const refused = new Fault('refused', 'cannot commit: this SSH connection proves nothing', {
            hint: 'open a new one',
        })
        const ran = await run(['commit'], {
            call: () => {
                throw refused
            },
        })
        expect([ran.status, ran.local]).toEqual([4, []])
        expect(ran.err).toContain('proves nothing\nhint: open a new one\n')
    })

    test('that the daemon took and could not answer any more is done', async () => {
        const guards = {
            list: () => [confirmed],
            commit: async () => {
                throw new Fault('failed', 'cannot commit: no guard is armed', {
                    facts: { confirmed: 'c1-network' },
                })
            },
        }
        const cut = () => {
            throw lost
        }
        expect((await run(['commit'], { call: cut, guards })).status).toBe(0)
        // One that was never asked cannot have done it.
        expect((await run(['commit'], { call: dead, guards })).status).toBe(1)
    })

    test('says what the daemon said to somebody who is not root', async () => {
        const guards = {
            commit: async () => Promise.reject(Object.assign(new Error('no'), { code: 'EACCES' })),
        }
        expect((await run(['commit'], { call: dead, guards })).status).toBe(3)
    })
})

describe('rollback', () => {
    test('waits until it is done, although the daemon dies of it', async () => {
        let asked = 0
        const call = (method: string) => {
            if (method === 'POST') return armed
            if (asked++ === 0) return { guards: [armed] }
            throw lost
        }
        const ran = await run(['rollback'], { call, guards: { list: () => [executed] } })
        expect([ran.status, ran.local]).toEqual([0, []])
        expect(ran.out).toContain('EXECUTED, the old state is back: network of the change c1')
        expect(ran.out).toContain('reconnect to: 192.0.2.10')
    })

    test('works here when the daemon is dead', async () => {
        const ran = await run(['rollback', '--json'], { call: dead, guards: { list: () => [executed] } })
        expect([ran.status, ran.local]).toEqual([0, ['rollback  root@tty1']])
        expect(JSON.parse(ran.out)).toMatchObject({ state: 'EXECUTED' })
    })

    test('is no success when somebody confirmed it in the same moment', async () => {
        const call = (method: string) => (method === 'POST' ? armed : { guards: [confirmed] })
        const ran = await run(['rollback'], { call })
        expect(ran.status).toBe(1)
        expect(ran.err).toContain('hint: proxsavectl undo c1')
    })

    test('need not be waited for', async () => {
        const ran = await run(['rollback', '--detach'], { call: () => armed })
        expect([ran.status, ran.calls]).toEqual([0, ['POST /v1/guards/armed/rollback']])
        expect(ran.out).toContain('ARMED')
    })
})

test('status tells how one that was rolled back goes away', async () => {
    const status = {
        daemon: { version: '1', pid: 1, since: time, root: '/' },
        host: { name: 'pve1', product: 'pve' },
        ...{ last: null, next: null, running: null, unfinished: [], deferred: [], warnings: [], skipped: [] },
    }
    const told = async (guard: GuardInfo) =>
        (await run(['status'], { call: () => ({ ...status, guard }) })).out
    expect(await told(executed)).toContain('\n             shown until the next change, or for a day\n')
    expect(await told(armed)).not.toContain('shown until')
})

test('status says without a daemon that something goes back by itself', async () => {
    const ran = await run(['status'], { call: dead, guards: { list: () => [armed] } })
    expect(ran.status).toBe(3)
    expect(ran.err).toContain(
        'ARMED, in 172 s (12:02:52 UTC) it goes back by itself: network of the change c1',
    )
})

const begin = {
    seq: 1,
    time,
    event: 'begin',
    change: 'c1',
    kind: 'restore',
    summary: 'restore',
    by: 'x',
    tasks: [],
}
const ended = { seq: 9, time, event: 'end', result: 'ok', change: 'c1' }
const question = {
    seq: 2,
    time,
    event: 'question',
    id: 'network.commit',
    text: 'The new network is in place.\nCan you still reach this host?',
    choices: [
        { value: 'COMMIT', text: 'keep the new state' },
        { value: 'ROLLBACK', text: 'return to the old one now' },
    ],
    safe: 'ROLLBACK',
}

describe('while a change is followed', () => {
    const call = (_method: string, path: string) => (path === '/v1/guards' ? { guards: [armed] } : {})
    const told = [
        'ARMED, in 172 s',
        'addresses before: 192.0.2.10; after: 192.0.2.20',
        'reconnect to: 192.0.2.10',
        'from another computer in a new connection to 192.0.2.20: proxsavectl commit',
        'log: /var/lib/proxsave/guard/c1-network/log',
    ]

    test('Ctrl+C leaves with all that is needed to decide', async () => {
        const ran = await run(['backup'], {
            call: (m, p) => (p === '/v1/backups' ? { change: 'c1' } : call(m, p)),
            events: [begin, { event: 'hang' }],
        })
        expect(ran.status).toBe(6)
        for (const text of ['proxsavectl attach c1', ...told]) expect(ran.err).toContain(text)
    })

    test('attach begins with it, and has it as JSON', async () => {
        const ran = await run(['attach', 'c1'], { call, events: [begin, ended] })
        for (const text of told) expect(ran.err).toContain(text)
        const json = await run(['attach', 'c1', '--json'], { call, events: [begin, ended] })
        expect(JSON.parse(json.out.split('\n')[0]!)).toMatchObject({
            event: 'guard',
            state: 'ARMED',
            secondsLeft: 172,
        })
        expect(JSON.parse(json.out.trim().split('\n').at(-1)!).event).toBe('end')
    })

    test('the question is told where nobody can type, with the way to answer it, and left open', async () => {
        let asked = 0
        // Not at the beginning, as in a restore that is followed from its start.
        const late = (m: string, p: string) =>
            p === '/v1/guards' && asked++ === 0 ? { guards: [] } : call(m, p)
        for (const args of [
            ['attach', 'c1'],
            ['attach', 'c1', '--json'],
        ]) {
            asked = 0
            const events = [begin, question, { until: 'c1-network/log' }, ended]
            const ran = await run(args, { call: late, events })
            expect(ran.calls.filter(one => one.startsWith('POST'))).toEqual([])
            if (args.includes('--json')) expect(ran.out).toContain('{"event":"guard"')
            else
                for (const text of ['Can you still reach this host?', ...told])
                    expect(ran.err).toContain(text)
        }
    })

    test('a question that was answered long ago is not put again', async () => {
        const answer = { seq: 3, time, event: 'answer', id: question.id, value: 'COMMIT', by: 'x' }
        const ran = await run(['attach', 'c1'], { events: [begin, question, answer, ended] })
        expect(ran.err).not.toContain('Can you still reach')
    })

    test('nothing is said of guards when none is armed', async () => {
        const ran = await run(['attach', 'c1'], {
            call: () => ({ guards: [executed] }),
            events: [begin, ended],
        })
        expect(ran.err).not.toContain('EXECUTED')
    })

    test('a guard that fired ends with 7, what went back, what stays, and where to connect', async () => {
        const end = {
            seq: 9,
            time,
            event: 'end',
            result: 'rolled-back',
            change: 'c1',
            mode: 'base',
            created: 3,
            replaced: 2,
            unchanged: 40,
            error: {
                kind: 'rolled-back',
                message: 'cannot keep the new network: it was rolled back, nobody confirmed it in time',
            },
        }
        const ssh = { ...confirmed, id: 'c1-ssh', area: 'ssh' }
        const other = { ...executed, id: 'c0-network', change: 'c0', area: 'firewall' }
        const after = () => ({ guards: [executed, ssh, other] })
        const ran = await run(['attach', 'c1'], { call: after, events: [begin, end] })
        expect(ran.status).toBe(7)
        expect(ran.err).toContain('proxsavectl: cannot keep the new network')
        expect(ran.err).toContain(
            'EXECUTED, the old state is back: network of the change c1, rolled back because nobody',
        )
        expect(ran.err).toContain('reconnect to: 192.0.2.10')
        expect(ran.err).toContain('DISARMED, the new state stays: SSH')
        expect(ran.err).toContain('everything else stays: 3 created, 2 replaced, 40 entries unchanged.')
        expect(ran.err).not.toContain('What had been done was undone')
        expect(ran.err).not.toContain('firewall')
        expect(ran.err).not.toContain('could not be loaded')
        const json = await run(['attach', 'c1', '--json'], { call: after, events: [begin, end] })
        const records = json.out
            .trim()
            .split('\n')
            .map(line => JSON.parse(line))
        expect(records.map(({ event }) => event)).toEqual(['begin', 'guard', 'guard', 'end'])
    })
})

test('a restore whose guard fired and could not load the old files does not say that the old state is back', async () => {
    const end = { ...ended, result: 'rolled-back' }
    const said = async (area: string) => {
        const guard = { ...executed, area, loaded: false, problems: ['exit status 1'] }
        const call = () => ({ guards: [guard] })
        return (await run(['attach', 'c1'], { call, events: [begin, end] })).err
    }
    const network = await said('network')
    expect(network).toContain('EXECUTED, the old files are back, but could not be loaded: network of the')
    expect(network).not.toContain('the old state is back')
    expect(network).toContain('to load them: reboot, or at the console: ifreload -a; the log')
    expect(network).toContain('log: /var/lib/proxsave/guard/c1-network/log')
    expect(await said('access')).toContain('to load them: reboot; the log')
})

describe('the question at a terminal', () => {
    let directory = ''
    beforeEach(() => {
        directory = mkdtempSync(join(tmpdir(), 'proxsave-guard-'))
    })
    afterEach(() => rmSync(directory, { recursive: true }))

    const escapes = /\x1b(?:\[[0-9;?]*[A-Za-z]|[78])/g

    /** `attach c1` at a terminal of its own, and a daemon that refuses each COMMIT and ends with the ROLLBACK. */
    async function typed(steps: [wait: string, type: string][]) {
        const socket = join(directory, 'daemon.sock')
        const answers: unknown[] = []
        const rolledBack = Promise.withResolvers<void>()
        const refusal = {
            kind: 'refused',
            message: 'cannot commit: this SSH connection was opened before',
            hint: 'open a new one',
        }
        const server = Bun.serve({
            unix: socket,
            async fetch(request) {
                const { pathname } = new URL(request.url)
                if (pathname === '/v1/guards') return Response.json({ guards: [armed] })
                if (pathname.endsWith('/answers')) {
                    const { value } = (await request.json()) as { value: string }
                    answers.push(value)
                    if (value === 'COMMIT') return Response.json({ error: refusal }, { status: 403 })
                    rolledBack.resolve()
                    return Response.json({})
                }
                const line = (event: object) => new TextEncoder().encode(`${JSON.stringify(event)}\n`)
                const asked = { ...question, deadlineMs: Date.now() + 180_000 }
                return new Response(
                    new ReadableStream({
                        async start(controller) {
                            controller.enqueue(line(begin))
                            controller.enqueue(line(asked))
                            await rolledBack.promise
                            const error = {
                                kind: 'rolled-back',
                                message: 'cannot keep the new network: as asked',
                            }
                            const answer = {
                                seq: 3,
                                time,
                                event: 'answer',
                                id: question.id,
                                value: 'ROLLBACK',
                                by: 'x',
                            }
                            controller.enqueue(line(answer))
                            controller.enqueue(
                                line({
                                    seq: 4,
                                    time,
                                    event: 'end',
                                    result: 'rolled-back',
                                    change: 'c1',
                                    error,
                                }),
                            )
                            controller.close()
                        },
                    }),
                )
            },
        })
        const script = steps.map(([wait, type]) => ({ wait, type }))
        const main = join(import.meta.dir, '../../src/main.ts')
        const argv = [JSON.stringify(script), process.execPath, main, 'proxsavectl', 'attach', 'c1']
        const child = Bun.spawn(['python3', join(import.meta.dir, 'terminal.py'), ...argv], {
            stdout: 'pipe',
            stderr: 'inherit',
            env: { PATH: process.env.PATH ?? '', TERM: 'xterm', PROXSAVE_SOCKET: socket },
            timeout: 25_000,
        })
        const { shown, status } = JSON.parse(await new Response(child.stdout).text())
        rolledBack.resolve()
        await server.stop(true)
        return { status, shown: (shown as string).replaceAll(escapes, ''), answers }
    }

    test('counts down, takes only the whole word, says why a COMMIT is refused, and goes on', async () => {
        const ran = await typed([
            ['s left, then ROLLBACK', '\r'],
            ['Please type one of COMMIT, ROLLBACK', '2\r'],
            ['Please type one of COMMIT, ROLLBACK', 'COMMIT\r'],
            ['hint: open a new one', ''],
            ['s left, then ROLLBACK', 'ROLLBACK\r'],
        ])
        expect(ran.answers).toEqual(['COMMIT', 'ROLLBACK'])
        expect(ran.shown).toContain('The new network is in place.')
        expect(ran.shown).toMatch(/\[17[012] s left, then ROLLBACK\] >/)
        expect(ran.shown).toContain('cannot commit: this SSH connection was opened before')
        expect(ran.shown).toContain('cannot keep the new network: as asked')
        expect(ran.status).toBe(7)
    })

    test('Ctrl+C answers nothing and leaves with the way to decide', async () => {
        const ran = await typed([['s left, then ROLLBACK', '\x03']])
        expect(ran.answers).toEqual([])
        expect(ran.shown).toContain('To see it again: proxsavectl attach c1')
        expect(ran.shown.split('proxsavectl commit').length).toBeGreaterThan(2)
        expect(ran.status).toBe(6)
    })
})
