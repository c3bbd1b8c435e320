/** What the simulated changes do: files on the simulated disk, written and taken back by the rules that real tasks follow. */
import { basename, dirname, join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import type { Json, Plan, PlannedTask } from '../../src/engine/change.ts'
import { type TaskContext, TaskKinds } from '../../src/engine/kinds.ts'
import { type Disk, temporaryOf } from '../../src/host/disk.ts'
import type { Random } from './random.ts'

/** Files and what they become; null is a file that is not there. */
export type Files = Record<string, string | null>

export interface Step extends Record<string, Json> {
    files: Files
    /** Fails behind its first file. */
    fails: boolean
    /** Asks whether it may stay, with three minutes to answer. */
    asks: boolean
    /** Asks to cancel the change while it works. */
    cancels: boolean
    warns: boolean
}

export const world = '/world'

/** The paths of the world, and what is there before. */
export function oldWorld(random: Random): Files {
    const files: Files = {}
    for (let number = 0; number < 10; number++)
        files[join(world, `file${number}`)] = random.chance(0.5) ? null : `old ${number}`
    return files
}

export function randomPlan(random: Random, old: Files): Plan {
    const count = 1 + random.int(5)
    const mood = random.pick(['calm', 'wild'])
    const wild = (probability: number) => mood === 'wild' && random.chance(probability)
    const pivotAt = random.chance(0.3) ? random.int(count) : -1
    const groupAt = random.int(count)
    const tasks = Array.from({ length: count }, (_, number): PlannedTask => {
        const files: Files = {}
        const final = wild(0.1)
        // What cannot be taken back has a file of its own: mixed with others, nobody could say what is right.
        const paths = final ? [join(world, `file${5 + number}`)] : Object.keys(old).slice(0, 5)
        for (let file = 1 + random.int(2); file > 0; file--)
            files[random.pick(paths)] = random.chance(0.25) ? null : `new ${number}.${file}`
        const step: Step = {
            files,
            fails: wild(0.2),
            asks: wild(0.15),
            cancels: wild(0.05),
            warns: random.chance(0.1),
        }
        const optional = number !== pivotAt && random.chance(0.4)
        return {
            id: `t${number + 1}`,
            kind: final ? 'sim.final' : 'sim.write',
            title: `step ${number + 1}`,
            params: step,
            ...(optional ? { optional } : {}),
        }
    })
    // Optional tasks next to each other, sometimes as a group.
    for (let at = groupAt; mood === 'wild' && tasks[at]?.optional; at++) tasks[at]!.group = 'g'
    return {
        kind: 'sim',
        summary: 'a simulated change',
        by: 'root',
        tasks,
        ...(pivotAt < 0 ? {} : { pivot: tasks[pivotAt]!.id }),
        ...(random.chance(0.2) ? { recovery: 'resume' as const } : {}),
    }
}

export interface WorldHost {
    disk: Disk
    cancel(change: string): void
}

export function worldKinds(host: WorldHost): TaskKinds {
    const put = (path: string, content: string | null) => {
        const { disk } = host
        if (content !== null) return disk.replace(path, Buffer.from(content), 0o600)
        disk.remove(path)
        disk.remove(join(dirname(path), temporaryOf(basename(path))))
    }
    const kind = {
        async do(step: Step, context: TaskContext): Promise<Json> {
            const { files } = step
            // Once: when the task runs again after a crash, what is there may be its own work.
            if (context.remembered() === undefined) context.remember(snapshot(host.disk, Object.keys(files)))
            if (step.warns) context.warn('something is odd')
            for (const [number, [path, content]] of Object.entries(files).entries()) {
                if (number > 0) await undefined
                if (number === 0 && step.cancels) host.cancel(context.change)
                put(path, content)
                if (step.fails) throw new Fault('failed', 'cannot write the rest: it is meant to fail')
            }
            if (!step.asks) return { wrote: Object.keys(files).length }
            const choices = ['keep', 'back'].map(value => ({ value, text: value }))
            const question = {
                id: 'sim.commit',
                text: 'May it stay?',
                choices,
                timeoutMs: 180_000,
                safe: 'back',
            }
            if ((await context.ask(question)) === 'back')
                throw new Fault('rolled-back', 'cannot stay: nobody confirmed')
            return { kept: true }
        },
        async undo(_step: Step, context: TaskContext) {
            const before = context.remembered() as Files | undefined
            // Nothing was changed before the old state was durable.
            if (before === undefined) return
            for (const [path, content] of Object.entries(before)) {
                put(path, content)
                await undefined
            }
        },
    }
    return new TaskKinds()
        .register<Step>({ kind: 'sim.write', ...kind })
        .register<Step>({ kind: 'sim.final', ...kind, irreversible: true })
}

function snapshot(disk: Disk, paths: string[]): Files {
    const files: Files = {}
    for (const path of paths) {
        const bytes = disk.read(path)
        files[path] = bytes === undefined ? null : Buffer.from(bytes).toString('utf8')
    }
    return files
}
