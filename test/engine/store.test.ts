/** The store: finding changes, listing them quickly, and what is kept for how long. */
import { describe, expect, test } from 'bun:test'
import { Store } from '../../src/engine/store.ts'
import { bench } from './orders.ts'

const day = 24 * 3600 * 1000

async function withChanges(count: number, setup = 't1', apartMs = 1000) {
    const at = bench()
    await at.runner.recover()
    const ids: string[] = []
    for (let number = 0; number < count; number++) {
        const id = at.runner.start(at.plan(setup))
        await at.runner.wait(id)
        at.store.remember(id, 't1', { number })
        at.clock.advance(apartMs)
        ids.push(id)
    }
    return { at, ids }
}

describe('store', () => {
    test('lists newest first, also within one second, and the same after a restart', async () => {
        const { at, ids } = await withChanges(5, 't1', 3)
        expect(at.store.list().map(change => change.id)).toEqual(ids.toReversed())
        const again = new Store(at.sim.disk, '/state')
        expect(again.list()).toEqual(at.store.list())
        expect(again.find('latest')).toBe(ids.at(-1)!)
    })

    test('finds by a unique beginning and says what else it could be', async () => {
        const { at, ids } = await withChanges(2)
        expect(at.store.find(ids[0]!)).toBe(ids[0]!)
        expect(at.store.find(ids[1]!.slice(0, -2))).toBe(ids[1]!)
        expect(() => at.store.find('20261120')).toThrow('begins 2 of them')
        expect(() => at.store.find('1999')).toThrow('there is none')
        expect(() => at.store.find('../../etc')).toThrow('there is none')
        expect(() => bench().store.find('latest')).toThrow('there is none yet')
    })

    test('reads one small file for a change that ended', async () => {
        const { at, ids } = await withChanges(3)
        for (const id of ids) at.sim.disk.remove(`/state/changes/${id}/journal`)
        expect(new Store(at.sim.disk, '/state').list().map(change => change.result)).toEqual([
            'ok',
            'ok',
            'ok',
        ])
    })

    test('reads the journal when the small file is missing or damaged', async () => {
        const { at, ids } = await withChanges(2)
        const before = at.store.list()
        at.sim.disk.remove(`/state/changes/${ids[0]}/summary`)
        at.sim.putBytes(`/state/changes/${ids[1]}/summary`, Buffer.from('{"id'))
        expect(new Store(at.sim.disk, '/state').list()).toEqual(before)
    })

    test('shows a change whose journal is damaged', async () => {
        const { at, ids } = await withChanges(1)
        at.sim.disk.remove(`/state/changes/${ids[0]}/summary`)
        at.sim.putBytes(`/state/changes/${ids[0]}/journal`, Buffer.from('damage'))
        const runner = at.restart()
        await runner.recover()
        expect(at.store.list()).toMatchObject([{ id: ids[0]!, result: 'failed', error: { kind: 'damaged' } }])
    })

    test('keeps undo material for the newest ten, or thirty days, or as long as it is held', async () => {
        const { at, ids } = await withChanges(12)
        const kept = () => ids.filter(id => at.store.hasMaterial(id)).length
        at.store.prune(at.clock.nowMs())
        expect(kept()).toBe(12)
        const held = new Store(at.sim.disk, '/state', id => id === ids[0])
        held.prune(at.clock.nowMs() + 31 * day)
        expect(kept()).toBe(11)
        at.store.prune(at.clock.nowMs() + 31 * day)
        expect(kept()).toBe(10)
        expect(at.store.remembered(ids[0]!, 't1')).toBeUndefined()
        expect(at.store.remembered(ids[11]!, 't1')).toEqual({ number: 11 })
    })

    test('an undo whose material was dropped is refused', async () => {
        const at = bench()
        at.kinds.register({
            kind: 'test.keep',
            async do(_, context) {
                context.remember('before')
                return null
            },
            async undo() {},
        })
        await at.runner.recover()
        const tasks = [{ id: 't1', kind: 'test.keep', title: '', params: {} }]
        const id = at.runner.start({ kind: 'restore', summary: '', by: 'root', tasks })
        await at.runner.wait(id)
        for (let number = 0; number < 10; number++) {
            at.clock.advance(1000)
            await at.runner.wait(at.runner.start(at.plan('t1')))
        }
        at.store.prune(at.clock.nowMs() + 31 * day)
        expect(() => at.runner.planUndo(id, 'root')).toThrow('was dropped')
    })

    test('never drops the material of a failed change, nor a change that left something', async () => {
        const { at, ids } = await withChanges(12, 't1:undo-error t2:do-error')
        at.store.prune(at.clock.nowMs() + 400 * day)
        expect(ids.filter(id => at.store.hasMaterial(id)).length).toBe(12)
    })

    test('a crash while dropping leaves nothing that looks like material', async () => {
        for (let call = 1; call <= 6; call++) {
            const { at, ids } = await withChanges(11)
            at.sim.inject({ at: call, what: 'crash' })
            try {
                at.store.prune(at.clock.nowMs() + 31 * day)
            } catch {
                // That is the crash.
            }
            at.sim.losePower()
            const store = new Store(at.sim.disk, '/state')
            const remembered = store.remembered(ids[0]!, 't1')
            expect(store.hasMaterial(ids[0]!) ? remembered : { number: 0 }).toEqual({ number: 0 })
            store.prune(at.clock.nowMs() + 31 * day)
            expect(
                [...at.sim.tree(`/state/changes/${ids[0]}`).keys()].map(path => path.split('/').at(-1)),
            ).toEqual(['journal', 'summary'])
        }
    })

    test('keeps the newest 500 changes, and not one more that nothing can undo', async () => {
        const { at, ids } = await withChanges(505, 't1', 1000)
        for (const id of ids.slice(0, 5)) at.sim.disk.removeTree(`/state/changes/${id}/undo`)
        at.store.prune(at.clock.nowMs())
        const list = at.store.list()
        expect(list.length).toBe(500)
        expect(list.at(-1)?.id).toBe(ids[5]!)
        expect(at.sim.tree(`/state/changes/${ids[0]}`).size).toBe(0)
    })

    describe('is told how long', () => {
        const materialOf = (at: Awaited<ReturnType<typeof withChanges>>['at'], ids: string[]) =>
            ids.map(id => at.store.hasMaterial(id))

        test('undo material is kept: no shorter, and no longer', async () => {
            const { at, ids } = await withChanges(12)
            const later = (days: number) => at.clock.nowMs() + days * day
            at.store.prune(later(80), { keep: 500, undoMs: 90 * day })
            expect(materialOf(at, ids).filter(Boolean)).toHaveLength(12)
            at.store.prune(later(2), { keep: 500, undoMs: day })
            expect(materialOf(at, ids)).toEqual([false, false, ...Array(10).fill(true)])
            expect(at.store.list()).toHaveLength(12)
        })

        test('changes are kept: so many, the newest, and beyond them those that can still be undone', async () => {
            const { at, ids } = await withChanges(15)
            at.store.prune(at.clock.nowMs() + 2 * day, { keep: 12, undoMs: 3 * day })
            expect(at.store.list().map(({ id }) => id)).toEqual(ids.toReversed())
            at.store.prune(at.clock.nowMs() + 2 * day, { keep: 12, undoMs: day })
            expect(at.store.list().map(({ id }) => id)).toEqual(ids.slice(3).toReversed())
        })

        test('the newest ten stay as they are, whatever it is', async () => {
            const { at, ids } = await withChanges(12)
            at.store.prune(at.clock.nowMs() + 400 * day, { keep: 1, undoMs: 1 })
            expect(at.store.list().map(({ id }) => id)).toEqual(ids.slice(2).toReversed())
            expect(materialOf(at, ids.slice(2)).every(Boolean)).toBe(true)
        })

        const least = { keep: 10, undoMs: day }
        async function one(setup: string) {
            const { at, ids } = await withChanges(1, setup)
            at.store.remember(ids[0]!, 't1', 'kept')
            return { at, id: ids[0]! }
        }
        type One = Awaited<ReturnType<typeof one>>
        /** Twelve changes behind it, then a year. */
        async function aYearLater({ at }: One, store = at.store) {
            for (let number = 0; number < 12; number++) {
                at.clock.advance(1000)
                await at.runner.wait(at.runner.start(at.plan('t1')))
            }
            store.prune(at.clock.nowMs() + 365 * day, least)
        }
        const kept = ({ at, id }: One) => [
            at.store.list().some(change => change.id === id),
            at.store.remembered(id, 't1'),
        ]

        test('one that went well goes with all it had', async () => {
            const old = await one('t1')
            await aYearLater(old)
            expect(kept(old)).toEqual([false, undefined])
        })

        test.each([
            ['failed, and was undone', 't1 t2:do-error', undefined],
            ['failed, and left something', 't1:undo-error t2:do-error', 1],
            ['went well but for what it left', 't1 t2:optional,do-error,undo-error', 1],
        ])('one that %s never goes', async (_, setup, left) => {
            const old = await one(setup)
            const { result, left: really } = old.at.store.summary(old.id)
            expect([result, really?.length]).toEqual([
                setup.includes('optional') ? 'warning' : 'failed',
                left,
            ])
            await aYearLater(old)
            expect(kept(old)).toEqual([true, 'kept'])
        })

        test('one whose guard is armed stays until it is not', async () => {
            const old = await one('t1')
            // The store of this runner knows of no guard: it is told to drop nothing.
            await old.at.restart({ history: () => undefined }).recover()
            await aYearLater(old, new Store(old.at.sim.disk, '/state', id => id === old.id))
            expect(kept(old)).toEqual([true, 'kept'])
            old.at.store.prune(old.at.clock.nowMs() + 365 * day, least)
            expect(kept(old)).toEqual([false, undefined])
        })

        test('one that is not finished stays, and so does the one that it undoes', async () => {
            const { at, ids } = await withChanges(1, 't1:undo-error')
            const failed = at.runner.undo(ids[0]!, 'root')
            expect((await at.runner.wait(failed)).result).toBe('failed')
            at.kinds.register({ kind: 'test.stuck', do: async () => null, undo: () => new Promise(() => {}) })
            const tasks = [{ id: 't1', kind: 'test.stuck', title: '', params: {} }]
            const other = at.runner.start(at.plan('t1', { tasks }))
            await at.runner.wait(other)
            const interrupted = at.runner.undo(other, 'root')
            await at.quiet()
            at.restart()
            const needed = [ids[0]!, other, interrupted]
            for (const id of needed) at.store.remember(id, 't1', 'kept')
            const after = at.clock.nowMs() + 365 * day
            for (let number = 0; number < 12; number++) copyOf(at, ids[0]!, number)
            at.store.prune(after, least)
            const there = at.store.list().map(({ id }) => id)
            expect(there).toContain(failed)
            for (const id of needed)
                expect([id, there.includes(id), at.store.remembered(id, 't1')]).toEqual([id, true, 'kept'])
            expect(there).toHaveLength(10 + 4)
        })

        /** A change of another second that ended as that one did. */
        function copyOf({ sim }: Awaited<ReturnType<typeof withChanges>>['at'], id: string, number: number) {
            const other = `20270101-0000${String(number).padStart(2, '0')}-0000`
            sim.disk.mkdir(`/state/changes/${other}`, 0o700)
            const summary = Buffer.from(sim.disk.read(`/state/changes/${id}/summary`)!).toString()
            const moved = { ...JSON.parse(summary), id: other, began: `2027-01-01T00:00:${number + 10}.000Z` }
            sim.disk.replace(`/state/changes/${other}/summary`, Buffer.from(JSON.stringify(moved)), 0o600)
        }
    })

    test('the rule is asked behind each change, and while it is not known nothing goes', async () => {
        let rule: { keep: number; undoMs: number } | undefined
        const { at, ids } = await withChanges(14, 't1', 2 * day)
        at.restart({ history: () => rule })
        await at.runner.recover()
        at.clock.advance(40 * day)
        const another = () => at.runner.wait(at.runner.start(at.plan('t1')))
        const has = () => ids.filter(id => at.store.hasMaterial(id)).length
        await another()
        expect(has()).toBe(14)
        rule = { keep: 500, undoMs: 61 * day }
        await another()
        expect(has()).toBe(10)
        rule = { keep: 10, undoMs: day }
        await another()
        expect([has(), at.store.list().length]).toEqual([7, 10])
    })
})
