/** The runner around the tasks: one at a time, cancelling, following, undoing, and going on after a crash. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import type { ChangeEvent, ProgressEvent } from '../../src/engine/change.ts'
import type { Runner } from '../../src/engine/runner.ts'
import { bench } from './orders.ts'

async function collect(events: AsyncIterable<ChangeEvent | ProgressEvent>): Promise<string[]> {
    const lines: string[] = []
    for await (const event of events) {
        if (event.event === 'progress') lines.push(`${event.task} ${event.done}`)
        else if (event.event === 'task') lines.push(`${event.seq} ${event.task} ${event.state}`)
        else if (event.event === 'log') lines.push(`${event.seq} ${event.text}`)
        else lines.push(`${event.seq} ${event.event}`)
    }
    return lines
}

describe('one change at a time', () => {
    test('a second one is told which runs', async () => {
        const { runner, plan } = bench()
        await runner.recover()
        const id = runner.start(plan('t1:hang', { kind: 'backup' }))
        try {
            runner.start(plan('t1', { kind: 'prune' }))
            expect.unreachable()
        } catch (error) {
            expect(error).toMatchObject({
                kind: 'conflict',
                exitStatus: 8,
                message: `cannot start a prune: change ${id} (backup, began 2026-11-20T02:30:00.000Z) is running`,
                facts: { change: id },
            })
        }
        runner.cancel(id, 'root')
        await runner.wait(id)
        expect((await runner.wait(runner.start(plan('t1')))).result).toBe('ok')
    })

    test('none starts before recovery, nor while it waits for the workers', async () => {
        const at = bench()
        await at.runner.recover()
        at.runner.start(at.plan('t1:hang'))
        let release = () => {}
        const gone = new Promise<void>(resolve => (release = resolve))
        const runner = at.restart({ workersGone: () => gone })
        expect(() => runner.start(at.plan('t1'))).toThrow('is not finished')
        const recovered = runner.recover()
        await at.quiet()
        expect(at.calls()).toBe('t1:do')
        expect(runner.unfinished().length).toBe(1)
        release()
        await recovered
        expect(at.calls()).toBe('t1:do t1:undo')
        expect(runner.unfinished()).toEqual([])
        runner.start(at.plan('t1'))
    })

    test('a plan that makes no sense is refused before anything is written', async () => {
        const { runner, plan, store } = bench()
        await runner.recover()
        expect(() => runner.start(plan('t1 t1'))).toThrow('double task id')
        expect(() => runner.start(plan('t1', { pivot: 't2' }))).toThrow('pivot')
        expect(() => runner.start(plan('t1:optional,group=a t2 t3:optional,group=a'))).toThrow(
            'stand together',
        )
        const unknown = { ...plan('t1'), tasks: [{ id: 't1', kind: 'no.such', title: '', params: {} }] }
        expect(() => runner.start(unknown)).toThrow('does not know it')
        expect(store.list()).toEqual([])
    })
})

describe('cancel', () => {
    test('aborts the task at work and undoes', async () => {
        const { runner, plan, calls, quiet } = bench()
        await runner.recover()
        const id = runner.start(plan('t1 t2:hang t3'))
        await quiet()
        runner.cancel(id, 'root@pts/0')
        const end = await runner.wait(id)
        expect([end.result, end.error?.kind]).toEqual(['cancelled', 'refused'])
        expect(calls()).toBe('t1:do t2:do t2:undo t1:undo')
        expect(() => runner.cancel(id, 'root')).toThrow('is not running')
    })

    test('behind the pivot it keeps what is done and says what is not', async () => {
        const { runner, plan, calls, quiet } = bench()
        await runner.recover()
        const id = runner.start(plan('t1:pivot t2:hang,optional t3:optional'))
        await quiet()
        runner.cancel(id, 'root')
        const end = await runner.wait(id)
        expect(end.result).toBe('cancelled')
        expect(end.error?.message).toContain('not done: step t3')
        expect(calls()).toBe('t1:do t2:do t2:undo')
    })

    test('survives a crash in the middle of it', async () => {
        const at = bench()
        await at.runner.recover()
        at.sim.inject({ at: 1_000, what: 'crash' })
        const id = at.runner.start(at.plan('t1 t2:hang', { recovery: 'resume' }))
        await at.quiet()
        // The record of the cancel takes two calls; the next one is not to succeed.
        at.sim.inject({ at: 3, what: 'crash' })
        at.runner.cancel(id, 'root')
        await at.quiet()
        const ends = await at.restart().recover()
        expect(ends.map(end => end.result)).toEqual(['cancelled'])
        expect(at.calls()).toBe('t1:do t2:do t2:undo t1:undo')
    })
})

describe('recovery', () => {
    const crashIn = async (setup: string, more: object = {}) => {
        const at = bench()
        await at.runner.recover()
        const id = at.runner.start(at.plan(setup, more))
        await at.quiet()
        return { at, id, ends: await at.restart().recover() }
    }

    test('takes back by default', async () => {
        const { at, id, ends } = await crashIn('t1 t2:hang')
        expect(at.calls()).toBe('t1:do t2:do t2:undo t1:undo')
        expect(ends).toMatchObject([{ result: 'failed', change: id, error: { kind: 'failed' } }])
        const lines = await collect(at.runner.events(id))
        expect(lines).toContain('5 recovery')
        expect(lines.at(-1)).toBe('11 end')
    })

    for (const [setup, more, calls] of [
        ['t1 t2:hang t3', { recovery: 'resume' }, 't1:do t2:do t2:do t2:undo t1:undo'],
        ['t1:pivot t2:hang,optional t3', {}, 't1:do t2:do t2:do t2:undo'],
    ] as const)
        test(`goes on with ${setup} when ${Object.keys(more)[0] ?? 'it is behind the pivot'}`, async () => {
            const at = bench()
            await at.runner.recover()
            const id = at.runner.start(at.plan(setup, more))
            await at.quiet()
            const runner = at.restart()
            const recovered = runner.recover()
            await at.quiet()
            expect(at.calls()).toBe('t1:do t2:do t2:do')
            expect(runner.unfinished().map(change => change.id)).toEqual([id])
            runner.cancel(id, 'root')
            expect((await recovered).map(end => end.result)).toEqual(['cancelled'])
            expect(at.calls()).toBe(calls)
        })

    test('does not try an undo again that later tasks have built upon', async () => {
        const at = bench()
        await at.runner.recover()
        at.runner.start(at.plan('t1:pivot t2:optional,do-error,undo-error t3:hang'))
        await at.quiet()
        at.restart().recover()
        await at.quiet()
        expect(at.calls()).toBe('t1:do t2:do-error t2:undo-error t3:do t3:do')
    })

    test('a restart of a change that was told to end finds nothing to do', async () => {
        const at = bench()
        await at.runner.recover()
        await at.runner.wait(at.runner.start(at.plan('t1')))
        expect(await at.restart().recover()).toEqual([])
    })

    test('a change that never began leaves nothing', async () => {
        const at = bench()
        await at.runner.recover()
        at.sim.inject({ at: 4, what: 'crash' })
        expect(() => at.runner.start(at.plan('t1'))).toThrow('cannot start a test')
        await at.restart().recover()
        expect([...at.sim.tree().keys()]).toEqual([])
    })

    test('a task of a kind that is gone is reported, and the others are undone', async () => {
        const at = bench()
        const kind = 'test.old'
        at.kinds.register({ kind, do: async () => undefined, undo: async () => {} })
        await at.runner.recover()
        const { tasks } = at.plan('t1 t2 t3:hang')
        tasks[1]!.kind = kind
        at.runner.start({ ...at.plan('t1'), tasks })
        await at.quiet()
        const newer = bench().kinds
        const [end] = await at.restart({ kinds: newer }).recover()
        expect(end).toMatchObject({ result: 'failed', error: { kind: 'stuck' } })
        expect(end?.left?.[0]).toContain('step t2: cannot run a task of kind test.old')
        expect(at.calls()).toBe('t1:do t3:do')
    })
})

describe('followers', () => {
    test('see the past and then what comes, from any number on, each at its own pace', async () => {
        const { runner, plan, quiet } = bench()
        await runner.recover()
        const id = runner.start(plan('t1:warn t2:hang'))
        await quiet()
        const early = collect(runner.events(id))
        const late = collect(runner.events(id, 4))
        await quiet()
        runner.cancel(id, 'root')
        const all = [
            '1 begin',
            '2 t1 doing',
            '3 t1 is odd',
            '4 t1 done',
            '5 t2 doing',
            '6 cancelled by root',
            '7 t2 failed',
            '8 taking back what was done',
            '9 t2 undoing',
            '10 t2 undone',
            '11 t1 undoing',
            '12 t1 undone',
            '13 end',
        ]
        expect(await early).toEqual(all)
        expect(await late).toEqual(all.slice(4))
        expect(await collect(runner.events(id, 12))).toEqual(['13 end'])
    })

    test('log lines are shown once they are durable, soon even when nothing else happens', async () => {
        const { runner, plan, quiet, clock, kinds } = bench()
        kinds.register({
            kind: 'test.talk',
            async do(_, context) {
                context.log('hello')
                await new Promise((_, reject) => context.signal.addEventListener('abort', reject))
            },
            async undo() {},
        })
        await runner.recover()
        const id = runner.start({
            ...plan('t1'),
            tasks: [{ id: 't1', kind: 'test.talk', title: '', params: {} }],
        })
        const lines: string[] = []
        const following = (async () => {
            for await (const event of runner.events(id, 2)) if (event.event === 'log') lines.push(event.text)
        })()
        await quiet()
        expect(lines).toEqual([])
        clock.advance(250)
        await quiet()
        expect(lines).toEqual(['hello'])
        runner.cancel(id, 'root')
        await following
    })

    test('get only the newest progress, and may leave while nothing happens', async () => {
        const { runner, plan, quiet, kinds } = bench()
        const steps: ((done: number) => void)[] = []
        kinds.register({
            kind: 'test.count',
            async do(_, context) {
                steps.push(done => context.progress({ done, unit: 'bytes' }))
                await new Promise((_, reject) => context.signal.addEventListener('abort', reject))
            },
            async undo() {},
        })
        await runner.recover()
        const id = runner.start({
            ...plan('t1'),
            tasks: [{ id: 't1', kind: 'test.count', title: '', params: {} }],
        })
        const events = runner.events(id, 2)
        const first = events.next()
        await quiet()
        for (let done = 1; done <= 1000; done++) steps[0]!(done)
        expect((await first).value).toMatchObject({ event: 'progress', done: 1000 })
        const next = events.next()
        await events.return!()
        expect((await next).done).toBe(true)
        runner.cancel(id, 'root')
        await runner.wait(id)
    })
})

describe('undo of a finished change', () => {
    const material = async () => {
        const at = bench()
        const undone: unknown[] = []
        at.kinds.register({
            kind: 'test.keep',
            async do(params, context) {
                at.sim.disk.replace(`${context.dir}/copy`, Buffer.from('as it was'), 0o600)
                context.remember({ before: params })
                return 'done'
            },
            async undo(_, context) {
                const copy = Buffer.from(at.sim.disk.read(`${context.dir}/copy`)!).toString()
                undone.push([context.remembered(), copy, context.results.get('t1') ?? null])
            },
        })
        await at.runner.recover()
        const tasks = ['t1', 't2'].map(id => ({ id, kind: 'test.keep', title: id, params: id }))
        const id = at.runner.start({ kind: 'restore', summary: 'of abc', by: 'root', tasks })
        await at.runner.wait(id)
        return { at, id, undone }
    }

    test('runs the undos in reverse with what was remembered, also after a restart', async () => {
        const { at, id, undone } = await material()
        const runner = at.restart()
        await runner.recover()
        const undo = runner.undo(id, 'root')
        expect(await runner.wait(undo)).toMatchObject({ result: 'ok', undoes: id })
        expect(undone).toEqual([
            [{ before: 't2' }, 'as it was', 'done'],
            [{ before: 't1' }, 'as it was', 'done'],
        ])
        expect(() => runner.undo(id, 'root')).toThrow(`${undo} has undone it already`)
        expect(() => runner.undo(undo, 'root')).toThrow('it is itself an undo')
    })

    test('a crash in the middle of it is finished by the next start', async () => {
        const { at, id, undone } = await material()
        const calls = at.sim
        calls.inject({ at: 8, what: 'crash' })
        try {
            at.runner.undo(id, 'root')
        } catch {
            // The crash may hit the start itself.
        }
        await at.quiet()
        const [end] = await at.restart().recover()
        expect(end).toMatchObject({ result: 'ok', undoes: id })
        expect(undone.at(-1)).toEqual([{ before: 't1' }, 'as it was', 'done'])
    })

    test('that nobody confirmed is rolled back, leaves nothing half, and may be tried again', async () => {
        const at = bench()
        let confirmed = false
        at.kinds.register({
            kind: 'test.guarded',
            do: async () => 'done',
            async undo() {
                if (!confirmed) throw new Fault('rolled-back', 'cannot keep it: nobody confirmed')
            },
        })
        await at.runner.recover()
        const tasks = [{ id: 't1', kind: 'test.guarded', title: 'network', params: null }]
        const id = at.runner.start({ kind: 'restore', summary: 'of abc', by: 'root', tasks })
        await at.runner.wait(id)
        const fired = await at.runner.wait(at.runner.undo(id, 'root'))
        expect(fired).toMatchObject({ result: 'rolled-back', error: { kind: 'rolled-back' } })
        expect(fired.left).toBeUndefined()
        confirmed = true
        expect(await at.runner.wait(at.runner.undo(id, 'root'))).toMatchObject({ result: 'ok' })
    })

    test('says what cannot be undone', async () => {
        const { runner, plan } = bench()
        await runner.recover()
        const id = runner.start(plan('t1:irreversible'))
        await runner.wait(id)
        expect(() => runner.planUndo(id, 'root')).toThrow('cannot be taken back')
        const failed = runner.start(plan('t1:do-error'))
        await runner.wait(failed)
        expect(() => runner.planUndo(failed, 'root')).toThrow('left nothing to undo')
        expect(() => runner.planUndo('20000101-000000-0000', 'root')).toThrow('there is none of that id')
    })

    test('of one that could not be fully undone tries the rest again', async () => {
        const { runner, plan, calls } = bench()
        await runner.recover()
        const id = runner.start(plan('t1 t2:undo-error t3:do-error'))
        expect((await runner.wait(id)).error?.kind).toBe('stuck')
        const undo = runner.undo(id, 'root')
        expect((await runner.wait(undo)).error?.kind).toBe('stuck')
        expect(calls()).toEndWith('t2:undo-error t1:undo t2:undo-error t1:undo')
    })
})

describe('the stop of the daemon', () => {
    test('cancels what would be taken back anyway', async () => {
        const { runner, plan, quiet } = bench()
        await runner.recover()
        const id = runner.start(plan('t1 t2:hang'))
        await quiet()
        await runner.stop()
        expect((await runner.wait(id)).result).toBe('cancelled')
    })

    test('leaves what goes forward to the next start', async () => {
        const at = bench()
        await at.runner.recover()
        const id = at.runner.start(at.plan('t1:pivot t2:hang,optional'))
        await at.quiet()
        const waiting = at.runner.wait(id)
        waiting.catch(() => {})
        const following = collect(at.runner.events(id))
        await at.runner.stop()
        expect(await following).toEqual(['1 begin', '2 t1 doing', '3 t1 done', '4 t2 doing'])
        expect(waiting).rejects.toThrow('it is not finished')
        expect(at.calls()).toBe('t1:do t2:do')
        const runner: Runner = at.restart()
        const recovered = runner.recover()
        await at.quiet()
        expect(at.calls()).toBe('t1:do t2:do t2:do')
        runner.cancel(id, 'root')
        await recovered
    })
})

describe('a disk that fails', () => {
    test('when it is full the change is undone, and the story is written once there is room', async () => {
        const at = bench()
        await at.runner.recover()
        const id = at.runner.start(at.plan('t1 t2:hang'))
        await at.quiet()
        at.sim.inject({ at: 1, what: 'ENOSPC', forGood: true })
        expect(() => at.runner.cancel(id, 'root')).toThrow('ENOSPC')
        at.sim.inject(undefined)
        at.runner.cancel(id, 'root')
        at.sim.inject({ at: 1, what: 'ENOSPC', forGood: true })
        const end = await at.runner.wait(id)
        expect(end.result).toBe('cancelled')
        expect(at.calls()).toBe('t1:do t2:do t2:undo t1:undo')
        expect(() => at.runner.start(at.plan('t1'))).toThrow('is not finished')
        at.sim.inject(undefined)
        expect((await at.runner.wait(at.runner.start(at.plan('t1')))).result).toBe('ok')
        expect(at.store.summary(id)).toMatchObject({ state: 'done', result: 'cancelled' })
    })

    for (const [name, setup, more, before, after] of [
        [
            'a change behind its pivot is not told to be over',
            't1:pivot t2:fails-later t3',
            {},
            't1:do t2:do t2:undo',
            't1:do t2:do t2:undo t2:do t3:do',
        ],
        [
            'a group is not undone that the next start would go on with',
            't1:optional,group=g t2:optional,group=g,fails-later t3',
            { recovery: 'resume' as const },
            't1:do t2:do',
            't1:do t2:do t2:do t3:do',
        ],
    ] as const)
        test(`when nothing can be journaled any more, ${name}`, async () => {
            const at = bench()
            await at.runner.recover()
            const id = at.runner.start(at.plan(setup, more))
            await at.quiet()
            at.sim.inject({ at: 1, what: 'ENOSPC', forGood: true })
            at.failLater()
            expect(await at.runner.wait(id)).toMatchObject({ result: 'failed', error: { kind: 'stuck' } })
            expect(at.calls()).toBe(before)
            at.sim.inject(undefined)
            expect(() => at.runner.start(at.plan('t1'))).toThrow('is not finished')
            await at.runner.recover()
            expect(at.calls()).toBe(after)
            expect(at.store.summary(id)).toMatchObject({ state: 'done', result: 'ok' })
        })
})
