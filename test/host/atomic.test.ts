import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
    chmodSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    statSync,
    symlinkSync,
    writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import {
    type AtomicCalls,
    createFile,
    ensureDirectory,
    readSmallFile,
    removeFile,
    replaceFile,
    sweepTemporaries,
    systemCalls,
} from '../../src/host/atomic.ts'

let dir: string
beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'proxsave-atomic-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** The real calls, with the n-th call of one kind failing; also records the order. */
function failing(name: keyof AtomicCalls | undefined, nth: number, code = 'EIO') {
    const order: string[] = []
    const seen = new Map<string, number>()
    const calls = Object.fromEntries(
        Object.entries(systemCalls).map(([key, call]) => [
            key,
            (...args: unknown[]) => {
                order.push(key)
                const count = (seen.get(key) ?? 0) + 1
                seen.set(key, count)
                if (key === name && count === nth)
                    throw Object.assign(new Error(`${code}: injected`), { code })
                return (call as (...all: unknown[]) => unknown)(...args)
            },
        ]),
    ) as unknown as AtomicCalls
    return { calls, order }
}

describe('replaceFile', () => {
    test('writes, syncs, renames and syncs the directory, in this order', () => {
        const { calls, order } = failing(undefined, 0)
        replaceFile(join(dir, 'a'), 'new', { mode: 0o640 }, calls)
        expect(order).toEqual(['open', 'write', 'sync', 'rename', 'open', 'sync'])
        expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('new')
    })

    test('gives exactly the mode asked for, whatever the umask', () => {
        const before = process.umask(0o077)
        try {
            replaceFile(join(dir, 'wide'), 'x', { mode: 0o644 })
            replaceFile(join(dir, 'narrow'), 'x', { mode: 0o600 })
        } finally {
            process.umask(before)
        }
        expect(statSync(join(dir, 'wide')).mode & 0o7777).toBe(0o644)
        expect(statSync(join(dir, 'narrow')).mode & 0o7777).toBe(0o600)
    })

    test('writes on after a short write', () => {
        const calls: AtomicCalls = {
            ...systemCalls,
            write: (fd, bytes, offset) => systemCalls.write(fd, bytes.subarray(0, offset + 3), offset),
        }
        replaceFile(join(dir, 'a'), '0123456789', { mode: 0o600 }, calls)
        expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('0123456789')
    })

    for (const [call, nth] of [
        ['open', 1],
        ['write', 1],
        ['sync', 1],
        ['rename', 1],
    ] as const)
        test(`keeps the old file and leaves no temporary one when ${call} fails`, () => {
            writeFileSync(join(dir, 'a'), 'old')
            expect(() =>
                replaceFile(join(dir, 'a'), 'new', { mode: 0o600 }, failing(call, nth).calls),
            ).toThrow(Fault)
            expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('old')
            expect(readdirSync(dir)).toEqual(['a'])
        })

    test('reports a failed fsync of the directory, and leaves no temporary file', () => {
        writeFileSync(join(dir, 'a'), 'old')
        expect(() => replaceFile(join(dir, 'a'), 'new', { mode: 0o600 }, failing('sync', 2).calls)).toThrow(
            'cannot write',
        )
        expect(readdirSync(dir)).toEqual(['a'])
    })

    test('says what to do when the disk is full', () => {
        try {
            replaceFile(join(dir, 'a'), 'new', { mode: 0o600 }, failing('write', 1, 'ENOSPC').calls)
            expect.unreachable()
        } catch (error) {
            expect((error as Fault).hint).toContain('space')
        }
    })

    test('replaces a symbolic link and not what it points at', () => {
        writeFileSync(join(dir, 'victim'), 'untouched')
        symlinkSync('victim', join(dir, 'a'))
        replaceFile(join(dir, 'a'), 'new', { mode: 0o600 })
        expect(readFileSync(join(dir, 'victim'), 'utf8')).toBe('untouched')
        expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('new')
    })
})

describe('createFile', () => {
    test('creates once and never replaces', () => {
        expect(createFile(join(dir, 'a'), 'first', { mode: 0o600 })).toBe(true)
        expect(createFile(join(dir, 'a'), 'second', { mode: 0o600 })).toBe(false)
        expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('first')
        expect(readdirSync(dir)).toEqual(['a'])
        expect(statSync(join(dir, 'a')).nlink).toBe(1)
    })

    for (const call of ['write', 'sync', 'link'] as const)
        test(`leaves nothing when ${call} fails`, () => {
            expect(() => createFile(join(dir, 'a'), 'x', { mode: 0o600 }, failing(call, 1).calls)).toThrow(
                Fault,
            )
            expect(readdirSync(dir)).toEqual([])
        })
})

test('sweeps what a killed writer left, and nothing else', () => {
    for (const name of ['.a.0123456789ab.tmp', '.a.tmp', 'b.0123456789ab.tmp', 'c'])
        writeFileSync(join(dir, name), '')
    expect(sweepTemporaries(dir)).toEqual(['.a.0123456789ab.tmp'])
    expect(readdirSync(dir).sort()).toEqual(['.a.tmp', 'b.0123456789ab.tmp', 'c'])
})

test('the names of real temporary files are the ones that are swept', () => {
    const kept = { ...systemCalls, rename: () => {} }
    replaceFile(join(dir, 'a'), 'x', { mode: 0o600 }, kept)
    expect(sweepTemporaries(dir).length).toBe(1)
})

describe('removeFile and readSmallFile', () => {
    test('removes durably, and says whether there was one', () => {
        writeFileSync(join(dir, 'a'), 'x')
        const { calls, order } = failing(undefined, 0)
        expect(removeFile(join(dir, 'a'), calls)).toBe(true)
        expect(order).toEqual(['unlink', 'open', 'sync'])
        expect(removeFile(join(dir, 'a'))).toBe(false)
    })

    test('reads up to the bound, and nothing above it', () => {
        writeFileSync(join(dir, 'a'), Buffer.alloc(10_000, 7))
        expect(readSmallFile(join(dir, 'a'), 10_000)?.length).toBe(10_000)
        expect(() => readSmallFile(join(dir, 'a'), 9_999)).toThrow('larger than 9999 bytes')
        expect(readSmallFile(join(dir, 'none'), 10)).toBeUndefined()
    })

    test('reads an empty file, and a file whose size the kernel reports as 0', () => {
        writeFileSync(join(dir, 'empty'), '')
        expect(readSmallFile(join(dir, 'empty'), 10)).toEqual(new Uint8Array())
        expect(Buffer.from(readSmallFile('/proc/self/status', 100_000)!).toString()).toContain('Name:')
    })

    test('refuses what is not a regular file, without waiting for a writer', () => {
        Bun.spawnSync(['mkfifo', join(dir, 'pipe')])
        expect(() => readSmallFile(join(dir, 'pipe'), 10)).toThrow('not a regular file')
        expect(() => readSmallFile(dir, 10)).toThrow('not a regular file')
    })

    test('explains a directory that cannot be written', () => {
        if (process.getuid?.() === 0) return console.log('skip: root may write everywhere')
        chmodSync(dir, 0o500)
        expect(() => replaceFile(join(dir, 'a'), 'x', { mode: 0o600 })).toThrow('cannot write')
    })
})

test('makes a directory once, with the mode asked for, and says what is in the way', () => {
    const before = process.umask(0o077)
    try {
        ensureDirectory(join(dir, 'a/b'), 0o750)
    } finally {
        process.umask(before)
    }
    expect(statSync(join(dir, 'a/b')).mode & 0o7777).toBe(0o750)
    ensureDirectory(join(dir, 'a/b'), 0o700)
    expect(statSync(join(dir, 'a/b')).mode & 0o7777).toBe(0o750)
    writeFileSync(join(dir, 'file'), '')
    expect(() => ensureDirectory(join(dir, 'file'), 0o700)).toThrow('cannot make')
})
