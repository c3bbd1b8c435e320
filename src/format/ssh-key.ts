/** OpenSSH keys: public one-liners, unencrypted private keys, fingerprints, and the wire format below them. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { Fault } from '../core/errors.ts'

/** A public key of a type that age and signatures can use. */
export interface SshPublicKey {
    type: 'ssh-ed25519' | 'ssh-rsa'
    /** The key in wire format: what the base64 of the one-liner holds. */
    blob: Uint8Array
    comment: string
    /** `ssh-ed25519 AAAA…`, without the comment. */
    text: string
}

export type SshPrivateKey =
    | { type: 'ssh-ed25519'; seed: Uint8Array; key: KeyObject; public: SshPublicKey }
    | { type: 'ssh-rsa'; key: KeyObject; public: SshPublicKey }

/** age refuses shorter ones, and so does OpenSSH for new signatures. */
const leastRsaBits = 2048
/** OpenSSH's own bound (SSHBUF_MAX_BIGNUM). */
const mostRsaBits = 16_384

/** Reads `ssh-ed25519 AAAA… comment` or `ssh-rsa …`; any other type or shape is a usage fault that says what is wrong. */
export function parseSshPublicKey(line: string): SshPublicKey {
    const [type = '', encoded = '', ...rest] = line.trim().split(/[ \t]+/)
    if (type !== 'ssh-ed25519' && type !== 'ssh-rsa')
        throw bad(`keys of type ${show(type)} cannot be used, only ssh-ed25519 and ssh-rsa`)
    const blob = decodeBase64(encoded)
    if (blob === undefined) throw bad(`the ${type} key is not valid base64`)
    const key = readPublicBlob(blob)
    if (key.type !== type) throw bad(`it says ${type}, and the key inside is ${show(key.type)}`)
    return { type, blob, comment: rest.join(' '), text: `${type} ${encoded}` }
}

/** The one-liner of a key in wire format. */
export function sshPublicKey(blob: Uint8Array, comment = ''): SshPublicKey {
    const { type } = readPublicBlob(blob)
    return { type, blob, comment, text: `${type} ${Buffer.from(blob).toString('base64')}` }
}

/** Wire format of an Ed25519 public key of 32 bytes. */
export function ed25519Blob(publicKey: Uint8Array): Uint8Array {
    return sshConcat(sshString('ssh-ed25519'), sshString(publicKey))
}

/** The 32 bytes inside the wire format of an Ed25519 key. */
export function ed25519FromBlob(blob: Uint8Array): Uint8Array {
    const key = readPublicBlob(blob)
    if (key.type !== 'ssh-ed25519') throw bad('it is not an Ed25519 key')
    return key.publicKey
}

/** `SHA256:…`, as `ssh-keygen -l` prints it. */
export function sshFingerprint(blob: Uint8Array): string {
    return `SHA256:${createHash('sha256').update(blob).digest('base64').replaceAll('=', '')}`
}

/** A public key as Node's crypto takes it. */
export function sshKeyObject(blob: Uint8Array): KeyObject {
    const key = readPublicBlob(blob)
    const jwk =
        key.type === 'ssh-ed25519'
            ? { kty: 'OKP', crv: 'Ed25519', x: base64url(key.publicKey) }
            : { kty: 'RSA', e: base64url(key.e), n: base64url(key.n) }
    return createPublicKey({ key: jwk, format: 'jwk' })
}

type PublicParts =
    | { type: 'ssh-ed25519'; publicKey: Uint8Array }
    | { type: 'ssh-rsa'; e: Uint8Array; n: Uint8Array }

function readPublicBlob(blob: Uint8Array): PublicParts {
    const wire = new SshWire(blob)
    const type = wire.text()
    let parts: PublicParts
    if (type === 'ssh-ed25519') {
        parts = { type, publicKey: wire.string() }
        if (parts.publicKey.length !== 32) throw bad('an Ed25519 key has 32 bytes')
    } else if (type === 'ssh-rsa') {
        parts = { type, e: wire.number(), n: wire.number() }
        const bits = bitLength(parts.n)
        if (bits < leastRsaBits)
            throw bad(`an RSA key of ${bits} bits is too short, at least 2048 are needed`)
        if (bits > mostRsaBits) throw bad(`an RSA key of ${bits} bits is longer than OpenSSH accepts`)
    } else throw bad(`keys of type ${show(type)} cannot be used, only ssh-ed25519 and ssh-rsa`)
    wire.end()
    return parts
}

const opensshArmor =
    /^-----BEGIN OPENSSH PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----\s*$/
const opensshMagic = 'openssh-key-v1\0'

/** Whether the text is a private key in one of OpenSSH's or OpenSSL's armors. */
export function isPrivateKeyText(text: string): boolean {
    return /^-----BEGIN (OPENSSH |RSA |EC |DSA |ENCRYPTED )?PRIVATE KEY-----/m.test(text)
}

/** Reads an unencrypted private key: OpenSSH's own format, PKCS#8 or PKCS#1. Usage faults never repeat its content. */
export function parseSshPrivateKey(text: string): SshPrivateKey {
    const armored = opensshArmor.exec(text.trim())
    if (armored !== null) return parseOpenSsh(armored[1]!)
    if (/ENCRYPTED/.test(text)) throw encrypted()
    let key: KeyObject
    try {
        key = createPrivateKey(text)
    } catch (error) {
        throw new Fault('usage', 'cannot read the SSH private key: it is damaged or of an unknown format', {
            cause: error,
        })
    }
    if (key.asymmetricKeyType === 'ed25519') return fromSeed(base64(key.export({ format: 'jwk' }).d), '')
    if (key.asymmetricKeyType === 'rsa') return fromRsa(key, '')
    throw bad(`private keys of type ${key.asymmetricKeyType ?? '?'} cannot be used, only Ed25519 and RSA`)
}

function parseOpenSsh(body: string): SshPrivateKey {
    const bytes = decodeBase64(body.replaceAll(/\s+/g, ''))
    if (bytes === undefined) throw bad('the private key is not valid base64')
    if (Buffer.from(bytes.subarray(0, opensshMagic.length)).toString('latin1') !== opensshMagic)
        throw bad('the private key is not in the format openssh-key-v1')
    const outer = new SshWire(bytes.subarray(opensshMagic.length))
    const cipher = outer.text()
    const kdf = outer.text()
    outer.string()
    if (cipher !== 'none' || kdf !== 'none') throw encrypted()
    if (outer.uint32() !== 1) throw bad('a private key file holds exactly one key')
    const publicBlob = outer.string()
    const secret = new SshWire(outer.string())
    outer.end()
    const check = secret.uint32()
    if (secret.uint32() !== check) throw bad('the two check numbers of the private key differ')
    const type = secret.text()
    let key: SshPrivateKey
    if (type === 'ssh-ed25519') {
        const publicKey = secret.string()
        const both = secret.string()
        if (both.length !== 64 || !same(both.subarray(32), publicKey))
            throw bad('the Ed25519 private key is malformed')
        key = fromSeed(both.slice(0, 32), secret.text())
    } else if (type === 'ssh-rsa') {
        const [n, e, d, inverse, p, q] = [0, 1, 2, 3, 4, 5].map(() => secret.number()) as [
            Uint8Array,
            Uint8Array,
            Uint8Array,
            Uint8Array,
            Uint8Array,
            Uint8Array,
        ]
        const jwk = {
            kty: 'RSA',
            n: base64url(n),
            e: base64url(e),
            d: base64url(d),
            p: base64url(p),
            q: base64url(q),
            dp: base64url(modMinusOne(d, p)),
            dq: base64url(modMinusOne(d, q)),
            qi: base64url(inverse),
        }
        let object: KeyObject
        try {
            object = createPrivateKey({ key: jwk, format: 'jwk' })
        } catch (error) {
            throw new Fault('usage', 'cannot read the SSH key: the RSA private key is malformed', {
                cause: error,
            })
        }
        key = fromRsa(object, secret.text())
    } else throw bad(`private keys of type ${show(type)} cannot be used, only ssh-ed25519 and ssh-rsa`)
    secret.padding()
    if (!same(key.public.blob, publicBlob)) throw bad('its public and private halves do not belong together')
    return key
}

function fromSeed(seed: Uint8Array, comment: string): SshPrivateKey {
    const key = ed25519PrivateKey(seed)
    return { type: 'ssh-ed25519', seed, key, public: publicHalf(key, comment) }
}

function fromRsa(key: KeyObject, comment: string): SshPrivateKey {
    return { type: 'ssh-rsa', key, public: publicHalf(key, comment) }
}

/** The OpenSSH public half of a key, private or public, that Node's crypto holds. */
export function publicHalf(key: KeyObject, comment = ''): SshPublicKey {
    const jwk = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
    const blob =
        jwk.kty === 'OKP'
            ? ed25519Blob(base64(jwk.x))
            : sshConcat(sshString('ssh-rsa'), sshNumber(base64(jwk.e)), sshNumber(base64(jwk.n)))
    return sshPublicKey(blob, comment)
}

const pkcs8Ed25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** An Ed25519 private key from its seed of 32 bytes. */
export function ed25519PrivateKey(seed: Uint8Array): KeyObject {
    if (seed.length !== 32) throw bad('an Ed25519 seed has 32 bytes')
    return createPrivateKey({ key: Buffer.concat([pkcs8Ed25519, seed]), format: 'der', type: 'pkcs8' })
}

/** Reads SSH's wire format (RFC 4251, section 5) and throws at the first doubt. */
export class SshWire {
    readonly #bytes: Uint8Array
    #at = 0

    constructor(bytes: Uint8Array) {
        this.#bytes = bytes
    }

    uint32(): number {
        const at = this.#take(4)
        const bytes = this.#bytes
        return (
            (bytes[at]! * 0x1000000 + (bytes[at + 1]! << 16) + (bytes[at + 2]! << 8) + bytes[at + 3]!) >>> 0
        )
    }

    string(): Uint8Array {
        const length = this.uint32()
        const at = this.#take(length)
        return this.#bytes.slice(at, at + length)
    }

    text(): string {
        return Buffer.from(this.string()).toString('latin1')
    }

    /** A positive number, big-endian, without the leading zero that keeps it positive. */
    number(): Uint8Array {
        const bytes = this.string()
        if (bytes.length === 0 || bytes[0]! >= 0x80) throw bad('a number in it is not positive')
        return bytes[0] === 0 ? bytes.subarray(1) : bytes
    }

    bytes(length: number): Uint8Array {
        const at = this.#take(length)
        return this.#bytes.slice(at, at + length)
    }

    /** The padding of a private key counts up from 1. */
    padding(): void {
        for (let n = 1; this.#at < this.#bytes.length; n++)
            if (this.#bytes[this.#at++] !== n) throw bad('the padding of the private key is wrong')
    }

    end(): void {
        if (this.#at !== this.#bytes.length) throw bad('there are bytes behind its end')
    }

    #take(length: number): number {
        const at = this.#at
        if (length > this.#bytes.length - at) throw bad('it ends too early')
        this.#at = at + length
        return at
    }
}

export function sshString(value: string | Uint8Array): Uint8Array {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    const framed = new Uint8Array(4 + bytes.length)
    new DataView(framed.buffer).setUint32(0, bytes.length)
    framed.set(bytes, 4)
    return framed
}

export function sshConcat(...parts: Uint8Array[]): Uint8Array {
    return new Uint8Array(Buffer.concat(parts))
}

function sshNumber(bytes: Uint8Array): Uint8Array {
    return sshString(bytes[0]! >= 0x80 ? sshConcat(new Uint8Array(1), bytes) : bytes)
}

/** Strict base64 with padding; undefined when anything is odd, as a second spelling of one key would be. */
export function decodeBase64(text: string): Uint8Array | undefined {
    const bytes = Buffer.from(text, 'base64')
    return text.length > 0 && bytes.toString('base64') === text ? new Uint8Array(bytes) : undefined
}

function modMinusOne(value: Uint8Array, prime: Uint8Array): Uint8Array {
    const modulus = BigInt(`0x${Buffer.from(prime).toString('hex')}`) - 1n
    if (modulus <= 0n) throw bad('the RSA private key is malformed')
    const rest = (BigInt(`0x${Buffer.from(value).toString('hex')}`) % modulus).toString(16)
    return Buffer.from(rest.length % 2 === 0 ? rest : `0${rest}`, 'hex')
}

function bitLength(bytes: Uint8Array): number {
    return bytes.length === 0 ? 0 : bytes.length * 8 - (Math.clz32(bytes[0]!) - 24)
}

function base64url(bytes: Uint8Array): string {
    return Buffer.from(bytes).toString('base64url')
}

function base64(text: string | undefined): Uint8Array {
    return new Uint8Array(Buffer.from(text ?? '', 'base64url'))
}

function same(left: Uint8Array, right: Uint8Array): boolean {
    return Buffer.compare(left, right) === 0
}

/** At most a few characters of what stands where a type should: it might be a secret. */
function show(type: string): string {
    return /^[a-z0-9@.-]{1,48}$/.test(type) ? type : '(unreadable)'
}

function bad(why: string): Fault {
    return new Fault('usage', `cannot read the SSH key: ${why}`)
}

function encrypted(): Fault {
    return new Fault('usage', 'cannot read the SSH private key: it is protected by a passphrase', {
        hint: 'make an unprotected copy for this one use: `cp KEY COPY && ssh-keygen -p -N "" -f COPY`, and remove it afterwards',
    })
}
