/** What is unpacked for a restore, what is refused before anything changes, and where exports go. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
    existsSync,
    mkdirSync,
    readFileSync,
    readdirSync,
    renameSync,
    rmSync,
    statSync,
    symlinkSync,
    writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { EndEvent, Json, PlannedTask } from '../../src/engine/change.ts'
import type { TaskKind } from '../../src/engine/kinds.ts'
import { PlaceTree } from '../../src/host/place.ts'
import { keyPaths } from '../../src/keys/paths.ts'
import { pathOf } from '../../src/restore/host.ts'
import { checkSpace, snapshotNeeds, stagingNeeds } from '../../src/restore/space.ts'
import { tasksOf } from '../../src/restore/strategies.ts'
import type { SurveyRow } from '../../src/restore/survey.ts'
import type { FileAction } from '../../src/restore/types.ts'
import { isRoot } from '../backup/lab.ts'
import { RestoreBench, restoreOn, runnerOn } from './bench.ts'

const action = (path: string, more: Partial<FileAction> = {}): FileAction => ({
    path: `/${path}`,
    bytes: path,
    action: 'create',
    type: 'file',
    category: 'x',
    ...more,
})
const task = (kind: string, params: unknown): PlannedTask => ({
    id: kind,
    kind,
    title: kind,
    params: params as Json,
})

describe.if(isRoot)('the tasks of a restore', () => {
    let bench: RestoreBench
    beforeAll(async () => {
        bench = await RestoreBench.begin()
    }, 20_000)
    afterAll(() => bench.remove())

    const start = (tasks: PlannedTask[], host = {}, more: TaskKind[] = []): Promise<EndEvent> =>
        restoreOn(runnerOn({ root: bench.root, state: bench.state, host, more }), bench.plan({ tasks }))
    const stageOf = (change: string) => join(bench.state, 'changes', change, 'undo/stage')

    test('a hard link whose first name is not chosen gets the content', async () => {
        const entries = ['tree/hard2', 'tree/sub/hard3']
        const end = await start([task('restore.stage', { archive: bench.archive, entries })])
        expect(end.result).toBe('ok')
        const stage = stageOf(end.change)
        expect(readFileSync(join(stage, 'tree/hard2'), 'utf8')).toBe('one\n')
        expect(statSync(join(stage, 'tree/hard2')).nlink).toBe(2)
        expect(existsSync(join(stage, 'tree/hard1'))).toBe(false)
        expect(statSync(stage).mode & 0o777).toBe(0o700)
    })

    test('an entry that is not in the backup fails, and the stage is gone', async () => {
        const entries = ['tree/same', 'tree/none']
        const end = await start([task('restore.stage', { archive: bench.archive, entries })])
        expect(end).toMatchObject({
            result: 'failed',
            error: { message: expect.stringContaining('/tree/none') },
        })
        expect(existsSync(stageOf(end.change))).toBe(false)
    })

    test('without room, or with a forgotten key, nothing is unpacked', async () => {
        const needs = { bytes: 1e18, inodes: 1 }
        const params = { archive: bench.archive, entries: ['tree/same'] }
        const full = await start([task('restore.stage', { ...params, needs })])
        expect(full.error?.message).toContain('are free')
        const lost = await start([task('restore.stage', { ...params, identity: 'secret-1' })])
        expect(lost.error?.message).toContain('not known any more')
    })

    const forbidden = [
        'etc/pve',
        'etc/pve/storage.cfg',
        'proc/sys/kernel/hostname',
        'sys/x',
        'dev/x',
        'run/x',
        'var/lib/proxsave/journal',
        'etc/proxsave/identity.txt',
        'etc/proxsave/identity.age',
    ]
    for (const path of forbidden)
        test(`/${path} is never written, whatever a plan says`, async () => {
            for (const name of [path, `/${path}`, `//${path}`])
                for (const kind of ['create', 'replace', 'metadata', 'remove'] as const) {
                    const actions = [action(name, { action: kind })]
                    const end = await start([task('restore.snapshot', { actions })])
                    expect([end.result, end.error?.message]).toEqual([
                        'failed',
                        expect.stringMatching(/^cannot (create|replace|change|remove) \//),
                    ])
                }
            expect(existsSync(join(bench.root, path))).toBe(false)
        })

    test('every key and the state lie where nothing is written, wherever the state is', () => {
        for (const root of ['/', '/srv/tree'])
            for (const state of ['/var/lib/proxsave', '/srv/tree/mine']) {
                const { config: _, ...paths } = keyPaths(root, state)
                for (const path of [...Object.values(paths), join(state, 'signing.key'), state]) {
                    if (!path.startsWith(root) || path.endsWith('/recipients')) continue
                    const bytes = path.slice(root === '/' ? 1 : root.length + 1)
                    expect(() => pathOf(action(bytes), { root, state }), path).toThrow('cannot create')
                }
            }
        expect(pathOf(action('mine/key'), { root: '/', state: '/var/lib/proxsave' })).toBe('mine/key')
    })

    test('what stands above a forbidden place is not replaced, and no path leaves the root', async () => {
        for (const path of ['etc', 'var/lib', 'etc/../etc/pve/x', '../x', 'a//b', 'a/./b', '']) {
            const end = await start([
                task('restore.snapshot', { actions: [action(path, { action: 'replace' })] }),
            ])
            expect([path, end.result]).toEqual([path, 'failed'])
        }
    })

    test('restore.files without a snapshot, or of a path that it has not, is refused', async () => {
        const actions = [action('tree/lost')]
        const alone = await start([task('restore.files', { category: 'x', actions })])
        expect(alone.error?.message).toContain('snapshot of this change is not there')
        const other = await start([
            task('restore.snapshot', { actions: [action('tree/same')] }),
            task('restore.files', { category: 'x', actions }),
        ])
        expect(other.error?.message).toContain('it is not in the snapshot')
    })

    test('a link in the way is refused before anything changes', async () => {
        mkdirSync(join(bench.root, 'elsewhere'))
        symlinkSync('elsewhere', join(bench.root, 'linked'))
        const end = await start([
            task('restore.snapshot', { actions: [action('tree/lost'), action('linked/x/y')] }),
        ])
        expect(end.error?.message).toBe('cannot restore /linked/x/y: /linked is a link to elsewhere here')
        expect(readdirSync(join(bench.root, 'elsewhere'))).toEqual([])
    })

    for (const when of ['before', 'after'] as const)
        test(`a directory that becomes a link ${when} its files are written is not followed`, async () => {
            const tree = join(bench.root, 'tree')
            const hard3 = readFileSync(join(tree, 'sub/hard3'), 'utf8')
            const swap: TaskKind = {
                kind: 'test.swap',
                async do() {
                    renameSync(join(tree, 'sub'), join(tree, 'moved'))
                    mkdirSync(join(bench.root, 'trap'))
                    symlinkSync('../trap', join(tree, 'sub'))
                    if (when === 'after') throw new Error('now go back')
                    return undefined
                },
                async undo() {},
            }
            const actions = [action('tree/lost'), action('tree/sub/hard3', { action: 'replace' })]
            const files = task('restore.files', { category: 'x', actions })
            const tasks = [
                task('restore.stage', { archive: bench.archive, entries: ['tree/lost', 'tree/sub/hard3'] }),
                task('restore.snapshot', { actions }),
                ...(when === 'before' ? [task('test.swap', {}), files] : [files, task('test.swap', {})]),
            ]
            const end = await start(tasks, {}, [swap])
            expect(end.result).toBe('failed')
            // What can be taken back is, what cannot be reached is told.
            expect(existsSync(join(tree, 'lost'))).toBe(false)
            expect(readdirSync(join(bench.root, 'trap'))).toEqual([])
            if (when === 'after') expect(end.left?.join()).toContain('/tree/sub/hard3')
            else expect(end.left).toBeUndefined()
            rmSync(join(tree, 'sub'))
            renameSync(join(tree, 'moved'), join(tree, 'sub'))
            rmSync(join(bench.root, 'trap'), { recursive: true })
            if (when === 'after') {
                const runner = runnerOn({ root: bench.root, state: bench.state, more: [swap] })
                await runner.recover()
                await runner.wait(
                    runner.undo(end.change, 'test', { answers: { 'undo.conflict': 'restore' } }),
                )
            }
            expect(readFileSync(join(tree, 'sub/hard3'), 'utf8')).toBe(hard3)
        })

    describe('exports', () => {
        const directory = (name: string) => join(bench.state, 'exports', name)
        const params = (name: string) => ({
            archive: bench.archive,
            entries: ['tree/same', 'tree/hard2'],
            categories: ['x'],
            directory: name,
        })

        test('lie in a private directory of their own, and undo removes it', async () => {
            const name = directory('host-20261120T023000Z')
            const runner = runnerOn({ root: bench.root, state: bench.state })
            const end = await restoreOn(runner, bench.plan({ tasks: [task('restore.export', params(name))] }))
            expect(end).toMatchObject({ result: 'ok', exports: name })
            expect(readFileSync(join(name, 'tree/hard2'), 'utf8')).toBe('one\n')
            expect(statSync(name).mode & 0o777).toBe(0o700)
            await runner.wait(runner.undo(end.change, 'test'))
            expect(existsSync(name)).toBe(false)
        })

        test('go nowhere else, and never over what is there', async () => {
            const taken = directory('taken-20261120T023000Z')
            mkdirSync(taken, { recursive: true })
            writeFileSync(join(taken, 'theirs'), 'x')
            const bad = [
                '/etc/x-20261120T023000Z',
                directory('../x-20261120T023000Z'),
                directory('x'),
                directory('a/b-20261120T023000Z'),
                taken,
            ]
            for (const name of bad) {
                const end = await start([task('restore.export', params(name))])
                expect([name, end.result, end.left]).toEqual([name, 'failed', undefined])
            }
            expect(readdirSync(taken)).toEqual(['theirs'])
        })
    })

    test('space: needs grow with what is staged and kept; too much is refused by name', () => {
        const small = stagingNeeds([{ type: 'file', size: 1 }])
        const large = stagingNeeds([
            { type: 'file', size: 1_000_000 },
            { type: 'directory', size: 0 },
        ])
        expect(large.bytes).toBeGreaterThan(small.bytes + 990_000)
        expect(large.inodes).toBe(2)
        const live = new PlaceTree(bench.root)
        const kept = snapshotNeeds([action('tree/same'), action('tree/nothing')], live)
        live.close()
        expect(kept.inodes).toBe(4)
        expect(() => checkSpace(bench.state, { bytes: 1, inodes: 1 })).not.toThrow()
        expect(() => checkSpace(bench.state, { bytes: 1e18, inodes: 1 })).toThrow(bench.state)
        expect(() => checkSpace(bench.state, { bytes: 1, inodes: 1e15 })).toThrow('inodes')
    })

    test('the tasks of a plan stand in their order', () => {
        const exported = {
            ...bench.rows[0]!,
            action: 'export' as const,
            actions: [],
            exported: ['tree/same'],
        }
        const tasks = tasksOf({
            archive: bench.archive,
            identity: 'secret-1',
            rows: [...bench.rows, exported],
            units: ['ssh.service'],
            startOrder: ['ssh.service'],
            exports: '/x',
            needs: { bytes: 1, inodes: 1 },
        })
        expect(tasks.map(({ kind }) => kind)).toEqual([
            'restore.stage',
            'restore.snapshot',
            'services.stop',
            'restore.files',
            'restore.files',
            'restore.export',
            'services.start',
            'restore.unstage',
        ])
        expect(new Set(tasks.map(({ id }) => id)).size).toBe(tasks.length)
    })

    test('name servers stand behind a guarded network, and wait for its confirmation', () => {
        const [one] = bench.rows
        const change = (bytes: string) => ({ ...one!.actions[0]!, path: `/${bytes}`, bytes })
        const row = (id: string, action: 'guarded' | 'merge', bytes: string): SurveyRow => ({
            ...{ ...one!, id, action, strategy: action, actions: [change(bytes)] },
            ...(action === 'merge' ? { saved: [bytes] } : {}),
        })
        const resolver = row('network', 'merge', 'etc/resolv.conf')
        const guard = { timeoutMs: 180_000, exports: '/x' }
        const planned = (rows: SurveyRow[]) => {
            const restore = {
                archive: bench.archive,
                startOrder: [],
                units: [],
                needs: { bytes: 1, inodes: 1 },
            }
            const tasks = tasksOf({ ...restore, rows, guard })
            const merge = tasks.find(({ kind }) => kind === 'restore.merge')!
            expect(merge).toMatchObject({ optional: true, params: { which: 'resolv', stage: 'stage' } })
            return { ids: tasks.map(({ id }) => id), behind: (merge.params as { behind?: string }).behind }
        }
        const sshd = row('ssh', 'guarded', 'etc/ssh/sshd_config')
        const both = [resolver, row('network', 'guarded', 'etc/network/interfaces'), sshd]
        const { ids, behind } = planned(both)
        expect(ids.slice(ids.indexOf('network-confirm'))).toEqual([
            'network-confirm',
            'network-behind-1',
            'unstage',
        ])
        expect(ids).toContain(behind!)
        expect(behind).toBe('network-confirm')
        // Another area is no reason to wait.
        const alone = planned([resolver, sshd])
        expect(alone.behind).toBeUndefined()
        expect(alone.ids.indexOf('apply-1')).toBeLessThan(alone.ids.indexOf('ssh-prepare'))
    })
})
