/** After a change of the configuration systemd runs the timers that it names, and only those. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import type { JobConfig } from '../../src/format/config.ts'
import type { JobResult, Systemd, UnitState } from '../../src/host/systemd.ts'
import { applySchedule, jobNamed, readSchedule } from '../../src/schedule/apply.ts'

function job(name: string): JobConfig {
    return { name, schedule: '02:30', targets: ['local'], categories: undefined, note: undefined }
}

/** A service manager of a few timers that writes down what it was asked. */
function fakeSystemd(
    timers: Record<string, string>,
    results: Record<string, JobResult> = {},
    subs: Record<string, string> = {},
) {
    const asked: string[] = []
    const act = (verb: string, active: string) => async (unit: string) => {
        asked.push(`${verb} ${unit}`)
        const result = results[unit] ?? 'done'
        if (result === 'done') timers[unit] = active
        return result
    }
    const state = (name: string): UnitState => ({
        name,
        description: '',
        load: name in timers ? 'loaded' : 'not-found',
        active: timers[name] ?? 'inactive',
        sub: subs[name] ?? '',
        busy: false,
    })
    const systemd: Systemd = {
        start: act('start', 'active'),
        stop: act('stop', 'inactive'),
        restart: act('restart', 'active'),
        kill: async () => undefined,
        resetFailed: async () => undefined,
        unitState: async unit => state(unit),
        listUnits: async () => Object.keys(timers).map(state),
        reload: async () => void asked.push('reload'),
        timerTimes: async () => ({ nextMs: 2000, lastMs: 1000 }),
        startTransientTimer: async () => undefined,
        runTransient: async () => ({ result: 'done' }),
        close: () => undefined,
    }
    return { asked, systemd }
}

describe('applying a configuration', () => {
    test('reloads first, stops what is gone, starts what is new, leaves the rest alone', async () => {
        const { asked, systemd } = fakeSystemd({
            'proxsave-backup@old.timer': 'active',
            'proxsave-backup@same.timer': 'active',
            'proxsave-backup@idle.timer': 'inactive',
        })
        const applied = await applySchedule({ jobs: [job('same'), job('new')] }, systemd)
        expect(applied).toEqual({ started: ['new'], stopped: ['old'], problems: [] })
        expect(asked).toEqual(['reload', 'stop proxsave-backup@old.timer', 'start proxsave-backup@new.timer'])
    })

    test('starts a timer again that waits for nothing, as after a schedule that was wrong', async () => {
        const name = 'proxsave-backup@a.timer'
        const { asked, systemd } = fakeSystemd({ [name]: 'active' }, {}, { [name]: 'elapsed' })
        const applied = await applySchedule({ jobs: [job('a')] }, systemd)
        expect([applied.started, asked]).toEqual([['a'], ['reload', `restart ${name}`]])
        const waiting = fakeSystemd({ [name]: 'active' }, {}, { [name]: 'running' })
        await applySchedule({ jobs: [job('a')] }, waiting.systemd)
        expect(waiting.asked).toEqual(['reload'])
    })

    test('twice changes nothing the second time', async () => {
        const { asked, systemd } = fakeSystemd({})
        await applySchedule({ jobs: [job('a')] }, systemd)
        expect(await applySchedule({ jobs: [job('a')] }, systemd)).toEqual({
            started: [],
            stopped: [],
            problems: [],
        })
        expect(asked).toEqual(['reload', 'start proxsave-backup@a.timer', 'reload'])
    })

    test('tells of a timer that does not start, and goes on with the others', async () => {
        const { systemd } = fakeSystemd({}, { 'proxsave-backup@a.timer': 'failed' })
        const applied = await applySchedule({ jobs: [job('a'), job('b')] }, systemd)
        expect(applied.started).toEqual(['b'])
        expect(applied.problems).toEqual([
            'cannot start the timer of the job a: systemd says failed; systemctl status proxsave-backup@a.timer tells more',
        ])
    })

    test('fails when systemd cannot be reached', async () => {
        const { systemd } = fakeSystemd({})
        systemd.reload = () => Promise.reject(new Fault('failed', 'cannot reach systemd'))
        expect(applySchedule({ jobs: [] }, systemd)).rejects.toThrow('cannot reach systemd')
    })
})

test('the schedule tells of each job whether its timer runs, and when', async () => {
    const { systemd } = fakeSystemd({ 'proxsave-backup@a.timer': 'active' })
    expect(await readSchedule({ jobs: [job('a'), job('b')] }, systemd)).toEqual([
        { job: 'a', schedule: '02:30', active: true, nextMs: 2000, lastMs: 1000 },
        { job: 'b', schedule: '02:30', active: false },
    ])
})

test('a job is found by name, an unknown one names the others', () => {
    expect(jobNamed({ jobs: [job('a')] }, 'a').name).toBe('a')
    try {
        jobNamed({ jobs: [job('a')] }, 'b')
        throw new Error('expected a fault')
    } catch (error) {
        expect(error).toMatchObject({ kind: 'usage', hint: 'it has a' })
    }
})
