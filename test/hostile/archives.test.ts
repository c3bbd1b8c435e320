/** Archives made to hurt: whatever they hold, nothing is written outside the directory, nothing hangs, memory is bounded. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createPrivateKey, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { ArchiveWriter } from '../../src/archive/writer.ts'
import { HoleDigest } from '../../src/archive/digest.ts'
import { Fault } from '../../src/core/errors.ts'
import { limits } from '../../src/core/limits.ts'
import { parseRecipient } from '../../src/format/age.ts'
import type { IndexEntry } from '../../src/format/index.ts'
import { sign } from '../../src/format/signature.ts'
import { padding, sparseMap, type TarEntry, tarHeader } from '../../src/format/tar-write.ts'
import { glance, inMemory, isRoot, Lab, manifest, namesBelow, run } from '../backup/lab.ts'

let lab: Lab
let canary = ''
let canaryBefore: Record<string, string> = {}

beforeAll(async () => {
    lab = await new Lab(inMemory()).withIdentity()
    canary = join(lab.base, 'canary')
    fs.mkdirSync(canary)
    fs.writeFileSync(join(canary, 'secret'), 'secret')
    fs.mkdirSync(join(canary, 'inner'))
    canaryBefore = glance(canary)
})
afterAll(() => lab.remove())

/** One entry as the tar has it, and as the index says; by default the index tells the truth. */
interface Part {
    tar: Partial<TarEntry> & { path: string }
    content?: Uint8Array
    /** Raw bytes in place of the header. */
    raw?: Uint8Array
    /** Not in the index at all. */
    hidden?: boolean
    index?: Partial<IndexEntry>
}

const file = (path: string, text = 'content', tar: Partial<TarEntry> = {}): Part => ({
    tar: { path, size: text.length, ...tar },
    content: Buffer.from(text),
})
const link = (path: string, target: string): Part => ({
    tar: { path, type: 'symlink', link: target, mode: 0o777 },
})
const hard = (path: string, target: string): Part => ({ tar: { path, type: 'hardlink', link: target } })
const directory = (path: string): Part => ({ tar: { path, type: 'directory', mode: 0o755 } })

const wholeEntry = (tar: Part['tar']): TarEntry => ({
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    uname: '',
    gname: '',
    size: 0,
    mtimeNs: 0n,
    ...tar,
})

interface Crafted {
    kind: 'plain' | 'sealed' | 'foreign' | 'unsigned'
    /** After the parts: frames of any kind. */
    frames?: { stored: Uint8Array; plain: number }[]
    extra?: IndexEntry[]
}

/** A properly made archive around improper parts. */
async function craft(parts: Part[], { kind, frames = [], extra = [] }: Crafted): Promise<string> {
    const path = lab.place('hostile.tar')
    lab.newKey('stranger')
    const key = createPrivateKey(
        fs.readFileSync(join(lab.state, kind === 'foreign' ? 'stranger' : 'signing_key')),
    )
    const writer = await ArchiveWriter.create({
        output: path,
        readme: 'read me\n',
        recipients: kind === 'sealed' ? [parseRecipient(lab.recipient)] : [],
        now: new Date(0),
        random: bytes => Uint8Array.from(randomBytes(bytes)),
        sign: message => (kind === 'unsigned' ? '' : sign(message, key)),
    })
    const entries: IndexEntry[] = []
    for (const { tar, content = new Uint8Array(), raw, hidden, index } of parts) {
        const entry = wholeEntry(tar)
        const at = writer.plainSize
        const map = entry.sparse === undefined ? [] : [sparseMap(entry)]
        await writer.frame(
            Buffer.concat([
                raw ?? tarHeader(entry),
                ...map,
                content,
                new Uint8Array(padding(content.length)),
            ]),
        )
        const holes = new HoleDigest()
        let done = 0
        for (const { offset, length } of entry.sparse ?? []) {
            holes.update(offset, content.subarray(done, done + length))
            done += length
        }
        const sha256 = entry.sparse === undefined ? digestOf(content) : holes.digest(entry.size)
        const { type, mode, uid, gid, size, mtimeNs, link: to } = entry
        if (hidden !== true)
            entries.push({
                path: entry.path,
                type,
                category: 'included',
                mode,
                uid,
                gid,
                size,
                mtimeNs,
                link: to,
                sha256: type === 'file' ? sha256 : undefined,
                holes: entry.sparse !== undefined,
                at,
                ...index,
            })
    }
    for (const { stored, plain } of frames) await writer.reuse(stored, plain)
    await writer.finish([...entries, ...extra], figures => ({
        ...manifest(kind === 'sealed' ? [lab.recipient] : []),
        ...figures,
        categories: [],
    }))
    return path
}

const digestOf = (bytes: Uint8Array) => new Uint8Array(new Bun.CryptoHasher('sha256').update(bytes).digest())

async function answerOf(work: () => Promise<unknown>): Promise<Fault | undefined> {
    const began = performance.now()
    const before = process.memoryUsage.rss()
    let fault: Fault | undefined
    try {
        await work()
    } catch (error) {
        if (!(error instanceof Fault)) throw error
        fault = error
    }
    expect(performance.now() - began).toBeLessThan(1000)
    expect(process.memoryUsage.rss() - before).toBeLessThan(160 << 20)
    return fault
}

/** Every command that reads it: none hangs, none leaves the directory. What `extract` wrote, and said. */
async function survive(
    path: string,
): Promise<{ fault?: Fault; written: string[]; verify?: Fault; output: string }> {
    await answerOf(() => lab.files(path))
    const verify = await answerOf(() => lab.verify(path))
    const beside = fs.readdirSync(lab.base).length
    const output = lab.place('out')
    const fault = await answerOf(() => lab.extract(path, { output }))
    expect(glance(canary)).toEqual(canaryBefore)
    expect(fs.readdirSync(lab.base).length - beside).toBeLessThanOrEqual(1)
    const written = fs.existsSync(output) ? namesBelow(output) : []
    return { fault, written, verify, output }
}

const kinds = ['plain', 'sealed', 'foreign', 'unsigned'] as const

test('the builder of these archives makes good ones of good parts', async () => {
    const parts = [directory('d'), file('d/f'), link('d/l', 'f'), hard('d/h', 'd/f')]
    for (const kind of kinds) {
        const { fault, verify, written } = await survive(await craft(parts, { kind }))
        expect([fault, verify]).toEqual([undefined, undefined])
        expect(written).toEqual(['d', 'd/f', 'd/h', 'd/l'])
    }
})

/** A pax header with these records in front of a plain header. */
function paxTrick(records: Record<string, string>, entry: Part['tar']): Buffer {
    const honest = tarHeader(wholeEntry({ ...entry, xattrs: [{ name: 'user.x', value: Buffer.alloc(0) }] }))
    const text = Object.entries(records)
        .map(([key, value]) => {
            const rest = key.length + value.length + 3
            let length = rest + String(rest).length
            if (String(length).length + rest !== length) length = rest + String(length).length
            return `${length} ${key}=${value}\n`
        })
        .join('')
    const body = Buffer.alloc(512 + text.length + padding(text.length))
    honest.copy(body, 0, 0, 512)
    body.write(`${text.length.toString(8).padStart(11, '0')}\0`, 124, 'latin1')
    body.write(text, 512, 'latin1')
    return Buffer.concat([summed(body), honest.subarray(honest.length - 512)])
}

/** The header block at the beginning with its checksum made right. */
function summed(bytes: Buffer): Buffer {
    bytes.fill(0x20, 148, 156)
    const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0)
    bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
    return bytes
}

function withFlag(entry: Part['tar'], flag: string): Buffer {
    const header = tarHeader(wholeEntry(entry))
    header[header.length - 512 + 156] = flag.charCodeAt(0)
    return Buffer.concat([header.subarray(0, -512), summed(Buffer.from(header.subarray(-512)))])
}

const away = '../canary'

/** What is written at most; a fault is wanted unless it says otherwise. */
const cases: [string, () => Part[], { written?: string[]; taken?: true }?][] = [
    ['a path with ..', () => [file(`${away}/evil`)]],
    ['a path with .. in the middle', () => [file(`a/../${away}/evil`)]],
    ['a path that ends in ..', () => [directory('a/..')]],
    ['an absolute path', () => [file(`/${canary}/evil`), file(`${canary}/evil`)]],
    ['a path with . or nothing in it', () => [file('a/./b')]],
    ['a path with two slashes', () => [file('a//b')]],
    ['a path of dots only', () => [directory('.')]],
    ['a name of 256 bytes', () => [file('n'.repeat(256))]],
    ['a path of 5000 bytes', () => [file('p/'.repeat(2499) + 'f')]],
    ['a file through a link', () => [link('l', away), file('l/evil')], { written: ['l'] }],
    [
        'a file through a chain of links',
        () => [link('b', away), link('a', 'b'), file('a/evil')],
        { written: ['a', 'b'] },
    ],
    [
        'a directory where a link is',
        () => [link('l', away), directory('l'), file('l/evil')],
        { written: ['l'] },
    ],
    [
        'a deeper directory through a link',
        () => [link('l', away), directory('l/inner/d'), file('l/inner/d/f')],
        { written: ['l'] },
    ],
    [
        'a file through a link that stays inside',
        () => [directory('d'), link('l', 'd'), file('l/f')],
        { written: ['d', 'l'] },
    ],
    ['a link through a link', () => [link('l', away), link('l/evil', 'secret')], { written: ['l'] }],
    [
        'a hard link through a link',
        () => [link('l', away), file('f'), hard('l/evil', 'f')],
        { written: ['f', 'l'] },
    ],
    ['a hard link to a file outside', () => [hard('h', `${away}/secret`)]],
    ['a hard link to an absolute path', () => [hard('h', `${canary}/secret`)]],
    ['a hard link to a link', () => [link('l', `${away}/secret`), hard('h', 'l')], { written: ['l'] }],
    ['a hard link to itself, and two to each other', () => [hard('a', 'a'), hard('b', 'c'), hard('c', 'b')]],
    ['a hard link to nothing', () => [hard('h', '')]],
    ['a file twice', () => [file('f', 'one'), file('f', 'two')], { written: ['f'] }],
    [
        'a file where a directory is',
        () => [directory('d'), file('d/f'), file('d')],
        { written: ['d', 'd/f'] },
    ],
    ['a directory where a file is', () => [file('d'), directory('d'), file('d/f')], { written: ['d'] }],
    ['a file over a link', () => [link('f', `${away}/secret`), file('f', 'evil')], { written: ['f'] }],
    ...(['3', '4', '6', 'S', 'V', 'M'] as const).map((flag): [string, () => Part[]] => [
        `an entry of the type ${flag}`,
        () => [{ tar: { path: 'node' }, raw: withFlag({ path: 'node' }, flag) }],
    ]),
    ['a directory that is a device', () => [{ ...directory('node'), raw: withFlag({ path: 'node' }, '3') }]],
    [
        'another path in a pax record',
        () => [{ ...file('ok'), raw: paxTrick({ path: `${away}/evil` }, file('ok').tar) }],
    ],
    [
        'another path, in the index too',
        () => [{ ...file(`${away}/evil`), raw: paxTrick({ path: `${away}/evil` }, file('ok').tar) }],
    ],
    [
        'another size in a pax record',
        () => [{ ...file('f'), raw: paxTrick({ size: '1000000' }, file('f').tar) }],
    ],
    ['a negative size', () => [{ ...file('f'), raw: paxTrick({ size: '-7' }, file('f').tar) }]],
    ['a NUL in a name', () => [{ ...file('ok'), raw: paxTrick({ path: 'ok\0/../x' }, file('ok').tar) }]],
    [
        'a NUL in a name, in the index too',
        () => [{ ...file('ok\0x'), raw: paxTrick({ path: 'ok\0x' }, file('ok').tar) }],
    ],
    [
        'a NUL in the target of a link',
        () => [{ ...link('l', 'x'), raw: paxTrick({ linkpath: 'x\0y' }, link('l', 'x').tar) }],
    ],
    [
        'another mode than the index says',
        () => [{ ...file('f', 'x', { mode: 0o4755 }), index: { mode: 0o644 } }],
    ],
    ['another owner than the index says', () => [{ ...file('f', 'x', { uid: 0 }), index: { uid: 1000 } }]],
    [
        'another target than the index says',
        () => [{ ...link('l', '/etc/shadow'), index: { link: 'harmless' } }],
    ],
    [
        'another type than the index says',
        () => [{ ...link('l', '/etc/shadow'), index: { type: 'file', sha256: digestOf(Buffer.of()) } }],
    ],
    [
        'other content than the index says',
        () => [{ ...file('f'), index: { sha256: digestOf(Buffer.from('other')) } }],
    ],
    [
        'a time in the year 300,000,000,000',
        () => [{ ...file('f'), raw: paxTrick({ mtime: '9'.repeat(19) }, file('f').tar) }],
    ],
    [
        'a user of more than 32 bits',
        () => [{ ...file('f'), raw: paxTrick({ uid: '4294967296' }, file('f').tar) }],
    ],
    [
        'a header of three megabytes',
        () => [{ ...file('f'), raw: paxTrick({ comment: 'x'.repeat(3 << 20) }, file('f').tar) }],
    ],
    [
        'an attribute that the kernel refuses',
        () => [
            file('f', 'x', {
                xattrs: [
                    {
                        name: 'system.posix_acl_access',
                        value: Buffer.from('020000009900070000000000', 'hex'),
                    },
                ],
            }),
        ],
    ],
    [
        'an attribute of no name space',
        () => [file('f', 'x', { xattrs: [{ name: 'nospace.x', value: Buffer.from('x') }] })],
        { taken: true, written: ['f'] },
    ],
    ['etc/pve in disguise', () => [directory('etc'), file('etc/./pve/storage.cfg')], { written: ['etc'] }],
    ['etc/pve by a link', () => [link('x', '/etc/pve'), file('x/storage.cfg')], { written: ['x'] }],
    [
        'a sparse file of a petabyte',
        () => [
            {
                tar: { path: 'bomb', size: 2 ** 50, sparse: [{ offset: 2 ** 49, length: 3 }] },
                content: Buffer.from('abc'),
            },
        ],
        { taken: true, written: ['bomb'] },
    ],
    [
        'a sparse file of nothing but a hole, in 8 exabytes',
        () => [{ tar: { path: 'bomb', size: 2 ** 53 - 1, sparse: [] } }],
        { taken: true, written: ['bomb'] },
    ],
    [
        'a sparse file whose stretches lie over each other',
        () => [
            {
                tar: {
                    path: 's',
                    size: 100,
                    sparse: [
                        { offset: 0, length: 3 },
                        { offset: 1, length: 3 },
                    ],
                },
                content: Buffer.from('abcdef'),
            },
        ],
    ],
    [
        'a sparse file whose stretch begins behind its end',
        () => [
            {
                tar: { path: 's', size: 10, sparse: [{ offset: 2 ** 52, length: 3 }] },
                content: Buffer.from('abc'),
            },
        ],
    ],
    [
        'an entry that the index does not name',
        () => [file('f'), { ...file('hidden'), hidden: true }],
        { taken: true, written: ['f'] },
    ],
    [
        'a global header',
        () => [
            {
                ...file('f'),
                raw: Buffer.concat([withFlag({ path: 'g' }, 'g'), tarHeader(wholeEntry(file('f').tar))]),
            },
        ],
        { taken: true, written: ['f'] },
    ],
]

describe.if(isRoot)('inside', () => {
    for (const [name, parts, { written = [], taken } = {}] of cases)
        test(name, async () => {
            for (const kind of kinds) {
                let path: string
                try {
                    path = await craft(parts(), { kind })
                } catch (error) {
                    throw new Error(`the case itself is wrong: ${error}`, { cause: error })
                }
                const result = await survive(path)
                if (taken !== true)
                    expect(result.fault?.kind, result.fault?.message).toMatch(/damaged|failed/)
                for (const one of result.written) expect(written).toContain(one)
                const bomb = join(result.output, 'bomb')
                if (fs.existsSync(bomb)) expect(fs.statSync(bomb).blocks).toBeLessThan(100)
            }
        })

    test('an entry that only deep verification can find is found by it', async () => {
        const path = await craft([file('f'), { ...file('hidden'), hidden: true }], { kind: 'plain' })
        expect((await survive(path)).verify?.message).toContain('/hidden is not in its index')
    })

    test('an entry that promises more than there is, by the tar and the index alike', async () => {
        const part = { tar: { path: 'f', size: 100_000 }, content: Buffer.from('content') }
        for (const kind of kinds) {
            const { fault, verify, written } = await survive(await craft([part], { kind }))
            expect([fault?.kind, verify?.kind]).toEqual(['damaged', 'damaged'])
            expect(written).toEqual([])
        }
    })

    test('a sparse file whose index entry denies its holes', async () => {
        const part: Part = {
            tar: { path: 's', size: 9000, sparse: [{ offset: 4096, length: 3 }] },
            content: Buffer.from('abc'),
            index: { holes: false },
        }
        const { fault, verify, written } = await survive(await craft([part], { kind: 'plain' }))
        expect([fault?.kind, verify?.kind]).toEqual(['damaged', 'damaged'])
        expect(written).toEqual([])
    })

    test('a link that waits in the output directory is not followed', async () => {
        const output = lab.place('out')
        fs.mkdirSync(output)
        fs.symlinkSync(canary, join(output, 'd'))
        fs.symlinkSync(join(canary, 'secret'), join(output, 'f'))
        for (const parts of [[file('d/evil')], [directory('d'), file('d/evil')], [file('f', 'evil')]]) {
            const path = await craft(parts, { kind: 'plain' })
            expect((await answerOf(() => lab.extract(path, { output })))?.kind).toBe('failed')
            expect(glance(canary)).toEqual(canaryBefore)
        }
    })

    test('what was there keeps its content, owner and mode', async () => {
        const output = lab.place('out')
        fs.mkdirSync(join(output, 'd'), { recursive: true })
        fs.chmodSync(join(output, 'd'), 0o700)
        fs.writeFileSync(join(output, 'd/f'), 'mine')
        const fault = await answerOf(async () =>
            lab.extract(await craft([directory('d'), file('d/f')], { kind: 'plain' }), { output }),
        )
        expect(fault?.message).toContain('it exists already')
        expect(fs.readFileSync(join(output, 'd/f'), 'utf8')).toBe('mine')
        expect(fs.statSync(join(output, 'd')).mode & 0o777).toBe(0o700)
    })

    test('while it unpacks, nothing is open to others: a set-user-id program does not run before it has its owner', async () => {
        const output = lab.place('out')
        const path = await craft([directory('d'), file('d/f', 'x', { mode: 0o4755, uid: 1000 })], {
            kind: 'plain',
        })
        await lab.extract(path, { output })
        expect(fs.statSync(output).mode & 0o777).toBe(0o700)
        expect([
            fs.statSync(join(output, 'd/f')).uid,
            fs.statSync(join(output, 'd/f')).mode & 0o7777,
        ]).toEqual([1000, 0o4755])
    })
})

describe('frames and index', () => {
    const entry = (change: Partial<IndexEntry>): IndexEntry => ({
        path: 'bomb',
        type: 'file',
        category: 'included',
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 0,
        mtimeNs: 0n,
        sha256: digestOf(Buffer.of()),
        at: 0,
        ...change,
    })
    const zeros = (size: number) => Bun.zstdCompressSync(new Uint8Array(size), { level: 3 })
    const bombs: [string, () => { stored: Uint8Array; plain: number }[]][] = [
        ['a frame of 200 MB', () => [{ stored: zeros(200_000_000), plain: 200_000_000 }]],
        [
            'a frame that holds more than it declares in the index',
            () => [{ stored: zeros(200_000_000), plain: 512 }],
        ],
        [
            'a frame with others behind it',
            () => [
                {
                    stored: Buffer.concat([
                        zeros(512),
                        ...Array.from({ length: 20 }, () => zeros(10_000_000)),
                    ]),
                    plain: 512,
                },
            ],
        ],
        [
            'a large frame with others behind it',
            () => [
                {
                    stored: Buffer.concat([
                        zeros(100_000),
                        ...Array.from({ length: 20 }, () => zeros(10_000_000)),
                    ]),
                    plain: 100_000,
                },
            ],
        ],
        ['a frame that is none', () => [{ stored: Buffer.from('not zstd at all'), plain: 512 }]],
        ['a skippable frame', () => [{ stored: Buffer.from('502a4d180400000061626364', 'hex'), plain: 4 }]],
        ['an empty frame', () => [{ stored: zeros(0), plain: 512 }]],
    ]
    for (const [name, frames] of bombs)
        test(name, async () => {
            for (const kind of kinds) {
                const path = await craft([], { kind, frames: frames(), extra: [entry({})] })
                const { fault, written, verify } = await survive(path)
                expect(fault?.kind, name).toBe('damaged')
                expect(verify?.kind, name).toBe('damaged')
                expect(written).toEqual([])
            }
        })

    test('entries that lie nowhere, inside the content of others, or without their end', async () => {
        const inner = Buffer.concat([
            tarHeader(wholeEntry(file('hidden').tar)),
            Buffer.from('content'),
            Buffer.alloc(505),
        ])
        const carrier: Part = { tar: { path: 'carrier', size: inner.length }, content: inner }
        const header = tarHeader(wholeEntry(carrier.tar)).length
        const wrong: IndexEntry[][] = [
            [entry({ path: 'far', at: 1 << 30 })],
            [entry({ path: 'hidden', at: header, size: 7, sha256: digestOf(Buffer.from('content')) })],
            // Behind the carrier's header: a reader that seeks would end before the carrier does.
            [entry({ path: 'x', at: header + 1 })],
        ]
        for (const extra of wrong)
            for (const kind of ['plain', 'sealed'] as const) {
                const { fault, written, output } = await survive(await craft([carrier], { kind, extra }))
                expect(fault?.kind).toBe('damaged')
                for (const name of written) {
                    expect(name).toBe('carrier')
                    expect(fs.readFileSync(join(output, name))).toEqual(inner)
                }
            }
    })

    test('a file whose index entry ends it too early is not left behind in half', async () => {
        // The content lies in a second frame, and the next entry of the index pretends to begin in it.
        const content = randomBytes(limits.frameBytes)
        const header = tarHeader(wholeEntry({ path: 'f', size: content.length }))
        const frames = [header, content].map(bytes => ({
            stored: Bun.zstdCompressSync(bytes),
            plain: bytes.length,
        }))
        const extra = [
            entry({ path: 'f', size: content.length, sha256: digestOf(content) }),
            entry({ path: 'g', at: header.length, superseded: true }),
        ]
        const { fault, written } = await survive(await craft([], { kind: 'plain', frames, extra }))
        expect(fault?.kind).toBe('damaged')
        expect(written).toEqual([])
    })

    test('a hundred thousand entries are listed and checked in time', async () => {
        const header = tarHeader(wholeEntry({ path: 'f' }))
        const plain = Buffer.concat(Array.from({ length: 250 }, () => header))
        const stored = Bun.zstdCompressSync(plain)
        const frames = Array.from({ length: 400 }, () => ({ stored, plain: plain.length }))
        const extra = Array.from({ length: 100_000 }, (_, i) => entry({ path: 'f', at: i * header.length }))
        const path = await craft([], { kind: 'plain', frames, extra })
        const fault = await answerOf(() => lab.extract(path))
        expect(fault?.message).toContain('exists already')
    })
})

describe('the outer tar', () => {
    const header = (name: string, size: string, flag = '0', linkName = '') => {
        const block = Buffer.alloc(512)
        block.write(name, 0, 'latin1')
        block.write('0000600\0' + '0000000\0'.repeat(2), 100, 'latin1')
        block.write(size, 124, 'latin1')
        block.write('00000000000\0', 136, 'latin1')
        block.write(flag, 156, 'latin1')
        block.write(linkName, 157, 'latin1')
        block.write('ustar\x0000', 257, 'latin1')
        return summed(block)
    }
    const huge = '77777777777\0'
    const none = '00000000000\0'
    const bundles: [string, () => Promise<Buffer> | Buffer][] = [
        ['nothing', () => Buffer.alloc(0)],
        ['zeros', () => Buffer.alloc(100_000)],
        ['noise', () => randomBytes(100_000)],
        ['a README of 8 GiB', () => Buffer.concat([header('README.txt', huge), Buffer.alloc(5000)])],
        ['a manifest of 8 GiB', () => Buffer.concat([header('manifest.json', huge), Buffer.alloc(5000)])],
        [
            'a manifest that is a link',
            () => Buffer.concat([header('manifest.json', none, '2', '/etc/shadow'), Buffer.alloc(1024)]),
        ],
        ['data without a manifest', () => Buffer.concat([header('data.tar.zst', none), Buffer.alloc(1024)])],
        [
            'a negative size',
            () => Buffer.concat([header('manifest.json', '\xff'.repeat(12)), Buffer.alloc(1024)]),
        ],
        [
            'a size of 2^95',
            () =>
                Buffer.concat([header('manifest.json', '\x80\x7f' + '\xff'.repeat(10)), Buffer.alloc(1024)]),
        ],
        [
            'a thousand members',
            () => Buffer.concat(Array.from({ length: 1000 }, (_, i) => header(`m${i}`, none))),
        ],
        [
            'a long name without an end',
            () => Buffer.concat([header('././@LongLink', huge, 'L'), Buffer.alloc(300_000, 'x')]),
        ],
        [
            'a manifest that is no JSON',
            () =>
                Buffer.concat([
                    header('manifest.json', '00000001000\0'),
                    Buffer.alloc(512, '['),
                    header('data.tar.zst', none),
                    Buffer.alloc(1024),
                ]),
        ],
        [
            'JSON of another kind',
            () =>
                Buffer.concat([
                    header('manifest.json', '00000001000\0'),
                    Buffer.alloc(512, 0x20).fill('null', 0, 4),
                    header('data.tar.zst', none),
                    Buffer.alloc(1024),
                ]),
        ],
        [
            'the very parts that are hostile inside',
            () =>
                Buffer.concat(
                    [link('manifest.json', away), file('manifest.json')].map(
                        ({ tar, content = Buffer.of() }) =>
                            Buffer.concat([
                                tarHeader(wholeEntry(tar)),
                                content,
                                Buffer.alloc(padding(content.length)),
                            ]),
                    ),
                ),
        ],
    ]
    for (const [name, bytes] of bundles)
        test(name, async () => {
            const path = lab.place('bundle.tar')
            fs.writeFileSync(path, await bytes())
            const { fault, verify, written } = await survive(path)
            expect([fault?.kind, verify?.kind]).toEqual(['damaged', 'damaged'])
            expect(fault?.message).toContain(path)
            expect(written).toEqual([])
        })

    test('a pipe, a directory and a device instead of a file', async () => {
        const pipe = lab.place('pipe')
        await run(['mkfifo', pipe])
        for (const path of [lab.base, '/dev/zero', pipe]) {
            const fault = await answerOf(() => lab.verify(path))
            expect(fault?.kind, path).toMatch(/damaged|usage/)
        }
    })
})
