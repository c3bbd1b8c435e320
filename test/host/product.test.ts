/** Which product a tree holds, by its package database or, without one, by its files. */
import { afterEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { detectProduct } from '../../src/host/product.ts'

const trees: string[] = []
afterEach(() => {
    for (const tree of trees.splice(0)) rmSync(tree, { recursive: true })
})

function tree(files: Record<string, string>): string {
    const root = mkdtempSync(join(tmpdir(), 'product-'))
    trees.push(root)
    for (const [path, content] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true })
        writeFileSync(join(root, path), content)
    }
    return root
}

const stanza = (name: string, version: string, status = 'install ok installed') =>
    `Package: ${name}\nStatus: ${status}\nPriority: optional\nVersion: ${version}\nDescription: Package: pve-manager\n Version: 0\n`

const status = (...stanzas: string[]) => ({
    'var/lib/dpkg/status': [stanza('dpkg', '1.22.21'), ...stanzas].join('\n'),
})

describe('by packages', () => {
    test('plain Debian', () => {
        const product = detectProduct(
            tree({ ...status(), 'etc/debian_version': '13.1\n', 'etc/hostname': 'web\n', 'etc/hosts': '' }),
        )
        expect(product).toEqual({
            kind: 'debian',
            debian: '13.1',
            cluster: 'standalone',
            hostname: 'web',
            leftovers: [],
        })
    })

    test('PVE, PBS and both, with their versions', () => {
        const pve = stanza('pve-manager', '9.2.11')
        const pbs = stanza('proxmox-backup-server', '4.2.3-1')
        expect(detectProduct(tree(status(pve)))).toMatchObject({ kind: 'pve', pve: '9.2.11' })
        expect(detectProduct(tree(status(pbs)))).toMatchObject({ kind: 'pbs', pbs: '4.2.3-1' })
        expect(detectProduct(tree(status(pve, pbs)))).toMatchObject({
            kind: 'both',
            pve: '9.2.11',
            pbs: '4.2.3-1',
        })
    })

    test('a package on hold, half configured, or the last one of the file counts', () => {
        for (const state of [
            'hold ok installed',
            'install ok half-configured',
            'install ok triggers-pending',
        ])
            expect(detectProduct(tree(status(stanza('pve-manager', '8.4.1', state)))).kind).toBe('pve')
        const root = tree(status(stanza('other', '1'), stanza('pve-manager', '8.4.1').trimEnd()))
        expect(detectProduct(root).kind).toBe('pve')
    })

    test('packages with a similar name do not count', () => {
        const root = tree(
            status(stanza('pve-manager-extras', '1'), stanza('proxmox-backup-server-docs', '1')),
        )
        expect(detectProduct(root)).toMatchObject({ kind: 'debian', leftovers: [] })
    })

    test('what an uninstalled product left is no product, and is reported', () => {
        const root = tree({
            ...status(stanza('proxmox-backup-server', '3.4.0', 'deinstall ok config-files')),
            'etc/proxmox-backup/user.cfg': '',
            'var/lib/pve-cluster/config.db': '',
            'etc/corosync/corosync.conf': '',
        })
        expect(detectProduct(root)).toMatchObject({
            kind: 'debian',
            cluster: 'standalone',
            leftovers: [
                '/var/lib/pve-cluster/config.db without pve-manager',
                'package proxmox-backup-server is removed, its configuration is kept',
                '/etc/proxmox-backup/user.cfg without proxmox-backup-server',
            ],
        })
        expect(detectProduct(root).pbs).toBeUndefined()
    })

    test('a database of one file a package', () => {
        const root = tree({
            'var/lib/dpkg/status.d/base-files': 'Package: base-files\nVersion: 13\n',
            'var/lib/dpkg/status.d/pve-manager': 'Package: pve-manager\nVersion: 9.0.3\n',
        })
        expect(detectProduct(root)).toMatchObject({ kind: 'pve', pve: '9.0.3' })
    })

    test('is quick with a database of 12 MB', () => {
        const many = Array.from({ length: 60_000 }, (_, i) => stanza(`package-${i}`, '1'))
        const root = tree(status(...many, stanza('pve-manager', '9.0')))
        expect(detectProduct(root).kind).toBe('pve')
    })
})

describe('by files, where no database describes the tree', () => {
    test('each product by what it cannot do without', () => {
        expect(detectProduct(tree({ 'etc/pve/storage.cfg': '' })).kind).toBe('pve')
        expect(detectProduct(tree({ 'var/lib/pve-cluster/config.db': '' })).kind).toBe('pve')
        expect(detectProduct(tree({ 'etc/proxmox-backup/datastore.cfg': '' })).kind).toBe('pbs')
        expect(detectProduct(tree({ 'etc/pve/user.cfg': '', 'etc/proxmox-backup/user.cfg': '' })).kind).toBe(
            'both',
        )
        expect(detectProduct(tree({ 'etc/hostname': 'x\n' })).kind).toBe('debian')
    })

    test('a fragment of a database without dpkg itself says nothing', () => {
        const root = tree({ 'var/lib/dpkg/status': stanza('libc6', '2.41'), 'etc/pve/storage.cfg': '' })
        expect(detectProduct(root)).toMatchObject({ kind: 'pve', leftovers: [] })
    })

    test('the generated host tree is a clustered PVE and PBS', () => {
        const generator = join(import.meta.dir, '../../../shared/bench/gen-host-tree')
        if (!existsSync(generator)) {
            console.log('skip: ../shared/bench/gen-host-tree is not here')
            return
        }
        const root = join(tree({}), 'host')
        const run = Bun.spawnSync(['python3', generator, '--out', root, '--scale', 'small'])
        expect(run.exitCode).toBe(0)
        expect(detectProduct(root)).toMatchObject({
            kind: 'both',
            cluster: 'cluster',
            hostname: 'pve1',
            fqdn: 'pve1.example.org',
        })
    }, 60_000)
})

describe('names and cluster', () => {
    const pve = { 'etc/pve/storage.cfg': '' }

    test('a cluster by either corosync.conf', () => {
        expect(detectProduct(tree({ ...pve, 'etc/pve/corosync.conf': '' })).cluster).toBe('cluster')
        expect(detectProduct(tree({ ...pve, 'etc/corosync/corosync.conf': '' })).cluster).toBe('cluster')
        expect(detectProduct(tree(pve)).cluster).toBe('standalone')
    })

    test('the full name from the hosts file, not from comments or other hosts', () => {
        const hosts =
            '# 1.2.3.4 pve1.old.example\n10.0.0.2 pve2.example.org pve2\n10.0.0.1\tpve1.example.org pve1 # me\n'
        expect(detectProduct(tree({ 'etc/hostname': 'pve1\n', 'etc/hosts': hosts }))).toMatchObject({
            hostname: 'pve1',
            fqdn: 'pve1.example.org',
        })
        expect(
            detectProduct(tree({ 'etc/hostname': '# mine\n\npve1.lan\n', 'etc/hosts': hosts })),
        ).toMatchObject({
            hostname: 'pve1',
            fqdn: 'pve1.lan',
        })
        const alone = detectProduct(
            tree({ 'etc/hostname': 'pve1\n', 'etc/hosts': '127.0.0.1 localhost pve11.x\n' }),
        )
        expect(alone.fqdn).toBeUndefined()
    })

    test('the kernel is told only where one runs', () => {
        expect(detectProduct(tree({})).kernel).toBeUndefined()
        expect(detectProduct('/').kernel).toBeDefined()
    })

    test('links do not lead out of the tree', () => {
        const outside = tree({ 'storage.cfg': '', 'corosync.conf': '', hostname: 'stranger\n' })
        const root = tree({ 'etc/x': '' })
        symlinkSync(outside, join(root, 'etc/pve'))
        symlinkSync(outside, join(root, 'etc/corosync'))
        symlinkSync(join(outside, 'hostname'), join(root, 'etc/hostname'))
        expect(detectProduct(root)).toMatchObject({
            kind: 'debian',
            cluster: 'standalone',
            hostname: 'localhost',
        })
    })
})
