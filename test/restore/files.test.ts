/** A restore puts every kind of entry in place, and its undo puts every one of them back, to the last nanosecond. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type PlaceCalls, placeCalls } from '../../src/host/place.ts'
import { isRoot, run } from '../backup/lab.ts'
import { differences, type Tree } from '../vm/tree.ts'
import { RestoreBench, restoreOn, undoOn } from './bench.ts'
import { Describer } from './describer.ts'

if (!isRoot) console.log('skip: owners, modes and attributes can only be restored by root')

describe.if(isRoot)('restore.files', () => {
    let bench: RestoreBench
    let describer: Describer
    let before: Tree
    let restored: Tree

    beforeAll(async () => {
        bench = await RestoreBench.begin()
        describer = new Describer()
        before = await describer.describe(bench.root)
    }, 30_000)
    afterAll(async () => {
        await describer.end()
        bench.remove()
    })

    test('puts back what was saved, and undo everything as it was; then again', async () => {
        const runner = bench.runner()
        for (let round = 0; round < 2; round++) {
            const end = await restoreOn(runner, bench.plan())
            expect(end).toMatchObject({ result: 'ok' })
            restored = await describer.describe(bench.root)
            const reference = await extracted()
            const untouched = ['tree/outside-b', 'tree/outside-b\0links']
            const lines = differences(reference, restored).filter(
                line => !untouched.some(path => line.startsWith(JSON.stringify(path))),
            )
            // What is in no plan keeps what it has.
            const unplanned = ['".": ', '"tree/sub": ', '"tree/same": ']
            expect(lines.filter(line => !unplanned.some(path => line.startsWith(path)))).toEqual([])
            const undone = await undoOn(runner, end.change)
            expect(undone).toMatchObject({ result: 'ok' })
            expect(await describer.differences(before, bench.root)).toEqual([])
        }
    }, 30_000)

    test('undo from copies alone, where the state lies on another file system', async () => {
        const crossing = {
            ...placeCalls,
            link(...[from, name, to, entry]: Parameters<PlaceCalls['link']>) {
                if (/^\d+\0$/.test(Buffer.from(entry).toString('latin1')))
                    throw Object.assign(new Error('link'), { code: 'EXDEV' })
                placeCalls.link(from, name, to, entry)
            },
        }
        const runner = bench.runner({ calls: crossing })
        const end = await restoreOn(runner, bench.plan())
        expect(end.result).toBe('ok')
        expect((await undoOn(runner, end.change)).result).toBe('ok')
        // A name outside of the plan had the same file; nothing says any more where it is.
        const lines = await describer.differences(before, bench.root)
        expect(lines.filter(line => !line.startsWith('"tree/outside-'))).toEqual([])
    }, 30_000)

    async function extracted(): Promise<Tree> {
        const output = bench.lab.place('out')
        await run(['mkdir', output])
        await bench.lab.extract(bench.archive, { output, paths: ['/tree'] })
        return describer.describe(output)
    }
})
