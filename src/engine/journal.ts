/** The journal of one change: append-only, each record framed by its length and its hash, durable before `append` returns. */
import { createHash } from 'node:crypto'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { AppendFile, Disk } from '../host/disk.ts'
import type { Json } from './change.ts'

/** A frame: length of the payload (u32, big endian), first half of its SHA-256, the payload as JSON. */
const hashBytes = 16
const headBytes = 4 + hashBytes

/** Readers take this much at a time from the file, or one record when that is more. */
const chunkBytes = 64 * 1024

export class Journal {
    readonly path: string
    readonly #disk: Disk
    #file: AppendFile | undefined
    #size: number
    #dirty: boolean
    #uncertain = false

    /** Opens for appending, and makes the file when it is not there. What lies behind the last whole record is cut off. */
    constructor(disk: Disk, path: string) {
        this.path = path
        this.#disk = disk
        const reader = new JournalReader(disk, path)
        while (reader.next() !== undefined);
        this.#size = reader.offset
        this.#dirty = (disk.size(path) ?? 0) > this.#size
        this.#file = disk.append(path, 0o600)
    }

    /** Bytes that are known to be whole and durable; readers of a live journal stop here. */
    get size(): number {
        return this.#size
    }

    /**
     * True when an append failed and what it wrote could not be cut off: some of it may be there after a power loss, or
     * for the next process. An append that works makes the journal certain again.
     */
    get uncertain(): boolean {
        return this.#uncertain
    }

    /** Writes the records with one sync. When it throws, none of them counts; appending may be tried again. */
    append(records: readonly Json[]): void {
        const bytes = Buffer.concat(records.map(frame))
        try {
            this.#file ??= this.#disk.append(this.path, 0o600)
            if (this.#dirty) this.#file.truncate(this.#size)
            this.#dirty = true
            this.#file.append(bytes)
            this.#file.sync()
        } catch (error) {
            this.#cutOff()
            throw unwritable(this.path, error)
        }
        this.#size += bytes.length
        this.#dirty = false
        this.#uncertain = false
    }

    /** Makes durable what an earlier process may have written without living to sync it. */
    sync(): void {
        this.append([])
    }

    close(): void {
        this.#file?.close()
        this.#file = undefined
    }

    /** Takes a failed append back, durably: whole records of it may have reached the file. */
    #cutOff(): void {
        if (this.#file === undefined) return
        this.#uncertain = true
        try {
            this.#file.truncate(this.#size)
            this.#file.sync()
            this.#uncertain = false
        } catch {
            // It stays uncertain; the next append cuts first.
        }
    }
}

/** Reads records in order; may be asked again when the journal has grown. */
export class JournalReader {
    readonly #disk: Disk
    readonly #path: string
    #offset = 0
    #chunk: Uint8Array = new Uint8Array(0)
    #chunkAt = 0

    constructor(disk: Disk, path: string) {
        this.#disk = disk
        this.#path = path
    }

    /** Where the last whole record ended. */
    get offset(): number {
        return this.#offset
    }

    /** The next whole record that ends before `until`; undefined at the end, or at the first torn record. */
    next(until = Number.POSITIVE_INFINITY): Json | undefined {
        const head = this.#take(this.#offset, headBytes, until)
        if (head === undefined) return undefined
        const length = Buffer.from(head.buffer, head.byteOffset, 4).readUInt32BE(0)
        if (length > limits.journalRecordBytes) return undefined
        const hash = head.slice(4)
        const payload = this.#take(this.#offset + headBytes, length, until)
        if (payload === undefined || Buffer.compare(hash, hashOf(payload)) !== 0) return undefined
        this.#offset += headBytes + length
        return JSON.parse(Buffer.from(payload).toString('utf8')) as Json
    }

    #take(at: number, length: number, until: number): Uint8Array | undefined {
        if (at + length > until) return undefined
        if (at < this.#chunkAt || at + length > this.#chunkAt + this.#chunk.length) {
            const wanted = Math.min(Math.max(length, chunkBytes), until - at)
            this.#chunk = this.#disk.readAt(this.#path, at, wanted)
            this.#chunkAt = at
            if (this.#chunk.length < length) {
                this.#chunk = new Uint8Array(0)
                return undefined
            }
        }
        return this.#chunk.subarray(at - this.#chunkAt, at - this.#chunkAt + length)
    }
}

function frame(record: Json): Buffer {
    const payload = Buffer.from(JSON.stringify(record), 'utf8')
    if (payload.length > limits.journalRecordBytes)
        throw new Fault('failed', `cannot journal a record of ${payload.length} bytes: it is too large`)
    const head = Buffer.alloc(4)
    head.writeUInt32BE(payload.length)
    return Buffer.concat([head, hashOf(payload), payload])
}

function hashOf(payload: Uint8Array): Uint8Array {
    return createHash('sha256').update(payload).digest().subarray(0, hashBytes)
}

function unwritable(path: string, error: unknown): Fault {
    const why = error instanceof Error ? error.message : String(error)
    return new Fault('failed', `cannot write the journal ${path}: ${why}`, { cause: error })
}
