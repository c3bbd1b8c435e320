/** A backup of a node of a cluster: SAFE or RECOVERY is asked, isolation only answered by name. */
import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Daemon } from '../../src/daemon/daemon.ts'
import { planRestore } from '../../src/daemon/restore.ts'
import type { Runner } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import { systemClock } from '../../src/host/clock.ts'
import { realDisk } from '../../src/host/disk.ts'
import { workerRunner } from '../../src/host/worker.ts'
import type { PeerProbe } from '../../src/restore/isolation.ts'
import { bench as engineBench } from '../engine/orders.ts'
import { SimSystemd } from '../sim/systemd.ts'
import { corosyncConf, makeClusterDatabase, openClusterDatabase } from '../restore/cluster-db.ts'
import { RunningDaemon } from './running.ts'

setDefaultTimeout(60_000)

const main = join(import.meta.dir, '../../src/main.ts')
let daemon: RunningDaemon
const databaseOf = ({ root }: RunningDaemon) => join(root, 'var/lib/pve-cluster/config.db')
const base = { backup: 'latest', mode: 'storage' }

async function plan(body: object) {
    const { status, text } = await daemon.api(
        'POST',
        '/v1/restores/plan',
        JSON.stringify({ answers: {}, interactive: true, ...base, ...body }),
    )
    return { status, text, ...JSON.parse(text) }
}
const rowOf = (answer: { plan: { categories: { id: string }[] } }, id: string) =>
    answer.plan.categories.find(row => row.id === id) as { action: string; why?: string } | undefined

beforeAll(async () => {
    daemon = await RunningDaemon.begin(daemon => {
        const version = 'Package: pve-manager\nStatus: install ok installed\nVersion: 9.0.3\n\n'
        daemon.write('var/lib/dpkg/status', version)
        daemon.write('etc/pve/corosync.conf', 'totem {\n}\n')
        daemon.write('etc/corosync/corosync.conf', 'totem {\n}\n')
        daemon.write('etc/pve/storage.cfg', 'dir: local\n\tpath /var/lib/vz\n\tcontent iso\n')
        mkdirSync(join(daemon.root, 'var/lib/pve-cluster'), { recursive: true })
        makeClusterDatabase(databaseOf(daemon), {
            'corosync.conf': corosyncConf({ pve1: '192.0.2.1', pve2: '192.0.2.2' }),
            'storage.cfg': 'dir: local\n',
        })
    })
    await daemon.ctl('setup', '--defaults')
    const saved = await daemon.ctl('backup')
    expect([0, 6]).toContain(saved.status)
})
afterAll(() => daemon.end())

describe('of a cluster', () => {
    test('asks for SAFE or RECOVERY, and for RECOVERY whether the node is isolated', async () => {
        expect((await plan({})).question.id).toBe('cluster.mode')
        expect((await plan({ answers: { 'cluster.mode': 'recovery' } })).question.id).toBe('cluster.isolated')
        const isolated = { 'cluster.mode': 'recovery', 'cluster.isolated': 'yes' }
        expect((await plan({ answers: isolated })).plan.cluster).toBe('recovery')
    })

    test('SAFE only exports the database', async () => {
        const answer = await plan({ answers: { 'cluster.mode': 'safe' } })
        expect(rowOf(answer, 'pve_cluster')).toMatchObject({
            action: 'export',
            why: expect.stringContaining('SAFE'),
        })
    })

    test('without anybody to ask it is SAFE, and RECOVERY is refused', async () => {
        expect((await plan({ interactive: false })).plan.cluster).toBe('safe')
        const refused = await plan({ interactive: false, cluster: 'recovery' })
        expect([refused.status, refused.text]).toEqual([403, expect.stringContaining('cluster.isolated=yes')])
        const no = await plan({ cluster: 'recovery', answers: { 'cluster.isolated': 'no' } })
        expect(no.status).toBe(403)
    })

    describe('RECOVERY, while its plan is made', () => {
        const silent: PeerProbe = {
            ping: async () => false,
            connect: async () => 'silent',
            resolve: async name => [name],
            own: () => new Set(['192.0.2.1']),
        }
        const request = {
            ...{ ...base, mode: 'storage' as const, cluster: 'recovery' as const, interactive: false },
            answers: { 'cluster.isolated': 'yes' },
        }

        /** The same tree, served as if it were this machine. */
        function planHere(probe: PeerProbe, commands: Record<string, string> = {}, live = true) {
            const disk = realDisk()
            const { root, state } = daemon
            const log = () => undefined
            const here = new Daemon({
                ...{ version: '1.2.3', root, state, disk, probe },
                log: { error: log, warning: log, notice: log, info: log },
                clock: systemClock,
                random: bytes => new Uint8Array(randomBytes(bytes)),
                store: new Store(disk, state),
                runner: undefined as unknown as Runner,
                runWorker: workerRunner({ argv: [process.execPath, main, 'worker'], state }),
                exec: async argv => {
                    const stdout = Buffer.from(commands[argv[0]] ?? '')
                    const stderr = new Uint8Array()
                    return argv[0] in commands
                        ? {
                              ...{ found: true, status: 0, endedBy: null },
                              ...{ stdout, stderr, timedOut: false, truncated: false },
                          }
                        : { found: false }
                },
                systemd: live ? new SimSystemd(engineBench().clock) : undefined,
            })
            return planRestore(here, request, new AbortController().signal)
        }

        test('is refused while a member of the saved database answers', async () => {
            const probe: PeerProbe = { ...silent, ping: async address => address === '192.0.2.2' }
            const planned = planHere(probe)
            await expect(planned).rejects.toThrow(
                'cannot restore the cluster database: pve2 at 192.0.2.2 (ping) answers',
            )
            await expect(planned).rejects.toMatchObject({ exitStatus: 1, facts: { alive: 'pve2' } })
        })

        test('is refused while one answers that only this host knows, or that corosync sees', async () => {
            const probe: PeerProbe = { ...silent, ping: async address => address === '192.0.2.9' }
            const members = '{"nodelist":{"pve9":{"ip":"192.0.2.9"}}}'
            await expect(planHere(probe, { cat: members })).rejects.toThrow('pve9 at 192.0.2.9')
            const status = '0x00000001 1 192.0.2.1 (local)\n0x00000002 1 192.0.2.2\n'
            await expect(planHere(silent, { pvecm: status })).rejects.toThrow('connected to 192.0.2.2')
        })

        test('goes on when nobody does, and says whom nobody could ask', async () => {
            const probe: PeerProbe = { ...silent, resolve: async () => [] }
            const planned = await planHere(probe)
            expect('plan' in planned && planned.plan.warnings.join()).toContain('whether pve2 is off')
        })

        test('asks nobody when another root is served', async () => {
            const probe: PeerProbe = { ...silent, ping: async () => true }
            expect('plan' in (await planHere(probe, {}, false))).toBe(true)
        })
    })

    test('is not asked about when the database is not chosen', async () => {
        expect((await plan({ mode: 'base' })).plan).toBeDefined()
    })

    test('corosync is exported as long as the host is a member', async () => {
        const answer = await plan({ mode: undefined, categories: ['corosync'] })
        expect(rowOf(answer, 'corosync')?.action).toBe('export')
    })
})

test('of a standalone node asks nothing, and goes onto no member of a cluster', async () => {
    for (const path of ['etc/pve/corosync.conf', 'etc/corosync'])
        rmSync(join(daemon.root, path), { recursive: true })
    await daemon.stop()
    await daemon.start()
    const saved = await daemon.ctl('backup')
    expect([0, 6]).toContain(saved.status)
    expect((await plan({})).plan.cluster).toBeUndefined()
    daemon.write('etc/corosync/corosync.conf', 'totem {\n}\n')
    await daemon.stop()
    await daemon.start()
    const safe = await plan({})
    expect(rowOf(safe, 'pve_cluster')?.action).toBe('export')
    expect(safe.plan.warnings.join()).toContain('member of a cluster')
    const forced = await plan({ cluster: 'recovery' })
    expect([forced.status, forced.text]).toEqual([500, expect.stringContaining('--cluster safe')])
})

test('a standalone database comes back as it was saved, without the log of its successor, and the undo has that again', async () => {
    rmSync(join(daemon.root, 'etc/corosync'), { recursive: true })
    const path = databaseOf(daemon)
    rmSync(path)
    makeClusterDatabase(path, {
        'storage.cfg': 'dir: local\n',
        'nodes/pve1/qemu-server/100.conf': 'name: old\n',
    })
    await daemon.stop()
    await daemon.start()
    expect([0, 6]).toContain((await daemon.ctl('backup')).status)

    // A successor whose content sits in its log: copied as it lies, as a machine that lost its power has it.
    const aside = join(daemon.root, 'aside.db')
    const successor = openClusterDatabase(aside, { 'user.cfg': 'user:new@pve:1:0::::::\n' })
    for (const suffix of ['', '-wal', '-shm']) copyFileSync(`${aside}${suffix}`, `${path}${suffix}`)
    successor.close()
    const before = ['', '-wal', '-shm'].map(suffix => readFileSync(`${path}${suffix}`))

    const done = await daemon.ctl(
        ...['restore', 'latest', '--mode', 'custom', '--category', 'pve_cluster'],
        ...['--answer', 'confirm=RESTORE', '--json'],
    )
    const end = JSON.parse(done.out.trim().split('\n').at(-1)!)
    expect([end.result, done.out.slice(-2000)]).toEqual([
        expect.stringMatching(/^(ok|warning)$/),
        expect.any(String),
    ])
    expect(existsSync(`${path}-wal`) || existsSync(`${path}-shm`)).toBe(false)
    const database = new Database(path, { readonly: true })
    const names = database
        .query('SELECT name FROM tree')
        .all()
        .map(row => (row as { name: string }).name)
    database.close()
    expect(names).toContain('100.conf')
    expect(names).not.toContain('user.cfg')

    const undone = await daemon.ctl('undo', end.change, '--answer', 'confirm=UNDO')
    expect([undone.status, undone.err]).toEqual([0, expect.any(String)])
    expect(
        ['', '-wal', '-shm'].map(suffix =>
            readFileSync(`${path}${suffix}`).equals(before[['', '-wal', '-shm'].indexOf(suffix)]!),
        ),
    ).toEqual([true, true, true])
})
