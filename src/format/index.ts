/**
 * The index behind the data of an archive: every entry with its category, size, digest and place, in columns.
 *
 * It lies in zstd skippable frames, so `zstd -d` never sees it, and at its end a footer of fixed size says where it
 * begins: a reader that can seek opens the footer, the columns it needs, and then only the frames it wants.
 */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { declaredSize } from './frames.ts'
import type { ByteString, TarType } from './tar-write.ts'

/** One independent zstd frame of the tar stream. */
export interface Frame {
    /** Offset in the compressed stream. */
    at: number
    /** Bytes compressed. */
    stored: number
    /** Bytes of tar. */
    plain: number
}

export interface IndexEntry {
    path: ByteString
    type: TarType
    /** Category id. */
    category: string
    mode: number
    uid: number
    gid: number
    size: number
    mtimeNs: bigint
    /** Symlink target, or the archive path that a hard link repeats. */
    link?: ByteString
    /** SHA-256 of the content, or of what is not zeros in it (`holes`); files only. */
    sha256?: Uint8Array
    /** Offset of the entry's first header block in the tar stream. */
    at: number
    /** Written again later under the same name; only the later one counts. */
    superseded?: boolean
    /** Stored as a sparse file: its digest is that of `HoleDigest`, which takes no time for holes. */
    holes?: boolean
    /** Digest of its extended attributes, 16 hexadecimal digits; empty without any; undefined when the index is silent. */
    xattrs?: string
}

export interface Index {
    frames: Frame[]
    entries: IndexEntry[]
}

const types: TarType[] = ['file', 'directory', 'symlink', 'hardlink']
const FLAG_SUPERSEDED = 1
const FLAG_HOLES = 2
const FLAG_XATTRS = 4
/** Bytes of a digest of extended attributes. */
const XATTRS_BYTES = 8
const SECOND = 1_000_000_000n

/** zstd's magic numbers of skippable frames; the low four bits are ours to choose. */
const MAGIC_INDEX = 0x184d2a50
const MAGIC_DIGESTS = 0x184d2a51
const MAGIC_FOOTER = 0x184d2a52
const FOOTER_TAG = 'PXSVIDX1'
/** Skippable header, tag, and four numbers: offset and size of the index frame and of the digest frame. */
export const FOOTER_BYTES = 8 + 8 + 4 * 8

/** The three skippable frames that follow the data; `at` is where the first of them will lie. */
export function writeIndex(
    index: Index,
    at: number,
    compress: (bytes: Uint8Array) => Uint8Array,
): Uint8Array[] {
    if (Math.max(index.entries.length, index.frames.length) > limits.indexEntries)
        throw new Fault('failed', `cannot save more than ${limits.indexEntries} entries in one backup`, {
            hint: 'exclude directories with many files, or choose fewer categories',
        })
    const core = skippable(MAGIC_INDEX, compress(writeColumns(index)))
    const digests = skippable(MAGIC_DIGESTS, compress(writeDigests(index.entries)))
    const footer = Buffer.alloc(FOOTER_BYTES)
    footer.writeUInt32LE(MAGIC_FOOTER, 0)
    footer.writeUInt32LE(FOOTER_BYTES - 8, 4)
    footer.write(FOOTER_TAG, 8, 'latin1')
    const numbers = [at, core.length, at + core.length, digests.length]
    for (const [i, number] of numbers.entries()) footer.writeBigUInt64LE(BigInt(number), 16 + i * 8)
    return [core, digests, footer]
}

export interface Footer {
    index: { at: number; size: number }
    digests: { at: number; size: number }
}

/** Reads the footer: the last bytes of a compressed stream of `size` bytes. */
export function readFooter(bytes: Uint8Array, size: number): Footer {
    const footer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    if (
        footer.length !== FOOTER_BYTES ||
        footer.readUInt32LE(0) !== MAGIC_FOOTER ||
        footer.toString('latin1', 8, 16) !== FOOTER_TAG
    )
        throw damagedIndex('its footer is missing')
    const [indexAt, indexSize, digestsAt, digestsSize] = [0, 1, 2, 3].map(i =>
        Number(footer.readBigUInt64LE(16 + i * 8)),
    ) as [number, number, number, number]
    if (indexAt + indexSize !== digestsAt || digestsAt + digestsSize + FOOTER_BYTES !== size || indexSize < 8)
        throw damagedIndex('its footer points elsewhere')
    return { index: { at: indexAt, size: indexSize }, digests: { at: digestsAt, size: digestsSize } }
}

/** Reads the index; `frame` and `digests` are the skippable frames the footer names, the latter when it is wanted. */
export function readIndex(
    frame: Uint8Array,
    digests: Uint8Array | undefined,
    decompress: (bytes: Uint8Array) => Uint8Array,
): Index {
    const bounded = (payload: Uint8Array) => {
        const plain = declaredSize(payload)
        const most = Math.min(limits.indexBytes, limits.indexGrace + payload.length * limits.indexRatio)
        if (plain === undefined || plain > most) throw damagedIndex('its size is impossible')
        return decompress(payload)
    }
    const index = readColumns(bounded(unwrap(MAGIC_INDEX, frame)))
    if (digests !== undefined) readDigests(bounded(unwrap(MAGIC_DIGESTS, digests)), index.entries)
    return index
}

function damagedIndex(why: string): Fault {
    return new Fault('damaged', `cannot read the index of the backup: ${why}`, {
        hint: 'what is intact still comes out by hand: see README.txt inside the file',
    })
}

function skippable(magic: number, payload: Uint8Array): Buffer {
    const frame = Buffer.alloc(8 + payload.length)
    frame.writeUInt32LE(magic, 0)
    frame.writeUInt32LE(payload.length, 4)
    frame.set(payload, 8)
    return frame
}

function unwrap(magic: number, frame: Uint8Array): Uint8Array {
    const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
    if (bytes.length < 8 || bytes.readUInt32LE(0) !== magic || bytes.readUInt32LE(4) !== bytes.length - 8)
        throw damagedIndex('one of its frames is not where it should be')
    return bytes.subarray(8)
}

interface Header {
    categories: string[]
    frames: number
    entries: number
    /** Byte lengths of the columns, in the order in which they are written. */
    columns: number[]
}

function writeColumns(index: Index): Uint8Array {
    const { entries, frames } = index
    const categories = [...new Set(entries.map(entry => entry.category))]
    const categoryNumber = new Map(categories.map((id, i) => [id, i]))
    const column = <T extends { length: number; [i: number]: unknown } & { buffer: ArrayBufferLike }>(
        array: T,
        value: (entry: IndexEntry, i: number) => unknown,
    ) => {
        for (let i = 0; i < entries.length; i++)
            (array as { [i: number]: unknown })[i] = value(entries[i]!, i)
        return Buffer.from(array.buffer)
    }
    const n = entries.length
    // Without the column a reader knows that nothing is known.
    const noted = entries.every(entry => entry.xattrs !== undefined)
    const columns: Buffer[] = [
        Buffer.from(Uint32Array.from(frames, frame => frame.stored).buffer),
        Buffer.from(Uint32Array.from(frames, frame => frame.plain).buffer),
        column(new Uint8Array(n), entry => types.indexOf(entry.type)),
        column(new Uint8Array(n), entry => categoryNumber.get(entry.category)),
        column(
            new Uint8Array(n),
            entry =>
                (entry.superseded ? FLAG_SUPERSEDED : 0) |
                (entry.holes ? FLAG_HOLES : 0) |
                (noted && entry.xattrs !== '' ? FLAG_XATTRS : 0),
        ),
        column(new Uint16Array(n), entry => entry.mode),
        column(new Uint32Array(n), entry => entry.uid),
        column(new Uint32Array(n), entry => entry.gid),
        column(new Float64Array(n), entry => entry.size),
        // Distances compress to almost nothing, offsets would not.
        column(new Float64Array(n), (entry, i) => entry.at - (i === 0 ? 0 : entries[i - 1]!.at)),
        // Nanoseconds in one number would end in the year 2262; file systems go further.
        column(new BigInt64Array(n), entry => seconds(entry.mtimeNs)),
        column(new Uint32Array(n), entry => Number(entry.mtimeNs - seconds(entry.mtimeNs) * SECOND)),
        Buffer.from(entries.map(entry => entry.path).join('\0'), 'latin1'),
        Buffer.from(entries.map(entry => entry.link ?? '').join('\0'), 'latin1'),
    ]
    // Entries with the flag have their place in it, the others none.
    if (noted) columns.push(Buffer.from(entries.map(entry => entry.xattrs).join(''), 'hex'))
    const header: Header = {
        categories,
        frames: frames.length,
        entries: n,
        columns: columns.map(bytes => bytes.length),
    }
    const text = Buffer.from(JSON.stringify(header))
    const length = Buffer.alloc(4)
    length.writeUInt32LE(text.length)
    return Buffer.concat([length, text, ...columns])
}

/** Whole seconds, rounded down, so that the rest is never negative. */
function seconds(ns: bigint): bigint {
    const rest = ns % SECOND
    return (ns - rest) / SECOND - (rest < 0n ? 1n : 0n)
}

function isHeader(value: unknown): value is Header {
    const header = value as Header | null
    const count = (n: unknown) => Number.isInteger(n) && (n as number) >= 0
    return (
        typeof header === 'object' &&
        header !== null &&
        count(header.frames) &&
        count(header.entries) &&
        header.entries <= limits.indexEntries &&
        header.frames <= limits.indexEntries &&
        Array.isArray(header.categories) &&
        header.categories.every(id => typeof id === 'string') &&
        Array.isArray(header.columns) &&
        (header.columns.length === 14 || header.columns.length === 15) &&
        header.columns.every(count)
    )
}

function readColumns(plain: Uint8Array): Index {
    const bytes = Buffer.from(plain.buffer, plain.byteOffset, plain.length)
    if (bytes.length < 4 || bytes.length > limits.indexBytes) throw damagedIndex('its size is impossible')
    const textEnd = 4 + bytes.readUInt32LE(0)
    let header: unknown
    try {
        header = JSON.parse(bytes.toString('utf8', 4, textEnd))
    } catch (error) {
        throw new Fault('damaged', 'cannot read the index of the backup: its header is not valid', {
            cause: error,
        })
    }
    if (!isHeader(header)) throw damagedIndex('its header is not valid')
    const n = header.entries
    const columns: Buffer[] = []
    let at = textEnd
    for (const length of header.columns) {
        columns.push(bytes.subarray(at, at + length))
        at += length
    }
    const widths = [4, 4, 1, 1, 1, 2, 4, 4, 8, 8, 8, 4]
    const counts = [header.frames, header.frames, n, n, n, n, n, n, n, n, n, n]
    const wrong = widths.some((width, i) => columns[i]?.length !== width * counts[i]!)
    if (at !== bytes.length || wrong) throw damagedIndex('its columns do not fit together')
    // Aligned copies: a typed array cannot begin at any byte.
    const view = (i: number) => new Uint8Array(columns[i]!).buffer
    const stored = new Uint32Array(view(0))
    const framePlain = new Uint32Array(view(1))
    const mode = new Uint16Array(view(5))
    const uid = new Uint32Array(view(6))
    const gid = new Uint32Array(view(7))
    const size = new Float64Array(view(8))
    const distance = new Float64Array(view(9))
    const mtime = new BigInt64Array(view(10))
    const mtimeRest = new Uint32Array(view(11))
    const paths = n === 0 ? [] : columns[12]!.toString('latin1').split('\0')
    const links = n === 0 ? [] : columns[13]!.toString('latin1').split('\0')
    if (paths.length !== n || links.length !== n) throw damagedIndex('its names do not match its entries')

    const digests = columns[14]
    const marked = columns[4]!.filter(flags => (flags & FLAG_XATTRS) !== 0).length
    if (marked * XATTRS_BYTES !== (digests?.length ?? 0))
        throw damagedIndex('its digests of attributes do not match its entries')

    const frames: Frame[] = new Array(header.frames)
    let frameAt = 0
    for (let i = 0; i < header.frames; i++) {
        frames[i] = { at: frameAt, stored: stored[i]!, plain: framePlain[i]! }
        frameAt += stored[i]!
    }
    const entries: IndexEntry[] = new Array(n)
    let entryAt = 0
    let xattrsAt = 0
    const xattrsOf = (flags: number): string | undefined => {
        if (digests === undefined || (flags & FLAG_XATTRS) === 0) return digests && ''
        xattrsAt += XATTRS_BYTES
        return digests.toString('hex', xattrsAt - XATTRS_BYTES, xattrsAt)
    }
    for (let i = 0; i < n; i++) {
        const type = types[columns[2]![i]!]
        const category = header.categories[columns[3]![i]!]
        entryAt += distance[i]!
        const ascends = i === 0 ? entryAt >= 0 : distance[i]! > 0
        const sized = Number.isSafeInteger(size[i]) && size[i]! >= 0
        if (
            type === undefined ||
            category === undefined ||
            !Number.isSafeInteger(entryAt) ||
            !ascends ||
            !sized
        )
            throw damagedIndex(`entry ${i} is impossible`)
        entries[i] = {
            path: paths[i]!,
            type,
            category,
            mode: mode[i]!,
            uid: uid[i]!,
            gid: gid[i]!,
            size: size[i]!,
            mtimeNs: mtime[i]! * SECOND + BigInt(mtimeRest[i]!),
            link: links[i] === '' ? undefined : links[i],
            sha256: undefined,
            at: entryAt,
            superseded: (columns[4]![i]! & FLAG_SUPERSEDED) !== 0,
            holes: (columns[4]![i]! & FLAG_HOLES) !== 0,
            xattrs: xattrsOf(columns[4]![i]!),
        }
    }
    return { frames, entries }
}

/** Digests stand apart: a listing does not need them and they do not compress. */
function writeDigests(entries: IndexEntry[]): Uint8Array {
    return Buffer.concat(entries.filter(entry => entry.type === 'file').map(entry => entry.sha256!))
}

function readDigests(bytes: Uint8Array, entries: IndexEntry[]): void {
    let at = 0
    for (const entry of entries) {
        if (entry.type !== 'file') continue
        entry.sha256 = bytes.subarray(at, at + 32)
        at += 32
    }
    if (at !== bytes.length) throw damagedIndex('its digests do not match its entries')
}
