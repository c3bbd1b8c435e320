/** The operations on an archive of the Go ProxSave: its contents, its check, and its decrypted copy. */
import { BLOCK, memberHeader, roundUp } from '../archive/bundle.ts'
import { HoleDigest } from '../archive/digest.ts'
import type { SavedEntry } from '../archive/saved.ts'
import { checkUpstream, openUpstream, type UpstreamArchive } from '../archive/upstream.ts'
import type { UpstreamHead } from '../archive/upstream-head.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { OperationIo } from '../engine/operation.ts'
import type { IndexEntry } from '../format/index.ts'
import type { ReadEntry, TarVisitor } from '../format/tar-read.ts'
import { syncDirectory } from '../host/atomic.ts'
import { DataFile, discardFile } from '../host/data-file.ts'
import * as libc from '../host/libc.ts'
import { Sha256 } from '../host/libcrypto.ts'
import type { Contents } from './contents.ts'
import type { Identity } from '../archive/unlock.ts'

const watched = (io: OperationIo, text: string) => ({
    signal: io.signal,
    progress: (done: number, total: number) => io.progress({ done, total, unit: 'bytes', text }),
})

export async function upstreamContents(
    path: string,
    identity: Identity | undefined,
    io: OperationIo,
    hash: boolean,
): Promise<Contents> {
    const archive = await openUpstream(path, identity, watched(io, 'checking the stored bytes'))
    try {
        const saved = await archive.entries()
        const digests = hash ? await hashAll(archive, saved, io) : new Map<SavedEntry, Uint8Array>()
        const bySaved = new Map<SavedEntry, IndexEntry>()
        const byIndex = new Map<IndexEntry, SavedEntry>()
        for (const [at, entry] of saved.entries()) {
            const known: IndexEntry = { ...entry, at, sha256: digests.get(entry) }
            bySaved.set(entry, known)
            byIndex.set(known, entry)
        }
        const entries = [...byIndex.keys()]
        const ids = new Set(entries.map(({ category }) => category))
        return {
            archive: { head: { manifest: { categories: [...ids].map(id => ({ id })) } } },
            reader: {
                index: () => ({ entries }),
                visit: (wanted, visitor) =>
                    archive.visit(
                        wanted.map(entry => byIndex.get(entry)!),
                        entry => visitor(bySaved.get(entry)!),
                    ),
            },
            digests: false,
            close: () => archive.close(),
        }
    } catch (error) {
        archive.close()
        throw error
    }
}

async function hashAll(
    archive: UpstreamArchive,
    entries: SavedEntry[],
    io: OperationIo,
): Promise<Map<SavedEntry, Uint8Array>> {
    const digests = new Map<SavedEntry, Uint8Array>()
    const files = entries.filter(({ type }) => type === 'file')
    const total = files.reduce((sum, { size }) => sum + size, 0)
    let bytes = 0
    await archive.visit(files, entry => {
        const hash = entry.holes === true ? new Holes(entry.size) : new Plain()
        return {
            entry: read => hash.begin(read),
            data(piece) {
                hash.update(piece)
                bytes += piece.length
            },
            end() {
                digests.set(entry, hash.digest())
                io.progress({ done: bytes, total, unit: 'bytes', text: 'reading every entry' })
            },
        }
    })
    return digests
}

class Plain {
    readonly #sha = new Sha256()
    begin(_read: ReadEntry): void {}
    update(piece: Uint8Array): void {
        this.#sha.update(piece)
    }
    digest(): Uint8Array {
        return this.#sha.digest()
    }
}

class Holes {
    readonly #digest = new HoleDigest()
    #extents: { offset: number; length: number }[] = []
    constructor(readonly size: number) {}
    begin(read: ReadEntry): void {
        this.#extents = (read.sparse ?? []).map(extent => ({ ...extent }))
    }
    update(piece: Uint8Array): void {
        for (let at = 0; at < piece.length; ) {
            const extent = this.#extents[0]!
            const length = Math.min(extent.length, piece.length - at)
            this.#digest.update(extent.offset, piece.subarray(at, at + length))
            at += length
            extent.offset += length
            extent.length -= length
            if (extent.length === 0) this.#extents.shift()
        }
    }
    digest(): Uint8Array {
        return this.#digest.digest(this.size)
    }
}

/** The check of its digest; with `deep`, every entry is read and handed to what looks at it. */
export async function verifyUpstream(
    params: {
        path: string
        deep: boolean
        identities?: Identity
        look: (entry: IndexEntry) => TarVisitor
    },
    io: OperationIo,
): Promise<UpstreamHead> {
    const { path, deep, identities, look } = params
    if (!deep) return await checkUpstream(path, watched(io, 'checking the stored bytes'))
    const archive = await openUpstream(path, identities, watched(io, 'checking the stored bytes'))
    try {
        await archive.visit(await archive.entries(), entry => look({ ...entry, at: 0 }))
        return archive.head
    } finally {
        archive.close()
    }
}

/** A decrypted bundle with the tool's own members, so that it reads it too: metadata, digest, archive. */
export async function decryptUpstream(
    params: { path: string; identities?: Identity; output: string },
    io: OperationIo,
): Promise<Json> {
    const { path, identities, output } = params
    const archive = await openUpstream(path, identities, watched(io, 'checking the stored bytes'))
    try {
        if (!archive.summary.encrypted)
            throw new Fault('usage', `cannot decrypt ${path}: it is not encrypted`)
        if (!output.endsWith('.bundle.tar'))
            throw new Fault(
                'usage',
                `cannot decrypt to ${output}: a bundle of the Go ProxSave ends in .bundle.tar`,
                {
                    hint: `for example ${suggestedName(archive.head)}`,
                },
            )
        let file: DataFile
        try {
            file = DataFile.create(output)
        } catch (error) {
            const exists = libc.codeOf(error) === 'EEXIST'
            throw new Fault(
                'usage',
                `cannot write ${output}: ${exists ? 'it exists already' : libc.codeOf(error)}`,
                {
                    hint: exists ? 'choose another name; nothing is ever replaced' : undefined,
                    cause: error,
                },
            )
        }
        try {
            const result = await writeBundle(archive, file, io)
            file.sync()
            syncDirectory(output.slice(0, output.lastIndexOf('/')) || '/')
            return { output, ...result }
        } catch (error) {
            discardFile(output)
            if (libc.codeOf(error) === 'ENOSPC')
                throw new Fault('failed', `cannot write ${output}: no space left`, { cause: error })
            throw error
        } finally {
            file.close()
        }
    } finally {
        archive.close()
    }
}

const plainName = (head: UpstreamHead) => head.data.name.replace(/\.age$/, '')
const suggestedName = (head: UpstreamHead) => `${plainName(head)}.decrypted.bundle.tar`

async function writeBundle(
    archive: UpstreamArchive,
    file: DataFile,
    io: OperationIo,
): Promise<{ size: number; sha256: string }> {
    const { head, storedSize } = archive
    const name = plainName(head)
    const time = new Date(archive.summary.created)
    const texts = (sha256: string) => [
        { name: `${name}.metadata`, text: Buffer.from(manifestText(head, storedSize, sha256)) },
        { name: `${name}.sha256`, text: Buffer.from(`${sha256}  ${name}\n`) },
    ]
    // Their lengths are known before the digest is: they are written last, into the room that they need.
    let at = 0
    for (const { text } of texts('0'.repeat(64))) at += BLOCK + roundUp(text.length)
    file.writeAt(await memberHeader(name, storedSize, time), at)
    at += BLOCK
    const sha = new Sha256()
    let done = 0
    for (const piece of archive.stored()) {
        if (io.signal?.aborted) throw new Fault('refused', 'cannot finish decrypting: it was stopped')
        sha.update(piece)
        file.writeAt(piece, at + done)
        done += piece.length
        io.progress({ done, total: storedSize, unit: 'bytes', text: 'decrypting' })
        await Bun.sleep(0)
    }
    const end = at + roundUp(storedSize)
    file.writeAt(new Uint8Array(end - at - done + 2 * BLOCK), at + done)
    const sha256 = Buffer.from(sha.digest()).toString('hex')
    at = 0
    for (const { name: member, text } of texts(sha256)) {
        file.writeAt(await memberHeader(member, text.length, time), at)
        file.writeAt(text, at + BLOCK)
        file.writeAt(new Uint8Array(roundUp(text.length) - text.length), at + BLOCK + text.length)
        at += BLOCK + roundUp(text.length)
    }
    return { size: end + 2 * BLOCK, sha256 }
}

/** The manifest with what decrypting changes; of the older kind, what of it has a place in the newer one. */
function manifestText(head: UpstreamHead, size: number, sha256: string): string {
    const { manifest, manifestBytes, summary } = head
    const old = Buffer.from(manifestBytes ?? '{}').toString('utf8')
    const fields = old.trimStart().startsWith('{')
        ? (JSON.parse(old) as Record<string, unknown>)
        : {
              created_at: summary.created,
              hostname: summary.host.fqdn ?? summary.host.name,
              proxmox_type: summary.product.kind === 'both' ? 'dual' : summary.product.kind,
              proxmox_targets: manifest?.products,
              script_version: manifest?.tool,
          }
    const { passphrase_salt: _salt, ...kept } = fields as { passphrase_salt?: unknown }
    return JSON.stringify(
        { ...kept, archive_path: plainName(head), archive_size: size, sha256, encryption_mode: 'none' },
        null,
        2,
    )
}
