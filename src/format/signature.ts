/** OpenSSH signatures (PROTOCOL.sshsig) with Ed25519 keys, and the file that says whose signatures are trusted. */
import { createHash, type KeyObject, sign as signBytes, verify as verifyBytes } from 'node:crypto'
import { Fault } from '../core/errors.ts'
import {
    decodeBase64,
    publicHalf,
    SshWire,
    sshConcat,
    sshFingerprint,
    sshKeyObject,
    sshPublicKey,
    sshString,
} from './ssh-key.ts'

/** What a signature of proxsave is made for; one made for `git` or `file` does not count. */
export const signatureNamespace = 'proxsave'

const magic = Buffer.from('SSHSIG')
const begin = '-----BEGIN SSH SIGNATURE-----'
const end = '-----END SSH SIGNATURE-----'
/** An Ed25519 signature has 300 characters; the rest is for odd line ends. */
const mostArmorBytes = 16 * 1024

export interface Signer {
    /** `ssh-ed25519 AAAA…` */
    publicKey: string
    /** `SHA256:…` */
    fingerprint: string
}

/** Signs a message with an Ed25519 private key; the result is what `ssh-keygen -Y sign -n proxsave` writes. */
export function sign(message: Uint8Array, privateKey: KeyObject): string {
    const { blob, type } = publicHalf(privateKey)
    if (type !== 'ssh-ed25519')
        throw new Fault('usage', `cannot sign with a key of type ${type}, only with Ed25519`)
    const signature = signBytes(null, signedData(signatureNamespace, 'sha512', message), privateKey)
    const body = sshConcat(
        magic,
        uint32(1),
        sshString(blob),
        sshString(signatureNamespace),
        sshString(''),
        sshString('sha512'),
        sshString(sshConcat(sshString('ssh-ed25519'), sshString(signature))),
    )
    const lines =
        Buffer.from(body)
            .toString('base64')
            .match(/.{1,70}/g) ?? []
    return `${[begin, ...lines, end].join('\n')}\n`
}

/**
 * Checks a signature and tells who made it. It says nothing about trust: compare the key with one's own and with
 * `isAllowedSigner`. `Fault('damaged')` when it does not fit the message, is malformed, or was made for something else.
 */
export function verify(message: Uint8Array, armored: string): Signer {
    let signature: ReturnType<typeof readSignature>
    try {
        signature = readSignature(armored)
    } catch (error) {
        const why =
            error instanceof Error ? error.message.replace(/^cannot read the SSH key: /, '') : String(error)
        throw new Fault('damaged', `cannot verify the signature: it is malformed: ${why}`, { cause: error })
    }
    if (signature.namespace !== signatureNamespace)
        throw new Fault(
            'damaged',
            'cannot verify the signature: it was made for another purpose than proxsave',
        )
    const data = signedData(signature.namespace, signature.hash, message)
    if (!verifyBytes(null, data, sshKeyObject(signature.blob), signature.bytes))
        throw new Fault(
            'damaged',
            'cannot verify the signature: it does not fit, the signed bytes were altered',
        )
    return { publicKey: sshPublicKey(signature.blob).text, fingerprint: sshFingerprint(signature.blob) }
}

function readSignature(armored: string) {
    if (armored.length > mostArmorBytes) throw new Error('it is too long')
    const lines = armored.trim().split(/\r?\n/)
    if (lines[0] !== begin || lines.at(-1) !== end) throw new Error('its first or last line is wrong')
    const bytes = decodeBase64(lines.slice(1, -1).join(''))
    if (bytes === undefined) throw new Error('it is not valid base64')
    const wire = new SshWire(bytes)
    if (Buffer.compare(wire.bytes(magic.length), magic) !== 0) throw new Error('it is not an SSH signature')
    if (wire.uint32() !== 1) throw new Error('its version is not 1')
    const blob = wire.string()
    const namespace = wire.text()
    wire.string()
    const hash = wire.text()
    const inner = new SshWire(wire.string())
    wire.end()
    if (hash !== 'sha512' && hash !== 'sha256') throw new Error('its hash is neither sha512 nor sha256')
    if (sshPublicKey(blob).type !== 'ssh-ed25519' || inner.text() !== 'ssh-ed25519')
        throw new Error('it was not made with an Ed25519 key')
    const signature = inner.string()
    inner.end()
    if (signature.length !== 64) throw new Error('an Ed25519 signature has 64 bytes')
    return { blob, namespace, hash, bytes: signature } as const
}

function signedData(namespace: string, hash: 'sha512' | 'sha256', message: Uint8Array): Uint8Array {
    const digest = createHash(hash).update(message).digest()
    return sshConcat(magic, sshString(namespace), sshString(''), sshString(hash), sshString(digest))
}

function uint32(value: number): Uint8Array {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, value)
    return bytes
}

/** One line of an allowed signers file (ssh-keygen(1), ALLOWED SIGNERS). */
export interface AllowedSigner {
    principals: string[]
    options: {
        /** Patterns with `*` and `?`; absent: every namespace. */
        namespaces?: string[]
        /** Milliseconds since the epoch. */
        validAfterMs?: number
        validBeforeMs?: number
        /** The key signs certificates, not messages; proxsave knows no certificates, so it never counts. */
        certAuthority?: true
    }
    /** `ssh-ed25519 AAAA…`; keys of other types are listed and fit nothing. */
    key: string
    comment: string
}

/** Reads an allowed signers file; a malformed line is a usage fault with its number, not a line that is skipped. */
export function parseAllowedSigners(text: string, name = 'allowed_signers'): AllowedSigner[] {
    const signers: AllowedSigner[] = []
    for (const [index, raw] of text.split('\n').entries()) {
        const line = raw.trim()
        if (line === '' || line.startsWith('#')) continue
        try {
            signers.push(parseSigner(line))
        } catch (error) {
            const why = error instanceof Error ? error.message : String(error)
            throw new Fault('usage', `cannot read ${name}: line ${index + 1}: ${why}`, { cause: error })
        }
    }
    return signers
}

/** Whether a key is among the allowed signers, for this use and at this time. */
export function isAllowedSigner(
    signers: AllowedSigner[],
    publicKey: string,
    nowMs: number,
    namespace = signatureNamespace,
): boolean {
    return signers.some(({ key, options }) => {
        if (key !== publicKey || options.certAuthority) return false
        if (options.validAfterMs !== undefined && nowMs < options.validAfterMs) return false
        if (options.validBeforeMs !== undefined && nowMs >= options.validBeforeMs) return false
        return options.namespaces === undefined || matchesList(options.namespaces, namespace)
    })
}

const keyType = /^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+$/

function parseSigner(line: string): AllowedSigner {
    const words = splitQuoted(line)
    const principals = unquote(words.shift() ?? '')
    if (principals === '' || keyType.test(principals)) throw new Error('the principals are missing')
    const options: AllowedSigner['options'] = {}
    if (words[0] !== undefined && !keyType.test(words[0]))
        for (const option of splitOutsideQuotes(words.shift()!, ',')) readOption(option, options)
    const [type, encoded, ...comment] = words
    if (type === undefined || !keyType.test(type)) throw new Error('the key type is missing or unknown')
    const blob = decodeBase64(encoded ?? '')
    if (blob === undefined) throw new Error('the key is not valid base64')
    if (new SshWire(blob).text() !== type)
        throw new Error(`it says ${type}, and the key inside is another type`)
    return {
        principals: principals.split(','),
        options,
        key: `${type} ${encoded}`,
        comment: comment.join(' '),
    }
}

function readOption(option: string, into: AllowedSigner['options']): void {
    const equals = option.indexOf('=')
    const name = (equals < 0 ? option : option.slice(0, equals)).toLowerCase()
    const value = equals < 0 ? undefined : unquote(option.slice(equals + 1))
    if (name === 'cert-authority' && value === undefined) into.certAuthority = true
    else if (name === 'namespaces' && value !== undefined) into.namespaces = value.split(',')
    else if (name === 'valid-after' && value !== undefined) into.validAfterMs = readTime(value)
    else if (name === 'valid-before' && value !== undefined) into.validBeforeMs = readTime(value)
    else throw new Error(`the option ${name.slice(0, 40)} is unknown or malformed`)
}

/** YYYYMMDD[HHMM[SS]][Z]: local time unless it ends with Z. */
function readTime(text: string): number {
    const parts = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z)?$/.exec(text)
    if (parts === null) throw new Error('a time is written YYYYMMDD[HHMM[SS]][Z]')
    const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(part => Number(part ?? 0)) as [
        number,
        number,
        number,
        number,
        number,
        number,
    ]
    const utc = Date.UTC(year, month - 1, day, hour, minute, second)
    const stamp = new Date(utc)
    if (
        stamp.getUTCMonth() !== month - 1 ||
        stamp.getUTCDate() !== day ||
        hour > 23 ||
        minute > 59 ||
        second > 59
    )
        throw new Error('a time in it does not exist')
    return parts[7] === 'Z' ? utc : new Date(year, month - 1, day, hour, minute, second).getTime()
}

/** OpenSSH's pattern lists: a `!` in front refuses, whatever else matches. */
function matchesList(patterns: string[], text: string): boolean {
    let matched = false
    for (const pattern of patterns) {
        const negated = pattern.startsWith('!')
        if (!matchesPattern(negated ? pattern.slice(1) : pattern, text)) continue
        if (negated) return false
        matched = true
    }
    return matched
}

function matchesPattern(pattern: string, text: string): boolean {
    const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    return new RegExp(`^${escaped.replaceAll(/\*+/g, '.*').replaceAll('?', '.')}$`).test(text)
}

function splitQuoted(line: string): string[] {
    return line.match(/(?:"[^"]*"|[^\s"])+/g) ?? []
}

function splitOutsideQuotes(text: string, separator: string): string[] {
    const parts = ['']
    let quoted = false
    for (const character of text) {
        if (character === '"') quoted = !quoted
        if (character === separator && !quoted) parts.push('')
        else parts[parts.length - 1] += character
    }
    return parts
}

function unquote(text: string): string {
    return text.startsWith('"') && text.endsWith('"') && text.length > 1 ? text.slice(1, -1) : text
}
