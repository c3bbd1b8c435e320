/** In which order tasks are done and undone, in one line each. */
import { describe, expect, test } from 'bun:test'
import { bench } from './orders.ts'

const cases: [name: string, setup: string, calls: string, result: string][] = [
    ['all goes well', 't11 t12 t31', 't11:do t12:do t31:do', 'ok'],
    [
        'a failing task and all before it are undone in reverse',
        't11 t12 t31:do-error t41',
        't11:do t12:do t31:do-error t31:undo t12:undo t11:undo',
        'failed: failed',
    ],
    [
        'a failing undo is reported and the others go on',
        't1 t2:undo-error t3:do-error',
        't1:do t2:do t3:do-error t3:undo t2:undo-error t1:undo',
        'failed: stuck, left step t2: cannot undo t2',
    ],
    [
        'an optional task that fails is undone alone',
        't1 t2:optional,do-error t3',
        't1:do t2:do-error t2:undo t3:do',
        'warning',
    ],
    [
        'an optional task that cannot be undone is named',
        't1 t2:optional,do-error,undo-error t3',
        't1:do t2:do-error t2:undo-error t3:do',
        'warning: partial, left step t2: cannot undo t2',
    ],
    [
        'behind the pivot nothing before is undone',
        't1 t2:pivot t3:do-error t4',
        't1:do t2:do t3:do-error t3:undo',
        'warning: partial',
    ],
    [
        'a pivot that fails itself is before itself',
        't1 t2:pivot,do-error t3',
        't1:do t2:do-error t2:undo t1:undo',
        'failed: failed',
    ],
    [
        'what cannot be taken back is skipped and said',
        't1 t2:irreversible t3:do-error',
        't1:do t2:do t3:do-error t3:undo t1:undo',
        'failed: partial',
    ],
    [
        'a group of optional tasks stands or falls together',
        't1 t2:optional,group=net t3:optional,group=net,do-error t4:optional,group=net t5',
        't1:do t2:do t3:do-error t3:undo t2:undo t5:do',
        'warning',
    ],
    [
        'a guard that fires takes back the guarded tasks only',
        't1 t2:optional,group=net t3:optional,group=net,guard-fires t4',
        't1:do t2:do t3:do-error t3:undo t2:undo t4:do',
        'rolled-back: rolled-back',
    ],
    [
        'a person who refuses cancels',
        't1 t2:refuse',
        't1:do t2:do-error t2:undo t1:undo',
        'cancelled: refused',
    ],
    ['a warning does not stop anything', 't1:warn t2', 't1:do t2:do', 'warning'],
]

describe('order of do and undo', () => {
    for (const [name, setup, calls, result] of cases)
        test(name, async () => {
            const { runner, plan, ...rest } = bench()
            await runner.recover()
            const end = await runner.wait(runner.start(plan(setup)))
            expect(rest.calls()).toBe(calls)
            const error = end.error === undefined ? '' : `: ${end.error.kind}`
            const left = end.left === undefined ? '' : `, left ${end.left.join('; ')}`
            expect(`${end.result}${error}${left}`).toBe(result)
        })
})
