/** What a restore exported, on a daemon: who is told of it, and the command that removes it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { ExportsAnswer } from '../../src/core/answers.ts'
import type { Daemon } from '../../src/daemon/daemon.ts'
import type { AnyRoute } from '../../src/daemon/route.ts'
import { pruneRoutes } from '../../src/daemon/routes/prune.ts'
import { TaskKinds } from '../../src/engine/kinds.ts'
import { Runner } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import { systemClock } from '../../src/host/clock.ts'
import { realDisk } from '../../src/host/disk.ts'
import { withTimers } from '../../src/host/timer.ts'
import { exportsRemove } from '../../src/restore/exports.ts'
import { RunningDaemon } from './running.ts'

setDefaultTimeout(60_000)

const day = 24 * 3_600_000
const stamp = (agoMs: number) =>
    `${new Date(Date.now() - agoMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`

describe('on a host that was restored', () => {
    let daemon: RunningDaemon
    let exports: string
    let restored: string
    const json = async (...args: string[]) => JSON.parse((await daemon.ctl(...args, '--json')).out)
    const last = (out: string) => JSON.parse(out.trim().split('\n').at(-1)!)

    beforeAll(async () => {
        daemon = await RunningDaemon.begin(daemon => {
            daemon.write('etc/machine-id', '0123456789abcdef0123456789abcdef\n')
            daemon.write('etc/proxsave/proxsave.toml', '[backup]\nencryption = "none"\n')
        })
        expect((await daemon.ctl('backup')).status).toBe(0)
        const args = ['restore', 'latest', '--mode', 'full', '--answer', 'confirm=RESTORE', '--json']
        const end = last((await daemon.ctl(...args)).out)
        expect([end.result, existsSync(join(end.exports, 'etc/machine-id'))]).toEqual(['ok', true])
        restored = end.change
        exports = join(daemon.state, 'exports')
    })
    afterAll(() => daemon.end())

    test('nobody is told of exports that are young, and they are listed with age and size', async () => {
        const { warnings } = await json('status')
        expect(JSON.stringify(warnings)).not.toContain('exports')
        const { checks } = await json('doctor')
        expect(checks.find(({ id }: { id: string }) => id === 'exports')).toMatchObject({
            state: 'ok',
            text: '1, none older than 30 days',
        })
        const { plan } = await json('prune', '--exports', '--dry-run')
        expect(plan).toMatchObject([{ path: join(exports, readdirSync(exports)[0]!), verdict: 'remove' }])
        expect(plan[0].size).toBeGreaterThan(0)
        const shown = await daemon.ctl('prune', '--exports', '--dry-run')
        expect([shown.status, shown.out]).toEqual([0, expect.stringContaining('1 export would be removed')])
        expect(shown.out).toMatch(/remove +\S+\/exports\/testhost-\S+ +(just now|\d+ s ago) +\d\S* (Ki)?B /)
    })

    test('status and doctor tell of those that are older than 30 days', async () => {
        renameSync(join(exports, readdirSync(exports)[0]!), join(exports, `testhost-${stamp(31 * day)}`))
        const { warnings } = await json('status')
        expect(warnings).toContainEqual({
            text: expect.stringContaining('1 export of a restore is older than 30 days'),
            hint: expect.stringContaining('proxsavectl prune --exports'),
        })
        const { checks } = await json('doctor')
        expect(checks.find(({ id }: { id: string }) => id === 'exports').state).toBe('warning')
    })

    test('prune without --exports, and with a duration that nothing is older than, leaves them', async () => {
        expect((await daemon.ctl('prune')).status).toBe(0)
        const none = await daemon.ctl('prune', '--exports', '--older-than', '32d')
        expect([none.status, none.out]).toEqual([0, 'Nothing to remove.\n'])
        const { plan } = await json('prune', '--exports', '--older-than', '32d', '--dry-run')
        expect(plan).toMatchObject([{ verdict: 'keep', why: 'not older than 32d' }])
        expect(readdirSync(exports)).toHaveLength(1)
    })

    test('they go for good, as a change that history shows', async () => {
        mkdirSync(join(exports, `testhost-${stamp(day)}`, 'etc'), { recursive: true })
        const [name] = readdirSync(exports).sort()
        const done = await daemon.ctl('prune', '--exports', '--older-than', '30d')
        expect([done.status, done.err]).toEqual([0, ''])
        expect(done.out).toContain('done: removed 1 export')
        expect(readdirSync(exports)).not.toContain(name)
        const removed = last((await daemon.ctl('prune', '--exports', '--json')).out)
        expect(removed).toMatchObject({ event: 'end', result: 'ok', removedExports: 1 })
        expect(readdirSync(exports)).toEqual([])
        const { changes } = await json('history')
        expect(changes.slice(0, 2).map(({ kind, by }: { kind: string; by: string }) => [kind, by])).toEqual([
            ['prune-exports', expect.stringContaining('tester@test')],
            ['prune-exports', expect.stringContaining('tester@test')],
        ])
        expect((await daemon.ctl('history', changes[1].id)).out).toContain(`remove ${join(exports, name!)}`)
        const undo = await daemon.ctl('undo', changes[0].id, '--answer', 'confirm=UNDO')
        expect([undo.status, undo.err]).toEqual([1, expect.stringContaining('cannot be taken back')])
        expect(JSON.parse((await daemon.ctl('prune', '--exports', '--json')).out)).toEqual({
            event: 'end',
            result: 'ok',
            removedExports: 0,
        })
    })

    test('the restore can be undone all the same', async () => {
        const undone = await daemon.ctl('undo', restored, '--answer', 'confirm=UNDO')
        expect([undone.status, undone.err]).toEqual([0, ''])
    })

    test.each([
        [['--exports', '--target', 'local'], 'exclude each other'],
        [['--older-than', '30d'], '--older-than is for --exports'],
        [['--exports', '--older-than', '30'], 'cannot read the duration "30"'],
    ])('prune %p is wrong usage', async (args, why) => {
        const ran = await daemon.ctl('prune', ...args)
        expect([ran.status, ran.err]).toEqual([2, expect.stringContaining(why)])
    })
})

test('what a change names that is not finished stays, and nothing goes while it runs', async () => {
    const state = mkdtempSync(join(tmpdir(), 'proxsave-exports-'))
    const [needed, other] = [`pve1-${stamp(40 * day)}`, `pve2-${stamp(40 * day)}`].map(name => {
        mkdirSync(join(state, 'exports', name), { recursive: true })
        return join(state, 'exports', name)
    })
    const kinds = new TaskKinds().register(exportsRemove({ state })).register({
        kind: 'test.export',
        do: (_, { signal }) =>
            new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
        async undo() {},
    })
    const store = new Store(realDisk(), state)
    const clock = withTimers(systemClock)
    let number = 0
    const random = (bytes: number) => new Uint8Array(bytes).fill(number++)
    const runner = new Runner({ store, kinds, clock, random })
    const daemon = { parts: { state, clock, store, runner } } as unknown as Daemon
    const route = pruneRoutes.find(({ path }) => path === '/v1/exports/prune') as AnyRoute
    const order = async (body: object) =>
        (await route.handle(
            { body, by: 'root', signal: new AbortController().signal } as never,
            daemon,
        )) as ExportsAnswer
    try {
        await runner.recover()
        const params = { exports: needed! }
        const tasks = [{ id: 't1', kind: 'test.export', title: 'export', params }]
        const id = runner.start({ kind: 'restore', summary: 'a restore', by: 'root', tasks })
        const { plan } = await order({ dryRun: true })
        expect(plan.map(({ name, verdict, why }) => [name, verdict, why])).toEqual([
            [basename(needed!), 'keep', `change ${id} is not finished`],
            [basename(other!), 'remove', expect.any(String)],
        ])
        await expect(order({})).rejects.toMatchObject({ kind: 'conflict' })
        expect(readdirSync(join(state, 'exports'))).toHaveLength(2)
        runner.cancel(id, 'root')
        await runner.wait(id)
        await Bun.sleep(0)
        const { change } = await order({})
        expect(await runner.wait(change!)).toMatchObject({ result: 'ok', removedExports: 2 })
        expect(readdirSync(join(state, 'exports'))).toEqual([])
    } finally {
        rmSync(state, { recursive: true, force: true })
    }
})
