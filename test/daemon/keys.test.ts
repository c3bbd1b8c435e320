/** Keys over the API: a passphrase that opens everything and is written nowhere, recipients, adopted archives. */
import { afterEach, expect, setDefaultTimeout, test } from 'bun:test'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { RunningDaemon } from './running.ts'

setDefaultTimeout(60_000)
let daemon: RunningDaemon
afterEach(() => daemon.end())

const passphrase = 'correct horse battery staple'

async function finished(text: string): Promise<string> {
    const { change } = JSON.parse(text)
    const { text: events } = await daemon.api('GET', `/v1/changes/${change}/events`)
    return JSON.parse(events.trim().split('\n').at(-1)!).result
}

function filesWith(directory: string, text: string): string[] {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' })
        .map(name => join(directory, name))
        .filter(path => statSync(path).isFile() && readFileSync(path).includes(text))
}

test('a passphrase opens a backup on a host that has nothing else, and is stored nowhere', async () => {
    daemon = await RunningDaemon.begin()
    const setup = await daemon.api(
        'POST',
        '/v1/setup',
        JSON.stringify({ keys: true, configure: true, passphrase }),
    )
    expect(await finished(setup.text)).toBe('ok')
    expect(existsSync(join(daemon.root, 'etc/proxsave/identity.txt'))).toBe(false)
    expect((await daemon.ctl('backup')).status).toBe(0)
    expect(filesWith(daemon.base, passphrase)).toEqual([])
    expect(daemon.log).not.toContain(passphrase)

    rmSync(join(daemon.root, 'etc/proxsave/identity.age'))
    const files = (identity?: object) =>
        daemon.api('POST', '/v1/archives/files', JSON.stringify({ backup: 'latest', identity }))
    const without = await files()
    expect([without.status, JSON.parse(without.text).error.facts.need]).toEqual([422, 'passphrase'])
    const wrong = await files({ passphrase: 'wrong' })
    expect([wrong.status, JSON.parse(wrong.text).error.facts.need]).toEqual([422, 'passphrase'])
    const right = await files({ passphrase })
    expect([right.status, right.text.includes('"/etc/hosts"')]).toEqual([200, true])

    const asked = await daemon.ctl('extract', 'latest', '/etc/hosts', '--output', join(daemon.base, 'out'))
    expect(asked.status).toBe(5)
    expect(asked.err).toContain('needs its passphrase')
    expect(existsSync(join(daemon.base, 'out/etc/hosts'))).toBe(false)
})

test('recipients come and go; the last one stays, and a private key is refused', async () => {
    daemon = await RunningDaemon.begin()
    const one = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9ITXe0bO8pVhnv7rJ0rg1JiMyEEE5dYIF7Gz9JmJqY admin@desk'
    const added = await daemon.ctl('keys', 'add', ...one.split(' '))
    expect([added.status, added.err]).toEqual([0, ''])
    expect((await daemon.ctl('keys', 'add', one)).err).toContain('it is listed already')
    expect((await daemon.ctl('keys', 'remove', 'admin@desk')).err).toContain('it is the last one')
    expect((await daemon.ctl('keys', 'add', 'AGE-SECRET-KEY-1XYZ')).status).not.toBe(0)
    const list = JSON.parse((await daemon.ctl('keys', 'list', '--json')).out)
    expect([list.recipients.length, list.recipients[0].identity]).toEqual([1, 'none'])
    expect((await daemon.ctl('backup')).status).toBe(0)
})

test('a reinstalled host sees its old archives only with --all-hosts, until it takes them over', async () => {
    daemon = await RunningDaemon.begin(daemon =>
        daemon.write('etc/proxsave/proxsave.toml', '[backup]\nencryption = "none"\n'),
    )
    expect((await daemon.ctl('backup')).status).toBe(0)
    const old = JSON.parse((await daemon.ctl('list', '--json')).out).backups[0]
    await daemon.stop()
    cpSync(daemon.state, `${daemon.state}.old`, { recursive: true })
    rmSync(daemon.state, { recursive: true })
    await daemon.start()

    expect(JSON.parse((await daemon.ctl('list', '--json')).out).backups).toEqual([])
    expect((await daemon.ctl('show', 'latest')).err).toContain('--all-hosts')
    expect(JSON.parse((await daemon.ctl('list', '--all-hosts', '--json')).out).backups[0].own).toBe(false)
    // Signed by the key of the old installation: whole, and yet of somebody that this one does not know.
    expect((await daemon.ctl('verify', old.id)).status).toBe(5)
    expect((await daemon.ctl('status')).out).toContain(`proxsavectl setup --adopt ${old.hostId}`)

    expect((await daemon.ctl('setup', '--adopt', '0'.repeat(26))).status).toBe(1)
    const adopted = await daemon.ctl('setup', '--adopt', old.hostId)
    expect([adopted.status, adopted.err]).toEqual([0, ''])
    expect(JSON.parse((await daemon.ctl('show', 'latest', '--json')).out).backup.id).toBe(old.id)
    // What verify says to trust the old key is a command that works as it stands.
    const { out } = await daemon.ctl('verify', old.id)
    const line = /echo '(testhost ssh-ed25519 \S+)' >> \/etc\/proxsave\/allowed_signers/.exec(out)![1]!
    daemon.write('etc/proxsave/allowed_signers', `${line}\n`)
    expect((await daemon.ctl('verify', old.id)).status).toBe(0)
    expect((await daemon.ctl('backup')).status).toBe(0)
    const [newest] = JSON.parse((await daemon.ctl('list', '--json')).out).backups
    expect(newest.sequence).toBeGreaterThan(old.sequence)
})
