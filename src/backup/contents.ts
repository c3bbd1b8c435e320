/** What an operation reads of an archive, whoever made it: entries and their content, as `ArchiveReader` gives them. */
import { isUpstream } from '../archive/upstream-head.ts'
import type { OperationIo } from '../engine/operation.ts'
import type { Index, IndexEntry } from '../format/index.ts'
import type { TarVisitor } from '../format/tar-read.ts'
import { type Identity, unlock } from '../archive/unlock.ts'

export interface Contents {
    archive: { head: { manifest: { categories: { id: string }[] } } }
    reader: {
        /** Entries of the Go tool's archives have no digest unless it was asked for, and then `sha256` is computed. */
        index(withDigests?: boolean): Pick<Index, 'entries'>
        visit(wanted: IndexEntry[], visitor: (entry: IndexEntry) => TarVisitor): Promise<void>
    }
    /** The entries carry digests that were made together with the backup. */
    digests: boolean
    close(): void
}

/** `hash`: the digests of a foreign archive are wanted, which costs one more pass through it. */
export async function openContents(
    path: string,
    identity: Identity | undefined,
    io: OperationIo,
    hash = false,
): Promise<Contents> {
    if (!isUpstream(path)) {
        const { archive, reader, close } = await unlock(path, identity)
        return { archive, reader, digests: true, close }
    }
    const { upstreamContents } = await import('./upstream.ts')
    return await upstreamContents(path, identity, io, hash)
}
