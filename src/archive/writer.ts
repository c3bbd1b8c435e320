/**
 * Writes one archive: frames of tar go in, in order; a whole, signed file comes out.
 *
 * The file is made where it may be seen by nobody (a spool) and is complete, synced and signed before anybody renames
 * it: README, room for the manifest and its signature, the data, the digests of its blocks; then the room is filled.
 */
import { limits } from '../core/limits.ts'
import {
    type Aead,
    type AgeRecipient,
    AgeSealer,
    createHeader,
    PAYLOAD_NONCE,
    payloadKey,
} from '../format/age.ts'
import { type Index, writeIndex } from '../format/index.ts'
import { type Manifest, writeManifest } from '../format/manifest.ts'
import { DataFile, discardFile } from '../host/data-file.ts'
import { openAead, Sha256, sha256 } from '../host/libcrypto.ts'
import { BLOCK, dataMemberName, envelopeOf, memberHeader, memberNames, roundUp } from './bundle.ts'

export interface ArchiveParts {
    /** Absolute path of the file to make; must not exist. */
    output: string
    readme: string
    /** Content of `identity.age`, when the identity is protected by a passphrase. */
    identity?: Uint8Array
    /** Empty: the data is not encrypted. */
    recipients: AgeRecipient[]
    /** Modification time of the members. */
    now: Date
    random(bytes: number): Uint8Array
    /** OpenSSH signature over the manifest. */
    sign(message: Uint8Array): string
}

/** The size of a signature made with an Ed25519 key, armored, is below this; its member is padded with newlines. */
const SIGNATURE_ROOM = BLOCK

export interface WrittenArchive {
    /** Bytes of the whole file. */
    size: number
    manifest: Manifest
}

type ManifestFigures = Pick<Manifest, 'data' | 'envelope' | 'plain'>

/** How many frames may be in compression at once: enough for every core and the one being filled. */
const IN_FLIGHT = 6

interface QueuedFrame {
    bytes: Uint8Array | Promise<Uint8Array>
    plain: number
    stored?: (bytes: Uint8Array) => void
}

export class ArchiveWriter {
    readonly #parts: ArchiveParts
    readonly #file: DataFile
    readonly #data: DataSink
    readonly #layout: Layout
    #queue: QueuedFrame[] = []
    #frames: Index['frames'] = []
    #streamAt = 0
    #plain = 0

    private constructor(parts: ArchiveParts, file: DataFile, data: DataSink, layout: Layout) {
        this.#parts = parts
        this.#file = file
        this.#data = data
        this.#layout = layout
    }

    static async create(parts: ArchiveParts): Promise<ArchiveWriter> {
        const header =
            parts.recipients.length > 0 ? await createHeader(parts.recipients, parts.random) : undefined
        const layout = await layOut(parts)
        const file = DataFile.create(parts.output)
        try {
            file.writeAt(layout.front, 0)
            const data = new DataSink(file, layout.dataAt, parts.random, header)
            return new ArchiveWriter(parts, file, data, layout)
        } catch (error) {
            file.close()
            discardFile(parts.output)
            throw error
        }
    }

    /** Offset in the tar stream at which the next frame begins. */
    get plainSize(): number {
        return this.#plain
    }

    /** Bytes stored so far, for progress. */
    get storedSize(): number {
        return this.#streamAt
    }

    /**
     * Appends tar bytes as one frame. They must not change before `stored` was called, which gets the compressed bytes
     * and may keep them.
     */
    async frame(plain: Uint8Array, stored?: (bytes: Uint8Array) => void): Promise<void> {
        const bytes = Bun.zstdCompress(plain as Uint8Array<ArrayBuffer>, { level: 3 })
        // A rejection is met when the frame's turn comes; until then it must not count as unhandled.
        bytes.catch(() => {})
        await this.#enqueue({ bytes, plain: plain.length, stored })
    }

    /** Appends a frame that is compressed already; its bytes must not change before `written` was called. */
    async reuse(stored: Uint8Array, plain: number, written?: () => void): Promise<void> {
        await this.#enqueue({ bytes: stored, plain, stored: written })
    }

    async #enqueue(frame: QueuedFrame): Promise<void> {
        this.#plain += frame.plain
        this.#queue.push(frame)
        while (this.#queue.length > IN_FLIGHT) await this.#dequeue()
    }

    async #dequeue(): Promise<void> {
        const frame = this.#queue.shift()!
        const bytes = frame.bytes instanceof Promise ? await frame.bytes : frame.bytes
        this.#data.write(bytes)
        this.#frames.push({ at: this.#streamAt, stored: bytes.length, plain: frame.plain })
        this.#streamAt += bytes.length
        frame.stored?.(bytes)
    }

    /** Waits until everything handed over is in the file. */
    async drain(): Promise<void> {
        while (this.#queue.length > 0) await this.#dequeue()
    }

    /** Ends the data, writes the index and the digests, fills in manifest and signature, and syncs. */
    async finish(
        entries: Index['entries'],
        manifestOf: (figures: ManifestFigures) => Manifest,
    ): Promise<WrittenArchive> {
        await this.frame(new Uint8Array(2 * BLOCK))
        await this.drain()
        const index: Index = { frames: this.#frames, entries }
        const compress = (bytes: Uint8Array) =>
            Bun.zstdCompressSync(bytes as Uint8Array<ArrayBuffer>, { level: 3 })
        for (const piece of writeIndex(index, this.#streamAt, compress)) this.#data.write(piece)

        const { size, sha256: digest, blocks } = this.#data.finish()
        const { dataAt } = this.#layout
        const blocksText = blockLines(blocks)
        const blocksAt = dataAt + roundUp(size)
        const tail = Buffer.alloc(BLOCK + roundUp(blocksText.length) + 2 * BLOCK)
        tail.set(await memberHeader(memberNames.blocks, blocksText.length, this.#parts.now))
        tail.set(blocksText, BLOCK)
        this.#file.writeAt(new Uint8Array(roundUp(size) - size), dataAt + size)
        this.#file.writeAt(tail, blocksAt)

        const member = dataMemberName(this.#parts.recipients.length > 0)
        this.#file.writeAt(await memberHeader(member, size, this.#parts.now), dataAt - BLOCK)
        const rooms = [
            { at: this.#layout.manifestAt, size: limits.manifestBytes },
            { at: this.#layout.signatureAt, size: SIGNATURE_ROOM },
        ]
        const envelope = envelopeOf(this.#file, rooms, { at: dataAt, size })
        const manifest = manifestOf({
            data: { member, size, sha256: hex(digest), blocksSha256: hex(sha256(blocksText)) },
            envelope,
            plain: { size: this.#plain, entries: entries.filter(entry => entry.superseded !== true).length },
        })
        const manifestBytes = writeManifest(manifest)
        this.#file.writeAt(manifestBytes, this.#layout.manifestAt)
        const signature = Buffer.alloc(SIGNATURE_ROOM, 0x0a)
        signature.write(this.#parts.sign(manifestBytes))
        this.#file.writeAt(signature, this.#layout.signatureAt)
        this.#file.sync()
        this.#file.close()
        return { size: blocksAt + tail.length, manifest }
    }

    /** Gives up: nothing of the file stays. */
    abort(): void {
        this.#file.close()
        discardFile(this.#parts.output)
    }
}

interface Layout {
    /** All bytes before the data, with the rooms still empty. */
    front: Uint8Array
    manifestAt: number
    signatureAt: number
    dataAt: number
}

async function layOut(parts: ArchiveParts): Promise<Layout> {
    const pieces: Uint8Array[] = []
    let at = 0
    const member = async (name: string, content: Uint8Array): Promise<number> => {
        const room = new Uint8Array(roundUp(content.length))
        room.set(content)
        pieces.push(await memberHeader(name, content.length, parts.now), room)
        const contentAt = at + BLOCK
        at = contentAt + room.length
        return contentAt
    }
    await member(memberNames.readme, Buffer.from(parts.readme))
    const manifestAt = await member(memberNames.manifest, Buffer.alloc(limits.manifestBytes, 0x20))
    const signatureAt = await member(memberNames.signature, Buffer.alloc(SIGNATURE_ROOM, 0x0a))
    if (parts.identity !== undefined) await member(memberNames.identity, parts.identity)
    pieces.push(new Uint8Array(BLOCK))
    return { front: Buffer.concat(pieces), manifestAt, signatureAt, dataAt: at + BLOCK }
}

/** The text of `blocks.sha256`: one line for each block, its digest and where it begins. */
export function blockLines(blocks: Uint8Array[]): Buffer {
    return Buffer.from(blocks.map((digest, i) => `${hex(digest)}  ${i * limits.blockBytes}\n`).join(''))
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')

/** The data member: seals what it is given, hashes what it stores, and counts blocks. */
class DataSink {
    readonly #file: DataFile
    readonly #start: number
    #aead: Aead | undefined
    #sealer: AgeSealer | undefined
    readonly #whole = new Sha256()
    #block = new Sha256()
    #blockFill = 0
    readonly #blocks: Uint8Array[] = []
    #size = 0
    #buffer = new Uint8Array(limits.writeBytes)
    #fill = 0

    constructor(
        file: DataFile,
        start: number,
        random: (bytes: number) => Uint8Array,
        header: { header: Uint8Array; fileKey: Uint8Array } | undefined,
    ) {
        this.#file = file
        this.#start = start
        if (header === undefined) return
        const nonce = random(PAYLOAD_NONCE)
        this.#aead = openAead(payloadKey(header.fileKey, nonce))
        this.#sealer = new AgeSealer(this.#aead, nonce, sealed => this.#store(sealed))
        this.#store(header.header)
    }

    write(bytes: Uint8Array): void {
        if (this.#sealer === undefined) this.#store(bytes)
        else this.#sealer.push(bytes)
    }

    finish(): { size: number; sha256: Uint8Array; blocks: Uint8Array[] } {
        this.#sealer?.finish()
        this.#aead?.close()
        this.#flush()
        if (this.#blockFill > 0) this.#blocks.push(this.#block.digest())
        return { size: this.#size, sha256: this.#whole.digest(), blocks: this.#blocks }
    }

    #store(bytes: Uint8Array): void {
        for (let at = 0; at < bytes.length; ) {
            const piece = bytes.subarray(at, at + this.#buffer.length - this.#fill)
            this.#buffer.set(piece, this.#fill)
            this.#fill += piece.length
            at += piece.length
            if (this.#fill === this.#buffer.length) this.#flush()
        }
    }

    #flush(): void {
        const bytes = this.#buffer.subarray(0, this.#fill)
        if (bytes.length === 0) return
        this.#whole.update(bytes)
        // The write size divides the block size, so a block never ends inside a buffer.
        this.#block.update(bytes)
        this.#blockFill += bytes.length
        if (this.#blockFill === limits.blockBytes) {
            this.#blocks.push(this.#block.digest())
            this.#block = new Sha256()
            this.#blockFill = 0
        }
        this.#file.writeAt(bytes, this.#start + this.#size)
        this.#size += bytes.length
        this.#fill = 0
    }
}
