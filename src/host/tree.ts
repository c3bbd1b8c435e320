/** A tree of the host read through its root: no path leaves it, no link is followed, nothing read leaves a trace. */
import { Fault } from '../core/errors.ts'
import type { ByteString } from '../format/tar-write.ts'
import * as libc from './libc.ts'
import { isLocal, type Mount, readMounts } from './mounts.ts'

/** Why an entry is passed over, in words for people. */
export type Passed = { state: 'skipped'; why: string } | { state: 'failed'; why: string }

export interface Visitor<State> {
    /**
     * Called for every entry in byte order of names, a directory before its children. `link` is set for symlinks.
     * What it returns for a directory is the state its children get; undefined means: do not descend.
     */
    visit(
        path: ByteString,
        name: ByteString,
        stat: libc.Stat,
        state: State,
        link?: ByteString,
    ): State | undefined
    /** Asked before the entry is touched at all; true passes it over in silence. */
    ignore?(path: ByteString, name: ByteString, state: State): boolean
    passed(path: ByteString, reason: Passed, state: State): void
    /** Whether a mount point below the start is entered; only asked for local file systems. */
    enters?(path: ByteString, state: State): boolean
}

/** One character a byte, ready for the C library. */
export const toC = (path: ByteString): Uint8Array => {
    const bytes = new Uint8Array(path.length + 1)
    for (let i = 0; i < path.length; i++) bytes[i] = path.charCodeAt(i)
    return bytes
}

/** The text of a byte string where it is UTF-8, escaped bytes where it is not. */
export const showPath = (path: ByteString): string => libc.showBytes(Buffer.from(path, 'latin1'))

/** A file name or path of the configuration as a byte string. */
export const toByteString = (text: string): ByteString => Buffer.from(text).toString('latin1')

export class Tree {
    /** Absolute, without a trailing slash; empty for `/`. */
    readonly root: string
    readonly #rootFd: number
    readonly #mounts: Map<string, Mount>
    /** Mount points that are entered whatever their type: pmxcfs is FUSE, yet it is what is to be saved. */
    readonly #trusted: ReadonlySet<string>

    constructor(
        root: string,
        options: { mounts?: Map<string, Mount>; trusted?: readonly ByteString[] } = {},
    ) {
        this.#rootFd = libc.openAt(libc.AT_FDCWD, libc.cPath(root), libc.open.DIRECTORY | libc.open.PATH)
        // Without links and dots, as the mount table has it.
        const real = Buffer.from(
            libc.readLinkAt(libc.AT_FDCWD, libc.cPath(`/proc/self/fd/${this.#rootFd}`)),
        ).toString()
        this.root = real === '/' ? '' : real
        this.#mounts = options.mounts ?? readMounts()
        this.#trusted = new Set(options.trusted ?? [])
    }

    close(): void {
        libc.close(this.#rootFd)
    }

    /** What is mounted on a path of the tree, if anything. */
    mountAt(path: ByteString): Mount | undefined {
        return this.#mounts.get(`${Buffer.from(this.root).toString('latin1')}/${path}`)
    }

    /** Opens a regular file for reading; never waits on a FIFO, never follows a link, leaves no access time. */
    openFile(path: ByteString): number {
        const flags = libc.open.RDONLY | libc.open.NOFOLLOW | libc.open.NONBLOCK
        return this.#open(path, flags)
    }

    openDirectory(path: ByteString): number {
        return this.#open(path === '' ? '.' : path, libc.open.DIRECTORY)
    }

    #open(path: ByteString, flags: number): number {
        const name = toC(path)
        try {
            return libc.openBeneath(this.#rootFd, name, flags | libc.open.NOATIME)
        } catch (error) {
            // Somebody else's file on a file system that maps owners: reading it may leave an access time.
            if (libc.codeOf(error) !== 'EPERM') throw error
            return libc.openBeneath(this.#rootFd, name, flags)
        }
    }

    /** Metadata of one entry; undefined when it is not there, or lies where it may hang to ask. */
    stat(path: ByteString): libc.Stat | undefined {
        if (this.#mountOnTheWay(path) !== undefined) return undefined
        const slash = path.lastIndexOf('/')
        let parent: number
        try {
            parent = this.openDirectory(slash < 0 ? '' : path.slice(0, slash))
        } catch (error) {
            if (absent.has(libc.codeOf(error) ?? '')) return undefined
            throw error
        }
        try {
            return libc.statAt(parent, toC(path.slice(slash + 1)))
        } catch (error) {
            if (absent.has(libc.codeOf(error) ?? '')) return undefined
            throw error
        } finally {
            libc.close(parent)
        }
    }

    readLink(path: ByteString): ByteString {
        const slash = path.lastIndexOf('/')
        const parent = this.openDirectory(slash < 0 ? '' : path.slice(0, slash))
        try {
            return Buffer.from(libc.readLinkAt(parent, toC(path.slice(slash + 1)))).toString('latin1')
        } finally {
            libc.close(parent)
        }
    }

    /** A small file whole; undefined when it is not there. Throws when it is larger than `most`. */
    readFile(path: ByteString, most: number): Buffer | undefined {
        if (this.#mountOnTheWay(path) !== undefined) return undefined
        let fd: number
        try {
            fd = this.openFile(path)
        } catch (error) {
            if (absent.has(libc.codeOf(error) ?? '')) return undefined
            throw error
        }
        try {
            const buffer = Buffer.alloc(Math.min(most, libc.statFd(fd).size + 65_536) + 1)
            let at = 0
            for (;;) {
                if (at > most)
                    throw new Fault(
                        'failed',
                        `cannot read /${showPath(path)}: it is larger than ${most} bytes`,
                    )
                const length = libc.readAt(fd, buffer.subarray(at), at)
                if (length === 0 || at + length >= buffer.length) return buffer.subarray(0, at + length)
                at += length
            }
        } finally {
            libc.close(fd)
        }
    }

    xattrs(path: ByteString): libc.Xattr[] {
        return libc.readXattrs(
            libc.cPath(Buffer.from(`${Buffer.from(this.root).toString('latin1')}/${path}`, 'latin1')),
        )
    }

    /** Walks the tree below `start` (itself included). Directory children in byte order. */
    walk<State>(start: ByteString, state: State, visitor: Visitor<State>): void {
        const remote = this.#mountOnTheWay(start)
        if (remote !== undefined) {
            if (visitor.ignore?.(start, start.slice(start.lastIndexOf('/') + 1), state) === true) return
            visitor.passed(
                start,
                { state: 'skipped', why: `it lies on ${remote.type} file system ${remote.point}` },
                state,
            )
            return
        }
        const slash = start.lastIndexOf('/')
        let parent: number
        try {
            parent = this.openDirectory(slash < 0 ? '' : start.slice(0, slash))
        } catch (error) {
            if (libc.codeOf(error) === 'ELOOP')
                visitor.passed(start, { state: 'skipped', why: 'a symbolic link stands in its way' }, state)
            else if (!absent.has(libc.codeOf(error) ?? '')) visitor.passed(start, failure(error), state)
            return
        }
        try {
            this.#visitOne(parent, toC(start.slice(slash + 1)), start, true, state, visitor)
        } finally {
            libc.close(parent)
        }
    }

    /** A mount at or above `start` that may hang: it is never touched. */
    #mountOnTheWay(start: ByteString): Mount | undefined {
        for (let end = start.indexOf('/'); ; end = start.indexOf('/', end + 1)) {
            const path = end < 0 ? start : start.slice(0, end)
            const mount = this.mountAt(path)
            if (mount !== undefined && !isLocal(mount.type) && !this.#trusted.has(path)) return mount
            if (end < 0) return undefined
        }
    }

    #visitOne<State>(
        parent: number,
        cName: Uint8Array,
        path: ByteString,
        isStart: boolean,
        state: State,
        visitor: Visitor<State>,
    ): void {
        const name = path.slice(path.lastIndexOf('/') + 1)
        if (visitor.ignore?.(path, name, state) === true) return
        const mount = isStart || this.#mounts.size === 0 ? undefined : this.mountAt(path)
        if (mount !== undefined && !isLocal(mount.type) && !this.#trusted.has(path)) {
            visitor.passed(path, { state: 'skipped', why: `another file system (${mount.type})` }, state)
            return
        }
        let stat: libc.Stat
        let link: ByteString | undefined
        try {
            stat = libc.statAt(parent, cName)
            if ((stat.mode & libc.fileType.mask) === libc.fileType.symlink)
                link = Buffer.from(libc.readLinkAt(parent, cName)).toString('latin1')
        } catch (error) {
            if (!absent.has(libc.codeOf(error) ?? '')) visitor.passed(path, failure(error), state)
            return
        }
        const type = stat.mode & libc.fileType.mask
        const isDirectory = type === libc.fileType.directory
        const entered =
            mount === undefined || this.#trusted.has(path) || visitor.enters?.(path, state) === true
        if (isDirectory && !entered) {
            visitor.passed(path, { state: 'skipped', why: `another file system (${mount?.type})` }, state)
            return
        }
        const special = specialTypes.get(type)
        if (special !== undefined) {
            visitor.passed(path, { state: 'skipped', why: special }, state)
            return
        }
        const below = visitor.visit(path, name, stat, state, link)
        if (isDirectory && below !== undefined) this.#descend(parent, cName, path, below, visitor)
    }

    #descend<State>(
        parent: number,
        cName: Uint8Array,
        path: ByteString,
        state: State,
        visitor: Visitor<State>,
    ): void {
        let fd: number
        let names: Uint8Array[]
        try {
            const flags = libc.open.DIRECTORY | libc.open.NOFOLLOW
            try {
                fd = libc.openAt(parent, cName, flags | libc.open.NOATIME)
            } catch (error) {
                if (libc.codeOf(error) !== 'EPERM') throw error
                fd = libc.openAt(parent, cName, flags)
            }
        } catch (error) {
            if (!absent.has(libc.codeOf(error) ?? '')) visitor.passed(path, failure(error), state)
            return
        }
        try {
            try {
                names = libc.readDirectory(fd)
            } catch (error) {
                visitor.passed(path, failure(error), state)
                return
            }
            const sorted = names
                .map(bytes => ({
                    bytes,
                    name: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length - 1).toString('latin1'),
                }))
                .sort((a, b) => (a.name < b.name ? -1 : 1))
            for (const { bytes, name } of sorted)
                this.#visitOne(fd, bytes, `${path}/${name}`, false, state, visitor)
        } finally {
            libc.close(fd)
        }
    }
}

const absent = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])

const specialTypes = new Map<number, string>([
    [libc.fileType.socket, 'a socket'],
    [libc.fileType.fifo, 'a named pipe'],
    [libc.fileType.block, 'a block device'],
    [libc.fileType.character, 'a character device'],
])

export function failure(error: unknown): Passed {
    const code = libc.codeOf(error)
    const why = code === undefined ? String(error) : (errorTexts[code] ?? code)
    return { state: 'failed', why }
}

const errorTexts: Record<string, string> = {
    EACCES: 'permission denied',
    EPERM: 'not permitted',
    EIO: 'input/output error',
    ESTALE: 'stale file handle',
    ENOTCONN: 'its file system is not connected',
    EMFILE: 'too many open files',
    ENOMEM: 'out of memory',
}
