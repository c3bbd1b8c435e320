/** The operation `archive.extract`: chosen files and trees into a directory, with all they had on the host. */
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { IndexEntry } from '../format/index.ts'
import type { ReadEntry } from '../format/tar-read.ts'
import type { ByteString } from '../format/tar-write.ts'
import { showPath, toByteString } from '../host/tree.ts'
import { Unpacker } from '../host/unpack.ts'
import { ContentDigest } from '../archive/digest.ts'
import { databasePath, onlyInDatabase, unpackEtcPve } from './etc-pve.ts'
import { selector } from './files.ts'
import type { OperationIo } from '../engine/operation.ts'
import { type Contents, openContents } from './contents.ts'
import type { Identity } from '../archive/unlock.ts'

export interface ExtractParams {
    path: string
    identities?: Identity
    /** Absolute path of the directory. */
    output: string
    /** Paths of the host; a directory stands for everything below it. Empty: everything, or the whole category. */
    paths: string[]
    category?: string
}

export async function archiveExtract(params: ExtractParams, io: OperationIo): Promise<Json> {
    const opened = await openContents(params.path, params.identities, io)
    try {
        const { entries } = opened.reader.index(true)
        const live = entries.filter(entry => entry.superseded !== true)
        const inCategory = selector(params.category)
        const wanted = params.paths.map(path => toByteString(path).replace(/^\/+|\/+$/g, ''))
        const fromDatabase = params.category === undefined ? onlyInDatabase(live, wanted) : []
        const others = wanted.filter(path => !fromDatabase.includes(path))
        const chosen = wanted.length > 0 && others.length === 0 ? [] : choose(live.filter(inCategory), others)
        const parents = parentsOf(chosen, live)
        const unpacker = new Unpacker(params.output)
        try {
            const database = live.find(({ path }) => path === databasePath)
            const taken =
                database === undefined || fromDatabase.length === 0
                    ? { paths: [], bytes: 0 }
                    : await unpackEtcPve(opened, database, fromDatabase, unpacker)
            for (const path of taken.paths) await io.item({ path: `/${showPath(path)}` })
            const { entries, bytes } = await unpack(chosen, parents, live, unpacker, opened, io)
            return { entries: entries + taken.paths.length, bytes: bytes + taken.bytes, skipped: [] }
        } catch (error) {
            unpacker.abandon()
            throw error
        } finally {
            unpacker.close()
        }
    } finally {
        opened.close()
    }
}

function choose(entries: IndexEntry[], wanted: ByteString[]): IndexEntry[] {
    if (wanted.length === 0) return entries
    const found = new Set<ByteString>()
    const chosen = entries.filter(({ path }) => {
        const match = wanted.find(root => root === '' || path === root || path.startsWith(`${root}/`))
        if (match !== undefined) found.add(match)
        return match !== undefined
    })
    const missing = wanted.find(path => !found.has(path))
    if (missing !== undefined)
        throw new Fault('usage', `cannot extract /${showPath(missing)}: it is not in the backup`, {
            hint: 'see what is: proxsavectl show BACKUP --files',
        })
    return chosen
}

/** The directories above what was chosen: they come along, so that they have their own owner and mode and not ours. */
function parentsOf(chosen: IndexEntry[], all: IndexEntry[]): IndexEntry[] {
    const wanted = new Set<ByteString>()
    for (const { path } of chosen)
        for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
            const parent = path.slice(0, end)
            if (wanted.has(parent)) break
            wanted.add(parent)
        }
    for (const { path } of chosen) wanted.delete(path)
    return all.filter(({ path, type }) => type === 'directory' && wanted.has(path))
}

/** Unpacks entries; the name of a hard link whose first name was not chosen gets the content itself. */
async function unpack(
    chosen: IndexEntry[],
    parents: IndexEntry[],
    all: IndexEntry[],
    unpacker: Unpacker,
    { reader, digests }: Contents,
    io: OperationIo,
): Promise<{ entries: number; bytes: number }> {
    const byPath = new Map(all.map(entry => [entry.path, entry]))
    /** Where the content of an entry goes: its own path, and names that link to it. */
    const places = new Map<IndexEntry, ByteString[]>()
    for (const entry of chosen) if (entry.type !== 'hardlink') places.set(entry, [entry.path])
    for (const entry of chosen) {
        if (entry.type !== 'hardlink') continue
        const first = byPath.get(entry.link ?? '')
        if (first === undefined || first.type !== 'file')
            throw new Fault(
                'damaged',
                `cannot extract /${showPath(entry.path)}: what it links to is not in the backup`,
            )
        const names = places.get(first)
        if (names === undefined) places.set(first, [entry.path])
        else names.push(entry.path)
    }
    const links: { path: ByteString; target: ByteString }[] = []
    let done = 0
    let bytes = 0
    const total = chosen.reduce((sum, entry) => sum + entry.size, 0)
    const silent = new Set(parents)
    for (const entry of parents) places.set(entry, [entry.path])
    await reader.visit([...places.keys()], entry => {
        const [first, ...others] = places.get(entry)!
        for (const path of others) links.push({ path, target: first! })
        if (io.signal?.aborted) throw new Fault('refused', 'cannot finish the extraction: it was stopped')
        // The whole of a foreign archive was compared with its digest; single entries have none.
        const digest = digests ? new ContentDigest(entry) : undefined
        return {
            entry(read: ReadEntry) {
                unpacker.begin(read, first)
                digest?.begin(read)
            },
            data(piece) {
                digest?.update(piece)
                unpacker.data(piece)
                bytes += piece.length
            },
            end() {
                digest?.check()
                unpacker.end()
                if (!silent.has(entry)) done += 1 + others.length
                io.progress({ done: bytes, total, unit: 'bytes', text: 'unpacking' })
            },
        }
    })
    for (const { path, target } of links) unpacker.link(path, target)
    unpacker.finish()
    for (const names of places.values())
        for (const path of names) await io.item({ path: `/${showPath(path)}` })
    return { entries: done, bytes }
}
