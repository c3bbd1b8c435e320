/** The operation `archive.stage`: exactly the chosen entries into a private directory, for a restore to take them from. */
import type { SavedArchive, SavedEntry } from '../archive/saved.ts'
import type { Identity } from '../archive/unlock.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { ByteString } from '../format/tar-write.ts'
import { showPath } from '../host/tree.ts'
import { Unpacker } from '../host/unpack.ts'
import type { OperationIo } from '../engine/operation.ts'
import { openSaved } from './open.ts'

export interface UnpackParams {
    path: string
    identities?: Identity
    /** Absolute path of the directory; made, 0700. */
    output: string
    /** Paths in the archive, one character a byte, without a leading slash. Directories above them come along. */
    entries: ByteString[]
}

export async function archiveStage(
    params: UnpackParams,
    io: OperationIo,
    open: (path: string, identity: Identity | undefined) => Promise<SavedArchive> = openSaved,
): Promise<Json> {
    const archive = await open(params.path, params.identities)
    try {
        const unpacker = new Unpacker(params.output)
        try {
            return await stage(archive, params.entries, unpacker, io)
        } catch (error) {
            unpacker.abandon()
            throw error
        } finally {
            unpacker.close()
        }
    } finally {
        archive.close()
    }
}

async function stage(
    archive: SavedArchive,
    wanted: readonly ByteString[],
    unpacker: Unpacker,
    io: OperationIo,
): Promise<Json> {
    const byPath = new Map((await archive.entries()).map(entry => [entry.path, entry]))
    /** Where the content of an entry goes: its own path, and names that link to it. */
    const places = new Map<SavedEntry, ByteString[]>()
    const chosen = wanted.map(path => found(byPath, path))
    for (const entry of chosen) if (entry.type !== 'hardlink') places.set(entry, [entry.path])
    for (const entry of chosen) {
        if (entry.type !== 'hardlink') continue
        const first = found(byPath, entry.link ?? '')
        const names = places.get(first)
        if (first.type !== 'file') throw missing(entry.path)
        if (names === undefined) places.set(first, [entry.path])
        else names.push(entry.path)
    }
    for (const { path } of chosen)
        for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
            const parent = byPath.get(path.slice(0, end))
            if (parent?.type === 'directory' && !places.has(parent)) places.set(parent, [parent.path])
        }

    const links: { path: ByteString; target: ByteString }[] = []
    const total = chosen.reduce((sum, entry) => sum + entry.size, 0)
    let bytes = 0
    await archive.visit([...places.keys()], entry => {
        const [first, ...others] = places.get(entry)!
        for (const path of others) links.push({ path, target: first! })
        if (io.signal?.aborted) throw new Fault('refused', 'cannot unpack the backup: it was stopped')
        return {
            entry: read => unpacker.begin(read, first),
            data(piece) {
                unpacker.data(piece)
                bytes += piece.length
            },
            end() {
                unpacker.end()
                io.progress({ done: bytes, total, unit: 'bytes', text: 'unpacking' })
            },
        }
    })
    for (const { path, target } of links) unpacker.link(path, target)
    unpacker.finish()
    return { entries: chosen.length, bytes }
}

function found(byPath: Map<ByteString, SavedEntry>, path: ByteString): SavedEntry {
    const entry = byPath.get(path)
    if (entry === undefined) throw missing(path)
    return entry
}

const missing = (path: ByteString): Fault =>
    new Fault('damaged', `cannot unpack /${showPath(path)}: it is not in the backup`)
