/** What restores must not leave behind at moments that are short: found by the simulation of power losses. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TaskKind } from '../../src/engine/kinds.ts'
import { type PlaceCalls, placeCalls, PlaceTree } from '../../src/host/place.ts'
import { type DatabaseHost, restoreDatabase } from '../../src/restore/database.ts'
import { type MergeHost, restoreMerge } from '../../src/restore/merge.ts'
import { restoreSnapshot } from '../../src/restore/snapshot.ts'
import { SimClock } from '../sim/clock.ts'
import { type TestContext, testContext } from './context.ts'
import { makeClusterDatabase } from './cluster-db.ts'

let top: string
const root = (path = '') => join(top, 'root', path)
const change = (path = '') => join(top, 'change', path)

beforeEach(() => {
    top = fs.mkdtempSync(join(tmpdir(), 'proxsave-leftovers-'))
    for (const path of ['root/etc', 'root/var/lib/pve-cluster', 'change/stage/etc', 'state'])
        fs.mkdirSync(join(top, path), { recursive: true })
})
afterEach(() => fs.rmSync(top, { recursive: true }))

class Dead extends Error {}

/** The process is gone when `when` says so, before the call is made. */
function dyingWhen(when: (call: keyof PlaceCalls, args: unknown[]) => boolean): PlaceCalls {
    let dead = false
    const calls = Object.entries(placeCalls).map(([name, call]) => [
        name,
        (...args: unknown[]) => {
            dead ||= when(name as keyof PlaceCalls, args)
            if (dead) throw new Dead('the process is dead')
            return (call as (...args: unknown[]) => unknown)(...args)
        },
    ])
    return Object.fromEntries(calls) as PlaceCalls
}

const named = (bytes: unknown, name: string) => Buffer.from(bytes as Uint8Array).toString() === `${name}\0`

function hostFor(calls?: PlaceCalls): MergeHost & DatabaseHost {
    return {
        root: root(),
        state: join(top, 'state'),
        exec: async () => ({ found: false }),
        systemd: undefined,
        clock: new SimClock(),
        runWorker: async () => null,
        probe: {
            ping: async () => false,
            connect: async () => 'silent',
            resolve: async () => [],
            own: () => new Set(),
        },
        finished: () => false,
        mounted: () => new Set(),
        ...(calls === undefined ? {} : { calls }),
    }
}

/** The task dies in its do, and a new process takes it back. */
async function dieAndUndo(
    kind: (calls?: PlaceCalls) => TaskKind,
    params: never,
    calls: PlaceCalls,
): Promise<TestContext> {
    const context = testContext({ dir: change() })
    await expect(kind(calls).do(params, context)).rejects.toThrow()
    await kind().undo(params, context)
    return context
}

describe('the cluster database', () => {
    test('has one name again when the process died before the swap began', async () => {
        const path = root('var/lib/pve-cluster/config.db')
        makeClusterDatabase(path, { 'storage.cfg': 'dir: now\n' })
        makeClusterDatabase(change('stage/config.db'), { 'storage.cfg': 'dir: saved\n' })
        const kind = (calls?: PlaceCalls) => restoreDatabase(hostFor(calls)) as unknown as TaskKind
        const params = { staged: 'stage/config.db', live: 'var/lib/pve-cluster/config.db' } as never
        let linked = 0
        const calls = dyingWhen((call, [, name]) => {
            linked = Math.max(linked, fs.statSync(path).nlink)
            return call === 'create' && named(name, 'new')
        })
        await dieAndUndo(kind, params, calls)
        expect(linked).toBe(2)
        // SQLite warns of a database with several names, and what is written through one changes the other.
        expect(fs.statSync(path).nlink).toBe(1)
    })

    test('stays as it is when the copy of the old one is damaged', async () => {
        const path = root('var/lib/pve-cluster/config.db')
        makeClusterDatabase(path, { 'storage.cfg': 'dir: now\n' })
        makeClusterDatabase(change('stage/config.db'), { 'storage.cfg': 'dir: saved\n' })
        const kind = restoreDatabase(hostFor())
        const params = { staged: 'stage/config.db', live: 'var/lib/pve-cluster/config.db' }
        const context = testContext({ dir: change() })
        await kind.do(params, context)
        const restored = fs.readFileSync(path)
        fs.truncateSync(change('database-t/data/1'), 4096)
        await expect(kind.undo(params, context)).rejects.toThrow('its copy is damaged')
        expect(fs.readFileSync(path).equals(restored)).toBe(true)
    })
})

describe('merged tables', () => {
    test('leave no copy of themselves when the process died while it put them in place', async () => {
        fs.writeFileSync(root('etc/passwd'), 'root:x:0:0::/root:/bin/bash\n')
        fs.writeFileSync(root('etc/group'), 'root:x:0:\n')
        fs.writeFileSync(root('etc/shadow'), 'root:*:1::::::\n')
        fs.writeFileSync(change('stage/etc/passwd'), 'anna:x:1000:1000::/home/anna:/bin/sh\n')
        fs.writeFileSync(change('stage/etc/group'), 'anna:x:1000:\n')
        fs.writeFileSync(change('stage/etc/shadow'), 'anna:$y$secret:1::::::\n')
        const kind = (calls?: PlaceCalls) => restoreMerge(hostFor(calls)) as unknown as TaskKind
        const params = { which: 'accounts', stage: 'stage', backup: 'pve1/x' } as never
        const calls = dyingWhen((call, [, , to]) => call === 'rename' && named(to, 'shadow'))
        await dieAndUndo(kind, params, calls)
        expect(fs.readdirSync(change()).sort()).toEqual(['merge-t', 'stage'])
        expect(fs.readdirSync(root('etc')).sort()).toEqual(['group', 'passwd', 'shadow'])
    })

    test('a copy that is damaged is told and not put back, the others are', async () => {
        const before = {
            passwd: 'root:x:0:0::/root:/bin/bash\n',
            group: 'root:x:0:\n',
            shadow: 'root:*:1::::::\n',
        }
        for (const [name, text] of Object.entries(before)) fs.writeFileSync(root(`etc/${name}`), text)
        fs.writeFileSync(change('stage/etc/passwd'), 'anna:x:1000:1000::/home/anna:/bin/sh\n')
        fs.writeFileSync(change('stage/etc/group'), 'anna:x:1000:\n')
        fs.writeFileSync(change('stage/etc/shadow'), 'anna:*:1::::::\n')
        // As on another file system: there are copies, and no second names.
        const calls = dyingWhen(() => false)
        const exdev = Object.assign(new Error('EXDEV'), { code: 'EXDEV' })
        const kind = restoreMerge(
            hostFor({
                ...calls,
                link: () => {
                    throw exdev
                },
            }),
        )
        const params = { which: 'accounts', stage: 'stage', backup: 'x' } as const
        const context = testContext({ dir: change() })
        await kind.do(params, context)
        const merged = fs.readFileSync(root('etc/group'), 'utf8')
        for (const name of fs.readdirSync(change('merge-t/data')))
            if (fs.readFileSync(change(`merge-t/data/${name}`), 'utf8') === before.group)
                fs.truncateSync(change(`merge-t/data/${name}`), 3)
        await expect(kind.undo(params, context)).rejects.toThrow(
            'cannot put /etc/group back: its copy is damaged',
        )
        expect(fs.readFileSync(root('etc/group'), 'utf8')).toBe(merged)
        expect(fs.readFileSync(root('etc/passwd'), 'utf8')).toBe(before.passwd)
        expect(fs.readFileSync(root('etc/shadow'), 'utf8')).toBe(before.shadow)
        expect(fs.readdirSync(root('etc')).sort()).toEqual(['group', 'passwd', 'shadow'])
    })

    test('the removal of what was made for them is durable', async () => {
        fs.writeFileSync(root('etc/fstab'), 'UUID=root / ext4 defaults 0 1\n')
        fs.writeFileSync(change('stage/etc/fstab'), 'nas:/e /mnt/e nfs rw\n')
        const done: string[] = []
        const calls = dyingWhen((call, [directory, name]) => {
            if (call === 'rmdir')
                done.push(
                    `rmdir ${Buffer.from(name as Uint8Array)
                        .toString()
                        .slice(0, -1)}`,
                )
            if (call === 'sync')
                done.push(`sync ${fs.readlinkSync(`/proc/self/fd/${directory}`).slice(top.length)}`)
            return false
        })
        const context = testContext({ dir: change(), answers: ['add'] })
        await restoreMerge(hostFor(calls)).do({ which: 'fstab', stage: 'stage', backup: 'x' }, context)
        const removed = done.indexOf('rmdir merge-t-new')
        expect(removed).toBeGreaterThan(0)
        expect(done.slice(removed)).toContain('sync /change')
    })
})

describe('the snapshot', () => {
    test('has no unfinished files in it when all is undone', async () => {
        const host = {
            root: root(),
            state: join(top, 'state'),
            runWorker: async () => null,
            identity: () => undefined,
            finished: () => false,
        }
        fs.writeFileSync(root('etc/one'), 'one')
        const kind = restoreSnapshot(host)
        const actions = [
            { path: '/etc/one', bytes: 'etc/one', action: 'replace', type: 'file', category: 'x' },
        ]
        const context = testContext({ dir: change() })
        await kind.do({ actions }, context)
        fs.writeFileSync(change('snapshot/after-apply-1.new'), '[')
        await kind.undo({ actions }, context)
        expect(fs.readdirSync(change('snapshot')).sort()).toEqual(['data', 'index', 'keep'])
    })
})

describe('a directory that changes places with a file', () => {
    test('is durably empty before, and durably in its place before anything comes into it', () => {
        const done: string[] = []
        const calls = dyingWhen((call, [fd]) => {
            if (call === 'sync')
                done.push(`sync ${fs.readlinkSync(`/proc/self/fd/${fd}`).slice(root().length)}`)
            else if (call === 'exchange' || call === 'unlink' || call === 'rmdir') done.push(call)
            return false
        })
        const tree = new PlaceTree(root(), calls)
        try {
            fs.mkdirSync(root('etc/directory'))
            fs.writeFileSync(root('etc/directory/in'), '')
            tree.remove('etc/directory/in')
            tree.makeSymlink('etc/.tmp', 'x', { ...tree.look('etc/directory')!, type: 'symlink' } as never)
            tree.swap('etc/.tmp', 'etc/directory')
        } finally {
            tree.close()
        }
        const at = done.indexOf('exchange')
        expect(done.slice(0, at)).toContain('sync /etc/directory')
        expect(done.slice(at)).toEqual(['exchange', 'sync /etc', 'rmdir'])
    })
})
