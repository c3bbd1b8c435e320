/** The manifest: what is written is read, what is wrong is damage, and long lists never keep it from being written. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import { limits } from '../../src/core/limits.ts'
import { type Manifest, readManifest, writeManifest } from '../../src/format/manifest.ts'
import { manifest } from '../backup/lab.ts'
import { seeded } from '../sim/random.ts'

const digest = 'ab'.repeat(32)
const sample: Manifest = {
    ...manifest(['age1xyz']),
    note: 'größe',
    data: { member: 'data.tar.zst.age', size: 5, sha256: digest, blocksSha256: digest },
    envelope: { front: digest, back: digest },
    plain: { size: 1024, entries: 2 },
    categories: [
        { id: 'network', entries: 2, bytes: 10, missing: [{ path: '/etc/x', state: 'failed', why: 'EIO' }] },
    ],
}

test('comes back, in a room of fixed size filled with spaces', () => {
    const bytes = writeManifest(sample)
    expect(bytes.length).toBe(limits.manifestBytes)
    expect(readManifest(bytes)).toEqual(sample)
    expect(Buffer.from(bytes).toString().trimEnd()).toEndWith('}')
})

test('fields of a later version are no damage, another format is, and says what to do', () => {
    const put = (value: object) => Buffer.from(JSON.stringify({ ...sample, ...value }))
    expect(readManifest(put({ later: 1 })).id).toBe(sample.id)
    try {
        readManifest(put({ format: 'proxsave/2' }))
        throw new Error('it was taken')
    } catch (error) {
        expect((error as Fault).message).toContain('its format is proxsave/2')
        expect((error as Fault).hint).toContain('README.txt')
    }
})

test('thousands of missing paths of four kilobytes are cut to what fits, and counted', () => {
    const missing = Array.from({ length: 50 }, (_, i) => ({
        path: `/${i}${'\\xff'.repeat(1000)}`,
        state: 'skipped' as const,
        why: 'a socket',
    }))
    const categories = ['network', 'ssh', 'services', 'scripts'].map((id, i) => ({
        id,
        entries: i,
        bytes: i,
        missing,
        missingMore: 7,
    }))
    const found = readManifest(writeManifest({ ...sample, categories }))
    for (const category of found.categories) {
        expect(category.missing!.length).toBeGreaterThan(0)
        expect(category.missing!.length + category.missingMore!).toBe(57)
    }
})

test('a note that does not fit is a fault', () => {
    expect(() => writeManifest({ ...sample, note: 'x'.repeat(limits.manifestBytes) })).toThrow(/does not fit/)
})

describe('damage', () => {
    const wrong: [string, (value: Record<string, unknown>) => void][] = [
        ['no id', value => delete value.id],
        ['an id of letters', value => (value.id = 'zzzzzzzzzzzz')],
        ['a negative size', value => (value.plain = { size: -1, entries: 0 })],
        ['a size in text', value => (value.data = { ...sample.data, size: '5' })],
        ['a digest that is too short', value => (value.data = { ...sample.data, sha256: 'ab' })],
        ['an unknown product', value => (value.product = { kind: 'esx' })],
        ['categories that are no list', value => (value.categories = {})],
    ]
    for (const [name, change] of wrong)
        test(name, () => {
            const value = structuredClone(sample) as unknown as Record<string, unknown>
            change(value)
            expect(() => readManifest(Buffer.from(JSON.stringify(value)))).toThrow(Fault)
        })
    test('mutations: a manifest or a fault', () => {
        const random = seeded(Number(process.env.PROXSAVE_SEED ?? 1))
        const text = Buffer.from(JSON.stringify(sample))
        for (let round = 0; round < Number(process.env.PROXSAVE_FUZZ ?? 3000); round++) {
            const bytes = Buffer.from(text)
            for (let n = random.int(3); n >= 0; n--) {
                const at = random.int(bytes.length)
                if (random.chance(0.5)) bytes[at] = random.int(256)
                else bytes.write(random.pick(['null', '[]', '{}', '-1', '1e999', '"']), at, 'latin1')
            }
            try {
                readManifest(bytes)
            } catch (error) {
                if (!(error instanceof Fault)) throw new Error(`round ${round}`, { cause: error })
            }
        }
    }, 600_000)
})
