/** Opens an archive with what a person gave: identities, or the passphrase of the one that travels inside. */
import { ArchiveFile, ArchiveReader } from './reader.ts'
import { Fault } from '../core/errors.ts'
import { type AgeIdentity, openProtectedIdentity, parseIdentities } from '../format/age.ts'

/** Texts of identity files, or a passphrase; `file` (base64) is a protected identity that lies elsewhere. */
export type Identity = { texts: string[] } | { passphrase: string; file?: string }

export interface OpenedArchive {
    archive: ArchiveFile
    reader: ArchiveReader
    close(): void
}

export async function unlock(path: string, identity: Identity | undefined): Promise<OpenedArchive> {
    const archive = await ArchiveFile.open(path)
    try {
        const reader = await ArchiveReader.open(archive, await identitiesFor(archive, identity))
        return {
            archive,
            reader,
            close() {
                reader.close()
                archive.close()
            },
        }
    } catch (error) {
        archive.close()
        throw error
    }
}

async function identitiesFor(archive: ArchiveFile, identity: Identity | undefined): Promise<AgeIdentity[]> {
    const { head, path } = archive
    if (head.manifest.encryption.kind === 'none') return []
    if (identity !== undefined && 'passphrase' in identity) {
        const bytes = identity.file === undefined ? head.identity : Buffer.from(identity.file, 'base64')
        if (bytes === undefined)
            throw new Fault(
                'damaged',
                `cannot open ${path}: no identity protected by a passphrase travels in it`,
                {
                    hint: 'give the private identity with --identity FILE',
                },
            )
        try {
            return parseIdentities(await openProtectedIdentity(bytes, identity.passphrase))
        } catch (error) {
            if (!(error instanceof Fault)) throw error
            throw new Fault(error.kind, error.message, {
                hint: error.hint,
                facts: { need: 'passphrase' },
                cause: error,
            })
        }
    }
    const identities = (identity?.texts ?? []).flatMap(text => parseIdentities(text))
    if (identities.length > 0) return identities
    if (head.identity !== undefined)
        throw new Fault('damaged', `cannot open ${path}: it needs its passphrase`, {
            hint: 'run this at a terminal to be asked for it, or give an identity with --identity FILE',
            facts: { need: 'passphrase' },
        })
    throw new Fault('damaged', `cannot open ${path}: it is encrypted and there is no identity on this host`, {
        hint: `give the private identity of one of its recipients with --identity FILE: ${head.manifest.encryption.recipients.join(', ').slice(0, 300)}`,
        facts: { need: 'identity' },
    })
}
