/** Turns collected entries into tar bytes: reads each file once, and again when it changed under the reading. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { BLOCK, type ByteString, padding, sparseMap, type TarEntry, tarHeader } from '../format/tar-write.ts'
import * as libc from '../host/libc.ts'
import { Sha256, sha256 } from '../host/libcrypto.ts'
import type { Tree } from '../host/tree.ts'
import type { CollectedEntry } from '../archive/collect.ts'
import { HoleDigest, xattrsDigest } from '../archive/digest.ts'

/** Names of users and groups by number, as the host's own files have them. */
export interface Names {
    user(uid: number): string
    group(gid: number): string
}

export interface Packed {
    /** Where the entry begins in the bytes it was packed into. */
    offset: number
    /** What was seen when it was opened: this is what stands in its header. */
    stat: libc.Stat
    sha256?: Uint8Array
    /** Digest of its extended attributes; empty without any. */
    xattrs: string
    /** The file kept changing: what was packed is a mixture of moments. */
    changed?: boolean
}

/** A buffer that grows, for one group of entries. */
export class GroupBuffer {
    #bytes = Buffer.allocUnsafe(limits.frameBytes * 2)
    length = 0

    /** The room behind what is filled, at least `size` bytes. */
    room(size: number): Buffer {
        if (this.length + size > this.#bytes.length) {
            const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.length + size))
            this.#bytes.copy(larger, 0, 0, this.length)
            this.#bytes = larger
        }
        return this.#bytes.subarray(this.length, this.length + size)
    }

    append(bytes: Uint8Array): void {
        this.room(bytes.length).set(bytes)
        this.length += bytes.length
    }

    zeros(count: number): void {
        this.room(count).fill(0)
        this.length += count
    }

    filled(): Buffer {
        return this.#bytes.subarray(0, this.length)
    }
}

/** A file that was small when it was found is not any more: it has to be packed as a large one. */
export class OutgrewError extends Error {}

export class Packer {
    readonly #tree: Tree
    readonly #names: Names

    constructor(tree: Tree, names: Names) {
        this.#tree = tree
        this.#names = names
    }

    /** Header of an entry; `stat` is what was seen when the content was opened. */
    header(entry: CollectedEntry, stat: libc.Stat, extra: Partial<TarEntry> = {}): Buffer {
        const tar: TarEntry = {
            path: entry.path,
            type: entry.type,
            mode: stat.mode & 0o7777,
            uid: stat.uid,
            gid: stat.gid,
            uname: this.#names.user(stat.uid),
            gname: this.#names.group(stat.gid),
            size: entry.type === 'file' ? stat.size : 0,
            mtimeNs: stat.mtimeNs,
            // As the walk saw it: reading must not make it younger.
            // Reading a link is an access, and Linux has no way to do it unseen: its time says nothing.
            atimeNs: entry.type === 'symlink' ? undefined : entry.stat.atimeNs,
            link: entry.link,
            ...extra,
        }
        return tarHeader(tar)
    }

    /** Packs an entry that is small or has no content. Throws what opening or reading it throws. */
    small(entry: CollectedEntry, into: GroupBuffer): Packed {
        if (entry.content !== undefined) return this.#made(entry, entry.content, into)
        if (entry.type !== 'file') {
            const offset = into.length
            // The names of a hard link share one inode: its attributes stand with the first name.
            const xattrs = entry.type === 'hardlink' ? undefined : this.#tree.xattrs(entry.path)
            into.append(this.header(entry, entry.stat, { xattrs }))
            return { offset, stat: { ...entry.stat, size: 0 }, xattrs: xattrsDigest(xattrs) }
        }
        const offset = into.length
        for (let reading = 0; ; reading++) {
            into.length = offset
            const packed = this.#readSmall(entry, into)
            if (packed.changed !== true || reading >= limits.rereads) return packed
        }
    }

    #readSmall(entry: CollectedEntry, into: GroupBuffer): Packed {
        const offset = into.length
        const fd = this.#tree.openFile(entry.path)
        try {
            const before = libc.statFd(fd)
            // It was small when it was found. A log that explodes must not fill the memory, and is no small file any more.
            if (before.size > limits.frameBytes * 4) throw new OutgrewError()
            const xattrs = libc.readXattrsFd(fd)
            into.append(this.header(entry, before, { xattrs }))
            // One byte more than the size: a file that grew shows itself.
            const content = into.room(before.size + 1)
            const got = readWhole(fd, content)
            const changed = got !== before.size || hasChanged(before, libc.statFd(fd))
            if (got < before.size) content.fill(0, got)
            const digest = sha256(content.subarray(0, before.size))
            into.length += before.size
            into.zeros(padding(before.size))
            return { offset, stat: before, sha256: digest, xattrs: xattrsDigest(xattrs), changed }
        } finally {
            libc.close(fd)
        }
    }

    /** Packs what is not on the host as it stands: captured output and its directories, the copy of a database. */
    #made(entry: CollectedEntry, content: Uint8Array, into: GroupBuffer): Packed {
        const offset = into.length
        const stat = { ...entry.stat, size: content.length }
        into.append(this.header(entry, stat))
        into.append(content)
        into.zeros(padding(content.length))
        return { offset, stat, sha256: entry.type === 'file' ? sha256(content) : undefined, xattrs: '' }
    }
}

/** One reading of a large file: its header, then its content piece by piece. */
export class LargeFile {
    readonly before: libc.Stat
    /** What the archive says of the file. */
    readonly shown: libc.Stat
    readonly header: Buffer
    /** Digest of its extended attributes. */
    readonly xattrs: string
    readonly sparse: libc.Extent[] | undefined
    readonly #fd: number
    readonly #digest = new Sha256()
    readonly #holes = new HoleDigest()
    #short = false
    #error: unknown

    constructor(tree: Tree, packer: Packer, entry: CollectedEntry) {
        this.#fd =
            entry.copy === undefined
                ? tree.openFile(entry.path)
                : libc.openAt(libc.AT_FDCWD, libc.cPath(entry.copy), libc.open.RDONLY | libc.open.NOFOLLOW)
        try {
            this.before = libc.statFd(this.#fd)
            // A private copy has the owner, mode and time of what it stands for.
            const { mode, uid, gid, mtimeNs } = entry.stat
            const shown = entry.copy === undefined ? this.before : { ...this.before, mode, uid, gid, mtimeNs }
            this.shown = shown
            this.sparse = sparseExtents(this.#fd, this.before)
            const xattrs = libc.readXattrsFd(this.#fd)
            this.xattrs = xattrsDigest(xattrs)
            const header = packer.header(entry, shown, { xattrs, sparse: this.sparse })
            this.header =
                this.sparse === undefined
                    ? header
                    : Buffer.concat([header, sparseMap({ size: this.before.size, sparse: this.sparse })])
        } catch (error) {
            libc.close(this.#fd)
            throw error
        }
    }

    /**
     * The stored content in pieces of `limits.frameBytes`, the last one padded, each in a room of its own. Rooms are taken
     * from `rooms` as long as there are any; who is done with a piece puts its room back.
     */
    *pieces(rooms: Buffer[]): Generator<{ bytes: Uint8Array; room: Buffer }> {
        const extents = this.sparse ?? [{ offset: 0, length: this.before.size }]
        let at = 0
        const newRoom = () => rooms.pop() ?? Buffer.allocUnsafe(limits.frameBytes)
        let piece = newRoom()
        let fill = 0
        for (const extent of extents) {
            at = extent.offset
            const end = extent.offset + extent.length
            while (at < end) {
                const room = piece.subarray(fill, Math.min(piece.length, fill + (end - at)))
                const got = this.#short ? 0 : this.#read(room, at)
                if (got < room.length) {
                    // The file was cut meanwhile: the header has promised its size.
                    this.#short = true
                    room.fill(0, got)
                }
                if (this.sparse === undefined) this.#digest.update(room)
                else this.#holes.update(at, room)
                fill += room.length
                at += room.length
                if (fill === piece.length) {
                    yield { bytes: piece, room: piece }
                    piece = newRoom()
                    fill = 0
                }
            }
        }
        if (fill === 0) {
            rooms.push(piece)
            return
        }
        piece.fill(0, fill, fill + padding(fill))
        yield { bytes: piece.subarray(0, fill + padding(fill)), room: piece }
    }

    /** The header has promised the size, so a failing disk leaves zeros and an error, not a torn archive. */
    #read(room: Uint8Array, at: number): number {
        try {
            return readFully(this.#fd, room, at)
        } catch (error) {
            this.#error ??= error
            return 0
        }
    }

    /** Closes the file; tells the digest, whether it changed while it was read, and why it could not be read. */
    finish(): { sha256: Uint8Array; changed: boolean; error?: unknown } {
        try {
            const changed = this.#short || hasChanged(this.before, libc.statFd(this.#fd))
            const sha256 =
                this.sparse === undefined ? this.#digest.digest() : this.#holes.digest(this.before.size)
            return { sha256, changed, error: this.#error }
        } finally {
            libc.close(this.#fd)
        }
    }
}

function sparseExtents(fd: number, stat: libc.Stat): libc.Extent[] | undefined {
    // Blocks are 512 bytes; a compressing file system may need fewer for a file without holes, so ask for the holes.
    if (stat.blocks * BLOCK >= stat.size || stat.size === 0) return undefined
    const extents = libc.dataExtents(fd, stat.size, limits.sparseExtents)
    const whole = extents.length === 1 && extents[0]!.offset === 0 && extents[0]!.length === stat.size
    if (!whole) return extents
    // Nothing known of its holes: reading them is fine for a file of a reasonable size only.
    if (stat.size - stat.blocks * BLOCK > limits.unknownHoles)
        throw new Fault(
            'failed',
            'it has more holes than can be listed, and is too large to be read with them',
        )
    return undefined
}

/** A sparse file is packed as a large one however small its data is. */
export const mayBeSparse = (stat: libc.Stat): boolean => stat.size > 0 && stat.blocks * BLOCK < stat.size

function hasChanged(before: libc.Stat, after: libc.Stat): boolean {
    return before.size !== after.size || before.mtimeNs !== after.mtimeNs || before.ctimeNs !== after.ctimeNs
}

function readWhole(fd: number, buffer: Uint8Array): number {
    return readFully(fd, buffer, 0)
}

function readFully(fd: number, buffer: Uint8Array, offset: number): number {
    let at = 0
    while (at < buffer.length) {
        const got = libc.readAt(fd, buffer.subarray(at), offset + at)
        if (got === 0) break
        at += got
    }
    return at
}

/** Reads `etc/passwd` and `etc/group` of the tree; a number without a name stays without. */
export function readNames(tree: Tree): Names {
    const table = (path: ByteString) => {
        const names = new Map<number, string>()
        const text = tree.readFile(path, limits.configBytes * 8)?.toString() ?? ''
        for (const line of text.split('\n')) {
            const [name, , id] = line.split(':')
            if (name && id && !names.has(Number(id))) names.set(Number(id), name)
        }
        return names
    }
    const users = table('etc/passwd')
    const groups = table('etc/group')
    return { user: uid => users.get(uid) ?? '', group: gid => groups.get(gid) ?? '' }
}
