import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import { limits } from '../../src/core/limits.ts'
import {
    identityFrom,
    parseIdentities,
    parseRecipient,
    parseRecipientsFile,
    recipientOf,
} from '../../src/format/age-keys.ts'
import { ed25519Blob, sshPublicKey } from '../../src/format/ssh-key.ts'

const secret = (n: number) => identityFrom(new Uint8Array(32).fill(n))
const recipient = async (n: number) => recipientOf(parseIdentities(secret(n))[0]!)
const ssh = sshPublicKey(ed25519Blob(new Uint8Array(32).fill(88))).text

function fault(work: () => unknown): Fault {
    try {
        work()
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error('nothing was thrown')
}

describe('a recipient', () => {
    test('is an X25519 or an SSH key', async () => {
        const text = await recipient(1)
        expect(parseRecipient(` ${text} `)).toEqual({ kind: 'x25519', text, comment: '' })
        expect(parseRecipient(`${ssh} root@pve 1`)).toMatchObject({
            kind: 'ssh-ed25519',
            text: ssh,
            comment: 'root@pve 1',
        })
    })

    test('of another kind is refused with the reason', async () => {
        const text = await recipient(1)
        for (const [given, why] of [
            ['', 'none of'],
            ['age1', 'checksum or length'],
            [`${text.slice(0, -1)}q`, 'checksum or length'],
            [text.slice(0, -6), 'checksum or length'],
            [text.toUpperCase(), 'none of'],
            [`${text} ${text}`, 'stands behind it'],
            [`age1pq1${'q'.repeat(1952)}`, 'post-quantum'],
            [`age1tagpq1${'q'.repeat(50)}`, 'post-quantum'],
            [`age1yubikey1${'q'.repeat(50)}`, 'plugins'],
            [`age1tag1${'q'.repeat(50)}`, 'plugins'],
            ['ecdsa-sha2-nistp256 AAAA', 'only to ssh-ed25519'],
            ['sk-ssh-ed25519@openssh.com AAAA', 'only to ssh-ed25519'],
            ['ssh-ed25519 AAAA', 'too early'],
            ['ssh-ed25519 !!!!', 'base64'],
            [ssh.replace('ssh-ed25519', 'ssh-rsa'), 'the key inside is ssh-ed25519'],
            ['github:somebody', 'none of'],
        ] as const) {
            const found = fault(() => parseRecipient(given))
            expect(found.kind).toBe('usage')
            expect(found.message).toStartWith('cannot use the recipient')
            expect(found.message).toContain(why)
        }
    })

    test('that is a private identity is refused without repeating it', () => {
        for (const given of [secret(1), secret(1).toLowerCase()]) {
            const found = fault(() => parseRecipient(given))
            expect(found.message).toContain('private identity')
            expect(JSON.stringify([found.message, found.hint]).toUpperCase()).not.toContain(
                given.toUpperCase().slice(17, 30),
            )
        }
    })

    test('an RSA key of 1024 bits is refused as age refuses it', () => {
        // e = 65537 and an n of 1024 bits in wire format.
        const n = Buffer.concat([Buffer.from([0, 0, 0, 129, 0]), Buffer.alloc(128, 0xaa)])
        const blob = Buffer.concat([Buffer.from('\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01', 'latin1'), n])
        expect(fault(() => parseRecipient(`ssh-rsa ${blob.toString('base64')}`)).message).toContain(
            '1024 bits is too short',
        )
    })
})

describe('a file of recipients', () => {
    test('keeps comments, drops doubles, and counts lines', async () => {
        const one = await recipient(1)
        const two = await recipient(2)
        const file = `# made by a test\n\n# the safe\n${one}\r\n${two} # the vault\n${ssh} root@pve\n${one}\n`
        expect(parseRecipientsFile(file).map(({ text, comment }) => [text, comment])).toEqual([
            [one, 'the safe'],
            [two, 'the vault'],
            [ssh, 'root@pve'],
        ])
        expect(parseRecipientsFile('# nobody\n\n')).toEqual([])
        const found = fault(() =>
            parseRecipientsFile(`# a\n\n${one}\nage1broken\n`, '/etc/proxsave/recipients'),
        )
        expect(found.message).toStartWith('cannot read /etc/proxsave/recipients: line 4: ')
    })

    test('has at most as many recipients as a header may have', async () => {
        const lines = await Promise.all(
            Array.from({ length: limits.recipients + 1 }, (_, n) => recipient(n + 1)),
        )
        expect(parseRecipientsFile(lines.slice(1).join('\n')).length).toBe(limits.recipients)
        expect(fault(() => parseRecipientsFile(lines.join('\n'))).message).toContain('more than 32')
    })
})

describe('identities', () => {
    test('are read with comments, and each once', () => {
        const text = `# created: 2026\n# public key: age1…\n${secret(1)}\n\n${secret(2)}\r\n${secret(1)}\n`
        expect(parseIdentities(text)).toEqual([
            { kind: 'x25519', secret: secret(1) },
            { kind: 'x25519', secret: secret(2) },
        ])
    })

    test('agree with age-keygen on the public half', async () => {
        if (Bun.which('age-keygen') === null) return console.log('skip: age-keygen is absent')
        const child = Bun.spawnSync(['age-keygen', '-y'], { stdin: Buffer.from(`${secret(7)}\n`) })
        expect(await recipient(7)).toBe(child.stdout.toString().trim())
    })

    test('of another kind are refused, and no error repeats a secret', async () => {
        const typo = `${secret(1).slice(0, -1)}${secret(1).endsWith('Q') ? 'P' : 'Q'}`
        for (const [given, why] of [
            ['', 'no key'],
            ['# only a comment\n', 'no key'],
            [typo, 'line 1: its checksum'],
            [`\n${secret(1).slice(0, 40)}`, 'line 2: its checksum'],
            [secret(1).toLowerCase(), 'neither'],
            ['AGE-PLUGIN-YUBIKEY-1QQQ', 'plugins'],
            [await recipient(1), 'public recipient'],
            [ssh, 'public recipient'],
            ['hunter2 hunter2 hunter2', 'neither'],
            ['age-encryption.org/v1\n-> scrypt', 'passphrase'],
            ['-----BEGIN AGE ENCRYPTED FILE-----', 'passphrase'],
            [
                '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----',
                'openssh-key-v1',
            ],
        ] as const) {
            const found = fault(() => parseIdentities(given))
            expect(found.kind).toBe('usage')
            expect(found.message).toContain(why)
            const told = `${found.message} ${found.hint} ${JSON.stringify(found.facts)}`
            expect(told).not.toContain(secret(1).slice(17, 30))
            expect(told).not.toContain('hunter2')
        }
    })
})
