/** A backup of a node of a cluster: SAFE or RECOVERY is asked, isolation only answered by name. */
import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { RunningDaemon } from './running.ts'

setDefaultTimeout(60_000)

let daemon: RunningDaemon
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
        const database = new Database(join(daemon.root, 'var/lib/pve-cluster/config.db'))
        database.run('CREATE TABLE tree (inode INTEGER PRIMARY KEY, name TEXT)')
        database.close()
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
