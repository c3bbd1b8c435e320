/** docs/restore.md as somebody follows it: what was broken comes back, and a machine that was installed anew becomes the old one. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { RunningDaemon } from '../daemon/running.ts'

setDefaultTimeout(60_000)

let old: RunningDaemon
let fresh: RunningDaemon
const confirm = ['--answer', 'confirm=RESTORE']
const at = (daemon: RunningDaemon, path: string) => readFileSync(join(daemon.root, path), 'utf8')

beforeAll(async () => {
    old = await RunningDaemon.begin(daemon => {
        daemon.write('etc/hostname', 'pve1\n')
        daemon.write('etc/cron.d/nightly', '0 3 * * * root /usr/local/bin/tidy\n')
    })
    expect((await old.ctl('setup', '--defaults')).status).toBe(0)
    expect((await old.ctl('backup')).status).toBe(0)
})
afterAll(async () => {
    await old.end()
    await fresh?.end()
})

test('the short way: look, compare, take one file, restore one category, and undo that', async () => {
    old.write('etc/cron.d/nightly', 'broken\n')
    expect((await old.ctl('restore', 'latest', '--plan')).out).toContain('/etc/cron.d/nightly')
    expect((await old.ctl('diff', 'latest')).out).toContain('/etc/cron.d/nightly')
    const taken = join(old.base, 'old')
    expect((await old.ctl('extract', 'latest', '/etc/cron.d/nightly', '--output', taken)).status).toBe(0)
    expect(readFileSync(join(taken, 'etc/cron.d/nightly'), 'utf8')).toContain('tidy')
    const unconfirmed = await old.ctl('restore', 'latest', '--category', 'crontabs')
    expect([unconfirmed.status, at(old, 'etc/cron.d/nightly')]).toEqual([4, 'broken\n'])
    const done = await old.ctl('restore', 'latest', '--category', 'crontabs', ...confirm)
    expect([done.status, at(old, 'etc/cron.d/nightly')]).toEqual([0, expect.stringContaining('tidy')])
    expect((await old.ctl('undo', 'latest', '--answer', 'confirm=UNDO')).status).toBe(0)
    expect(at(old, 'etc/cron.d/nightly')).toBe('broken\n')
    for (const mode of ['base', 'storage', 'full'])
        expect([mode, (await old.ctl('restore', 'latest', '--mode', mode, '--plan')).status]).toEqual([
            mode,
            0,
        ])
})

test('a machine that was installed anew', async () => {
    const { backups } = JSON.parse((await old.ctl('list', '--json')).out)
    const { path, name, hostId } = backups[0]
    const usb = join(old.base, 'usb')
    mkdirSync(usb)
    copyFileSync(path, join(usb, name))
    copyFileSync(join(old.root, 'etc/proxsave/identity.txt'), join(usb, 'key'))
    fresh = await RunningDaemon.begin(daemon => daemon.write('etc/hostname', 'pve1\n'))
    const file = [join(usb, name), '--identity', join(usb, 'key'), '--mode', 'full']
    const stranger = await fresh.ctl('restore', ...file, '--plan')
    expect([stranger.status, stranger.err]).toEqual([5, expect.stringContaining('signature.untrusted=yes')])
    const known = [...file, '--answer', 'signature.untrusted=yes']
    expect((await fresh.ctl('restore', ...known, '--plan')).out).toContain('/etc/cron.d/nightly')
    const done = await fresh.ctl('restore', ...known, ...confirm)
    expect([0, 6]).toContain(done.status)
    expect(at(fresh, 'etc/cron.d/nightly')).toContain('tidy')
    // Its backups lie where they lay: on the disk that was kept.
    mkdirSync(join(fresh.root, 'var/backups/proxsave'), { recursive: true })
    copyFileSync(path, join(fresh.root, 'var/backups/proxsave', name))
    expect(JSON.parse((await fresh.ctl('list', '--json')).out).backups).toEqual([])
    expect((await fresh.ctl('setup', '--adopt', hostId)).status).toBe(0)
    expect(JSON.parse((await fresh.ctl('list', '--json')).out).backups).toMatchObject([{ name, own: true }])
})

test('the statuses that its table tells', async () => {
    const status = async (...args: string[]) => (await old.ctl('restore', 'latest', ...args)).status
    expect(await status('--mode', 'none')).toBe(2)
    expect(await status('--answer', 'network.commit=yes', ...confirm)).toBe(2)
    const damaged = join(old.base, 'damaged.proxsave.tar')
    const { path } = JSON.parse((await old.ctl('list', '--json')).out).backups[0]
    const bytes = readFileSync(path)
    bytes[bytes.length >> 1]! ^= 1
    await Bun.write(damaged, bytes)
    expect((await old.ctl('restore', damaged, '--mode', 'full', '--plan')).status).toBe(5)
})
