/** Frames of the last run: used again when nothing changed, never when anything did, never believed when damaged. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { join } from 'node:path'
import type { WriteParams } from '../../src/backup/write.ts'
import { seeded } from '../sim/random.ts'
import { glance, isRoot, Lab, run, type Saved } from './lab.ts'

const noise = seeded(3).bytes(1 << 20)
let lab: Lab
/** Every run is this much later than what it saves, unless a test says otherwise. */
const later = () => Date.now() + 60_000

beforeEach(() => {
    lab = new Lab()
    lab.file('etc/passwd', `root:x:${process.getuid?.()}:0::/root:/bin/sh\n`)
    for (let i = 0; i < 60; i++) lab.file(`tree/f${i}`, noise.subarray(i, 100 + i * 300))
    lab.file('tree/large', noise.subarray(0, 900_000))
    fs.symlinkSync('f1', join(lab.root, 'tree/link'))
})
afterEach(() => lab.remove())

const save = (change: Partial<WriteParams> = {}, now = later) => lab.save({ cache: true, ...change }, { now })

/** The archive holds the tree as it is, and is whole. */
async function expectTrue(saved: Saved): Promise<void> {
    await lab.verify(saved.path)
    const out = await lab.extract(saved.path)
    expect(glance(out)).toEqual(glance(lab.root))
    fs.rmSync(out, { recursive: true })
}

test('nothing changed: every frame of the tree is used again, and the content is the same', async () => {
    const first = await save()
    expect(first.reusedFrames).toBe(0)
    const second = await save()
    // All but the end of the tar stream itself.
    expect(second.reusedFrames).toBe(second.frames)
    const third = await save()
    expect(third.reusedFrames).toBe(third.frames)
    await expectTrue(second)
    await expectTrue(third)
})

describe('is picked up', () => {
    const path = (name: string) => join(lab.root, 'tree', name)
    const stamped = (name: string, change: () => void) => {
        const { atime, mtime } = fs.statSync(path(name))
        change()
        fs.utimesSync(path(name), atime, mtime)
    }
    const changes: [string, () => unknown][] = [
        [
            'other content of the same size under the same times',
            () =>
                stamped('f7', () =>
                    fs.writeFileSync(path('f7'), Buffer.alloc(fs.statSync(path('f7')).size, 'x')),
                ),
        ],
        [
            'the same in a large file',
            () => stamped('large', () => fs.writeSync(fs.openSync(path('large'), 'r+'), 'changed', 700_000)),
        ],
        ['a mode', () => fs.chmodSync(path('f7'), 0o600)],
        ['a renamed file', () => fs.renameSync(path('f7'), path('f7-renamed'))],
        ['another name of a file', () => fs.linkSync(path('f7'), path('also'))],
        ['a removed file', () => fs.rmSync(path('f7'))],
        [
            'a file put in its place',
            () =>
                stamped('f7', () => {
                    fs.writeFileSync(path('other'), Buffer.alloc(fs.statSync(path('f7')).size, 'y'))
                    fs.renameSync(path('other'), path('f7'))
                }),
        ],
        [
            'another target of a link',
            () => {
                fs.rmSync(path('link'))
                fs.symlinkSync('f2', path('link'))
            },
        ],
        [
            'a name in passwd',
            () =>
                fs.writeFileSync(
                    join(lab.root, 'etc/passwd'),
                    `toor:x:${process.getuid?.()}:0::/root:/bin/sh\n`,
                ),
        ],
        [
            'a file that became a directory',
            () => {
                fs.rmSync(path('f7'))
                fs.mkdirSync(path('f7'))
            },
        ],
    ]
    if (isRoot)
        changes.push(
            ['an owner', () => fs.chownSync(path('f7'), 1234, 1234)],
            ['an attribute', () => run(['setfattr', '-n', 'user.x', '-v', '1', path('f7')])],
            ['an access time', () => fs.utimesSync(path('f7'), new Date(0), fs.statSync(path('f7')).mtime)],
        )
    for (const [what, change] of changes)
        test(what, async () => {
            await save()
            await change()
            const saved = await save()
            expect(saved.reusedFrames).toBeLessThan(saved.frames)
            await expectTrue(saved)
            const names = await run([
                'bash',
                '-c',
                `tar xOf '${saved.path}' data.tar.zst | zstd -dc | tar tv --warning=no-timestamp`,
            ])
            if (what === 'an attribute')
                expect(
                    await run([
                        'getfattr',
                        '--absolute-names',
                        '--only-values',
                        '-n',
                        'user.x',
                        join(await lab.extract(saved.path), 'tree/f7'),
                    ]),
                ).toBe('1')
            // Of every entry, not only of the file that changed.
            if (what === 'a name in passwd') expect(names).toMatch(/ toor\/\S* .* tree\/f9\n/)
        })
})

test('a file that changed within two seconds of the run is read again the next time', async () => {
    fs.writeFileSync(join(lab.root, 'tree/f7'), 'now')
    const changed = fs.statSync(join(lab.root, 'tree/f7')).ctimeMs
    const near = () => Math.floor(changed) + 1900
    await save({}, near)
    const second = await save()
    expect(second.reusedFrames).toBeLessThan(second.frames)
    // Read well after the change, it is used from then on.
    const saved = await save()
    expect(saved.reusedFrames).toBe(saved.frames)
})

test('a file from the future is read every time', async () => {
    await save()
    const file = join(lab.root, 'tree/f7')
    fs.utimesSync(file, new Date(), new Date(Date.now() + 3_600_000))
    await save()
    const saved = await save()
    expect(saved.reusedFrames).toBeLessThan(saved.frames)
    await expectTrue(saved)
})

test('/etc/pve is always read', async () => {
    lab.file('etc/pve/storage.cfg', 'dir: local\n\tpath /var/lib/vz\n')
    await save()
    const file = join(lab.root, 'etc/pve/storage.cfg')
    // What pmxcfs can do and no other file system: other content under the very same metadata.
    const saved = await save()
    expect(saved.reusedFrames).toBeLessThan(saved.frames)
    expect(fs.existsSync(file)).toBe(true)
    await expectTrue(saved)
})

describe('a damaged cache is not believed', () => {
    const cache = (name: string) => join(lab.state, 'cache', name)
    test('any byte of the frames', async () => {
        await save()
        const size = fs.statSync(cache('frames.dat')).size
        for (const at of [0, 1, size >> 1, size - 1]) {
            const fd = fs.openSync(cache('frames.dat'), 'r+')
            const byte = Buffer.alloc(1)
            fs.readSync(fd, byte, 0, 1, at)
            fs.writeSync(fd, Buffer.from([byte[0]! ^ 4]), 0, 1, at)
            fs.closeSync(fd)
            const saved = await save()
            expect(saved.reusedFrames).toBeLessThan(saved.frames)
            await expectTrue(saved)
        }
    })
    test('frames that were cut, or swapped with others', async () => {
        await save()
        fs.truncateSync(cache('frames.dat'), fs.statSync(cache('frames.dat')).size - 1)
        const cut = await save()
        expect(cut.reusedFrames).toBe(0)
        await expectTrue(cut)
        const bytes = fs.readFileSync(cache('frames.dat'))
        fs.writeFileSync(cache('frames.dat'), Buffer.concat([bytes.subarray(1000), bytes.subarray(0, 1000)]))
        const swapped = await save()
        expect(swapped.reusedFrames).toBe(0)
        await expectTrue(swapped)
    })
    test('any byte of the index, a cut one, an empty one, none', async () => {
        const before = await save()
        const index = fs.readFileSync(cache('index'))
        const variants = [0, 7, 8, 9, index.length >> 1, index.length - 1].map(at => {
            const copy = Buffer.from(index)
            copy[at]! ^= 1
            return copy
        })
        for (const bytes of [
            ...variants,
            index.subarray(0, index.length - 1),
            Buffer.alloc(0),
            Buffer.from('{}'),
        ]) {
            fs.writeFileSync(cache('index'), bytes)
            const saved = await save()
            expect(saved.reusedFrames).toBe(0)
            expect(saved.entries).toBe(before.entries)
        }
        fs.rmSync(cache('index'))
        await expectTrue(await save())
    })
    test('an unfinished run leaves nothing that the next one believes', async () => {
        await save()
        fs.appendFileSync(cache('frames.dat'), Buffer.alloc(100_000, 'torn'))
        const saved = await save()
        expect(saved.reusedFrames).toBe(saved.frames)
        await expectTrue(saved)
    })
    test('a directory or a link in its place: the run goes on without', async () => {
        fs.mkdirSync(join(lab.state, 'cache/frames.dat'), { recursive: true })
        const saved = await save()
        expect(saved.warnings_.join()).toContain('cannot use the frame cache')
        await expectTrue(saved)
        fs.rmSync(join(lab.state, 'cache'), { recursive: true })
        fs.mkdirSync(join(lab.state, 'cache'))
        fs.symlinkSync(join(lab.base, 'canary'), cache('frames.dat'))
        await expectTrue(await save())
        expect(fs.existsSync(join(lab.base, 'canary'))).toBe(false)
    })
})

test('a growing log costs its last frames only', async () => {
    const log = lab.file('tree/log', '')
    for (const shift of [0, 7, 99]) fs.appendFileSync(log, noise.subarray(shift))
    await save()
    fs.appendFileSync(log, noise.subarray(0, 1000))
    const saved = await save()
    // The group of small files is the same; of the log, its header and the last piece are new.
    expect(saved.frames - saved.reusedFrames).toBeLessThanOrEqual(4)
    await expectTrue(saved)
})

test('the cache stays in proportion to what is used, and right, whatever happens to the files', async () => {
    const random = seeded(21)
    for (let round = 0; round < 12; round++) {
        for (let n = 0; n < 8; n++)
            fs.writeFileSync(
                join(lab.root, `tree/f${random.int(60)}`),
                noise.subarray(random.int(1000), random.int(60_000) + 1000),
            )
        const large = join(lab.root, 'tree/large')
        if (random.chance(0.5)) fs.appendFileSync(large, noise.subarray(random.int(200_000), 400_000))
        else fs.writeFileSync(large, noise.subarray(round * 1000, 900_000))
        if (random.chance(0.3)) fs.copyFileSync(large, join(lab.root, `tree/copy${random.int(2)}`))
        const saved = await save()
        if (round % 4 === 3) await expectTrue(saved)
        const cached = fs.statSync(join(lab.state, 'cache/frames.dat')).size
        expect(cached).toBeLessThan(saved.size * 2 + (1 << 20))
    }
    expect(fs.statSync(join(lab.state, 'cache')).mode & 0o777).toBe(0o700)
})
