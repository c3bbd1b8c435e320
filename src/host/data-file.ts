/** One large file that is read and written at offsets: an archive being made or read, the data of the frame cache. */
import {
    closeSync,
    constants,
    fstatSync,
    fsyncSync,
    ftruncateSync,
    mkdirSync,
    openSync,
    readdirSync,
    readSync,
    rmSync,
    statSync,
    writeSync,
} from 'node:fs'
import { Fault } from '../core/errors.ts'

export class DataFile {
    readonly path: string
    readonly #fd: number

    private constructor(path: string, flags: number) {
        this.path = path
        this.#fd = openSync(path, flags, 0o600)
    }

    /** A new file, 0600; fails when the name is taken. */
    static create(path: string): DataFile {
        return new DataFile(
            path,
            constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
        )
    }

    static openOrCreate(path: string): DataFile {
        return new DataFile(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW)
    }

    /** Follows a final link: people may keep archives behind one. Never waits on a pipe; only a regular file will do. */
    static openForReading(path: string): DataFile {
        const file = new DataFile(path, constants.O_RDONLY | constants.O_NONBLOCK)
        if (fstatSync(file.#fd).isFile()) return file
        file.close()
        throw new Fault('usage', `cannot open ${path}: it is not a file`)
    }

    get size(): number {
        return fstatSync(this.#fd).size
    }

    /** `length` bytes from `offset`, fewer only at the end of the file. */
    read(offset: number, length: number): Uint8Array {
        const bytes = new Uint8Array(length)
        const got = this.readInto(bytes, offset)
        return got === length ? bytes : bytes.subarray(0, got)
    }

    readInto(bytes: Uint8Array, offset: number): number {
        let at = 0
        while (at < bytes.length) {
            const got = readSync(this.#fd, bytes, at, bytes.length - at, offset + at)
            if (got === 0) break
            at += got
        }
        return at
    }

    writeAt(bytes: Uint8Array, offset: number): void {
        for (let at = 0; at < bytes.length; )
            at += writeSync(this.#fd, bytes, at, bytes.length - at, offset + at)
    }

    truncate(size: number): void {
        ftruncateSync(this.#fd, size)
    }

    sync(): void {
        fsyncSync(this.#fd)
    }

    close(): void {
        closeSync(this.#fd)
    }
}

/** Makes a directory of proxsave's own, 0700, with the missing ones above it. */
export function makePrivateDirectory(path: string): void {
    mkdirSync(path, { recursive: true, mode: 0o700 })
}

/** Removes a file that is no longer wanted; no error when it is gone. Not durable by itself. */
export function discardFile(path: string): void {
    rmSync(path, { force: true })
}

/** Removes a directory of proxsave's own with all in it; no error when it is gone. Not durable by itself. */
export function discardDirectory(path: string): void {
    rmSync(path, { recursive: true, force: true })
}

/** Bytes of the files in a directory so far; 0 while it cannot be read. What vanishes meanwhile does not count. */
export function bytesIn(directory: string): number {
    try {
        return readdirSync(directory).reduce(
            (sum, name) => sum + (statSync(`${directory}/${name}`, { throwIfNoEntry: false })?.size ?? 0),
            0,
        )
    } catch {
        return 0
    }
}

/** What tells one content of a file from another without reading it: place, size, and times to the nanosecond. */
export function fileStamp(path: string): string {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`
}
