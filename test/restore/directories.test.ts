/** Directories of storages: made where they belong, never in the place of a file system that is missing. */
import { describe, expect, test } from 'bun:test'
import {
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    rmSync,
    statSync,
    symlinkSync,
    utimesSync,
    writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
    type DirectoryFacts,
    explainDatastores,
    planStorageDirectories,
    restoreDirectories,
} from '../../src/restore/directories.ts'
import { importUnit, poolsOf, readZfs, zfsHints } from '../../src/restore/zfs.ts'
import { SimClock } from '../sim/clock.ts'
import { testContext } from './context.ts'

const facts = (
    more: Partial<DirectoryFacts> = {},
    there: Record<string, 'empty' | 'directory' | 'other'> = {},
): DirectoryFacts => ({
    mounted: new Map([['/', 'ext4']]),
    configured: [],
    look: path => there[path] ?? 'absent',
    ...more,
})
const storage = (type: string, lines: string) => `${type}: one\n${lines.replaceAll(/^/gm, '\t')}\n`
const why = (text: string, on = facts()) => {
    const plan = planStorageDirectories(text, on)
    expect(plan.create).toEqual([])
    return plan.left.map(one => one.why).join()
}

describe('storages', () => {
    test('get the directories of their content, and only those', () => {
        const text = storage('dir', 'path /srv/vm\ncontent images,iso,vztmpl,backup,snippets,rootdir')
        expect(planStorageDirectories(text, facts({}, { '/srv/vm/images': 'directory' })).create).toEqual([
            '/srv/vm',
            '/srv/vm/template',
            '/srv/vm/template/iso',
            '/srv/vm/template/cache',
            '/srv/vm/dump',
            '/srv/vm/snippets',
            '/srv/vm/private',
        ])
    })

    test('names of their own are used, but none that lead out', () => {
        const plan = planStorageDirectories(
            storage('dir', 'path /srv/vm\ncontent iso,backup\ncontent-dirs iso=my/isos,backup=../../etc'),
            facts(),
        )
        expect(plan.create).toEqual(['/srv/vm', '/srv/vm/my', '/srv/vm/my/isos'])
        expect(plan.left).toHaveLength(1)
    })

    test('a path that is to be a mount and is none is refused, whoever says so', () => {
        const text = storage('dir', 'path /data/vm\ncontent iso')
        expect(why(text, facts({ configured: ['/data'] }))).toContain('/data is meant to be a mount')
        expect(why(storage('dir', 'path /data/vm\nis_mountpoint yes\ncontent iso'))).toContain(
            '/data/vm is meant',
        )
        expect(why(storage('dir', 'path /data/vm\nis_mountpoint /data\ncontent iso'))).toContain(
            '/data is meant',
        )
        expect(
            why(`zfspool: z\n\tpool tank/vm\n\n${storage('dir', 'path /tank/iso\ncontent iso')}`),
        ).toContain('/tank is meant')
        expect(why(storage('dir', 'path /mnt/usb\ncontent iso'))).toContain('looks like a mount')
        expect(
            why(storage('dir', 'path /mnt/usb\ncontent iso'), facts({}, { '/mnt/usb': 'empty' })),
        ).toContain('looks like a mount')
    })

    test('once it is mounted the directories are made', () => {
        const text = storage('dir', 'path /mnt/usb/vm\nis_mountpoint /mnt/usb\ncontent iso')
        const mounted = new Map([
            ['/', 'ext4'],
            ['/mnt/usb', 'ext4'],
        ])
        expect(planStorageDirectories(text, facts({ mounted, configured: ['/mnt/usb'] })).create).toContain(
            '/mnt/usb/vm/template/iso',
        )
    })

    test('network file systems are left to those who mount them', () => {
        expect(why(storage('nfs', 'server nas\nexport /e\npath /mnt/pve/one\ncontent iso'))).toContain(
            'pvestatd mounts it',
        )
        const mounted = new Map([['/srv/nas', 'nfs4']])
        expect(why(storage('dir', 'path /srv/nas/x\ncontent iso'), facts({ mounted }))).toContain(
            'left to its owner',
        )
    })

    test('the system, odd paths and what the configuration forbids are left alone', () => {
        for (const path of ['/', '/etc/x', '/usr/share', '/var', '/srv/../etc', 'relative'])
            expect(why(storage('dir', `path ${path}\ncontent iso`))).not.toBe('')
        expect(why(storage('dir', 'path /srv/x\nmkdir 0\ncontent iso'))).toContain('forbids')
        expect(why(storage('dir', 'path /srv/x\ncreate-base-path 0\ncontent iso'))).toContain('forbids')
        expect(why(storage('dir', 'path /srv/x\ncontent iso'), facts({}, { '/srv/x': 'other' }))).toContain(
            'no directory',
        )
        expect(why('not a storage.cfg')).toContain('cannot read')
    })
})

describe('datastores', () => {
    const cfg = 'datastore: main\n\tpath /mnt/datastore/main\n'
    const say = (on: DirectoryFacts, text = cfg) =>
        explainDatastores(text, on)
            .map(one => one.why)
            .join()

    test('are explained, never made: a missing mount, a missing store, a directory that is none', () => {
        expect(say(facts({ configured: ['/mnt/datastore/main'] }))).toContain('is meant to be a mount')
        expect(say(facts(), 'datastore: main\n\tpath /srv/pbs\n')).toContain('datastore create main /srv/pbs')
        expect(say(facts({}, { '/srv/pbs': 'directory' }), 'datastore: main\n\tpath /srv/pbs\n')).toContain(
            'no .chunks',
        )
    })

    test('one that is there needs no word', () => {
        const there = { '/srv/pbs': 'directory', '/srv/pbs/.chunks': 'directory' } as const
        expect(say(facts({}, there), 'datastore: main\n\tpath /srv/pbs\n')).toBe('')
    })
})

describe('restore.directories', () => {
    test('makes them below the root, follows no link, and takes away what is still empty', async () => {
        const top = mkdtempSync(join(tmpdir(), 'proxsave-directories-'))
        try {
            mkdirSync(join(top, 'root/srv'), { recursive: true })
            mkdirSync(join(top, 'outside'))
            symlinkSync(join(top, 'outside'), join(top, 'root/srv/link'))
            mkdirSync(join(top, 'change/stage/etc/pve'), { recursive: true })
            writeFileSync(
                join(top, 'change/stage/etc/pve/storage.cfg'),
                'dir: a\n\tpath /srv/deep/vm\n\tcontent iso,backup\n\ndir: b\n\tpath /srv/link/x\n\tcontent iso\n',
            )
            const task = restoreDirectories({ root: join(top, 'root'), clock: new SimClock() })
            const context = testContext({ dir: join(top, 'change') })
            utimesSync(join(top, 'root/srv'), 1_400_000_000, 1_500_000_000)
            await task.do({ stage: 'stage' }, context)
            const iso = join(top, 'root/srv/deep/vm/template/iso')
            expect(statSync(iso).mode & 0o7777).toBe(0o755)
            expect(readdirSync(join(top, 'outside'))).toEqual([])
            expect(context.warnings).toHaveLength(1)
            await task.do({ stage: 'stage' }, context)
            writeFileSync(join(iso, 'x.iso'), '')
            await task.undo({ stage: 'stage' }, context)
            expect(existsSync(iso)).toBe(true)
            expect(existsSync(join(top, 'root/srv/deep/vm/dump'))).toBe(false)
            rmSync(join(iso, 'x.iso'))
            await task.undo({ stage: 'stage' }, context)
            expect(readdirSync(join(top, 'root/srv'))).toEqual(['link'])
            expect(statSync(join(top, 'root/srv')).mtimeMs).toBe(1_500_000_000_000)
        } finally {
            rmSync(top, { recursive: true })
        }
    })
})

describe('pools', () => {
    test('that are missing get the hint that fits', () => {
        const hints = zfsHints({
            expected: ['rpool', 'tank', 'a-b'],
            imported: new Map([['rpool', 'DEGRADED']]),
            importable: ['tank'],
            enabled: new Set(['tank']),
        })
        expect(hints.map(({ what }) => what)).toEqual([
            'pool rpool is DEGRADED',
            'pool tank is on the disks and not imported',
            'pool a-b of the backup is not on any disk here',
        ])
        expect(hints[1]!.remedy).not.toContain('systemctl')
        expect(hints[2]!.remedy).toContain("systemctl enable 'zfs-import@a\\x2db.service'")
        expect(importUnit('tank')).toBe('zfs-import@tank.service')
    })

    test('are read from what was saved', () => {
        expect(
            poolsOf(
                'zfspool: z\n\tpool tank/vm\n\tcontent images\n',
                'NAME SIZE\nrpool 1 2\n  mirror-0 1\n    sda 1\n',
            ),
        ).toEqual(['tank', 'rpool'])
        expect(poolsOf(undefined, 'cannot open: no pools\n')).toEqual([])
    })

    test('are asked of the host only where it has ZFS', async () => {
        expect(await readZfs(async () => ({ found: false }), ['tank'])).toBeUndefined()
    })
})
