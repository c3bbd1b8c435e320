/** Damage and forgery: no byte of an archive can change unnoticed, and nothing wrong comes out of a damaged one. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createPrivateKey, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { memberHeader } from '../../src/archive/bundle.ts'
import { archiveDecrypt } from '../../src/backup/decrypt.ts'
import { Fault } from '../../src/core/errors.ts'
import { limits } from '../../src/core/limits.ts'
import { readManifest, writeManifest } from '../../src/format/manifest.ts'
import { sign } from '../../src/format/signature.ts'
import { glance, inMemory, Lab, manifestOf, recorder } from '../backup/lab.ts'
import { seeded } from '../sim/random.ts'

let lab: Lab
const archives: Record<'sealed' | 'plain', { path: string; bytes: Buffer }> = {} as never

beforeAll(async () => {
    lab = await new Lab(inMemory()).withIdentity()
    lab.file('etc/network/interfaces', 'auto lo\n')
    lab.file('tree/text', 'words '.repeat(2000))
    lab.file('tree/noise', randomBytes(30_000))
    lab.file('tree/large', randomBytes(limits.frameBytes + 1000))
    const sealed = await lab.save({ recipients: [lab.recipient] })
    const plain = await lab.save()
    for (const [kind, { path }] of Object.entries({ sealed, plain }))
        archives[kind as 'plain'] = { path, bytes: fs.readFileSync(path) }
})
afterAll(() => {
    lab.remove()
})

interface Region {
    name: string
    from: number
    to: number
}

/** Where everything lies, read by other code: headers of 512 bytes with octal sizes. */
function regionsOf(bytes: Buffer): Region[] {
    const regions: Region[] = []
    let at = 0
    while (bytes[at] !== 0) {
        const name = bytes.toString('latin1', at, bytes.indexOf(0, at))
        const size = Number.parseInt(bytes.toString('latin1', at + 124, at + 135), 8)
        const end = at + 512 + Math.ceil(size / 512) * 512
        regions.push({ name: `header of ${name}`, from: at, to: at + 512 })
        regions.push({ name, from: at + 512, to: at + 512 + size })
        if (at + 512 + size < end)
            regions.push({ name: `padding of ${name}`, from: at + 512 + size, to: end })
        at = end
    }
    regions.push({ name: 'end', from: at, to: bytes.length })
    return regions
}

/** Runs with some bytes of the file changed, and puts them back. */
async function withChange<T>(path: string, at: number, bytes: Uint8Array, run: () => Promise<T>): Promise<T> {
    const fd = fs.openSync(path, 'r+')
    const before = Buffer.alloc(bytes.length)
    fs.readSync(fd, before, 0, bytes.length, at)
    try {
        fs.writeSync(fd, bytes, 0, bytes.length, at)
        return await run()
    } finally {
        fs.writeSync(fd, before, 0, before.length, at)
        fs.closeSync(fd)
    }
}

async function faultOf(run: () => Promise<unknown>): Promise<Fault | undefined> {
    try {
        await run()
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    return undefined
}

const shallow = (path: string) => lab.verify(path, { deep: false, identities: undefined })

for (const kind of ['sealed', 'plain'] as const)
    describe(kind, () => {
        test('the whole one verifies, and its members are those of the contract', async () => {
            const { path, bytes } = archives[kind]
            expect((await shallow(path)).signature.state).toBe('own')
            const data = kind === 'sealed' ? 'data.tar.zst.age' : 'data.tar.zst'
            const names = regionsOf(bytes)
                .map(({ name }) => name)
                .filter(name => !/ of |^end/.test(name))
            expect(names).toEqual(['README.txt', 'manifest.json', 'manifest.json.sig', data, 'blocks.sha256'])
        })

        test('one bit anywhere, in any region, is found by verify without a key', async () => {
            const { path, bytes } = archives[kind]
            const seed = Number(process.env.PROXSAVE_SEED ?? 1)
            const random = seeded(seed)
            const each = Number(process.env.PROXSAVE_FUZZ ?? 400) / 10
            const unnoticed: string[] = []
            for (const { name, from, to } of regionsOf(bytes)) {
                const places = new Set([from, to - 1])
                const all = to - from <= each
                for (let n = 0; n < each; n++)
                    places.add(all ? Math.min(from + n, to - 1) : from + random.int(to - from))
                for (const at of places) {
                    const flipped = Uint8Array.of(bytes[at]! ^ (1 << random.int(8)))
                    const fault = await withChange(path, at, flipped, () => faultOf(() => shallow(path)))
                    if (fault?.kind !== 'damaged')
                        unnoticed.push(`${name}, byte ${at - from}: ${fault?.message}`)
                    if (fault !== undefined && !fault.message.includes(path))
                        unnoticed.push(`${name}, byte ${at - from}: which file? ${fault.message}`)
                }
            }
            expect(unnoticed, `seed ${seed}`).toEqual([])
        }, 300_000)

        test('cut anywhere', async () => {
            const { path, bytes } = archives[kind]
            const cut = lab.place('cut.tar')
            const random = seeded(2)
            const ends = regionsOf(bytes).flatMap(({ from, to }) => [
                from,
                to - 1,
                from + random.int(to - from),
            ])
            for (const end of ends) {
                fs.writeFileSync(cut, bytes.subarray(0, end))
                expect((await faultOf(() => shallow(cut)))?.kind, `cut at ${end}`).toBe('damaged')
            }
            expect(path).not.toBe(cut)
        })

        test('with bytes behind it', async () => {
            const longer = lab.place('longer.tar')
            for (const more of [Buffer.alloc(1), Buffer.alloc(512), Buffer.from('more')]) {
                fs.writeFileSync(longer, Buffer.concat([archives[kind].bytes, more]))
                const fault = await faultOf(() => shallow(longer))
                expect(fault?.kind).toBe('damaged')
                expect(fault?.message).toMatch(/bytes instead of/)
            }
        })

        test('damage of the data names its block and where it lies', async () => {
            const { path, bytes } = archives[kind]
            const data = regionsOf(bytes).find(({ name }) => name.startsWith('data.'))!
            const change = Uint8Array.of(bytes[data.from + 5000]! ^ 1)
            const fault = await withChange(path, data.from + 5000, change, () => faultOf(() => shallow(path)))
            expect(fault?.message).toContain('block 0 of its data is damaged')
            expect(fault?.message).toContain(`bytes ${data.from} to ${data.to - 1} of the file`)
            expect(fault?.facts.offset).toBe(data.from)
        })

        test('extract never leaves a wrong or half a file, wherever the data is damaged', async () => {
            const { path, bytes } = archives[kind]
            const good = glance(lab.root)
            const data = regionsOf(bytes).find(({ name }) => name.startsWith('data.'))!
            const random = seeded(3)
            let faults = 0
            for (let round = 0; round < 60; round++) {
                const at =
                    round < 3
                        ? [data.from + 200, data.to - 1, data.to - 30][round]!
                        : data.from + random.int(data.to - data.from)
                const change = Uint8Array.of(bytes[at]! ^ (1 << random.int(8)))
                const output = lab.place('out')
                const fault = await withChange(path, at, change, () =>
                    faultOf(() => lab.extract(path, { output })),
                )
                if (fault !== undefined) {
                    expect(['damaged', 'failed']).toContain(fault.kind)
                    faults++
                }
                if (!fs.existsSync(output)) continue
                const files = Object.entries(glance(output)).filter(([name]) =>
                    fs.statSync(join(output, name)).isFile(),
                )
                for (const [name, what] of files)
                    expect(what, `${name} with byte ${at} damaged`).toBe(good[name]!)
                if (fault === undefined) expect(Object.keys(glance(output))).toEqual(Object.keys(good))
                fs.rmSync(output, { recursive: true })
            }
            // Only a damaged place that nothing needs, as the end of the tar, may go without a fault.
            expect(faults).toBeGreaterThan(50)
        }, 300_000)
    })

describe('forged', () => {
    const key = (name = 'signing_key') => createPrivateKey(fs.readFileSync(join(lab.state, name)))
    /** A copy with its manifest changed and signed by whoever. */
    function forge(
        kind: 'sealed' | 'plain',
        change: (manifest: Record<string, unknown>) => void,
        signer = key(),
    ): string {
        const bytes = Buffer.from(archives[kind].bytes)
        const regions = regionsOf(bytes)
        const at = regions.find(({ name }) => name === 'manifest.json')!.from
        const manifest = readManifest(bytes.subarray(at, at + limits.manifestBytes))
        change(manifest as unknown as Record<string, unknown>)
        const text = writeManifest(manifest)
        bytes.set(text, at)
        const signature = regions.find(({ name }) => name === 'manifest.json.sig')!
        bytes.fill(0x0a, signature.from, signature.to)
        bytes.write(sign(text, signer), signature.from)
        const path = lab.place('forged.tar')
        fs.writeFileSync(path, bytes)
        return path
    }

    test('the forger works: signed by the host itself it is the host’s own', async () => {
        const path = forge('plain', manifest => {
            manifest.note = 'another note'
        })
        const result = await lab.verify(path)
        expect(result.signature.state).toBe('own')
        expect(result.manifest.note).toBe('another note')
    })
    test('another key is foreign, a trusted one trusted, and the caller is told which', async () => {
        const stranger = lab.newKey('stranger')
        const path = forge('plain', () => {}, key('stranger'))
        const result = await shallow(path)
        expect(result.signature.state).toBe('foreign')
        expect(result.signature.fingerprint).toStartWith('SHA256:')
        const trust = { own: lab.own, allowedSigners: `other namespaces="proxsave" ${stranger}\n` }
        expect((await lab.verify(path, { deep: false, trust })).signature.state).toBe('trusted')
    })
    test('a signature of another manifest, of this one’s text for another purpose, or none at all', async () => {
        const { bytes } = archives.plain
        const signature = regionsOf(bytes).find(({ name }) => name === 'manifest.json.sig')!
        const put = (text: string) => {
            const copy = Buffer.from(bytes)
            copy.fill(0x0a, signature.from, signature.to)
            copy.write(text, signature.from)
            const path = lab.place('forged.tar')
            fs.writeFileSync(path, copy)
            return path
        }
        expect((await faultOf(() => shallow(put(sign(Buffer.from('another'), key())))))?.message).toContain(
            'not what was signed',
        )
        expect((await faultOf(() => shallow(put('nonsense'))))?.kind).toBe('damaged')
        expect((await shallow(put(''))).signature.state).toBe('unsigned')
    })
    test('an edited manifest', async () => {
        const { bytes, path } = archives.plain
        const at = bytes.indexOf('"name": "pve1"')
        const fault = await withChange(path, at, Buffer.from('"name": "pve2"'), () =>
            faultOf(() => shallow(path)),
        )
        expect(fault?.kind).toBe('damaged')
        expect(fault?.message).toContain('not what was signed')
    })
    test('other commands in README.txt under a proper header', async () => {
        const { bytes } = archives.plain
        const readme = regionsOf(bytes).find(({ name }) => name === 'README.txt')!
        const copy = Buffer.from(bytes)
        const at = copy.indexOf('tar x -p --same-owner')
        expect(at).toBeGreaterThan(0)
        copy.write('sh # x -p --same-owner', at)
        const path = lab.place('forged.tar')
        fs.writeFileSync(path, copy)
        const fault = await faultOf(() => shallow(path))
        expect(fault?.message).toContain('README.txt')
        expect(fault?.message).toContain('bytes 0 to')
        expect(readme.from).toBe(512)
    })
    test('a member more, in front or behind', async () => {
        const { bytes } = archives.plain
        const more = Buffer.concat([
            await memberHeader('RUN-ME.sh', 512, new Date(0)),
            Buffer.alloc(512, '\n'),
        ])
        const inFront = lab.place('forged.tar')
        fs.writeFileSync(inFront, Buffer.concat([more, bytes]))
        expect((await faultOf(() => shallow(inFront)))?.kind).toBe('damaged')
        const behind = lab.place('forged.tar')
        fs.writeFileSync(
            behind,
            Buffer.concat([bytes.subarray(0, bytes.length - 1024), more, Buffer.alloc(1024)]),
        )
        expect((await faultOf(() => shallow(behind)))?.kind).toBe('damaged')
        const twice = lab.place('forged.tar')
        const manifest = regionsOf(bytes).find(({ name }) => name === 'manifest.json')!
        const again = bytes.subarray(manifest.from - 512, manifest.to)
        fs.writeFileSync(
            twice,
            Buffer.concat([
                bytes.subarray(0, manifest.from - 512),
                again,
                bytes.subarray(manifest.from - 512),
            ]),
        )
        expect((await faultOf(() => shallow(twice)))?.kind).toBe('damaged')
    })
    test('the data of another archive of the same size', async () => {
        const [first, second] = [
            await lab.save({ recipients: [lab.recipient] }),
            await lab.save({ recipients: [lab.recipient] }),
        ]
        expect(manifestOf(second.path).data.size).toBe(manifestOf(first.path).data.size)
        const [bytes, others] = [fs.readFileSync(first.path), fs.readFileSync(second.path)]
        const data = regionsOf(bytes).find(({ name }) => name.startsWith('data.'))!
        const copy = Buffer.from(bytes)
        others.copy(copy, data.from, data.from, data.to)
        const path = lab.place('forged.tar')
        fs.writeFileSync(path, copy)
        expect((await faultOf(() => shallow(path)))?.kind).toBe('damaged')
        // It opens with the very same key, so decrypting must not turn it into an archive of ours.
        const output = lab.place('decrypted.tar')
        const params = {
            path,
            identities: lab.identities(),
            output,
            signingKey: join(lab.state, 'signing_key'),
        }
        expect((await faultOf(() => archiveDecrypt(params, recorder())))?.kind).toBe('damaged')
        expect(fs.existsSync(output)).toBe(false)
    })
    test('decrypt signs what this host made, and nothing that a stranger made or nobody signed', async () => {
        lab.newKey('stranger')
        const decrypted = async (path: string) => {
            const output = lab.place('decrypted.tar')
            const io = recorder()
            await archiveDecrypt(
                { path, identities: lab.identities(), output, signingKey: join(lab.state, 'signing_key') },
                io,
            )
            const { signature } = await lab.verify(output, { identities: undefined })
            return [signature.state, io.warnings.length]
        }
        expect(await decrypted(archives.sealed.path)).toEqual(['own', 0])
        expect(await decrypted(forge('sealed', () => {}, key('stranger')))).toEqual(['unsigned', 1])
        const { bytes } = archives.sealed
        const signature = regionsOf(bytes).find(({ name }) => name === 'manifest.json.sig')!
        const unsigned = Buffer.from(bytes)
        unsigned.fill(0x0a, signature.from, signature.to)
        const path = lab.place('unsigned.tar')
        fs.writeFileSync(path, unsigned)
        expect(await decrypted(path)).toEqual(['unsigned', 1])
    })
    test('a manifest that says other than the file: its size, its member, its digests', async () => {
        for (const change of [
            (manifest: Record<string, unknown>) =>
                (manifest.data = { ...(manifest.data as object), size: 5 }),
            (manifest: Record<string, unknown>) =>
                (manifest.data = { ...(manifest.data as object), sha256: 'ab'.repeat(32) }),
            (manifest: Record<string, unknown>) =>
                (manifest.data = { ...(manifest.data as object), blocksSha256: 'ab'.repeat(32) }),
            (manifest: Record<string, unknown>) =>
                (manifest.data = { ...(manifest.data as object), member: 'data.tar.zst.age' }),
        ])
            expect((await faultOf(() => shallow(forge('plain', change))))?.kind).toBe('damaged')
    })
})

describe('of several blocks', () => {
    test('two swapped blocks, and one flipped bit, name the block', async () => {
        const big = new Lab(inMemory())
        try {
            big.file('tree/big', randomBytes(2 * limits.blockBytes + 100_000))
            const { path } = await big.save()
            const bytes = fs.readFileSync(path)
            const data = regionsOf(bytes).find(({ name }) => name.startsWith('data.'))!
            expect(manifestOf(path).data.size).toBe(data.to - data.from)
            const block = (n: number) => data.from + n * limits.blockBytes
            const swapped = Buffer.from(bytes)
            bytes.copy(swapped, block(0), block(1), block(2))
            bytes.copy(swapped, block(1), block(0), block(1))
            fs.writeFileSync(path, swapped)
            const trust = { trust: { own: big.own }, deep: false }
            expect((await faultOf(() => big.verify(path, trust)))?.message).toContain('block 0 of its data')
            const flipped = Buffer.from(bytes)
            flipped[block(1) + 99]! ^= 1
            fs.writeFileSync(path, flipped)
            const fault = await faultOf(() => big.verify(path, trust))
            expect(fault?.message).toContain('block 1 of its data')
            expect(fault?.facts.offset).toBe(block(1))
            // Files in the blocks before still come out.
            fs.writeFileSync(path, bytes)
            expect((await big.verify(path, trust)).blocks.checked).toBe(3)
        } finally {
            big.remove()
        }
    })
})

test('a key that does not fit, no key, and a wrong passphrase are the exit status of a wrong key', async () => {
    const { path } = archives.sealed
    const stranger = await new Lab().withIdentity()
    stranger.remove()
    const faults = [
        await faultOf(() => lab.extract(path, { identities: { texts: [stranger.identity] } })),
        await faultOf(() => lab.extract(path, { identities: undefined })),
        await faultOf(() => lab.extract(path, { identities: { passphrase: 'x' } })),
        await faultOf(() => lab.verify(path, { identities: { texts: [stranger.identity] } })),
    ]
    expect(faults.map(fault => fault?.exitStatus)).toEqual([5, 5, 5, 5])
})
