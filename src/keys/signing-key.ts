/** The host's Ed25519 key that signs its archives: made on first use, kept when proxsave is purged. */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import { ed25519PrivateKey, publicHalf, sshFingerprint } from '../format/ssh-key.ts'
import { createFile, readSmallFile, replaceFile } from '../host/atomic.ts'

export interface SigningKey {
    key: KeyObject
    /** `ssh-ed25519 AAAA…`, what `verify` compares with. */
    publicKey: string
    /** `SHA256:…` */
    fingerprint: string
}

const mostBytes = 16 * 1024

/** The key, made when there is none. `comment` describes it in `signing_key.pub`: `proxsave@HOST`. */
export function loadSigningKey(
    state: string,
    random: (bytes: number) => Uint8Array,
    comment = 'proxsave',
): SigningKey {
    let found = readSigningKey(state)
    if (found === undefined) {
        const made = ed25519PrivateKey(random(32)).export({ format: 'pem', type: 'pkcs8' })
        createFile(privatePath(state), made, { mode: 0o600 })
        // Read back what is there now: somebody else may have been first.
        found = readSigningKey(state)!
    }
    const line = readSmallFile(publicPath(state), mostBytes)
    // A crash between the two leaves the private half alone; the public one follows from it.
    if (line === undefined || !Buffer.from(line).toString().startsWith(`${found.publicKey} `))
        replaceFile(publicPath(state), `${found.publicKey} ${comment}\n`, { mode: 0o644 })
    return found
}

/** The key when there is one; never makes it. `Fault('failed')` when it is damaged. */
export function readSigningKey(state: string): SigningKey | undefined {
    const bytes = readSmallFile(privatePath(state), mostBytes)
    if (bytes === undefined) return undefined
    let key: KeyObject
    try {
        key = createPrivateKey(Buffer.from(bytes).toString())
    } catch (error) {
        throw damaged(state, error)
    }
    if (key.asymmetricKeyType !== 'ed25519') throw damaged(state, undefined)
    const { blob, text } = publicHalf(key)
    return { key, publicKey: text, fingerprint: sshFingerprint(blob) }
}

function privatePath(state: string): string {
    return join(state, 'signing_key')
}

function publicPath(state: string): string {
    return join(state, 'signing_key.pub')
}

function damaged(state: string, cause: unknown): Fault {
    return new Fault('failed', `cannot read ${privatePath(state)}: it is not an Ed25519 key`, {
        hint: 'put it back from a backup, or move it away: a new one is then made, and older archives need the old public key in /etc/proxsave/allowed_signers',
        cause,
    })
}
