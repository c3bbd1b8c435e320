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

    test('keeps the newest 500 changes', async () => {
        const { at, ids } = await withChanges(505, 't1', 1000)
        const list = at.store.list()
        expect(list.length).toBe(500)
        expect(list.at(-1)?.id).toBe(ids[5]!)
        expect(at.sim.tree(`/state/changes/${ids[0]}`).size).toBe(0)
    })
})
