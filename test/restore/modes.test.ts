/** Which categories a mode means, and how each of their entries comes back. */
import { describe, expect, test } from 'bun:test'
import type { SavedEntry } from '../../src/archive/saved.ts'
import { categories } from '../../src/catalog/index.ts'
import { type Circumstances, decider } from '../../src/restore/decide.ts'
import { Hazards } from '../../src/restore/hazards.ts'
import { chooseCategories, type Held, readCategories } from '../../src/restore/modes.ts'

const held = (...ids: string[]): Held[] => ids.map(id => ({ id, title: id, entries: 1, bytes: 1 }))
const everything = held(...categories.map(({ id }) => id))

describe('a mode', () => {
    test('storage: cluster, storages, jobs and pools on VE; configuration, datastores, jobs and pools on the other', () => {
        expect(chooseCategories('storage', everything)).toEqual([
            'pve_cluster',
            'storage_pve',
            'pve_jobs',
            'datastore_pbs',
            'pbs_jobs',
            'pbs_config',
            'zfs',
        ])
    })

    test('base: network, SSH, certificates and services', () => {
        expect(chooseCategories('base', everything).sort()).toEqual(['network', 'services', 'ssh', 'ssl'])
    })

    test('full is all that the backup has, in the order of the catalogue', () => {
        expect(chooseCategories('full', held('zfs', 'network'))).toEqual(['network', 'zfs'])
        expect(chooseCategories('full', everything)).toHaveLength(categories.length)
    })

    test('custom refuses what does not exist and what the backup has not', () => {
        expect(chooseCategories('custom', everything, ['zfs', 'network', 'zfs'])).toEqual(['network', 'zfs'])
        expect(() => chooseCategories('custom', everything, ['nonsense'])).toThrow(
            'there is none of that name',
        )
        expect(() => chooseCategories('custom', held('zfs'), ['network'])).toThrow('has nothing of it')
    })

    test('an answer may have commas, blanks, or be all', () => {
        expect(readCategories('zfs, ssl  network', everything)).toEqual(['zfs', 'ssl', 'network'])
        expect(readCategories('all', held('zfs'))).toEqual(['zfs'])
    })
})

const entry = (path: string): SavedEntry => ({
    path,
    type: 'file',
    category: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 1,
    mtimeNs: 0n,
})
const on = (change: Partial<Circumstances> = {}): Circumstances => ({
    host: { name: 'a', product: { kind: 'pve' }, cluster: 'standalone' },
    available: ['replace', 'merge', 'database', 'export'],
    cluster: undefined,
    database: false,
    ...change,
})
const actionOf = (category: string, path: string, circumstances = on()) =>
    decider(category, circumstances)(entry(path))

describe('an entry', () => {
    test('comes back as its category says, exceptions included', () => {
        expect(actionOf('ssl', 'etc/ssl/a.pem').action).toBe('replace')
        expect(actionOf('network', 'etc/resolv.conf').action).toBe('merge')
        expect(actionOf('storage_pve', 'etc/vzdump.conf').action).toBe('replace')
        expect(actionOf('storage_stack', 'etc/crypttab').action).toBe('export')
    })

    test('is exported, with the reason, when its strategy is not there', () => {
        expect(actionOf('network', 'etc/network/interfaces')).toMatchObject({
            action: 'export',
            why: expect.stringContaining('lock you out'),
        })
    })

    test('of a product that this host has not is exported', () => {
        const pbs = on({ host: { name: 'a', product: { kind: 'pbs' }, cluster: 'standalone' } })
        expect(actionOf('pve_cluster', 'var/lib/pve-cluster/config.db', pbs)).toMatchObject({
            action: 'export',
            why: 'Proxmox VE is not installed on this host',
        })
    })

    test('below /etc/pve is never a file, whatever category claims it', () => {
        for (const { id } of categories)
            expect(['replace', 'merge'], id).not.toContain(actionOf(id, 'etc/pve/anything').action)
    })

    test('below /etc/pve leaves the plan when the database is restored, and stays when it is not', () => {
        const recovery = on({ database: true, cluster: 'recovery' })
        expect(actionOf('pve_cluster', 'var/lib/pve-cluster/config.db', recovery).action).toBe('database')
        expect(actionOf('pve_guests', 'etc/pve/nodes/a/qemu-server/100.conf', recovery)).toMatchObject({
            action: 'skip',
            why: expect.stringContaining('inside the cluster database'),
        })
        expect(actionOf('storage_pve', 'etc/vzdump.conf', recovery).action).toBe('replace')
        const safe = on({ database: true, cluster: 'safe' })
        expect(actionOf('pve_cluster', 'var/lib/pve-cluster/config.db', safe).action).toBe('export')
        expect(actionOf('pve_guests', 'etc/pve/nodes/a/qemu-server/100.conf', safe).action).toBe('export')
    })

    test('of corosync is only exported while the host is a member of a cluster', () => {
        const member = on({ host: { name: 'a', product: { kind: 'pve' }, cluster: 'cluster' } })
        expect(actionOf('corosync', 'etc/corosync/corosync.conf', member).action).toBe('export')
        expect(actionOf('corosync', 'etc/corosync/corosync.conf').action).toBe('replace')
    })
})

describe('lines that would run as root', () => {
    const found = (path: string, text: string) => {
        const hazards = new Hazards()
        hazards.add(path, Buffer.from(text))
        return hazards.lines.map(line => line.slice(path.length + 3))
    }

    test.each([
        [
            'etc/network/interfaces',
            'iface a\n\tpost-up ip rule add x\n# post-up no\n',
            ['post-up ip rule add x'],
        ],
        ['etc/systemd/system/a.service', '[Service]\nExecStart=/bin/x\n#ExecStop=/y\n', ['ExecStart=/bin/x']],
        ['etc/cron.d/a', 'MAILTO=x\n@daily root /x\n1 2 * * * backup /y\n', ['@daily root /x']],
        ['var/spool/cron/crontabs/root', '# no\n1 2 * * * /x\n', ['1 2 * * * /x']],
        ['etc/udev/rules.d/1.rules', 'ACTION=="add", RUN+="/x"\n', ['ACTION=="add", RUN+="/x"']],
        ['etc/hosts', 'post-up x\n', []],
    ] as [string, string, string[]][])('%s', (path, text, lines) => expect(found(path, text)).toEqual(lines))

    test('are bounded', () => {
        expect(found('etc/crontab', '1 2 * * * root /x\n'.repeat(500)).length).toBe(201)
    })
})
