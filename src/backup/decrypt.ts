/** The operation `archive.decrypt`: the same archive with its data in the plain, signed by this host. */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import type { ArchiveFile } from '../archive/reader.ts'
import { isUpstream } from '../archive/upstream-head.ts'
import { blockLines } from '../archive/writer.ts'
import { BLOCK, dataMemberName, envelopeOf, memberHeader, memberNames, roundUp } from '../archive/bundle.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json } from '../engine/change.ts'
import { writeManifest } from '../format/manifest.ts'
import { publicHalf } from '../format/ssh-key.ts'
import { sign } from '../format/signature.ts'
import { readSmallFile, syncDirectory } from '../host/atomic.ts'
import { DataFile, discardFile } from '../host/data-file.ts'
import * as libc from '../host/libc.ts'
import { Sha256, sha256 } from '../host/libcrypto.ts'
import type { OperationIo } from '../engine/operation.ts'
import { readme } from './readme.ts'
import { signatureOf } from '../archive/trust.ts'
import { type Identity, type OpenedArchive, unlock } from '../archive/unlock.ts'

export interface DecryptParams {
    path: string
    identities?: Identity
    /** Absolute path of the file to make; must not exist. */
    output: string
    /** Path of this host's signing key; without it the result is unsigned. */
    signingKey?: string
    /** Text of the allowed signers file: archives of theirs are signed too. */
    allowedSigners?: string
}

export async function archiveDecrypt(params: DecryptParams, io: OperationIo): Promise<Json> {
    if (isUpstream(params.path)) return (await import('./upstream.ts')).decryptUpstream(params, io)
    const opened = await unlock(params.path, params.identities)
    try {
        if (opened.archive.head.manifest.encryption.kind === 'none')
            throw new Fault('usage', `cannot decrypt ${params.path}: it is not encrypted`)
        const key = await signingKeyFor(opened.archive, params, io)
        let file: DataFile
        try {
            file = DataFile.create(params.output)
        } catch (error) {
            const exists = libc.codeOf(error) === 'EEXIST'
            throw new Fault(
                'usage',
                `cannot write ${params.output}: ${exists ? 'it exists already' : libc.codeOf(error)}`,
                {
                    hint: exists ? 'choose another name; nothing is ever replaced' : undefined,
                    cause: error,
                },
            )
        }
        try {
            const result = await decrypt(opened, file, params.output, key, io)
            file.sync()
            syncDirectory(params.output.slice(0, params.output.lastIndexOf('/')) || '/')
            return result
        } catch (error) {
            discardFile(params.output)
            if (libc.codeOf(error) === 'ENOSPC')
                throw new Fault('failed', `cannot write ${params.output}: no space left`, { cause: error })
            throw error
        } finally {
            file.close()
        }
    } finally {
        opened.close()
    }
}

/**
 * The key to sign the copy with. What this host did not make and does not trust stays unsigned: whoever has the public
 * half of the identity can make an archive, and our signature must not turn it into one of ours.
 */
async function signingKeyFor(
    archive: ArchiveFile,
    params: DecryptParams,
    io: OperationIo,
): Promise<KeyObject | undefined> {
    const pem =
        params.signingKey === undefined ? undefined : readSmallFile(params.signingKey, limits.configBytes)
    const key = pem === undefined ? undefined : createPrivateKey(Buffer.from(pem).toString())
    const own = key === undefined ? undefined : publicHalf(key).text
    const { state } = signatureOf(archive, { own, allowedSigners: params.allowedSigners })
    // The signature covers the manifest; that the data is what the manifest says has to be true as well.
    await archive.verifyStored(
        (done, total) => io.progress({ done, total, unit: 'bytes', text: 'checking the stored bytes' }),
        io.signal,
    )
    if (key === undefined || state === 'own' || state === 'trusted') return key
    io.warn(
        state === 'unsigned'
            ? 'the backup is not signed, so its decrypted copy is not either'
            : 'the backup was signed by a host that is not trusted here, so its decrypted copy is not signed',
    )
    return undefined
}

async function decrypt(
    opened: OpenedArchive,
    file: DataFile,
    output: string,
    key: KeyObject | undefined,
    io: OperationIo,
): Promise<Json> {
    const { archive, reader } = opened
    const { manifest } = archive.head
    const now = new Date(manifest.created)
    let at = 0
    const member = async (name: string, content: Uint8Array): Promise<number> => {
        file.writeAt(await memberHeader(name, content.length, now), at)
        file.writeAt(content, at + BLOCK)
        file.writeAt(new Uint8Array(roundUp(content.length) - content.length), at + BLOCK + content.length)
        at += BLOCK + roundUp(content.length)
        return at - roundUp(content.length)
    }
    const text = readme({
        host: manifest.host.fqdn ?? manifest.host.name,
        hostId: manifest.host.id,
        created: manifest.created,
        tool: manifest.tool,
        encrypted: false,
        protectedIdentity: false,
    })
    await member(memberNames.readme, Buffer.from(text))
    const manifestAt = await member(memberNames.manifest, Buffer.alloc(limits.manifestBytes, 0x20))
    const signatureAt = key === undefined ? 0 : await member(memberNames.signature, Buffer.alloc(BLOCK, 0x0a))

    const size = reader.storedSize
    const dataMember = dataMemberName(false)
    file.writeAt(await memberHeader(dataMember, size, now), at)
    const dataAt = at + BLOCK
    const whole = new Sha256()
    const blocks: Uint8Array[] = []
    for (let done = 0; done < size; done += limits.blockBytes) {
        if (io.signal?.aborted) throw new Fault('refused', 'cannot finish decrypting: it was stopped')
        const piece = reader.stored(done, Math.min(limits.blockBytes, size - done))
        whole.update(piece)
        blocks.push(sha256(piece))
        file.writeAt(piece, dataAt + done)
        io.progress({ done: done + piece.length, total: size, unit: 'bytes', text: 'decrypting' })
        await Bun.sleep(0)
    }
    file.writeAt(new Uint8Array(roundUp(size) - size), dataAt + size)
    at = dataAt + roundUp(size)
    const lines = blockLines(blocks)
    await member(memberNames.blocks, lines)
    file.writeAt(new Uint8Array(2 * BLOCK), at)

    const digest = Buffer.from(whole.digest()).toString('hex')
    const rooms = [{ at: manifestAt, size: limits.manifestBytes }]
    if (key !== undefined) rooms.push({ at: signatureAt, size: BLOCK })
    const bytes = writeManifest({
        ...manifest,
        encryption: { kind: 'none', recipients: [] },
        data: {
            member: dataMember,
            size,
            sha256: digest,
            blocksSha256: Buffer.from(sha256(lines)).toString('hex'),
        },
        envelope: envelopeOf(file, rooms, { at: dataAt, size }),
        decryptedFrom: { sha256: manifest.data.sha256 },
    })
    file.writeAt(bytes, manifestAt)
    if (key !== undefined) {
        const signature = Buffer.alloc(BLOCK, 0x0a)
        signature.write(sign(bytes, key))
        file.writeAt(signature, signatureAt)
    }
    return { output, size: at + 2 * BLOCK, sha256: digest }
}
