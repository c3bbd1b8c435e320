/** Names, manifests and settings of the Go ProxSave, as text. */
import { describe, expect, test } from 'bun:test'
import {
    parseUpstreamName,
    readDedupManifest,
    readDigestFile,
    readUpstreamEnvironment,
    readUpstreamManifest,
    timeOfName,
} from '../../src/format/upstream-manifest.ts'

const bytes = (text: string) => Buffer.from(text)

describe('names', () => {
    const time = '20260724-020003'
    test.each([
        [`pve1.example.lan-backup-${time}.tar.xz.age`, 'pve1.example.lan', true, false],
        [`pve1-backup-${time}.tar`, 'pve1', false, false],
        [`pve1-backup-${time}.tgz`, 'pve1', false, false],
        [`pve1-backup-${time}.tar.zstd`, 'pve1', false, false],
        [`my-backup-host-backup-${time}.tar.zst.bundle.tar`, 'my-backup-host', false, true],
        [`pve1-backup-${time}.tar.gz.decrypted.bundle.tar`, 'pve1', false, true],
        [`pve1-backup-${time}.tar.gz.age.bundle.tar`, 'pve1', true, true],
        [`pve-backup-node7-${time}.tar.lzma`, 'node7', false, false],
        [`pbs-backup-store-${time}.tar.bz2`, 'store', false, false],
        [`proxmox-backup-x.y-${time}.tar.gz`, 'x.y', false, false],
        // A host that is called pve.
        [`pve-backup-${time}.tar.gz`, 'pve', false, false],
    ])('%s', (name, host, encrypted, bundle) => {
        expect(parseUpstreamName(name)).toEqual({ host, time, encrypted, bundle })
    })

    test.each([
        `a-backup-${time}.tar.gz.sha256`,
        `a-backup-${time}.tar.gz.manifest.json`,
        `a-backup-${time}.tar.gz.metadata`,
        `a-backup-${time}.tar.gz.partial`,
        `a-backup-${time}.proxsave.tar`,
        `dir/a-backup-${time}.tar.gz`,
        'a-backup-2026.tar.gz',
        `-backup-${time}.tar.gz`,
        'vzdump-qemu-100.vma.zst',
    ])('%s is none', name => {
        expect(parseUpstreamName(name)).toBeUndefined()
    })

    test('a time that no calendar has is none', () => {
        expect(timeOfName('20260724-020003')?.getMinutes()).toBe(0)
        expect(timeOfName('20261324-020003')).toBeUndefined()
    })
})

describe('manifests', () => {
    test('both products of one host', () => {
        expect(readUpstreamManifest(bytes('{"proxmox_type":"dual"}')).products).toEqual(['pve', 'pbs'])
        expect(readUpstreamManifest(bytes('BACKUP_TARGETS="pbs,pve"')).products).toEqual(['pve', 'pbs'])
    })

    test('lines are never run, and their size and time are not believed', () => {
        const text = 'HOSTNAME=$(reboot)\n# comment\nARCHIVE_SIZE=5\nexport ENCRYPTION_MODE=Plain\n'
        expect(readUpstreamManifest(bytes(text))).toMatchObject({
            hostname: '$(reboot)',
            size: undefined,
            encryption: 'plain',
        })
    })

    test.each([
        '{',
        'nothing at all',
        '{"sha256":"12"}',
        '{"hostname":5}',
        '{"archive_size":-1}',
        '{"archive_size":"5"}',
    ])('%s is refused', text => {
        expect(() => readUpstreamManifest(bytes(text))).toThrow('cannot read the manifest')
    })

    test('a digest file is its first word', () => {
        const digest = 'aB'.repeat(32)
        expect(readDigestFile(bytes(`${digest}  /opt/x.tar\n`))).toBe('ab'.repeat(32))
        for (const text of ['', digest.slice(1), `${digest}0`])
            expect(() => readDigestFile(bytes(text))).toThrow()
    })

    test('a list of copies', () => {
        expect(readDedupManifest(bytes('null')).size).toBe(0)
        const found = readDedupManifest(bytes('[{"path":"./etc/ä","mode":33188,"uid":1}]'))
        expect([...found.values()]).toEqual([
            { path: 'etc/\u00c3\u00a4', mode: 0o644, uid: 1, gid: undefined },
        ])
        for (const text of ['{}', '[5]', '[{"path":"a"}]', '[{"path":"a","mode":1,"uid":-1}]', '[null]'])
            expect(() => readDedupManifest(bytes(text))).toThrow('deduplicated')
    })
})

test('backup.env is read as text', () => {
    const text = [
        '# BACKUP_PATH=/no',
        'BASE_DIR=/opt/proxsave',
        `BACKUP_PATH="\${BASE_DIR}/backup/"   # where`,
        'SECONDARY_ENABLED=true',
        "SECONDARY_PATH='/mnt/$(touch x)'",
        'CLOUD_ENABLED=true',
        'CLOUD_REMOTE=gdrive',
        `CLOUD_REMOTE_PATH=/pbs/\${UNKNOWN}backups`,
    ].join('\n')
    expect(readUpstreamEnvironment(text, '/else')).toEqual({
        directories: ['/opt/proxsave/backup', '/mnt/$(touch x)'],
        remote: 'gdrive:pbs/backups',
    })
    expect(readUpstreamEnvironment(`BACKUP_PATH=\${BASE_DIR:-/x}/b\nSECONDARY_PATH=/s`, '/opt/p')).toEqual({
        directories: ['/opt/p/b'],
        remote: undefined,
    })
    expect(readUpstreamEnvironment('BACKUP_PATH=relative', '/opt/p').directories).toEqual([])
})
