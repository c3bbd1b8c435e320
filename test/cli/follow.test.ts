/** Following a change: what a person sees, what a script gets, and what Ctrl+C and a restarting daemon do to it. */
import { describe, expect, test } from 'bun:test'
import { runCli } from '../../src/cli/main.ts'
import type { Client, Terminal } from '../../src/client/types.ts'
import { Fault } from '../../src/core/errors.ts'

type Record = { event: string } & { [key: string]: unknown }
type Call = { method: string; path: string; body?: unknown; after?: unknown }

const time = '2026-11-20T02:30:00.000Z'
const begin = {
    seq: 1,
    time,
    event: 'begin',
    change: 'c1',
    kind: 'backup',
    summary: 'backup of host',
    by: 'x',
    tasks: [{ id: 'write', title: 'write the archive' }],
}
const end = (result: string, more: object = {}) => ({
    seq: 9,
    time,
    event: 'end',
    result,
    change: 'c1',
    ...more,
})

/** A daemon that streams what it is given; a fault in the list is thrown there. */
function play(parts: (Record | Fault)[][], terminal: Partial<Terminal> = {}) {
    const calls: Call[] = []
    let at = 0
    let interrupt = () => {}
    const client: Client = {
        async call<T>(method: string, path: string, options: { body?: unknown } = {}): Promise<T> {
            calls.push({ method, path, body: options.body })
            return { change: 'c1' } as T
        },
        async *stream<T extends { event: string }>(
            method: string,
            path: string,
            options: { query?: object; signal?: AbortSignal } = {},
        ) {
            calls.push({ method, path, after: (options.query as { after: number }).after })
            for (const part of parts[Math.min(at++, parts.length - 1)]!) {
                if (part instanceof Fault) throw part
                if (part.event === 'hang') {
                    interrupt()
                    await new Promise((_, reject) => {
                        const gone = () => reject(options.signal!.reason)
                        if (options.signal!.aborted) gone()
                        options.signal!.addEventListener('abort', gone)
                    })
                }
                yield part as unknown as T
            }
        },
    }
    const said = { out: '', err: '' }
    const run = async (...args: string[]) => {
        const status = await runCli(args, {
            connect: () => client,
            files: {
                exists: () => false,
                read: () => Buffer.from('# ahead\ncompat.mismatch = yes\n'),
                create: () => {},
            },
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
                user: 'x',
                onInterrupt: handler => {
                    interrupt = handler
                    return () => {}
                },
                readInput: async () => '',
                ...terminal,
            },
        })
        return { status, ...said, calls }
    }
    return run
}

describe('the exit status', () => {
    const cases: [string, object, number][] = [
        ['ok', {}, 0],
        ['warning', {}, 6],
        ['cancelled', { error: { kind: 'refused', message: 'cannot go on' } }, 4],
        ['rolled-back', {}, 7],
        ['failed', { error: { kind: 'failed', message: 'cannot write' } }, 1],
        ['failed', { error: { kind: 'damaged', message: 'cannot read' } }, 5],
        ['failed', { error: { kind: 'failed', message: 'cannot write' }, left: ['/etc/x'] }, 9],
    ]
    for (const [result, more, status] of cases)
        test(`of ${result} ${JSON.stringify(more)} is ${status}, in words and as JSON`, async () => {
            expect((await play([[begin, end(result, more)]])('attach', 'c1')).status).toBe(status)
            const ran = await play([[begin, end(result, more)]])('attach', 'c1', '--json')
            expect([ran.status, ran.err]).toEqual([status, ''])
            expect(JSON.parse(ran.out.trim().split('\n').at(-1)!).event).toBe('end')
        })

    test('9 comes with a list of what is left', async () => {
        const more = {
            error: { kind: 'stuck', message: 'cannot take back', hint: 'look' },
            left: ['/etc/x: busy'],
        }
        const ran = await play([[begin, end('failed', more)]])('attach', 'c1')
        expect(ran.err).toBe('proxsavectl: cannot take back\nhint: look\n  left: /etc/x: busy\n')
    })
})

describe('a daemon that goes away', () => {
    test('is waited for, and followed from where it stopped', async () => {
        const lost = new Fault('unreachable', 'cannot go on: closed')
        const task = { seq: 2, time, event: 'task', task: 'write', state: 'doing' }
        const ran = await play([[begin, task, lost], [end('ok')]])('attach', 'c1')
        expect(ran.status).toBe(0)
        const followed = ran.calls.filter(call => call.path.endsWith('/events'))
        expect(followed.map(call => call.after)).toEqual([0, 2])
        expect(ran.err).toContain('waiting for it')
    })
})

describe('Ctrl+C', () => {
    test('leaves a running backup to the daemon and says how to come back', async () => {
        const ran = await play([[begin, { event: 'hang' }]])('backup')
        expect(ran.status).toBe(6)
        expect(ran.err).toContain('proxsavectl attach c1')
        expect(ran.err).toContain('proxsavectl cancel c1')
        expect(ran.calls.some(call => call.path.endsWith('/cancel'))).toBe(false)
    })

    test('is not needed with --detach', async () => {
        const ran = await play([[]])('backup', '--detach')
        expect([ran.status, ran.calls.length]).toEqual([0, 1])
        expect(ran.out).toContain('proxsavectl attach c1')
    })
})

describe('a question', () => {
    const question = {
        seq: 3,
        time,
        event: 'question',
        id: 'compat.mismatch',
        text: 'go on?',
        choices: [{ value: 'yes', text: 'yes' }],
        safe: 'no',
    }

    test('is answered with what was given ahead, on the line or in a file', async () => {
        for (const given of [
            ['--answer', 'compat.mismatch=yes'],
            ['--answers', 'file'],
        ]) {
            const ran = await play([[begin, question, end('ok')]])('attach', 'c1', ...given)
            expect(ran.calls.at(-1)).toEqual({
                method: 'POST',
                path: '/v1/changes/c1/answers',
                body: { id: 'compat.mismatch', value: 'yes' },
            })
        }
    })

    test('that nobody answers is left to its safe default', async () => {
        const ran = await play([[begin, question, end('ok')]])('attach', 'c1')
        expect([ran.status, ran.calls.filter(call => call.method === 'POST')]).toEqual([0, []])
    })
})

describe('what a backup says', () => {
    test('cannot move the cursor of whoever reads it', async () => {
        const log = { seq: 4, time, event: 'log', level: 'warning', text: 'odd \x1b[2J name' }
        const ran = await play([[begin, log, end('warning')]])('attach', 'c1')
        expect(ran.out).toContain('warning: odd \\x1b[2J name')
        expect(ran.out + ran.err).not.toContain('\x1b')
    })

    test('is coloured on a terminal, and not when NO_COLOR asks for none', async () => {
        const terminal = { outIsTerminal: true, columns: 80 }
        expect((await play([[begin, end('ok')]], terminal)('attach', 'c1')).out).toContain('\x1b[32m')
        const plain = { ...terminal, env: { NO_COLOR: '1' } }
        expect((await play([[begin, end('ok')]], plain)('attach', 'c1')).out).not.toContain('\x1b')
    })
})
