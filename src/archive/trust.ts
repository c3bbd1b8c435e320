/** Who signed an archive, and whether that is somebody this host trusts. */
import type { ArchiveFile } from './reader.ts'
import { Fault } from '../core/errors.ts'
import { isAllowedSigner, parseAllowedSigners, verify as verifySignature } from '../format/signature.ts'

export interface Trust {
    /** This host's public key, `ssh-ed25519 AAAA…`. */
    own?: string
    /** Text of the allowed signers file. */
    allowedSigners?: string
}

export interface SignatureState {
    state: 'own' | 'trusted' | 'foreign' | 'unsigned'
    fingerprint?: string
    /** `ssh-ed25519 AAAA…` of a signer that is not known: what a person who knows better adds to the allowed signers. */
    publicKey?: string
    principal?: string
}

/** Who signed the manifest. A signature that does not fit is damage; one by a stranger is for the caller to judge. */
export function signatureOf(archive: ArchiveFile, trust: Trust, nowMs = Date.now()): SignatureState {
    const { head, path } = archive
    const armored = head.signature?.trim()
    if (armored === undefined || armored === '') return { state: 'unsigned' }
    let signer: { publicKey: string; fingerprint: string }
    try {
        // Its room is filled up with line ends; anything else there was not signed by anybody.
        if (!/^-----BEGIN [\s\S]*-----END SSH SIGNATURE-----\n+$/.test(head.signature ?? ''))
            throw new Fault('damaged', 'cannot verify the signature: something stands behind it')
        signer = verifySignature(head.manifestBytes, armored)
    } catch (error) {
        throw new Fault('damaged', `cannot trust ${path}: its manifest is not what was signed`, {
            hint: 'the manifest was altered or damaged: use another backup',
            cause: error,
        })
    }
    const key = signer.publicKey.split(' ').slice(0, 2).join(' ')
    const { fingerprint } = signer
    if (trust.own !== undefined && trust.own.trim().split(' ').slice(0, 2).join(' ') === key)
        return { state: 'own', fingerprint }
    const allowed = parseAllowedSigners(trust.allowedSigners ?? '')
    if (isAllowedSigner(allowed, key, nowMs)) {
        const principal = allowed.find(one => one.key === key)?.principals.join(',')
        return { state: 'trusted', fingerprint, principal }
    }
    return { state: 'foreign', fingerprint, publicKey: key }
}
