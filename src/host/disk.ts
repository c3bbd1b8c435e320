/** The disk as the engine needs it: few operations, each durable when it returns, made of calls that a test can fail. */
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { codeOf, syncFileSystem } from './libc.ts'

/** All paths are absolute. Everything is synchronous: the engine orders its effects, and the order is what it is for. */
export interface Disk {
    /** Makes a directory and the missing ones above it; durable. No error when it is there. */
    mkdir(path: string, mode: number): void
    /** Sorted names; none when the directory is not there. */
    list(path: string): string[]
    exists(path: string): boolean
    /** Bytes of a file; undefined when it is not there. */
    size(path: string): number | undefined
    /** Undefined when the file is not there. */
    read(path: string): Uint8Array | undefined
    /** Short only at the end of the file; empty when it is not there. */
    readAt(path: string, offset: number, length: number): Uint8Array
    /** Opens for appending; a file that this creates has a durable name, its content needs `sync`. */
    append(path: string, mode: number): AppendFile
    /** The old content or the new after a crash, never a mixture; durable. */
    replace(path: string, bytes: Uint8Array, mode: number): void
    /** Durable. */
    rename(from: string, to: string): void
    /** Durable; no error when the file is gone. */
    remove(path: string): void
    /** Durable as a whole, not in its steps; no error when it is gone. */
    removeTree(path: string): void
    /** Makes durable whatever a process that was killed has left unsynced on the file system of this directory. */
    syncAll(path: string): void
}

export interface AppendFile {
    append(bytes: Uint8Array): void
    /** Cuts the file; durable with the next `sync`. */
    truncate(size: number): void
    sync(): void
    close(): void
}

/** The system calls behind a disk. A test puts its own below the same rules. */
export interface DiskCalls {
    /** `create` fails when the file is there, `append` makes it when it is not. */
    open(path: string, how: 'create' | 'append', mode: number): number
    /** May write less than it was given. */
    write(fd: number, bytes: Uint8Array): number
    truncate(fd: number, size: number): void
    fsync(fd: number): void
    close(fd: number): void
    syncDirectory(path: string): void
    mkdir(path: string, mode: number): void
    rename(from: string, to: string): void
    unlink(path: string): void
    removeTree(path: string): void
    syncFileSystem(path: string): void
    stat(path: string): { directory: boolean; size: number } | undefined
    names(path: string): string[] | undefined
    readAt(path: string, offset: number, length: number): Uint8Array | undefined
}

export function realDisk(): Disk {
    return diskOn(diskCalls)
}

/** The name of the unfinished copy that `replace` works on. A crash may leave one; the owner of the directory sweeps. */
export function temporaryOf(name: string): string {
    return `.${name}.tmp`
}

export function isTemporary(name: string): boolean {
    return name.startsWith('.') && name.endsWith('.tmp')
}

/** The order of calls that makes each operation durable. */
export function diskOn(calls: DiskCalls): Disk {
    const writeAll = (fd: number, bytes: Uint8Array) => {
        for (let at = 0; at < bytes.length; ) at += calls.write(fd, bytes.subarray(at))
    }
    const disk: Disk = {
        mkdir(path, mode) {
            if (calls.stat(path)?.directory) {
                // It may be there since a moment before a crash, and not be durable yet.
                calls.syncDirectory(dirname(path))
                return
            }
            const parent = dirname(path)
            if (parent !== path && !calls.stat(parent)) disk.mkdir(parent, mode)
            calls.mkdir(path, mode)
            calls.syncDirectory(parent)
        },
        list: path => (calls.names(path) ?? []).sort(),
        exists: path => calls.stat(path) !== undefined,
        size: path => calls.stat(path)?.size,
        read(path) {
            const size = calls.stat(path)?.size
            return size === undefined ? undefined : calls.readAt(path, 0, size)
        },
        readAt: (path, offset, length) => calls.readAt(path, offset, length) ?? new Uint8Array(0),
        append(path, mode) {
            const fd = calls.open(path, 'append', mode)
            try {
                calls.syncDirectory(dirname(path))
            } catch (error) {
                calls.close(fd)
                throw error
            }
            return {
                append: bytes => writeAll(fd, bytes),
                truncate: size => calls.truncate(fd, size),
                sync: () => calls.fsync(fd),
                close: () => calls.close(fd),
            }
        },
        replace(path, bytes, mode) {
            const directory = dirname(path)
            const temporary = join(directory, temporaryOf(path.slice(directory.length).replace(/^\/+/, '')))
            if (calls.stat(temporary)) calls.unlink(temporary)
            const fd = calls.open(temporary, 'create', mode)
            try {
                try {
                    writeAll(fd, bytes)
                    calls.fsync(fd)
                } finally {
                    calls.close(fd)
                }
                calls.rename(temporary, path)
            } catch (error) {
                try {
                    calls.unlink(temporary)
                    calls.syncDirectory(directory)
                } catch {
                    // The first failure is the one to tell; the sweep takes what is left.
                }
                throw error
            }
            calls.syncDirectory(directory)
        },
        rename(from, to) {
            calls.rename(from, to)
            calls.syncDirectory(dirname(to))
            if (dirname(from) !== dirname(to)) calls.syncDirectory(dirname(from))
        },
        remove(path) {
            if (calls.stat(path)) calls.unlink(path)
            // Also when it is gone: the removal may have happened before a crash and not be durable yet.
            if (calls.stat(dirname(path))) calls.syncDirectory(dirname(path))
        },
        removeTree(path) {
            if (calls.stat(path)) calls.removeTree(path)
            if (calls.stat(dirname(path))) calls.syncDirectory(dirname(path))
        },
        syncAll: path => calls.syncFileSystem(path),
    }
    return disk
}

const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW, O_RDONLY, O_DIRECTORY } = fs.constants

function absentAsUndefined<T>(look: () => T): T | undefined {
    try {
        return look()
    } catch (error) {
        const code = codeOf(error)
        if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
        throw error
    }
}

export const diskCalls: DiskCalls = {
    open(path, how, mode) {
        const flags = O_WRONLY | O_CREAT | O_NOFOLLOW | (how === 'create' ? O_EXCL : O_APPEND)
        return fs.openSync(path, flags, mode)
    },
    write: (fd, bytes) => fs.writeSync(fd, bytes),
    truncate: (fd, size) => fs.ftruncateSync(fd, size),
    fsync: fd => fs.fsyncSync(fd),
    close: fd => fs.closeSync(fd),
    syncDirectory(path) {
        const fd = fs.openSync(path, O_RDONLY | O_DIRECTORY)
        try {
            fs.fsyncSync(fd)
        } finally {
            fs.closeSync(fd)
        }
    },
    mkdir: (path, mode) => fs.mkdirSync(path, { mode }),
    rename: (from, to) => fs.renameSync(from, to),
    unlink: path => fs.unlinkSync(path),
    removeTree: path => fs.rmSync(path, { recursive: true, force: true }),
    syncFileSystem(path) {
        const fd = fs.openSync(path, O_RDONLY | O_DIRECTORY)
        try {
            syncFileSystem(fd)
        } finally {
            fs.closeSync(fd)
        }
    },
    stat(path) {
        const found = absentAsUndefined(() => fs.lstatSync(path))
        return found && { directory: found.isDirectory(), size: found.size }
    },
    names: path => absentAsUndefined(() => fs.readdirSync(path)),
    readAt(path, offset, length) {
        const fd = absentAsUndefined(() => fs.openSync(path, O_RDONLY | O_NOFOLLOW))
        if (fd === undefined) return undefined
        try {
            const buffer = new Uint8Array(length)
            let filled = 0
            while (filled < length) {
                const count = fs.readSync(fd, buffer, filled, length - filled, offset + filled)
                if (count === 0) break
                filled += count
            }
            return buffer.subarray(0, filled)
        } finally {
            fs.closeSync(fd)
        }
    },
}
