/** Setup, keys and reading a backup at a real terminal: what is asked, and what happens to a wrong answer. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { rmSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RunningDaemon } from '../daemon/running.ts'

setDefaultTimeout(60_000)

let daemon: RunningDaemon
const main = join(import.meta.dir, '../../src/main.ts')
const down = '\x1b[B'
const escapes = /\x1b(?:\[[0-9;?]*[A-Za-z]|[78])/g

/** One command line at a terminal: waits for each text in turn, and types. */
async function typed(args: string[], steps: [wait: string, type: string][]) {
    const script = steps.map(([wait, type]) => ({ wait, type }))
    const argv = [JSON.stringify(script), process.execPath, main, 'proxsavectl', ...args]
    const child = Bun.spawn(['python3', join(import.meta.dir, 'terminal.py'), ...argv], {
        stdout: 'pipe',
        stderr: 'inherit',
        env: { PATH: process.env.PATH ?? '', TERM: 'xterm', PROXSAVE_SOCKET: daemon.socket },
        timeout: 50_000,
    })
    const { shown, status } = JSON.parse(await new Response(child.stdout).text())
    return { status, raw: shown as string, shown: shown.replaceAll(escapes, '') as string }
}

beforeAll(async () => {
    daemon = await RunningDaemon.begin(daemon => daemon.write('etc/network/interfaces', 'auto lo\n'))
})
afterAll(() => daemon.end())

test('there is no sheet before there is a key', async () => {
    const ran = await daemon.ctl('keys', 'sheet')
    expect([ran.status, ran.out]).toEqual([1, ''])
    expect(ran.err).toContain('this host has no key yet\nhint: proxsavectl setup')
})

test('setup asks again for what it cannot take, and keeps all other answers', async () => {
    const ran = await typed(
        ['setup'],
        [
            ['What opens them again?', `${down}\r`],
            ['New passphrase', 'short\r'],
            ['too short', ' but longer now\r'],
            ['The same once more', 'something else\r'],
            ['The two differ', ''],
            ['New passphrase', 'four quiet words\r'],
            ['The same once more', 'four quiet words\r'],
            ['Directory for the backups', 'relative/path\r'],
            ['beginning with /', `\x15/var/backups/elsewhere\r`],
            ['When each day', '\r'],
        ],
    )
    expect(ran.shown).toContain('protected by its passphrase')
    expect(ran.status).toBe(0)
    const config = readFileSync(join(daemon.root, 'etc/proxsave/conf.d/10-setup.toml'), 'utf8')
    expect(config).toContain(`path = "/var/backups/elsewhere"`)
    expect(existsSync(join(daemon.root, 'etc/proxsave/identity.age'))).toBe(true)
})

test('setup asks nothing that it would not use', async () => {
    const ran = await typed(['setup'], [])
    expect(ran.status).toBe(0)
    expect(ran.shown).toContain('Target local stays: ')
    expect(ran.shown).toContain('Job daily stays: 02:30')
    expect(ran.shown).toContain('nothing to do')
    expect(ran.shown).not.toContain('Next: proxsavectl backup')
})

test('setup asks before it writes the remote of the Go ProxSave down', async () => {
    daemon.write('opt/proxsave/configs/backup.env', 'CLOUD_ENABLED=true\nCLOUD_REMOTE=nas:pve\n')
    const written = () => readFileSync(join(daemon.root, 'etc/proxsave/conf.d/10-setup.toml'), 'utf8')
    const refused = await typed(['setup'], [['backups at nas:pve', `${down}\r`]])
    expect([refused.status, written()]).toEqual([0, expect.not.stringContaining('[source.')])
    const taken = await typed(['setup'], [['backups at nas:pve', '\r']])
    expect([taken.status, written()]).toEqual([0, expect.stringContaining('remote = "nas:pve"')])
    rmSync(join(daemon.root, 'opt'), { recursive: true })
})

test('the passphrase is asked for, again when it does not fit, and what is found stands on lines of its own', async () => {
    expect((await daemon.ctl('backup')).status).toBe(0)
    daemon.write('etc/network/interfaces', 'auto lo eth0\n')
    const ran = await typed(
        ['diff', 'latest'],
        [
            ['Passphrase', 'not this one\r'],
            ['does not fit', ''],
            ['Passphrase', 'four quiet words\r'],
        ],
    )
    expect(ran.status).toBe(0)
    const lines = ran.raw
        .split('\n')
        .map(line => line.split('\x1b[2K').at(-1)!.replaceAll(escapes, '').trim())
    expect(lines).toContain('~ /etc/network/interfaces  (content)')
    expect(lines.at(-2)).toBe('0 entries added, 0 removed, 1 changed')
})

test('Ctrl+C while the bar is up leaves the backup to the daemon, and says so', async () => {
    mkdirSync(join(daemon.root, 'root'), { recursive: true })
    writeFileSync(join(daemon.root, 'root/large'), randomBytes(128 * 1024 * 1024))
    const ran = await typed(['backup'], [[' %', '\x03']])
    expect(ran.shown).toContain('The daemon goes on with it. To see it again: proxsavectl attach')
    expect(ran.status).toBe(6)
    expect((await daemon.ctl('attach')).status).toBeOneOf([0, 1])
})

test('an identity that left the host is asked for', async () => {
    const other = await RunningDaemon.begin(one => one.write('etc/hostname', 'away\n'))
    try {
        expect((await other.ctl('setup', '--defaults')).status).toBe(0)
        const file = join(other.root, 'etc/proxsave/identity.txt')
        const secret = /AGE-SECRET-KEY-1[0-9A-Z]+/.exec(readFileSync(file, 'utf8'))![0]
        expect((await other.ctl('keys', 'remove', '--identity', '--force')).status).toBe(0)
        expect((await other.ctl('backup')).status).toBe(0)
        const socket = ['--socket', other.socket]
        const ran = await typed(
            ['verify', 'latest', '--deep', ...socket],
            [['Private identity', `${secret}\r`]],
        )
        expect(ran.shown).toContain('content   whole')
        expect(ran.shown).not.toContain(secret)
        expect(ran.status).toBe(0)
        const wrong = await typed(['verify', 'latest', '--deep', ...socket], [['Private identity', 'what\r']])
        expect([wrong.status, wrong.shown.includes('cannot read the identity')]).toEqual([2, true])
    } finally {
        await other.end()
    }
})

test('a private key is not taken for a public one', async () => {
    const path = join(daemon.base, 'id_ed25519')
    writeFileSync(path, '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n')
    const ran = await daemon.ctl('keys', 'add', path)
    expect([ran.status, ran.err]).toEqual([
        2,
        `proxsavectl: cannot add the recipient: ${path} is a private key\nhint: give its public half: FILE.pub of an ssh key, what age-keygen -y prints of an age key\n`,
    ])
    const absent = await daemon.ctl('keys', 'add', '/nowhere/key.pub')
    expect(absent.err).toContain(
        'cannot read the public key /nowhere/key.pub: there is no such file or directory',
    )
})
