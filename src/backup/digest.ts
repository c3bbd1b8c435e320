/** The digest of a file's content while its stored pieces pass by: holes of sparse files count as the zeros they read as. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { IndexEntry } from '../format/index.ts'
import type { ReadEntry } from '../format/tar-read.ts'
import type { TarExtent } from '../format/tar-write.ts'
import { Sha256 } from '../host/libcrypto.ts'
import { showPath } from '../host/tree.ts'

export class ContentDigest {
    readonly #entry: IndexEntry
    readonly #sha = new Sha256()
    #extents: TarExtent[] | undefined
    #at = 0

    constructor(entry: IndexEntry) {
        this.#entry = entry
    }

    begin(read: ReadEntry): void {
        this.#extents = read.sparse === undefined ? undefined : [...read.sparse]
    }

    update(piece: Uint8Array): void {
        if (this.#extents === undefined) {
            this.#sha.update(piece)
            return
        }
        for (let at = 0; at < piece.length; ) {
            const extent = this.#extents[0]!
            this.#zeros(extent.offset - this.#at)
            const length = Math.min(extent.length, piece.length - at)
            this.#sha.update(piece.subarray(at, at + length))
            at += length
            this.#at = extent.offset + length
            this.#extents[0] = { offset: extent.offset + length, length: extent.length - length }
            if (this.#extents[0].length === 0) this.#extents.shift()
        }
    }

    /** Throws when the content is not what the index promises. */
    check(): void {
        if (this.#entry.type !== 'file') return
        if (this.#extents !== undefined) this.#zeros(this.#entry.size - this.#at)
        const digest = this.#sha.digest()
        if (Buffer.compare(digest, this.#entry.sha256 ?? new Uint8Array()) !== 0)
            throw new Fault(
                'damaged',
                `cannot trust /${showPath(this.#entry.path)}: its content is not what the index says`,
            )
    }

    #zeros(length: number): void {
        if (length <= 0) return
        const zeros = new Uint8Array(Math.min(length, limits.writeBytes))
        for (let left = length; left > 0; left -= zeros.length)
            this.#sha.update(left < zeros.length ? zeros.subarray(0, left) : zeros)
    }
}
