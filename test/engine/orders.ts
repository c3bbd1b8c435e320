/**
 * A language of one line for what tasks do and in which order.
 *
 * Setup: the tasks of a plan, each with what is special about it:
 *     `t1 t2:optional t3:pivot t4:do-error t5:undo-error t6:irreversible t7:optional,do-error,group=g t8:hang t9:fails-later`
 * Result: what was called, in order:
 *     `t1:do t2:do t4:do-error t4:undo t2:undo t1:undo`
 */
import { Fault } from '../../src/core/errors.ts'
import type { Plan, PlannedTask } from '../../src/engine/change.ts'
import { TaskKinds } from '../../src/engine/kinds.ts'
import { Runner, type RunnerOptions } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import { SimClock } from '../sim/clock.ts'
import { SimDisk } from '../sim/disk.ts'
import { seeded } from '../sim/random.ts'

export interface Bench {
    clock: SimClock
    sim: SimDisk
    /** What was called, as one line. */
    calls(): string
    kinds: TaskKinds
    store: Store
    runner: Runner
    /** A new process on the same disk: nothing of the old one goes on. */
    restart(options?: Partial<RunnerOptions>): Runner
    plan(setup: string, more?: Partial<Plan>): Plan
    /** Makes the task `fails-later` fail now; when it runs again it does not. */
    failLater(): void
    /** Lets everything that can happen without time passing happen. */
    quiet(): Promise<void>
}

export function bench(seed = 1): Bench {
    const random = seeded(seed)
    const clock = new SimClock()
    const sim = new SimDisk(random)
    const calls: string[] = []
    const kinds = new TaskKinds()
    let failLater = () => {}
    let laterFailed = false
    const test = (flags: string[], name: string) => flags.includes(name)
    for (const irreversible of [false, true])
        kinds.register<{ flags: string[] }>({
            kind: irreversible ? 'test.final' : 'test.step',
            ...(irreversible ? { irreversible: true as const } : {}),
            async do({ flags }, context) {
                const end = test(flags, 'do-error') || test(flags, 'guard-fires') || test(flags, 'refuse')
                calls.push(`${context.task}:do${end ? '-error' : ''}`)
                if (test(flags, 'do-error')) throw new Fault('failed', `cannot do ${context.task}`)
                if (test(flags, 'guard-fires'))
                    throw new Fault('rolled-back', 'cannot keep it: nobody confirmed')
                if (test(flags, 'refuse')) throw new Fault('refused', 'cannot go on: you said no')
                if (test(flags, 'warn')) context.warn(`${context.task} is odd`)
                if (test(flags, 'hang'))
                    await new Promise((_, reject) => {
                        context.signal.addEventListener('abort', () => reject(context.signal.reason))
                    })
                if (test(flags, 'fails-later') && !laterFailed)
                    await new Promise((_, reject) => {
                        failLater = () => reject(new Fault('failed', `cannot do ${context.task}`))
                    })
                return { did: context.task }
            },
            async undo({ flags }, context) {
                calls.push(`${context.task}:undo${test(flags, 'undo-error') ? '-error' : ''}`)
                if (test(flags, 'undo-error')) throw new Fault('failed', `cannot undo ${context.task}`)
            },
        })
    sim.disk.mkdir('/state', 0o700)
    const runnerOn = (options: Partial<RunnerOptions> = {}) => {
        made.store = new Store(sim.disk, '/state')
        made.runner = new Runner({ store: made.store, kinds, clock, random: random.bytes, ...options })
        return made.runner
    }
    const made = {
        clock,
        sim,
        kinds,
        calls: () => calls.join(' '),
        failLater() {
            laterFailed = true
            failLater()
        },
        restart(options?: Partial<RunnerOptions>) {
            clock.forget()
            sim.kill()
            return runnerOn(options)
        },
        plan(setup: string, more: Partial<Plan> = {}): Plan {
            const tasks = setup.split(' ').map((word): PlannedTask & { pivot: boolean } => {
                const [id, list] = word.split(':')
                const flags = (list ?? '').split(',').filter(flag => flag !== '')
                const group = flags.find(flag => flag.startsWith('group='))?.slice(6)
                return {
                    id: id!,
                    kind: flags.includes('irreversible') ? 'test.final' : 'test.step',
                    title: `step ${id}`,
                    params: { flags },
                    ...(flags.includes('optional') ? { optional: true } : {}),
                    ...(group === undefined ? {} : { group }),
                    pivot: flags.includes('pivot'),
                }
            })
            const pivot = tasks.find(task => task.pivot)?.id
            const plain = tasks.map(({ pivot: _, ...task }) => task)
            return {
                kind: 'test',
                summary: setup,
                by: 'root',
                tasks: plain,
                ...(pivot === undefined ? {} : { pivot }),
                ...more,
            }
        },
        async quiet() {
            for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
        },
    } as Bench
    runnerOn()
    return made
}
