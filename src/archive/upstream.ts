/** An archive of the Go ProxSave as a restore sees it: checked against its digest, opened, its deduplicated files whole again. */
import { buildMatcher } from '../catalog/match.ts'
import { categories as catalogue } from '../catalog/index.ts'
import { captured } from '../catalog/categories/captured.ts'
import { included } from '../catalog/categories/included.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import {
    type AgeIdentity,
    AgeReader,
    mostHeaderBytes,
    openHeader,
    openProtectedIdentity,
    parseIdentities,
    readHeader,
} from '../format/age.ts'
import { type ReadEntry, TarParser, type TarVisitor } from '../format/tar-read.ts'
import type { ByteString } from '../format/tar-write.ts'
import { type DedupEntry, readDedupManifest } from '../format/upstream-manifest.ts'
import { passphraseIdentities } from '../format/upstream-passphrase.ts'
import type { DataFile } from '../host/data-file.ts'
import { decompress, detectCompression } from '../host/decompress.ts'
import { openAead, Sha256 } from '../host/libcrypto.ts'
import { showPath } from '../host/tree.ts'
import { checkPath } from '../host/unpack.ts'
import type { SavedArchive, SavedEntry, SavedSummary } from './saved.ts'
import type { Identity } from './unlock.ts'
import { headOf, openFile, type UpstreamHead } from './upstream-head.ts'

export interface OpenOptions {
    progress?: (done: number, total: number) => void
    signal?: AbortSignal
}

/** Opens an archive or bundle of the Go tool, after its stored bytes were compared with its digest. */
export async function openUpstream(
    path: string,
    identity: Identity | undefined,
    options: OpenOptions = {},
): Promise<UpstreamArchive> {
    const file = openFile(path)
    try {
        const head = await headOf(file, path)
        await verifyUpstream(file, head, options)
        return new UpstreamArchive(file, head, await cipherOf(file, head, identity), options)
    } catch (error) {
        file.close()
        throw error
    }
}

/** Compares the stored bytes with the digests; needs no key. One must be there, and all must agree. */
export async function checkUpstream(path: string, options: OpenOptions = {}): Promise<UpstreamHead> {
    const file = openFile(path)
    try {
        const head = await headOf(file, path)
        await verifyUpstream(file, head, options)
        return head
    } finally {
        file.close()
    }
}

async function verifyUpstream(file: DataFile, head: UpstreamHead, options: OpenOptions): Promise<void> {
    const { digests, data, manifest, summary } = head
    const distrust = (why: string, hint = 'use another backup, or another copy of this one') =>
        new Fault('damaged', `cannot trust ${summary.path}: ${why}`, { hint })
    const wanted = digests.manifest ?? digests.file
    if (wanted === undefined)
        throw distrust(
            'nothing beside it tells its SHA-256',
            'put its .sha256 or .manifest.json file beside it, or use the bundle',
        )
    if (digests.file !== undefined && digests.file !== wanted)
        throw distrust('its manifest and its .sha256 file name different digests')
    if (manifest?.size !== undefined && manifest.size !== data.size)
        throw distrust(`it has ${data.size} bytes, its manifest says ${manifest.size}`)
    const sha = new Sha256()
    for (const piece of storedPieces(file, head)) {
        if (options.signal?.aborted) throw new Fault('refused', 'cannot finish the check: it was stopped')
        sha.update(piece.bytes)
        options.progress?.(piece.end, data.size)
        await Bun.sleep(0)
    }
    if (Buffer.from(sha.digest()).toString('hex') !== wanted)
        throw distrust('its bytes are not those of its SHA-256')
}

function* storedPieces(file: DataFile, head: UpstreamHead): Generator<{ bytes: Uint8Array; end: number }> {
    const { at, size } = head.data
    const buffer = new Uint8Array(limits.writeBytes)
    for (let done = 0; done < size; ) {
        const bytes = buffer.subarray(0, Math.min(buffer.length, size - done))
        if (file.readInto(bytes, at + done) < bytes.length)
            throw new Fault('damaged', `cannot read ${head.summary.path}: it is cut`)
        done += bytes.length
        yield { bytes, end: done }
    }
}

async function cipherOf(
    file: DataFile,
    head: UpstreamHead,
    identity: Identity | undefined,
): Promise<AgeReader | undefined> {
    const { data, summary } = head
    if (!summary.encrypted) return undefined
    const beginning = file.read(data.at, Math.min(mostHeaderBytes, data.size))
    const { headerLength } = readHeader(beginning)
    const fileKey = await openHeader(beginning, await identitiesFor(head, identity), summary.path).catch(
        error => {
            if (!(error instanceof Fault) || !error.message.includes('none of the identities')) throw error
            const byPassphrase = identity !== undefined && 'passphrase' in identity
            throw new Fault(
                'damaged',
                byPassphrase
                    ? `cannot open ${summary.path}: wrong passphrase`
                    : `cannot open ${summary.path}: the identity does not fit`,
                {
                    hint: 'give its passphrase, or with --identity FILE the private identity it was encrypted for',
                    facts: { need: 'passphrase' },
                    cause: error,
                },
            )
        },
    )
    const source = {
        size: data.size,
        readAt: (offset: number, length: number) =>
            file.read(data.at + offset, Math.max(0, Math.min(length, data.size - offset))),
    }
    return new AgeReader(source, { headerLength, fileKey, openAead, name: summary.path })
}

async function identitiesFor(head: UpstreamHead, identity: Identity | undefined): Promise<AgeIdentity[]> {
    if (identity === undefined)
        throw new Fault(
            'damaged',
            `cannot open ${head.summary.path}: it needs its passphrase or its identity`,
            {
                hint: 'run this at a terminal to be asked for the passphrase, or give an identity with --identity FILE',
                facts: { need: 'passphrase' },
            },
        )
    if ('texts' in identity) return identity.texts.flatMap(text => parseIdentities(text))
    // The identity file of a person, protected by the passphrase: age's own way.
    if (identity.file !== undefined)
        return parseIdentities(
            await openProtectedIdentity(Buffer.from(identity.file, 'base64'), identity.passphrase),
        )
    return await passphraseIdentities(identity.passphrase, head.manifest?.salt)
}

const DEDUP = 'var/lib/proxsave-info/dedup_manifest.json'
/** What the tool notes about its own work; nothing of it was on the host. */
const ownNotes = new Set(['manifest.json', '.proxsave-marker', DEDUP])
const INFO = 'var/lib/proxsave-info'
const CLUSTER = 'var/lib/pve-cluster/'

/** A header of the tar stream. */
type Stored = Omit<ReadEntry, 'sparse'> & { holes: boolean }

export class UpstreamArchive implements SavedArchive {
    readonly summary: SavedSummary
    readonly head: UpstreamHead
    readonly #file: DataFile
    readonly #cipher: AgeReader | undefined
    readonly #options: OpenOptions
    #entries: SavedEntry[] | undefined
    /** Where the content of an entry that was handed out lies. */
    readonly #source = new Map<SavedEntry, Stored>()

    constructor(file: DataFile, head: UpstreamHead, cipher: AgeReader | undefined, options: OpenOptions) {
        this.#file = file
        this.head = head
        this.summary = head.summary
        this.#cipher = cipher
        this.#options = options
    }

    close(): void {
        this.#cipher?.close()
        this.#file.close()
    }

    /** Bytes of the compressed stream. */
    get storedSize(): number {
        return this.#cipher?.plainSize ?? this.head.data.size
    }

    /** The compressed stream, in views that are used again. */
    *stored(): Generator<Uint8Array> {
        if (this.#cipher !== undefined) yield* this.#cipher.stream()
        else for (const { bytes } of storedPieces(this.#file, this.head)) yield bytes
    }

    /** Reads all of the archive once, from its first byte to the end marker of its tar stream. */
    async entries(): Promise<SavedEntry[]> {
        if (this.#entries !== undefined) return this.#entries
        const found = new Map<ByteString, Stored>()
        let list: Buffer[] | undefined
        const lists: Buffer[] = []
        await this.#scan({
            entry: read => {
                list = undefined
                const entry = this.#plain(read)
                if (entry === undefined) return
                // The later one of two is what unpacking would leave.
                found.delete(entry.path)
                found.set(entry.path, entry)
                if (found.size > limits.indexEntries) throw this.#damaged('it has too many entries')
                if (entry.path !== DEDUP || entry.type !== 'file') return
                if (entry.size > limits.foreignListBytes)
                    throw this.#damaged('its list of deduplicated files is too large')
                lists.length = 0
                list = lists
            },
            data: piece => void list?.push(Buffer.from(piece)),
            end() {},
        })
        const dedup = lists.length === 0 ? new Map() : readDedupManifest(Buffer.concat(lists))
        this.#entries = this.#saved(found, dedup)
        return this.#entries
    }

    async visit(wanted: SavedEntry[], visitor: (entry: SavedEntry) => TarVisitor): Promise<void> {
        const waiting = new Map<number, SavedEntry[]>()
        for (const entry of new Set(wanted)) {
            const source = this.#source.get(entry)
            if (source === undefined)
                throw new Fault(
                    'failed',
                    `cannot read /${showPath(entry.path)}: it is not an entry of this archive`,
                )
            const others = waiting.get(source.at)
            if (others === undefined) waiting.set(source.at, [entry])
            else others.push(entry)
        }
        // Copies of small files are handed out from memory; each copy of a large one needs its own pass.
        for (let pass = 0; waiting.size > 0; pass++) {
            if (pass >= limits.repeatedPasses)
                throw new Fault(
                    'failed',
                    `cannot read ${this.summary.path}: a large file is in it too many times`,
                )
            await this.#visitOnce(waiting, visitor)
        }
    }

    async #visitOnce(
        waiting: Map<number, SavedEntry[]>,
        visitor: (entry: SavedEntry) => TarVisitor,
    ): Promise<void> {
        const due = new Set(waiting.keys())
        let current: { read: ReadEntry; to: TarVisitor; copies: SavedEntry[]; kept?: Buffer[] } | undefined
        await this.#scan(
            {
                entry: read => {
                    current = undefined
                    const entries = due.has(read.at) ? waiting.get(read.at) : undefined
                    if (entries === undefined) return
                    due.delete(read.at)
                    const [first, ...copies] = entries as [SavedEntry, ...SavedEntry[]]
                    this.#checkSame(first, read)
                    const small = read.stored <= limits.repeatedBytes
                    if (copies.length === 0 || small) waiting.delete(read.at)
                    else waiting.set(read.at, copies)
                    const kept = copies.length > 0 && small ? [] : undefined
                    current = { read, to: visitor(first), copies: small ? copies : [], kept }
                    current.to.entry(asRead(first, read))
                },
                data(piece) {
                    current?.kept?.push(Buffer.from(piece))
                    current?.to.data(piece)
                },
                end() {
                    if (current === undefined) return
                    const { to, read, copies, kept = [] } = current
                    current = undefined
                    to.end()
                    for (const copy of copies) {
                        const again = visitor(copy)
                        again.entry(asRead(copy, read))
                        for (const piece of kept) again.data(piece)
                        again.end()
                    }
                },
            },
            () => due.size === 0 && current === undefined,
        )
        if (due.size > 0) throw this.#damaged('it changed while it was read')
    }

    #checkSame(entry: SavedEntry, read: ReadEntry): void {
        const source = this.#source.get(entry)!
        const same =
            source.type === read.type &&
            source.size === read.size &&
            source.holes === (read.sparse !== undefined)
        if (!same) throw this.#damaged('it changed while it was read')
    }

    /** Feeds the tar stream to a visitor; all of it, unless `enough` says so between two pieces. */
    async #scan(visitor: TarVisitor, enough?: () => boolean): Promise<void> {
        const { signal } = this.#options
        const parser = new TarParser(visitor)
        let since = 0
        try {
            for (const piece of this.#plainStream()) {
                parser.push(piece)
                if (enough?.()) return
                since += piece.length
                if (since < limits.writeBytes) continue
                since = 0
                await Bun.sleep(0)
                if (signal?.aborted)
                    throw new Fault('refused', `cannot finish reading ${this.summary.path}: it was stopped`)
            }
            parser.finish()
        } catch (error) {
            if (!(error instanceof Fault) || !error.message.startsWith('cannot read the archive:'))
                throw error
            throw new Fault('damaged', error.message.replace('the archive', this.summary.path), {
                cause: error,
            })
        }
    }

    #plainStream(): Iterable<Uint8Array> {
        const { at } = this.head.data
        const first = Math.min(512, this.storedSize)
        const beginning =
            this.#cipher === undefined ? this.#file.read(at, first) : this.#cipher.read(0, first)
        // The content decides, not the name: the tool falls back to gzip when another program is missing.
        const kind = detectCompression(beginning)
        if (kind === undefined) throw this.#damaged('it is neither a tar nor compressed in a known way')
        return decompress(kind, this.stored(), this.summary.path)
    }

    /** An entry under its path on the host; undefined for the root, and for devices, pipes and sockets. */
    #plain({ sparse, ...read }: ReadEntry): Stored | undefined {
        const path = read.path.replace(/^(?:\.\/+)+/, '')
        if (path === '.' || path === '' || read.type === 'other') return undefined
        this.#checkPath(path)
        if (read.type !== 'hardlink') return { ...read, path, holes: sparse !== undefined }
        const link = (read.link ?? '').replace(/^(?:\.\/+)+/, '')
        this.#checkPath(link)
        return { ...read, path, link, holes: false }
    }

    #checkPath(path: ByteString): void {
        try {
            checkPath(path)
        } catch {
            throw this.#damaged(`an archive must not have a path like ${JSON.stringify(showPath(path))}`)
        }
    }

    #saved(found: Map<ByteString, Stored>, dedup: Map<ByteString, DedupEntry>): SavedEntry[] {
        const matcher = buildMatcher(catalogue)
        const entries: SavedEntry[] = []
        for (const stored of found.values()) {
            this.#checkParents(stored.path, found)
            const { path } = stored
            const isInfo = path === INFO || path.startsWith(`${INFO}/`)
            if (ownNotes.has(path) || matcher.isNever(`/${path}`)) continue
            // Beside the database the tool keeps notes of its own there, which must never come back as files.
            if (path.startsWith(CLUSTER) && path !== `${CLUSTER}config.db`) continue
            const category = isInfo ? captured.id : (matcher.ownerOf(`/${path}`)?.id ?? included.id)
            const { entry, source } = this.#hand(stored, category, found, dedup)
            entries.push(entry)
            this.#source.set(entry, source)
        }
        const depth = ({ path }: SavedEntry) => path.split('/').length
        const directories = entries.filter(({ type }) => type === 'directory')
        return [
            ...directories.sort((a, b) => depth(a) - depth(b)),
            ...entries.filter(({ type }) => type !== 'directory'),
        ]
    }

    #hand(
        stored: Stored,
        category: string,
        found: Map<ByteString, Stored>,
        dedup: Map<ByteString, DedupEntry>,
    ): { entry: SavedEntry; source: Stored } {
        const { path, type, mode, uid, gid, size, mtimeNs, link, holes } = stored
        const listed = type === 'symlink' ? dedup.get(path) : undefined
        if (listed === undefined && type === 'hardlink') {
            const first = found.get(link ?? '')
            // The first name must come before; several names lead to that one.
            if (first?.type !== 'file' || first.at > stored.at)
                throw this.#damaged(`/${showPath(path)} links to what is not in it`)
        }
        if (listed !== undefined) {
            const source = this.#canonical(stored, found, dedup)
            const entry: SavedEntry = {
                path,
                type: 'file',
                category,
                mode: listed.mode,
                uid: listed.uid ?? uid,
                gid: listed.gid ?? gid,
                size: source.size,
                mtimeNs,
                ...(source.holes ? { holes: true } : {}),
            }
            return { entry, source }
        }
        const entry: SavedEntry = {
            path,
            type: type as SavedEntry['type'],
            category,
            mode,
            uid,
            gid,
            size,
            mtimeNs,
        }
        if (type === 'symlink' || type === 'hardlink') entry.link = link
        if (holes) entry.holes = true
        return { entry, source: stored }
    }

    /** The file whose bytes a deduplicated one has: looked up in the archive, never followed on a disk. */
    #canonical(link: Stored, found: Map<ByteString, Stored>, dedup: Map<ByteString, DedupEntry>): Stored {
        const shown = `/${showPath(link.path)}`
        let at: Stored | undefined = link
        for (let steps = 0; steps < 8; steps++) {
            const target = resolveLink(at.path, at.link ?? '')
            if (target === undefined)
                throw this.#damaged(`${shown} is listed as a copy of what lies outside of it`)
            at = found.get(target)
            if (at?.type === 'hardlink') at = found.get(at.link ?? '')
            if (at?.type === 'file') return at
            if (at?.type !== 'symlink' || !dedup.has(at.path))
                throw this.#damaged(`${shown} is listed as a copy of what is no file in it`)
        }
        throw this.#damaged(`${shown} is listed as a copy of itself`)
    }

    #checkParents(path: ByteString, found: Map<ByteString, Stored>): void {
        for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
            const parent = found.get(path.slice(0, end))
            if (parent !== undefined && parent.type !== 'directory')
                throw this.#damaged(`/${showPath(path)} lies below what is no directory`)
        }
    }

    #damaged(why: string): Fault {
        return new Fault('damaged', `cannot read ${this.summary.path}: ${why}`, {
            hint: 'use another backup, or another copy of this one',
        })
    }
}

/** What a visitor is told: the header as it lies in the stream, under what the entry says. */
function asRead(entry: SavedEntry, read: ReadEntry): ReadEntry {
    const { path, type, mode, uid, gid, mtimeNs, link } = entry
    return { ...read, path, type, mode, uid, gid, mtimeNs, link }
}

/** Where a relative link leads inside of the archive; undefined when it leaves. */
function resolveLink(path: ByteString, link: ByteString): ByteString | undefined {
    if (link === '' || link.startsWith('/')) return undefined
    const names = path.split('/').slice(0, -1)
    for (const name of link.split('/')) {
        if (name === '' || name === '.') continue
        if (name !== '..') names.push(name)
        else if (names.pop() === undefined) return undefined
    }
    return names.join('/')
}
