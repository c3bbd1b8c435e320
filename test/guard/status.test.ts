/** What a guard tells of itself. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { Value, ValueErrorType } from '@sinclair/typebox/value'
import { GuardInfo } from '../../src/core/answers.ts'
import { type GuardHistory, guardInfo, guardInfos, guardStatus } from '../../src/guard/status.ts'
import { GuardLab } from './planted.ts'

const [first, second] = ['20261120-120000-aaaa', '20261120-130000-bbbb'] as const
let lab: GuardLab
beforeEach(() => {
    lab = new GuardLab()
})
afterEach(() => lab.end())

const tell = (history: Partial<GuardHistory> = {}) =>
    guardStatus(lab.disk, lab.state, lab.clock, { finished: () => true, newest: () => undefined, ...history })

describe('an armed guard', () => {
    test('says all that a person and a script need, in the shape of the API', () => {
        const guard = lab.applied(first, 'network')
        lab.bootMs += 30_500
        lab.nowMs += 30_500
        const info = guardInfo(guard, lab.clock)
        expect(info).toEqual({
            id: `${first}-network`,
            change: first,
            area: 'network',
            state: 'ARMED',
            applied: true,
            secondsLeft: 150,
            deadline: '2026-11-20T12:03:00.000Z',
            addresses: { before: ['192.0.2.10'], after: ['192.0.2.20'] },
            reconnect: ['192.0.2.10'],
            log: `${guard.path}/log`,
            directory: guard.path,
        })
        const wrong = [...Value.Errors(GuardInfo, info)]
        expect(wrong.filter(({ type }) => type !== ValueErrorType.StringFormatUnknown)).toEqual([])
    })

    test('counts by the clock of the boot: a clock that is set an hour back or forward changes nothing', () => {
        const guard = lab.applied(first, 'network')
        for (const hour of [-3_600_000, 3_600_000]) {
            lab.nowMs += hour
            expect(guardInfo(guard, lab.clock).secondsLeft).toBe(180)
        }
    })

    test('of another boot has no time left, and never more than none behind its deadline', () => {
        const guard = lab.applied(first, 'network')
        lab.bootMs += 999_000
        expect(guardInfo(guard, lab.clock).secondsLeft).toBe(0)
        lab.bootMs = 0
        lab.bootId = 'boot-2'
        const info = guardInfo(guard, lab.clock)
        expect([info.secondsLeft, info.deadline]).toEqual([0, undefined])
    })

    test('is told although its record or the file armed is damaged', () => {
        const guard = lab.applied(first, 'ssh')
        writeFileSync(guard.file('guard.json'), '{')
        writeFileSync(guard.file('armed'), '')
        const info = tell()!
        expect(info).toMatchObject({ state: 'ARMED', change: first, secondsLeft: 0, reconnect: 'unknown' })
        expect(info.problems?.[0]).toContain('cannot read the guard')
    })
})

describe('where to reconnect to', () => {
    test('is the new address once it is confirmed, the old one after a rollback, unknown when it is', () => {
        const unknown = { addresses: { before: [] } }
        const states = [
            [lab.make(first, 'network'), ['192.0.2.20']],
            [lab.executed(second, 'network'), ['192.0.2.10']],
            [lab.make('20261120-140000-cccc', 'network', unknown), 'unknown'],
            [lab.armed('20261120-150000-dddd', 'network', unknown), 'unknown'],
            [
                lab.make('20261120-160000-eeee', 'network', {
                    addresses: { before: ['192.0.2.10'], after: [] },
                }),
                'unknown',
            ],
        ] as const
        for (const [guard, reconnect] of states)
            expect(guardInfo(guard, lab.clock).reconnect).toEqual(reconnect as 'unknown')
    })

    test('is the address that was asked over when no other is known', () => {
        const guard = lab.armed(first, 'network', { addresses: { before: [], server: '192.0.2.5' } })
        expect(guardInfo(guard, lab.clock).reconnect).toEqual(['192.0.2.5'])
    })

    test('does not change with an area that moves no address', () => {
        const guard = lab.make(first, 'ssh', { addresses: { before: ['192.0.2.10'] } })
        expect(guardInfo(guard, lab.clock)).toMatchObject({
            reconnect: ['192.0.2.10'],
            addresses: { after: ['192.0.2.10'] },
        })
    })
})

test('one that was rolled back tells whether the old files were loaded, and no other does', () => {
    const loaded = (problems: string[]) =>
        guardInfo(lab.executed(first, 'network', problems), lab.clock).loaded
    expect([loaded([]), loaded(['ifreload: exit status 1'])]).toEqual([true, false])
    expect(guardInfo(lab.armed(second, 'network'), lab.clock).loaded).toBeUndefined()
})

describe('the guard worth telling', () => {
    test('is none when there is none', () => {
        expect(tell()).toBeUndefined()
    })

    test('is an armed one before all newer ones', () => {
        lab.armed(first, 'network')
        lab.nowMs += 60_000
        lab.executed(second, 'network')
        expect(tell()?.id).toBe(`${first}-network`)
    })

    test('is the last one as long as its change is not finished, confirmed or not', () => {
        lab.make(first, 'ssh')
        lab.nowMs += 1_000
        const confirmed = lab.make(first, 'network')
        confirmed.write('confirmed', { time: '2026-11-20T12:00:01.000Z', by: 'root@pts/1' })
        expect(tell({ finished: () => false })).toMatchObject({
            state: 'DISARMED',
            confirmed: { by: 'root@pts/1' },
        })
        expect(tell()).toBeUndefined()
    })

    test('is a rolled back one for a day, or until something else was done', () => {
        lab.executed(first, 'network', ['ifreload: exit status 1'])
        expect(tell({ newest: () => first })).toMatchObject({
            state: 'EXECUTED',
            loaded: false,
            why: 'deadline',
            executed: '2026-11-20T12:00:00.000Z',
            problems: ['ifreload: exit status 1'],
        })
        expect(tell({ newest: () => second })).toBeUndefined()
        lab.nowMs += 23 * 3_600_000
        expect(tell({ newest: () => first })).toBeDefined()
        lab.nowMs += 2 * 3_600_000
        expect(tell({ newest: () => first })).toBeUndefined()
    })
})

test('a guard that is being made is not told as one that was confirmed, and hides no other', () => {
    const confirmed = lab.make(first, 'ssh')
    confirmed.write('confirmed', { time: '2026-11-20T12:00:01.000Z', by: 'root@pts/1' })
    lab.nowMs += 1_000
    const made = lab.make(first, 'network')
    const history = { finished: () => false }
    expect(tell(history)?.id).toBe(confirmed.id)
    expect(guardInfos(lab.disk, lab.state, lab.clock).map(({ id }) => id)).toEqual([confirmed.id])
    // Confirmed on a disk without room, or by the removal of `armed`.
    made.write('applied', { boot: lab.bootId, ms: lab.bootMs })
    expect(tell(history)).toMatchObject({ id: made.id, state: 'DISARMED' })
})

test('all guards are listed newest first', () => {
    lab.executed(second, 'network')
    lab.nowMs += 1_000
    lab.applied(first, 'ssh')
    expect(guardInfos(lab.disk, lab.state, lab.clock).map(({ id }) => id)).toEqual([
        `${first}-ssh`,
        `${second}-network`,
    ])
})
