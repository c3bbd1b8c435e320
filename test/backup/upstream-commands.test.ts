/** Archives of the Go ProxSave at the command line, against a real daemon. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { copyFileSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { recipientOf } from '../../src/format/age.ts'
import { passphraseIdentities } from '../../src/format/upstream-passphrase.ts'
import { RunningDaemon } from '../daemon/running.ts'
import { have, hostTree, type Made, Shelf } from '../fixtures/upstream.ts'

setDefaultTimeout(60_000)

const shelf = new Shelf()
let daemon: RunningDaemon
let made: Made
const json = async (...args: string[]) => {
    const ran = await daemon.ctl(...args, '--json')
    return { ...ran, document: JSON.parse(ran.out) }
}

beforeAll(async () => {
    daemon = await RunningDaemon.begin()
    const pieces = hostTree().filter(({ path }) => !path.includes('pve-cluster'))
    made = shelf.make({ bundle: true, pieces })
    mkdirSync(join(daemon.root, 'opt/proxsave/configs'), { recursive: true })
    mkdirSync(join(daemon.root, 'opt/proxsave/backup'), { recursive: true })
    writeFileSync(
        join(daemon.root, 'opt/proxsave/configs/backup.env'),
        `BACKUP_PATH=\${BASE_DIR}/backup\nCLOUD_ENABLED=true\nCLOUD_REMOTE=remote:x\n`,
    )
    copyFileSync(made.path, join(daemon.root, 'opt/proxsave/backup', name()))
})
afterAll(async () => {
    await daemon.end()
    shelf.remove()
})

const name = () => made.path.slice(made.path.lastIndexOf('/') + 1)

test('list --all-hosts has those that backup.env names, list alone has not', async () => {
    const { document } = await json('list', '--all-hosts')
    expect(document.backups).toMatchObject([{ name: name(), host: 'pve1', signed: false, own: false }])
    expect((await json('list')).document.backups).toEqual([])
    const there = await json('list', made.path.slice(0, made.path.lastIndexOf('/')))
    expect(there.document.backups).toMatchObject([{ path: made.path }])
    expect((await daemon.ctl('list', '--all-hosts')).out).toContain('pve1')
})

test('doctor and setup tell where they are', async () => {
    const { document } = await json('doctor')
    const check = document.checks.find(({ id }: { id: string }) => id === 'upstream')
    expect(check.state).toBe('ok')
    expect(check.text).toContain('1 archive in /opt/proxsave/backup')
    expect(check.text).toContain('remote:x')
    const setup = await json('setup', '--defaults')
    expect(setup.document.notes).toEqual([expect.stringContaining('/opt/proxsave/backup, remote:x')])
})

test('show, show --files, verify and extract take its path', async () => {
    const shown = await daemon.ctl('show', made.path)
    expect([shown.status, shown.out]).toEqual([0, expect.stringContaining('Go ProxSave 0.30.0')])
    expect((await daemon.ctl('show', made.path, '--files')).out).toContain('/etc/second.conf')
    const verified = await daemon.ctl('verify', made.path, '--deep')
    // Whole, and yet nobody signed it.
    expect([verified.status, verified.out]).toEqual([5, expect.stringContaining('signs nothing')])
    const output = join(shelf.directory(), 'out')
    expect((await daemon.ctl('extract', made.path, '/etc/second.conf', '--output', output)).status).toBe(0)
    expect(readFileSync(join(output, 'etc/second.conf'), 'utf8')).toBe('the same\n')
})

test('a damaged one ends with 5, and a missing one says so', async () => {
    const bad = shelf.make({ bundle: true, spoil: stored => Buffer.from(stored).fill(0, 40, 50) })
    const ran = await daemon.ctl('verify', bad.path)
    expect([ran.status, ran.err]).toEqual([5, expect.stringContaining('not those of its SHA-256')])
    const missing = await daemon.ctl('show', join(shelf.base, name()))
    expect([missing.status !== 0, missing.err]).toEqual([true, expect.stringContaining('no such file')])
})

test('restore plans without touching anything, and puts a deduplicated file back as a file', async () => {
    const pieces = hostTree().filter(({ path }) => !path.endsWith('dedup_manifest.json'))
    const list = [{ path: 'etc/locale.conf', mode: 0o640 }]
    pieces.push(
        { path: './etc/locale.conf', type: 'symlink', link: 'first.conf' },
        { path: './var/lib/proxsave-info/dedup_manifest.json', content: JSON.stringify(list) },
    )
    const { path } = shelf.make({ kind: 'xz', pieces })
    const file = join(daemon.root, 'etc/locale.conf')
    writeFileSync(file, 'before\n')
    const restore = [
        ...['restore', path, '--category', 'locale'],
        ...['--answer', 'compat.mismatch=yes', '--answer', 'signature.untrusted=yes'],
    ]
    const planned = await json(...restore, '--plan')
    expect([planned.status, planned.err]).toEqual([0, ''])
    expect(planned.document.backup.maker).toBe('upstream')
    expect(planned.document.files.replace).toEqual(['/etc/locale.conf'])
    expect(readFileSync(file, 'utf8')).toBe('before\n')
    const done = await daemon.ctl(...restore, '--answer', 'confirm=RESTORE')
    expect([done.status, done.err]).toEqual([0, expect.any(String)])
    expect(readFileSync(file, 'utf8')).toBe('the same\n')
    expect([lstatSync(file).isFile(), lstatSync(file).mode & 0o7777]).toEqual([true, 0o640])
})

test.skipIf(!have('age'))('restore opens one with the passphrase that its salts make a key of', async () => {
    const salt = `proxsave/age-passphrase/v2:${'0a'.repeat(16)}`
    const [identity] = await passphraseIdentities('Correct-Horse-9', salt)
    const recipient = await recipientOf(identity!)
    const { path } = shelf.make({ bundle: true, recipient, manifest: { passphrase_salt: salt } })
    const plan = (passphrase: string) =>
        daemon.ctl(
            ...['restore', path, '--plan', '--json', '--category', 'network'],
            ...['--answer', 'compat.mismatch=yes', '--answer', 'signature.untrusted=yes'],
            ...['--answer', `decrypt.passphrase=${passphrase}`],
        )
    const right = await plan('Correct-Horse-9')
    expect([right.status, right.err]).toEqual([0, ''])
    expect(right.out).toContain('"maker":"upstream"')
    expect((await plan('wrong')).status).toBe(5)
})
