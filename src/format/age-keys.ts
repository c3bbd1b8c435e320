/** age recipients and identities as people write them: one line, or a file of lines with comments. */
import { bech32 } from '@scure/base'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import {
    isPrivateKeyText,
    parseSshPrivateKey,
    parseSshPublicKey,
    type SshPrivateKey,
    type SshPublicKey,
} from './ssh-key.ts'

/** Who can open an archive; public. `text` is the canonical spelling, without a comment, for manifests and comparison. */
export type AgeRecipient =
    | { kind: 'x25519'; text: string; comment: string }
    | { kind: 'ssh-ed25519' | 'ssh-rsa'; text: string; comment: string; key: SshPublicKey }

/** What opens an archive; secret. */
export type AgeIdentity =
    | { kind: 'x25519'; secret: string }
    /** age's post-quantum kind: Debian's age cannot make one, but what it opens can be opened. */
    | { kind: 'hybrid'; secret: string }
    | { kind: 'ssh-ed25519' | 'ssh-rsa'; key: SshPrivateKey }

/** Reads one recipient: `age1…`, `ssh-ed25519 AAAA…` or `ssh-rsa AAAA…`. Anything else is a usage fault that says why. */
export function parseRecipient(text: string): AgeRecipient {
    const line = text.trim()
    try {
        return readRecipient(line)
    } catch (error) {
        // A secret must not be repeated, and what is not understood might be one.
        const shown =
            /secret|private/i.test(line) || line.length < 8 ? '' : ` ${JSON.stringify(shorten(line))}`
        throw explain(`cannot use the recipient${shown}`, error)
    }
}

/** Reads a file of recipients: one a line, `#` begins a comment line, which describes the recipient below it. */
export function parseRecipientsFile(text: string, name = 'the recipients'): AgeRecipient[] {
    const found = new Map<string, AgeRecipient>()
    let comment = ''
    for (const [index, raw] of text.split('\n').entries()) {
        const line = raw.trim()
        if (line === '' || line.startsWith('#')) {
            comment = line.replace(/^#+\s*/, '')
            continue
        }
        let recipient: AgeRecipient
        try {
            recipient = readRecipient(line)
        } catch (error) {
            throw explain(`cannot read ${name}: line ${index + 1}`, error)
        }
        if (recipient.comment === '') recipient.comment = comment
        comment = ''
        if (!found.has(recipient.text)) found.set(recipient.text, recipient)
        if (found.size > limits.recipients)
            throw new Fault(
                'usage',
                `cannot read ${name}: there are more than ${limits.recipients} recipients`,
            )
    }
    return [...found.values()]
}

function readRecipient(line: string): AgeRecipient {
    if (/^ssh-(ed25519|rsa)\s/.test(line)) {
        const key = parseSshPublicKey(line)
        return { kind: key.type, text: key.text, comment: key.comment, key }
    }
    const [word = '', ...rest] = line.split(/\s+/)
    if (/^AGE-SECRET-KEY-/i.test(word))
        throw new Fault('usage', 'it is a private identity, which belongs into no list of recipients', {
            hint: '`age-keygen -y FILE` prints the public recipient of an identity file',
        })
    if (/^age1(pq|tagpq)1/.test(word))
        throw new Fault(
            'usage',
            'post-quantum recipients cannot be used: the age of Debian 12 and 13 could not open the archive',
            {
                hint: 'use the X25519 recipient (age1…) that `age-keygen` prints',
            },
        )
    if (/^age1[a-z0-9-]+1/.test(word))
        throw new Fault('usage', 'recipients of age plugins cannot be used', {
            hint: 'use an age1…, ssh-ed25519 or ssh-rsa recipient',
        })
    if (/^(ecdsa-|sk-|ssh-dss)/.test(word))
        throw new Fault(
            'usage',
            `age cannot encrypt to ${word.slice(0, 40)}, of the SSH keys only to ssh-ed25519 and ssh-rsa`,
        )
    if (!word.startsWith('age1')) throw new Fault('usage', 'it is none of age1…, ssh-ed25519 …, ssh-rsa …')
    if (rest.length > 0 && !rest[0]!.startsWith('#')) throw new Fault('usage', 'something stands behind it')
    if (decodeKey(word, 'age') === undefined)
        throw new Fault('usage', 'its checksum or length is wrong', {
            hint: 'copy it again, it has 62 characters',
        })
    return { kind: 'x25519', text: word, comment: rest.join(' ').replace(/^#+\s*/, '') }
}

/**
 * Reads the text of an identity file: `AGE-SECRET-KEY-1…` lines with comments, or one unencrypted SSH private key.
 * No error repeats any of it.
 */
export function parseIdentities(text: string, name = 'the identity'): AgeIdentity[] {
    if (isProtectedIdentity(text))
        throw new Fault('usage', `cannot read ${name}: it is protected by a passphrase`, {
            hint: 'give its passphrase, or the file that `age -d` makes of it',
        })
    if (isPrivateKeyText(text)) {
        const key = parseSshPrivateKey(text)
        return [{ kind: key.type, key }]
    }
    const found = new Map<string, AgeIdentity>()
    for (const [index, raw] of text.split('\n').entries()) {
        const line = raw.trim()
        if (line === '' || line.startsWith('#')) continue
        const identity = readIdentity(line)
        if (typeof identity === 'string')
            throw new Fault('usage', `cannot read ${name}: line ${index + 1}: ${identity}`)
        found.set(line, identity)
        if (found.size > limits.recipients)
            throw new Fault(
                'usage',
                `cannot read ${name}: there are more than ${limits.recipients} keys in it`,
            )
    }
    if (found.size === 0) throw new Fault('usage', `cannot read ${name}: there is no key in it`)
    return [...found.values()]
}

function readIdentity(line: string): AgeIdentity | string {
    if (line.startsWith('AGE-PLUGIN-')) return 'identities of age plugins cannot be used'
    if (/^age1/.test(line) || /^ssh-/.test(line))
        return 'it is a public recipient, which cannot open anything: the private identity is needed'
    const hybrid = line.startsWith('AGE-SECRET-KEY-PQ-1')
    if (!hybrid && !line.startsWith('AGE-SECRET-KEY-1'))
        return 'it is neither AGE-SECRET-KEY-1… nor an SSH private key'
    if (decodeKey(line, hybrid ? 'age-secret-key-pq-' : 'age-secret-key-') === undefined)
        return 'its checksum or length is wrong, it was copied or typed with a mistake'
    return { kind: hybrid ? 'hybrid' : 'x25519', secret: line }
}

/** Whether these bytes or this text are an age file (a protected identity, say) and not an identity itself. */
export function isProtectedIdentity(text: string): boolean {
    return (
        text.startsWith('age-encryption.org/v1\n') ||
        text.trimStart().startsWith('-----BEGIN AGE ENCRYPTED FILE-----')
    )
}

/** The public recipient of an identity: what archives list, and what `keys list` compares. */
export async function recipientOf(identity: AgeIdentity): Promise<string> {
    if ('key' in identity) return identity.key.public.text
    const { identityToRecipient } = await import('age-encryption')
    return identityToRecipient(identity.secret)
}

/** A new X25519 identity from 32 random bytes: `AGE-SECRET-KEY-1…`. */
export function identityFrom(secret: Uint8Array): string {
    if (secret.length !== 32) throw new RangeError('an identity has 32 bytes')
    return bech32.encodeFromBytes('AGE-SECRET-KEY-', secret).toUpperCase()
}

/** 32 bytes behind a bech32 string with this prefix (lower case); undefined when anything about it is wrong. */
function decodeKey(text: string, prefix: string): Uint8Array | undefined {
    try {
        const decoded = bech32.decodeToBytes(text)
        return decoded.prefix.toLowerCase() === prefix && decoded.bytes.length === 32
            ? decoded.bytes
            : undefined
    } catch {
        return undefined
    }
}

function explain(what: string, error: unknown): Fault {
    const fault = error instanceof Fault ? error : new Fault('usage', String(error))
    const why = fault.message.replace(/^cannot read the SSH key: /, '')
    return new Fault('usage', `${what}: ${why}`, { hint: fault.hint, cause: error })
}

function shorten(text: string): string {
    return text.length <= 32 ? text : `${text.slice(0, 28)}…`
}
