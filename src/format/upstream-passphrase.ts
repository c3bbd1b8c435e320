/** The X25519 identity that the Go ProxSave makes of a passphrase: its archives have no scrypt stanza. */
import { scrypt } from 'node:crypto'
import { Fault } from '../core/errors.ts'
import { type AgeIdentity, identityFrom } from './age-keys.ts'

/** Salts that are the same on every host, newest first. */
const fixedSalts = ['proxsave/age-passphrase/v1', 'proxmox-backup-go/age-passphrase/v1']

/** The identities that a passphrase may stand for, in the order in which the tool tries them. */
export async function passphraseIdentities(passphrase: string, salt?: string): Promise<AgeIdentity[]> {
    const salts = [...new Set([...(salt === undefined || salt === '' ? [] : [salt]), ...fixedSalts])]
    const identities: AgeIdentity[] = []
    for (const one of salts)
        identities.push({ kind: 'x25519', secret: identityFrom(await stretch(passphrase, one)) })
    return identities
}

function stretch(passphrase: string, salt: string): Promise<Uint8Array> {
    const options = { N: 32_768, r: 8, p: 1, maxmem: 64 * 1024 * 1024 }
    return new Promise((resolve, reject) => {
        scrypt(passphrase, Buffer.from(salt), 32, options, (error, derived) => {
            if (error) {
                reject(new Fault('failed', `cannot use the passphrase: ${error.message}`, { cause: error }))
                return
            }
            const key = new Uint8Array(derived)
            // The scalar in the form that X25519 uses, as the tool writes it into the identity.
            key[0]! &= 248
            key[31] = (key[31]! & 127) | 64
            resolve(key)
        })
    })
}
