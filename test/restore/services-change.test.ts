/** Services within a whole change: whatever fails or dies in between, what ran before runs afterwards, and nothing else. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import type { PlannedTask } from '../../src/engine/change.ts'
import { servicesStart, servicesStop } from '../../src/restore/services.ts'
import { bench } from '../engine/orders.ts'
import { drive, SimSystemd, type SimUnit } from '../sim/systemd.ts'

const units = ['a.service', 'b.service', 'c.service']

function lab(states: Record<string, SimUnit> = {}) {
    const made = bench()
    const systemd = new SimSystemd(made.clock, {
        'a.service': { active: 'active' },
        'b.service': { active: 'inactive' },
        'c.service': { active: 'active' },
        ...states,
    })
    const host = { systemd, clock: made.clock }
    const written: string[] = []
    let hang: (() => void) | undefined
    let mode: 'well' | 'fails' | 'hangs' = 'well'
    made.kinds
        .register(servicesStop(host))
        .register(servicesStart(host))
        .register({
            kind: 'test.write',
            async do() {
                written.push(systemd.activeUnits().join())
                if (mode === 'fails') throw new Fault('failed', 'cannot write: no')
                if (mode === 'hangs')
                    await new Promise<void>(resolve => {
                        hang = resolve
                    })
                return undefined
            },
            async undo() {
                written.push(`undo ${systemd.activeUnits().join()}`)
            },
        })
    const tasks: PlannedTask[] = [
        { id: 'stop', kind: 'services.stop', title: 'stop', params: { units } },
        { id: 'write', kind: 'test.write', title: 'write', params: {} },
        { id: 'start', kind: 'services.start', title: 'start', params: { stop: 'stop' } },
    ]
    const plan = { kind: 'restore', summary: 'x', by: 'root', tasks }
    return {
        ...made,
        bench: made,
        systemd,
        written,
        plan,
        become: (next: typeof mode) => {
            mode = next
        },
        hangs: () => hang !== undefined,
        run: async () => {
            await drive(made.clock, made.runner.recover())
            const id = made.runner.start(plan)
            await drive(
                made.clock,
                until(() => made.runner.running() === undefined),
            )
            return made.store.list().find(change => change.id === id)!
        },
    }
}

async function until(condition: () => boolean): Promise<void> {
    for (let turn = 0; turn < 200_000 && !condition(); turn++)
        await new Promise(resolve => setImmediate(resolve))
    expect(condition()).toBe(true)
}

describe('a change with services', () => {
    test('writes while they are down, and ends with those up that were', async () => {
        const { run, systemd, written } = lab()
        expect((await run()).result).toBe('ok')
        expect(written).toEqual([''])
        expect(systemd.activeUnits()).toEqual(['a.service', 'c.service'])
    })

    test('a write that fails: the old files first, then the services', async () => {
        const { run, systemd, written, become } = lab()
        become('fails')
        expect((await run()).result).toBe('failed')
        expect(written).toEqual(['', 'undo '])
        expect(systemd.activeUnits()).toEqual(['a.service', 'c.service'])
    })

    test('a service that does not stop: nothing is written, the others run again', async () => {
        const stuck = { active: 'active', stopMs: Number.POSITIVE_INFINITY, diesOf: 'nothing' as const }
        const { run, systemd, written } = lab({ 'c.service': stuck })
        const end = await run()
        expect(end.result).toBe('failed')
        expect(end.error?.message).toContain('c.service does not stop')
        expect(written).toEqual([])
        expect(systemd.activeUnits()).toEqual(['a.service', 'c.service'])
    })

    test('a service that does not like the new files: they are taken back while it is down', async () => {
        const { run, systemd, written } = lab({ 'c.service': { active: 'active', startFails: 3 } })
        const end = await run()
        expect(end.result).toBe('failed')
        expect(end.error?.message).toContain('cannot start c.service')
        expect(written).toEqual(['', 'undo '])
        expect(systemd.activeUnits()).toEqual(['a.service', 'c.service'])
    })

    test('the daemon dies while they are down: the next one starts them again', async () => {
        const { bench, clock, systemd, written, plan, become, hangs } = lab()
        become('hangs')
        await drive(clock, bench.runner.recover())
        bench.runner.start(plan)
        await drive(clock, until(hangs))
        expect(systemd.activeUnits()).toEqual([])
        const next = bench.restart()
        const ends = await drive(clock, next.recover())
        expect(ends.map(({ result }) => result)).toEqual(['failed'])
        expect(written).toEqual(['', 'undo '])
        expect(systemd.activeUnits()).toEqual(['a.service', 'c.service'])
    })
})
