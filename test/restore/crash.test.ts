/** A restore that dies, or meets a failing call, at any of its calls: the next start leaves the tree as it was before. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { isRoot } from '../backup/lab.ts'
import type { Tree } from '../vm/tree.ts'
import { RestoreBench, restoreOn, type Trouble, Troubled, undoOn } from './bench.ts'
import { Describer } from './describer.ts'

if (!isRoot) console.log('skip: a restore needs root')

/** PROXSAVE_CRASHES=all tries every call, a number as many of them, spread evenly. */
const wanted = process.env.PROXSAVE_CRASHES ?? '25'
const timeoutMs = wanted === '25' ? 60_000 : 3_600_000

function spread(total: number): number[] {
    if (wanted === 'all') return Array.from({ length: total }, (_, i) => i + 1)
    const most = Math.min(total, Number(wanted))
    const from = Math.random()
    return Array.from({ length: most }, (_, i) => Math.floor(((i + from) * total) / most) + 1)
}

describe.if(isRoot)('a restore in trouble', () => {
    let bench: RestoreBench
    let describer: Describer
    let before: Tree
    let total = 0
    let totalUndo = 0

    beforeAll(async () => {
        bench = await RestoreBench.begin()
        describer = new Describer()
        before = await describer.describe(bench.root)
        const counting = new Troubled()
        const runner = bench.runner(counting)
        const end = await restoreOn(runner, bench.plan())
        total = counting.count
        await undoOn(runner, end.change)
        totalUndo = counting.count - total
    }, 60_000)
    afterAll(async () => {
        await describer.end()
        bench.remove()
    })

    async function expectOld(what: string): Promise<void> {
        const found = await describer.differences(before, bench.root)
        if (found.length === 0) return
        // The others begin with a tree as it was.
        bench.remove()
        bench = await RestoreBench.begin()
        before = await describer.describe(bench.root)
        throw new Error(`${what}: ${found.join('\n')}`)
    }

    /** The process is gone; another one recovers, and may be killed too. */
    async function recover(secondCrash?: number): Promise<string[]> {
        if (secondCrash !== undefined) {
            const troubled = new Troubled({ kind: 'crash', at: secondCrash })
            await bench
                .runner(troubled)
                .recover()
                .catch(() => undefined)
        }
        const runner = bench.runner()
        const ends = await runner.recover()
        // Its last record was there already, though nobody was told: then it is whole, and a person may undo it.
        const [last] = bench.changes()
        if (last?.kind === 'restore' && last.result === 'ok')
            expect((await undoOn(runner, last.id)).result).toBe('ok')
        return ends.map(
            end => `${end.result}${end.left === undefined ? '' : `: left ${end.left.join('; ')}`}`,
        )
    }

    test(
        'crash at a call, then recovery',
        async () => {
            const at = spread(total)
            for (const n of at) {
                bench.forget()
                const troubled = new Troubled({ kind: 'crash', at: n })
                await restoreOn(bench.runner(troubled), bench.plan()).catch(() => undefined)
                const ends = await recover()
                expect([`${n} ${troubled.last}`, ends.join()]).toEqual([
                    `${n} ${troubled.last}`,
                    ends.length === 0 ? '' : 'failed',
                ])
                await expectOld(`crash at ${n} of ${total} (${troubled.last})`)
            }
            console.log(`crashes: ${at.length} of ${total} calls`)
        },
        timeoutMs,
    )

    test(
        'crash at a call, crash in the recovery, then recovery',
        async () => {
            const at = spread(total)
            for (const n of at) {
                bench.forget()
                const troubled = new Troubled({ kind: 'crash', at: n })
                await restoreOn(bench.runner(troubled), bench.plan()).catch(() => undefined)
                const second = 1 + Math.floor(Math.random() * Math.max(60, n))
                const ends = await recover(second)
                expect(ends.filter(end => end !== 'failed')).toEqual([])
                await expectOld(`crash at ${n} (${troubled.last}), again at ${second}`)
            }
            console.log(`double crashes: ${at.length}`)
        },
        timeoutMs,
    )

    test(
        'crash in the undo of a finished restore: the next start finishes the undo',
        async () => {
            const at = spread(totalUndo)
            for (const n of at) {
                bench.forget()
                const end = await restoreOn(bench.runner(), bench.plan())
                expect(end.result).toBe('ok')
                const troubled = new Troubled({ kind: 'crash', at: n })
                const runner = bench.runner(troubled)
                await runner.recover().catch(() => undefined)
                await undoOn(runner, end.change).catch(() => undefined)
                await recover()
                const fresh = bench.runner()
                await fresh.recover()
                // Dead before its begin was durable: it never was, and is asked for again.
                await undoOn(fresh, end.change).catch(error =>
                    expect(String(error)).toContain('undone it already'),
                )
                await expectOld(`undo crashed at ${n} of ${totalUndo} (${troubled.last})`)
            }
            console.log(`crashes of an undo: ${at.length} of ${totalUndo} calls`)
        },
        timeoutMs,
    )

    for (const code of ['ENOSPC', 'EIO'])
        test(
            `${code} at a call: all of it is undone and the change failed`,
            async () => {
                const at = spread(total)
                let met = 0
                for (const n of at) {
                    bench.forget()
                    const trouble: Trouble = { kind: 'fail', at: n, code }
                    const troubled = new Troubled(trouble)
                    const end = await restoreOn(bench.runner(troubled), bench.plan())
                    if (end.result === 'ok') {
                        // A call that may fail, such as one more name for the snapshot, or one of the journal's.
                        await undoOn(bench.runner(), end.change).catch(() => undefined)
                        const fresh = bench.runner()
                        await fresh.recover()
                        await undoOn(fresh, end.change).catch(() => undefined)
                    } else {
                        met++
                        expect([n, end.result, end.left, end.error?.kind]).toEqual([
                            n,
                            'failed',
                            undefined,
                            'failed',
                        ])
                    }
                    await expectOld(`${code} at ${n} of ${total} (${troubled.last})`)
                }
                console.log(`${code}: ${at.length} of ${total} calls, ${met} failed the change`)
                expect(met).toBeGreaterThan(at.length / 3)
            },
            timeoutMs,
        )

    test(
        'a disk that stays full from a call on',
        async () => {
            const at = spread(total)
            const needsRoom = new Set(['create', 'write'])
            for (const n of at) {
                bench.forget()
                const fromThenOn = (call: string) => needsRoom.has(call)
                const troubled = new Troubled({ kind: 'fail', at: n, code: 'ENOSPC', fromThenOn })
                const end = await restoreOn(bench.runner(troubled), bench.plan())
                if (end.result === 'ok') {
                    const fresh = bench.runner()
                    await fresh.recover()
                    await undoOn(fresh, end.change)
                } else expect([n, end.result, end.left]).toEqual([n, 'failed', undefined])
                await expectOld(`full from ${n} of ${total} on (${troubled.last})`)
            }
        },
        timeoutMs,
    )
})
