/** What a plan says of a cluster database, which categories leave it, and who counts as a member that answers. */
import { describe, expect, test } from 'bun:test'
import { categories } from '../../src/catalog/index.ts'
import { readPmxcfsTree, type TreeRow } from '../../src/format/pmxcfs-db.ts'
import {
    compareTrees,
    type DatabaseHostFacts,
    databaseTasks,
    factsOf,
    leavesPlan,
} from '../../src/restore/cluster.ts'
import {
    explainDoubts,
    findAlive,
    membersOf,
    otherMembers,
    type PeerProbe,
} from '../../src/restore/isolation.ts'
import { corosyncConf } from './cluster-db.ts'

function treeOf(files: Record<string, string>) {
    const rows: TreeRow[] = []
    const inodes = new Map<string, bigint>([['', 0n]])
    const put = (path: string, content?: string) => {
        const slash = path.lastIndexOf('/')
        const parent = path.slice(0, Math.max(0, slash))
        if (!inodes.has(parent)) put(parent)
        const inode = BigInt(inodes.size)
        inodes.set(path, inode)
        rows.push({
            inode,
            parent: inodes.get(parent)!,
            version: inode,
            writer: 0n,
            mtime: 1n,
            type: content === undefined ? 4n : 8n,
            name: Buffer.from(path.slice(slash + 1)),
            data: content === undefined ? null : Buffer.from(content),
        })
    }
    for (const [path, content] of Object.entries(files)) put(path, content)
    const version = { inode: 0n, parent: 0n, writer: 0n, mtime: 1n, type: 8n, data: null }
    return readPmxcfsTree([{ ...version, version: 99n, name: Buffer.from('__version__') }, ...rows])
}

const host: DatabaseHostFacts = { hostname: 'pve1', member: false, authkey: true }

describe('leavesPlan', () => {
    const of = (id: string) => leavesPlan(categories.find(category => category.id === id)!)

    test('what lies in /etc/pve as a whole, in part, or not at all', () => {
        expect(of('pve_jobs')).toBe('all')
        expect(of('pve_access_control')).toBe('all')
        expect(of('storage_pve')).toBe('some')
        expect(of('network')).toBe('none')
        expect(of('pve_cluster')).toBe('none')
        expect(of('corosync')).toBe('none')
    })

    test('no category with a path in /etc/pve is overlooked', () => {
        for (const category of categories)
            expect([category.id, leavesPlan(category) === 'none']).toEqual([
                category.id,
                !category.paths.some(path => path.startsWith('/etc/pve')),
            ])
    })
})

describe('the plan tells', () => {
    test('to stop the guests, to isolate the node, what happens to HA, and what undo cannot', () => {
        const facts = factsOf(treeOf({ 'corosync.conf': corosyncConf({ pve1: '10.0.0.1' }) }), host)
        const text = facts.warnings.join('\n')
        expect(facts.clustered).toBe(true)
        expect(facts.cluster).toBe('prod')
        expect(text).toContain('stop the guests')
        expect(text).toContain('isolate the node')
        expect(text).toContain('HA is stopped before everything else')
        expect(facts.irreversible.length).toBeGreaterThan(1)
    })

    test('that the guests of another node name stay behind, and how to move them', () => {
        const files = { 'nodes/old/qemu-server/100.conf': 'x', 'nodes/old/lxc/101.conf': 'x' }
        const facts = factsOf(treeOf(files), { ...host, hostname: 'new', backupHostname: 'old' })
        const text = facts.warnings.join('\n')
        expect(facts.guests).toBe(2)
        expect(text).toContain('2 guests will stay with old')
        expect(text).toContain('hostnamectl set-hostname old')
        expect(text).toContain('/etc/pve/nodes/new/qemu-server/')
        expect(factsOf(treeOf(files), { ...host, hostname: 'old' }).warnings.join()).not.toContain(
            'will stay',
        )
    })

    test('what pmxcfs and corosync will make of it', () => {
        const tree = treeOf({ 'corosync.conf': corosyncConf({ pve1: '10.0.0.1', pve2: '10.0.0.2' }, 4) })
        const localCorosync = corosyncConf({ pve1: '10.0.0.1' }, 9, 'other')
        const text = factsOf(tree, { ...host, member: true, localCorosync, authkey: false }).warnings.join(
            '\n',
        )
        expect(text).toContain('newer (version 9)')
        expect(text).toContain('the cluster prod, and this host is in other')
        expect(text).toContain('no /etc/corosync/authkey')
        expect(text).toContain('pvecm expected 1')
        const calm = factsOf(tree, { ...host, member: true, localCorosync: tree.corosync! }).warnings.join(
            '\n',
        )
        expect(calm).not.toContain('newer')
        expect(calm).not.toContain('authkey')
    })

    test('why the database cannot be used at all', () => {
        const files = { 'nodes/a/lxc/100.conf': 'x', 'nodes/b/qemu-server/100.conf': 'x' }
        expect(factsOf(treeOf(files), host).refused).toContain('the guest 100')
        expect(factsOf(treeOf({ 'storage.cfg': '' }), host).refused).toBeUndefined()
    })
})

test('the tasks name what they take from the stage, and carry no answer that was not given', () => {
    const { staged, check, swap } = databaseTasks({ isolated: false, hostname: 'pve1' })
    expect(staged).toEqual(['var/lib/pve-cluster/config.db'])
    expect(check.params).toEqual({ staged: `stage/${staged[0]}`, isolated: false, hostname: 'pve1' })
    expect(swap.params).toEqual({ staged: `stage/${staged[0]}`, live: staged[0]! })
})

test('trees are compared by content; what Proxmox VE writes by itself is told apart', () => {
    const map = (files: Record<string, string>) =>
        new Map(Object.entries(files).map(([path, text]) => [path, Uint8Array.from(Buffer.from(text))]))
    expect(
        compareTrees(
            map({ same: 'x', other: 'x', gone: 'x', 'priv/lock/a': '', 'nodes/pve1/lrm_status': '1' }),
            map({ same: 'x', other: 'y', more: 'x', 'nodes/pve1/lrm_status': '2' }),
        ),
    ).toEqual({
        missing: ['/etc/pve/gone'],
        different: ['/etc/pve/other'],
        extra: ['/etc/pve/more'],
        same: 1,
        expected: ['/etc/pve/priv/lock/a', '/etc/pve/nodes/pve1/lrm_status'],
    })
})

describe('members', () => {
    const silent: PeerProbe = {
        ping: async () => false,
        connect: async () => 'silent',
        resolve: async name => [name],
        own: () => new Set(['10.0.0.1']),
    }
    const signal = new AbortController().signal

    test('come from every source, each once, with all addresses', () => {
        expect(
            membersOf({
                corosync: [
                    corosyncConf({ a: '10.0.0.1', b: '10.0.0.2' }),
                    corosyncConf({ b: '10.1.0.2' }),
                    undefined,
                ],
                members: '{"nodelist":{"a":{"ip":"10.0.0.1"},"c":{"ip":"10.0.0.3"},"d":{}}}',
            }),
        ).toEqual([
            { node: 'a', addresses: ['10.0.0.1'] },
            { node: 'b', addresses: ['10.0.0.2', '10.1.0.2'] },
            { node: 'c', addresses: ['10.0.0.3'] },
        ])
        expect(membersOf({ corosync: [], members: 'not json' })).toEqual([])
    })

    test('the address decides who this host is, not the name: another machine with our name counts', async () => {
        const probe = { ...silent, ping: async (address: string) => address === '10.0.0.7' }
        const members = [
            { node: 'pve1', addresses: ['10.0.0.7'] },
            { node: 'pve2', addresses: ['10.0.0.1', '127.0.0.1'] },
        ]
        expect(await findAlive(members, probe, signal)).toEqual({
            alive: [{ node: 'pve1', address: '10.0.0.7', by: 'ping' }],
            unknown: [],
            asked: 1,
            left: 0,
        })
    })

    test('a name that leads nowhere is said, not taken for off', async () => {
        const probe = { ...silent, resolve: async () => [] }
        const { alive, unknown } = await findAlive([{ node: 'pve2', addresses: ['pve2.lan'] }], probe, signal)
        expect([alive, unknown]).toEqual([[], [{ node: 'pve2', address: 'pve2.lan' }]])
    })

    test('asking is bounded and stops when it is told to', async () => {
        let together = 0
        let most = 0
        const probe: PeerProbe = {
            ...silent,
            async ping() {
                most = Math.max(most, ++together)
                await Promise.resolve()
                together--
                return false
            },
        }
        const members = Array.from({ length: 600 }, (_, i) => ({ node: `n${i}`, addresses: [`10.9.0.${i}`] }))
        const { asked, unknown } = await findAlive(members, probe, signal)
        expect([asked, unknown.length]).toEqual([512, 88])
        expect(most).toBeLessThanOrEqual(32)
        await expect(findAlive(members, probe, AbortSignal.abort(new Error('stopped')))).rejects.toThrow(
            'stopped',
        )
    })

    test('while a plan is made it ends in time, and says that not all were asked', async () => {
        const slow: PeerProbe = {
            ...silent,
            ping: () => new Promise(resolve => setTimeout(resolve, 5, false)),
        }
        const members = Array.from({ length: 400 }, (_, i) => ({ node: `n${i}`, addresses: [`10.9.0.${i}`] }))
        const { asked, left } = await findAlive(members, slow, signal, { probeMs: 5, allMs: 1 })
        expect([asked + left, left > 0, asked >= 32]).toEqual([400, true, true])
        expect(explainDoubts({ unknown: [], left })).toEqual([expect.stringContaining('not asked')])
    })

    test('are named in the order of the cluster, however they answer', async () => {
        const waits: Record<string, number> = { '10.0.0.2': 6, '10.0.0.3': 1 }
        const probe: PeerProbe = {
            ...silent,
            ping: address => new Promise(resolve => setTimeout(resolve, waits[address], true)),
        }
        const members = [
            { node: 'b', addresses: ['10.0.0.2'] },
            { node: 'c', addresses: ['10.0.0.3'] },
        ]
        const { alive } = await findAlive(members, probe, signal)
        expect(alive.map(({ node }) => node)).toEqual(['b', 'c'])
    })

    test('those that corosync sees are read from pvecm status', () => {
        const status = [
            'Membership information',
            '    Nodeid      Votes Name',
            '0x00000001          1 10.0.0.1 (local)',
            '0x0000000a          1 10.0.0.10',
        ].join('\n')
        expect(otherMembers(status)).toEqual(['10.0.0.10'])
        expect(otherMembers('Error: Corosync config does not exist')).toEqual([])
    })
})
