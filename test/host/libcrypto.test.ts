import { describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { loadCrypto, openAead, Sha256, sha256 } from '../../src/host/libcrypto.ts'

const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const fast = loadCrypto()
const slow = loadCrypto('libcrypto.so.does-not-exist')
const engines = [fast, slow].filter((engine, index, all) => index === 0 || engine.engine !== all[0]!.engine)
if (fast.engine !== 'libcrypto') console.log('skip: libcrypto.so.3 is absent, only the fallback is tested')

test('falls back when the library is missing', () => {
    expect(slow.engine).toBe('fallback')
})

for (const { engine, openAead: open } of engines)
    describe(engine, () => {
        const key = Uint8Array.from({ length: 32 }, (_, at) => 0x80 + at)
        const nonce = hex('070000004041424344454647')

        test('seals and opens every length around its blocks', () => {
            const aead = open(key)
            for (const size of [0, 1, 15, 16, 17, 63, 64, 65, 1000, 65_535, 65_536]) {
                const plain = Uint8Array.from({ length: size }, (_, at) => (at * 7) & 0xff)
                const sealed = new Uint8Array(size + 16)
                aead.seal(nonce, plain, sealed)
                const opened = new Uint8Array(size)
                expect(aead.open(nonce, sealed, opened)).toBe(true)
                expect(Buffer.compare(opened, plain)).toBe(0)
            }
            aead.close()
        })

        test('writes into the middle of a larger buffer and nowhere else', () => {
            const aead = open(key)
            const out = new Uint8Array(64).fill(0xee)
            aead.seal(nonce, new Uint8Array(8), out.subarray(20, 44))
            expect(out.subarray(0, 20).every(byte => byte === 0xee)).toBe(true)
            expect(out.subarray(44).every(byte => byte === 0xee)).toBe(true)
            const plain = new Uint8Array(10).fill(0xee)
            expect(aead.open(nonce, out.subarray(20, 44), plain.subarray(1, 9))).toBe(true)
            expect([...plain]).toEqual([0xee, 0, 0, 0, 0, 0, 0, 0, 0, 0xee])
            aead.close()
        })

        test('refuses every altered bit of a tag and of the text, and shows nothing of it', () => {
            const aead = open(key)
            const sealed = new Uint8Array(40)
            aead.seal(nonce, new Uint8Array(24).fill(5), sealed)
            for (let at = 0; at < sealed.length; at++) {
                const altered = sealed.slice()
                altered[at]! ^= 1 << (at % 8)
                const out = new Uint8Array(24).fill(9)
                expect(aead.open(nonce, altered, out)).toBe(false)
                expect(out).toEqual(new Uint8Array(24))
            }
            expect(aead.open(new Uint8Array(12), sealed, new Uint8Array(24))).toBe(false)
            expect(aead.open(nonce, sealed.subarray(0, 15), new Uint8Array(24))).toBe(false)
            expect(aead.open(nonce, sealed, new Uint8Array(24))).toBe(true)
            aead.close()
        })

        test('refuses wrong lengths instead of writing beyond a buffer', () => {
            const aead = open(key)
            expect(() => open(new Uint8Array(31))).toThrow('32 bytes')
            expect(() => aead.seal(new Uint8Array(11), new Uint8Array(1), new Uint8Array(17))).toThrow(
                '12 bytes',
            )
            expect(() => aead.seal(nonce, new Uint8Array(1), new Uint8Array(16))).toThrow('too small')
            expect(() => aead.open(nonce, new Uint8Array(20), new Uint8Array(3))).toThrow('too small')
            aead.close()
            aead.close()
            expect(() => aead.seal(nonce, new Uint8Array(1), new Uint8Array(17))).toThrow('closed')
        })
    })

test('gives the ciphertext of RFC 8439, section 2.8.2, without its additional data, in both engines alike', () => {
    const key = Uint8Array.from({ length: 32 }, (_, at) => 0x80 + at)
    const plain = Buffer.from('Ladies and Gentlemen of the class of ')
    const nonce = hex('070000004041424344454647')
    const results = engines.map(({ openAead: open }) => {
        const out = new Uint8Array(plain.length + 16)
        const aead = open(key)
        aead.seal(nonce, plain, out)
        aead.close()
        return Buffer.from(out).toString('hex')
    })
    expect(results[0]!.startsWith('d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5')).toBe(true)
    expect(new Set(results).size).toBe(1)
})

test('many ciphers and collections leave memory as it was', () => {
    const plain = new Uint8Array(64 * 1024)
    const out = new Uint8Array(64 * 1024 + 16)
    const round = () => {
        for (let n = 0; n < 400; n++) {
            const aead = openAead(new Uint8Array(32).fill(n))
            aead.seal(new Uint8Array(12), plain, out)
            if (!aead.open(new Uint8Array(12), out, new Uint8Array(64 * 1024)))
                throw new Error('does not open')
            aead.close()
        }
        Bun.gc(true)
        return process.memoryUsage.rss()
    }
    round()
    const before = round()
    expect(round() - before).toBeLessThan(24 * 1024 * 1024)
})

test('sha256 agrees with another implementation, whole and in pieces', () => {
    for (const size of [0, 1, 63, 64, 65, 100_000]) {
        const bytes = Uint8Array.from({ length: size }, (_, at) => (at * 31) & 0xff)
        const expected = createHash('sha256').update(bytes).digest('hex')
        expect(Buffer.from(sha256(bytes)).toString('hex')).toBe(expected)
        const hash = new Sha256()
        for (let at = 0; at < size; at += 7) hash.update(bytes.subarray(at, at + 7))
        expect(Buffer.from(hash.digest()).toString('hex')).toBe(expected)
        // The same object begins a new stream.
        expect(Buffer.from(hash.update(bytes).digest()).toString('hex')).toBe(expected)
    }
})
