/** Guards at the API: who is let to confirm, which question that answers, and what a running daemon does with real files. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { GuardInfo } from '../../src/core/answers.ts'
import { Fault } from '../../src/core/errors.ts'
import type { Daemon } from '../../src/daemon/daemon.ts'
import { checkAnswer, commitAsked, rollbackAsked, tellGuard } from '../../src/daemon/guards.ts'
import { mayConfirm } from '../../src/guard/confirm-rights.ts'
import { GuardDirectory, guardId } from '../../src/guard/record.ts'
import { systemClock } from '../../src/host/clock.ts'
import { realDisk } from '../../src/host/disk.ts'
import { type Origin, originOf } from '../../src/host/origin.ts'
import { GuardLab } from '../guard/planted.ts'
import { ownAddresses } from '../../src/host/reach.ts'
import { RunningDaemon } from './running.ts'

const change = '20261120-120000-aaaa'
const console: Origin = { kind: 'console', tty: 'tty1' }
const here = { client: '127.0.0.1', server: '192.0.2.10' }

describe('with a change that runs', () => {
    let lab: GuardLab
    let answers: string[][]
    let questions: { id: string }[]
    let facts: Record<string, string>
    /** What the task's `admit` does. */
    let admit: (value: string) => void
    beforeEach(() => {
        lab = new GuardLab()
        answers = []
        questions = [{ id: 'network.commit' }]
        facts = {}
        admit = () => {}
    })
    afterEach(() => lab.end())

    const running = () => ({
        summary: { id: facts.undoes === undefined ? change : 'undoing', facts, state: 'running' },
        questions,
    })
    const daemon = () =>
        ({
            parts: {
                disk: lab.disk,
                state: lab.state,
                clock: lab.clock,
                exec: async () => ({ found: false }),
                log: { notice: () => {}, warning: () => {} },
                runner: {
                    running,
                    answer(...args: string[]) {
                        admit(args[2]!)
                        answers.push(args)
                    },
                },
                store: {
                    exists: () => true,
                    summary: () => running().summary,
                    list: () => [running().summary],
                },
            },
        }) as unknown as Daemon

    test('its open question is answered, in the name of who asked', async () => {
        lab.applied(change, 'network')
        await commitAsked(daemon(), 'armed', console, 'root@pts/1')
        expect(answers).toEqual([[change, 'network.commit', 'COMMIT', 'root@pts/1']])
    })

    test('that undoes another one, the guard is found under the name of that one', async () => {
        facts.undoes = change
        lab.applied(change, 'network')
        await commitAsked(daemon(), change, console, 'x')
        expect(answers.map(([id]) => id)).toEqual(['undoing'])
        expect(() =>
            checkAnswer(daemon(), 'undoing', { id: 'network.commit', value: 'COMMIT' }, console),
        ).not.toThrow()
    })

    test('and asks for something else, the guard is confirmed at once', async () => {
        questions = [{ id: 'ssh.commit' }]
        const guard = lab.applied(change, 'network')
        const info = await commitAsked(daemon(), guard.id, console, 'root@pts/1')
        expect([answers, guard.state(), info.state, info.confirmed?.by]).toEqual([
            [],
            'DISARMED',
            'DISARMED',
            'root@pts/1',
        ])
    })

    test('whose journal refuses the answer, a confirmation that happened is one', async () => {
        const guard = lab.applied(change, 'network')
        admit = () => {
            guard.remove('armed')
            throw new Fault('failed', 'cannot write the journal')
        }
        expect((await commitAsked(daemon(), 'armed', console, 'x')).state).toBe('DISARMED')
        lab.armed(change, 'ssh').write('applied', { boot: lab.bootId, ms: lab.bootMs })
        questions = [{ id: 'ssh.commit' }]
        await expect(commitAsked(daemon(), 'armed', console, 'x')).rejects.toBeDefined()
    })

    const strangers: [string, Origin][] = [
        ['an older SSH connection', { kind: 'ssh', since: 1_000 }],
        ['tmux', { kind: 'left', program: 'tmux' }],
        ['an older shell in the browser', { kind: 'web', since: 1_000 }],
        ['a new SSH connection from this host', { kind: 'ssh', since: 2_000_000, ends: here }],
        // Whatever the test runs on: on a machine without a network only loopback is left.
        [
            'one from another address of it',
            { kind: 'ssh', since: 2_000_000, ends: { ...here, client: [...ownAddresses()].at(-1)! } },
        ],
    ]
    for (const [name, origin] of strangers)
        test(`${name} may neither confirm nor answer for it, but may roll back`, async () => {
            const guard = lab.applied(change, 'network')
            const refused = { kind: 'refused', message: expect.stringContaining('proves nothing') }
            await expect(commitAsked(daemon(), 'armed', origin, 'x')).rejects.toMatchObject(refused)
            const answer = (value: string) => () =>
                checkAnswer(daemon(), change, { id: 'network.commit', value }, origin)
            for (const value of ['COMMIT', 'commit', '']) expect(answer(value)).toThrow('proves nothing')
            expect(answer('ROLLBACK')).not.toThrow()
            expect([answers, guard.state()]).toEqual([[], 'ARMED'])
        })

    test('a question of another kind needs no right', () => {
        const left: Origin = { kind: 'left' }
        expect(() => checkAnswer(daemon(), change, { id: 'fstab.merge', value: 'yes' }, left)).not.toThrow()
    })

    test('a confirmation without an armed guard is refused', () => {
        const ask = () => checkAnswer(daemon(), change, { id: 'network.commit', value: 'COMMIT' }, console)
        expect(ask).toThrow('no guard of this change is armed')
        lab.applied(change, 'ssh')
        lab.applied('20261120-130000-bbbb', 'network')
        expect(ask).toThrow('no guard of this change is armed')
    })

    test('status tells of the guard', () => {
        expect(tellGuard(daemon())).toBeUndefined()
        lab.applied(change, 'network')
        expect(tellGuard(daemon())).toMatchObject({ state: 'ARMED', secondsLeft: 180 })
    })

    test('a rollback is begun before anything else, and history hears who asked', async () => {
        const guard = lab.applied(change, 'network')
        writeFileSync(guard.file('proxsave'), '#!/bin/sh\n')
        chmodSync(guard.file('proxsave'), 0o700)
        admit = () => expect(existsSync(guard.file('rollback'))).toBe(true)
        await rollbackAsked(daemon(), 'armed', 'root@pts/1')
        expect(answers).toEqual([[change, 'network.commit', 'ROLLBACK', 'root@pts/1']])
        admit = () => {
            throw new Fault('failed', 'cannot write the journal')
        }
        await rollbackAsked(daemon(), 'armed', 'root@pts/1')
    })
})

describe('a running daemon', () => {
    let daemon: RunningDaemon
    const disk = realDisk()
    beforeAll(async () => {
        daemon = await RunningDaemon.begin()
    })
    afterAll(() => daemon.end())
    afterEach(() => disk.removeTree(join(daemon.state, 'guard')))

    const plant = (id: string, isApplied: boolean) => {
        const guard = new GuardDirectory(disk, daemon.state, guardId(id, 'network'))
        const { bootMs, bootId, nowMs } = systemClock
        guard.write('guard.json', {
            version: 1,
            id: guard.id,
            change: id,
            area: 'network',
            created: new Date(nowMs()).toISOString(),
            place: 'host',
            actions: [],
            sweeps: [],
            ways: [],
            addresses: { before: ['192.0.2.10'], after: ['192.0.2.20'] },
            diagnostics: '/nowhere',
            timeoutMs: 600_000,
        })
        if (isApplied) guard.write('applied', { boot: bootId(), ms: bootMs() })
        guard.write('armed', { boot: bootId(), deadlineMs: bootMs() + 600_000 })
        return guard
    }
    /** As the real program ends. */
    const program = (guard: GuardDirectory, problems: string[]) => {
        const executed = JSON.stringify({ time: '2026-11-20T12:00:00.000Z', why: 'asked', problems })
        const text = `#!/bin/sh\necho '${executed}' > ${guard.file('executed')}\nrm ${guard.file('armed')}\n`
        writeFileSync(guard.file('proxsave'), text)
        chmodSync(guard.file('proxsave'), 0o700)
    }
    const status = async () =>
        JSON.parse((await daemon.api('GET', '/v1/status')).text) as { guard: GuardInfo | null }

    test('has nothing to tell, to commit or to roll back when all is quiet', async () => {
        expect((await status()).guard).toBe(null)
        expect((await daemon.api('GET', '/v1/guards')).text).toBe('{"guards":[]}\n')
        const [commit, rollback] = [await daemon.ctl('commit'), await daemon.ctl('rollback')]
        expect([commit.status, rollback.status]).toEqual([1, 1])
        expect(commit.err).toContain('proxsavectl: cannot commit: no guard is armed\nhint: ')
    })

    test('asks for the right to confirm wherever a confirmation comes in', async () => {
        expect((await daemon.ctl('setup', '--defaults')).status).toBe(0)
        const { changes } = JSON.parse((await daemon.ctl('history', '--json')).out) as {
            changes: { id: string }[]
        }
        const { id } = changes[0]!
        const answer = async (value: string) => {
            const body = JSON.stringify({ id: 'network.commit', value })
            return daemon.api('POST', `/v1/changes/${id}/answers`, body)
        }
        plant(id, false)
        for (const value of ['COMMIT', 'commit']) {
            const { status, text } = await answer(value)
            expect([status, text.includes('the new state is not there yet')]).toEqual([403, true])
        }
        expect((await answer('ROLLBACK')).text).toContain('it is not running')
    })

    test('refuses everybody before the new state is there', async () => {
        const guard = plant(change, false)
        const ran = await daemon.ctl('commit')
        expect(ran.status).toBe(4)
        expect(ran.err).toContain('cannot commit: the new state is not there yet')
        expect((await daemon.api('POST', `/v1/guards/${change}/commit`)).status).toBe(403)
        expect(guard.state()).toBe('ARMED')
    })

    test('lets those confirm who may, by the process that the kernel names', async () => {
        const guard = plant(change, true)
        const told = await daemon.ctl('status')
        expect(told.out.split('\n')[0]).toContain('ARMED')
        expect(told.out).toContain('addresses before: 192.0.2.10; after: 192.0.2.20')
        expect((await status()).guard).toMatchObject({ state: 'ARMED', reconnect: ['192.0.2.10'] })
        const rights = mayConfirm(originOf(process.pid), guard.applied(), systemClock.bootId(), {
            own: ownAddresses(),
            marker: guard.file('commit'),
        })
        const ran = await daemon.ctl('commit', '20261120')
        expect(ran.status).toBe(rights.ok ? 0 : 4)
        expect(guard.state()).toBe(rights.ok ? 'DISARMED' : 'ARMED')
        if (rights.ok) {
            expect(ran.out).toStartWith('DISARMED, the new state stays')
            expect(ran.out).toContain('reconnect to: 192.0.2.20')
            expect((await daemon.ctl('commit')).status).toBe(1)
        }
    })

    test('rolls back, waits for the outcome, and tells it for a while', async () => {
        const guard = plant(change, true)
        program(guard, [])
        const ran = await daemon.ctl('rollback', '--json')
        expect(ran.status).toBe(0)
        expect(JSON.parse(ran.out)).toMatchObject({
            state: 'EXECUTED',
            why: 'asked',
            reconnect: ['192.0.2.10'],
        })
        const again = await daemon.ctl('rollback')
        expect([again.status, again.err.includes('was rolled back already')]).toEqual([7, true])
        expect((await daemon.ctl('commit')).status).toBe(7)
    })

    test('says with 9 what a rollback could not put back', async () => {
        const guard = plant(change, true)
        program(guard, ['ifreload: exit status 1'])
        const ran = await daemon.ctl('rollback', change)
        expect(ran.status).toBe(9)
        expect(ran.out).toContain('EXECUTED, the old files are back, but could not be loaded: network')
        expect(ran.out).not.toContain('the old state is back')
        expect(ran.out).toContain('to load them: reboot, or at the console: ifreload -a; the log')
        expect(ran.out).toContain('problem: ifreload: exit status 1')
    })
})
