/** Answers whether all is well: what runs, what comes next, and what somebody should do something about. */
import type { BackupInfo, ChangeInfo, JobInfo, Status } from '../core/answers.ts'
import { asFault } from '../core/errors.ts'
import { showAge } from '../core/units.ts'
import type { ChangeSummary } from '../engine/change.ts'
import { listKeys } from '../keys/identity.ts'
import { warnOfOldExports } from '../restore/exports.ts'
import { readSchedule } from '../schedule/apply.ts'
import { hostOf, listAll } from './backups.ts'
import type { Daemon } from './daemon.ts'
import { tellGuard } from './guards.ts'

type Warning = Status['warnings'][number]

export async function readStatus(daemon: Daemon): Promise<Status> {
    const { version, root, state, runner, clock } = daemon.parts
    const warnings: Warning[] = []
    const host = attempt(warnings, () => hostOf(daemon))
    const product = attempt(warnings, () => daemon.product())
    const { backups, targets } = await listAll(daemon)
    const last = backups.find(backup => backup.own && backup.id !== '') ?? null
    const jobs = await readJobs(daemon).catch(error => {
        warnings.push(warningOf(error))
        return []
    })

    const { fault } = daemon.config
    if (fault !== undefined) warnings.push(warningOf(fault))
    for (const { problem } of targets) if (problem !== undefined) warnings.push(warningOf(problem))
    if (host?.cloned)
        warnings.push({
            text: `this machine looks like a copy of another one (${host.differs.join(', ')} changed): prune is refused`,
            hint: `proxsavectl setup --adopt ${host.id} goes on with its archives, setup --adopt new begins anew`,
        })
    const former = last === null ? formerId(backups, product?.hostname) : undefined
    if (former !== undefined)
        warnings.push({
            text: `there are backups of another host that is called ${product?.hostname} too, id ${former}`,
            hint: `if that was this machine before a reinstallation: proxsavectl setup --adopt ${former}`,
        })
    warnings.push(...(await keyWarnings(daemon)))
    warnings.push(...backupWarnings(daemon, last, jobs, clock.nowMs()))
    const exports = attempt(warnings, () => warnOfOldExports(state, clock.nowMs()))
    if (exports !== undefined) warnings.push(exports)

    const next = jobs
        .filter(job => job.next !== undefined)
        .sort((a, b) => Date.parse(a.next!) - Date.parse(b.next!))[0]
    const running = runner.running()?.summary
    return {
        daemon: { version, pid: process.pid, since: daemon.since, root },
        host: { id: host?.id, name: product?.hostname ?? '', product: product?.kind ?? 'debian' },
        last,
        next: next === undefined ? null : { job: next.name, time: next.next! },
        guard: attempt(warnings, () => tellGuard(daemon)) ?? null,
        running: running === undefined ? null : changeInfo(running),
        // What runs is not finished either: scripts look here to see whether all is quiet.
        unfinished: [
            ...(running === undefined ? [] : [running]),
            ...runner.unfinished().filter(({ id }) => id !== running?.id),
        ].map(changeInfo),
        deferred: [],
        warnings,
        skipped: skippedHere(daemon),
    }
}

/** A reinstalled machine has a new id: the host of the same name whose backup is the newest was likely the same. */
export function formerId(backups: readonly BackupInfo[], name: string | undefined): string | undefined {
    return backups.find(({ own, host, hostId }) => !own && host === name && hostId !== '')?.hostId
}

/** What another root leaves out, and why. */
export function skippedHere({ parts: { root } }: Daemon): string[] {
    if (root === '/') return []
    return [
        `timers: jobs are not scheduled while ${root} is served instead of /`,
        `commands: their output is not captured, because it would be that of the running host`,
    ]
}

export function changeInfo(change: ChangeSummary): ChangeInfo {
    return change
}

/** A scheduled run waits up to an hour for another change, and then takes its time. */
const graceMs = 3 * 3_600_000
/** A timer that never fired yet shows the moment of its first start, a little before or behind the first backup. */
const slackMs = 5 * 60_000

function backupWarnings(
    daemon: Daemon,
    last: BackupInfo | null,
    jobs: readonly JobInfo[],
    nowMs: number,
): Warning[] {
    const { config } = daemon.config
    const warnings: Warning[] = []
    // A configuration that cannot be read says nothing about jobs.
    if (daemon.parts.systemd !== undefined && daemon.config.fault === undefined) {
        if (config.jobs.length === 0)
            warnings.push({ text: 'no backup is scheduled', hint: 'proxsavectl setup makes a daily job' })
        for (const job of jobs)
            if (!job.active)
                warnings.push({
                    text: `the timer of the job ${job.name} is not active`,
                    hint: 'proxsavectl doctor tells more; systemctl reload proxsave starts it',
                })
            else if (job.next === undefined && daemon.parts.runner.running() === undefined)
                warnings.push({
                    text: `the job ${job.name} will not run: systemd knows no next time for "${job.schedule}"`,
                    hint: 'proxsavectl doctor tells more; systemctl reload proxsave when the schedule is mended',
                })
    }
    if (last === null && config.jobs.length > 0)
        warnings.push({ text: 'there is no backup of this host yet', hint: 'proxsavectl backup' })
    for (const job of jobs) warnings.push(...jobWarnings(job, last, nowMs))
    return warnings
}

/** A run that went wrong, and one that did not come about at all: a refused backup is no change and not in the history. */
export function jobWarnings(job: JobInfo, last: BackupInfo | null, nowMs: number): Warning[] {
    const warnings: Warning[] = []
    const lastMs = job.last === undefined ? 0 : Date.parse(job.last.time)
    if (job.last?.result === 'failed' || job.last?.result === 'warning')
        warnings.push({
            text: `the last run of the job ${job.name}, ${showAge(lastMs, nowMs)}, ${job.last.result === 'failed' ? 'failed' : 'ended with warnings'}`,
            hint: `proxsavectl history ${job.last.change}`,
        })
    const dueMs = job.due === undefined ? 0 : Date.parse(job.due)
    const newestMs = Math.max(lastMs, last === null ? 0 : Date.parse(last.created))
    if (newestMs > 0 && dueMs > newestMs + slackMs && nowMs - dueMs > graceMs)
        warnings.push({
            text: `the job ${job.name} was due ${showAge(dueMs, nowMs)}, and no backup came of it`,
            hint: `journalctl -u proxsave-backup@${job.name} tells why; proxsavectl backup --job ${job.name} tries again`,
        })
    return warnings
}

async function keyWarnings(daemon: Daemon): Promise<Warning[]> {
    const { encryption } = daemon.config.config.backup
    try {
        const keys = await listKeys(daemon.keys)
        if (keys.recipients.length === 0 && encryption !== 'none')
            return [
                { text: 'no recipient to encrypt backups for: backups refuse', hint: 'proxsavectl setup' },
            ]
        const warnings: Warning[] = []
        if (keys.unprinted.length > 0)
            warnings.push({
                text: 'the recovery sheet was not printed: without this host nobody could open its backups',
                hint: 'proxsavectl keys sheet',
            })
        if (keys.plainIdentity)
            warnings.push({
                text: 'the private identity is still on this host: whoever reads the host reads its backups',
                hint:
                    keys.unprinted.length > 0
                        ? 'print it with proxsavectl keys sheet, then proxsavectl keys remove --identity'
                        : 'proxsavectl keys remove --identity',
            })
        return warnings
    } catch (error) {
        return [warningOf(error)]
    }
}

/** The jobs of the configuration with what systemd and history know of them. */
export async function readJobs(daemon: Daemon): Promise<JobInfo[]> {
    const { systemd, store } = daemon.parts
    const { config } = daemon.config
    if (config.jobs.length === 0) return []
    const scheduled = systemd === undefined ? [] : await readSchedule(config, systemd)
    const changes = store.list().filter(change => change.kind === 'backup' && change.state === 'done')
    return config.jobs.map(job => {
        const timer = scheduled.find(({ job: name }) => name === job.name)
        const last = changes.find(change => change.facts.job === job.name)
        return {
            name: job.name,
            schedule: job.schedule,
            targets: job.targets,
            categories: job.categories ?? config.backup.categories,
            ...(job.note === undefined ? {} : { note: job.note }),
            active: timer?.active === true,
            ...(timer?.nextMs === undefined ? {} : { next: new Date(timer.nextMs).toISOString() }),
            ...(timer?.lastMs === undefined ? {} : { due: new Date(timer.lastMs).toISOString() }),
            ...(last === undefined
                ? {}
                : { last: { change: last.id, result: last.result ?? '', time: last.ended ?? last.began } }),
        }
    })
}

function attempt<T>(warnings: Warning[], read: () => T): T | undefined {
    try {
        return read()
    } catch (error) {
        warnings.push(warningOf(error))
        return undefined
    }
}

function warningOf(error: unknown): Warning {
    const { message, hint } = asFault(error)
    return hint === undefined ? { text: message } : { text: message, hint }
}
