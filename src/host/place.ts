/**
 * One directory tree that is changed one entry at a time, so that a crash leaves each path whole-old or whole-new. Paths
 * are relative byte strings; none leaves the root, none is reached through a symbolic link.
 */
import { constants, fchmodSync, fchownSync, fsyncSync, ftruncateSync, writeSync } from 'node:fs'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { ByteString } from '../format/tar-write.ts'
import * as libc from './libc.ts'
import { Sha256 } from './libcrypto.ts'
import { showPath, toC } from './tree.ts'

/** Every call that changes something or makes it durable, so that a test can make each of them fail or be the last. */
export interface PlaceCalls {
    create(directory: number, name: Uint8Array): number
    write(fd: number, bytes: Uint8Array, offset: number): number
    truncate(fd: number, size: number): void
    chownFd(fd: number, uid: number, gid: number): void
    chmodFd(fd: number, mode: number): void
    chown(directory: number, name: Uint8Array, uid: number, gid: number): void
    chmod(directory: number, name: Uint8Array, mode: number): void
    setXattr(path: Uint8Array, name: string, value: Uint8Array): void
    removeXattr(path: Uint8Array, name: string): void
    setTimes(directory: number, name: Uint8Array, atimeNs: bigint, mtimeNs: bigint): void
    mkdir(directory: number, name: Uint8Array): void
    symlink(target: Uint8Array, directory: number, name: Uint8Array): void
    link(fromDirectory: number, from: Uint8Array, directory: number, name: Uint8Array): void
    unlink(directory: number, name: Uint8Array): void
    rmdir(directory: number, name: Uint8Array): void
    rename(directory: number, from: Uint8Array, to: Uint8Array): void
    /** Both names exist; afterwards each has what the other had. */
    exchange(directory: number, one: Uint8Array, other: Uint8Array): void
    sync(fd: number): void
    syncFileSystem(fd: number): void
}

const RENAME_EXCHANGE = 2

export const placeCalls: PlaceCalls = {
    create: (directory, name) =>
        libc.openAt(
            directory,
            name,
            constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
            0o600,
        ),
    write: (fd, bytes, offset) => writeSync(fd, bytes, 0, bytes.length, offset),
    truncate: (fd, size) => ftruncateSync(fd, size),
    chownFd: (fd, uid, gid) => fchownSync(fd, uid, gid),
    chmodFd: (fd, mode) => fchmodSync(fd, mode),
    chown: libc.chownAt,
    chmod: libc.chmodAt,
    setXattr: libc.setXattr,
    removeXattr: libc.removeXattr,
    setTimes: libc.setTimesAt,
    mkdir: (directory, name) => libc.mkdirAt(directory, name, 0o700),
    symlink: libc.symlinkAt,
    link: libc.linkAt,
    unlink: (directory, name) => libc.unlinkAt(directory, name),
    rmdir: (directory, name) => libc.unlinkAt(directory, name, true),
    rename: (directory, from, to) => libc.renameAt(directory, from, directory, to),
    exchange: (directory, one, other) => libc.renameAt(directory, one, directory, other, RENAME_EXCHANGE),
    sync: fd => fsyncSync(fd),
    syncFileSystem: libc.syncFileSystem,
}

export type LiveType = 'file' | 'directory' | 'symlink'

/** What belongs to an entry besides its content. */
export interface Meta {
    /** The twelve permission bits. */
    mode: number
    uid: number
    gid: number
    atimeNs: bigint
    mtimeNs: bigint
    xattrs: libc.Xattr[]
}

/** One entry as it is found. */
export interface Live extends Meta {
    type: LiveType | 'other'
    size: number
    nlink: number
    /** Device and inode in one word: two names with the same one are hard links. */
    inode: string
    /** Bytes that it takes on the disk. */
    stored: number
    /** Target of a symlink. */
    link?: ByteString
}

const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(0, path.lastIndexOf('/')))
const nameOf = (path: ByteString): Uint8Array =>
    path === '' ? toC('.') : toC(path.slice(path.lastIndexOf('/') + 1))

export class PlaceTree {
    readonly root: string
    readonly calls: PlaceCalls
    readonly #rootFd: number
    readonly #noAtime = process.getuid?.() === 0 ? libc.open.NOATIME : 0
    /** Directories whose entries changed and are not durable yet. */
    readonly #dirty = new Set<ByteString>()

    /** `root` exists; links in its own path are followed, as an administrator gave it. */
    constructor(root: string, calls: PlaceCalls = placeCalls) {
        this.root = root
        this.calls = calls
        this.#rootFd = libc.openAt(libc.AT_FDCWD, libc.cPath(root), libc.open.DIRECTORY)
    }

    close(): void {
        libc.close(this.#rootFd)
    }

    // --- looking -----------------------------------------------------------------------------------------------

    /** The entry itself, or undefined when it is not there. A link in its parent path is a fault. */
    look(path: ByteString): Live | undefined {
        return this.#within(
            path,
            (directory, name) => {
                let stat: libc.Stat
                try {
                    stat = libc.statAt(directory, name)
                } catch (error) {
                    if (libc.codeOf(error) === 'ENOENT') return undefined
                    throw error
                }
                const type = typeNames.get(stat.mode & libc.fileType.mask) ?? 'other'
                const live: Live = {
                    type,
                    mode: stat.mode & 0o7777,
                    uid: stat.uid,
                    gid: stat.gid,
                    size: stat.size,
                    nlink: stat.nlink,
                    inode: `${stat.dev}:${stat.ino}`,
                    stored: stat.blocks * 512,
                    atimeNs: stat.atimeNs,
                    mtimeNs: stat.mtimeNs,
                    xattrs: type === 'other' ? [] : libc.readXattrs(through(directory, name)),
                }
                if (type === 'symlink')
                    live.link = Buffer.from(libc.readLinkAt(directory, name)).toString('latin1')
                return live
            },
            () => undefined,
        )
    }

    /** Names in a directory; none when it is not there. */
    names(path: ByteString): ByteString[] {
        let fd: number
        try {
            fd = this.#openDirectory(path)
        } catch (error) {
            if (absent.has(libc.codeOf(error) ?? '')) return []
            throw explain('read', path, error)
        }
        try {
            return libc
                .readDirectory(fd)
                .map(bytes => Buffer.from(bytes.subarray(0, -1)).toString('latin1'))
                .sort()
        } finally {
            libc.close(fd)
        }
    }

    /** Opens a regular file for reading; leaves no access time where that is allowed. */
    openFile(path: ByteString): number {
        try {
            return this.#open(path, libc.open.RDONLY | libc.open.NONBLOCK)
        } catch (error) {
            throw explain('read', path, error)
        }
    }

    /** The digest of a file's content, the same however its holes are laid out. */
    digest(path: ByteString): string {
        const fd = this.openFile(path)
        try {
            const digest = new SparseDigest()
            const size = readData(fd, (bytes, offset) => digest.update(bytes, offset))
            return digest.end(size)
        } catch (error) {
            throw explain('read', path, error)
        } finally {
            libc.close(fd)
        }
    }

    /** A file of proxsave's own, whole. */
    readWhole(path: ByteString): Uint8Array {
        const fd = this.openFile(path)
        try {
            const bytes = new Uint8Array(libc.statFd(fd).size)
            for (let at = 0; at < bytes.length; ) {
                const got = libc.readAt(fd, bytes.subarray(at), at)
                if (got === 0) return bytes.subarray(0, at)
                at += got
            }
            return bytes
        } catch (error) {
            throw explain('read', path, error)
        } finally {
            libc.close(fd)
        }
    }

    // --- changing ----------------------------------------------------------------------------------------------

    /**
     * A file at `temporary`, whole, with its metadata, durable; nobody sees it under its real name yet. Without metadata
     * it is private, and durable with the next `syncAll`. Returns the digest of what was written.
     */
    writeFile(temporary: ByteString, source: number, meta?: Meta): string {
        const { calls } = this
        return this.#change('write', temporary, (directory, name) => {
            const fd = calls.create(directory, name)
            try {
                const digest = new SparseDigest()
                let written = 0
                const size = readData(source, (bytes, offset) => {
                    for (let at = 0; at < bytes.length; )
                        at += calls.write(fd, bytes.subarray(at), offset + at)
                    digest.update(bytes, offset)
                    written = offset + bytes.length
                })
                if (written < size) calls.truncate(fd, size)
                if (meta !== undefined) {
                    this.#dress(directory, name, meta, 'file', fd)
                    calls.sync(fd)
                }
                return digest.end(size)
            } finally {
                libc.close(fd)
            }
        })
    }

    /** A new private file of proxsave's own with this content, durable. */
    writeWhole(path: ByteString, bytes: Uint8Array): void {
        this.#change('write', path, (directory, name) => {
            const fd = this.calls.create(directory, name)
            try {
                for (let at = 0; at < bytes.length; ) at += this.calls.write(fd, bytes.subarray(at), at)
                this.calls.sync(fd)
            } finally {
                libc.close(fd)
            }
        })
    }

    makeSymlink(temporary: ByteString, target: ByteString, meta: Meta): void {
        this.#change('make', temporary, (directory, name) => {
            this.calls.symlink(toC(target), directory, name)
            this.#dress(directory, name, meta, 'symlink')
        })
    }

    /** A directory, private until `dress` gives it what it shall have. */
    makeDirectory(path: ByteString): void {
        this.#change('make', path, (directory, name) => this.calls.mkdir(directory, name))
    }

    /** `from` (of this tree or another) gets one more name, `to`. The fault has the system's `code`. */
    linkFrom(tree: PlaceTree, from: ByteString, to: ByteString): void {
        this.#change('make', to, (directory, name) => {
            const source = tree.#openDirectory(parentOf(from))
            try {
                this.calls.link(source, nameOf(from), directory, name)
            } finally {
                libc.close(source)
            }
        })
    }

    /** Puts `temporary`, of the same directory, in the place of `path`, whatever stood there but a directory. */
    publish(temporary: ByteString, path: ByteString): void {
        this.#change('replace', path, (directory, name) =>
            this.calls.rename(directory, nameOf(temporary), name),
        )
    }

    /** As `publish`, where a directory stands or comes: the two change places, then the old one is removed. */
    swap(temporary: ByteString, path: ByteString): void {
        // Whichever directory a power loss leaves under the temporary name is empty: the old one because what was in it
        // is gone for good before, the new one because nothing comes into it while the names could change back.
        this.settle()
        this.#change('replace', path, (directory, name) =>
            this.calls.exchange(directory, nameOf(temporary), name),
        )
        this.settle()
        this.remove(temporary)
    }

    /** Removes a file, a link or an empty directory; no error when it is gone. */
    remove(path: ByteString): void {
        const live = this.look(path)
        if (live === undefined) {
            // It may be gone since a moment before a crash, and that not be durable yet.
            this.touch(parentOf(path))
            return
        }
        this.#change('remove', path, (directory, name) =>
            live.type === 'directory'
                ? this.calls.rmdir(directory, name)
                : this.calls.unlink(directory, name),
        )
    }

    /** Removes a whole tree of proxsave's own. */
    removeTree(path: ByteString): void {
        const live = this.look(path)
        if (live?.type === 'directory')
            for (const name of this.names(path)) this.removeTree(`${path}/${name}`)
        this.remove(path)
    }

    /** Owner, mode, attributes and times of an entry that stands; for files and links use a new one instead. */
    dressDirectory(path: ByteString, meta: Meta): void {
        this.#change('change', path, (directory, name) => {
            this.#dress(directory, name, meta, 'directory')
            // Setting its metadata changes nothing in the parent.
        })
        this.#dirty.add(path)
    }

    setTimes(path: ByteString, meta: Pick<Meta, 'atimeNs' | 'mtimeNs'>): void {
        this.#change('change', path, (directory, name) =>
            this.calls.setTimes(directory, name, meta.atimeNs, meta.mtimeNs),
        )
        this.#dirty.add(path)
    }

    /** The next `settle` makes the entries of this directory durable, whoever made them. */
    touch(path: ByteString): void {
        this.#dirty.add(path)
    }

    /** Makes everything durable that was changed here. Syncing changes no times. */
    settle(): void {
        for (const path of [...this.#dirty].sort().reverse()) {
            let fd: number
            try {
                fd = this.#openDirectory(path)
            } catch (error) {
                if (!absent.has(libc.codeOf(error) ?? '')) throw explain('write', path, error)
                this.#dirty.delete(path)
                continue
            }
            try {
                this.calls.sync(fd)
                this.#dirty.delete(path)
            } catch (error) {
                throw explain('write', path, error)
            } finally {
                libc.close(fd)
            }
        }
    }

    /** Makes the whole file system durable that `path` lies on. */
    syncAll(path: ByteString): void {
        const fd = this.#openDirectory(path)
        try {
            this.calls.syncFileSystem(fd)
            this.#dirty.clear()
        } finally {
            libc.close(fd)
        }
    }

    // -----------------------------------------------------------------------------------------------------------

    /** Owner, then attributes that are too many, mode, attributes, times: each would undo the ones behind it. */
    #dress(directory: number, name: Uint8Array, meta: Meta, type: LiveType, fd?: number): void {
        const { calls } = this
        const path = through(directory, name)
        const has = libc.readXattrs(path)
        const now = libc.statAt(directory, name)
        if (now.uid !== meta.uid || now.gid !== meta.gid) {
            if (fd !== undefined) calls.chownFd(fd, meta.uid, meta.gid)
            else calls.chown(directory, name, meta.uid, meta.gid)
        }
        // A default list of the directory was inherited.
        for (const { name: key } of has)
            if (!meta.xattrs.some(wanted => wanted.name === key)) tolerate(() => calls.removeXattr(path, key))
        if (type !== 'symlink') {
            if (fd !== undefined) calls.chmodFd(fd, meta.mode)
            else calls.chmod(directory, name, meta.mode)
        }
        for (const { name: key, value } of meta.xattrs) {
            const same = has.find(one => one.name === key)
            const isThere = same !== undefined && Buffer.compare(same.value, value) === 0
            // Changing the owner took capabilities away, and the mode changed a list.
            if (isThere && type === 'directory' && !key.startsWith('s')) continue
            tolerate(() => calls.setXattr(path, key, value))
        }
        calls.setTimes(directory, name, meta.atimeNs, meta.mtimeNs)
    }

    #change<T>(verb: string, path: ByteString, act: (directory: number, name: Uint8Array) => T): T {
        let directory: number
        try {
            directory = this.#openDirectory(parentOf(path))
        } catch (error) {
            throw explain(verb, path, error)
        }
        try {
            const value = act(directory, nameOf(path))
            this.#dirty.add(parentOf(path))
            return value
        } catch (error) {
            throw explain(verb, path, error)
        } finally {
            libc.close(directory)
        }
    }

    #within<T>(path: ByteString, act: (fd: number, name: Uint8Array) => T, gone: () => T): T {
        let directory: number
        try {
            directory = this.#openDirectory(parentOf(path))
        } catch (error) {
            const code = libc.codeOf(error)
            if (code === 'ENOENT' || code === 'ENOTDIR') return gone()
            throw explain('look at', path, error)
        }
        try {
            return act(directory, nameOf(path))
        } catch (error) {
            throw explain('look at', path, error)
        } finally {
            libc.close(directory)
        }
    }

    #openDirectory(path: ByteString): number {
        return this.#open(path === '' ? '.' : path, libc.open.DIRECTORY)
    }

    #open(path: ByteString, flags: number): number {
        try {
            return libc.openBeneath(this.#rootFd, toC(path), flags | this.#noAtime)
        } catch (error) {
            if (this.#noAtime === 0 || libc.codeOf(error) !== 'EPERM') throw error
            return libc.openBeneath(this.#rootFd, toC(path), flags)
        }
    }
}

/** Two trees at hand, that of the host and one of proxsave's own, closed when `act` is through. */
export async function withPlaceTrees<T>(
    roots: { live: string; own: string },
    calls: PlaceCalls | undefined,
    act: (live: PlaceTree, own: PlaceTree) => Promise<T> | T,
): Promise<T> {
    const live = new PlaceTree(roots.live, calls)
    try {
        const own = new PlaceTree(roots.own, calls)
        try {
            return await act(live, own)
        } finally {
            own.close()
        }
    } finally {
        live.close()
    }
}

/** The magic link leads to the directory that is open, whatever its path is by now. */
const through = (directory: number, name: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), name])

const absent = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])

const typeNames = new Map<number, LiveType>([
    [libc.fileType.file, 'file'],
    [libc.fileType.directory, 'directory'],
    [libc.fileType.symlink, 'symlink'],
])

const noAttributes = new Set(['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'ENODATA'])

/** The file system may have no attributes, and only root may set some. */
function tolerate(act: () => void): void {
    try {
        act()
    } catch (error) {
        if (!noAttributes.has(libc.codeOf(error) ?? '')) throw error
    }
}

/** Hands the data of an open file over, holes left out; its size. */
function readData(fd: number, take: (bytes: Uint8Array, offset: number) => void): number {
    const { size } = libc.statFd(fd)
    const buffer = new Uint8Array(Math.min(Math.max(size, 1), limits.writeBytes))
    let end = 0
    for (const { offset, length } of libc.dataExtents(fd, size, limits.sparseExtents))
        for (let at = offset; at < offset + length; ) {
            const got = libc.readAt(fd, buffer.subarray(0, Math.min(buffer.length, offset + length - at)), at)
            if (got === 0) return end
            take(buffer.subarray(0, got), at)
            at += got
            end = at
        }
    return size
}

/** How long (ms) synchronous work may go on before others get their turn: the daemon answers while it restores. */
const breathMs = 20

/** To be awaited between two entries: lets others run now and then, and throws when the work was stopped. */
export function breathing(): (signal?: AbortSignal) => Promise<void> | void {
    let since = performance.now()
    return signal => {
        signal?.throwIfAborted()
        if (performance.now() - since < breathMs) return
        return Bun.sleep(0).then(() => {
            since = performance.now()
            signal?.throwIfAborted()
        })
    }
}

const BLOCK = 4096
const zeros = new Uint8Array(BLOCK)

/** SHA-256 over the blocks that are not all zeros, each with its number, and the size. Data comes in ascending order. */
export class SparseDigest {
    readonly #sha = new Sha256()
    readonly #block = new Uint8Array(BLOCK)
    #number = -1

    update(bytes: Uint8Array, offset: number): void {
        for (let at = 0; at < bytes.length; ) {
            const within = (offset + at) % BLOCK
            const number = (offset + at - within) / BLOCK
            if (number !== this.#number) this.#flush(number)
            const piece = bytes.subarray(at, at + BLOCK - within)
            this.#block.set(piece, within)
            at += piece.length
        }
    }

    end(size: number): string {
        this.#flush(-1)
        this.#sha.update(Buffer.from(`size ${size}`))
        return Buffer.from(this.#sha.digest()).toString('hex')
    }

    #flush(next: number): void {
        if (this.#number >= 0 && Buffer.compare(this.#block, zeros) !== 0) {
            this.#sha.update(Buffer.from(`${this.#number}:`))
            this.#sha.update(this.#block)
        }
        this.#block.fill(0)
        this.#number = next
    }
}

const reasons: Record<string, { why: string; hint?: string }> = {
    ELOOP: {
        why: 'a symbolic link stands in its way',
        hint: 'replace the link by what it leads to, or leave the category out',
    },
    EXDEV: { why: 'it leads out of the tree' },
    ENOTDIR: { why: 'something that is no directory stands in its way' },
    ENOTEMPTY: { why: 'it is a directory that is not empty' },
    ENOSPC: { why: 'no space left on its file system', hint: 'free some space there and try again' },
    EDQUOT: { why: 'no space left on its file system', hint: 'free some space there and try again' },
    EROFS: { why: 'its file system is mounted read-only', hint: 'look at `dmesg` for why' },
    EPERM: { why: 'not permitted', hint: '`lsattr` shows whether it is immutable' },
    EACCES: { why: 'permission denied', hint: 'run it as root' },
    EIO: { why: 'input/output error', hint: 'look at `dmesg`: the disk may be failing' },
}

function explain(verb: string, path: ByteString, error: unknown): unknown {
    const code = libc.codeOf(error)
    if (error instanceof Fault || code === undefined) return error
    const known = reasons[code]
    const fault = new Fault('failed', `cannot ${verb} /${showPath(path)}: ${known?.why ?? code}`, {
        hint: known?.hint,
        cause: error,
    })
    return Object.assign(fault, { code })
}
