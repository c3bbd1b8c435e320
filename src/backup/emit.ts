/** Feeds collected entries to the archive writer: units in order, from the cache where nothing changed. */
import type { CachedFrame, CachedUnit, FrameCache } from '../archive/frame-cache.ts'
import type { ArchiveWriter } from '../archive/writer.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { IndexEntry } from '../format/index.ts'
import { BLOCK, type ByteString, padding } from '../format/tar-write.ts'
import * as libc from '../host/libc.ts'
import { failure, showPath, type Tree } from '../host/tree.ts'
import { type Collected, type CollectedEntry, missingOf } from '../archive/collect.ts'
import { GroupBuffer, LargeFile, mayBeSparse, type Names, OutgrewError, type Packed, Packer } from './pack.ts'

export interface EmitOptions {
    tree: Tree
    names: Names
    writer: ArchiveWriter
    cache?: FrameCache
    collected: Collected
    /** When this run began, ns since the epoch. */
    beganNs: bigint
    signal?: AbortSignal
    progress(doneBytes: number): void
    warn(text: string): void
}

export interface Emitted {
    entries: IndexEntry[]
    reusedFrames: number
    frames: number
}

/** A group ends where the hash of a path says so, so that one new file does not shift the groups behind it … */
const CUT_MASK = 3
/** … but not before this much tar, and at the latest before it outgrows a frame. */
const CUT_FROM = (limits.frameBytes * 3) / 4

/** Groups above this are written as several frames. */
const MOST_FRAME = limits.frameBytes * 4

export class Emitter {
    readonly #o: EmitOptions
    readonly #packer: Packer
    readonly #entries: IndexEntry[] = []
    readonly #emittedDirectories = new Set<ByteString>()
    /** The path that was written last: what it lies in is still open for tar. */
    #last: ByteString = ''
    readonly #directories = new Map<ByteString, CollectedEntry>()
    /** First packed name of each inode with several names. */
    readonly #firstNames = new Map<string, ByteString>()
    /** Units whose frames reach the cache only when the writer has compressed them. */
    readonly #toKeep: { signature: string; unit: CachedUnit; complete: () => boolean }[] = []
    readonly #spare: GroupBuffer[] = []
    /** Rooms for pieces of large files and for frames out of the cache: they go round. */
    readonly #rooms: Buffer[] = []
    #reused = 0
    #frames = 0
    #bytes = 0

    constructor(options: EmitOptions) {
        this.#o = options
        this.#packer = new Packer(options.tree, options.names)
        for (const list of options.collected.entries.values())
            for (const entry of list) if (entry.type === 'directory') this.#directories.set(entry.path, entry)
    }

    /** All entries of one category, sorted. */
    async category(entries: CollectedEntry[]): Promise<void> {
        let group: CollectedEntry[] = []
        let size = 0
        const flush = async () => {
            if (group.length > 0) await this.#group(group)
            group = []
            size = 0
        }
        for (const entry of this.#withDirectories(entries)) {
            if (this.#o.signal?.aborted)
                throw new Fault('refused', 'cannot finish the backup: it was stopped')
            if (standsAlone(entry)) {
                await flush()
                await this.#large(entry)
                continue
            }
            const stored = entry.type === 'file' ? (entry.content?.length ?? entry.stat.size) : 0
            const room = 3 * BLOCK + stored + padding(stored)
            if (size + room > limits.frameBytes) await flush()
            group.push(entry)
            size += room
            if (size >= CUT_FROM && (Bun.hash.xxHash32(entry.path) & CUT_MASK) === 0) await flush()
        }
        await flush()
    }

    /** Waits for the last frame; then everything is kept for the next run. */
    async finish(): Promise<Emitted> {
        await this.#o.writer.drain()
        for (const { signature, unit, complete } of this.#toKeep)
            if (complete()) this.#o.cache?.keep(signature, unit)
        return { entries: this.#entries, reusedFrames: this.#reused, frames: this.#frames }
    }

    /**
     * Puts each directory before the first thing in it, whichever category that thing belongs to, and once more wherever
     * the archive comes back to it: tar gives a directory its times when it leaves it, and every later thing in it would
     * spoil them.
     */
    *#withDirectories(entries: CollectedEntry[]): Generator<CollectedEntry> {
        for (const entry of entries) {
            const isDirectory = entry.type === 'directory'
            if (isDirectory && this.#emittedDirectories.has(entry.path)) continue
            if (parentOf(entry.path) !== parentOf(this.#last)) yield* this.#directoriesAbove(entry)
            if (isDirectory) this.#emittedDirectories.add(entry.path)
            this.#last = entry.path
            yield entry
        }
    }

    *#directoriesAbove(entry: CollectedEntry): Generator<CollectedEntry> {
        const { path } = entry
        for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1)) {
            const directory = path.slice(0, end)
            const known = this.#directories.get(directory)
            if (known !== undefined && this.#emittedDirectories.has(directory)) {
                if (this.#last === directory || this.#last.startsWith(`${directory}/`)) continue
                this.#last = directory
                yield { ...known, again: true }
                continue
            }
            const first = known ?? this.#leadingDirectory(directory, entry)
            this.#directories.set(directory, first)
            this.#emittedDirectories.add(directory)
            this.#last = directory
            yield first
        }
    }

    /** A directory that no category owns but that something lies in; for captured output the host may have none. */
    #leadingDirectory(path: ByteString, cause: CollectedEntry): CollectedEntry {
        const stat = this.#o.tree.stat(path)
        if (stat !== undefined) return { path, type: 'directory', stat, category: cause.category }
        return {
            path,
            type: 'directory',
            stat: { ...cause.stat, mode: libc.fileType.directory | 0o700, size: 0 },
            category: cause.category,
            content: new Uint8Array(0),
        }
    }

    async #group(entries: CollectedEntry[]): Promise<void> {
        let group = entries
        for (;;) {
            this.#linkNames(group)
            const signature = this.#cacheable(group) ? this.#signature(group) : undefined
            if (signature !== undefined && (await this.#reuseGroup(group, signature))) return
            const left = await this.#packGroup(group, signature)
            if (left === undefined) return
            // Nothing of the group is written yet, so a link to the large file still comes behind it.
            if (left.outgrew) await this.#large(left.entry)
            // Without the entry that could not be read; a later name of its inode may still be readable.
            group = group.filter(entry => entry !== left.entry)
            if (group.length === 0) return
        }
    }

    /** Decides which names of an inode are links to the first one. */
    #linkNames(entries: CollectedEntry[]): void {
        for (const entry of entries) {
            if (entry.stat.nlink < 2 || (entry.type !== 'file' && entry.type !== 'hardlink')) continue
            if (entry.content !== undefined || entry.copy !== undefined) continue
            const inode = `${entry.stat.dev}:${entry.stat.ino}`
            const first = this.#firstNames.get(inode)
            if (first === undefined) this.#firstNames.set(inode, entry.path)
            const isFirst = first === undefined || first === entry.path
            entry.type = isFirst ? 'file' : 'hardlink'
            entry.link = isFirst ? undefined : first
        }
    }

    #cacheable(entries: CollectedEntry[]): boolean {
        if (this.#o.cache === undefined) return false
        // pmxcfs has whole seconds and made-up inodes: its files are always read.
        return entries.every(
            entry =>
                entry.content === undefined && entry.copy === undefined && !entry.path.startsWith('etc/pve/'),
        )
    }

    #signature(entries: CollectedEntry[]): string {
        const lines: string[] = []
        for (const { path, type, stat, link } of entries) {
            // The walk itself makes the access time of a link younger.
            const atimeNs = type === 'symlink' ? '' : stat.atimeNs
            lines.push(
                `${path}\0${type}\0${link ?? ''}\0${stat.mode} ${stat.uid} ${stat.gid} ${this.#o.names.user(stat.uid)} ` +
                    `${this.#o.names.group(stat.gid)} ${stat.size} ${stat.ino} ${stat.mtimeNs} ${stat.ctimeNs} ${atimeNs}`,
            )
        }
        return new Bun.CryptoHasher('sha256').update(lines.join('\n'), 'latin1').digest('hex')
    }

    async #reuseGroup(entries: CollectedEntry[], signature: string): Promise<boolean> {
        const unit = this.#o.cache!.find(signature, newest(entries))
        if (unit === undefined || unit.frames.length !== 1 || unit.offsets.length !== entries.length)
            return false
        const at = this.#o.writer.plainSize
        if (!(await this.#reuseFrame(unit.frames[0]!))) return false
        let digest = 0
        for (const [i, entry] of entries.entries()) {
            const isFile = entry.type === 'file'
            const size = isFile ? entry.stat.size : 0
            this.#index(entry, {
                at: at + unit.offsets[i]!,
                size,
                stat: entry.stat,
                sha256: isFile ? unit.digests.subarray(digest, digest + 32) : undefined,
                xattrs: unit.xattrs?.get(i) ?? '',
            })
            if (isFile) digest += 32
        }
        this.#o.cache!.keep(signature, unit)
        return true
    }

    /** Packs a group into one frame; returns the entry that does not belong into it, and then nothing was written. */
    async #packGroup(
        entries: CollectedEntry[],
        signature: string | undefined,
    ): Promise<{ entry: CollectedEntry; outgrew: boolean } | undefined> {
        const buffer = this.#spare.pop() ?? new GroupBuffer()
        buffer.length = 0
        const packed: Packed[] = []
        for (const entry of entries) {
            try {
                packed.push(this.#packer.small(entry, buffer))
            } catch (error) {
                this.#spare.push(buffer)
                if (error instanceof OutgrewError) return { entry, outgrew: true }
                this.#unread(entry, error)
                return { entry, outgrew: false }
            }
        }
        const at = this.#o.writer.plainSize
        for (const [i, entry] of entries.entries()) {
            const piece = packed[i]!
            if (piece.changed === true) this.#changed(entry)
            const { stat, sha256, xattrs } = piece
            this.#index(entry, { at: at + piece.offset, size: stat.size, stat, sha256, xattrs })
        }
        const unit: CachedUnit | undefined =
            signature === undefined || buffer.length > MOST_FRAME || packed.some(piece => piece.changed)
                ? undefined
                : {
                      frames: [],
                      digests: Buffer.concat(packed.flatMap(piece => piece.sha256 ?? [])),
                      offsets: packed.map(piece => piece.offset),
                      readNs: this.#o.beganNs,
                      xattrs: new Map(
                          packed.flatMap(({ xattrs }, i) => (xattrs === '' ? [] : [[i, xattrs]])),
                      ),
                  }
        const plain = buffer.filled()
        await this.#frameOrMore(plain, stored => {
            this.#spare.push(buffer)
            const frame = unit === undefined ? undefined : this.#o.cache!.add(stored, plain.length)
            if (frame !== undefined) unit!.frames.push(frame)
        })
        if (unit !== undefined)
            this.#toKeep.push({ signature: signature!, unit, complete: () => unit.frames.length === 1 })
        return undefined
    }

    /** Hands a cached frame to the writer; false when the cache is damaged there, and then nothing was written. */
    async #reuseFrame(frame: CachedFrame): Promise<boolean> {
        const room = this.#room()
        const stored = this.#o.cache!.read(frame, room)
        if (stored === undefined) {
            this.#rooms.push(room)
            return false
        }
        await this.#o.writer.reuse(stored, frame.plain, () => this.#rooms.push(room))
        this.#frames++
        this.#reused++
        return true
    }

    #room(): Buffer {
        return this.#rooms.pop() ?? Buffer.allocUnsafe(limits.frameBytes)
    }

    async #frame(plain: Uint8Array, stored?: (bytes: Uint8Array) => void): Promise<void> {
        this.#frames++
        await this.#o.writer.frame(plain, stored)
    }

    /** A group can come out larger than a reader takes at once: long output of a command, many large attributes. */
    async #frameOrMore(plain: Uint8Array, last?: (bytes: Uint8Array) => void): Promise<void> {
        let at = 0
        for (; plain.length - at > MOST_FRAME; at += MOST_FRAME)
            await this.#frame(plain.subarray(at, at + MOST_FRAME))
        await this.#frame(plain.subarray(at), last)
    }

    async #large(entry: CollectedEntry): Promise<void> {
        this.#linkNames([entry])
        if (entry.type === 'hardlink') return this.#group([entry])
        const signature = this.#cacheable([entry]) ? this.#signature([entry]) : undefined
        if (signature !== undefined && (await this.#reuseLarge(entry, signature))) return
        for (let reading = 0; ; reading++) {
            const changed = await this.#readLarge(entry, signature)
            if (!changed) return
            if (reading >= limits.rereads || entry.stat.size > limits.rereadBytes) return this.#changed(entry)
            // Written again under the same name: for tar the last one counts, and for the index too.
            this.#entries.at(-1)!.superseded = true
        }
    }

    async #reuseLarge(entry: CollectedEntry, signature: string): Promise<boolean> {
        const cache = this.#o.cache!
        const unit = cache.find(signature, newest([entry]))
        if (unit === undefined) return false
        // All of them before the first is used: an entry cannot be given up half-way.
        const room = this.#room()
        const whole = unit.frames.every(frame => cache.read(frame, room) !== undefined)
        this.#rooms.push(room)
        if (!whole) return false
        const at = this.#o.writer.plainSize
        for (const frame of unit.frames)
            if (!(await this.#reuseFrame(frame)))
                throw new Fault('failed', 'cannot read the frame cache: it changed meanwhile')
        const { size } = entry.stat
        const { digests: sha256, holes } = unit
        this.#index(entry, { at, size, stat: entry.stat, sha256, xattrs: unit.xattrs?.get(0) ?? '', holes })
        cache.keep(signature, unit)
        return true
    }

    /** Packs one reading of a large file; tells whether it changed meanwhile. */
    async #readLarge(entry: CollectedEntry, signature: string | undefined): Promise<boolean> {
        let file: LargeFile
        try {
            file = new LargeFile(this.#o.tree, this.#packer, entry)
        } catch (error) {
            this.#unread(entry, error)
            return false
        }
        const cache = signature === undefined ? undefined : this.#o.cache
        const unit: CachedUnit = {
            frames: [],
            digests: new Uint8Array(),
            offsets: [0],
            readNs: this.#o.beganNs,
            pieces: [],
            xattrs: new Map(file.xattrs === '' ? [] : [[0, file.xattrs]]),
        }
        let missing = 0
        const at = this.#o.writer.plainSize
        let finished: ReturnType<LargeFile['finish']>
        try {
            const keep = (n: number, stored: Uint8Array, plain: number) => {
                const frame = cache?.add(stored, plain)
                if (frame === undefined) missing++
                else unit.frames[n] = frame
            }
            await this.#frame(file.header, stored => keep(0, stored, file.header.length))
            for (const { bytes: piece, room } of file.pieces(this.#rooms)) {
                if (this.#o.signal?.aborted)
                    throw new Fault('refused', 'cannot finish the backup: it was stopped')
                const n = unit.pieces!.length + 1
                const key = cache?.pieceKey(piece) ?? ''
                unit.pieces!.push(key)
                const known = cache?.findPiece(key)
                if (known?.plain === piece.length && (await this.#reuseFrame(known))) {
                    unit.frames[n] = known
                    this.#rooms.push(room)
                } else
                    await this.#frame(piece, bytes => {
                        keep(n, bytes, piece.length)
                        this.#rooms.push(room)
                    })
                this.#o.progress(this.#bytes + Math.min(n * limits.frameBytes, entry.stat.size))
            }
        } finally {
            finished = file.finish()
        }
        unit.digests = finished.sha256
        unit.holes = file.sparse !== undefined
        const holes = file.sparse !== undefined
        const { shown: stat, xattrs } = file
        this.#index(entry, { at, size: file.before.size, stat, sha256: finished.sha256, xattrs, holes })
        if (finished.error !== undefined) {
            this.#entries.at(-1)!.superseded = true
            this.#unread(entry, finished.error)
            return false
        }
        if (signature !== undefined && !finished.changed)
            this.#toKeep.push({ signature, unit, complete: () => missing === 0 })
        return finished.changed
    }

    /** What was written again is in the index already. */
    #index(
        entry: CollectedEntry,
        seen: Pick<IndexEntry, 'at' | 'size' | 'sha256' | 'holes'> & { stat: libc.Stat; xattrs: string },
    ): void {
        if (entry.again === true) return
        const { at, size, stat, sha256, xattrs, holes = false } = seen
        this.#entries.push({
            path: entry.path,
            type: entry.type,
            category: entry.category.id,
            mode: stat.mode & 0o7777,
            uid: stat.uid,
            gid: stat.gid,
            size,
            mtimeNs: stat.mtimeNs,
            link: entry.link,
            sha256,
            at,
            holes,
            xattrs,
        })
        this.#bytes += size
        this.#o.progress(this.#bytes)
    }

    #changed(entry: CollectedEntry): void {
        missingOf(this.#o.collected, entry.category.id).add(
            entry.path,
            'changed',
            'it kept changing while it was read',
        )
    }

    #unread(entry: CollectedEntry, error: unknown): void {
        const inode = `${entry.stat.dev}:${entry.stat.ino}`
        if (this.#firstNames.get(inode) === entry.path) this.#firstNames.delete(inode)
        const missing = missingOf(this.#o.collected, entry.category.id)
        const code = libc.codeOf(error)
        if (code === 'ENOENT') {
            missing.add(entry.path, 'changed', 'it was removed while the backup ran')
            return
        }
        if (code === undefined && !(error instanceof Fault)) throw error
        const why = error instanceof Fault ? error.message : failure(error).why
        missing.add(entry.path, 'failed', why)
        this.#o.collected.failed++
        this.#o.warn(`cannot read /${showPath(entry.path)}: ${why}`)
    }
}

const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(0, path.lastIndexOf('/')))

const standsAlone = (entry: CollectedEntry): boolean =>
    entry.type === 'file' &&
    entry.content === undefined &&
    (entry.copy !== undefined || entry.stat.size > limits.frameBytes || mayBeSparse(entry.stat))

function newest(entries: CollectedEntry[]): bigint {
    let latest = 0n
    for (const { stat } of entries) {
        if (stat.mtimeNs > latest) latest = stat.mtimeNs
        if (stat.ctimeNs > latest) latest = stat.ctimeNs
    }
    return latest
}
