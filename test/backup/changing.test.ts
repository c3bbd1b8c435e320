/** Files that change, shrink, grow, vanish or fail while they are read: the archive stays whole and says what it knows. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { createPrivateKey, randomBytes } from 'node:crypto'
import { ArchiveWriter } from '../../src/archive/writer.ts'
import { collect } from '../../src/archive/collect.ts'
import { Emitter } from '../../src/backup/emit.ts'
import type { Names } from '../../src/backup/pack.ts'
import { categories } from '../../src/catalog/index.ts'
import { buildMatcher } from '../../src/catalog/match.ts'
import { limits } from '../../src/core/limits.ts'
import { sign } from '../../src/format/signature.ts'
import * as libc from '../../src/host/libc.ts'
import { Tree } from '../../src/host/tree.ts'
import { seeded } from '../sim/random.ts'
import { inMemory, Lab, manifest, manifestOf } from './lab.ts'

const noise = seeded(5).bytes(2 << 20)

let lab: Lab
beforeEach(() => {
    lab = new Lab(inMemory())
})
afterEach(() => lab.remove())

interface Hooks {
    /** Before a file is opened; may give another descriptor, or throw. */
    open?(path: string, times: number): number | undefined
    /** After a file was opened and before it is read. */
    opened?(times: number): void
    /** Between the pieces of a large file. */
    progress?(bytes: number): void
    /** After everything was read. */
}

class Hooked extends Tree {
    readonly #hooks: Hooks
    readonly #times = new Map<string, number>()

    constructor(root: string, hooks: Hooks) {
        super(root)
        this.#hooks = hooks
    }

    override openFile(path: string): number {
        const times = (this.#times.get(path) ?? 0) + 1
        this.#times.set(path, times)
        return this.#hooks.open?.(path, times) ?? super.openFile(path)
    }
}

interface Outcome {
    path: string
    warnings: string[]
    missing: Record<string, string>
}

/** Saves the lab's tree as `archive.write` does, with hands in between. */
async function save(hooks: Hooks): Promise<Outcome> {
    const warnings: string[] = []
    const warn = (text: string) => void warnings.push(text)
    const tree = new Hooked(lab.root, hooks)
    const path = lab.place('backup.proxsave.tar')
    const key = createPrivateKey(fs.readFileSync(join(lab.state, 'signing_key')))
    const writer = await ArchiveWriter.create({
        output: path,
        readme: 'readme\n',
        recipients: [],
        now: new Date(0),
        random: bytes => Uint8Array.from(randomBytes(bytes)),
        sign: message => sign(message, key),
    })
    let opened = 0
    const names: Names = {
        user() {
            // The header is made when the file is open and its content is still to be read.
            hooks.opened?.(++opened)
            return ''
        },
        group: () => '',
    }
    const collected = collect(tree, {
        matcher: buildMatcher(categories, ['/tree']),
        exclude: [],
        never: [],
        warn,
    })
    const progress = (bytes: number) => hooks.progress?.(bytes)
    const emitter = new Emitter({ tree, names, writer, collected, beganNs: 0n, progress, warn })
    for (const { id } of categories) await emitter.category(collected.entries.get(id) ?? [])
    const { entries } = await emitter.finish()
    await writer.finish(entries, figures => ({ ...manifest([]), ...figures, categories: [] }))
    tree.close()
    const missing: Record<string, string> = {}
    for (const { listed } of collected.missing.values())
        for (const one of listed) if (one.state !== 'absent') missing[one.path] = `${one.state}: ${one.why}`
    // Whatever happened, what was written is whole.
    await lab.verify(path)
    expect(manifestOf(path).plain.entries).toBe(entries.filter(entry => entry.superseded !== true).length)
    return { path, warnings, missing }
}

async function contentOf(outcome: Outcome, path: string): Promise<Buffer> {
    const out = await lab.extract(outcome.path, { paths: [path] })
    return fs.readFileSync(join(out, path))
}

const paths = async (outcome: Outcome) => (await lab.files(outcome.path)).map(row => row.path as string)

const large = limits.frameBytes * 4

describe('a small file', () => {
    test('that changes once is read again, and is not worth a word', async () => {
        const file = lab.file('tree/f', 'old content')
        const outcome = await save({
            opened: times => times === 2 && fs.writeFileSync(file, 'new content, longer'),
        })
        expect(outcome.missing).toEqual({})
        expect((await contentOf(outcome, '/tree/f')).toString()).toBe('new content, longer')
    })
    test('that is cut once is read again', async () => {
        const file = lab.file('tree/f', 'long content')
        const outcome = await save({ opened: times => times === 2 && fs.truncateSync(file, 4) })
        expect((await contentOf(outcome, '/tree/f')).toString()).toBe('long')
    })
    test('that changes all the time is saved as it was caught, and reported', async () => {
        const file = lab.file('tree/f', 'x')
        const outcome = await save({ opened: () => fs.appendFileSync(file, 'y') })
        expect(outcome.missing).toEqual({ '/tree/f': 'changed: it kept changing while it was read' })
        expect((await contentOf(outcome, '/tree/f')).toString()).toMatch(/^xy+$/)
    })
    test('that changes its mode between being found and being read agrees with its own entry', async () => {
        const file = lab.file('tree/f', 'x', 0o644)
        const outcome = await save({
            open: path => (path === 'tree/f' ? void fs.chmodSync(file, 0o600) : undefined),
        })
        expect((await lab.files(outcome.path)).find(row => row.path === '/tree/f')!.mode).toBe('0600')
    })
    test('that vanishes is reported, its neighbours are saved', async () => {
        const file = lab.file('tree/f', 'x')
        lab.file('tree/neighbour', 'y')
        const outcome = await save({ open: path => (path === 'tree/f' ? void fs.rmSync(file) : undefined) })
        expect(outcome.missing).toEqual({ '/tree/f': 'changed: it was removed while the backup ran' })
        expect(await paths(outcome)).toEqual(['/tree', '/tree/neighbour'])
    })
    test('that becomes a link is not followed', async () => {
        const file = lab.file('tree/f', 'x')
        const canary = lab.place('canary')
        fs.writeFileSync(canary, 'secret')
        const swap = () => {
            fs.rmSync(file)
            fs.symlinkSync(canary, file)
        }
        const outcome = await save({ open: path => (path === 'tree/f' ? void swap() : undefined) })
        expect(await paths(outcome)).toEqual(['/tree'])
        expect(outcome.missing['/tree/f']).toContain('failed')
        expect(fs.readFileSync(outcome.path).includes('secret')).toBe(false)
    })
    test('that explodes after it was found is saved as a large one, and a link to it still comes behind', async () => {
        const file = lab.file('tree/b', 'x')
        fs.linkSync(file, join(lab.root, 'tree/c'))
        lab.file('tree/a', 'a')
        const outcome = await save({
            open: (path, times) =>
                path === 'tree/b' && times === 1 ? void fs.writeFileSync(file, noise) : undefined,
        })
        expect(outcome.missing).toEqual({})
        const out = await lab.extract(outcome.path)
        expect(Buffer.compare(fs.readFileSync(join(out, 'tree/c')), noise)).toBe(0)
        expect(fs.statSync(join(out, 'tree/b')).ino).toBe(fs.statSync(join(out, 'tree/c')).ino)
        expect(fs.readFileSync(join(out, 'tree/a'), 'utf8')).toBe('a')
    })
    test('that becomes larger than the memory is no reason to read it into the memory', async () => {
        const file = lab.file('tree/f', 'x')
        const outcome = await save({
            open: (path, times) =>
                path === 'tree/f' && times === 1 ? void fs.truncateSync(file, 2 ** 40) : undefined,
        })
        expect(outcome.missing).toEqual({})
        expect((await lab.files(outcome.path)).find(row => row.path === '/tree/f')!.size).toBe(2 ** 40)
    })
    test('that cannot be read is reported with the reason', async () => {
        lab.file('tree/f', 'x')
        lab.file('tree/neighbour', 'y')
        // Reading this at its beginning fails as a broken disk does.
        const broken = () => fs.openSync('/proc/self/mem', 'r')
        const outcome = await save({ open: path => (path === 'tree/f' ? broken() : undefined) })
        expect(outcome.missing).toEqual({ '/tree/f': 'failed: input/output error' })
        expect(outcome.warnings).toEqual(['cannot read /tree/f: input/output error'])
        expect(await paths(outcome)).toEqual(['/tree', '/tree/neighbour'])
    })
})

describe('a large file', () => {
    test('that changes once is written again: the last one counts, for tar too', async () => {
        const file = lab.file('tree/f', noise.subarray(0, large))
        let changed = false
        const outcome = await save({
            progress(bytes) {
                if (changed || bytes < limits.frameBytes * 2) return
                changed = true
                fs.writeFileSync(file, noise.subarray(1, large))
            },
        })
        expect(changed).toBe(true)
        expect(outcome.missing).toEqual({})
        expect(Buffer.compare(await contentOf(outcome, '/tree/f'), noise.subarray(1, large))).toBe(0)
        const hand = lab.place('hand')
        fs.mkdirSync(hand)
        const command = `tar xOf '${outcome.path}' data.tar.zst | zstd -dc | tar x -C '${hand}'`
        expect(await Bun.spawn(['bash', '-o', 'pipefail', '-c', command], { stderr: 'inherit' }).exited).toBe(
            0,
        )
        expect(Buffer.compare(fs.readFileSync(join(hand, 'tree/f')), noise.subarray(1, large))).toBe(0)
    })
    test('that is cut while it is read', async () => {
        const file = lab.file('tree/f', noise.subarray(0, large))
        const cut = limits.frameBytes + 17
        const whole = () => fs.statSync(file).size === large
        const outcome = await save({
            progress: bytes => bytes > cut && whole() && fs.truncateSync(file, cut),
        })
        expect(outcome.missing).toEqual({})
        expect(Buffer.compare(await contentOf(outcome, '/tree/f'), noise.subarray(0, cut))).toBe(0)
    })
    test('that grows all the time is saved as it was caught, and reported', async () => {
        const file = lab.file('tree/log', noise.subarray(0, large))
        const outcome = await save({ progress: () => fs.appendFileSync(file, 'a line\n') })
        expect(outcome.missing).toEqual({ '/tree/log': 'changed: it kept changing while it was read' })
        const saved = await contentOf(outcome, '/tree/log')
        expect(Buffer.compare(saved.subarray(0, large), noise.subarray(0, large))).toBe(0)
        expect(saved.toString('latin1', large).replaceAll('a line\n', '')).toBe('')
    })
    test('whose disk fails is not in the archive, and is reported', async () => {
        lab.file('tree/f', noise.subarray(0, large))
        lab.file('tree/g', 'y')
        // Has a size, and cannot be read.
        const outcome = await save({
            open: path => (path === 'tree/f' ? fs.openSync(lab.root, 'r') : undefined),
        })
        expect(outcome.missing['/tree/f']).toContain('failed')
        expect(await paths(outcome)).toEqual(['/tree', '/tree/g'])
        const out = await lab.extract(outcome.path)
        expect(fs.readdirSync(join(out, 'tree'))).toEqual(['g'])
    })
})

describe('of several names of one file', () => {
    const unreadable = (one: string) => (path: string) => {
        if (path === one) throw new libc.OsError('open', constants.errno.EACCES, path)
        return undefined
    }
    for (const [what, size] of [
        ['small', 10],
        ['large', large],
    ] as const)
        test(`the first that can be read holds the content: ${what}, in one group and in others`, async () => {
            const file = lab.file('tree/a', noise.subarray(0, size))
            for (const name of ['tree/b', 'tree/z']) fs.linkSync(file, join(lab.root, name))
            for (let i = 0; i < 20; i++) lab.file(`tree/m${i}`, noise.subarray(i, 30_000))
            const outcome = await save({ open: unreadable('tree/a') })
            expect(outcome.missing).toEqual({ '/tree/a': 'failed: permission denied' })
            const out = await lab.extract(outcome.path)
            expect(fs.existsSync(join(out, 'tree/a'))).toBe(false)
            for (const name of ['tree/b', 'tree/z'])
                expect(Buffer.compare(fs.readFileSync(join(out, name)), noise.subarray(0, size))).toBe(0)
            expect(fs.statSync(join(out, 'tree/b')).ino).toBe(fs.statSync(join(out, 'tree/z')).ino)
        })
})

test('a person who stops the run stops it between two entries', async () => {
    const controller = new AbortController()
    controller.abort()
    lab.file('tree/f', 'x')
    const tree = new Tree(lab.root)
    const params = lab.params()
    const { writeArchive } = await import('../../src/backup/write.ts')
    const io = { progress() {}, warn() {}, item() {}, signal: controller.signal }
    expect(writeArchive(params, io)).rejects.toThrow(/stopped/)
    expect(fs.existsSync(params.output)).toBe(false)
    tree.close()
})
