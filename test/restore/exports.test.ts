/** What restores exported goes by command only: which of it, how, and never anything else. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
    existsSync,
    linkSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    symlinkSync,
    writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Plan } from '../../src/engine/change.ts'
import { type TaskKind, TaskKinds } from '../../src/engine/kinds.ts'
import { Runner } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import { systemClock } from '../../src/host/clock.ts'
import { realDisk } from '../../src/host/disk.ts'
import { placeCalls } from '../../src/host/place.ts'
import { withTimers } from '../../src/host/timer.ts'
import {
    type ExportsHost,
    type ExportsRemoveParams,
    exportsChange,
    exportsRemove,
    listExports,
    planExports,
    warnOfOldExports,
} from '../../src/restore/exports.ts'
import { testContext } from './context.ts'

const day = 24 * 3_600_000
const nowMs = Date.UTC(2026, 10, 20, 2, 30)
const young = 'pve1-20261119T023000Z'
const month = 'pve1-20261021T023000Z'
const old = 'old-host-20260102T030405Z'

let base: string
let state: string
const at = (...names: string[]) => join(state, 'exports', ...names)

beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'proxsave-exports-'))
    state = join(base, 'state')
    for (const name of [young, month, old]) {
        mkdirSync(at(name, 'etc/ssl'), { recursive: true })
        writeFileSync(at(name, 'etc/ssl/key'), 'secret')
    }
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

const plan = (more: Partial<Parameters<typeof planExports>[0]> = {}) =>
    planExports({ state, neededBy: () => undefined, nowMs, ...more })
const verdicts = async (more: Partial<Parameters<typeof planExports>[0]>) =>
    Object.fromEntries((await plan(more)).map(({ name, verdict, why }) => [name, `${verdict}: ${why}`]))

function runnerWith(kind: TaskKind<ExportsRemoveParams>): Runner {
    const kinds = new TaskKinds().register(kind)
    let number = 0
    return new Runner({
        store: new Store(realDisk(), state),
        kinds,
        clock: withTimers(systemClock),
        random: bytes => new Uint8Array(bytes).fill(number++),
    })
}

async function run(change: Plan, host: Partial<ExportsHost> = {}) {
    const runner = runnerWith(exportsRemove({ state, ...host }))
    await runner.recover()
    const id = runner.start(change)
    return { runner, id, end: await runner.wait(id) }
}

const all = async () => exportsChange(await plan(), 'root', nowMs)!

describe('a list of exports', () => {
    test('has their directories, oldest first, and nothing that lies beside them', () => {
        mkdirSync(at('notes'))
        mkdirSync(at('pve1-20261399T999999Z'))
        writeFileSync(at('pve1-20261118T023000Z'), 'a file')
        symlinkSync('/etc', at('pve1-20261117T023000Z'))
        expect(listExports(state)).toEqual([
            { name: old, path: at(old), createdMs: Date.UTC(2026, 0, 2, 3, 4, 5) },
            { name: month, path: at(month), createdMs: Date.UTC(2026, 9, 21, 2, 30) },
            { name: young, path: at(young), createdMs: Date.UTC(2026, 10, 19, 2, 30) },
        ])
    })

    test('is empty when nothing was ever exported', async () => {
        rmSync(at(), { recursive: true })
        expect([listExports(state), await plan(), exportsChange([], 'root', nowMs)]).toEqual([
            [],
            [],
            undefined,
        ])
        expect(warnOfOldExports(state, nowMs)).toBeUndefined()
    })
})

describe('a plan', () => {
    test('takes all, or those that are older than was said', async () => {
        expect(Object.values(await verdicts({}))).toEqual(Array(3).fill('remove: all were asked for'))
        expect(await verdicts({ olderThanMs: 30 * day })).toEqual({
            [old]: 'remove: older than 30d',
            [month]: 'keep: not older than 30d',
            [young]: 'keep: not older than 30d',
        })
        expect((await verdicts({ olderThanMs: 30 * day - 1 }))[month]).toStartWith('remove')
    })

    test('never takes what a change needs that is not finished', async () => {
        const neededBy = (name: string) => (name === old ? 'c1' : undefined)
        const all = await verdicts({ neededBy })
        expect([all[old], all[young]?.slice(0, 6)]).toEqual(['keep: change c1 is not finished', 'remove'])
        expect((await verdicts({ neededBy, olderThanMs: day }))[old]).toStartWith('keep')
    })

    test('says how large they are, a file of two names once', async () => {
        const before = (await plan())[0]!
        expect(before.entries).toBe(4)
        writeFileSync(at(old, 'large'), Buffer.alloc(1024 * 1024, 1))
        linkSync(at(old, 'large'), at(old, 'etc/again'))
        const after = (await plan())[0]!
        expect(after.entries).toBe(6)
        expect(after.bytes - before.bytes).toBeGreaterThanOrEqual(1024 * 1024)
        expect(after.bytes - before.bytes).toBeLessThan(1.5 * 1024 * 1024)
    })

    test('is one irreversible task a directory, and names each', async () => {
        const change = await all()
        expect([change.kind, change.summary, change.recovery]).toEqual([
            'prune-exports',
            'remove 3 exports of restores',
            'resume',
        ])
        expect(change.tasks.map(({ kind, title }) => [kind, title])).toEqual([
            ['exports.remove', `remove ${at(old)}, 11 months ago: all were asked for`],
            ['exports.remove', `remove ${at(month)}, 30 days ago: all were asked for`],
            ['exports.remove', `remove ${at(young)}, 24 h ago: all were asked for`],
        ])
        expect(exportsRemove({ state }).irreversible).toBe(true)
    })
})

describe('the change', () => {
    test('removes them with all in them, and nothing that lies beside or that a link leads to', async () => {
        mkdirSync(at('notes'))
        mkdirSync(join(base, 'outside'))
        writeFileSync(join(base, 'outside/file'), 'stays')
        symlinkSync(join(base, 'outside'), at(old, 'link'))
        symlinkSync(join(base, 'outside/file'), at(old, 'link-to-file'))
        writeFileSync(Buffer.from(`${at(old)}/odd \xff\n name`, 'latin1'), '')
        const { runner, id, end } = await run(await all())
        expect(end).toMatchObject({ result: 'ok', removedExports: 3 })
        expect(Number(end.bytes)).toBeGreaterThan(0)
        expect(readdirSync(at())).toEqual(['notes'])
        expect(readFileSync(join(base, 'outside/file'), 'utf8')).toBe('stays')
        expect(() => runner.planUndo(id, 'root')).toThrow('cannot be taken back')
    })

    test('that a crash interrupted goes on at the next start', async () => {
        const stuck = runnerWith({
            ...exportsRemove({ state }),
            async do({ name }) {
                rmSync(at(name, 'etc/ssl/key'))
                return new Promise(() => {})
            },
        })
        await stuck.recover()
        stuck.start(await all())
        while (existsSync(at(old, 'etc/ssl/key'))) await new Promise(resolve => setImmediate(resolve))
        const [end] = await runnerWith(exportsRemove({ state })).recover()
        expect(end).toMatchObject({ result: 'ok', removedExports: 3 })
        expect(readdirSync(at())).toEqual([])
    })

    test('goes on with the others when one cannot be removed, and says so', async () => {
        const target = join(at(month), 'etc/ssl')
        const mountPoints = () => ['/', '/proc', target, `${at(young)}er`]
        const { end } = await run(await all(), { mountPoints })
        expect(end).toMatchObject({ result: 'warning', removedExports: 2 })
        expect(readdirSync(at())).toEqual([month])
        expect(readFileSync(at(month, 'etc/ssl/key'), 'utf8')).toBe('secret')
        const failing = { ...placeCalls, unlink: () => placeCalls.rmdir(-1, Buffer.from('x\0')) }
        const again = await run(await all(), { calls: failing })
        expect(again.end).toMatchObject({ result: 'warning', removedExports: 0 })
    })

    test('is durable when it says so: what was emptied is synced after it', async () => {
        const order: string[] = []
        const calls = {
            ...placeCalls,
            rmdir: (directory: number, name: Uint8Array) => {
                placeCalls.rmdir(directory, name)
                order.push(`rmdir ${Buffer.from(name.subarray(0, -1)).toString()}`)
            },
            sync: (fd: number) => {
                placeCalls.sync(fd)
                order.push('sync')
            },
        }
        await exportsRemove({ state, calls }).do({ name: old, bytes: 0 }, testContext())
        expect(order.slice(-2)).toEqual([`rmdir ${old}`, 'sync'])
        // Gone since a moment before a crash, which does not make it durable.
        order.length = 0
        await exportsRemove({ state, calls }).do({ name: old, bytes: 0 }, testContext())
        expect(order).toEqual(['sync'])
    })

    test.each(['notes', '..', '.', '', 'pve1-20261119T023000Z/etc', '../changes-20261119T023000Z'])(
        'takes no "%s" for exports, whatever the plan says',
        async name => {
            mkdirSync(at('notes'))
            const removal = exportsRemove({ state }).do({ name, bytes: 0 }, testContext())
            await expect(removal).rejects.toThrow('no directory of exports')
            expect(readdirSync(at())).toHaveLength(4)
        },
    )
})

test('somebody is told of those that are older than 30 days', () => {
    const told = warnOfOldExports(state, nowMs)
    expect(told?.text).toStartWith('1 export of a restore is older than 30 days')
    expect(told?.hint).toContain('proxsavectl prune --exports')
    expect(warnOfOldExports(state, nowMs + 1)?.text).toStartWith('2 exports of restores are older')
    rmSync(at(old), { recursive: true })
    expect(warnOfOldExports(state, nowMs)).toBeUndefined()
})
