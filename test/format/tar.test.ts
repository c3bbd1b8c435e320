/** The tar codec: random entries come back as they went in, GNU tar reads what we write, and we what it writes. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { extract, pack as tarStream } from 'tar-stream'
import { Fault } from '../../src/core/errors.ts'
import { type ReadEntry, TarParser } from '../../src/format/tar-read.ts'
import {
    BLOCK,
    padding,
    sparseMap,
    storedSize,
    type TarEntry,
    type TarExtent,
    type TarXattr,
    tarHeader,
} from '../../src/format/tar-write.ts'
import { type Random, seeded } from '../sim/random.ts'
import { describeTree } from '../vm/tree.ts'

let scratch = ''
beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'proxsave-tar-'))
})
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

interface Item {
    entry: TarEntry
    content: Uint8Array
}

const isRoot = process.getuid?.() === 0

function write(items: Item[]): Buffer {
    const pieces: Uint8Array[] = []
    for (const { entry, content } of items) {
        pieces.push(tarHeader(entry))
        if (entry.type !== 'file') continue
        if (entry.sparse !== undefined) pieces.push(sparseMap(entry))
        pieces.push(content, new Uint8Array(padding(content.length)))
    }
    pieces.push(new Uint8Array(2 * BLOCK))
    return Buffer.concat(pieces)
}

interface Seen {
    entry: ReadEntry
    content: Buffer
}

/** Everything a parser tells; the pieces are overwritten after each push, as a reader that reuses its buffer does. */
function read(bytes: Uint8Array, sizes: () => number, finish = true): Seen[] {
    const seen: Seen[] = []
    let pieces: Buffer[] = []
    let open: ReadEntry | undefined
    const parser = new TarParser({
        entry(entry) {
            expect(open).toBeUndefined()
            open = entry
            pieces = []
        },
        data: piece => void pieces.push(Buffer.from(piece)),
        end() {
            seen.push({ entry: open!, content: Buffer.concat(pieces) })
            open = undefined
        },
    })
    for (let at = 0; at < bytes.length; ) {
        const piece = Uint8Array.from(bytes.subarray(at, at + Math.max(1, sizes())))
        parser.push(piece)
        at += piece.length
        piece.fill(0xa5)
    }
    if (finish) parser.finish()
    return seen
}

const wholes = () => Number.MAX_SAFE_INTEGER

/** A path of any bytes but NUL, of up to `most` of them, whose names Linux allows. */
function randomPath(random: Random, most: number): string {
    const length = 1 + random.int(most)
    let path = ''
    while (path.length < length) {
        const wanted = Math.min(length - path.length, 1 + random.int(random.chance(0.3) ? 255 : 20))
        let name = ''
        for (let i = 0; i < wanted; i++) {
            const byte = random.chance(0.7) ? 0x61 + random.int(26) : 1 + random.int(255)
            name += byte === 0x2f ? 'x' : String.fromCharCode(byte)
        }
        if (name === '.' || name === '..') name = 'dots'
        path += (path === '' ? '' : '/') + name
    }
    return path.slice(0, most).replace(/\/+$/, 'x')
}

function randomItem(random: Random): Item {
    const type = random.pick(['file', 'file', 'file', 'directory', 'symlink', 'hardlink'] as const)
    const number = (small: number, most: number) =>
        random.chance(0.5) ? random.int(small) : random.int(most)
    const time = () => {
        const seconds = BigInt(random.int(2 ** 31)) * BigInt(random.pick([1, 1, 1, -1, 3, 40, 2 ** 31]))
        return (
            seconds * 1_000_000_000n + BigInt(random.pick([0, 1, 999_999_999, 120_000_000, random.int(1e9)]))
        )
    }
    const xattrs: TarXattr[] = []
    for (let n = random.chance(0.3) ? random.int(4) : 0; n > 0; n--)
        xattrs.push({
            name: `user.${randomPath(random, 100).replaceAll('/', '=')}${random.pick(['', '%', '%3D', 'ä'])}${n}`,
            value: random.bytes(random.pick([0, 1, 10, 997, 3000])),
        })
    const entry: TarEntry = {
        path: randomPath(random, random.pick([8, 100, 101, 156, 256, 300, 4095])),
        type,
        mode: random.int(0o10000),
        uid: number(70_000, 2 ** 32),
        gid: number(70_000, 2 ** 32),
        uname: random.pick(['', 'root', 'größe', 'u'.repeat(32), 'u'.repeat(33), 'ü'.repeat(17)]),
        gname: random.pick(['', 'www-data', 'g'.repeat(40)]),
        size: 0,
        mtimeNs: time(),
        atimeNs: random.chance(0.8) ? time() : undefined,
        link:
            type === 'symlink' || type === 'hardlink'
                ? randomPath(random, random.pick([5, 100, 101, 4095]))
                : undefined,
        xattrs: xattrs.length === 0 ? undefined : xattrs,
    }
    if (type !== 'file') return { entry, content: new Uint8Array() }
    if (random.chance(0.7)) {
        const content = random.bytes(random.pick([0, 1, 511, 512, 513, random.int(5000)]))
        return { entry: { ...entry, size: content.length }, content }
    }
    const sparse: TarExtent[] = []
    let at = 0
    for (let n = random.int(random.chance(0.1) ? 300 : 6); n > 0; n--) {
        const extent = { offset: at + random.int(100_000), length: 1 + random.int(2000) }
        sparse.push(extent)
        at = extent.offset + extent.length
    }
    const size = at + random.pick([0, 1, random.int(2 ** 40)])
    const content = random.bytes(sparse.reduce((sum, { length }) => sum + length, 0))
    return { entry: { ...entry, size, sparse }, content }
}

/** What must be the same on both sides. */
const shape = (entry: TarEntry | ReadEntry) => ({
    path: entry.path,
    type: entry.type,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    uname: entry.uname,
    gname: entry.gname,
    size: entry.size,
    mtimeNs: entry.mtimeNs,
    atimeNs: entry.atimeNs,
    link: entry.link,
    xattrs: entry.xattrs?.map(({ name, value }) => [name, Buffer.from(value).toString('hex')]),
    sparse: entry.sparse,
})

test('random entries come back the same, in pieces of any size', () => {
    const seed = Number(process.env.PROXSAVE_SEED ?? 1)
    for (let round = 0; round < 60; round++) {
        const random = seeded(seed * 1000 + round)
        const items = Array.from({ length: 1 + random.int(12) }, () => randomItem(random))
        const bytes = write(items)
        const most = random.pick([1, 7, 512, 513, 4000, 100_000])
        const seen = read(bytes, () => 1 + random.int(most))
        const why = `seed ${seed}, round ${round}`
        expect(seen.length, why).toBe(items.length)
        for (const [i, { entry, content }] of items.entries()) {
            expect(shape(seen[i]!.entry), why).toEqual(shape(entry))
            expect(Buffer.compare(seen[i]!.content, content), why).toBe(0)
            expect(seen[i]!.entry.stored, why).toBe(storedSize(entry))
        }
    }
})

describe('GNU tar', () => {
    const random = seeded(7)
    const base = (path: string, change: Partial<TarEntry> = {}): TarEntry => ({
        path: Buffer.from(path).toString('latin1'),
        type: 'file',
        mode: 0o640,
        uid: 12345,
        gid: 2_097_152,
        uname: '',
        gname: '',
        size: 0,
        mtimeNs: 1_600_000_000_123_456_789n,
        atimeNs: 1_500_000_000_000_000_001n,
        ...change,
    })
    const file = (path: string, size: number, change: Partial<TarEntry> = {}): Item => ({
        entry: base(path, { size, ...change }),
        content: random.bytes(size),
    })
    const none = new Uint8Array()

    test.if(isRoot)('unpacks what we write, with everything', async () => {
        const sparse = {
            size: 3_000_000,
            sparse: [
                { offset: 4096, length: 8192 },
                { offset: 1_048_576, length: 4096 },
            ],
        }
        const items: Item[] = [
            { entry: base('d', { type: 'directory', mode: 0o2751 }), content: none },
            file('d/plain', 1000),
            file(`d/${'n'.repeat(255)}`, 3),
            file(`d/${'a'.repeat(60)}/${'b'.repeat(60)}/${'c'.repeat(60)}`, 3),
            file('d/negative', 1, { mtimeNs: -1_500_000_001n }),
            file('d/future', 1, { mtimeNs: 4_400_000_000_000_000_007n }),
            { entry: base('d/link', { type: 'symlink', mode: 0o777, link: 'x'.repeat(300) }), content: none },
            { entry: base('d/hard', { type: 'hardlink', link: 'd/plain' }), content: none },
            { entry: base('d/holes', sparse), content: random.bytes(8192 + 4096) },
            { entry: base('d/hole', { size: 70_000, sparse: [] }), content: none },
            file('d/attributes', 5, {
                xattrs: [
                    { name: 'user.binary', value: Uint8Array.of(0, 10, 0xff, 0x3d) },
                    { name: 'user.empty', value: none },
                    { name: 'user.equals=sign%3D', value: Buffer.from('v') },
                ],
            }),
            { entry: base('d/x', { path: 'd/\xff\xfe\n\x01' }), content: none },
        ]
        const out = join(scratch, 'gnu-out')
        const archive = join(scratch, 'ours.tar')
        writeFileSync(archive, write(items))
        await run(['mkdir', out])
        const flags = ['-p', '--same-owner', '--numeric-owner', '--acls', '--xattrs', '--xattrs-include=*']
        const said = await run(['tar', 'xf', archive, ...flags, '-C', out])
        // It remarks on the odd times and keeps them.
        expect(said.split('\n').filter(line => !/^$|time stamp/.test(line))).toEqual([])
        const tree = await describeTree(out)
        for (const { entry, content } of items) {
            const found = tree.get(entry.path)!
            expect(found, entry.path).toBeDefined()
            expect(found.uid).toBe(entry.uid)
            expect(found.gid).toBe(entry.gid)
            // JSON rounds numbers of this size; the times are compared as text elsewhere.
            expect(Math.abs(Number(found.mtime) - Number(entry.mtimeNs))).toBeLessThan(1024)
            if (entry.type === 'file') {
                const whole = Buffer.alloc(entry.size)
                let at = 0
                for (const { offset, length } of entry.sparse ?? [{ offset: 0, length: entry.size }]) {
                    whole.set(content.subarray(at, at + length), offset)
                    at += length
                }
                expect(found.sha256).toBe(new Bun.CryptoHasher('sha256').update(whole).digest('hex'))
                expect(found.mode).toBe(`0o${entry.mode.toString(8)}`)
            }
            if (entry.type === 'symlink') expect(found.target).toBe(entry.link)
        }
        expect(tree.get('d')!.mode).toBe('0o2751')
        expect(tree.get('d/hard')!['same as']).toBe('d/hard')
        expect(tree.get('d/attributes')!.xattrs).toEqual({
            'user.binary': '000aff3d',
            'user.empty': '',
            'user.equals=sign%3D': '76',
        })
    })

    test('what it writes in each of its formats is read', async () => {
        const from = join(scratch, 'gnu-in')
        const make = `mkdir -p ${from}/dir/${'p'.repeat(90)}/${'q'.repeat(90)}; cd ${from}
            printf hello > dir/file; touch -d '1955-11-05 06:00:00.25Z' dir/file; ln dir/file dir/hard
            printf deep > dir/${'p'.repeat(90)}/${'q'.repeat(90)}/f; ln -s ${'l'.repeat(150)} dir/long
            truncate -s 5M dir/holes; printf x | dd of=dir/holes bs=1 seek=2097152 conv=notrunc status=none
            mkfifo dir/pipe; touch dir/${'n'.repeat(240)}`
        expect(await run(['sh', '-c', make])).toBe('')
        const names = (format: string) => Array.from({ length: 0 }, () => format)
        expect(names('x')).toEqual([])
        for (const format of ['--format=pax', '--format=gnu', '--format=ustar']) {
            const archive = join(scratch, 'gnu.tar')
            const sparse = format === '--format=pax' ? ['--sparse', '--sparse-version=1.0'] : []
            // ustar has no room for the longest name; and no time before 1970.
            const left = format === '--format=ustar' ? ['--exclude=nnn*', '--mtime=@5', '--exclude=long'] : []
            await run(['tar', 'cf', archive, format, ...sparse, ...left, '--sort=name', '-C', from, 'dir'])
            const seen = new Map(read(readFileSync(archive), () => 1000).map(one => [one.entry.path, one]))
            const hello = [seen.get('dir/file')!, seen.get('dir/hard')!]
            expect(hello.map(one => one.entry.type).sort(), format).toEqual(['file', 'hardlink'])
            expect(hello.map(one => one.content.toString()).sort()).toEqual(['', 'hello'])
            expect(seen.get('dir/pipe')!.entry.type).toBe('other')
            const deep = `dir/${'p'.repeat(90)}/${'q'.repeat(90)}/f`
            expect(seen.get(deep)!.content.toString(), format).toBe('deep')
            if (format === '--format=ustar') continue
            expect(seen.get('dir/long')!.entry.link).toBe('l'.repeat(150))
            expect(seen.has(`dir/${'n'.repeat(240)}`)).toBe(true)
            const whole = format === '--format=pax' ? -446_752_799_750_000_000n : -446_752_800_000_000_000n
            expect(seen.get('dir/file')!.entry.mtimeNs, format).toBe(
                format === '--format=pax'
                    ? BigInt(Date.parse('1955-11-05T06:00:00.250Z')) * 1_000_000n
                    : whole,
            )
            const holes = seen.get('dir/holes')!.entry
            expect(holes.size).toBe(5 << 20)
            if (format === '--format=pax') expect(holes.sparse!.length).toBeGreaterThan(0)
        }
    })
})

async function run(argv: string[]): Promise<string> {
    const child = Bun.spawn(argv, { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', timeout: 20_000 })
    const [out, err] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
    ])
    if ((await child.exited) !== 0) throw new Error(`${argv.join(' ')}: ${err}`)
    return out + err
}

describe('tar-stream cannot carry what a backup must, which is why there is a codec of our own', () => {
    const ours: TarEntry = {
        path: 'etc/\xff\xfe',
        type: 'file',
        mode: 0o644,
        uid: 0,
        gid: 0,
        uname: '',
        gname: '',
        size: 0,
        mtimeNs: 1_600_000_000_123_456_789n,
        xattrs: [{ name: 'user.binary', value: Uint8Array.of(0xff, 0x00, 0xfe) }],
    }
    const header = async (bytes: Uint8Array) => {
        const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>()
        const parser = extract()
        parser.on('entry', (found, stream, next) => {
            resolve(found as unknown as Record<string, unknown>)
            stream.resume()
            next()
        })
        parser.on('error', reject)
        parser.end(Buffer.from(bytes))
        return promise
    }

    test('reading: the name, the nanoseconds and the attribute are lost', async () => {
        const bytes = write([{ entry: ours, content: new Uint8Array() }])
        const found = await header(bytes)
        expect(Buffer.from(found.name as string, 'utf8').toString('latin1')).not.toBe(ours.path)
        expect((found.mtime as Date).getTime()).toBe(1_600_000_000_000)
        const value = (found.pax as Record<string, string>)['SCHILY.xattr.user.binary'] ?? ''
        expect(Buffer.from(value, 'utf8')).not.toEqual(Buffer.from([0xff, 0x00, 0xfe]))
        const again = read(bytes, wholes)[0]!.entry
        expect([again.path, again.mtimeNs]).toEqual([ours.path, ours.mtimeNs])
        expect(Buffer.from(again.xattrs![0]!.value)).toEqual(Buffer.from([0xff, 0x00, 0xfe]))
    })

    test('writing: neither a name of bytes nor nanoseconds can be given', async () => {
        const stream = tarStream()
        const attribute = Buffer.from([0xff, 0x00, 0xfe]).toString('latin1')
        const mtime = new Date(1_600_000_000_123.456)
        const pax = { 'SCHILY.xattr.user.binary': attribute }
        stream.entry({ name: 'etc/\xff\xfe', mtime, pax }, 'content')
        stream.finalize()
        const pieces: Uint8Array[] = []
        for await (const piece of stream) pieces.push(piece as Uint8Array)
        const found = read(Buffer.concat(pieces), wholes)[0]!.entry
        expect(found.path).not.toBe('etc/\xff\xfe')
        expect(found.mtimeNs % 1_000_000_000n).toBe(0n)
        expect(Buffer.from(found.xattrs![0]!.value)).not.toEqual(Buffer.from([0xff, 0x00, 0xfe]))
    })
})

describe('what is refused', () => {
    const plain: TarEntry = {
        path: 'a',
        type: 'file',
        mode: 0o644,
        uid: 0,
        gid: 0,
        uname: '',
        gname: '',
        size: 3,
        mtimeNs: 0n,
    }
    const good = write([{ entry: plain, content: Buffer.from('abc') }])
    /** The good archive with its ustar header changed, and the checksum made right again. */
    const forged = (change: (header: Buffer) => void, keepSum = false): Buffer => {
        const bytes = Buffer.from(good)
        const at = bytes.indexOf('a\0', 2 * BLOCK) & ~511
        const block = bytes.subarray(at, at + BLOCK)
        change(block)
        if (!keepSum) {
            block.fill(0x20, 148, 156)
            const sum = block.reduce((total, byte) => total + byte, 0)
            block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
        }
        return bytes
    }
    const pax = (records: string): Buffer => {
        const bytes = Buffer.alloc(BLOCK + records.length + padding(records.length))
        good.copy(bytes, 0, 0, BLOCK)
        bytes.write(`${records.length.toString(8).padStart(11, '0')}\0`, 124, 'latin1')
        bytes.fill(0x20, 148, 156)
        const sum = bytes.subarray(0, BLOCK).reduce((total, byte) => total + byte, 0)
        bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
        bytes.write(records, BLOCK, 'latin1')
        return bytes
    }
    const record = (text: string) => `${text.length + 4 > 99 ? text.length + 5 : text.length + 4} ${text}\n`
    const entryBlocks = good.subarray(good.length - 4 * BLOCK)

    test('the forged archive without a forgery is read', () => {
        expect(
            read(
                forged(() => {}),
                wholes,
            ).map(one => one.content.toString()),
        ).toEqual(['abc'])
        expect(read(Buffer.concat([pax(record('comment=x')), entryBlocks]), wholes)[0]!.entry.path).toBe('a')
    })

    const cases: [string, Buffer, RegExp][] = [
        ['a wrong checksum', forged(block => block.writeUInt8(0x62, 0), true), /checksum/],
        ['a size in letters', forged(block => block.write('zzz', 124)), /number/],
        [
            'a size beyond what numbers carry',
            forged(block => block.fill(0xff, 125, 136).writeUInt8(0x80, 124)),
            /range/,
        ],
        ['a negative size', forged(block => block.fill(0xff, 124, 136)), /negative/],
        [
            'a user of more than 32 bits in the header itself',
            forged(block => block.fill(0, 108, 116).writeUInt8(0x80, 108) && block.writeUInt8(1, 111)),
            /32 bits/,
        ],
        ['data behind the end', Buffer.concat([good, entryBlocks]), /behind the end/],
        ['a lone zero block', Buffer.concat([new Uint8Array(BLOCK), good]), /lone zero/],
        ['no end', good.subarray(0, good.length - 2 * BLOCK), /end marker/],
        ['half an end', good.subarray(0, good.length - BLOCK), /end marker/],
        [
            'a header without its entry',
            Buffer.concat([pax(record('path=b')), new Uint8Array(2 * BLOCK)]),
            /without its entry/,
        ],
        [
            'a record that is longer than its header',
            Buffer.concat([pax('99 path=b\n'), entryBlocks]),
            /pax record/,
        ],
        ['a record without a length', Buffer.concat([pax('path=b\n'), entryBlocks]), /pax record/],
        ['a record of no length', Buffer.concat([pax('0 a=b\n'), entryBlocks]), /pax record/],
        ['a negative size in a record', Buffer.concat([pax(record('size=-1')), entryBlocks]), /no number/],
        [
            'a user of more than 32 bits',
            Buffer.concat([pax(record('uid=4294967296')), entryBlocks]),
            /no number in range/,
        ],
        ['a time that is none', Buffer.concat([pax(record('mtime=1e9')), entryBlocks]), /time/],
        ['an old sparse format', Buffer.concat([pax(record('GNU.sparse.map=0,1')), entryBlocks]), /sparse/],
    ]
    for (const [name, bytes, why] of cases)
        test(name, () => {
            for (const size of [1, 100, 512, 1 << 20]) expect(() => read(bytes, () => size)).toThrow(why)
        })

    test('headers in a row do not fill the memory', () => {
        const long = pax(record(`k0=${'v'.repeat(90)}`).repeat(10_000))
        const parser = new TarParser({ entry() {}, data() {}, end() {} })
        expect(() => {
            for (let i = 0; i < 100; i++) parser.push(long)
        }).toThrow(/header of/)
        expect(parser.position).toBeLessThan(4 << 20)
    })

    test('a long header in single bytes takes no longer than its bytes', () => {
        const value = 'v'.repeat(900_000)
        const bytes = write([
            {
                entry: { ...plain, xattrs: [{ name: 'user.long', value: Buffer.from(value) }] },
                content: Buffer.from('abc'),
            },
        ])
        const began = performance.now()
        expect(read(bytes, () => 16)[0]!.content.toString()).toBe('abc')
        expect(performance.now() - began).toBeLessThan(1500)
    })

    test('a sparse map that leaves the file, misses its data, has too many pieces, or no end', () => {
        const sparse: TarEntry = { ...plain, size: 10_000, sparse: [{ offset: 4096, length: 3 }] }
        const bytes = write([{ entry: sparse, content: Buffer.from('abc') }])
        const map = bytes.indexOf('2\n4096\n')
        expect(map).toBeGreaterThan(0)
        const swap = (text: string) => {
            const copy = Buffer.from(bytes)
            copy.fill(0, map, map + BLOCK)
            copy.write(text, map, 'latin1')
            return copy
        }
        expect(read(swap('2\n4096\n3\n10000\n0\n'), () => 7)[0]!.entry.sparse).toEqual(sparse.sparse)
        expect(() => read(swap('2\n9999\n3\n10000\n0\n'), () => 7)).toThrow(/leaves the file/)
        expect(() => read(swap('2\n4096\n3\n4097\n0\n'), () => 7)).toThrow(/leaves the file/)
        expect(() => read(swap('2\n4096\n2\n10000\n0\n'), () => 7)).toThrow(/misses its data/)
        expect(() => read(swap('65537\n0\n'), () => 7)).toThrow(/too many/)
        expect(() => read(swap('2\n-1\n3\n10000\n0\n'), () => 7)).toThrow(/broken map/)
        expect(() => read(swap('9'.repeat(500)), () => 7)).toThrow(Fault)
    })
})

test('any mutation and any truncation is an answer or a fault, soon', () => {
    const seed = Number(process.env.PROXSAVE_SEED ?? 1)
    const rounds = Number(process.env.PROXSAVE_FUZZ ?? 4000)
    const random = seeded(seed)
    const samples = Array.from({ length: 8 }, (_, i) => {
        const own = seeded(100 + i)
        return write(Array.from({ length: 1 + own.int(5) }, () => randomItem(own)))
    }).filter(bytes => bytes.length < 60_000)
    let faults = 0
    for (let round = 0; round < rounds; round++) {
        const bytes = Buffer.from(random.pick(samples))
        for (let edits = random.int(4); edits >= 0; edits--) {
            const at = random.int(bytes.length)
            const kind = random.int(5)
            if (kind === 0) bytes[at] = random.int(256)
            else if (kind === 1) bytes[at]! ^= 1 << random.int(8)
            else if (kind === 2) bytes.copy(bytes, at, random.int(bytes.length))
            else if (kind === 3)
                bytes.write(random.pick(['99999999999', '-1', '0', '=', '\n', '\x80']), at, 'latin1')
            // A checksum that fits again lets a mutation reach what lies behind it.
            const block = bytes.subarray(at & ~511, (at & ~511) + BLOCK)
            if (block.length < BLOCK || random.chance(0.3)) continue
            block.fill(0x20, 148, 156)
            block.write(
                `${block
                    .reduce((a, b) => a + b, 0)
                    .toString(8)
                    .padStart(6, '0')}\0 `,
                148,
                'latin1',
            )
        }
        const cut = random.chance(0.3) ? bytes.subarray(0, random.int(bytes.length)) : bytes
        const size = random.pick([37, 512, 5000, 1 << 20])
        const began = performance.now()
        try {
            read(cut, () => size)
        } catch (error) {
            if (!(error instanceof Fault) || error.kind !== 'damaged')
                throw new Error(`seed ${seed}, round ${round}: ${error}`, { cause: error })
            faults++
        }
        if (performance.now() - began > 1000)
            throw new Error(`seed ${seed}, round ${round} took over a second`)
    }
    expect(faults).toBeGreaterThan(rounds / 4)
}, 600_000)
