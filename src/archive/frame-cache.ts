/**
 * The frames of the last run, kept so that what did not change is copied instead of read and compressed again.
 *
 * Two files in a private directory: `frames.dat`, to which frames are only appended, and `index`, replaced at the end of
 * a run. It is a cache: a frame's hash is checked before it is used, and anything odd means that it is not used.
 */
import { deserialize, serialize } from 'bun:jsc'
import { randomBytes } from 'node:crypto'
import { limits } from '../core/limits.ts'
import { readSmallFile, replaceFile } from '../host/atomic.ts'
import { DataFile, discardFile, makePrivateDirectory } from '../host/data-file.ts'

/** A compressed frame in `frames.dat`. */
export interface CachedFrame {
    at: number
    stored: number
    plain: number
    /** xxHash3 of the compressed bytes: finds a damaged cache, not an attacker, who would own the host already. */
    hash: bigint
}

/** What was read together: a group of small files, or one large file. */
export interface CachedUnit {
    frames: CachedFrame[]
    /** SHA-256 of each file of the unit, one behind the other. */
    digests: Uint8Array
    /** Where each entry begins in the unit's tar bytes. */
    offsets: number[]
    /** When the run that really read it began, ns since the epoch: what changed later, or just before, is read again. */
    readNs: bigint
    /** Keys of a large file's pieces (`pieceKey`), one for each frame but the first. */
    pieces?: string[]
    /** A sparse file, whose digest leaves the holes out. */
    holes?: boolean
    /** `xattrsDigest` of those entries that have extended attributes, by their number in the unit. */
    xattrs?: Map<number, string>
}

interface Stored {
    version: 4
    /** Two secret seeds for the keys of pieces. */
    seeds: [bigint, bigint]
    dataSize: number
    units: Map<string, CachedUnit>
}

/** Clocks of file systems tick in steps of up to two seconds. */
const TICK_NS = 2_000_000_000n

export class FrameCache {
    readonly #directory: string
    readonly #data: DataFile
    readonly #before: Map<string, CachedUnit>
    readonly #seeds: [bigint, bigint]
    readonly #pieces = new Map<string, CachedFrame>()
    readonly #now = new Map<string, CachedUnit>()
    #end: number
    #pending: Uint8Array[] = []
    #pendingBytes = 0

    /** Opens the cache in `directory` (0700, made if need be); one worker at a time, under the worker's lock. */
    constructor(directory: string) {
        this.#directory = directory
        makePrivateDirectory(directory)
        this.#data = DataFile.openOrCreate(`${directory}/frames.dat`)
        const size = this.#data.size
        const stored = readIndexFile(`${directory}/index`)
        if (stored === undefined || stored.dataSize > size) {
            this.#data.truncate(0)
            this.#seeds = [randomSeed(), randomSeed()]
            this.#before = new Map()
            this.#end = 0
            return
        }
        // What an interrupted run appended behind the last index is garbage.
        if (size > stored.dataSize) this.#data.truncate(stored.dataSize)
        this.#seeds = stored.seeds
        this.#before = stored.units
        this.#end = stored.dataSize
        for (const unit of stored.units.values())
            for (const [i, key] of (unit.pieces ?? []).entries()) this.#pieces.set(key, unit.frames[i + 1]!)
    }

    /**
     * The unit of the last run under this signature, when nothing in it can have changed since: `newestNs` is the
     * latest modification or change time among its entries.
     */
    find(signature: string, newestNs: bigint): CachedUnit | undefined {
        const unit = this.#before.get(signature)
        if (unit === undefined || newestNs >= unit.readNs - TICK_NS) return undefined
        return unit
    }

    /**
     * Names a piece by its content: 128 bits of xxHash3, ten times faster than SHA-256. Its seeds are secret, so nobody
     * can make two pieces that have the same name.
     */
    pieceKey(piece: Uint8Array): string {
        const [a, b] = this.#seeds
        return `${Bun.hash.xxHash3(piece, a)}.${Bun.hash.xxHash3(piece, b)}`
    }

    /** A piece of a large file with this content, from this run or the last. */
    findPiece(key: string): CachedFrame | undefined {
        return this.#pieces.get(key)
    }

    /** The compressed bytes of a frame, in `room` where they fit, or undefined when the cache is damaged there. */
    read(frame: CachedFrame, room?: Uint8Array): Uint8Array | undefined {
        if (frame.at + frame.stored > this.#end - this.#pendingBytes) this.#flush()
        const fits = room !== undefined && room.length >= frame.stored
        const bytes = fits ? room.subarray(0, frame.stored) : new Uint8Array(frame.stored)
        if (this.#data.readInto(bytes, frame.at) < frame.stored) return undefined
        return Bun.hash.xxHash3(bytes) === frame.hash ? bytes : undefined
    }

    /** Keeps a unit for the next run. */
    keep(signature: string, unit: CachedUnit): void {
        this.#now.set(signature, unit)
        for (const [i, key] of (unit.pieces ?? []).entries()) this.#pieces.set(key, unit.frames[i + 1]!)
    }

    /** Appends a new frame; undefined when the cache has reached its bound. */
    add(stored: Uint8Array, plain: number): CachedFrame | undefined {
        if (this.#end + stored.length > limits.cacheBytes) return undefined
        const frame = {
            at: this.#end,
            stored: stored.length,
            plain,
            hash: Bun.hash.xxHash3(stored) as bigint,
        }
        this.#pending.push(stored)
        this.#pendingBytes += stored.length
        this.#end += stored.length
        if (this.#pendingBytes >= limits.writeBytes) this.#flush()
        return frame
    }

    #flush(): void {
        let at = this.#end - this.#pendingBytes
        for (const bytes of this.#pending) {
            this.#data.writeAt(bytes, at)
            at += bytes.length
        }
        this.#pending = []
        this.#pendingBytes = 0
    }

    /** Makes this run's units the ones that the next run finds; drops what they no longer use when that is most of it. */
    commit(): void {
        this.#flush()
        let live = 0
        for (const unit of this.#now.values()) for (const frame of unit.frames) live += frame.stored
        if (live * 2 < this.#end) this.#compact()
        const stored: Stored = { version: 4, seeds: this.#seeds, dataSize: this.#end, units: this.#now }
        const body = new Uint8Array(serialize(stored))
        const file = Buffer.alloc(8 + body.length)
        file.writeBigUInt64LE(Bun.hash.xxHash3(body) as bigint)
        file.set(body, 8)
        replaceFile(`${this.#directory}/index`, file, { mode: 0o600 })
    }

    /** Moves the live frames to the front, in place: each moves down, so none is overwritten before it was read. */
    #compact(): void {
        const frames = new Set([...this.#now.values()].flatMap(unit => unit.frames))
        const ordered = [...frames].sort((a, b) => a.at - b.at)
        // The old index would point into moved data if we crashed half-way: without it the cache is simply empty.
        discardFile(`${this.#directory}/index`)
        let end = 0
        const moved = new Map<number, number>()
        for (const frame of ordered) {
            const known = moved.get(frame.at)
            if (known !== undefined) {
                frame.at = known
                continue
            }
            this.#data.writeAt(this.#data.read(frame.at, frame.stored), end)
            moved.set(frame.at, end)
            frame.at = end
            end += frame.stored
        }
        this.#data.truncate(end)
        this.#end = end
    }

    close(): void {
        this.#data.close()
    }
}

const randomSeed = () => new DataView(Uint8Array.from(randomBytes(8)).buffer).getBigUint64(0)

function readIndexFile(path: string): Stored | undefined {
    try {
        const bytes = readSmallFile(path, limits.indexBytes)
        if (bytes === undefined || bytes.length < 8) return undefined
        const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
        const body = file.subarray(8)
        if (file.readBigUInt64LE(0) !== Bun.hash.xxHash3(body)) return undefined
        const stored = deserialize(new Uint8Array(body).buffer) as Stored
        return stored.version === 4 ? stored : undefined
    } catch {
        // No cache, or one of another version: everything is read.
        return undefined
    }
}
