/**
 * The only door to OpenSSL's libcrypto: ChaCha20-Poly1305 at the speed of the machine; and SHA-256 beside it.
 *
 * Bun's own crypto has no synchronous ChaCha20-Poly1305. Where libcrypto.so.3 is missing, @noble/ciphers takes over
 * with the same results, some twenty times slower. A typed array is passed to the call itself, never its address kept
 * as a number: the collector could free it under the call. The contexts are OpenSSL's own memory, so their addresses
 * may be kept. SHA-256 stays with Bun: through OpenSSL it was not faster (1.8 GB/s both, on 64 KiB pieces and larger).
 */
import { dlopen, FFIType, type Pointer } from 'bun:ffi'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import type { Aead } from '../format/age-payload.ts'

const { i32, ptr } = FFIType

const signatures = {
    EVP_CIPHER_CTX_new: { args: [], returns: ptr },
    EVP_CIPHER_CTX_free: { args: [ptr], returns: FFIType.void },
    EVP_chacha20_poly1305: { args: [], returns: ptr },
    EVP_EncryptInit_ex: { args: [ptr, ptr, ptr, ptr, ptr], returns: i32 },
    EVP_EncryptUpdate: { args: [ptr, ptr, ptr, ptr, i32], returns: i32 },
    EVP_EncryptFinal_ex: { args: [ptr, ptr, ptr], returns: i32 },
    EVP_DecryptInit_ex: { args: [ptr, ptr, ptr, ptr, ptr], returns: i32 },
    EVP_DecryptUpdate: { args: [ptr, ptr, ptr, ptr, i32], returns: i32 },
    EVP_DecryptFinal_ex: { args: [ptr, ptr, ptr], returns: i32 },
    EVP_CIPHER_CTX_ctrl: { args: [ptr, i32, i32, ptr], returns: i32 },
} as const

type Library = ReturnType<typeof dlopen<typeof signatures>>['symbols']

/** What this process computes with: OpenSSL, or the fallback. */
export interface Crypto {
    readonly engine: 'libcrypto' | 'fallback'
    openAead(key: Uint8Array): Aead
}

/** OpenSSL when the library loads, the fallback otherwise. `name` is an argument so that a test can miss it. */
export function loadCrypto(name = 'libcrypto.so.3'): Crypto {
    const library = load(name)
    return library === undefined ? fallback : openSsl(library)
}

function load(name: string): Library | undefined {
    try {
        const { symbols } = dlopen(name, signatures)
        // A FIPS build may load and still refuse the cipher.
        return symbols.EVP_chacha20_poly1305() === null ? undefined : symbols
    } catch {
        return undefined
    }
}

const crypto = loadCrypto()

/** ChaCha20-Poly1305 under one 32-byte key. Close it when done: its memory is not the collector's. */
export function openAead(key: Uint8Array): Aead {
    return crypto.openAead(key)
}

/** SHA-256 of bytes that are all there: 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
    return new Uint8Array(Bun.CryptoHasher.hash('sha256', bytes))
}

/** SHA-256 of a stream of pieces; `digest` ends one stream and the next `update` begins another. */
export class Sha256 {
    readonly #hasher = new Bun.CryptoHasher('sha256')

    update(bytes: Uint8Array): this {
        this.#hasher.update(bytes)
        return this
    }

    /** 32 bytes of the caller's own. */
    digest(): Uint8Array {
        return new Uint8Array(this.#hasher.digest())
    }
}

const TAG = 16
const EVP_CTRL_AEAD_GET_TAG = 0x10
const EVP_CTRL_AEAD_SET_TAG = 0x11

function openSsl(c: Library): Crypto {
    return { engine: 'libcrypto', openAead: key => new OpenSslAead(c, key) }
}

function need(ok: number, call: string): void {
    if (ok !== 1) throw new Error(`${call} failed`)
}

class OpenSslAead implements Aead {
    readonly #c: Library
    readonly #seal: Pointer
    readonly #open: Pointer
    readonly #tag = new Uint8Array(TAG)
    readonly #length = new Int32Array(1)
    #closed = false

    constructor(c: Library, key: Uint8Array) {
        if (key.length !== 32) throw new RangeError('the key has 32 bytes')
        this.#c = c
        const cipher = c.EVP_chacha20_poly1305()
        const seal = c.EVP_CIPHER_CTX_new()
        const open = c.EVP_CIPHER_CTX_new()
        if (seal === null || open === null) throw new Error('EVP_CIPHER_CTX_new failed')
        this.#seal = seal as Pointer
        this.#open = open as Pointer
        need(c.EVP_EncryptInit_ex(seal, cipher, null, key, null), 'EVP_EncryptInit_ex')
        need(c.EVP_DecryptInit_ex(open, cipher, null, key, null), 'EVP_DecryptInit_ex')
    }

    seal(nonce: Uint8Array, plain: Uint8Array, out: Uint8Array): void {
        checkLengths(this.#closed, nonce, plain.length, out.length - TAG)
        const c = this.#c
        const context = this.#seal
        need(c.EVP_EncryptInit_ex(context, null, null, null, nonce), 'EVP_EncryptInit_ex')
        // An empty view has no address.
        if (plain.length > 0)
            need(c.EVP_EncryptUpdate(context, out, this.#length, plain, plain.length), 'EVP_EncryptUpdate')
        // The final call writes nothing for a stream cipher; it wants an address all the same.
        need(c.EVP_EncryptFinal_ex(context, this.#tag, this.#length), 'EVP_EncryptFinal_ex')
        need(c.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG, this.#tag), 'EVP_CIPHER_CTX_ctrl')
        out.set(this.#tag, plain.length)
    }

    open(nonce: Uint8Array, sealed: Uint8Array, out: Uint8Array): boolean {
        const size = sealed.length - TAG
        if (size < 0) return false
        checkLengths(this.#closed, nonce, size, out.length)
        const c = this.#c
        const context = this.#open
        for (let at = 0; at < TAG; at++) this.#tag[at] = sealed[size + at]!
        need(c.EVP_DecryptInit_ex(context, null, null, null, nonce), 'EVP_DecryptInit_ex')
        if (size > 0) need(c.EVP_DecryptUpdate(context, out, this.#length, sealed, size), 'EVP_DecryptUpdate')
        need(c.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG, this.#tag), 'EVP_CIPHER_CTX_ctrl')
        const genuine = c.EVP_DecryptFinal_ex(context, this.#tag, this.#length) === 1
        // OpenSSL hands out the bytes before it has checked them; nobody may use those.
        if (!genuine) out.fill(0, 0, size)
        return genuine
    }

    close(): void {
        if (this.#closed) return
        this.#closed = true
        this.#c.EVP_CIPHER_CTX_free(this.#seal)
        this.#c.EVP_CIPHER_CTX_free(this.#open)
    }
}

function checkLengths(closed: boolean, nonce: Uint8Array, plain: number, room: number): void {
    // The C library trusts these; a mistake here would write beyond the buffer.
    if (closed) throw new Error('the cipher is closed')
    if (nonce.length !== 12) throw new RangeError('the nonce has 12 bytes')
    if (room < plain) throw new RangeError('the output buffer is too small')
}

const fallback: Crypto = {
    engine: 'fallback',
    openAead(key) {
        if (key.length !== 32) throw new RangeError('the key has 32 bytes')
        const copy = key.slice()
        let closed = false
        return {
            seal(nonce, plain, out) {
                checkLengths(closed, nonce, plain.length, out.length - TAG)
                out.set(chacha20poly1305(copy, nonce).encrypt(plain))
            },
            open(nonce, sealed, out) {
                const size = sealed.length - TAG
                if (size < 0) return false
                checkLengths(closed, nonce, size, out.length)
                try {
                    out.set(chacha20poly1305(copy, nonce).decrypt(sealed))
                    return true
                } catch {
                    out.fill(0, 0, size)
                    return false
                }
            },
            close() {
                closed = true
                copy.fill(0)
            },
        }
    },
}
