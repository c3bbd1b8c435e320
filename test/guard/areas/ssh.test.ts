/** The area of SSH: what sshd says, keys that belong together, and whether the one who asks gets in again. */
import { describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { ssh } from '../../../src/guard/areas/ssh.ts'
import { sshHealth, sshPlaces } from '../../../src/guard/health.ts'
import { sshdOptions } from '../../../src/guard/sshd-effective.ts'
import { ed25519Blob, sshConcat, sshString } from '../../../src/format/ssh-key.ts'
import type { Session } from '../../../src/guard/area.ts'
import { areaOf, candidateOver, type FakeOptions, fakeHost, verdictOf } from './fake-host.ts'
import { sshdTests } from './recorded.ts'

/** A pair whose private half has a readable envelope and nothing secret in it. */
function pair(seed: number): { key: string; pub: string } {
    const blob = ed25519Blob(new Uint8Array(32).fill(seed))
    const one = new Uint8Array([0, 0, 0, 1])
    const body = sshConcat(
        Buffer.from('openssh-key-v1\0'),
        ...['none', 'none', ''].map(text => sshString(text)),
        one,
        sshString(blob),
        sshString('secret'),
    )
    const base64 = Buffer.from(body).toString('base64').replace(/.{70}/g, '$&\n')
    return {
        key: `-----BEGIN OPENSSH PRIVATE KEY-----\n${base64}\n-----END OPENSSH PRIVATE KEY-----\n`,
        pub: `ssh-ed25519 ${Buffer.from(blob).toString('base64')} root@host\n`,
    }
}

const a = pair(1)
const b = pair(2)
const config = '/etc/ssh/sshd_config'
const hostKey = '/etc/ssh/ssh_host_ed25519_key'
const authorized = '/root/.ssh/authorized_keys'
const live = {
    '/etc/passwd': 'root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/bash\n',
    [config]: 'Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n',
    [hostKey]: a.key,
    [`${hostKey}.pub`]: a.pub,
    [authorized]: `# mine\nfrom="192.0.2.0/24" ${a.pub}`,
}
const options: FakeOptions = { files: live, programs: ['sshd', 'test'], units: { 'ssh.service': 'active' } }
type Changes = Parameters<typeof candidateOver>[1]
const checksOf = (changes: Changes, session: Session = {}, more: FakeOptions = {}) =>
    ssh.checks(
        fakeHost({ ...options, ...more }),
        areaOf('ssh'),
        candidateOver(more.files ?? live, changes),
        session,
    )
const tellings = async (changes: Changes, session?: Session, more?: FakeOptions) =>
    (await checksOf(changes, session, more)).findings!.map(({ level, text }) => `${level}: ${text}`)

describe('sshd -t', () => {
    for (const { what, status, output, good } of sshdTests)
        test(`${what} is ${good ? 'passed' : 'refused'}`, async () => {
            const { checks } = await checksOf({ [config]: 'Port 22\n' })
            expect(verdictOf(checks.at(-1)!, status, output) === undefined).toBe(good)
        })

    test('gets its directory made first when that is not there, as with a socket', async () => {
        const lines = async (said: { status?: number; hangs?: boolean }) =>
            (await checksOf({ [config]: 'x' }, {}, { says: { 'test -d /run/sshd': said } })).checks.map(
                ({ argv }) => argv.join(' '),
            )
        expect(await lines({ status: 1 })).toEqual(['install -d -m 0755 /run/sshd', 'sshd -t'])
        expect(await lines({ status: 0 })).toEqual(['sshd -t'])
        expect(await lines({ hangs: true })).toEqual(['sshd -t'])
    })

    test('is not run for keys of users, nor without sshd', async () => {
        expect((await checksOf({ [authorized]: a.pub })).checks).toEqual([])
        expect((await checksOf({ [config]: 'x' }, {}, { programs: [] })).checks).toEqual([])
    })
})

describe('host keys', () => {
    test('halves that belong together', async () => {
        expect((await checksOf({ [hostKey]: b.key, [`${hostKey}.pub`]: b.pub })).problems).toEqual([])
    })

    test('halves of different keys, also when only one of them changes', async () => {
        const problem = `${hostKey}.pub does not belong to ${hostKey}`
        expect((await checksOf({ [`${hostKey}.pub`]: b.pub })).problems).toEqual([problem])
        expect((await checksOf({ [hostKey]: b.key })).problems).toEqual([problem])
    })

    test('none left', async () => {
        const { problems } = await checksOf({ [hostKey]: undefined, [`${hostKey}.pub`]: undefined })
        expect(problems).toEqual(['sshd would have no host key: nobody could connect'])
    })

    test('those that the configuration names count, and no others', async () => {
        const named = { '/etc/ssh/sshd_config.d/keys.conf': 'HostKey /etc/ssh/other\n' }
        expect((await checksOf(named)).problems).toEqual([
            'sshd would have no host key: nobody could connect',
        ])
        const two = { '/etc/ssh/sshd_config.d/keys.conf': `HostKey /etc/ssh/other\nHostKey ${hostKey}\n` }
        expect((await checksOf(two)).problems).toEqual([])
        expect((await tellings(two)).join()).toContain('/etc/ssh/other would not be there')
    })

    test('a key in a format that only sshd knows is left to sshd', async () => {
        expect((await checksOf({ [hostKey]: 'gibberish' })).problems).toEqual([])
    })
})

describe('host keys that change', () => {
    const told = async (changes: Changes) =>
        (await ssh.checks(fakeHost(options), areaOf('ssh'), candidateOver(live, changes)))
            .findings!.filter(({ name }) => name === 'host-key-changed')
            .map(({ level, text }) => `${level}: ${text}`)
    const fingerprint = `SHA256:${createHash('sha256')
        .update(Buffer.from(b.pub.split(' ')[1]!, 'base64'))
        .digest('base64')
        .replace(/=+$/, '')}`

    test('are told with their fingerprints, as every client will refuse the new connection', async () => {
        const [text, ...others] = await told({ [hostKey]: b.key, [`${hostKey}.pub`]: b.pub })
        expect(text).toStartWith('warning: the host keys change')
        expect(text).toContain('REMOTE HOST IDENTIFICATION HAS CHANGED')
        expect(text).toContain(`the new fingerprints are ed25519 ${fingerprint};`)
        expect(others).toEqual([])
    })

    test('not when they are the same ones, or none of them changes', async () => {
        expect(await told({ [hostKey]: a.key, [`${hostKey}.pub`]: a.pub })).toEqual([])
        expect(await told({ [config]: 'x' })).toEqual([])
    })
})

describe('logging in again', () => {
    test('nothing to tell when nothing that counts changes', async () => {
        expect(await tellings({ [config]: `${live[config]}X11Forwarding no\n` })).toEqual([])
    })

    test('PermitRootLogin no: critical for root, a warning for somebody else', async () => {
        const change = { [config]: 'PermitRootLogin no\n' }
        const text = 'root could not log in over SSH: PermitRootLogin is no'
        expect(await tellings(change)).toEqual([`critical: ${text}`])
        expect(await tellings(change, { user: 'anna' })).toEqual([`warning: ${text}`])
    })

    test('what the live configuration refuses as well is not told', async () => {
        const files = { ...live, [config]: 'PermitRootLogin no\n' }
        expect(await tellings({ [config]: 'PermitRootLogin no\nPort 22\n' }, {}, { files })).toEqual([])
    })

    test('an included file comes first, and a Match for others does not count', async () => {
        const drop = '/etc/ssh/sshd_config.d/10.conf'
        expect(
            await tellings({
                [drop]: 'PermitRootLogin no\n',
                [config]: `${live[config]}PermitRootLogin yes\n`,
            }),
        ).toHaveLength(1)
        expect(await tellings({ [drop]: 'Match User anna\n    PermitRootLogin no\n' })).toEqual([])
        expect(
            await tellings(
                { [drop]: 'Match User root Address 203.0.113.0/24\n    PermitRootLogin no\n' },
                { client: '203.0.113.7' },
            ),
        ).toHaveLength(1)
        expect(
            await tellings(
                { [drop]: 'Match User root Address 203.0.113.0/24\n    PermitRootLogin no\n' },
                { client: '198.51.100.7' },
            ),
        ).toEqual([])
    })

    test('AllowUsers and DenyUsers', async () => {
        expect((await tellings({ [config]: 'AllowUsers anna bert\n' })).join()).toContain(
            'AllowUsers does not name them',
        )
        expect(
            await tellings({ [config]: 'AllowUsers anna r*@198.51.100.0/24\n' }, { client: '198.51.100.7' }),
        ).toEqual([])
        expect((await tellings({ [config]: 'DenyUsers root\n' })).join()).toContain('DenyUsers names them')
    })

    test('every key lost and no password for root: critical', async () => {
        expect(await tellings({ [authorized]: b.pub })).toEqual([
            'critical: none of the keys that let root in now would do so any more, and passwords are not taken: you need one of the 1 of the backup',
        ])
        expect(await tellings({ [authorized]: undefined })).toHaveLength(1)
    })

    test('every key lost and a password would do: a warning', async () => {
        expect(await tellings({ [authorized]: b.pub, [config]: 'PermitRootLogin yes\n' })).toEqual([
            'warning: none of the keys that let root in now would do so any more; a password would be needed',
        ])
        expect(
            (
                await tellings({
                    [authorized]: b.pub,
                    [config]: 'PermitRootLogin yes\nPasswordAuthentication no\n',
                })
            )[0],
        ).toStartWith('critical')
    })

    test('one key that stays is enough, whatever stands before it', async () => {
        expect(await tellings({ [authorized]: `${b.pub}restrict ${a.pub}` })).toEqual([])
    })

    test('keys that do not count any more, or lie elsewhere', async () => {
        expect((await tellings({ [config]: 'PubkeyAuthentication no\n' }))[0]).toStartWith(
            'critical: keys would not',
        )
        expect((await tellings({ [config]: 'AuthorizedKeysFile /etc/ssh/keys/%u\n' }))[0]).toStartWith(
            'critical: none',
        )
        expect(
            await tellings({
                [config]: 'AuthorizedKeysFile /etc/ssh/keys/%u\n',
                '/etc/ssh/keys/root': a.pub,
            }),
        ).toEqual([])
    })

    test('a link into the cluster file system: unknown when it is new, nothing when it is as before', async () => {
        const link = { link: '/etc/pve/priv/authorized_keys' }
        expect((await tellings({ [authorized]: link }))[0]).toStartWith('warning')
        // The host follows it, the candidate does not.
        const candidate = { ...candidateOver(live, { [authorized]: link }), changed: [config] }
        const { findings } = await ssh.checks(fakeHost(options), areaOf('ssh'), candidate)
        expect(findings).toEqual([])
    })

    test('a key of somebody else is a warning when root asked, critical when they did', async () => {
        const files = {
            ...live,
            '/home/anna/.ssh/authorized_keys': a.pub,
            [config]: 'PasswordAuthentication no\n',
        }
        const change = { '/home/anna/.ssh/authorized_keys': b.pub }
        expect((await tellings(change, { user: 'anna' }, { files }))[0]).toStartWith('critical')
        expect(await tellings(change, {}, { files })).toEqual([])
    })
})

test('includes that lead in a circle end', () => {
    const files = { read: () => 'Include /etc/ssh/sshd_config\nPort 22\n', names: () => [] }
    expect(sshdOptions(files, {}).get('port')).toContain('22')
})

describe('how it is loaded', () => {
    const ways = async (changes: Changes, more: FakeOptions = {}) =>
        (await ssh.ways(fakeHost({ ...options, ...more }), candidateOver(live, changes))).map(
            ({ commands }) => commands.map(argv => argv.join(' ')).join('; '),
        )
    const both = ['systemctl reload ssh.service', 'systemctl restart ssh.service']

    test('a running sshd is told to read again; keys of users are not its business', async () => {
        expect(await ways({ [config]: 'x' })).toEqual(both)
        expect(await ways({ [hostKey]: a.key })).toEqual(both)
        expect(await ways({ [authorized]: 'x', '/etc/ssh/ssh_config': 'y' })).toEqual([])
    })

    test('how it is started counts when it starts: units are read, then it is restarted', async () => {
        const dropIn = '/etc/systemd/system/ssh.service.d/a.conf'
        expect(await ways({ [dropIn]: 'x', [config]: 'y' })).toEqual([
            'systemctl daemon-reload',
            'systemctl restart ssh.service',
        ])
        expect(await ways({ '/etc/default/ssh': 'x' })).toEqual(['systemctl restart ssh.service'])
        const units = { 'ssh.socket': 'active', 'ssh.service': 'active' }
        expect(await ways({ '/etc/systemd/system/ssh.socket.d/a.conf': 'x' }, { units })).toEqual([
            'systemctl daemon-reload',
            'systemctl stop ssh.service; systemctl restart ssh.socket',
            'systemctl restart ssh.service',
        ])
    })

    test('a socket without a service needs nothing; a systemd that is silent is tried', async () => {
        expect(await ways({ [config]: 'x' }, { units: { 'ssh.socket': 'active' } })).toEqual([])
        expect(await ways({ [config]: 'x' }, { units: undefined })).toEqual(both)
    })
})

describe('whether sshd answers', () => {
    const scan = 'ssh-keyscan -T 3 -p 22 127.0.0.1'
    const listening: FakeOptions = {
        programs: ['sshd', 'ssh-keyscan'],
        open: ['127.0.0.1 22'],
        says: {
            'sshd -T': 'port 22\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\n',
            [scan]: '# 127.0.0.1:22 SSH-2.0-OpenSSH_10.0p2 Debian-7\n127.0.0.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n',
        },
    }
    const asked = { before: [], client: '203.0.113.7' }
    const look = async (more: FakeOptions, who: { before: string[]; client?: string } = asked) =>
        (
            await sshHealth(
                fakeHost({ ...listening, ...more, says: { ...listening.says, ...more.says } }),
                who,
            )
        ).map(({ level, text }) => `${level}: ${text}`)

    test('it does, and shows its keys, on whichever stream the greeting was printed', async () => {
        const well = ['ok: sshd answers at 127.0.0.1 port 22 and shows its host keys']
        expect(await look({})).toEqual(well)
        const older = {
            stderr: '# 127.0.0.1:22 SSH-2.0-OpenSSH_9.2p1 Debian-2\n',
            stdout: '127.0.0.1 ssh-rsa AAAAB3Nz\n',
        }
        expect(await look({ says: { [scan]: older } })).toEqual(well)
    })

    test('closed, silent, another program, or no key: critical over SSH', async () => {
        expect((await look({ open: [] }))[0]).toStartWith('critical: sshd does not answer')
        expect((await look({ says: { [scan]: { hangs: true } } }))[0]).toStartWith('critical')
        expect((await look({ says: { [scan]: '220 smtp ready\n' } }))[0]).toEndWith('is not an SSH server')
        expect((await look({ says: { [scan]: '# 127.0.0.1:22 SSH-2.0-OpenSSH_10.0p2\n' } }))[0]).toStartWith(
            'critical',
        )
        expect((await look({ open: [] }, { before: [] }))[0]).toStartWith('warning')
    })

    test('places: of its own, of one address, of one family, and of the socket', async () => {
        const places = (more: FakeOptions) => sshPlaces(fakeHost({ ...listening, ...more }))
        expect(await places({})).toEqual([{ address: '127.0.0.1', port: 22 }])
        expect(
            await places({ says: { 'sshd -T': 'listenaddress 192.0.2.9:2222\nlistenaddress [::]:22\n' } }),
        ).toEqual([
            { address: '192.0.2.9', port: 2222 },
            { address: '::1', port: 22 },
        ])
        const socket = {
            units: { 'ssh.socket': 'active' },
            says: {
                'systemctl show --value -p Listen ssh.socket': '[::]:2022 (Stream)\n',
                'sshd -T': 'listenaddress 0.0.0.0:22\n',
            },
        }
        expect(await places(socket)).toEqual([{ address: '127.0.0.1', port: 2022 }])
        expect(await places({ says: {} })).toEqual([])
    })
})
