/** zstd frames: nothing unfolds into more than was said before. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import { declaredSize, decompressFrame } from '../../src/format/frames.ts'
import { seeded } from '../sim/random.ts'

const compress = (bytes: Uint8Array, level = 3) =>
    Bun.zstdCompressSync(bytes as Uint8Array<ArrayBuffer>, { level })

test('every size comes back, and is what the header declares', () => {
    const random = seeded(1)
    for (const size of [0, 1, 255, 256, 257, 65_535, 65_536, 65_791, 65_792, 131_072, 262_144, 1 << 20])
        for (const level of [1, 3, 19]) {
            const plain = random.bytes(size).map((byte, i) => (i % 3000 < 1500 ? byte : 7))
            const frame = compress(plain, level)
            expect(declaredSize(frame), `${size} at ${level}`).toBe(size)
            expect(Buffer.compare(decompressFrame(frame, size), plain)).toBe(0)
        }
})

test('frames of the zstd program, with its checksum, are frames too', async () => {
    const plain = Buffer.alloc(300_000, 'configuration ')
    for (const flags of [['--check'], ['--no-check']]) {
        const child = Bun.spawn(['zstd', '-c', `--stream-size=${plain.length}`, ...flags], {
            stdin: plain,
            stdout: 'pipe',
        })
        const frame = new Uint8Array(await new Response(child.stdout).arrayBuffer())
        expect(declaredSize(frame), flags[0]).toBe(plain.length)
        expect(Buffer.compare(decompressFrame(frame, plain.length), plain)).toBe(0)
    }
})

describe('is refused before it is decompressed', () => {
    const small = compress(new Uint8Array(100))
    const large = compress(new Uint8Array(64 << 20))
    test('a second frame behind the first', () => {
        const before = process.memoryUsage.rss()
        expect(declaredSize(Buffer.concat([small, large]))).toBeUndefined()
        expect(() => decompressFrame(Buffer.concat([small, large]), 100)).toThrow(Fault)
        expect(process.memoryUsage.rss() - before).toBeLessThan(48 << 20)
    })
    test('bytes behind it, a cut one, another size, no frame at all', () => {
        expect(declaredSize(Buffer.concat([small, Buffer.from('x')]))).toBeUndefined()
        for (let cut = 0; cut < small.length; cut++)
            expect(declaredSize(small.subarray(0, cut))).toBeUndefined()
        expect(() => decompressFrame(small, 99)).toThrow(/declares 100 bytes, not 99/)
        expect(() => decompressFrame(Buffer.from('no frame at all'), 15)).toThrow(Fault)
    })
    test('a frame that holds more than it declares', () => {
        // 20,000 blocks that each repeat one byte 128 KiB long, under a header that declares 256 KiB.
        const blocks = Buffer.alloc(20_000 * 4)
        for (let i = 0; i < 20_000; i++)
            blocks.writeUIntLE((131_072 << 3) | 2 | (i === 19_999 ? 1 : 0), i * 4, 3)
        const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 4, 0])
        const bomb = Buffer.concat([header, blocks])
        expect(declaredSize(bomb)).toBe(262_144)
        const before = process.memoryUsage.rss()
        const began = performance.now()
        expect(() => decompressFrame(bomb, 262_144)).toThrow(Fault)
        expect(performance.now() - began).toBeLessThan(500)
        expect(process.memoryUsage.rss() - before).toBeLessThan(64 << 20)
    })
    test('mutations: the promised bytes or a fault', () => {
        const random = seeded(Number(process.env.PROXSAVE_SEED ?? 1))
        const frame = compress(Buffer.from('configuration of a host '.repeat(400)))
        for (let round = 0; round < Number(process.env.PROXSAVE_FUZZ ?? 2000); round++) {
            const bytes = Buffer.from(frame)
            for (let n = random.int(3); n >= 0; n--) bytes[random.int(bytes.length)] = random.int(256)
            try {
                expect(
                    decompressFrame(bytes.subarray(0, 1 + random.int(bytes.length * 2)), 9600).length,
                ).toBe(9600)
            } catch (error) {
                expect(error).toBeInstanceOf(Fault)
            }
        }
    }, 600_000)
})
