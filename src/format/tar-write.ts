/** Writes entries of a POSIX pax tar: nanoseconds, xattrs, ACLs, sparse maps and names of any bytes survive. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { aclText } from './acl.ts'

/** Paths and link targets are byte strings: one character for one byte, so that any name survives and sorts by bytes. */
export type ByteString = string

export type TarType = 'file' | 'directory' | 'symlink' | 'hardlink'

export interface TarXattr {
    name: string
    value: Uint8Array
}

export interface TarExtent {
    offset: number
    length: number
}

export interface TarEntry {
    /** Without a leading slash; a directory without its trailing one. */
    path: ByteString
    type: TarType
    /** The twelve permission bits. */
    mode: number
    uid: number
    gid: number
    uname: string
    gname: string
    /** Bytes of content as a reader of the file sees them; 0 for all but files. */
    size: number
    mtimeNs: bigint
    atimeNs?: bigint
    /** Target of a symlink; archive path of the first name of a hard link. */
    link?: ByteString
    xattrs?: TarXattr[]
    /** Stretches of data of a sparse file; the holes between are not stored. */
    sparse?: TarExtent[]
}

export const BLOCK = 512

export const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK

/** Bytes of content that the archive stores for an entry: for sparse files the map and the data. */
export function storedSize(entry: TarEntry): number {
    if (entry.type !== 'file') return 0
    if (entry.sparse === undefined) return entry.size
    return sparseMap(entry).length + entry.sparse.reduce((sum, extent) => sum + extent.length, 0)
}

/** The map in front of a sparse file's data, format 1.0 of GNU tar, padded to whole blocks. */
export function sparseMap(entry: Pick<TarEntry, 'size' | 'sparse'>): Buffer {
    const extents = [...(entry.sparse ?? [])]
    const last = extents.at(-1)
    // A hole at the end is marked by an empty stretch: without it the file would come back too short.
    if (last === undefined || last.offset + last.length < entry.size)
        extents.push({ offset: entry.size, length: 0 })
    const text =
        [extents.length, ...extents.flatMap(extent => [extent.offset, extent.length])].join('\n') + '\n'
    const map = Buffer.alloc(text.length + padding(text.length))
    map.write(text, 'latin1')
    return map
}

/** Nanoseconds since the epoch as pax writes them: decimal seconds. */
export function paxTime(ns: bigint): string {
    const negative = ns < 0n
    const digits = (negative ? -ns : ns).toString().padStart(10, '0')
    const fraction = digits.slice(-9).replace(/0+$/, '')
    return `${negative ? '-' : ''}${digits.slice(0, -9)}${fraction === '' ? '' : `.${fraction}`}`
}

const MAX_OCTAL_8 = 0o7777777
const MAX_OCTAL_12 = 0o77777777777

const typeFlag: Record<TarType, number> = { file: 0x30, hardlink: 0x31, symlink: 0x32, directory: 0x35 }

/** The header blocks of one entry: the pax header with its records, then the ustar header. */
export function tarHeader(entry: TarEntry): Buffer {
    const path = entry.type === 'directory' ? `${entry.path}/` : entry.path
    let records: ByteString = ''
    const record = (key: ByteString, value: ByteString) => {
        records += paxRecord(key, value)
    }

    let name: { name: ByteString; prefix: ByteString } | undefined
    if (entry.sparse === undefined) {
        name = splitName(path)
        if (name === undefined) record('path', path)
    } else {
        record('GNU.sparse.major', '1')
        record('GNU.sparse.minor', '0')
        record('GNU.sparse.name', path)
        record('GNU.sparse.realsize', String(entry.size))
        name = { name: 'GNUSparseFile.0/sparse', prefix: '' }
    }
    const link = entry.link ?? ''
    if (link.length > 100) record('linkpath', link)
    const size = storedSize(entry)
    if (size > MAX_OCTAL_12) record('size', String(size))
    if (entry.uid > MAX_OCTAL_8) record('uid', String(entry.uid))
    if (entry.gid > MAX_OCTAL_8) record('gid', String(entry.gid))
    record('mtime', paxTime(entry.mtimeNs))
    if (entry.atimeNs !== undefined) record('atime', paxTime(entry.atimeNs))
    const nameTooLong = (text: string) => Buffer.byteLength(text) > 32
    if (nameTooLong(entry.uname)) record('uname', bytesOf(entry.uname))
    if (nameTooLong(entry.gname)) record('gname', bytesOf(entry.gname))
    for (const xattr of entry.xattrs ?? []) {
        const acl = aclText(xattr)
        if (acl !== undefined) record(acl.key, acl.text)
        record(`SCHILY.xattr.${encodeKey(xattr.name)}`, bytesOf(xattr.value))
    }

    const paxSize = records.length
    if (paxSize > limits.paxBytes)
        throw new Fault('failed', `cannot save ${entry.path}: its extended attributes take ${paxSize} bytes`)
    const out = Buffer.alloc(BLOCK + paxSize + padding(paxSize) + BLOCK)
    writeUstar(out, 0, {
        name: 'PaxHeaders/entry',
        prefix: '',
        flag: 0x78,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: paxSize,
        mtime: 0,
        link: '',
        uname: '',
        gname: '',
    })
    out.write(records, BLOCK, 'latin1')
    const seconds = Number(entry.mtimeNs / 1_000_000_000n)
    writeUstar(out, out.length - BLOCK, {
        name: name?.name ?? path.slice(0, 100),
        prefix: name?.prefix ?? '',
        flag: typeFlag[entry.type],
        mode: entry.mode & 0o7777,
        uid: entry.uid > MAX_OCTAL_8 ? 0 : entry.uid,
        gid: entry.gid > MAX_OCTAL_8 ? 0 : entry.gid,
        size: size > MAX_OCTAL_12 ? 0 : size,
        mtime: seconds < 0 || seconds > MAX_OCTAL_12 ? 0 : seconds,
        link: link.slice(0, 100),
        uname: nameTooLong(entry.uname) ? '' : entry.uname,
        gname: nameTooLong(entry.gname) ? '' : entry.gname,
    })
    return out
}

interface UstarFields {
    name: ByteString
    prefix: ByteString
    flag: number
    mode: number
    uid: number
    gid: number
    size: number
    mtime: number
    link: ByteString
    uname: string
    gname: string
}

function writeUstar(out: Buffer, at: number, fields: UstarFields): void {
    const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0')
    const put = (text: string, offset: number) => out.write(text, at + offset, 'latin1')
    put(fields.name, 0)
    put(octal(fields.mode, 7), 100)
    put(octal(fields.uid, 7), 108)
    put(octal(fields.gid, 7), 116)
    put(octal(fields.size, 11), 124)
    put(octal(fields.mtime, 11), 136)
    put('        ', 148)
    out[at + 156] = fields.flag
    put(fields.link, 157)
    put('ustar', 257)
    put('00', 263)
    out.write(fields.uname, at + 265, 32, 'utf8')
    out.write(fields.gname, at + 297, 32, 'utf8')
    put(fields.prefix, 345)
    let sum = 0
    for (let i = at; i < at + BLOCK; i++) sum += out[i]!
    put(octal(sum, 6), 148)
    out[at + 154] = 0
}

/** A keyword ends at its first `=`: one inside the name of an attribute is written as GNU tar writes it. */
const encodeKey = (name: ByteString) => name.replace(/[%=]/g, char => (char === '%' ? '%25' : '%3D'))

const bytesOf = (value: string | Uint8Array): ByteString =>
    Buffer.from(value as Uint8Array).toString('latin1')

/** One pax record; its length counts itself. */
function paxRecord(key: ByteString, value: ByteString): ByteString {
    const rest = 1 + key.length + 1 + value.length + 1
    let length = rest + String(rest).length
    if (String(length).length + rest !== length) length = rest + String(length).length
    return `${length} ${key}=${value}\n`
}

/** Fits a path into the name and prefix fields, or undefined when it needs a pax record. */
function splitName(path: ByteString): { name: ByteString; prefix: ByteString } | undefined {
    if (path.length <= 100) return { name: path, prefix: '' }
    if (path.length > 256) return undefined
    // The slash at the cut is not stored: at most 155 bytes before it, 1 to 100 behind it.
    const from = path.indexOf('/', path.length - 101)
    if (from <= 0 || from > 155 || from === path.length - 1) return undefined
    return { name: path.slice(from + 1), prefix: path.slice(0, from) }
}
