/**
 * age files (https://age-encryption.org/v1): headers for recipients, headers opened by identities, and identities
 * protected by a passphrase. The payload behind a header is `age-payload.ts`, the keys are `age-keys.ts`.
 *
 * age-encryption is loaded on first use only: with its post-quantum part it costs 50 ms of start-up.
 */
import { scrypt } from 'node:crypto'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import type { Identity, Recipient } from 'age-encryption'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type AgeIdentity, type AgeRecipient, isProtectedIdentity } from './age-keys.ts'
import { PAYLOAD_NONCE, TAG } from './age-payload.ts'
import { sshIdentity, sshRecipient } from './age-ssh.ts'

export * from './age-keys.ts'
export * from './age-payload.ts'

type Random = (bytes: number) => Uint8Array

/** 32 recipients with the longest RSA keys need 64 KiB; a header is never longer than this. */
export const mostHeaderBytes = 128 * 1024

/** Makes the header of a new age file and the secret file key that its payload is sealed with. */
export async function createHeader(
    recipients: AgeRecipient[],
    random: Random,
): Promise<{ header: Uint8Array; fileKey: Uint8Array }> {
    // Without a recipient the data would be lost the moment it is written.
    if (recipients.length === 0) throw new Fault('usage', 'cannot encrypt: there is no recipient')
    if (recipients.length > limits.recipients)
        throw new Fault('usage', `cannot encrypt: there are more than ${limits.recipients} recipients`)
    const { Encrypter } = await import('age-encryption')
    const encrypter = new Encrypter()
    for (const recipient of recipients)
        encrypter.addRecipient('key' in recipient ? sshRecipient(recipient.key, random) : recipient.text)
    // A recipient without a stanza, added last: it sees the file key that the real ones wrap.
    let fileKey: Uint8Array | undefined
    encrypter.addRecipient({
        wrapFileKey(key) {
            fileKey = key.slice()
            return []
        },
    })
    let whole: Uint8Array
    try {
        whole = await encrypter.encrypt(new Uint8Array(0))
    } catch (error) {
        // An X25519 point of low order decodes and then fails.
        throw new Fault('usage', 'cannot encrypt: one of the recipients is not a usable key', {
            cause: error,
        })
    }
    const header = whole.slice(0, whole.length - PAYLOAD_NONCE - TAG)
    return { header, fileKey: fileKey! }
}

/**
 * Finds the end of the header in the beginning of an age file; `mostHeaderBytes` of it are always enough.
 * `Fault('damaged')` when there is none.
 */
export function readHeader(beginning: Uint8Array): { headerLength: number } {
    const version = 'age-encryption.org/v1\n'
    if (Buffer.from(beginning.subarray(0, version.length)).toString('latin1') !== version)
        throw new Fault('damaged', 'cannot read the age header: this is not an age file')
    const bytes = Buffer.from(
        beginning.buffer,
        beginning.byteOffset,
        Math.min(beginning.length, mostHeaderBytes),
    )
    const mac = bytes.indexOf('\n--- ', 0, 'latin1')
    const end = mac < 0 ? -1 : bytes.indexOf('\n', mac + 1, 'latin1')
    if (end < 0) throw new Fault('damaged', 'cannot read the age header: it has no end')
    return { headerLength: end + 1 }
}

/**
 * Opens a header with the first identity that fits, and checks that nobody altered it. `beginning` is the file's
 * beginning, at least the header. `Fault('damaged')` when none fits: the exit status of a wrong key.
 */
export async function openHeader(
    beginning: Uint8Array,
    identities: AgeIdentity[],
    name = 'the encrypted data',
): Promise<Uint8Array> {
    const { headerLength } = readHeader(beginning)
    const all = identities.map(identity => ('key' in identity ? sshIdentity(identity.key) : identity.secret))
    const seen: string[] = []
    return openWith(beginning.subarray(0, headerLength), all, seen, name, () => {
        const protectedByPassphrase = seen.includes('scrypt')
        return new Fault('damaged', `cannot decrypt ${name}: none of the identities fits its recipients`, {
            hint: protectedByPassphrase
                ? 'it was encrypted with a passphrase: give that'
                : 'give the identity of one of the recipients that `show` lists',
        })
    })
}

async function openWith(
    header: Uint8Array,
    identities: (string | Identity)[],
    seen: string[],
    name: string,
    noneFits: () => Fault,
): Promise<Uint8Array> {
    const { Decrypter } = await import('age-encryption')
    const decrypter = new Decrypter()
    for (const identity of identities) decrypter.addIdentity(identity)
    // Asked last, and only when no other fits: it tells that case from a damaged header.
    let none = false
    decrypter.addIdentity({
        unwrapFileKey(stanzas) {
            none = true
            seen.push(...stanzas.map(stanza => stanza.args[0] ?? ''))
            return null
        },
    })
    let fileKey: Uint8Array
    try {
        fileKey = await decrypter.decryptHeader(header)
    } catch (error) {
        if (error instanceof Fault) throw error
        if (none) throw noneFits()
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault(
            'damaged',
            `cannot decrypt ${name}: its age header is damaged or was altered (${why})`,
            {
                cause: error,
            },
        )
    }
    if (fileKey.length !== 16)
        throw new Fault('damaged', `cannot decrypt ${name}: its file key has a wrong length`)
    return fileKey
}

/** What `age -p` uses: about a second and 256 MiB for each attempt. */
const usualWorkFactor = 18
/** 1 GiB for one attempt; a file that asks for more is an attack on the reader. */
const mostWorkFactor = 20
const scryptLabel = 'age-encryption.org/v1/scrypt'

/**
 * Protects the text of an identity file with a passphrase: an armored age file, which `age -d -i identity.age` takes
 * as it is. Armored, so that it survives a terminal and a sheet of paper.
 */
export async function protectIdentity(
    text: string,
    passphrase: string,
    random: Random,
    workFactor = usualWorkFactor,
): Promise<Uint8Array> {
    if (passphrase === '') throw new Fault('usage', 'cannot protect the identity: the passphrase is empty')
    const { armor, Encrypter } = await import('age-encryption')
    const encrypter = new Encrypter()
    encrypter.addRecipient(scryptRecipient(passphrase, workFactor, random))
    return new Uint8Array(Buffer.from(armor.encode(await encrypter.encrypt(text))))
}

/** The text that `protectIdentity`, or `age -p`, protected. A wrong passphrase is `Fault('damaged')`. */
export async function openProtectedIdentity(bytes: Uint8Array | string, passphrase: string): Promise<string> {
    const cannot = 'cannot open the protected identity'
    const given = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    const text = Buffer.from(given).toString('latin1')
    if (!isProtectedIdentity(text)) throw new Fault('damaged', `${cannot}: it is not an age file`)
    if (given.length > limits.smallMemberBytes)
        throw new Fault('damaged', `${cannot}: it is larger than 1 MiB`)
    const { armor, Decrypter } = await import('age-encryption')
    let binary = given
    if (text.trimStart().startsWith('-----')) {
        try {
            binary = armor.decode(text)
        } catch (error) {
            throw new Fault('damaged', `${cannot}: its armor is damaged`, { cause: error })
        }
    }
    const { headerLength } = readHeader(binary)
    const seen: string[] = []
    const fileKey = await openWith(
        binary.subarray(0, headerLength),
        [scryptIdentity(passphrase)],
        seen,
        'the protected identity',
        () =>
            seen.includes('scrypt')
                ? new Fault('damaged', `${cannot}: wrong passphrase`)
                : new Fault('damaged', `${cannot}: it is not protected by a passphrase`),
    )
    const decrypter = new Decrypter()
    decrypter.addIdentity({ unwrapFileKey: () => fileKey })
    try {
        return new TextDecoder('utf-8', { fatal: true }).decode(await decrypter.decrypt(binary))
    } catch (error) {
        throw new Fault('damaged', `${cannot}: it is damaged or was altered`, { cause: error })
    }
}

/** The passphrase stanza; age-encryption's own runs scrypt on the event loop, where it would stop everything else. */
function scryptRecipient(passphrase: string, workFactor: number, random: Random): Recipient {
    return {
        async wrapFileKey(fileKey) {
            const salt = random(16)
            const key = await stretch(passphrase, salt, workFactor)
            const body = chacha20poly1305(key, new Uint8Array(12)).encrypt(fileKey)
            const encoded = Buffer.from(salt).toString('base64').replaceAll('=', '')
            return [{ args: ['scrypt', encoded, String(workFactor)], body }]
        },
    }
}

function scryptIdentity(passphrase: string): Identity {
    return {
        async unwrapFileKey(stanzas) {
            const stanza = stanzas.find(({ args }) => args[0] === 'scrypt')
            if (stanza === undefined) return null
            if (stanzas.length !== 1) throw new Error('a passphrase must be the only recipient')
            const [, encoded = '', factor = ''] = stanza.args
            const salt = Buffer.from(encoded, 'base64')
            if (stanza.args.length !== 3 || salt.length !== 16 || stanza.body.length !== 32)
                throw new Error('invalid scrypt stanza')
            if (!/^[1-9][0-9]?$/.test(factor) || Number(factor) > mostWorkFactor)
                throw new Error(`its scrypt work factor is not between 1 and ${mostWorkFactor}`)
            const key = await stretch(passphrase, salt, Number(factor))
            try {
                return chacha20poly1305(key, new Uint8Array(12)).decrypt(stanza.body)
            } catch {
                return null
            }
        },
    }
}

function stretch(passphrase: string, salt: Uint8Array, workFactor: number): Promise<Uint8Array> {
    const N = 2 ** workFactor
    // Node refuses to use more memory than this; scrypt needs 128 * N * r and a little.
    const options = { N, r: 8, p: 1, maxmem: 128 * N * 8 + 64 * 1024 * 1024 }
    return new Promise((resolve, reject) => {
        scrypt(passphrase, Buffer.concat([Buffer.from(scryptLabel), salt]), 32, options, (error, key) => {
            // Bun gives undefined where Node gives null.
            if (!error) resolve(new Uint8Array(key))
            else reject(new Fault('failed', `cannot use the passphrase: ${error.message}`, { cause: error }))
        })
    })
}
