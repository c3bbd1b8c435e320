/** Reads a tar stream piece by piece: pax, ustar and GNU long names; strict, bounded, nothing is written anywhere. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { BLOCK, type ByteString, padding, type TarEntry, type TarExtent, type TarXattr } from './tar-write.ts'

/** An entry as it was read. What is neither file, directory nor link has the type `other` and its tar flag. */
export interface ReadEntry extends Omit<TarEntry, 'type' | 'sparse'> {
    type: TarEntry['type'] | 'other'
    flag: string
    /** Offset of the entry's first header block in the tar stream. */
    at: number
    /** Bytes of content stored in the stream, without padding. */
    stored: number
    /** Set for sparse files once their map was read. */
    sparse?: TarExtent[]
}

export interface TarVisitor {
    /** A new entry begins. For sparse files it is called when the map is known. */
    entry(entry: ReadEntry): void
    /** A piece of the entry's stored content, in order; sparse maps are taken out. Valid only during the call. */
    data(piece: Uint8Array): void
    /** The entry's content is complete. */
    end(): void
}

const damaged = (at: number, why: string): Fault =>
    new Fault('damaged', `cannot read the archive: ${why} at byte ${at} of its tar stream`)

/** A push parser: feed it with `push`, close it with `finish`. */
export class TarParser {
    readonly #visitor: TarVisitor
    /** Bytes kept because a header or a pax record is not complete yet … */
    #held: Buffer[] = []
    #heldBytes = 0
    /** … and how many there must be before another look is worth it: small pieces must not cost a copy each. */
    #wanted = 0
    #at = 0
    #entryAt = 0
    #entry: ReadEntry | undefined
    #remaining = 0
    #pad = 0
    #meta: { kind: 'pax' | 'global' | 'longname' | 'longlink'; size: number } | undefined
    #pax = new Map<string, Buffer>()
    #metaBytes = 0
    #longName: ByteString | undefined
    #longLink: ByteString | undefined
    #sparseMapWanted = false
    #zeros = 0
    #ended = false

    constructor(visitor: TarVisitor) {
        this.#visitor = visitor
    }

    /** Offset in the tar stream up to which everything was understood. */
    get position(): number {
        return this.#at
    }

    push(piece: Uint8Array): void {
        let bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.length)
        if (this.#heldBytes > 0) {
            if (this.#heldBytes + bytes.length < this.#wanted) {
                this.#hold(bytes)
                return
            }
            bytes = Buffer.concat([...this.#held, bytes])
            this.#held = []
            this.#heldBytes = 0
        }
        let at = 0
        while (at < bytes.length) {
            const used = this.#step(bytes, at)
            if (used === 0) {
                this.#hold(bytes.subarray(at))
                return
            }
            at += used
            this.#at += used
        }
    }

    #hold(bytes: Uint8Array): void {
        // A copy: the caller may reuse its buffer.
        this.#held.push(Buffer.from(bytes))
        this.#heldBytes += bytes.length
    }

    /** The next step needs this much: nothing happens before it is there. */
    #wait(bytes: number): 0 {
        this.#wanted = bytes
        return 0
    }

    /** The stream is over; anything unfinished is damage. */
    finish(): void {
        const unfinished = this.#entry !== undefined || this.#pad > 0 || this.#meta !== undefined
        if (this.#heldBytes > 0 || unfinished || !this.#isFresh())
            throw damaged(this.#at, 'the stream ends in the middle of an entry')
        if (!this.#ended) throw damaged(this.#at, 'the end marker is missing')
    }

    #step(bytes: Buffer, at: number): number {
        const available = bytes.length - at
        if (this.#pad > 0) {
            const used = Math.min(this.#pad, available)
            this.#pad -= used
            return used
        }
        if (this.#meta !== undefined) {
            const whole = this.#meta.size + padding(this.#meta.size)
            if (available < whole) return this.#wait(whole)
            this.#readMeta(this.#meta.kind, bytes.subarray(at, at + this.#meta.size))
            this.#meta = undefined
            return whole
        }
        if (this.#entry !== undefined && this.#sparseMapWanted) return this.#readSparseMap(bytes, at)
        if (this.#entry !== undefined) {
            const used = Math.min(this.#remaining, available)
            this.#visitor.data(bytes.subarray(at, at + used))
            this.#remaining -= used
            if (this.#remaining === 0) this.#endEntry()
            return used
        }
        if (available < BLOCK) return this.#wait(BLOCK)
        this.#readHeader(bytes.subarray(at, at + BLOCK))
        return BLOCK
    }

    #endEntry(): void {
        this.#pad = padding(this.#entry!.stored)
        this.#entry = undefined
        this.#visitor.end()
    }

    /** No header of an entry was read whose own block is still to come. */
    #isFresh(): boolean {
        return this.#pax.size === 0 && this.#longName === undefined && this.#longLink === undefined
    }

    #readHeader(block: Buffer): void {
        const fresh = this.#isFresh()
        // Looking at all 512 bytes is only worth it where the first one says so.
        if (block[0] === 0 && block.every(byte => byte === 0)) {
            if (!fresh) throw damaged(this.#at, 'a header without its entry')
            this.#zeros++
            if (this.#zeros >= 2) this.#ended = true
            return
        }
        if (this.#ended) throw damaged(this.#at, 'data behind the end marker')
        if (this.#zeros > 0) throw damaged(this.#at, 'a lone zero block')
        checkSum(block, this.#at)
        const flag = String.fromCharCode(block[156]!)
        const size = readNumber(block, 124, 12, this.#at)
        if (fresh) this.#entryAt = this.#at
        if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
            // All headers of one entry together, or a row of them would fill the memory.
            this.#metaBytes = fresh ? size : this.#metaBytes + size
            if (this.#metaBytes > limits.paxBytes * 2) throw damaged(this.#at, `a header of ${size} bytes`)
            const kind =
                flag === 'x' ? 'pax' : flag === 'g' ? 'global' : flag === 'L' ? 'longname' : 'longlink'
            this.#meta = { kind, size }
            if (size === 0) this.#meta = undefined
            return
        }
        this.#beginEntry(block, flag, size)
    }

    #readMeta(kind: 'pax' | 'global' | 'longname' | 'longlink', bytes: Buffer): void {
        // Global records would apply to entries that a seeking reader never sees them with: proxsave writes none, and
        // other writers only put a comment there.
        if (kind === 'global') return
        if (kind === 'pax') {
            for (const [key, value] of parsePax(bytes, this.#at)) this.#pax.set(key, value)
            return
        }
        const end = bytes.indexOf(0)
        const name = bytes.subarray(0, end < 0 ? bytes.length : end).toString('latin1')
        if (kind === 'longname') this.#longName = name
        else this.#longLink = name
    }

    #beginEntry(block: Buffer, flag: string, headerSize: number): void {
        const pax = this.#pax
        const text = (key: string) => pax.get(key)?.toString('latin1')
        const number = (key: string, most: number) => {
            const value = text(key)
            if (value === undefined) return undefined
            if (!/^\d{1,16}$/.test(value) || Number(value) > most)
                throw damaged(this.#at, `the record ${key} is no number in range`)
            return Number(value)
        }
        const id = (key: 'uid' | 'gid', from: number) => {
            const value = number(key, MOST_ID) ?? readNumber(block, from, 8, this.#at)
            if (value > MOST_ID) throw damaged(this.#at, `a ${key} of more than 32 bits`)
            return value
        }
        const magic = block.toString('latin1', 257, 263)
        const prefix = magic.startsWith('ustar\0') ? cString(block, 345, 155) : ''
        const plainName = cString(block, 0, 100)
        let path = text('path') ?? this.#longName ?? (prefix === '' ? plainName : `${prefix}/${plainName}`)
        const stored = number('size', Number.MAX_SAFE_INTEGER) ?? headerSize
        const gnuSparse = text('GNU.sparse.major') === '1' && text('GNU.sparse.minor') === '0'
        if (!gnuSparse && [...pax.keys()].some(key => key.startsWith('GNU.sparse.')))
            throw damaged(this.#at, 'a sparse file of a format that is not known')
        if (gnuSparse) path = text('GNU.sparse.name') ?? path
        const isDirectory = flag === '5' || ((flag === '0' || flag === '\0') && path.endsWith('/'))
        const type = isDirectory ? 'directory' : (entryTypes[flag] ?? 'other')
        const entry: ReadEntry = {
            path: path.endsWith('/') ? path.replace(/\/+$/, '') : path,
            type,
            flag,
            at: this.#entryAt,
            stored: type === 'file' || type === 'other' ? stored : 0,
            mode: readNumber(block, 100, 8, this.#at) & 0o7777,
            uid: id('uid', 108),
            gid: id('gid', 116),
            uname: pax.get('uname')?.toString() ?? Buffer.from(cString(block, 265, 32), 'latin1').toString(),
            gname: pax.get('gname')?.toString() ?? Buffer.from(cString(block, 297, 32), 'latin1').toString(),
            size: gnuSparse
                ? (number('GNU.sparse.realsize', Number.MAX_SAFE_INTEGER) ?? 0)
                : type === 'file'
                  ? stored
                  : 0,
            mtimeNs:
                readTime(text('mtime'), this.#at) ?? readSeconds(block, 136, 12, this.#at) * 1_000_000_000n,
            atimeNs: readTime(text('atime'), this.#at),
            link: text('linkpath') ?? this.#longLink ?? cString(block, 157, 100),
            xattrs: readXattrs(pax),
        }
        if (entry.link === '') entry.link = undefined
        this.#pax = new Map()
        this.#longName = undefined
        this.#longLink = undefined
        this.#entry = entry
        this.#remaining = entry.stored
        this.#sparseMapWanted = gnuSparse
        if (gnuSparse) return
        this.#visitor.entry(entry)
        if (this.#remaining === 0) this.#endEntry()
    }

    /** Takes the map of a sparse file, as soon as all of it is there. */
    #readSparseMap(bytes: Buffer, at: number): number {
        const entry = this.#entry!
        const end = Math.min(bytes.length, at + Math.min(this.#remaining, limits.paxBytes))
        const numbers: number[] = []
        let wanted = 1
        let position = at
        while (numbers.length < wanted) {
            const newline = bytes.indexOf(0x0a, position)
            if (newline < 0 || newline >= end) {
                if (end - at >= limits.paxBytes || end - at >= this.#remaining)
                    throw damaged(this.#at, 'a sparse file without a map')
                return this.#wait(Math.min(this.#remaining, (bytes.length - at) * 2))
            }
            const digits = bytes.toString('latin1', position, newline)
            if (!/^\d{1,16}$/.test(digits)) throw damaged(this.#at, 'a broken map of a sparse file')
            numbers.push(Number(digits))
            if (numbers.length === 1) {
                if (numbers[0]! > 65_536) throw damaged(this.#at, 'a sparse file of too many pieces')
                wanted = 1 + numbers[0]! * 2
            }
            position = newline + 1
        }
        const size = position - at
        const whole = size + padding(size)
        if (whole > this.#remaining) throw damaged(this.#at, 'a map of a sparse file that is cut')
        if (bytes.length - at < whole) return this.#wait(whole)
        const sparse: TarExtent[] = []
        let covered = 0
        let data = 0
        for (let i = 1; i < wanted; i += 2) {
            const extent = { offset: numbers[i]!, length: numbers[i + 1]! }
            if (extent.offset < covered || extent.offset + extent.length > entry.size)
                throw damaged(this.#at, 'a map of a sparse file that leaves the file')
            covered = extent.offset + extent.length
            data += extent.length
            if (extent.length > 0) sparse.push(extent)
        }
        if (whole + data !== entry.stored)
            throw damaged(this.#at, 'a map of a sparse file that misses its data')
        entry.sparse = sparse
        this.#sparseMapWanted = false
        this.#remaining -= whole
        this.#visitor.entry(entry)
        if (this.#remaining === 0) this.#endEntry()
        return whole
    }
}

/** Linux numbers users and groups with 32 bits. */
const MOST_ID = 0xffffffff

const entryTypes: Record<string, TarEntry['type']> = {
    '0': 'file',
    '\0': 'file',
    '7': 'file',
    '1': 'hardlink',
    '2': 'symlink',
    '5': 'directory',
}

function checkSum(block: Buffer, at: number): void {
    // The checksum's own eight bytes count as spaces.
    let sum = 8 * 0x20
    for (let i = 0; i < 148; i++) sum += block[i]!
    for (let i = 156; i < BLOCK; i++) sum += block[i]!
    if (readNumber(block, 148, 8, at) !== sum) throw damaged(at, 'a header with a wrong checksum')
}

/** A number field: octal text, or GNU's base-256 for what does not fit. */
function readNumber(block: Buffer, from: number, length: number, at: number): number {
    const first = block[from]!
    if ((first & 0x80) !== 0) {
        if (first !== 0x80) throw damaged(at, 'a negative number field')
        let value = 0
        for (let i = from + 1; i < from + length; i++) value = value * 256 + block[i]!
        if (!Number.isSafeInteger(value)) throw damaged(at, 'a number field out of range')
        return value
    }
    let value = 0
    let i = from
    const end = from + length
    while (i < end && block[i] === 0x20) i++
    for (; i < end; i++) {
        const digit = block[i]! - 0x30
        if (digit < 0 || digit > 7) break
        value = value * 8 + digit
    }
    // Digits end with spaces or a NUL; what stands behind a NUL is not looked at.
    while (i < end && block[i] === 0x20) i++
    if (i < end && block[i] !== 0) throw damaged(at, 'a number field that is no number')
    return value
}

/** A time field, which GNU tar lets be negative: then all of it is one number in two's complement. */
function readSeconds(block: Buffer, from: number, length: number, at: number): bigint {
    if (block[from] !== 0xff) return BigInt(readNumber(block, from, length, at))
    return BigInt.asIntN(64, block.readBigUInt64BE(from + length - 8))
}

function cString(block: Buffer, from: number, length: number): ByteString {
    const end = block.indexOf(0, from)
    return block.toString('latin1', from, end < 0 || end > from + length ? from + length : end)
}

function parsePax(bytes: Buffer, at: number): Map<string, Buffer> {
    const records = new Map<string, Buffer>()
    let position = 0
    while (position < bytes.length) {
        const space = bytes.indexOf(0x20, position)
        const digits = space < 0 ? '' : bytes.toString('latin1', position, space)
        if (!/^[1-9]\d{0,8}$/.test(digits)) throw damaged(at, 'a broken pax record')
        const end = position + Number(digits)
        const equals = bytes.indexOf(0x3d, space + 1)
        if (end > bytes.length || bytes[end - 1] !== 0x0a || equals < 0 || equals >= end)
            throw damaged(at, 'a broken pax record')
        records.set(
            bytes.toString('latin1', space + 1, equals),
            Buffer.from(bytes.subarray(equals + 1, end - 1)),
        )
        position = end
    }
    return records
}

function readTime(text: string | undefined, at: number): bigint | undefined {
    if (text === undefined) return undefined
    const match = /^(-?)(\d{1,19})(?:\.(\d+))?$/.exec(text)
    if (match === null) throw damaged(at, 'a time that is none')
    const ns = BigInt(match[2]!) * 1_000_000_000n + BigInt((match[3] ?? '').slice(0, 9).padEnd(9, '0'))
    return match[1] === '-' ? -ns : ns
}

const XATTR = 'SCHILY.xattr.'

/** A keyword ends at its first `=`, so GNU tar writes one inside a name as `%3D`, and `%` as `%25`. */
const decodeKey = (name: string) => name.replace(/%3D|%25/g, code => (code === '%25' ? '%' : '='))

function readXattrs(pax: Map<string, Buffer>): TarXattr[] | undefined {
    const found: TarXattr[] = []
    for (const [key, value] of pax)
        if (key.startsWith(XATTR)) found.push({ name: decodeKey(key.slice(XATTR.length)), value })
    return found.length === 0 ? undefined : found
}
