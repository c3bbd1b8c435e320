/** The few files that the command line reads itself, because they belong to the caller and not to the daemon. */
import { closeSync, constants, existsSync, fstatSync, openSync, readSync, writeFileSync } from 'node:fs'
import { Fault } from '../core/errors.ts'

export interface LocalFiles {
    exists(path: string): boolean
    /** The bytes of a regular file of at most `most` bytes. Throws a fault that names `what`. */
    read(path: string, most: number, what: string): Uint8Array
    /** A new file, 0600; never replaces one. */
    create(path: string, text: string, what: string): void
}

export function localFiles(): LocalFiles {
    return { exists: existsSync, read, create }
}

function read(path: string, most: number, what: string): Uint8Array {
    let fd: number
    try {
        // NONBLOCK: a FIFO without a writer must not hang the terminal.
        fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    } catch (error) {
        throw new Fault('failed', `cannot read ${what} ${path}: ${whyOf(error)}`)
    }
    try {
        const stat = fstatSync(fd)
        if (!stat.isFile()) throw new Fault('failed', `cannot read ${what} ${path}: it is not a file`)
        if (stat.size > most)
            throw new Fault(
                'failed',
                `cannot read ${what} ${path}: it has ${stat.size} bytes, expected at most ${most}`,
            )
        const bytes = new Uint8Array(stat.size)
        let at = 0
        while (at < bytes.length) {
            const length = readSync(fd, bytes, at, bytes.length - at, at)
            if (length === 0) break
            at += length
        }
        return bytes.subarray(0, at)
    } finally {
        closeSync(fd)
    }
}

function create(path: string, text: string, what: string): void {
    try {
        writeFileSync(path, text, { mode: 0o600, flag: 'wx' })
    } catch (error) {
        const code = (error as { code?: string }).code
        throw new Fault('failed', `cannot write ${what} ${path}: ${whyOf(error)}`, {
            hint: code === 'EEXIST' ? 'choose another name; nothing is ever replaced' : undefined,
        })
    }
}

const reasons: Record<string, string> = {
    EEXIST: 'it exists already',
    ENOENT: 'there is no such file or directory',
    ENOTDIR: 'a part of the path is no directory',
    EISDIR: 'it is a directory',
    EACCES: 'not permitted',
    ENOSPC: 'the disk is full',
    EROFS: 'the file system is read-only',
}

function whyOf(error: unknown): string {
    const code = (error as { code?: string }).code ?? ''
    return reasons[code] ?? (code || String(error))
}
