/** An archive of proxsave as a restore sees it: `SavedArchive` over `ArchiveReader`. */
import { memberOf } from '../catalog/match.ts'
import { categoryById } from '../catalog/index.ts'
import { Fault } from '../core/errors.ts'
import type { IndexEntry } from '../format/index.ts'
import type { Manifest } from '../format/manifest.ts'
import type { TarVisitor } from '../format/tar-read.ts'
import { ContentDigest } from './digest.ts'
import type { ArchiveReader } from './reader.ts'
import type { SavedArchive, SavedEntry, SavedSummary } from './saved.ts'
import { type Identity, unlock } from './unlock.ts'

export class OwnArchive implements SavedArchive {
    readonly summary: SavedSummary
    readonly manifest: Manifest
    readonly #reader: ArchiveReader
    readonly #close: () => void
    #entries: SavedEntry[] | undefined
    /** What the index says of an entry that was handed out. */
    readonly #known = new Map<SavedEntry, IndexEntry>()

    private constructor(path: string, manifest: Manifest, reader: ArchiveReader, close: () => void) {
        this.manifest = manifest
        this.summary = summaryOf(manifest, path)
        this.#reader = reader
        this.#close = close
    }

    /** Opens with what a person gave; throws the faults of `unlock`. */
    static async open(path: string, identity: Identity | undefined): Promise<OwnArchive> {
        const opened = await unlock(path, identity)
        return new OwnArchive(path, opened.archive.head.manifest, opened.reader, () => opened.close())
    }

    entries(): Promise<SavedEntry[]> {
        if (this.#entries === undefined) {
            const { entries, frames } = this.#reader.index(true)
            const end = frames.reduce((sum, { plain }) => sum + plain, 0)
            const handed = entries.flatMap((entry, i) => {
                if (entry.superseded === true) return []
                // With its header, and what was written again behind it: a little too much does no harm.
                const stored = (entries[i + 1]?.at ?? end) - entry.at
                return [this.#hand(entry, entry.holes === true ? Math.min(entry.size, stored) : undefined)]
            })
            this.#entries = parentsFirst(handed)
        }
        return Promise.resolve(this.#entries)
    }

    /** Content is compared with its digest while it passes by: what does not fit throws `damaged` at its end. */
    async visit(wanted: SavedEntry[], visitor: (entry: SavedEntry) => TarVisitor): Promise<void> {
        const byIndex = new Map<IndexEntry, SavedEntry>()
        for (const entry of wanted) {
            const known = this.#known.get(entry)
            if (known === undefined)
                throw new Fault('failed', `cannot read /${entry.path}: it is not an entry of this archive`)
            byIndex.set(known, entry)
        }
        await this.#reader.visit([...byIndex.keys()], known => {
            const inner = visitor(byIndex.get(known)!)
            const digest = new ContentDigest(known)
            return {
                entry(read) {
                    digest.begin(read)
                    inner.entry(read)
                },
                data(piece) {
                    digest.update(piece)
                    inner.data(piece)
                },
                end() {
                    digest.check()
                    inner.end()
                },
            }
        })
    }

    close(): void {
        this.#close()
    }

    #hand(known: IndexEntry, stored: number | undefined): SavedEntry {
        const { path, type, category, mode, uid, gid, size, mtimeNs, link, sha256, holes, xattrs } = known
        const entry: SavedEntry = {
            path,
            type,
            category,
            mode,
            uid,
            gid,
            size,
            mtimeNs,
            link,
            sha256,
            holes,
            xattrs,
            stored,
        }
        this.#known.set(entry, known)
        return entry
    }
}

export function summaryOf(manifest: Manifest, path: string): SavedSummary {
    const { id, created, host, product, cluster, encryption } = manifest
    return {
        maker: 'proxsave',
        id,
        path,
        created,
        host: { id: host.id, name: host.name, fqdn: host.fqdn },
        product: { kind: product.kind, pve: product.pve, pbs: product.pbs, debian: product.debian },
        cluster,
        encrypted: encryption.kind === 'age' && manifest.decryptedFrom === undefined,
    }
}

/** Archives walk category by category; a directory may stand behind what lies in it. Stable otherwise. */
function parentsFirst(entries: SavedEntry[]): SavedEntry[] {
    const depth = (path: string) => path.split('/').length
    const directories = entries.filter(({ type }) => type === 'directory')
    const others = entries.filter(({ type }) => type !== 'directory')
    return [...directories.sort((a, b) => depth(a.path) - depth(b.path)), ...others]
}

/** What choosing categories chooses of an archive: each entry once, under the first category that wants it. */
export function entriesOf(entries: readonly SavedEntry[], ids: readonly string[]): Map<string, SavedEntry[]> {
    const found = new Map<string, SavedEntry[]>(ids.map(id => [id, []]))
    const members = ids.flatMap(id => {
        const category = categoryById(id)
        return category === undefined ? [] : [{ id, member: memberOf(category) }]
    })
    for (const entry of entries) {
        // The owner comes first: a chosen wider category must not change how the finer one is put back.
        if (found.has(entry.category)) {
            found.get(entry.category)!.push(entry)
            continue
        }
        const taker = members.find(({ member }) => member(`/${entry.path}`, entry.category))
        if (taker !== undefined) found.get(taker.id)!.push(entry)
    }
    return found
}
