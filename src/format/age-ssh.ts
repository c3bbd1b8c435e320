/** age stanzas for SSH keys (`ssh-ed25519` and `ssh-rsa` of the age specification), which age-encryption leaves out. */
import { constants, createHash, hkdfSync, privateDecrypt, publicEncrypt } from 'node:crypto'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import type { Identity, Recipient, Stanza } from 'age-encryption'
import { ed25519FromBlob, type SshPrivateKey, type SshPublicKey, sshKeyObject } from './ssh-key.ts'

const ed25519Label = 'age-encryption.org/v1/ssh-ed25519'
const rsaLabel = 'age-encryption.org/v1/ssh-rsa'
/** The wrapping key is used once, so its nonce is zero. */
const zeroNonce = new Uint8Array(12)

/** Wraps the file key for the owner of an SSH key. `random` gives the ephemeral key. */
export function sshRecipient(key: SshPublicKey, random: (bytes: number) => Uint8Array): Recipient {
    return {
        async wrapFileKey(fileKey) {
            if (key.type === 'ssh-rsa') return [stanza(['ssh-rsa', tag(key.blob)], rsaWrap(key, fileKey))]
            const { ed25519, x25519 } = await import('@noble/curves/ed25519.js')
            const montgomery = ed25519.utils.toMontgomery(ed25519FromBlob(key.blob))
            const ephemeral = random(32)
            const share = x25519.getPublicKey(ephemeral)
            const shared = x25519.getSharedSecret(
                tweak(key.blob),
                x25519.getSharedSecret(ephemeral, montgomery),
            )
            const body = chacha20poly1305(wrapKey(shared, share, montgomery), zeroNonce).encrypt(fileKey)
            return [stanza(['ssh-ed25519', tag(key.blob), encodeUnpadded(share)], body)]
        },
    }
}

/** Opens what `sshRecipient`, or age itself, wrapped for this key. */
export function sshIdentity(key: SshPrivateKey): Identity {
    const expected = tag(key.public.blob)
    return {
        async unwrapFileKey(stanzas) {
            for (const { args, body } of stanzas) {
                if (args[0] !== key.type || args[1] !== expected) continue
                const fileKey =
                    key.type === 'ssh-rsa' ? rsaUnwrap(key, args, body) : await edUnwrap(key, args, body)
                if (fileKey !== null) return fileKey
            }
            return null
        },
    }
}

function rsaWrap(key: SshPublicKey, fileKey: Uint8Array): Uint8Array {
    const oaep = {
        padding: constants.RSA_PKCS1_OAEP_PADDING,
        oaepHash: 'sha256',
        oaepLabel: Buffer.from(rsaLabel),
    }
    return new Uint8Array(publicEncrypt({ key: sshKeyObject(key.blob), ...oaep }, fileKey))
}

function rsaUnwrap(
    key: SshPrivateKey & { type: 'ssh-rsa' },
    args: string[],
    body: Uint8Array,
): Uint8Array | null {
    if (args.length !== 2) throw new Error('invalid ssh-rsa stanza')
    const oaep = {
        padding: constants.RSA_PKCS1_OAEP_PADDING,
        oaepHash: 'sha256',
        oaepLabel: Buffer.from(rsaLabel),
    }
    try {
        const fileKey = privateDecrypt({ key: key.key, ...oaep }, body)
        return fileKey.length === 16 ? new Uint8Array(fileKey) : null
    } catch {
        // The tag has 32 bits: another key may share it.
        return null
    }
}

async function edUnwrap(
    key: SshPrivateKey & { type: 'ssh-ed25519' },
    args: string[],
    body: Uint8Array,
): Promise<Uint8Array | null> {
    if (args.length !== 3 || body.length !== 32) throw new Error('invalid ssh-ed25519 stanza')
    const share = decodeUnpadded(args[2]!)
    if (share?.length !== 32) throw new Error('invalid ssh-ed25519 stanza')
    const { ed25519, x25519 } = await import('@noble/curves/ed25519.js')
    const montgomery = ed25519.utils.toMontgomery(ed25519FromBlob(key.public.blob))
    // The scalar of an Ed25519 key is the first half of its seed's SHA-512; X25519 clamps it the same way.
    const scalar = new Uint8Array(createHash('sha512').update(key.seed).digest()).slice(0, 32)
    const shared = x25519.getSharedSecret(tweak(key.public.blob), x25519.getSharedSecret(scalar, share))
    try {
        return chacha20poly1305(wrapKey(shared, share, montgomery), zeroNonce).decrypt(body)
    } catch {
        return null
    }
}

/** The tweak binds the shared secret to the SSH key, so that an X25519 share cannot be used in its place. */
function tweak(blob: Uint8Array): Uint8Array {
    return new Uint8Array(hkdfSync('sha256', new Uint8Array(0), blob, ed25519Label, 32))
}

function wrapKey(shared: Uint8Array, share: Uint8Array, montgomery: Uint8Array): Uint8Array {
    return new Uint8Array(hkdfSync('sha256', shared, Buffer.concat([share, montgomery]), ed25519Label, 32))
}

function tag(blob: Uint8Array): string {
    return encodeUnpadded(createHash('sha256').update(blob).digest().subarray(0, 4))
}

function stanza(args: string[], body: Uint8Array): Stanza {
    return { args, body }
}

function encodeUnpadded(bytes: Uint8Array): string {
    return Buffer.from(bytes).toString('base64').replaceAll('=', '')
}

function decodeUnpadded(text: string): Uint8Array | undefined {
    const bytes = Buffer.from(text, 'base64')
    return encodeUnpadded(bytes) === text ? new Uint8Array(bytes) : undefined
}
