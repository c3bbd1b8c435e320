/**
 * Writes entries of an archive below one directory and nowhere else: every path is opened component by component from
 * that directory, no link is followed, nothing that exists is replaced.
 */
import { constants, ftruncateSync, writeSync } from 'node:fs'
import { Fault } from '../core/errors.ts'
import type { ReadEntry } from '../format/tar-read.ts'
import type { ByteString, TarExtent } from '../format/tar-write.ts'
import { makePrivateDirectory } from './data-file.ts'
import * as libc from './libc.ts'
import { showPath, toC } from './tree.ts'

/** Checks a path out of an archive: relative, no empty, `.` or `..` name, no NUL, of a length that Linux has. */
export function checkPath(path: ByteString): void {
    const names = path.split('/')
    const wrong = names.some(name => name === '' || name === '.' || name === '..' || name.length > 255)
    if (wrong || path.includes('\0') || path.length > 4095)
        throw new Fault(
            'damaged',
            `cannot unpack ${JSON.stringify(showPath(path))}: an archive must not have such a path`,
        )
}

export class Unpacker {
    readonly #rootFd: number
    readonly #isRoot: boolean
    readonly #directories: { path: ByteString; entry: ReadEntry }[] = []
    /** Directories that this unpacker made; those that were there keep what they have. */
    readonly #made = new Set<ByteString>()
    #parent: { path: ByteString; fd: number } | undefined
    #file: { fd: number; entry: ReadEntry; path: ByteString; at: number; left: TarExtent[] } | undefined

    /** `output` is made, 0700, when it is not there. */
    constructor(output: string) {
        makePrivateDirectory(output)
        this.#rootFd = libc.openAt(libc.AT_FDCWD, libc.cPath(output), libc.open.DIRECTORY)
        this.#isRoot = process.getuid?.() === 0
    }

    /** Begins an entry at `path`, usually its own. For files, `data` and `end` follow. */
    begin(entry: ReadEntry, path: ByteString = entry.path): void {
        checkPath(path)
        try {
            const { fd: parent, name } = this.#openParent(path)
            if (entry.type === 'directory') {
                if (this.#make(parent, name, path)) this.#directories.push({ path, entry })
            } else if (entry.type === 'symlink') {
                libc.symlinkAt(toC(entry.link ?? ''), parent, name)
                try {
                    this.#dress(parent, name, entry)
                } catch (error) {
                    libc.unlinkAt(parent, name)
                    throw error
                }
            } else if (entry.type === 'file') {
                const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
                const fd = libc.openAt(parent, name, flags, 0o600)
                this.#file = { fd, entry, path, at: 0, left: [...(entry.sparse ?? [])] }
            } else {
                throw new Fault('damaged', `cannot unpack /${showPath(path)}: it is a ${entry.type}`)
            }
        } catch (error) {
            throw explain(error, path)
        }
    }

    /** A hard link to something that was unpacked before. */
    link(path: ByteString, target: ByteString): void {
        checkPath(path)
        checkPath(target)
        try {
            const from = this.#openParent(target)
            // The descriptor of the last parent is kept open; the next one may close it.
            const held = libc.openAt(from.fd, toC('.'), libc.open.DIRECTORY)
            try {
                const to = this.#openParent(path)
                libc.linkAt(held, from.name, to.fd, to.name)
            } finally {
                libc.close(held)
            }
        } catch (error) {
            throw explain(error, path)
        }
    }

    data(piece: Uint8Array): void {
        const file = this.#file
        if (file === undefined) return
        try {
            for (let at = 0; at < piece.length; ) {
                const extent = file.left[0]
                const room =
                    file.entry.sparse === undefined || extent === undefined
                        ? piece.length - at
                        : extent.length
                const length = Math.min(room, piece.length - at)
                const offset = extent === undefined ? file.at : extent.offset
                for (let done = 0; done < length; )
                    done += writeSync(file.fd, piece, at + done, length - done, offset + done)
                if (extent !== undefined) {
                    file.left[0] = { offset: extent.offset + length, length: extent.length - length }
                    if (file.left[0].length === 0) file.left.shift()
                }
                file.at = offset + length
                at += length
            }
        } catch (error) {
            throw explain(error, file.path)
        }
    }

    end(): void {
        const file = this.#file
        if (file === undefined) return
        // Until it has all it had on the host it is unfinished, and `abandon` takes it away.
        try {
            if (file.entry.sparse !== undefined) ftruncateSync(file.fd, file.entry.size)
            const { fd: parent, name } = this.#openParent(file.path)
            this.#dress(parent, name, file.entry)
        } catch (error) {
            throw explain(error, file.path)
        }
        this.#file = undefined
        libc.close(file.fd)
    }

    /** Takes away a file that was not written to its end. */
    abandon(): void {
        const file = this.#file
        if (file === undefined) return
        this.#file = undefined
        libc.close(file.fd)
        const { fd: parent, name } = this.#openParent(file.path)
        libc.unlinkAt(parent, name)
    }

    /** Gives directories their owner, mode and times, deepest first, and makes all of it durable. */
    finish(): void {
        for (const { path, entry } of this.#directories.reverse()) {
            try {
                const { fd: parent, name } = this.#openParent(path)
                this.#dress(parent, name, entry)
            } catch (error) {
                throw explain(error, path)
            }
        }
        libc.syncFileSystem(this.#rootFd)
    }

    close(): void {
        if (this.#parent !== undefined) libc.close(this.#parent.fd)
        this.#parent = undefined
        libc.close(this.#rootFd)
    }

    #openParent(path: ByteString): { fd: number; name: Uint8Array } {
        const slash = path.lastIndexOf('/')
        const name = toC(path.slice(slash + 1))
        const directory = slash < 0 ? '' : path.slice(0, slash)
        if (directory === '') return { fd: this.#rootFd, name }
        if (this.#parent?.path === directory) return { fd: this.#parent.fd, name }
        let fd: number
        try {
            fd = libc.openBeneath(this.#rootFd, toC(directory), libc.open.DIRECTORY)
        } catch (error) {
            if (libc.codeOf(error) !== 'ENOENT') throw explain(error, path)
            const above = this.#openParent(directory)
            this.#make(above.fd, above.name, directory)
            fd = libc.openBeneath(this.#rootFd, toC(directory), libc.open.DIRECTORY)
        }
        if (this.#parent !== undefined) libc.close(this.#parent.fd)
        this.#parent = { path: directory, fd }
        return { fd, name }
    }

    /** Makes a directory, private until it gets its own mode; true when what it gets is up to us. */
    #make(parent: number, name: Uint8Array, path: ByteString): boolean {
        try {
            libc.mkdirAt(parent, name, 0o700)
            this.#made.add(path)
            return true
        } catch (error) {
            if (libc.codeOf(error) !== 'EEXIST') throw error
            // Its entry comes behind its children when only they were wanted first.
            return this.#made.has(path)
        }
    }

    /** Owner, then mode, then attributes, then times: each would undo the ones behind it. */
    #dress(parent: number, name: Uint8Array, entry: ReadEntry): void {
        if (this.#isRoot) libc.chownAt(parent, name, entry.uid, entry.gid)
        if (entry.type !== 'symlink') libc.chmodAt(parent, name, entry.mode)
        // The magic link leads to the directory that is open, whatever its path is by now.
        const path = Buffer.concat([Buffer.from(`/proc/self/fd/${parent}/`), name])
        for (const { name: key, value } of entry.xattrs ?? []) {
            try {
                libc.setXattr(path, key, value)
            } catch (error) {
                // The file system may have none, and only root may set some.
                if (!tolerated.has(libc.codeOf(error) ?? '')) throw error
            }
        }
        libc.setTimesAt(parent, name, entry.atimeNs ?? entry.mtimeNs, entry.mtimeNs)
    }
}

const tolerated = new Set(['ENOTSUP', 'EOPNOTSUPP', 'EPERM'])

function explain(error: unknown, path: ByteString): unknown {
    const code = libc.codeOf(error)
    const shown = showPath(path)
    if (code === 'EEXIST')
        return new Fault('failed', `cannot unpack ${shown}: it exists already`, {
            hint: 'choose an empty directory',
            cause: error,
        })
    if (code === 'ENOSPC' || code === 'EDQUOT')
        return new Fault('failed', `cannot unpack ${shown}: no space left`, {
            hint: 'choose a place with room',
            cause: error,
        })
    if (code === 'ELOOP' || code === 'EXDEV' || code === 'ENOTDIR')
        return new Fault(
            'failed',
            `cannot unpack ${shown}: a link or file stands where a directory should be`,
            {
                hint: 'choose an empty directory',
                cause: error,
            },
        )
    if (code === 'EFBIG')
        return new Fault('failed', `cannot unpack ${shown}: the file system has no files of its size`, {
            hint: 'choose a directory on another file system',
            cause: error,
        })
    if (code === undefined || error instanceof Fault) return error
    return new Fault('failed', `cannot unpack ${shown}: ${code}`, { cause: error })
}
