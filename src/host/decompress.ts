/**
 * The only door to liblzma, libbz2, zlib and libzstd: foreign streams (gz, bz2, xz, lzma, zst) piece by piece.
 *
 * Every Debian has these libraries because dpkg needs them. Bun's own zstd stream takes a cut stream for a whole one, and
 * it has no xz and no bzip2. Here each stream must reach its end and nothing may stand behind it. The states of the
 * libraries hold addresses of buffers, so state and buffers are memory of the C library that no collector moves or frees.
 */
import { dlopen, FFIType, type Pointer, toArrayBuffer } from 'bun:ffi'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

const { i32, u32, u64, ptr, cstring } = FFIType

export type Compression = 'none' | 'gz' | 'bz2' | 'xz' | 'lzma' | 'zst'

/** What a stream's first bytes say; 512 of them are enough. Undefined: neither a tar nor one of the five. */
export function detectCompression(bytes: Uint8Array): Compression | undefined {
    const begins = (...magic: number[]) => magic.every((byte, at) => bytes[at] === byte)
    if (begins(0x1f, 0x8b)) return 'gz'
    if (begins(0x42, 0x5a, 0x68)) return 'bz2'
    if (begins(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)) return 'xz'
    if (begins(0x28, 0xb5, 0x2f, 0xfd)) return 'zst'
    if (Buffer.from(bytes.subarray(257, 262)).toString('latin1') === 'ustar') return 'none'
    // Properties, then a dictionary size: lzma alone has no magic number.
    if (begins(0x5d, 0, 0)) return 'lzma'
    return undefined
}

/** Room for one piece of each side. */
const PIECE = 256 * 1024

/**
 * All plain bytes, in views of one buffer that is used again for the next one. A damaged or cut stream throws
 * `Fault('damaged')`; reading to the end proves that it was whole.
 */
export function* decompress(
    kind: Compression,
    source: Iterable<Uint8Array>,
    name: string,
): Generator<Uint8Array, void> {
    if (kind === 'none') {
        yield* source
        return
    }
    const memory = new Memory(STATE + 2 * PIECE)
    let decoder: Decoder | undefined
    try {
        decoder = kind === 'zst' ? new Zstd(memory) : new Classic(memory, kind)
        const input = memory.bytes.subarray(STATE, STATE + PIECE)
        const output = memory.bytes.subarray(STATE + PIECE)
        for (const piece of source)
            for (let at = 0; at < piece.length; at += PIECE) {
                const part = piece.subarray(at, at + PIECE)
                input.set(part)
                yield* drain(decoder, part.length, output, false)
            }
        yield* drain(decoder, 0, output, true)
        if (!decoder.ended) throw new Broken('it is cut off')
    } catch (error) {
        if (!(error instanceof Broken)) throw error
        throw new Fault(
            error.missing ? 'failed' : 'damaged',
            `cannot decompress ${name}: ${error.message} (${kind})`,
            {
                hint: error.missing
                    ? `apt install ${error.missing}`
                    : 'use another backup, or another copy of it',
            },
        )
    } finally {
        decoder?.close()
        memory.free()
    }
}

function* drain(decoder: Decoder, length: number, output: Uint8Array, last: boolean): Generator<Uint8Array> {
    decoder.give(length)
    for (;;) {
        const { made, more } = decoder.step(last)
        if (made > 0) yield output.subarray(0, made)
        if (!more) return
    }
}

class Broken extends Error {
    constructor(
        why: string,
        readonly missing?: string,
    ) {
        super(why)
    }
}

interface Decoder {
    /** The stream ended properly with the last byte that was given. */
    readonly ended: boolean
    /** So many new bytes stand at the beginning of the input buffer. */
    give(length: number): void
    /** Fills the output buffer from its beginning; `more` when another call is needed before new input. */
    step(last: boolean): { made: number; more: boolean }
    close(): void
}

/** Bytes in front of the two buffers, for the state of a library: the largest has 136. */
const STATE = 256

function open<T>(load: () => T, file: string, debian: string): T {
    try {
        return load()
    } catch {
        throw new Broken(`${file} is missing`, debian)
    }
}

/** A stretch of zeroed memory with an address that stays. */
class Memory {
    readonly at: number
    readonly bytes: Uint8Array
    readonly view: DataView
    readonly #free: (at: Pointer) => void

    constructor(size: number) {
        const { calloc, free } = dlopen('libc.so.6', {
            calloc: { args: [u64, u64], returns: ptr },
            free: { args: [ptr], returns: FFIType.void },
        }).symbols
        const at = calloc(1, size)
        if (at === null) throw new Fault('failed', 'cannot decompress: no memory left')
        this.#free = free
        this.at = at as unknown as number
        const buffer = toArrayBuffer(at as Pointer, 0, size)
        this.bytes = new Uint8Array(buffer)
        this.view = new DataView(buffer)
    }

    /** No view of it may be used from here on. */
    free(): void {
        this.#free(this.at as unknown as Pointer)
    }

    set(at: number, value: number): void {
        this.view.setBigUint64(at, BigInt(value), true)
    }

    get(at: number): number {
        return Number(this.view.getBigUint64(at, true))
    }
}

interface Library {
    begin(): number
    code(action: number): number
    /** For another member behind the one that ended; undefined when the library goes on by itself. */
    again?(): number
    end(): void
    /** Values of `code`. */
    readonly good: number
    readonly over: number
    /** No progress was possible; it is no damage by itself. */
    readonly idle: number
    /** Lengths are 32 bits wide. */
    readonly short: boolean
    readonly finish: number
}

/** zlib, libbz2 and liblzma share their interface: `next_in` at 0, `avail_in` at 8, `next_out` at 24, `avail_out` at 32. */
class Classic implements Decoder {
    readonly #memory: Memory
    readonly #library: Library
    ended = false

    constructor(memory: Memory, kind: Exclude<Compression, 'none' | 'zst'>) {
        this.#memory = memory
        const at = memory.at as unknown as Pointer
        this.#library = kind === 'gz' ? zlib(at) : kind === 'bz2' ? bzip2(at) : lzma(at)
        if (this.#library.begin() !== this.#library.good) throw new Broken('its decoder does not start')
    }

    give(length: number): void {
        this.#memory.set(0, this.#memory.at + STATE)
        this.#setLength(8, length)
    }

    step(last: boolean): { made: number; more: boolean } {
        const { good, over, idle, finish } = this.#library
        const memory = this.#memory
        if (this.ended) {
            if (this.#length(8) === 0) return { made: 0, more: false }
            // Another member: tools write several of them one behind the other, and that is one stream.
            if (this.#library.again === undefined || this.#library.again() !== good)
                throw new Broken('something stands behind its end')
            this.ended = false
        }
        memory.set(24, memory.at + STATE + PIECE)
        this.#setLength(32, PIECE)
        const before = this.#length(8)
        const result = this.#library.code(last ? finish : 0)
        const left = this.#length(8)
        const made = PIECE - this.#length(32)
        if (result === over) this.ended = true
        else if (result !== good && result !== idle) throw new Broken('it is damaged')
        const moved = made > 0 || left < before
        // All output was fetched when the buffer was not filled.
        return { made, more: moved && (left > 0 || made === PIECE || (last && !this.ended)) }
    }

    close(): void {
        this.#library.end()
    }

    #setLength(at: number, value: number): void {
        if (this.#library.short) this.#memory.view.setUint32(at, value, true)
        else this.#memory.set(at, value)
    }

    #length(at: number): number {
        return this.#library.short ? this.#memory.view.getUint32(at, true) : this.#memory.get(at)
    }
}

function zlib(at: Pointer): Library {
    const c = open(
        () =>
            dlopen('libz.so.1', {
                zlibVersion: { args: [], returns: cstring },
                inflateInit2_: { args: [ptr, i32, ptr, i32], returns: i32 },
                inflate: { args: [ptr, i32], returns: i32 },
                inflateReset: { args: [ptr], returns: i32 },
                inflateEnd: { args: [ptr], returns: i32 },
            }).symbols,
        'libz.so.1',
        'zlib1g',
    )
    // zlib compares the first character only, and the size of its state.
    const version = Buffer.from('1.2.11\0')
    return {
        begin: () => c.inflateInit2_(at, 15 + 16, version, 112),
        code: action => c.inflate(at, action),
        again: () => c.inflateReset(at),
        end: () => void c.inflateEnd(at),
        good: 0,
        over: 1,
        idle: -5,
        short: true,
        finish: 0,
    }
}

function bzip2(at: Pointer): Library {
    const c = open(
        () =>
            dlopen('libbz2.so.1.0', {
                BZ2_bzDecompressInit: { args: [ptr, i32, i32], returns: i32 },
                BZ2_bzDecompress: { args: [ptr], returns: i32 },
                BZ2_bzDecompressEnd: { args: [ptr], returns: i32 },
            }).symbols,
        'libbz2.so.1.0',
        'libbz2-1.0',
    )
    return {
        begin: () => c.BZ2_bzDecompressInit(at, 0, 0),
        code: () => c.BZ2_bzDecompress(at),
        again: () => {
            c.BZ2_bzDecompressEnd(at)
            return c.BZ2_bzDecompressInit(at, 0, 0)
        },
        end: () => void c.BZ2_bzDecompressEnd(at),
        good: 0,
        over: 4,
        idle: 0,
        short: true,
        finish: 0,
    }
}

function lzma(at: Pointer): Library {
    const c = open(
        () =>
            dlopen('liblzma.so.5', {
                lzma_auto_decoder: { args: [ptr, u64, u32], returns: i32 },
                lzma_code: { args: [ptr, i32], returns: i32 },
                lzma_end: { args: [ptr], returns: FFIType.void },
            }).symbols,
        'liblzma.so.5',
        'liblzma5',
    )
    const concatenated = 0x08
    return {
        // Several streams behind one another are one, as `xz -d` sees it; it goes on by itself.
        begin: () => c.lzma_auto_decoder(at, limits.foreignDecoderBytes, concatenated),
        code: action => c.lzma_code(at, action),
        end: () => c.lzma_end(at),
        good: 0,
        over: 1,
        idle: 10,
        short: false,
        finish: 3,
    }
}

/** libzstd has structures of three words: address, size, position. */
class Zstd implements Decoder {
    readonly #memory: Memory
    readonly #c: ReturnType<typeof zstdLibrary>
    readonly #state: Pointer
    ended = false

    constructor(memory: Memory) {
        this.#memory = memory
        this.#c = open(zstdLibrary, 'libzstd.so.1', 'libzstd1')
        const state = this.#c.ZSTD_createDStream()
        if (state === null) throw new Broken('its decoder does not start')
        this.#state = state as Pointer
        memory.set(0, memory.at + STATE)
        memory.set(24, memory.at + STATE + PIECE)
        memory.set(32, PIECE)
    }

    give(length: number): void {
        this.#memory.set(8, length)
        this.#memory.set(16, 0)
    }

    step(): { made: number; more: boolean } {
        const memory = this.#memory
        const length = memory.get(8)
        if (length === 0) return { made: 0, more: false }
        memory.set(40, 0)
        const at = memory.at
        const result = this.#c.ZSTD_decompressStream(
            this.#state,
            (at + 24) as unknown as Pointer,
            at as unknown as Pointer,
        )
        if (this.#c.ZSTD_isError(result) !== 0) throw new Broken('it is damaged')
        // Zero: a frame ended and all of it was handed out; another one may follow.
        this.ended = Number(result) === 0
        const made = memory.get(40)
        return { made, more: memory.get(16) < length || (made === PIECE && !this.ended) }
    }

    close(): void {
        this.#c.ZSTD_freeDStream(this.#state)
    }
}

function zstdLibrary() {
    return dlopen('libzstd.so.1', {
        ZSTD_createDStream: { args: [], returns: ptr },
        ZSTD_freeDStream: { args: [ptr], returns: u64 },
        ZSTD_decompressStream: { args: [ptr, ptr, ptr], returns: u64 },
        ZSTD_isError: { args: [u64], returns: u32 },
    }).symbols
}
