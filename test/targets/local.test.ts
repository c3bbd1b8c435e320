/** The local target: the conformance suite on one file system, across two and on a remote one, and its own refusals. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
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
import { parseFstabPoints, readConfiguredMounts } from '../../src/host/fstab.ts'
import { openTarget, openTargets, type TargetHost, targetNamed } from '../../src/targets/index.ts'
import { faultOf, pattern, targetConformance } from './conformance.ts'

const name = 'pve1_20261120T023000Z.proxsave.tar'
const plainHost: TargetHost = {
    root: '/',
    nowMs: () => Date.now(),
    mounts: () => new Map(),
    configuredMounts: () => [],
}

function localTarget(path: string, host: Partial<TargetHost> = {}) {
    return openTarget(
        { type: 'local', name: 'local', path, keep: {}, minKeep: 2, maxPrune: undefined },
        { ...plainHost, ...host },
    )
}

function subject(base: string, host: Partial<TargetHost> = {}, ageMs = 0) {
    const parent = mkdtempSync(join(base, 'proxsave-target-'))
    const path = join(parent, 'backups')
    return {
        target: localTarget(path, host),
        interrupt: async () => {
            const left = join(path, '.partial', 'half')
            writeFileSync(left, 'half an archive')
            const time = new Date(Date.now() - ageMs)
            utimesSync(left, time, time)
            return 'half'
        },
        close: () => rmSync(parent, { recursive: true }),
    }
}

targetConformance('a directory', () => subject(tmpdir()))

const elsewhere = '/dev/shm'
const twoFileSystems = existsSync(elsewhere) && statSync(elsewhere).dev !== statSync(tmpdir()).dev
if (twoFileSystems) targetConformance('a directory on another file system', () => subject(elsewhere))
else console.log('skip: there is no second file system here, publishing by copy is not tested')

const nfs = new Map([['/', { point: '/', type: 'nfs4' }]])
targetConformance('a directory on a network', () => subject(tmpdir(), { mounts: () => nfs }, 25 * 3_600_000))

describe('a local target', () => {
    let base: string
    beforeEach(() => {
        base = mkdtempSync(join(tmpdir(), 'proxsave-local-'))
    })
    afterEach(() => rmSync(base, { recursive: true }))

    test('publishes from its own spool by renaming', async () => {
        const target = localTarget(join(base, 'b'))
        const source = join(target.spool()!, 'new')
        writeFileSync(source, pattern(100), { mode: 0o644 })
        const inode = statSync(source).ino
        await target.publish(source, name)
        const found = statSync(target.localPath(name)!)
        expect(found.ino).toBe(inode)
        expect(found.mode & 0o777).toBe(0o600)
        expect(existsSync(source)).toBe(false)
    })

    test('keeps its directories to itself', async () => {
        const target = localTarget(join(base, 'b'))
        const spool = target.spool()!
        expect(spool).toBe(join(base, 'b/.partial'))
        expect([statSync(join(base, 'b')).mode & 0o777, statSync(spool).mode & 0o777]).toEqual([0o700, 0o700])
    })

    test('does not make the directories above its own', async () => {
        const target = localTarget(join(base, 'usb/backups'))
        expect(() => target.spool()).toThrow(`${join(base, 'usb')} does not exist`)
        expect(await target.list()).toEqual([])
        expect(readdirSync(base)).toEqual([])
    })

    test('refuses a mount point that is not mounted, and works once it is', async () => {
        const path = join(base, 'usb/backups')
        mkdirSync(join(base, 'usb'))
        writeFileSync(join(base, 'source'), 'x')
        const mounts = new Map<string, { point: string; type: string }>()
        const target = localTarget(path, {
            mounts: () => mounts,
            configuredMounts: () => ['/', join(base, 'usb')],
        })
        expect(() => target.spool()).toThrow('is not mounted')
        const works = [
            () => target.list(),
            () => target.publish(join(base, 'source'), name),
            () => target.remove(name),
            () => target.sweep(),
        ]
        for (const work of works) expect((await faultOf(work())).message).toContain('is not mounted')
        expect(existsSync(path)).toBe(false)
        mounts.set(join(base, 'usb'), { point: join(base, 'usb'), type: 'ext4' })
        expect(target.spool()).toBe(join(path, '.partial'))
    })

    test('builds at home when the directory lies on a network, and spares what is young there', async () => {
        const target = localTarget(join(base, 'b'), { mounts: () => nfs })
        expect(target.spool()).toBeUndefined()
        expect(target.freeBytes()).toBeUndefined()
        mkdirSync(join(base, 'b/.partial'), { recursive: true })
        writeFileSync(join(base, 'b/.partial/of-another-host'), 'x')
        expect(await target.sweep()).toEqual([])
    })

    test('lists regular files with the names of archives, nothing else', async () => {
        const path = join(base, 'b')
        mkdirSync(join(path, `dir_${name}`), { recursive: true })
        writeFileSync(join(path, name), 'x')
        writeFileSync(join(path, 'notes.txt'), 'x')
        writeFileSync(join(path, `.${name}`), 'x')
        symlinkSync('/etc/passwd', join(path, `link_${name}`))
        spawnSync('mkfifo', [join(path, `fifo_${name}`)])
        const target = localTarget(path)
        expect((await target.list()).map(archive => archive.name)).toEqual([name])
        expect((await faultOf(target.read(`link_${name}`, 0, 9))).message).toContain('symbolic link')
        expect((await faultOf(target.read(`fifo_${name}`, 0, 9))).message).toContain('not a regular file')
    })

    test('of another root lies below that root', () => {
        mkdirSync(join(base, 'var'))
        const target = localTarget('/var/b', { root: base })
        expect(target.spool()).toBe(join(base, 'var/b/.partial'))
    })
})

describe('a full disk', () => {
    const mount = mkdtempSync(join(tmpdir(), 'proxsave-full-'))
    const mounted =
        spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=700', 'proxsave-test', mount]).status === 0
    if (!mounted) console.log('skip: no file system can be mounted here, a full disk is not tested')
    afterAll(() => {
        if (mounted) spawnSync('umount', [mount])
        rmSync(mount, { recursive: true })
    })

    test.skipIf(!mounted)('leaves nothing behind and what was there untouched', async () => {
        const base = mkdtempSync(join(tmpdir(), 'proxsave-source-'))
        try {
            writeFileSync(join(base, 'small'), pattern(500_000))
            writeFileSync(join(base, 'large'), pattern(4_000_000))
            const target = localTarget(join(mount, 'b'))
            await target.publish(join(base, 'small'), name)
            const fault = await faultOf(target.publish(join(base, 'large'), `later_${name}`))
            expect(fault.message).toEndWith('no space is left')
            expect(fault.hint).toContain('prune')
            expect(readdirSync(join(mount, 'b/.partial'))).toEqual([])
            expect(readdirSync(join(mount, 'b')).sort()).toEqual(['.partial', name])
            expect(Buffer.from(await target.read(name, 0, 1e6)).equals(pattern(500_000))).toBe(true)
            await target.remove(name)
            expect(await target.list()).toEqual([])
        } finally {
            rmSync(base, { recursive: true })
        }
    })
})

test('targets are found by name, an unknown one names the others', () => {
    const config = { type: 'local', path: '/x', keep: {}, minKeep: 2, maxPrune: undefined } as const
    const targets = openTargets(
        [
            { ...config, name: 'a' },
            { ...config, name: 'b' },
        ],
        plainHost,
    )
    expect(targetNamed(targets, 'b').place).toBe('/x')
    expect(() => targetNamed(targets, 'c')).toThrow('cannot use the target c')
})

test('mount points come from fstab and from mount units', () => {
    const text =
        '# a comment\nUUID=1 / ext4 defaults 0 1\n/dev/sdb1\t/mnt/usb\\040disk/ ext4 noauto\n/dev/x none swap sw\n\n'
    expect(parseFstabPoints(text)).toEqual(['/', '/mnt/usb disk'])
    const root = mkdtempSync(join(tmpdir(), 'proxsave-fstab-'))
    try {
        expect(readConfiguredMounts(root)).toEqual([])
        mkdirSync(join(root, 'etc/systemd/system'), { recursive: true })
        writeFileSync(join(root, 'etc/fstab'), text)
        writeFileSync(
            join(root, 'etc/systemd/system/mnt-datastore-a.mount'),
            '[Mount]\nWhat=/dev/b\nWhere=/mnt/datastore/a\n',
        )
        expect(readConfiguredMounts(root)).toEqual(['/', '/mnt/usb disk', '/mnt/datastore/a'])
    } finally {
        rmSync(root, { recursive: true })
    }
})
