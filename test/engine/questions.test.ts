/** Questions: who may answer them, when their time is up, and that a restart goes on asking. */
import { describe, expect, test } from 'bun:test'
import type { ChangeEvent, Question } from '../../src/engine/change.ts'
import type { StartOptions } from '../../src/engine/runner.ts'
import { bench } from './orders.ts'

const yesNo = [
    { value: 'yes', text: 'yes' },
    { value: 'no', text: 'no' },
]
const confirm: Question = { id: 'confirm', text: 'Really?', choices: yesNo, safe: 'no' }
const commit: Question = {
    id: 'network.commit',
    text: 'Keep it?',
    choices: yesNo,
    safe: 'no',
    timeoutMs: 180_000,
}
const passphrase: Question = {
    id: 'decrypt.passphrase',
    text: 'Passphrase?',
    choices: [],
    safe: '',
    secret: true,
}

async function asking(
    question: Question,
    options: StartOptions = {},
    admit?: (value: string, by: string) => void,
) {
    const at = bench()
    const answers: string[] = []
    at.kinds.register({
        kind: 'test.ask',
        async do(_, context) {
            const answer = await context.ask(question, admit)
            answers.push(answer)
            return null
        },
        async undo() {
            answers.push('undone')
        },
    })
    await at.runner.recover()
    const tasks = [{ id: 't1', kind: 'test.ask', title: 'ask', params: {} }]
    const id = at.runner.start({ kind: 'test', summary: 'asks', by: 'root', tasks }, options)
    await at.quiet()
    const journaled = () => {
        const events: ChangeEvent[] = []
        const reader = at.store.reader(id)
        for (let next = reader.next(); next; next = reader.next())
            events.push((next as { event: ChangeEvent }).event)
        return events
    }
    return { at, id, answers, journaled }
}

describe('questions', () => {
    test('wait for a person, whose answer is journaled before it counts', async () => {
        const { at, id, answers, journaled } = await asking(confirm, { interactive: true })
        expect(at.runner.running()?.questions.map(question => question.id)).toEqual(['confirm'])
        at.clock.advance(24 * 3600 * 1000)
        await at.quiet()
        expect(answers).toEqual([])
        at.runner.answer(id, 'confirm', 'yes', 'root@pts/1')
        expect(journaled().at(-1)).toMatchObject({
            event: 'answer',
            id: 'confirm',
            value: 'yes',
            by: 'root@pts/1',
        })
        expect((await at.runner.wait(id)).result).toBe('ok')
        expect(answers).toEqual(['yes'])
    })

    test('take their safe default at once when nobody is there', async () => {
        const { at, id, answers } = await asking(confirm)
        expect((await at.runner.wait(id)).result).toBe('ok')
        expect(answers).toEqual(['no'])
    })

    test('take their safe default at the deadline, by the clock that nobody can set', async () => {
        const { at, id, answers } = await asking({ ...confirm, timeoutMs: 90_000 }, { interactive: true })
        at.clock.wall += 3600_000
        at.clock.advance(89_000)
        await at.quiet()
        expect(answers).toEqual([])
        at.clock.advance(1_000)
        await at.runner.wait(id)
        expect(answers).toEqual(['no'])
    })

    test('are answered ahead, but for a commit', async () => {
        const { at, id, answers } = await asking(confirm, { answers: { confirm: 'yes' } })
        await at.runner.wait(id)
        expect(answers).toEqual(['yes'])
        const plan = at.plan('t1')
        expect(() => at.runner.start(plan, { answers: { 'network.commit': 'yes' } })).toThrow(
            'cannot answer network.commit ahead',
        )
    })

    test('refuse what is no choice, whether it comes ahead or live', async () => {
        const ahead = await asking(confirm, { answers: { confirm: 'perhaps' } })
        expect((await ahead.at.runner.wait(ahead.id)).error).toMatchObject({ kind: 'usage' })
        const { at, id } = await asking(confirm, { interactive: true })
        expect(() => at.runner.answer(id, 'confirm', 'perhaps', 'root')).toThrow('it is not a choice')
        expect(() => at.runner.answer(id, 'mode', 'full', 'root')).toThrow('does not ask that now')
        at.runner.answer(id, 'confirm', 'no', 'root')
        await at.runner.wait(id)
    })

    test('may be closed to some who answer, and stay open for others', async () => {
        const { at, id, answers } = await asking(confirm, { interactive: true }, (_, by) => {
            if (by !== 'console') throw new Error('cannot take that answer: not from there')
        })
        expect(() => at.runner.answer(id, 'confirm', 'yes', 'old connection')).toThrow('not from there')
        at.runner.answer(id, 'confirm', 'yes', 'console')
        await at.runner.wait(id)
        expect(answers).toEqual(['yes'])
    })

    test('a secret reaches the task and never the disk', async () => {
        const { at, id, answers } = await asking(passphrase, { interactive: true })
        at.runner.answer(id, 'decrypt.passphrase', 'open sesame', 'root')
        await at.runner.wait(id)
        expect(answers).toEqual(['open sesame'])
        expect([...at.sim.tree().values()].join()).not.toContain('sesame')
    })

    test('a cancel ends the waiting', async () => {
        const { at, id, answers } = await asking(confirm, { interactive: true })
        at.runner.cancel(id, 'root')
        const end = await at.runner.wait(id)
        expect([end.result, end.error?.kind]).toEqual(['cancelled', 'refused'])
        expect(answers).toEqual(['undone'])
    })
})

describe('a commit', () => {
    test('waits out its window when nobody is there', async () => {
        const { at, id, answers } = await asking(commit)
        at.clock.advance(179_000)
        await at.quiet()
        expect(answers).toEqual([])
        at.clock.advance(1_000)
        await at.runner.wait(id)
        expect(answers).toEqual(['no'])
    })

    test('is taken up again by the next process with the time it had left', async () => {
        const { at, id, answers } = await asking(commit)
        at.clock.advance(100_000)
        const runner = at.restart()
        const recovered = runner.recover()
        await at.quiet()
        expect(runner.running()?.questions).toMatchObject([
            { id: 'network.commit', deadlineMs: Date.parse('2026-11-20T02:33:00Z') },
        ])
        at.clock.advance(79_000)
        await at.quiet()
        expect(answers).toEqual([])
        at.clock.advance(1_000)
        expect((await recovered).map(end => end.result)).toEqual(['ok'])
        expect(answers).toEqual(['no'])
        expect(runner.unfinished()).toEqual([])
        expect(id).toBeDefined()
    })

    test('can be answered after the restart', async () => {
        const { at, id, answers } = await asking(commit)
        const runner = at.restart()
        const recovered = runner.recover()
        await at.quiet()
        runner.answer(id, 'network.commit', 'yes', 'root')
        await recovered
        expect(answers).toEqual(['yes'])
    })

    test('that was answered before the crash is not asked again', async () => {
        const { at, id, answers, journaled } = await asking(commit)
        at.sim.inject({ at: 3, what: 'crash' })
        at.runner.answer(id, 'network.commit', 'yes', 'root')
        await at.quiet()
        expect(at.sim.dead).toBe(true)
        await at.restart().recover()
        expect(answers).toEqual(['yes', 'yes'])
        expect(journaled().filter(event => event.event === 'question').length).toBe(1)
    })

    test('takes its safe default after a reboot: whoever could have answered is gone', async () => {
        const { at, answers } = await asking(commit)
        at.sim.losePower()
        at.clock.reboot()
        await at.restart().recover()
        expect(answers).toEqual(['no'])
    })

    test('is left to the next process when the daemon stops', async () => {
        const { at, id, answers, journaled } = await asking(commit)
        await at.runner.stop()
        expect(answers).toEqual([])
        expect(journaled().at(-1)?.event).toBe('question')
        const runner = at.restart()
        const recovered = runner.recover()
        await at.quiet()
        runner.answer(id, 'network.commit', 'yes', 'root')
        await recovered
        expect(answers).toEqual(['yes'])
    })

    const behind = async (setup: string) => {
        const at = bench()
        let undone = false
        at.kinds.register({
            kind: 'test.confirm',
            do: async (_, context) => await context.ask(commit),
            async undo() {
                undone = true
            },
        })
        await at.runner.recover()
        const guard = {
            id: 'g1',
            kind: 'test.confirm',
            title: 'guard',
            params: {},
            optional: true,
            group: 'g',
        }
        const plan = at.plan(setup)
        plan.tasks.splice(1, 0, guard)
        const id = at.runner.start(plan)
        await at.quiet()
        at.runner.answer(id, 'network.commit', 'yes', 'root')
        await at.quiet()
        return { at, id, wasUndone: () => undone }
    }

    test('that was given is not taken back because something behind it fails', async () => {
        const { at, id, wasUndone } = await behind('t1 t2:do-error')
        const end = await at.runner.wait(id)
        expect(end).toMatchObject({ result: 'warning', error: { kind: 'partial' } })
        expect([wasUndone(), at.calls()]).toEqual([false, 't1:do t2:do-error t2:undo'])
    })

    test('that was given is not taken back by cancelling what comes behind it', async () => {
        const { at, id, wasUndone } = await behind('t1 t2:optional,hang,group=h')
        at.runner.cancel(id, 'root')
        const end = await at.runner.wait(id)
        expect(end.result).toBe('cancelled')
        expect(end.error?.message).toContain('what was done stays')
        expect([wasUndone(), at.calls()]).toEqual([false, 't1:do t2:do t2:undo'])
    })
})
