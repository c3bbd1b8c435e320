/** The index of an archive: what went in comes out, and nothing else than an index or a fault comes out of anything else. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import {
    FOOTER_BYTES,
    type Index,
    type IndexEntry,
    readFooter,
    readIndex,
    writeIndex,
} from '../../src/format/index.ts'
import { type Random, seeded } from '../sim/random.ts'

const compress = (bytes: Uint8Array) => Bun.zstdCompressSync(bytes as Uint8Array<ArrayBuffer>)
const decompress = (bytes: Uint8Array) => Bun.zstdDecompressSync(bytes as Uint8Array<ArrayBuffer>)

function randomIndex(random: Random, entries: number): Index {
    const frames = Array.from({ length: entries === 0 ? 1 : 1 + random.int(5) }, () => ({
        at: 0,
        stored: 1 + random.int(2 ** 31),
        plain: random.int(2 ** 24),
    }))
    let frameAt = 0
    for (const frame of frames) {
        frame.at = frameAt
        frameAt += frame.stored
    }
    let at = 0
    return {
        frames,
        entries: Array.from({ length: entries }, (_, i): IndexEntry => {
            if (i > 0) at += 512 * (1 + random.int(2 ** random.int(34)))
            const type = random.pick(['file', 'file', 'directory', 'symlink', 'hardlink'] as const)
            return {
                path: `p${i}/${Buffer.from(random.bytes(random.int(30)).map(byte => byte || 1)).toString('latin1')}`,
                type,
                category: random.pick(['network', 'ssh', 'included']),
                mode: random.int(0o10000),
                uid: random.pick([0, 2 ** 32 - 1, random.int(2 ** 32)]),
                gid: random.int(2 ** 32),
                size: type === 'file' ? random.pick([0, 2 ** 50, random.int(2 ** 40)]) : 0,
                mtimeNs:
                    BigInt(random.pick([0, 1, -1, 4_000_000_000, -11_000_000_000, 90_000_000_000])) *
                        1_000_000_000n +
                    BigInt(random.pick([0, 1, 999_999_999])),
                link: type === 'symlink' || type === 'hardlink' ? `to\xff${i}` : undefined,
                sha256: type === 'file' ? random.bytes(32) : undefined,
                at,
                superseded: random.chance(0.1),
                holes: random.chance(0.1),
                xattrs: random.chance(0.1) ? Buffer.from(random.bytes(8)).toString('hex') : '',
            }
        }),
    }
}

function written(index: Index): { pieces: Uint8Array[]; at: number; stream: Buffer } {
    const at = index.frames.reduce((sum, frame) => sum + frame.stored, 0)
    const pieces = writeIndex(index, at, compress)
    return { pieces, at, stream: Buffer.concat(pieces) }
}

test('comes back as it was, times of any year included', () => {
    for (let seed = 0; seed < 30; seed++) {
        const random = seeded(seed)
        const index = randomIndex(random, random.pick([0, 1, 2, 50, 300]))
        const { pieces, at, stream } = written(index)
        const footer = readFooter(pieces[2]!, at + stream.length)
        expect(footer.index).toEqual({ at, size: pieces[0]!.length })
        expect(footer.digests).toEqual({ at: at + pieces[0]!.length, size: pieces[1]!.length })
        const whole = readIndex(pieces[0]!, pieces[1]!, decompress)
        expect(whole.frames).toEqual(index.frames)
        const plain = (entry: IndexEntry) => ({
            ...entry,
            sha256: entry.sha256 && Buffer.from(entry.sha256).toString('hex'),
        })
        expect(whole.entries.map(plain)).toEqual(index.entries.map(plain))
        const light = readIndex(pieces[0]!, undefined, decompress)
        expect(light.entries.every(entry => entry.sha256 === undefined)).toBe(true)
    }
})

test('an index without digests of attributes is read, and says that it knows nothing of them', () => {
    const { frames, entries } = randomIndex(seeded(4), 40)
    expect(entries.some(({ xattrs }) => xattrs !== '')).toBe(true)
    const silent = entries.map(({ xattrs: _, ...entry }) => entry)
    const read = (index: Index) => readIndex(written(index).pieces[0]!, undefined, decompress).entries
    expect(read({ frames, entries: silent }).every(({ xattrs }) => xattrs === undefined)).toBe(true)
    // One entry that nobody looked at makes the whole column worthless.
    const partly = [...entries.slice(1), silent[0]!].sort((a, b) => a.at - b.at)
    expect(read({ frames, entries: partly }).every(({ xattrs }) => xattrs === undefined)).toBe(true)
    const none = entries.map(entry => ({ ...entry, xattrs: '' }))
    expect(read({ frames, entries: none }).every(({ xattrs }) => xattrs === '')).toBe(true)
})

test('zstd and a person never see it: it lies in skippable frames', async () => {
    const { stream } = written(randomIndex(seeded(3), 20))
    const data = compress(Buffer.from('tar bytes'))
    const child = Bun.spawn(['zstd', '-dc'], { stdin: Buffer.concat([data, stream]), stdout: 'pipe' })
    expect(await new Response(child.stdout).text()).toBe('tar bytes')
    expect(await child.exited).toBe(0)
})

describe('a wrong index is a fault', () => {
    const index = randomIndex(seeded(5), 12)
    index.entries[3]!.xattrs = '0123456789abcdef'
    const { pieces, at, stream } = written(index)
    const header = (
        change: (header: Record<string, unknown>) => unknown,
        columns?: (bytes: Buffer) => Buffer,
    ) => {
        const plain = Buffer.from(decompress(Buffer.from(pieces[0]!).subarray(8)))
        const end = 4 + plain.readUInt32LE(0)
        const object = JSON.parse(plain.toString('utf8', 4, end)) as Record<string, unknown>
        const text = Buffer.from(JSON.stringify(change(object) ?? object))
        const length = Buffer.alloc(4)
        length.writeUInt32LE(text.length)
        const rest = plain.subarray(end)
        return frame(Buffer.concat([length, text, columns?.(Buffer.from(rest)) ?? rest]))
    }
    const frame = (plain: Uint8Array, payload = compress(plain)) => {
        const out = Buffer.alloc(8)
        out.writeUInt32LE(0x184d2a50)
        out.writeUInt32LE(payload.length, 4)
        return Buffer.concat([out, payload])
    }
    const damaged = (bytes: Uint8Array, digests?: Uint8Array) => {
        try {
            readIndex(bytes, digests, decompress)
        } catch (error) {
            if (error instanceof Fault && error.kind === 'damaged') return
            throw error
        }
        throw new Error('it was taken')
    }

    test('the unchanged one is taken', () => {
        expect(
            readIndex(
                header(() => undefined),
                pieces[1]!,
                decompress,
            ).entries.length,
        ).toBe(12)
    })
    test('headers of any other shape', () => {
        for (const value of [1, [], 'x', {}, { entries: 12 }, true]) damaged(header(() => value))
        damaged(frame(Buffer.from('\x04\0\0\0null')))
        damaged(header(h => ({ ...h, entries: -1 })))
        damaged(header(h => ({ ...h, entries: 11 })))
        damaged(header(h => ({ ...h, entries: 1e9 })))
        damaged(header(h => ({ ...h, frames: 0.5 })))
        damaged(header(h => ({ ...h, categories: 7 })))
        damaged(header(h => ({ ...h, categories: [] })))
        damaged(header(h => ({ ...h, columns: 'columns' })))
        damaged(header(h => ({ ...h, columns: (h.columns as number[]).slice(1) })))
        damaged(header(h => ({ ...h, columns: (h.columns as number[]).map(n => -n) })))
        damaged(header(h => ({ ...h, columns: [...(h.columns as number[]), 0] })))
        // The column of attributes is missing, cut, or too long.
        const columns = (h: Record<string, unknown>) => h.columns as number[]
        const shorter = (h: Record<string, unknown>) => [...columns(h).slice(0, -1), columns(h).at(-1)! - 8]
        expect(index.entries.some(({ xattrs }) => xattrs !== '')).toBe(true)
        damaged(
            header(
                h => ({ ...h, columns: columns(h).slice(0, -1) }),
                rest => rest.subarray(0, -8 * index.entries.filter(({ xattrs }) => xattrs !== '').length),
            ),
        )
        damaged(
            header(
                h => ({ ...h, columns: shorter(h) }),
                rest => rest.subarray(0, -8),
            ),
        )
        damaged(
            header(
                h => h,
                rest => rest.subarray(1),
            ),
        )
        damaged(
            header(
                h => h,
                rest => Buffer.concat([rest, Buffer.from('x')]),
            ),
        )
    })
    test('digests of another number of files, or none', () => {
        damaged(pieces[0]!, pieces[0]!)
        const short = Buffer.from(pieces[1]!)
        const other = compress(decompress(short.subarray(8)).slice(0, -32))
        const out = Buffer.alloc(8)
        out.writeUInt32LE(0x184d2a51)
        out.writeUInt32LE(other.length, 4)
        damaged(pieces[0]!, Buffer.concat([out, other]))
    })
    test('a small index that unfolds into a large one, in one frame or in several', () => {
        const bomb = compress(new Uint8Array(200 << 20))
        const before = process.memoryUsage.rss()
        damaged(frame(bomb, bomb))
        damaged(
            frame(
                bomb,
                Buffer.concat([compress(new Uint8Array(10)), ...Array.from({ length: 5 }, () => bomb)]),
            ),
        )
        expect(process.memoryUsage.rss() - before).toBeLessThan(100 << 20)
    })
    test('a footer that points elsewhere', () => {
        const size = at + stream.length
        expect(readFooter(pieces[2]!, size).index.at).toBe(at)
        expect(() => readFooter(pieces[2]!, size + 1)).toThrow(Fault)
        for (let i = 0; i < FOOTER_BYTES; i++) {
            if (i >= 4 && i < 8) continue
            const wrong = Buffer.from(pieces[2]!)
            wrong[i]! ^= 1
            let index: unknown
            try {
                const footer = readFooter(wrong, size)
                index = readIndex(
                    stream.subarray(footer.index.at - at, footer.digests.at - at),
                    undefined,
                    decompress,
                )
            } catch (error) {
                expect(error).toBeInstanceOf(Fault)
            }
            expect(index, `byte ${i}`).toBeUndefined()
        }
    })

    test('mutations: an index or a fault', () => {
        const random = seeded(Number(process.env.PROXSAVE_SEED ?? 1))
        const plain = Buffer.from(decompress(Buffer.from(pieces[0]!).subarray(8)))
        for (let round = 0; round < Number(process.env.PROXSAVE_FUZZ ?? 2000); round++) {
            const bytes = Buffer.from(plain)
            for (let n = random.int(4); n >= 0; n--) {
                const to = random.chance(0.6) ? random.int(200) : random.int(bytes.length)
                if (random.chance(0.5)) bytes[to] = random.int(256)
                else
                    bytes.write(
                        random.pick(['null', '-1', '1e9', '[]', '{}', '"x"', '999999999999']),
                        to,
                        'latin1',
                    )
            }
            try {
                readIndex(
                    frame(random.chance(0.2) ? bytes.subarray(0, random.int(bytes.length)) : bytes),
                    undefined,
                    decompress,
                )
            } catch (error) {
                if (!(error instanceof Fault)) throw new Error(`round ${round}`, { cause: error })
            }
        }
    }, 600_000)
})
