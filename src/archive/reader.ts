/** Reads one archive: what it says of itself, whether its bytes are those, and with a key any part of what it holds. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type AgeIdentity, AgeReader, mostHeaderBytes, openHeader, readHeader } from '../format/age.ts'
import { declaredSize, decompressFrame } from '../format/frames.ts'
import { FOOTER_BYTES, type Index, type IndexEntry, readFooter, readIndex } from '../format/index.ts'
import { type ReadEntry, TarParser, type TarVisitor } from '../format/tar-read.ts'
import { DataFile } from '../host/data-file.ts'
import { openAead, Sha256, sha256 } from '../host/libcrypto.ts'
import { xattrsDigest } from './digest.ts'
import { BLOCK, envelopeOf, memberNames, roundUp } from './bundle.ts'
import { type Head, readHead, readMemberAt } from './head.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')

/** An archive as a file, before any key: its head, and the digests of its stored bytes. */
export class ArchiveFile {
    readonly path: string
    readonly head: Head
    readonly file: DataFile

    private constructor(path: string, file: DataFile, head: Head) {
        this.path = path
        this.file = file
        this.head = head
    }

    static async open(path: string): Promise<ArchiveFile> {
        let file: DataFile
        try {
            file = DataFile.openForReading(path)
        } catch (error) {
            if (error instanceof Fault) throw error
            const absent = (error as { code?: string }).code === 'ENOENT'
            throw new Fault(
                'usage',
                `cannot open ${path}: ${absent ? 'there is no such file' : String(error)}`,
                {
                    hint: absent ? 'see `proxsavectl list`' : undefined,
                },
            )
        }
        try {
            return new ArchiveFile(path, file, await readHead(file))
        } catch (error) {
            file.close()
            throw named(error, path)
        }
    }

    close(): void {
        this.file.close()
    }

    /**
     * Compares every stored byte with the manifest and the block digests; needs no key. Throws with the block and the
     * byte range of the first damage.
     */
    async verifyStored(
        progress: (done: number, total: number) => void,
        signal?: AbortSignal,
    ): Promise<number> {
        const { data, manifest } = this.head
        const { size: expected } = manifest.data
        const available = this.file.size - data.at
        const blocks = available < expected ? undefined : await this.#blocks()
        const whole = new Sha256()
        const buffer = new Uint8Array(limits.blockBytes)
        for (let at = 0, n = 0; at < expected; at += limits.blockBytes, n++) {
            if (signal?.aborted) throw new Fault('refused', 'cannot finish the check: it was stopped')
            const piece = buffer.subarray(0, Math.min(limits.blockBytes, expected - at))
            const got = this.file.readInto(piece, data.at + at)
            if (got < piece.length)
                throw this.#damage(
                    `it is cut: ${expected - at - got} bytes of its data are missing`,
                    at + got,
                )
            whole.update(piece)
            if (blocks !== undefined && blocks[n] !== hex(sha256(piece)))
                throw this.#damage(`block ${n} of its data is damaged`, at, at + piece.length)
            progress(at + piece.length, expected)
            await Bun.sleep(0)
        }
        if (hex(whole.digest()) !== manifest.data.sha256)
            throw this.#damage('its data is not what the manifest says', 0)
        const end =
            data.at + roundUp(data.size) + BLOCK + roundUp((await this.#blocksText()).length) + 2 * BLOCK
        if (this.file.size === end) this.#checkEnvelope()
        else
            throw this.#damage(
                `it has ${this.file.size} bytes instead of ${end}`,
                Math.min(end, this.file.size) - data.at,
            )
        return blocks?.length ?? 0
    }

    #checkEnvelope(): void {
        const { data, manifest, rooms } = this.head
        const signed = manifest.envelope
        if (signed === undefined) return
        const found = envelopeOf(this.file, rooms, data)
        if (found.front !== signed.front)
            throw this.#damage(
                'what stands in front of its data is not what was signed (README.txt, headers)',
                -data.at,
                0,
            )
        if (found.back !== signed.back)
            throw this.#damage('what stands behind its data is damaged', data.size, this.file.size - data.at)
    }

    async #blocksText(): Promise<Uint8Array> {
        const { data } = this.head
        const most = Math.ceil(data.size / limits.blockBytes) * 96 + BLOCK
        try {
            return await readMemberAt(this.file, data.at + roundUp(data.size), memberNames.blocks, most)
        } catch (error) {
            if (!(error instanceof Fault)) throw error
            throw this.#damage(`its member ${memberNames.blocks} is missing or damaged`, roundUp(data.size))
        }
    }

    async #blocks(): Promise<string[]> {
        const text = await this.#blocksText()
        if (hex(sha256(text)) !== this.head.manifest.data.blocksSha256)
            throw this.#damage('the digests of its blocks are damaged', this.head.data.size)
        const lines = Buffer.from(text)
            .toString('latin1')
            .split('\n')
            .filter(line => line !== '')
        return lines.map(line => line.slice(0, 64))
    }

    #damage(why: string, from: number, to?: number): Fault {
        const at = this.head.data.at
        const where = to === undefined ? `at byte ${at + from}` : `bytes ${at + from} to ${at + to - 1}`
        return new Fault('damaged', `cannot trust ${this.path}: ${why}, ${where} of the file`, {
            hint: 'use another backup, or another copy of this one; what is intact still comes out with `extract` or by hand',
            facts: { offset: at + from },
        })
    }
}

/** How many frames are decompressed at once: enough for every core. */
const FRAMES_IN_FLIGHT = 6

/** The compressed stream, wherever it lies. */
interface StreamSource {
    /** Fills `out` from `offset`; throws when the stream ends before. */
    readInto(offset: number, out: Uint8Array): void
    close(): void
}

/** The content of an archive, opened with a key when it is encrypted. */
export class ArchiveReader {
    readonly archive: ArchiveFile
    readonly #source: StreamSource
    /** Bytes of the compressed stream. */
    readonly #size: number
    #index: { withDigests: boolean; index: Index } | undefined

    private constructor(archive: ArchiveFile, size: number, source: StreamSource) {
        this.archive = archive
        this.#size = size
        this.#source = source
    }

    static async open(archive: ArchiveFile, identities: AgeIdentity[]): Promise<ArchiveReader> {
        const { data, manifest } = archive.head
        const { file } = archive
        if (manifest.encryption.kind === 'none')
            return new ArchiveReader(archive, data.size, {
                readInto(offset, out) {
                    if (offset + out.length > data.size || file.readInto(out, data.at + offset) < out.length)
                        throw new Fault('damaged', `cannot read ${archive.path}: it is cut`)
                },
                close() {},
            })
        const beginning = file.read(data.at, Math.min(mostHeaderBytes, data.size))
        const { headerLength } = readHeader(beginning)
        const fileKey = await openHeader(beginning, identities)
        const source = {
            size: data.size,
            readAt: (offset: number, length: number) =>
                file.read(data.at + offset, Math.max(0, Math.min(length, data.size - offset))),
        }
        const age = new AgeReader(source, { headerLength, fileKey, openAead, name: archive.path })
        return new ArchiveReader(archive, age.plainSize, age)
    }

    close(): void {
        this.#source.close()
    }

    /** Bytes of the compressed stream. */
    get storedSize(): number {
        return this.#size
    }

    /** A stretch of the compressed stream. */
    stored(offset: number, length: number): Uint8Array {
        const bytes = new Uint8Array(length)
        this.#source.readInto(offset, bytes)
        return bytes
    }

    /** The index; its digests only when they are wanted. */
    index(withDigests = false): Index {
        if (this.#index !== undefined && (this.#index.withDigests || !withDigests)) return this.#index.index
        try {
            if (this.#size < FOOTER_BYTES)
                throw new Fault('damaged', 'cannot read the index of the backup: it is cut')
            const footer = readFooter(this.stored(this.#size - FOOTER_BYTES, FOOTER_BYTES), this.#size)
            const digests = withDigests ? this.stored(footer.digests.at, footer.digests.size) : undefined
            const index = readIndex(this.stored(footer.index.at, footer.index.size), digests, bytes =>
                Bun.zstdDecompressSync(bytes as Uint8Array<ArrayBuffer>),
            )
            const end = index.frames.at(-1)
            if ((end === undefined ? 0 : end.at + end.stored) !== footer.index.at)
                throw new Fault(
                    'damaged',
                    'cannot read the index of the backup: its frames do not fill the data',
                )
            this.#index = { withDigests, index }
            return index
        } catch (error) {
            throw named(error, this.archive.path)
        }
    }

    /**
     * Every frame in order, decompressed on all cores, as one tar stream. A piece is good until the next one is asked for.
     */
    async *plain(from = 0, to = this.index().frames.length): AsyncGenerator<Uint8Array> {
        const { frames } = this.index()
        const ahead: { piece: Promise<Uint8Array>; room: Uint8Array }[] = []
        // Rooms go round: a new one for each frame would be garbage faster than it is collected.
        const spare: Uint8Array[] = []
        for (let next = from; next < to || ahead.length > 0; ) {
            while (next < to && ahead.length < FRAMES_IN_FLIGHT) {
                const frame = frames[next]!
                let room = spare.pop()
                if (room === undefined || room.length < frame.stored)
                    room = new Uint8Array(roomFor(frame.stored))
                const piece = this.#frame(next, frame, room.subarray(0, frame.stored))
                piece.catch(() => {})
                ahead.push({ piece, room })
                next++
            }
            const { piece, room } = ahead.shift()!
            yield await piece
            spare.push(room)
        }
    }

    async #frame(number: number, frame: Index['frames'][number], stored: Uint8Array): Promise<Uint8Array> {
        if (frame.plain > limits.foreignFrameBytes) throw this.#damagedFrame(number)
        this.#source.readInto(frame.at, stored)
        if (declaredSize(stored) !== frame.plain) throw this.#damagedFrame(number)
        let bytes: Uint8Array
        try {
            // Small frames are done before a thread would have woken up.
            bytes =
                frame.plain < 64 * 1024
                    ? decompressFrame(stored, frame.plain)
                    : await Bun.zstdDecompress(stored as Uint8Array<ArrayBuffer>)
        } catch (error) {
            throw this.#damagedFrame(number, error)
        }
        if (bytes.length !== frame.plain) throw this.#damagedFrame(number)
        return bytes
    }

    #damagedFrame(number: number, cause?: unknown): Fault {
        return new Fault(
            'damaged',
            `cannot read ${this.archive.path}: frame ${number} of its data is damaged`,
            { cause },
        )
    }

    /**
     * Hands the wanted entries, in archive order, to a visitor; reads only the frames they lie in. The visitor gets the
     * index entry with what the tar header says.
     */
    async visit(wanted: IndexEntry[], visitor: (entry: IndexEntry) => TarVisitor): Promise<void> {
        const { frames, entries } = this.index()
        const starts = frameStarts(frames)
        const ordered = [...wanted].sort((a, b) => a.at - b.at)
        const end = starts.at(-1)! + (frames.at(-1)?.plain ?? 0)
        for (let i = 0; i < ordered.length; ) {
            const first = frameAt(starts, ordered[i]!.at)
            const byOffset = new Map<number, IndexEntry>()
            let last = first
            // Everything that begins in a frame already being read is taken along.
            for (; i < ordered.length && frameAt(starts, ordered[i]!.at) <= last; i++) {
                const entry = ordered[i]!
                byOffset.set(entry.at, entry)
                last = Math.max(last, frameAt(starts, nextOffset(entries, entry.at, end) - 1))
            }
            await this.#visitRun(first, last, starts[first]!, byOffset, visitor)
        }
    }

    async #visitRun(
        first: number,
        last: number,
        base: number,
        wanted: Map<number, IndexEntry>,
        visitor: (entry: IndexEntry) => TarVisitor,
    ): Promise<void> {
        let current: TarVisitor | undefined
        const seen = new Set<number>()
        let ended = 0
        const parser = new TarParser({
            entry: entry => {
                const known = wanted.get(base + entry.at)
                current = undefined
                if (known === undefined) return
                if (!agrees(known, entry))
                    throw new Fault(
                        'damaged',
                        `cannot read ${this.archive.path}: its index and its data disagree about ${JSON.stringify(entry.path)}`,
                    )
                seen.add(known.at)
                current = visitor(known)
                current.entry(entry)
            },
            data: piece => current?.data(piece),
            end: () => {
                if (current === undefined) return
                ended++
                current.end()
            },
        })
        for await (const piece of this.plain(first, last + 1)) parser.push(piece)
        if (seen.size !== wanted.size || ended !== wanted.size)
            throw new Fault(
                'damaged',
                `cannot read ${this.archive.path}: its index names entries that its data has not`,
            )
    }
}

/** Whether the index lists an entry as its header has it: what a person was shown is what comes out. */
export function agrees(known: IndexEntry, read: ReadEntry): boolean {
    return (
        known.path === read.path &&
        known.type === read.type &&
        known.mode === read.mode &&
        known.uid === read.uid &&
        known.gid === read.gid &&
        known.size === read.size &&
        known.mtimeNs === read.mtimeNs &&
        (known.xattrs === undefined || known.xattrs === xattrsDigest(read.xattrs)) &&
        (known.type === 'file' || known.type === 'directory' || known.link === read.link)
    )
}

/** Rooms of a few sizes only, so that one serves the next frame too. */
const roomFor = (size: number) => Math.ceil(size / limits.frameBytes) * limits.frameBytes

function frameStarts(frames: Index['frames']): number[] {
    const starts: number[] = []
    let at = 0
    for (const frame of frames) {
        starts.push(at)
        at += frame.plain
    }
    if (starts.length === 0) starts.push(0)
    return starts
}

/** The frame that holds an offset of the tar stream. */
function frameAt(starts: number[], offset: number): number {
    let low = 0
    let high = starts.length - 1
    while (low < high) {
        const middle = (low + high + 1) >> 1
        if (starts[middle]! <= offset) low = middle
        else high = middle - 1
    }
    return low
}

/** Where the entry behind the one at `at` begins; entries stand in the order of their offsets. */
function nextOffset(entries: IndexEntry[], at: number, end: number): number {
    let low = 0
    let high = entries.length
    while (low < high) {
        const middle = (low + high) >> 1
        if (entries[middle]!.at <= at) low = middle + 1
        else high = middle
    }
    return entries[low]?.at ?? end
}

/** A fault of a parser below, with the file it is about. */
/** The same fault, with the path of the archive in its sentence. */
export function named(error: unknown, path: string): unknown {
    if (!(error instanceof Fault) || error.message.includes(path)) return error
    const message = error.message
        .replace('the backup', path)
        .replace('the manifest:', `the manifest of ${path}:`)
    return new Fault(error.kind, message, {
        hint: error.hint,
        facts: error.facts,
        cause: error.cause,
    })
}
