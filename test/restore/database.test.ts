/** The cluster database swapped: what comes of it, every refusal, and every call that fails or is the last. */
import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import type { Json, PlannedTask } from '../../src/engine/change.ts'
import { TaskKinds } from '../../src/engine/kinds.ts'
import { Runner } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import { type Disk, realDisk } from '../../src/host/disk.ts'
import type { Exec } from '../../src/host/exec.ts'
import { type PlaceCalls, placeCalls } from '../../src/host/place.ts'
import { etcPveFromDatabase } from '../../src/host/pmxcfs-db.ts'
import { databaseExportTask, databaseTasks, restoreCompareDatabase } from '../../src/restore/cluster.ts'
import {
    type DatabaseHost,
    registerDatabaseTasks,
    restoreDatabaseExport,
} from '../../src/restore/database.ts'
import type { PeerProbe } from '../../src/restore/isolation.ts'
import { bench as engineBench } from '../engine/orders.ts'
import { drive, SimSystemd } from '../sim/systemd.ts'
import { type Trouble, Troubled } from './bench.ts'
import { testContext } from './context.ts'
import { corosyncConf, makeClusterDatabase, openClusterDatabase, type Wanted } from './cluster-db.ts'

/** PROXSAVE_CRASHES=all tries every call, a number as many of them, spread evenly. */
const wanted = process.env.PROXSAVE_CRASHES ?? '25'
const timeoutMs = wanted === '25' ? 60_000 : 3_600_000

function spread(total: number): number[] {
    const most = wanted === 'all' ? total : Math.min(total, Number(wanted))
    const from = wanted === 'all' ? 0 : Math.random()
    return Array.from({ length: most }, (_, i) => Math.floor(((i + from) * total) / most) + 1)
}

const oldFiles: Wanted = {
    'nodes/pve1/qemu-server/100.conf': 'name: now\n',
    'nodes/pve1/qemu-server/101.conf': 'name: made-since\n',
    'storage.cfg': 'dir: now\n',
}
const savedFiles: Wanted = {
    'nodes/pve1/qemu-server/100.conf': 'name: saved\n',
    'storage.cfg': 'dir: saved\n',
}

let base = ''
let root = ''
let state = ''
let saved = ''
const live = () => join(root, 'var/lib/pve-cluster')

beforeEach(() => begin())
afterEach(() => fs.rmSync(base, { recursive: true, force: true }))

function begin(): void {
    base = fs.mkdtempSync(join(tmpdir(), 'proxsave-database-'))
    root = join(base, 'root')
    state = join(base, 'state')
    fs.mkdirSync(join(root, 'var/lib/pve-cluster/backup'), { recursive: true })
    fs.mkdirSync(join(root, 'etc/corosync'), { recursive: true })
    fs.mkdirSync(state, { mode: 0o700 })
    saved = join(base, 'saved.db')
    makeClusterDatabase(saved, savedFiles)
    killedOwner(oldFiles)
    fs.utimesSync(live(), 1_600_000_000, 1_600_000_000)
}

/** As a pmxcfs that was killed leaves it: most of it in a log of 4 MB. */
function killedOwner(files: Wanted): void {
    const path = join(live(), 'config.db')
    const aside = join(base, 'owner.db')
    const big = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`big/f${i}`, 'x'.repeat(550_000)]))
    const database = openClusterDatabase(aside, { ...files, ...big })
    for (const suffix of ['', '-wal', '-shm']) fs.copyFileSync(aside + suffix, path + suffix)
    database.close()
    for (const suffix of ['', '-wal', '-shm']) fs.chmodSync(path + suffix, 0o640)
    for (const suffix of ['', '-wal', '-shm'])
        fs.utimesSync(path + suffix, 1_650_000_000.25, 1_650_000_000.125)
}

/** Names, content, modes, owners and times of the directory; none of the product's code makes it. */
function picture(): string[] {
    const list = fs.readdirSync(live()).sort()
    return ['.', ...list].map(name => {
        const path = join(live(), name)
        const { mode, uid, gid, mtimeNs } = fs.lstatSync(path, { bigint: true })
        const content = fs.lstatSync(path).isFile() ? Bun.hash(fs.readFileSync(path)).toString(36) : ''
        return [name, mode.toString(8), uid, gid, mtimeNs, content].join(' ')
    })
}

/** What SQLite, and so pmxcfs, finds in the database by its name. */
function inside(): Record<string, string> {
    const database = new Database(join(live(), 'config.db'))
    try {
        const rows = database.query('SELECT name, data FROM tree WHERE type = 8 AND inode > 0').all()
        return Object.fromEntries(
            (rows as { name: string; data: Uint8Array }[])
                .filter(({ name }) => !/^f\d$/.test(name))
                .map(({ name, data }) => [name, Buffer.from(data).toString()]),
        )
    } finally {
        database.close()
    }
}

const nobody: PeerProbe = {
    ping: async () => false,
    connect: async () => 'silent',
    resolve: async name => [name],
    own: () => new Set(['10.0.0.1']),
}
const noCommand: Exec = async () => ({ found: false })

interface Options {
    calls?: PlaceCalls
    disk?: Disk
    probe?: PeerProbe
    exec?: Exec
    mounted?: () => ReadonlySet<string>
    isolated?: boolean
    hostname?: string
    answers?: Record<string, string>
    more?: PlannedTask[]
    host?: Partial<DatabaseHost>
}

/** A change with everything that surrounds the swap; another root, so no services. */
function lab(options: Options = {}) {
    const made = engineBench()
    const store = new Store(options.disk ?? realDisk(), state)
    const kinds = new TaskKinds()
    const calls = options.calls ?? placeCalls
    registerDatabaseTasks(kinds, {
        root,
        state,
        exec: options.exec ?? noCommand,
        systemd: undefined,
        clock: made.clock,
        probe: options.probe ?? nobody,
        finished: change => store.summary(change).state === 'done',
        mounted: options.mounted ?? (() => new Set()),
        runWorker: (_, params) => restoreCompareDatabase(params as { database: string; root: string }),
        calls,
        ...options.host,
    })
    kinds.register({
        kind: 'test.stage',
        async do(_, context) {
            const at = join(context.dir, 'stage/var/lib/pve-cluster')
            fs.rmSync(join(context.dir, 'stage'), { recursive: true, force: true })
            fs.mkdirSync(at, { recursive: true })
            fs.copyFileSync(saved, join(at, 'config.db'))
            return undefined
        },
        async undo() {},
    })
    kinds.register({
        kind: 'test.fail',
        async do() {
            throw new Fault('failed', 'cannot go on: the test says so')
        },
        async undo() {},
    })
    const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes))
    const runner = new Runner({ store, kinds, clock: made.clock, random })
    const { check, swap, compare } = databaseTasks({
        isolated: options.isolated ?? false,
        hostname: options.hostname ?? 'pve1',
    })
    const tasks: PlannedTask[] = [
        { id: 'stage', kind: 'test.stage', title: 'stage', params: {} },
        { id: 'check', ...check, params: check.params as Json },
        { id: 'swap', ...swap, params: swap.params as Json },
        ...(options.more ?? []),
        { id: 'compare', ...compare, params: compare.params as Json },
    ]
    const warnings = async (id: string) => {
        const found: string[] = []
        for await (const event of runner.events(id))
            if (event.event === 'log' && event.level === 'warning') found.push(event.text)
        return found.join('\n')
    }
    return {
        runner,
        store,
        warnings,
        clock: made.clock,
        async run() {
            await runner.recover()
            const id = runner.start(
                { kind: 'restore', summary: 'x', by: 'test', tasks },
                { answers: options.answers ?? {} },
            )
            return drive(made.clock, runner.wait(id))
        },
        async undo(id: string, answers: Record<string, string> = {}) {
            await runner.recover()
            return drive(made.clock, runner.wait(runner.undo(id, 'test', { answers })))
        },
    }
}

describe('the swap', () => {
    test('puts the saved database there, whole, private, and without the log of the old one', async () => {
        const end = await lab().run()
        expect(end.result).toBe('ok')
        expect(fs.readdirSync(live()).sort()).toEqual(['backup', 'config.db'])
        const { mode, uid, gid } = fs.statSync(join(live(), 'config.db'))
        expect([mode & 0o7777, uid, gid]).toEqual([0o600, process.getuid!(), process.getgid!()])
        expect(fs.readFileSync(join(live(), 'config.db')).equals(fs.readFileSync(saved))).toBe(true)
        expect(inside()).toEqual({ '100.conf': 'name: saved\n', 'storage.cfg': 'dir: saved\n' })
    })

    test('the trap: a log of 4 MB left beside the restored database undoes the restore, and SQLite says ok', () => {
        expect(fs.statSync(join(live(), 'config.db-wal')).size).toBeGreaterThan(4_000_000)
        fs.copyFileSync(saved, join(live(), 'config.db'))
        const database = new Database(join(live(), 'config.db'))
        expect(database.query('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
        database.close()
        // What the product prevents: the old names are back although the saved file was copied there.
        expect(inside()['101.conf']).toBe('name: made-since\n')
    })

    test('is taken back when a later task fails: three files, metadata and the time of the directory', async () => {
        const before = picture()
        const end = await lab({
            more: [{ id: 'bad', kind: 'test.fail', title: 'fail', params: {} }],
        }).run()
        expect(end.result).toBe('failed')
        expect(picture()).toEqual(before)
        expect(inside()['101.conf']).toBe('name: made-since\n')
    })

    test('and by undo, exactly', async () => {
        const before = picture()
        const { run, undo } = lab()
        const end = await run()
        expect((await undo(end.change)).result).toBe('ok')
        expect(picture()).toEqual(before)
    })

    test('a database that was not there before is gone after undo', async () => {
        for (const name of fs.readdirSync(live()))
            if (name !== 'backup') fs.rmSync(join(live(), name), { recursive: true })
        const before = picture()
        const { run, undo } = lab()
        const end = await run()
        expect(end.result).toBe('ok')
        await undo(end.change)
        expect(picture().slice(1)).toEqual(before.slice(1))
    })
})

describe('undo of a finished restore', () => {
    const edit = (sql: string) => {
        const database = new Database(join(live(), 'config.db'))
        database.exec(sql)
        database.close()
    }

    test('keeps what was changed in /etc/pve since, unless somebody says otherwise', async () => {
        const { run, undo, warnings } = lab()
        const end = await run()
        edit("UPDATE tree SET data = 'dir: edited\n' WHERE name = 'storage.cfg'")
        const kept = await undo(end.change)
        expect(await warnings(kept.change)).toContain('since the restore: /etc/pve/storage.cfg')
        expect(inside()['storage.cfg']).toBe('dir: edited\n')
    })

    test('puts the old one back when told to, edits or not', async () => {
        const before = picture()
        const { run, undo } = lab()
        const end = await run()
        edit("UPDATE tree SET data = 'dir: edited\n' WHERE name = 'storage.cfg'")
        expect((await undo(end.change, { 'undo.conflict': 'restore' })).result).toBe('ok')
        expect(picture()).toEqual(before)
    })

    test('does not ask for what Proxmox VE itself writes when it starts', async () => {
        const before = picture()
        const { run, undo } = lab()
        const end = await run()
        edit(
            "INSERT INTO tree VALUES (50, 0, 50, 0, 1, 4, 'priv', NULL), (51, 50, 51, 0, 1, 8, 'known_hosts', 'x')",
        )
        expect((await undo(end.change)).result).toBe('ok')
        expect(picture()).toEqual(before)
    })

    test('a database that was destroyed meanwhile is replaced without a question', async () => {
        const before = picture()
        const { run, undo } = lab()
        const end = await run()
        fs.writeFileSync(join(live(), 'config.db'), 'destroyed')
        expect((await undo(end.change)).result).toBe('ok')
        expect(picture()).toEqual(before)
    })
})

describe('nothing is touched', () => {
    const mounted = () => new Set([`${root}/etc/pve`])
    const damage: [string, () => void, string][] = [
        ['when /etc/pve is mounted', () => undefined, 'still mounted'],
        ['when it is no database', () => fs.writeFileSync(saved, 'text'), 'no database'],
        ['when it is cut off', () => fs.truncateSync(saved, 5000), 'cannot'],
        [
            'when pmxcfs would not start with it',
            () => makeAgain({ ...savedFiles, 'nodes/pve2/lxc/100.conf': 'x' }),
            'the guest 100 is on',
        ],
        [
            'when pmxcfs would lose data with it',
            () => {
                const database = new Database(saved)
                database.exec('DELETE FROM tree WHERE inode = 0')
                database.close()
            },
            'would lose data',
        ],
        [
            'when a standalone database meets a member of a cluster',
            () =>
                fs.writeFileSync(
                    join(root, 'etc/corosync/corosync.conf'),
                    corosyncConf({ pve1: '10.0.0.1' }),
                ),
            'standalone database on a member',
        ],
        [
            'when Proxmox VE is not there at all',
            () => fs.rmSync(live(), { recursive: true }),
            'no directory /var/lib/pve-cluster',
        ],
    ]
    for (const [name, arrange, why] of damage)
        test(name, async () => {
            arrange()
            const before = fs.existsSync(live()) ? picture() : []
            const end = await lab(name.includes('is mounted') ? { mounted } : {}).run()
            expect(end.result).toBe('failed')
            expect(end.error?.message).toContain(why)
            expect(fs.existsSync(live()) ? picture() : []).toEqual(before)
        })
})

function makeAgain(files: Wanted): void {
    fs.rmSync(saved)
    makeClusterDatabase(saved, files)
}

describe('a restore of the database in trouble', () => {
    const attempt = async (trouble?: Trouble) => {
        const troubled = new Troubled(trouble)
        const { run } = lab({ calls: troubled.calls, disk: troubled.disk })
        const end = await run().catch(() => undefined)
        return { troubled, end }
    }

    /** Whatever pmxcfs would find if it started now is one of the two, never a mixture; the log of the old may be gone. */
    function expectNoMixture(what: string): void {
        const copy = fs.mkdtempSync(join(base, 'boot-'))
        for (const name of ['config.db', 'config.db-wal', 'config.db-shm'])
            if (fs.existsSync(join(live(), name))) fs.copyFileSync(join(live(), name), join(copy, name))
        expect([what, fs.existsSync(join(copy, 'config.db'))]).toEqual([what, true])
        let names = ''
        try {
            names = etcPveFromDatabase(join(copy, 'config.db'), join(copy, 'scratch'))
                .map(({ path }) => path)
                .filter(path => !path.includes('/big/'))
                .map(path => path.slice(path.lastIndexOf('/') + 1))
                .join()
        } catch (error) {
            // Before its first checkpoint the old database is empty without its log.
            names = error instanceof Fault && error.message.includes('no table') ? '' : String(error)
        }
        expect([what, names]).toEqual([
            what,
            expect.stringMatching(/^(|100\.conf,storage\.cfg|100\.conf,101\.conf,storage\.cfg)$/) as never,
        ])
        const isNew = fs.readFileSync(join(copy, 'config.db')).equals(fs.readFileSync(saved))
        if (isNew) expect([what, names]).toEqual([what, '100.conf,storage.cfg'])
    }

    test(
        'crash at every call, then again in the recovery: the old files, exactly',
        async () => {
            const counting = await attempt()
            expect(counting.end?.result).toBe('ok')
            const total = counting.troubled.count
            fs.rmSync(base, { recursive: true })
            begin()
            const before = picture()
            let back = 0
            for (const at of spread(total)) {
                fs.rmSync(join(state, 'changes'), { recursive: true, force: true })
                const { troubled } = await attempt({ kind: 'crash', at })
                const what = `crash at ${at} (${troubled.last})`
                expectNoMixture(what)
                // Another process takes it back, and dies too, at a place of its own.
                const second = new Troubled({ kind: 'crash', at: 1 + ((at * 7) % 40) })
                await lab({ calls: second.calls, disk: second.disk })
                    .runner.recover()
                    .catch(() => undefined)
                expectNoMixture(`${what}, then ${second.last}`)
                const third = lab()
                await drive(third.clock, third.runner.recover())
                const [last] = third.store.list()
                // Only its last record was missing: then it is whole, and undo takes it back.
                if (last?.result === 'ok') await third.undo(last.id)
                else back++
                expect([what, ...picture()]).toEqual([what, ...before])
            }
            expect(back).toBeGreaterThan(spread(total).length / 2)
            console.log(`crashes: ${spread(total).length} of ${total} calls, each twice`)
        },
        timeoutMs,
    )

    test(
        'crash at every call of the undo',
        async () => {
            const before = picture()
            const first = lab()
            const end = await first.run()
            const counting = new Troubled()
            await lab({ calls: counting.calls, disk: counting.disk }).undo(end.change)
            const total = counting.count
            expect(total).toBeGreaterThan(20)
            for (const at of spread(total)) {
                fs.rmSync(join(state, 'changes'), { recursive: true, force: true })
                const done = await lab().run()
                expect(done.result).toBe('ok')
                const troubled = new Troubled({ kind: 'crash', at })
                await lab({ calls: troubled.calls, disk: troubled.disk })
                    .undo(done.change)
                    .catch(() => undefined)
                const what = `crash of the undo at ${at} (${troubled.last})`
                expectNoMixture(what)
                const next = lab()
                await drive(next.clock, next.runner.recover())
                // One that had not begun is not begun by itself.
                if (next.store.list().length === 1) await next.undo(done.change)
                expect([what, ...picture()]).toEqual([what, ...before])
            }
            console.log(`crashes of the undo: ${spread(total).length} of ${total} calls`)
        },
        timeoutMs,
    )

    test(
        'every call that fails: the old files, exactly',
        async () => {
            const counting = await attempt()
            const total = counting.troubled.count
            fs.rmSync(base, { recursive: true })
            begin()
            const before = picture()
            for (const at of spread(total)) {
                fs.rmSync(join(state, 'changes'), { recursive: true, force: true })
                const { troubled, end } = await attempt({ kind: 'fail', at, code: 'EIO' })
                const what = `EIO at ${at} (${troubled.last})`
                if (troubled.last.startsWith('disk.')) expect([what, end?.result]).toEqual([what, 'ok'])
                if (end?.result === 'ok') await lab().undo(end.change)
                expect([what, ...picture()]).toEqual([what, ...before])
            }
            console.log(`failing calls: ${spread(total).length} of ${total}`)
        },
        timeoutMs,
    )
})

describe('on a running host', () => {
    const clustered = { ...savedFiles, 'corosync.conf': corosyncConf({ pve1: '10.0.0.1', pve2: '10.0.0.2' }) }

    function running(options: Options = {}) {
        makeAgain(clustered)
        const { clock } = engineBench()
        const systemd = new SimSystemd(clock, { 'pve-cluster.service': { active: 'inactive' } })
        const asked: string[] = []
        const probe: PeerProbe = {
            ...nobody,
            ping: async address => asked.push(`ping ${address}`) === 0,
            connect: async (address, port) => {
                asked.push(`${port} ${address}`)
                return 'silent'
            },
            ...options.probe,
        }
        const commands: string[] = []
        const exec: Exec = async (argv, more) => {
            commands.push(argv.join(' '))
            return (options.exec ?? noCommand)(argv, more)
        }
        return {
            systemd,
            asked,
            commands,
            made: lab({ ...options, exec, probe, host: { systemd, ...options.host } }),
        }
    }

    test('asks every address of the others on three ways, and never its own', async () => {
        const { made, asked } = running({ isolated: true })
        const end = await made.run()
        expect(end.error).toBeUndefined()
        expect(asked.sort()).toEqual(['22 10.0.0.2', '8006 10.0.0.2', 'ping 10.0.0.2'])
    })

    const ways: [string, Partial<PeerProbe>][] = [
        ['answers a ping', { ping: async () => true }],
        ['has an open port', { connect: async (_, port) => (port === 8006 ? 'open' : 'silent') }],
        ['refuses a connection', { connect: async (_, port) => (port === 22 ? 'refused' : 'silent') }],
    ]
    for (const [name, probe] of ways)
        test(`refuses while another member ${name}`, async () => {
            const before = picture()
            const end = await running({ isolated: true, probe: { ...nobody, ...probe } }).made.run()
            expect(end.result).toBe('failed')
            expect(end.error?.message).toContain('pve2 at 10.0.0.2')
            expect(picture()).toEqual(before)
        })

    const output = (text: string) => ({
        ...{ found: true as const, status: 0, endedBy: null, stderr: new Uint8Array() },
        ...{ stdout: Buffer.from(text), timedOut: false, truncated: false },
    })

    test('refuses while corosync itself sees another member, and asks those that only .members knows', async () => {
        const status = 'Nodeid Votes Name\n0x00000001 1 10.0.0.1 (local)\n0x00000002 1 10.0.0.2\n'
        const first = running({
            isolated: true,
            exec: async argv => (argv[0] === 'pvecm' ? output(status) : { found: false }),
        })
        expect((await first.made.run()).error?.message).toContain('corosync is connected to 10.0.0.2')
        const members = '{"nodelist":{"pve9":{"ip":"10.0.0.9"},"pve1":{"ip":"10.0.0.1"}}}'
        const second = running({
            isolated: true,
            exec: async argv => (argv[0] === 'cat' ? output(members) : { found: false }),
        })
        await second.made.run()
        expect(second.asked).toContain('ping 10.0.0.9')
    })

    test('needs somebody to say that the node is isolated', async () => {
        const refused = await running({ isolated: false }).made.run()
        expect(refused.error?.kind).toBe('refused')
        const named = await running({ isolated: false, answers: { 'cluster.isolated': 'yes' } }).made.run()
        expect(named.error).toBeUndefined()
    })

    test('saves how the cluster and the storages were', async () => {
        const { made } = running({
            isolated: true,
            exec: async argv => output(`said of ${argv.join(' ')}\n`),
        })
        const end = await made.run()
        const at = join(state, 'changes', end.change)
        const found = fs
            .readdirSync(at, { recursive: true, encoding: 'utf8' })
            .filter(name => name.endsWith('status.txt'))
        expect(found.map(name => name.split('/').pop()).sort()).toEqual([
            'pvecm-status.txt',
            'pvesm-status.txt',
        ])
    })

    test('a unit that still runs, or came back, stops it', async () => {
        const { made, systemd } = running({ isolated: true })
        systemd.units.set('pve-ha-lrm.service', { active: 'active' })
        const before = picture()
        const end = await made.run()
        expect(end.error?.message).toContain('pve-ha-lrm.service is active')
        expect(picture()).toEqual(before)
    })

    test('after a reset in the middle pmxcfs runs again: the recovery stops it, HA first, and starts it behind', async () => {
        const before = picture()
        makeAgain(savedFiles)
        const counting = new Troubled()
        await lab({ calls: counting.calls, disk: counting.disk }).run()
        fs.rmSync(base, { recursive: true })
        begin()
        const again = picture()
        expect(again.length).toBe(before.length)
        // Just behind the publication of the new database: nearly at the end.
        const troubled = new Troubled({ kind: 'crash', at: counting.count - 12 })
        await lab({ calls: troubled.calls, disk: troubled.disk })
            .run()
            .catch(() => undefined)
        expect(picture()).not.toEqual(again)
        const { clock } = engineBench()
        const systemd = new SimSystemd(clock, {
            'pve-cluster.service': { active: 'active' },
            'pve-ha-lrm.service': { active: 'active' },
        })
        const next = lab({
            host: { systemd, clock },
            mounted: () =>
                new Set(
                    systemd.units.get('pve-cluster.service')?.active === 'active' ? [`${root}/etc/pve`] : [],
                ),
        })
        await drive(clock, next.runner.recover())
        expect(picture()).toEqual(again)
        expect(systemd.effects).toEqual([
            'stop pve-ha-lrm.service',
            'stop pve-cluster.service',
            'start pve-cluster.service',
            'start pve-ha-lrm.service',
        ])
    })

    test('afterwards what pmxcfs shows is compared, and differences are warnings', async () => {
        const shown = join(root, 'etc/pve')
        const put = (path: string, text: string) => {
            fs.mkdirSync(join(shown, path, '..'), { recursive: true })
            fs.writeFileSync(join(shown, path), text)
        }
        put('nodes/pve1/qemu-server/100.conf', 'name: saved\n')
        put('storage.cfg', 'dir: something else\n')
        put('odd.cfg', 'x')
        put('.version', '{}')
        put('priv/known_hosts', 'x')
        let looks = 0
        const { made } = running({
            isolated: true,
            // Unmounted for the swap, mounted behind the start.
            mounted: () => new Set(looks++ === 0 ? [] : [`${root}/etc/pve`]),
        })
        const end = await made.run()
        expect(end.result).toBe('warning')
        const said = await made.warnings(end.change)
        expect(said).toContain('missing in /etc/pve: /etc/pve/corosync.conf')
        expect(said).toContain('than in the database: /etc/pve/storage.cfg')
        expect(said).toContain('not in the database: /etc/pve/odd.cfg')
        expect(said).not.toContain('known_hosts')
        expect(said).not.toContain('.version')
    })
})

describe('SAFE', () => {
    const kindOf = () => restoreDatabaseExport({ state, finished: () => false } as unknown as DatabaseHost)
    const exported = () => join(state, 'exports/pve1-20261120T023000Z')
    const put = () => {
        fs.mkdirSync(join(exported(), 'var/lib/pve-cluster'), { recursive: true })
        fs.copyFileSync(saved, join(exported(), 'var/lib/pve-cluster/config.db'))
    }

    test('has the files of /etc/pve beside the exported database, twice the same, and none after the undo', async () => {
        put()
        const before = picture()
        const { params } = databaseExportTask(exported())
        const context = testContext({ dir: base })
        await kindOf().do(params, context)
        expect(await kindOf().do(params, context)).toEqual({ files: 2 })
        const file = join(exported(), 'etc-pve-from-config.db/nodes/pve1/qemu-server/100.conf')
        expect(fs.readFileSync(file, 'utf8')).toBe('name: saved\n')
        expect(fs.statSync(file).mode & 0o077).toBe(0)
        expect(picture()).toEqual(before)
        await kindOf().undo(params, context)
        expect(fs.readdirSync(exported())).toEqual(['var'])
    })

    test('a database that cannot be read is a warning, and no other place is written to', async () => {
        fs.writeFileSync(saved, 'text')
        put()
        const context = testContext({ dir: base })
        expect(await kindOf().do(databaseExportTask(exported()).params, context)).toEqual({ files: 0 })
        expect(context.warnings.join()).toContain('no files can be taken out')
        const elsewhere = kindOf().do(databaseExportTask(join(root, 'x')).params, context)
        await expect(elsewhere).rejects.toThrow('exports lie in')
        const above = kindOf().do(databaseExportTask(join(state, 'exports/..')).params, context)
        await expect(above).rejects.toThrow('exports lie in')
    })
})
