/** Makes systemd run the timers of the configuration, and no others, after the configuration changed. */
import { Fault } from '../core/errors.ts'
import type { Config } from '../format/config.ts'
import type { Systemd } from '../host/systemd.ts'
import { jobOf, timerOf, timerPattern } from './generator.ts'

export interface AppliedSchedule {
    /** Names of jobs. */
    started: string[]
    stopped: string[]
    /** One sentence each: what did not work, and for which job. */
    problems: string[]
}

/**
 * Reloads systemd, which runs the generator, then starts timers that are new and stops those whose job is gone.
 * Running backups are left alone. Throws only when systemd cannot be reached.
 */
export async function applySchedule(
    config: Pick<Config, 'jobs'>,
    systemd: Systemd,
): Promise<AppliedSchedule> {
    const applied: AppliedSchedule = { started: [], stopped: [], problems: [] }
    await systemd.reload()
    const timers = (await systemd.listUnits(timerPattern)).filter(
        ({ active }) => active === 'active' || active === 'activating',
    )
    const running = new Set(timers.flatMap(({ name }) => jobOf(name) ?? []))
    // A schedule that systemd could not read leaves its timer active and waiting for nothing, also when it is mended.
    const waitsForNothing = new Set(
        timers.filter(({ sub }) => sub === 'elapsed').flatMap(({ name }) => jobOf(name) ?? []),
    )
    const wanted = new Set(config.jobs.map(job => job.name))

    for (const job of [...running].filter(name => !wanted.has(name)).sort()) {
        const result = await systemd.stop(timerOf(job))
        if (result === 'done' || result === 'not-found') applied.stopped.push(job)
        else applied.problems.push(`cannot stop the timer of the former job ${job}: systemd says ${result}`)
    }
    for (const job of [...wanted].filter(name => !running.has(name) || waitsForNothing.has(name))) {
        const result = await (running.has(job) ? systemd.restart(timerOf(job)) : systemd.start(timerOf(job)))
        if (result === 'done') applied.started.push(job)
        else
            applied.problems.push(
                `cannot start the timer of the job ${job}: systemd says ${result}; systemctl status ${timerOf(job)} tells more`,
            )
    }
    return applied
}

export interface ScheduledJob {
    job: string
    schedule: string
    /** Whether systemd runs its timer. */
    active: boolean
    /** Milliseconds since the epoch. */
    nextMs?: number
    lastMs?: number
}

/** When each job of the configuration runs next and ran last, as systemd knows it. */
export async function readSchedule(config: Pick<Config, 'jobs'>, systemd: Systemd): Promise<ScheduledJob[]> {
    const timers = new Map((await systemd.listUnits(timerPattern)).map(unit => [unit.name, unit]))
    const jobs: ScheduledJob[] = []
    for (const { name, schedule } of config.jobs) {
        const timer = timers.get(timerOf(name))
        const active = timer?.active === 'active'
        const times = timer?.load === 'loaded' ? await systemd.timerTimes(timer.name) : {}
        jobs.push({ job: name, schedule, active, ...times })
    }
    return jobs
}

/** A job of the configuration by its name. */
export function jobNamed(config: Pick<Config, 'jobs'>, name: string): Config['jobs'][number] {
    const found = config.jobs.find(job => job.name === name)
    if (found !== undefined) return found
    const names = config.jobs.map(job => job.name)
    throw new Fault('usage', `cannot use the job ${name}: the configuration has none of that name`, {
        hint: names.length > 0 ? `it has ${names.join(', ')}` : 'proxsavectl setup writes one',
    })
}
