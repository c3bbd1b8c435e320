/** Digests of what an entry holds: of a file's content while its stored pieces pass by, and of its extended attributes. */
import { Fault } from '../core/errors.ts'
import type { IndexEntry } from '../format/index.ts'
import type { ReadEntry } from '../format/tar-read.ts'
import type { TarExtent, TarXattr } from '../format/tar-write.ts'
import { Sha256, sha256 } from '../host/libcrypto.ts'
import { showPath } from '../host/tree.ts'

const BLOCK = 4096
const zeros = new Uint8Array(BLOCK)

/**
 * SHA-256 of a sparse file: of each 4 KiB block that is not all zeros its number and its bytes, then of the size. It is
 * the same however the holes are laid out, and a hole of a petabyte costs nothing. Pieces come in ascending order.
 */
export class HoleDigest {
    readonly #sha = new Sha256()
    readonly #number = Buffer.alloc(8)
    readonly #block = new Uint8Array(BLOCK)
    #at = -1

    update(offset: number, bytes: Uint8Array): void {
        for (let done = 0; done < bytes.length; ) {
            const within = (offset + done) % BLOCK
            const at = (offset + done - within) / BLOCK
            const piece = bytes.subarray(done, done + BLOCK - within)
            if (at !== this.#at) {
                this.#flush()
                this.#at = at
                this.#block.fill(0)
            }
            this.#block.set(piece, within)
            done += piece.length
        }
    }

    digest(size: number): Uint8Array {
        this.#flush()
        this.#add(size)
        return this.#sha.digest()
    }

    #flush(): void {
        if (this.#at < 0 || Buffer.compare(this.#block, zeros) === 0) return
        this.#add(this.#at)
        this.#sha.update(this.#block)
    }

    #add(number: number): void {
        this.#number.writeBigUInt64LE(BigInt(number))
        this.#sha.update(this.#number)
    }
}

export class ContentDigest {
    readonly #entry: IndexEntry
    readonly #sha = new Sha256()
    readonly #holes = new HoleDigest()
    #extents: TarExtent[] | undefined

    constructor(entry: IndexEntry) {
        this.#entry = entry
    }

    begin(read: ReadEntry): void {
        this.#extents = read.sparse === undefined ? undefined : [...read.sparse]
        if (this.#entry.type === 'file' && (this.#extents !== undefined) !== (this.#entry.holes === true))
            throw this.#fault()
    }

    update(piece: Uint8Array): void {
        if (this.#extents === undefined) {
            this.#sha.update(piece)
            return
        }
        for (let at = 0; at < piece.length; ) {
            const extent = this.#extents[0]!
            const length = Math.min(extent.length, piece.length - at)
            this.#holes.update(extent.offset, piece.subarray(at, at + length))
            at += length
            this.#extents[0] = { offset: extent.offset + length, length: extent.length - length }
            if (this.#extents[0].length === 0) this.#extents.shift()
        }
    }

    /** Throws when the content is not what the index promises. */
    check(): void {
        if (this.#entry.type !== 'file') return
        const digest = this.#extents === undefined ? this.#sha.digest() : this.#holes.digest(this.#entry.size)
        if (Buffer.compare(digest, this.#entry.sha256 ?? new Uint8Array()) !== 0) throw this.#fault()
    }

    #fault(): Fault {
        return new Fault(
            'damaged',
            `cannot trust /${showPath(this.#entry.path)}: its content is not what the index says`,
        )
    }
}

/**
 * Tells whether two entries have the same extended attributes, ACLs among them: the first 8 bytes of the SHA-256 over
 * name and value of each, by name, as 16 hexadecimal digits. Empty when there are none.
 */
export function xattrsDigest(xattrs: readonly TarXattr[] | undefined): string {
    if (xattrs === undefined || xattrs.length === 0) return ''
    const parts: Uint8Array[] = []
    for (const { name, value } of [...xattrs].sort((a, b) => (a.name < b.name ? -1 : 1))) {
        const lengths = Buffer.alloc(8)
        lengths.writeUInt32LE(name.length, 0)
        lengths.writeUInt32LE(value.length, 4)
        parts.push(lengths, Buffer.from(name, 'latin1'), value)
    }
    return Buffer.from(sha256(Buffer.concat(parts)).subarray(0, 8)).toString('hex')
}
