/** Looks whether the host is well after a restore. What it finds are warnings, each with the remedy that fits. */
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import { type Exec, type ExecOptions, outputOf } from '../host/exec.ts'
import { readMounts } from '../host/mounts.ts'
import type { Systemd } from '../host/systemd.ts'
import type { TimedClock } from '../host/timer.ts'
import { readZfs, zfsHints } from './zfs.ts'

export interface CheckHost {
    exec: Exec
    /** Undefined where another root is served: then nothing is looked at. */
    systemd: Systemd | undefined
    clock: TimedClock
    /** What is mounted now, by absolute path; a test gives its own. */
    mounted?: () => ReadonlySet<string>
}

export type CheckParams = {
    product: 'pve' | 'pbs' | 'both' | 'debian'
    /** Units that should run; those that `services.start` of this change started are looked at as well. */
    units?: string[]
    /** Id of that task. */
    start?: string
    /** The database of the cluster was replaced. */
    database?: boolean
    /** Short names: that of the host, and that of the backup. */
    hostname?: string
    backupHostname?: string
    /** Pools that the backup knows. */
    pools?: string[]
    /** Titles of restored categories that only count after a boot. */
    reboot?: string[]
    /** Errors in the journal count from here on, milliseconds since the epoch; default: the begin of the change. */
    sinceMs?: number
}

export type Finding = { what: string; remedy?: string }

const bounds = {
    commandMs: 15_000,
    /** Daemons need a moment before they answer. */
    attempts: 4,
    againMs: 5_000,
    /** Lines of the journal that are counted, and shown. */
    journalLines: 200,
    shownLines: 5,
} as const

export function restoreCheck(host: CheckHost): TaskKind<CheckParams> {
    return {
        kind: 'restore.check',
        async do(params, context) {
            if (host.systemd === undefined) {
                context.log(
                    'the host is not checked: this daemon serves another root, or systemd does not run here',
                )
                return undefined
            }
            const findings = await inspectHost(host, host.systemd, params, context).catch(error => {
                // A host that cannot be looked at is no reason to take the restore back.
                if (!(error instanceof Fault) || context.signal.aborted) throw error
                return [
                    { what: `the host could not be checked: ${error.message}`, remedy: 'proxsavectl doctor' },
                ]
            })
            for (const { what, remedy } of findings)
                context.warn(remedy === undefined ? what : `${what}. Remedy: ${remedy}`)
            if (findings.length === 0) context.log('the host was checked and is well')
            context.fact('check', findings as Json)
            return { findings: findings as Json }
        },
        async undo() {},
    }
}

async function inspectHost(
    host: CheckHost,
    systemd: Systemd,
    params: CheckParams,
    context: TaskContext,
): Promise<Finding[]> {
    const look = new Look(host, context)
    const findings = await checkUnits(systemd, params, context)
    const isPve = params.product === 'pve' || params.product === 'both'
    const isPbs = params.product === 'pbs' || params.product === 'both'
    if (isPve) findings.push(...(await checkPve(look, host, params)))
    if (isPbs) findings.push(...(await checkPbs(look)))
    const zfs = params.pools?.length ? await readZfs(look.exec, params.pools) : undefined
    if (zfs !== undefined) findings.push(...zfsHints(zfs))
    findings.push(...(await checkJournal(look, params, context)))
    if (params.reboot?.length)
        findings.push({
            what: `${params.reboot.join(', ')}: some of it counts after the next boot only`,
            remedy: 'reboot',
        })
    return findings
}

async function checkUnits(systemd: Systemd, params: CheckParams, context: TaskContext): Promise<Finding[]> {
    const started = params.start === undefined ? undefined : context.results.get(params.start)
    const names = (started as { started?: string[] } | null | undefined)?.started ?? []
    const findings: Finding[] = []
    for (const unit of new Set([...names, ...(params.units ?? [])])) {
        const { active, load } = await systemd.unitState(unit)
        // What does its work and ends is inactive and well.
        if (active === 'active' || load === 'not-found' || (active === 'inactive' && names.includes(unit)))
            continue
        findings.push({ what: `${unit} is ${active}`, remedy: `journalctl -b -u ${unit}` })
    }
    return findings
}

async function checkPve(look: Look, host: CheckHost, params: CheckParams): Promise<Finding[]> {
    const mounted = host.mounted?.() ?? new Set(readMounts().keys())
    // Without pmxcfs every other question would be answered by the same failure.
    if (!mounted.has('/etc/pve')) return [await whyNotMounted(look)]
    const findings: Finding[] = []
    const quorum = parseQuorum(await look.text(['pvecm', 'status'], [0, 1, 2, 255]))
    // The owner's write bit of this link is how pmxcfs tells that it takes writes.
    const mode = await look.text(['stat', '-c', '%a', '/etc/pve/local'])
    const writable = mode === undefined || (Number.parseInt(mode.trim().slice(-3, -2), 8) & 2) !== 0
    if (quorum !== undefined && !quorum.quorate)
        findings.push({
            what: `the cluster has no quorum: ${quorum.total} of ${quorum.needed} votes; /etc/pve is read-only`,
            remedy: `bring the other nodes back; only when they are gone for good: pvecm expected ${Math.max(1, quorum.total)}`,
        })
    else if (!writable)
        findings.push({
            what: '/etc/pve is mounted read-only',
            remedy: 'journalctl -b -u pve-cluster -u corosync',
        })
    const version = await look.patiently(['pvesh', 'get', '/version', '--output-format', 'json'])
    if (!version.ok)
        findings.push({
            what: `the API does not answer: ${version.why}`,
            remedy: /cert|ssl|tls/i.test(version.why)
                ? 'pvecm updatecerts --force'
                : 'journalctl -b -u pvedaemon -u pveproxy',
        })
    else findings.push(...(await checkResources(look, params)))
    const storages = await look.patiently(['pvesm', 'status'])
    if (storages.ok)
        for (const { name, status } of parseStorages(storages.text))
            if (status !== 'active' && status !== 'disabled')
                findings.push({
                    what: `storage ${name} is ${status}`,
                    remedy: `pvesm status --storage ${name}`,
                })
    const renamed =
        params.hostname !== undefined &&
        params.backupHostname !== undefined &&
        params.hostname !== params.backupHostname
    if (params.database && renamed && (quorum === undefined || quorum.quorate))
        findings.push({
            what: `the database was that of ${params.backupHostname}, and this host is ${params.hostname}`,
            remedy: 'pvecm updatecerts --force',
        })
    return findings
}

async function whyNotMounted(look: Look): Promise<Finding> {
    const what = '/etc/pve is not mounted'
    const log = await look.text([
        'journalctl',
        '-b',
        '-u',
        'pve-cluster',
        '-n',
        '50',
        '-q',
        '--no-pager',
        '-o',
        'cat',
    ])
    const name = /Unable to resolve node name '([^']{1,64})'/.exec(log ?? '')?.[1]
    if (name !== undefined)
        return {
            what: `${what}: the name ${name} leads to no address of this host`,
            remedy: `put "ADDRESS ${name}" into /etc/hosts, then systemctl restart pve-cluster`,
        }
    return { what, remedy: 'journalctl -b -u pve-cluster' }
}

async function checkResources(look: Look, { hostname }: CheckParams): Promise<Finding[]> {
    const answer = await look.patiently(['pvesh', 'get', '/cluster/resources', '--output-format', 'json'])
    if (!answer.ok)
        return [
            { what: `the resources cannot be listed: ${answer.why}`, remedy: 'journalctl -b -u pvestatd' },
        ]
    const resources = parseResources(answer.text)
    if (resources === undefined) return [{ what: 'the answer of /cluster/resources cannot be read' }]
    const findings: Finding[] = []
    const nodes = resources.filter(({ type }) => type === 'node')
    for (const { node, status } of nodes)
        if (status !== 'online' && node !== hostname)
            findings.push({
                what: `node ${node} is ${status}`,
                remedy: `if it does not exist any more: pvecm delnode ${node}; its guests lie in /etc/pve/nodes/${node}`,
            })
    const known = new Set(nodes.map(({ node }) => node))
    const lost = new Set(
        resources
            .filter(({ type, node }) => (type === 'qemu' || type === 'lxc') && !known.has(node))
            .map(({ node }) => node),
    )
    for (const node of lost)
        findings.push({
            what: `guests belong to the node ${node}, which is not there`,
            remedy: `move their files from /etc/pve/nodes/${node} to /etc/pve/nodes/${hostname ?? 'NAME'}, one by one`,
        })
    return findings
}

async function checkPbs(look: Look): Promise<Finding[]> {
    const versions = await look.patiently(['proxmox-backup-manager', 'versions'])
    if (!versions.ok)
        return [
            {
                what: `Proxmox Backup Server does not answer: ${versions.why}`,
                remedy: 'journalctl -b -u proxmox-backup -u proxmox-backup-proxy',
            },
        ]
    const stores = await look.patiently([
        'proxmox-backup-manager',
        'datastore',
        'list',
        '--output-format',
        'json',
    ])
    if (!stores.ok)
        return [
            {
                what: `the datastores cannot be listed: ${stores.why}`,
                remedy: 'look at /etc/proxmox-backup/datastore.cfg',
            },
        ]
    const findings: Finding[] = []
    for (const { name, path } of parseDatastores(stores.text)) {
        const there = await look.exec(['test', '-d', `${path}/.chunks`], { timeoutMs: bounds.commandMs })
        if (there.found && there.status !== 0)
            findings.push({
                what: `datastore ${name}: ${path} holds no chunks`,
                remedy: `findmnt --target ${path}`,
            })
    }
    return findings
}

async function checkJournal(look: Look, params: CheckParams, context: TaskContext): Promise<Finding[]> {
    const sinceMs = params.sinceMs ?? beginOf(context.change)
    if (sinceMs === undefined) return []
    const since = `@${Math.floor(sinceMs / 1000)}`
    const argv: [string, ...string[]] = [
        ...(['journalctl', '-p', 'err', '--since', since, '-q', '--no-pager', '-o', 'short'] as const),
        ...['-n', String(bounds.journalLines)],
    ]
    const text = await look.text(argv, [0, 1])
    const lines = (text ?? '').split('\n').filter(line => line !== '' && !line.startsWith('-- '))
    if (lines.length === 0) return []
    const count = lines.length >= bounds.journalLines ? `at least ${lines.length}` : String(lines.length)
    const shown = lines
        .slice(-bounds.shownLines)
        .map(line => line.replaceAll(/[\0-\x1f\x7f]/g, ' ').slice(0, 200))
    return [
        {
            what: `${count} errors in the journal since the restore began: ${shown.join(' | ')}`,
            remedy: `journalctl -p err --since ${since}`,
        },
    ]
}

/** Ids of changes are made of the second they began: `20261120-023000-7f3a`. */
function beginOf(change: string): number | undefined {
    const parts = /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-/.exec(change)
    if (parts === null) return undefined
    const [year, month, day, hour, minute, second] = parts.slice(1).map(Number) as [
        number,
        number,
        number,
        number,
        number,
        number,
    ]
    return Date.UTC(year, month - 1, day, hour, minute, second)
}

/** Undefined on a host without a cluster, and when corosync says nothing. */
export function parseQuorum(
    text: string | undefined,
): { quorate: boolean; total: number; needed: number } | undefined {
    const quorate = /^Quorate:\s+(Yes|No)/m.exec(text ?? '')?.[1]
    if (quorate === undefined) return undefined
    const number = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text!)?.[1] ?? 0)
    return { quorate: quorate === 'Yes', total: number('Total votes'), needed: number('Quorum') }
}

/** Columns of `pvesm status`: name, type, status, numbers. */
export function parseStorages(text: string): { name: string; status: string }[] {
    return text
        .split('\n')
        .slice(1)
        .map(line => line.trim().split(/\s+/))
        .filter(fields => fields.length >= 3)
        .map(([name, , status]) => ({ name: name!, status: status! }))
}

function parseResources(text: string): { type: string; node: string; status: string }[] | undefined {
    const rows = parseJson(text)
    if (!Array.isArray(rows)) return undefined
    return rows
        .filter(row => typeof row === 'object' && row !== null)
        .map(row => ({
            type: String(row.type),
            node: String(row.node),
            status: String(row.status ?? 'unknown'),
        }))
}

function parseDatastores(text: string): { name: string; path: string }[] {
    const rows = parseJson(text)
    if (!Array.isArray(rows)) return []
    return rows
        .filter(
            row => typeof row?.name === 'string' && typeof row?.path === 'string' && row.path.startsWith('/'),
        )
        .map(row => ({ name: row.name as string, path: row.path as string }))
}

function parseJson(text: string): unknown {
    try {
        return JSON.parse(text)
    } catch {
        return undefined
    }
}

/** Runs commands, each with a bound, and lets daemons that have just started take their time. */
class Look {
    readonly exec: Exec
    readonly #clock: TimedClock
    readonly #signal: AbortSignal

    constructor({ exec, clock }: CheckHost, { signal }: TaskContext) {
        this.#clock = clock
        this.#signal = signal
        this.exec = (argv, options: ExecOptions = {}) => {
            signal.throwIfAborted()
            return exec(argv, { timeoutMs: bounds.commandMs, signal, ...options })
        }
    }

    /** Standard output, or undefined when there is none worth reading. */
    async text(
        argv: [string, ...string[]],
        okStatuses: readonly number[] = [0],
    ): Promise<string | undefined> {
        const output = outputOf(await this.exec(argv), okStatuses)
        return output.ok ? output.text : undefined
    }

    async patiently(argv: [string, ...string[]]): Promise<ReturnType<typeof outputOf>> {
        for (let attempt = 1; ; attempt++) {
            const result = await this.exec(argv)
            const output = outputOf(result)
            if (output.ok || !result.found || attempt >= bounds.attempts) return output
            await this.#pause()
        }
    }

    #pause(): Promise<void> {
        return new Promise((resolve, reject) => {
            const aborted = () => {
                stop()
                reject(this.#signal.reason)
            }
            const stop = this.#clock.after(bounds.againMs, () => {
                this.#signal.removeEventListener('abort', aborted)
                resolve()
            })
            this.#signal.addEventListener('abort', aborted, { once: true })
        })
    }
}
