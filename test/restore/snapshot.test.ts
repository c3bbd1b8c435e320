/** The order of what is written: copies before the first change, content before its name, names before "done". */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type PlaceCalls, placeCalls } from '../../src/host/place.ts'
import { isRoot } from '../backup/lab.ts'
import { RestoreBench, restoreOn, undoOn } from './bench.ts'

interface Call {
    name: keyof PlaceCalls
    /** What the call is about: an open file or directory. */
    at: string
    entry: string
}

const text = (name: unknown) =>
    Buffer.from(name as Uint8Array)
        .toString('latin1')
        .replace(/\0$/, '')

/** Writes every call down, with the paths that its descriptors have at that moment. */
function recording(calls: Call[]): PlaceCalls {
    const pathOf = (fd: unknown) => readlinkSync(`/proc/self/fd/${fd}`)
    return new Proxy(placeCalls, {
        get: (target, name: keyof PlaceCalls) => {
            const call = target[name] as (...args: unknown[]) => unknown
            return (...args: unknown[]) => {
                const last = name === 'link' ? 2 : name === 'symlink' ? 1 : 0
                const at = typeof args[last] === 'number' ? pathOf(args[last]) : ''
                const entry = args[last + 1] instanceof Uint8Array ? text(args[last + 1]) : ''
                const two = name === 'rename' || name === 'exchange'
                calls.push({ name, at, entry: two ? `${entry}\n${text(args[2])}` : entry })
                return call(...args)
            }
        },
    })
}

const namesChange = new Set(['rename', 'exchange', 'link', 'symlink', 'mkdir', 'unlink', 'rmdir'])

describe.if(isRoot)('the order of a restore', () => {
    let bench: RestoreBench
    const calls: Call[] = []
    const undo: Call[] = []

    beforeAll(async () => {
        bench = await RestoreBench.begin()
        const runner = bench.runner({ calls: recording(calls) })
        const end = await restoreOn(runner, bench.plan())
        expect(end.result).toBe('ok')
        const second = bench.runner({ calls: recording(undo) })
        await second.recover()
        expect((await undoOn(second, end.change)).result).toBe('ok')
    }, 20_000)
    afterAll(() => bench.remove())

    const inTree = ({ at }: Call) => at === bench.root || at.startsWith(`${bench.root}/`)

    test('the first change of the tree comes behind a durable snapshot', () => {
        const first = calls.findIndex(call => inTree(call) && call.name !== 'sync')
        const index = calls.findIndex(({ name, entry }) => name === 'rename' && entry === 'index.new\nindex')
        const directory = calls.findIndex(
            ({ name, at }, i) => i > index && name === 'sync' && at.endsWith('/undo/snapshot'),
        )
        const copies = calls.findLastIndex(({ at, entry }) =>
            /\/snapshot\/(data|keep)/.test(`${at}/${entry}`),
        )
        const synced = calls.findIndex(({ name }, i) => i > copies && name === 'syncFileSystem')
        const written = calls.findIndex(({ name, at }) => name === 'sync' && at.endsWith('/index.new'))
        expect([copies, synced, written, index, directory].every(at => at >= 0)).toBe(true)
        expect(synced).toBeGreaterThan(copies)
        expect(written).toBeGreaterThan(synced)
        expect(index).toBeGreaterThan(written)
        expect(directory).toBeGreaterThan(index)
        expect(first).toBeGreaterThan(directory)
    })

    for (const [what, list] of [
        ['do', calls],
        ['undo', undo],
    ] as const) {
        test(`${what}: content and metadata of a file are durable before it gets its name`, () => {
            const renames = list.flatMap((call, i) =>
                call.name === 'rename' && inTree(call) ? [{ call, i, from: call.entry.split('\n')[0]! }] : [],
            )
            let created = 0
            for (const { call, i, from } of renames) {
                const path = join(call.at, from)
                const made = list.findLastIndex(
                    (one, k) => k < i && one.name === 'create' && one.at === call.at && one.entry === from,
                )
                if (made < 0) continue
                created++
                const touched = list.findLastIndex(
                    (one, k) =>
                        k < i && k > made && one.name !== 'sync' && (one.at === path || one.entry === from),
                )
                const synced = list.findLastIndex((one, k) => k < i && one.name === 'sync' && one.at === path)
                expect(synced).toBeGreaterThan(touched)
            }
            if (what === 'do') expect(created).toBeGreaterThan(5)
            else expect(renames.length).toBeGreaterThan(5)
        })

        test(`${what}: every directory whose names or times changed is durable at the end`, () => {
            const directories = new Map<string, number>()
            for (const [i, call] of list.entries()) {
                if (!inTree(call)) continue
                if (namesChange.has(call.name)) directories.set(call.at, i)
                if (call.name === 'setTimes') directories.set(join(call.at, call.entry), i)
            }
            const unsynced: string[] = []
            for (const [path, i] of directories) {
                const isFile = list.some(one => one.name === 'create' && join(one.at, one.entry) === path)
                const isLink = list.some(one => one.name === 'symlink' && join(one.at, one.entry) === path)
                const gone = list.some(
                    (one, k) =>
                        (one.name === 'rmdir' && join(one.at, one.entry) === path) ||
                        // Another entry took its place.
                        (k > i &&
                            one.name === 'exchange' &&
                            join(one.at, one.entry.split('\n')[1]!) === path),
                )
                const synced = list.some((one, k) => k > i && one.name === 'sync' && one.at === path)
                if (!isFile && !isLink && !gone && !synced) unsynced.push(path)
            }
            expect(unsynced).toEqual([])
            expect(directories.size).toBeGreaterThan(4)
        })
    }
})
