/** Plans a setup from what the host has and what the person chose; nothing is planned twice. */
import type { SetupState } from '../core/answers.ts'
import { Fault } from '../core/errors.ts'
import type { Plan, PlannedTask } from '../engine/change.ts'
import { newHostId, parseHostId } from '../keys/host-identity.ts'
import { listKeys, planGenerate } from '../keys/identity.ts'
import { planAddRecipient } from '../keys/recipients.ts'
import { checkCalendar } from '../schedule/calendar.ts'
import { readSetupFile, setupText } from '../setup/config-file.ts'
import { hostOf, listAll } from './backups.ts'
import type { Daemon } from './daemon.ts'
import { keepSecret } from './secrets.ts'
import { upstreamOffers } from './upstream.ts'

export interface SetupOrder {
    adopt?: string
    keys?: boolean
    passphrase?: string
    recipients?: string[]
    configure?: boolean
    targetPath?: string
    schedule?: string
    /** Whether the remote of the Go ProxSave becomes a source; false leaves it out. */
    source?: boolean
}

export async function planSetup(
    daemon: Daemon,
    order: SetupOrder,
    by: string,
): Promise<{ plan: Plan | undefined; steps: string[] }> {
    const tasks = [
        ...(order.adopt === undefined ? [] : [await adopt(daemon, order.adopt)]),
        ...(await keyTasks(daemon, order, by)),
        ...(await configTasks(daemon, order)),
    ].map((task, at) => ({ ...task, id: `setup-${at + 1}` }))
    const steps = tasks.map(task => task.title)
    if (tasks.length === 0)
        return { plan: undefined, steps: ['nothing to do: keys, target and schedule are there'] }
    return { plan: { kind: 'setup', summary: 'setup of this host', by, tasks }, steps }
}

type Step = Omit<PlannedTask, 'id'>

async function adopt(daemon: Daemon, wanted: string): Promise<Step> {
    const hostId = wanted === 'new' ? newHostId(daemon.parts.random) : parseHostId(wanted)
    const { backups } = await listAll(daemon)
    const theirs = backups.filter(backup => backup.hostId === hostId)
    if (wanted !== 'new' && theirs.length === 0 && hostId !== hostOf(daemon).id)
        throw new Fault('failed', `cannot adopt ${hostId}: no target has an archive of that host`, {
            hint: 'proxsavectl list --all-hosts --json shows the ids; the sheet has it too',
        })
    const sequence = Math.max(0, ...theirs.map(backup => backup.sequence))
    const title =
        wanted === 'new' ? `begin with the new host id ${hostId}` : `take over the archives of ${hostId}`
    return { kind: 'setup.adopt', title, params: { hostId, sequence } }
}

async function keyTasks(daemon: Daemon, order: SetupOrder, by: string): Promise<Step[]> {
    const keys = await listKeys(daemon.keys)
    const present = new Set(keys.recipients.map(({ recipient }) => recipient))
    const steps: Step[] = []
    for (const line of order.recipients ?? []) {
        if ([...present].some(recipient => line.trim().startsWith(recipient))) continue
        steps.push(...stepsOf(planAddRecipient(daemon.keys, by, line)))
    }
    const wanted = order.keys === true && daemon.config.config.backup.encryption !== 'none'
    if (!wanted || present.size > 0 || steps.length > 0) return steps
    // An identity that somebody put here by hand is used, not replaced.
    const known = keys.identities.flatMap(({ recipients }) => recipients)
    if (known.length > 0)
        return known.flatMap(recipient => stepsOf(planAddRecipient(daemon.keys, by, recipient)))
    const passphrase = order.passphrase === undefined ? undefined : keepSecret(daemon, order.passphrase)
    return stepsOf(planGenerate(daemon.keys, by, { comment: daemon.product().hostname, passphrase }))
}

function stepsOf(plan: Plan): Step[] {
    return plan.tasks.map(({ kind, title, params }) => ({ kind, title, params }))
}

/** What the configuration has already, which a setup leaves alone; and what systemd thinks of a schedule. */
export async function setupState(daemon: Daemon, schedule: string | undefined): Promise<SetupState> {
    const config = daemon.usableConfig()
    const calendar = schedule === undefined ? undefined : await checkCalendar(daemon.parts.exec, schedule)
    const { source } = upstreamOffers(daemon.parts.root, config)
    return {
        targets: config.targetsBuiltIn ? [] : config.targets.map(({ name, path }) => ({ name, path })),
        jobs: config.jobs.map(({ name, schedule }) => ({ name, schedule })),
        ...(source === undefined ? {} : { source: { name: source.name, remote: source.remote } }),
        ...(calendar?.ok === false ? { wrongSchedule: calendar.why } : {}),
    }
}

async function configTasks(daemon: Daemon, order: SetupOrder): Promise<Step[]> {
    if (order.configure !== true) return []
    const config = daemon.usableConfig()
    if (order.schedule !== undefined) {
        const calendar = await checkCalendar(daemon.parts.exec, order.schedule)
        if (calendar.ok === false)
            throw new Fault('usage', `cannot schedule: ${calendar.why}`, {
                hint: 'for example 02:30, or Mon..Fri 01:00; systemd.time(7) has all forms',
            })
    }
    const { root } = daemon.parts
    const source = order.source === false ? undefined : upstreamOffers(root, config).source
    const { targetPath, schedule } = order
    const text = setupText(config, { targetPath, schedule, source }, readSetupFile(root))
    if (text === undefined) return []
    const parts = [
        config.targetsBuiltIn ? 'a target' : '',
        config.jobs.length === 0 ? 'a daily job' : '',
        source === undefined ? '' : `the source ${source.name} (${source.remote})`,
    ]
    const title = `write ${parts.filter(part => part !== '').join(' and ')} into conf.d/10-setup.toml`
    return [{ kind: 'setup.write-config', title, params: { text } }]
}
