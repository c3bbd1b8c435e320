/** Undo of a finished restore: exact, and what somebody edited since is asked about and never lost in silence. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ChangeEvent, ProgressEvent } from '../../src/engine/change.ts'
import type { Runner } from '../../src/engine/runner.ts'
import { isRoot } from '../backup/lab.ts'
import type { Tree } from '../vm/tree.ts'
import { RestoreBench, restoreOn, undoOn } from './bench.ts'
import { Describer } from './describer.ts'

describe.if(isRoot)('undo of a restore', () => {
    let bench: RestoreBench
    let describer: Describer
    let before: Tree
    let runner: Runner
    let change: string
    const at = (path: string) => join(bench.root, 'tree', path)
    const read = (path: string) => readFileSync(at(path), 'utf8')

    beforeEach(async () => {
        bench = await RestoreBench.begin()
        describer = new Describer()
        before = await describer.describe(bench.root)
        runner = bench.runner()
        const end = await restoreOn(runner, bench.plan())
        expect(end.result).toBe('ok')
        change = end.change
    }, 20_000)
    afterEach(async () => {
        await describer.end()
        bench.remove()
    })

    async function questionsOf(id: string): Promise<(ChangeEvent | ProgressEvent)[]> {
        const found: (ChangeEvent | ProgressEvent)[] = []
        for await (const event of runner.events(id)) if (event.event === 'question') found.push(event)
        return found
    }

    test('asks nothing when nothing was edited', async () => {
        const end = await undoOn(runner, change)
        expect(end.result).toBe('ok')
        expect(await questionsOf(end.change)).toEqual([])
    })

    test('keeps what was edited since by default, asks once for all categories, and says so', async () => {
        writeFileSync(at('changed'), 'edited by hand\n')
        chmodSync(at('lost'), 0o600)
        rmSync(at('mode'))
        const end = await undoOn(runner, change)
        expect(end.result).toBe('ok')
        expect(read('changed')).toBe('edited by hand\n')
        expect(existsSync(at('lost'))).toBe(true)
        expect(existsSync(at('mode'))).toBe(false)
        const questions = await questionsOf(end.change)
        expect(questions).toHaveLength(1)
        expect(questions[0]).toMatchObject({ id: 'undo.conflict', safe: 'keep' })
        const { text } = questions[0] as { text: string }
        for (const path of ['/tree/changed', '/tree/lost', '/tree/mode']) expect(text).toContain(path)
        const lines = (await describer.differences(before, bench.root)).map(line => line.split(':')[0])
        const names = ['changed', 'lost', 'mode'].map(name => `"tree/${name}`)
        expect(lines.filter(line => !names.some(name => line!.startsWith(name)))).toEqual([])
        expect(runner.running()).toBeUndefined()
    })

    test('puts back what was edited since when told to', async () => {
        writeFileSync(at('changed'), 'edited by hand\n')
        chmodSync(at('lost'), 0o600)
        rmSync(at('mode'))
        const end = await undoOn(runner, change, { answers: { 'undo.conflict': 'restore' } })
        expect(end.result).toBe('ok')
        expect(await describer.differences(before, bench.root)).toEqual([])
    })

    test('what already is as before is no conflict', async () => {
        rmSync(at('lost'))
        const end = await undoOn(runner, change)
        expect(await questionsOf(end.change)).toEqual([])
        expect(await describer.differences(before, bench.root)).toEqual([])
    })

    test('a created directory that somebody uses stays, with what is in it', async () => {
        writeFileSync(at('dir/theirs'), 'theirs\n')
        const end = await undoOn(runner, change)
        expect(end.result).toBe('ok')
        expect(read('dir/theirs')).toBe('theirs\n')
        expect(existsSync(at('dir/inner'))).toBe(false)
        const lines = await describer.differences(before, bench.root)
        expect(lines.map(line => line.split(' ')[0]).sort()).toEqual([
            '"tree/dir"',
            '"tree/dir/theirs"',
            '"tree/dir/theirs\\u0000links"',
        ])
    })

    test('a directory in the place of a file is told and the rest is put back', async () => {
        rmSync(at('changed'))
        mkdirSync(at('changed'))
        writeFileSync(at('changed/inside'), 'x')
        const end = await undoOn(runner, change, { answers: { 'undo.conflict': 'restore' } })
        expect(end.result).toBe('failed')
        expect(end.error?.message).toContain('/tree/changed is a directory by now')
        expect(existsSync(at('lost'))).toBe(false)
        expect(read('changed/inside')).toBe('x')
        rmSync(at('changed'), { recursive: true })
        const again = await undoOn(runner, change, { answers: { 'undo.conflict': 'restore' } })
        expect(again.result).toBe('ok')
        expect(await describer.differences(before, bench.root)).toEqual([])
    })

    test('works after the daemon was started anew, and once only', async () => {
        const fresh = bench.runner()
        await fresh.recover()
        expect((await undoOn(fresh, change)).result).toBe('ok')
        expect(await describer.differences(before, bench.root)).toEqual([])
        expect(() => fresh.undo(change, 'test')).toThrow('undone it already')
    })

    test('a damaged snapshot is refused before anything changes', async () => {
        const index = join(bench.state, 'changes', change, 'undo/snapshot/index')
        const bytes = readFileSync(index)
        bytes[10]! ^= 1
        writeFileSync(index, bytes)
        const restored = await describer.describe(bench.root)
        const end = await undoOn(runner, change)
        expect(end.error?.message).toContain('its index is damaged')
        expect(await describer.differences(restored, bench.root)).toEqual([])
    })
})
