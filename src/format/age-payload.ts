/**
 * The payload of an age file: 64 KiB chunks, each sealed with ChaCha20-Poly1305 under a nonce that counts, the last one
 * marked as such. Written as a stream, read at any place.
 *
 * age-encryption does the header; its payload cipher is several times slower than what the host offers, and it cannot
 * seek. Hence the cipher is an argument, and this file knows only the arithmetic (https://age-encryption.org/v1).
 */
import { hkdfSync } from 'node:crypto'
import { Fault } from '../core/errors.ts'

/** ChaCha20-Poly1305 under one key; synchronous, and it allocates nothing. `host/libcrypto.ts` has it. */
export interface Aead {
    /** Writes the ciphertext and its 16 bytes of tag into `out`. The nonce has 12 bytes. */
    seal(nonce: Uint8Array, plain: Uint8Array, out: Uint8Array): void
    /** Writes the plain bytes into `out`; false, and zeros in `out`, when the tag does not fit. */
    open(nonce: Uint8Array, sealed: Uint8Array, out: Uint8Array): boolean
    close(): void
}

export type OpenAead = (key: Uint8Array) => Aead

/** Plain bytes of a full chunk. */
export const CHUNK = 64 * 1024
/** What sealing adds to each chunk. */
export const TAG = 16
/** A full chunk as it is stored. */
export const SEALED_CHUNK = CHUNK + TAG
/** Random bytes between the header and the first chunk. */
export const PAYLOAD_NONCE = 16
/** Chunks that are sealed or opened for one write or read: 1 MiB. */
const BATCH = 16

/** The key of the chunks, from the file key and the 16 random bytes behind the header. */
export function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): Uint8Array {
    if (fileKey.length !== 16) throw new RangeError('the file key has 16 bytes')
    if (nonce.length !== PAYLOAD_NONCE) throw new RangeError('the payload nonce has 16 bytes')
    return new Uint8Array(hkdfSync('sha256', fileKey, nonce, 'payload', 32))
}

/** Bytes of a payload (its nonce and its chunks) that carries `plainSize` bytes. */
export function payloadSize(plainSize: number): number {
    return PAYLOAD_NONCE + plainSize + TAG * Math.max(1, Math.ceil(plainSize / CHUNK))
}

/** The nonce of chunk `n`: eleven bytes of counter, one that says whether it is the last. */
class ChunkNonce {
    readonly bytes = new Uint8Array(12)
    readonly #view = new DataView(this.bytes.buffer)

    at(n: number, last: boolean): Uint8Array {
        this.#view.setUint32(3, Math.floor(n / 0x1_0000_0000))
        this.#view.setUint32(7, n >>> 0)
        this.bytes[11] = last ? 1 : 0
        return this.bytes
    }
}

/**
 * Seals a stream of pieces of any size. Sealed bytes come in turns of about 1 MiB through `emit`, the payload nonce
 * first; the view that `emit` gets is used again after it returns, so it must be written or copied at once. The header
 * goes before all of it. The cipher belongs to the caller, who closes it.
 */
export class AgeSealer {
    readonly #aead: Aead
    readonly #emit: (sealed: Uint8Array) => void
    readonly #nonce = new ChunkNonce()
    readonly #out = new Uint8Array(PAYLOAD_NONCE + BATCH * SEALED_CHUNK)
    #outUsed = PAYLOAD_NONCE
    /** Up to one full chunk waits here: only the end of the stream tells whether it is the last. */
    readonly #pending = new Uint8Array(CHUNK)
    #pendingUsed = 0
    #chunks = 0
    #emitted = 0
    #finished = false

    /** `aead` is `openAead(payloadKey(fileKey, nonce))` for the same 16 random bytes. */
    constructor(aead: Aead, nonce: Uint8Array, emit: (sealed: Uint8Array) => void) {
        if (nonce.length !== PAYLOAD_NONCE) throw new RangeError('the payload nonce has 16 bytes')
        this.#aead = aead
        this.#emit = emit
        this.#out.set(nonce)
    }

    /** Sealed bytes emitted so far, with the nonce. */
    get emitted(): number {
        return this.#emitted
    }

    push(plain: Uint8Array): void {
        if (this.#finished) throw new Error('the payload is finished')
        let at = 0
        if (this.#pendingUsed > 0) {
            at = Math.min(CHUNK - this.#pendingUsed, plain.length)
            this.#pending.set(at === plain.length ? plain : plain.subarray(0, at), this.#pendingUsed)
            this.#pendingUsed += at
            if (at === plain.length) return
            this.#seal(this.#pending, false)
            this.#pendingUsed = 0
        }
        for (; plain.length - at > CHUNK; at += CHUNK) this.#seal(plain.subarray(at, at + CHUNK), false)
        this.#pending.set(plain.subarray(at))
        this.#pendingUsed = plain.length - at
    }

    /** Seals the last chunk and emits everything. Returns the size of the payload. */
    finish(): number {
        if (this.#finished) throw new Error('the payload is finished')
        this.#seal(this.#pending.subarray(0, this.#pendingUsed), true)
        this.#finished = true
        this.#flush()
        this.#pending.fill(0)
        return this.#emitted
    }

    #seal(plain: Uint8Array, last: boolean): void {
        const size = plain.length + TAG
        if (this.#out.length - this.#outUsed < size) this.#flush()
        const out = this.#out.subarray(this.#outUsed, this.#outUsed + size)
        this.#aead.seal(this.#nonce.at(this.#chunks++, last), plain, out)
        this.#outUsed += size
    }

    #flush(): void {
        if (this.#outUsed === 0) return
        this.#emitted += this.#outUsed
        this.#emit(this.#out.subarray(0, this.#outUsed))
        this.#outUsed = 0
    }
}

/** Where the stored bytes are. */
export interface CipherSource {
    /** Size of the whole age file in bytes, header included. */
    size: number
    /** `length` bytes from `offset`; fewer only at the end. The view may be used again by the next call. */
    readAt(offset: number, length: number): Uint8Array
}

export interface AgeReaderOptions {
    /** Bytes of the header, from `readHeader`. */
    headerLength: number
    fileKey: Uint8Array
    openAead: OpenAead
    /** What errors call the file. */
    name?: string
}

/**
 * Opens any stretch of an age file. Its end is checked first: a file that was cut off between two chunks, or that
 * something was appended to, is refused by the constructor. A chunk that does not fit its tag is `Fault('damaged')`
 * with the number of the chunk and its offset in the age file. Close it to give the cipher's memory back.
 */
export class AgeReader {
    /** Bytes of the plain data; authenticated, because the last chunk was opened. */
    readonly plainSize: number
    readonly #source: CipherSource
    readonly #name: string
    readonly #aead: Aead
    readonly #nonce = new ChunkNonce()
    /** Where the first chunk begins. */
    readonly #begin: number
    readonly #chunks: number
    /** Chunks that were opened for a part of them: the next read often wants the rest. */
    readonly #recent = new Map<number, Uint8Array>()

    constructor(source: CipherSource, options: AgeReaderOptions) {
        this.#source = source
        this.#name = options.name ?? 'the encrypted data'
        this.#begin = options.headerLength + PAYLOAD_NONCE
        const sealed = source.size - this.#begin
        this.#chunks = Math.ceil(sealed / SEALED_CHUNK)
        this.plainSize = sealed - this.#chunks * TAG
        const lastSize = sealed - (this.#chunks - 1) * SEALED_CHUNK
        // A last chunk without content is allowed only where there is no content at all.
        if (sealed < TAG || lastSize < TAG || (lastSize === TAG && this.#chunks > 1))
            throw this.#damaged('it is cut off')
        const nonce = source.readAt(options.headerLength, PAYLOAD_NONCE)
        if (nonce.length !== PAYLOAD_NONCE) throw this.#damaged('it is cut off')
        this.#aead = options.openAead(payloadKey(options.fileKey, nonce))
        try {
            this.#checkEnd(lastSize)
        } catch (error) {
            this.#aead.close()
            throw error
        }
    }

    /** The plain bytes of a stretch, of the caller's own. Throws `Fault('damaged')` when it goes beyond the end. */
    read(offset: number, length: number): Uint8Array {
        this.#checkRange(offset, length)
        const out = new Uint8Array(length)
        this.readInto(offset, out)
        return out
    }

    /** As `read`, into a buffer that the caller uses again: several times faster for many reads. */
    readInto(offset: number, out: Uint8Array): void {
        this.#checkRange(offset, out.length)
        const end = offset + out.length
        for (let at = offset; at < end; ) {
            const n = Math.floor(at / CHUNK)
            const known = this.#recall(n)
            if (known !== undefined) {
                const from = at - n * CHUNK
                const piece = known.subarray(from, Math.min(known.length, from + end - at))
                out.set(piece, at - offset)
                at += piece.length
                continue
            }
            at = this.#readRun(n, at, end, offset, out)
        }
    }

    /**
     * All plain bytes from `from` to `to` (the end), in order, in views of up to 1 MiB that are used again for the
     * next one. Reading to the end proves every byte.
     */
    *stream(from = 0, to = this.plainSize): Generator<Uint8Array, void> {
        if (!(from >= 0 && from <= to && to <= this.plainSize))
            throw this.#damaged(`it has no bytes ${from} to ${to}, only ${this.plainSize} in all`)
        const plain = new Uint8Array(BATCH * CHUNK)
        for (let at = from; at < to; ) {
            const first = Math.floor(at / CHUNK)
            const count = Math.min(BATCH, Math.ceil(to / CHUNK) - first)
            const sealed = this.#readSealed(first, count)
            for (let n = first, used = 0; n < first + count; n++) {
                const size = this.#plainSizeOf(n)
                this.#open(n, sealed.subarray(used, used + size + TAG), plain.subarray((n - first) * CHUNK))
                used += size + TAG
            }
            const end = Math.min(to, (first + count) * CHUNK)
            yield plain.subarray(at - first * CHUNK, end - first * CHUNK)
            at = end
        }
    }

    close(): void {
        this.#recent.clear()
        this.#aead.close()
    }

    /** Opens chunks from `n` on until one is remembered or `end` is reached; returns how far it came. */
    #readRun(n: number, at: number, end: number, base: number, out: Uint8Array): number {
        let count = 1
        const most = Math.min(BATCH, Math.ceil(end / CHUNK) - n)
        while (count < most && !this.#recent.has(n + count)) count++
        const sealed = this.#readSealed(n, count)
        let reached = at
        for (let k = n, used = 0; k < n + count; k++) {
            const size = this.#plainSizeOf(k)
            const begin = k * CHUNK
            const piece = sealed.subarray(used, used + size + TAG)
            used += size + TAG
            if (begin >= at && begin + size <= end)
                this.#open(k, piece, out.subarray(begin - base, begin - base + size))
            else {
                const whole = this.#spare(size)
                this.#open(k, piece, whole)
                this.#recent.set(k, whole)
                out.set(whole.subarray(reached - begin, Math.min(size, end - begin)), reached - base)
            }
            reached = Math.min(end, begin + size)
        }
        return reached
    }

    #readSealed(first: number, count: number): Uint8Array {
        const offset = this.#begin + first * SEALED_CHUNK
        const last = first + count - 1
        const length = (count - 1) * SEALED_CHUNK + this.#plainSizeOf(last) + TAG
        const sealed = this.#source.readAt(offset, length)
        if (sealed.length !== length) throw this.#damaged(`it is cut off at byte ${offset + sealed.length}`)
        return sealed
    }

    #plainSizeOf(n: number): number {
        return n === this.#chunks - 1 ? this.plainSize - n * CHUNK : CHUNK
    }

    #open(n: number, sealed: Uint8Array, out: Uint8Array): void {
        if (!this.#aead.open(this.#nonce.at(n, n === this.#chunks - 1), sealed, out)) throw this.#tampered(n)
    }

    #checkEnd(lastSize: number): void {
        const n = this.#chunks - 1
        const sealed = this.#readSealed(n, 1)
        const plain = this.#spare(lastSize - TAG)
        if (this.#aead.open(this.#nonce.at(n, true), sealed, plain)) {
            this.#recent.set(n, plain)
            return
        }
        const wasNotLast = this.#aead.open(this.#nonce.at(n, false), sealed, plain)
        plain.fill(0)
        if (wasNotLast) throw this.#damaged(`it is cut off behind chunk ${n}`)
        throw this.#tampered(n)
    }

    #recall(n: number): Uint8Array | undefined {
        const known = this.#recent.get(n)
        if (known === undefined) return undefined
        this.#recent.delete(n)
        this.#recent.set(n, known)
        return known
    }

    /** Room for one more chunk to remember; that of the oldest one when there are enough. */
    #spare(size: number): Uint8Array {
        if (this.#recent.size < BATCH) return new Uint8Array(new ArrayBuffer(CHUNK), 0, size)
        const [oldest, room] = this.#recent.entries().next().value!
        this.#recent.delete(oldest)
        return new Uint8Array(room.buffer, 0, size)
    }

    #checkRange(offset: number, length: number): void {
        if (offset >= 0 && length >= 0 && offset + length <= this.plainSize) return
        throw this.#damaged(`it has no ${length} bytes at ${offset}, only ${this.plainSize} in all`)
    }

    #tampered(n: number): Fault {
        const offset = this.#begin + n * SEALED_CHUNK
        return new Fault(
            'damaged',
            `cannot decrypt ${this.#name}: chunk ${n}, at byte ${offset}, is damaged or was altered`,
            { facts: { chunk: n, offset } },
        )
    }

    #damaged(why: string): Fault {
        return new Fault('damaged', `cannot decrypt ${this.#name}: ${why}`)
    }
}
