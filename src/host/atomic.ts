/** Replaces, reads and removes one small file so that a crash leaves the old content or the new, never a mixture. */
import { randomBytes } from 'node:crypto'
import {
    chmodSync,
    closeSync,
    constants,
    fchmodSync,
    fchownSync,
    fstatSync,
    fsyncSync,
    linkSync,
    mkdirSync,
    openSync,
    readdirSync,
    readSync,
    renameSync,
    statSync,
    unlinkSync,
    writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Fault } from '../core/errors.ts'
import { codeOf } from './libc.ts'

export interface ReplaceOptions {
    /** Permission bits of the new file, octal; never widened by the umask nor narrowed by it. */
    mode: number
    uid?: number
    gid?: number
}

/** The system calls that matter here, so that a test can make each of them fail. */
export interface AtomicCalls {
    open(path: string, flags: number, mode?: number): number
    write(fd: number, bytes: Uint8Array, offset: number): number
    sync(fd: number): void
    rename(from: string, to: string): void
    link(from: string, to: string): void
    unlink(path: string): void
}

export const systemCalls: AtomicCalls = {
    open: (path, flags, mode) => openSync(path, flags, mode),
    write: (fd, bytes, offset) => writeSync(fd, bytes, offset),
    sync: fd => fsyncSync(fd),
    rename: (from, to) => renameSync(from, to),
    link: (from, to) => linkSync(from, to),
    unlink: path => unlinkSync(path),
}

/**
 * Puts `bytes` at `path`, durably: a temporary file in the same directory, fsync, rename, fsync of the directory.
 * On any error the temporary file is gone; before the rename the old content is untouched, and once the rename was
 * made a failing fsync of the directory is reported although a reader already sees the new content.
 * A symbolic link at `path` is replaced, not followed. Throws `Fault('failed')` that names the path.
 */
export function replaceFile(
    path: string,
    bytes: Uint8Array | string,
    options: ReplaceOptions,
    calls: AtomicCalls = systemCalls,
): void {
    place(path, bytes, options, calls, temporary => calls.rename(temporary, path))
}

/** As `replaceFile`, for a file that must not exist yet: false, and nothing changed, when there is one already. */
export function createFile(
    path: string,
    bytes: Uint8Array | string,
    options: ReplaceOptions,
    calls: AtomicCalls = systemCalls,
): boolean {
    let created = true
    place(path, bytes, options, calls, temporary => {
        try {
            // A hard link never replaces; rename would.
            calls.link(temporary, path)
        } catch (error) {
            if (codeOf(error) !== 'EEXIST') throw error
            created = false
        }
        calls.unlink(temporary)
    })
    return created
}

function place(
    path: string,
    bytes: Uint8Array | string,
    options: ReplaceOptions,
    calls: AtomicCalls,
    publish: (temporary: string) => void,
): void {
    const content = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
    let fd: number | undefined
    let temporaryExists = false
    try {
        fd = calls.open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
        temporaryExists = true
        for (let at = 0; at < content.length; ) at += calls.write(fd, content, at)
        if (options.uid !== undefined || options.gid !== undefined)
            fchownSync(fd, options.uid ?? fstatSync(fd).uid, options.gid ?? fstatSync(fd).gid)
        fchmodSync(fd, options.mode)
        calls.sync(fd)
        publish(temporary)
        temporaryExists = false
        syncDirectory(dirname(path), calls)
    } catch (error) {
        if (temporaryExists) unlinkQuietly(temporary)
        throw cannot('write', path, error)
    } finally {
        if (fd !== undefined) closeSync(fd)
    }
}

/** Removes a file durably; no error when it is gone already. True when there was one. */
export function removeFile(path: string, calls: AtomicCalls = systemCalls): boolean {
    try {
        calls.unlink(path)
    } catch (error) {
        if (codeOf(error) === 'ENOENT') return false
        throw cannot('remove', path, error)
    }
    try {
        syncDirectory(dirname(path), calls)
    } catch (error) {
        throw cannot('remove', path, error)
    }
    return true
}

/** The bytes of a regular file, or undefined when there is none. Throws when it holds more than `maxBytes`. */
export function readSmallFile(path: string, maxBytes: number): Uint8Array | undefined {
    let fd: number
    try {
        // Without O_NONBLOCK a FIFO in the place of the file would hang the daemon.
        fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    } catch (error) {
        if (codeOf(error) === 'ENOENT') return undefined
        throw cannot('read', path, error)
    }
    try {
        const stat = fstatSync(fd)
        if (!stat.isFile()) throw new Fault('failed', `cannot read ${path}: it is not a regular file`)
        // The size is only a hint: procfs and pmxcfs report 0 for files that have content.
        const pieces: Uint8Array[] = []
        let total = 0
        for (;;) {
            const piece = new Uint8Array(Math.max(4096, Math.min(stat.size, maxBytes) - total + 1))
            const length = readSync(fd, piece)
            if (length === 0) break
            total += length
            if (total > maxBytes)
                throw new Fault('failed', `cannot read ${path}: it is larger than ${maxBytes} bytes`)
            pieces.push(piece.subarray(0, length))
        }
        return pieces.length === 1 ? pieces[0]! : new Uint8Array(Buffer.concat(pieces, total))
    } catch (error) {
        if (error instanceof Fault) throw error
        throw cannot('read', path, error)
    } finally {
        closeSync(fd)
    }
}

/** Makes a directory with exactly this mode, durably; one that exists is left as it is. Its parents are made 0755. */
export function ensureDirectory(path: string, mode: number, calls: AtomicCalls = systemCalls): void {
    try {
        mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
        mkdirSync(path, { mode })
    } catch (error) {
        if (codeOf(error) === 'EEXIST' && statSync(path).isDirectory()) return
        throw cannot('make', path, error)
    }
    chmodSync(path, mode)
    syncDirectory(dirname(path), calls)
}

/** Makes the entries of a directory durable. */
export function syncDirectory(path: string, calls: AtomicCalls = systemCalls): void {
    const fd = calls.open(path, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
        calls.sync(fd)
    } finally {
        closeSync(fd)
    }
}

const temporaryName = /^\..+\.[0-9a-f]{12}\.tmp$/

/**
 * Removes the temporary files that a killed process left in a directory, and returns their names. Call it only under
 * the lock that keeps other writers of that directory out.
 */
export function sweepTemporaries(directory: string, calls: AtomicCalls = systemCalls): string[] {
    const left = readdirSync(directory).filter(name => temporaryName.test(name))
    for (const name of left) calls.unlink(join(directory, name))
    if (left.length > 0) syncDirectory(directory, calls)
    return left
}

function unlinkQuietly(path: string): void {
    try {
        unlinkSync(path)
    } catch {
        // The first error is the one to report; the name says what this file is.
    }
}

const hints: Record<string, string> = {
    ENOSPC: 'free some space on that file system',
    EDQUOT: 'free some space on that file system',
    EROFS: 'the file system is mounted read-only: look at `dmesg` for why',
    EACCES: 'run it as root',
    EPERM: 'run it as root; `lsattr` shows whether the file is immutable',
}

function cannot(verb: 'write' | 'remove' | 'read' | 'make', path: string, error: unknown): Fault {
    const code = codeOf(error)
    const why = error instanceof Error ? error.message : String(error)
    const hint = code === undefined ? undefined : hints[code]
    return new Fault('failed', `cannot ${verb} ${path}: ${why}`, { hint, cause: error })
}
