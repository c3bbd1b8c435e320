/** Plans a backup: which targets, which recipients, what name; and refuses while nothing has been touched. */
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import { backupId, compactStamp } from '../core/ids.ts'
import { count, showSize } from '../core/units.ts'
import type { Json, Plan, PlannedTask } from '../engine/change.ts'
import type { Target } from '../engine/target.ts'
import type { Config } from '../format/config.ts'
import type { Manifest } from '../format/manifest.ts'
import type { WriteParams } from './write.ts'

export interface BackupRequest {
    /** The first is the primary one: without it there is no backup. */
    targets: readonly Target[]
    categories: 'all' | string[]
    reason: string
    job?: string
    note?: string
    pinned?: boolean
    /** Who asked. */
    by: string
}

/** What the plan needs to know of the host; gathered by the daemon. */
export interface BackupHost {
    root: string
    state: string
    tool: string
    host: Manifest['host']
    product: Manifest['product']
    cluster: Manifest['cluster']
    config: Config['backup']
    /** Public strings. */
    recipients: readonly string[]
    /** Path of the passphrase-protected identity that travels along. */
    identityAge?: string
    sequence: number
    nowMs: number
    random: (bytes: number) => Uint8Array
    /** Bytes of the newest own archive: the best guess of what this one needs. */
    lastSize?: number
    /** Absolute paths that are never saved, such as the targets. */
    never: readonly string[]
}

/** Without an earlier backup, less than this is not worth a try: a small host needs about so much. */
const leastBytes = 32 * 1024 * 1024

export async function planBackup(request: BackupRequest, host: BackupHost): Promise<Plan> {
    const [primary, ...others] = request.targets
    if (primary === undefined) throw new Fault('usage', 'cannot back up: no target is named')
    const encryption = chooseEncryption(host)
    const spool = primary.spool()
    checkSpace(primary, host)

    const name = await freeName(request.targets, host)
    const output = join(spool ?? host.config.spool ?? join(host.state, 'spool'), name)
    const id = backupId(host.random)
    const params: WriteParams = {
        root: host.root,
        state: host.state,
        output,
        manifest: describe(id, encryption, request, host),
        categories: request.categories,
        exclude: host.config.exclude,
        include: host.config.include,
        never: [...host.never],
        recipients: encryption === 'age' ? [...host.recipients] : [],
        capture: host.root === '/',
        cache: host.config.cache,
        identityAge: encryption === 'age' ? host.identityAge : undefined,
    }
    const tasks: PlannedTask[] = [
        { id: 'write', kind: 'archive.write', title: 'write the archive', params: asJson(params) },
        publish(primary, output, name),
    ]
    // A target with a spool of its own takes the file by rename: the others copy what it published.
    const source = spool === undefined ? output : (primary.localPath(name) ?? output)
    for (const target of others) tasks.push({ ...publish(target, source, name), optional: true })
    if (spool === undefined)
        tasks.push({
            id: 'discard',
            kind: 'archive.discard',
            title: 'empty the spool',
            params: { path: output },
            optional: true,
        })
    return {
        kind: 'backup',
        summary: `backup of ${host.host.name} to ${request.targets.map(target => target.name).join(', ')}`,
        by: request.by,
        tasks,
        pivot: publishId(primary),
        recovery: 'undo',
        facts: asJson({
            backup: id,
            name,
            target: primary.name,
            targets: request.targets.map(target => target.name),
            job: request.job,
            reason: request.reason,
        }) as Record<string, Json>,
    }
}

export function publishId(target: Pick<Target, 'name'>): string {
    return `publish-${target.name}`
}

function publish(target: Target, source: string, name: string): PlannedTask {
    return {
        id: publishId(target),
        kind: 'target.publish',
        title: `publish to ${target.name}`,
        params: { target: target.name, source, name },
    }
}

function chooseEncryption({ config, recipients }: BackupHost): 'age' | 'none' {
    if (config.encryption === 'none') return 'none'
    if (recipients.length > 0) return 'age'
    throw new Fault('failed', 'cannot back up: no recipient to encrypt for', {
        hint: 'run `proxsavectl setup`, or write a public key into /etc/proxsave/recipients; encryption = "none" must be written out',
    })
}

function checkSpace(target: Target, { lastSize }: BackupHost): void {
    const free = target.freeBytes()
    if (free === undefined) return
    const need = Math.max(leastBytes, Math.ceil((lastSize ?? 0) * 1.1))
    if (free >= need) return
    throw new Fault(
        'failed',
        `cannot back up to ${target.name}: ${showSize(free)} are free at ${target.place}, about ${showSize(need)} are needed`,
        { hint: 'make room there, or let `proxsavectl prune` remove old backups' },
    )
}

/** `<host>_<stamp>.proxsave.tar`; the second one in the same second gets `-2`. A silent further target decides nothing. */
async function freeName(targets: readonly Target[], { host, nowMs }: BackupHost): Promise<string> {
    const taken = new Set<string>()
    for (const [at, target] of targets.entries()) {
        try {
            for (const { name } of await target.list()) taken.add(name)
        } catch (error) {
            if (at === 0) throw error
        }
    }
    const base = `${fileNameOf(host.name)}_${compactStamp(nowMs)}`
    for (let nth = 1; ; nth++) {
        const name = `${base}${nth === 1 ? '' : `-${nth}`}.proxsave.tar`
        if (!taken.has(name)) return name
    }
}

function fileNameOf(host: string): string {
    const clean = host.replaceAll(/[^A-Za-z0-9-]/g, '-').replace(/^-+/, '')
    return clean.slice(0, 63) || 'host'
}

function describe(
    id: string,
    encryption: 'age' | 'none',
    request: BackupRequest,
    host: BackupHost,
): WriteParams['manifest'] {
    return {
        format: 'proxsave/1',
        id,
        created: `${new Date(host.nowMs).toISOString().slice(0, 19)}Z`,
        sequence: host.sequence,
        host: host.host,
        product: host.product,
        cluster: host.cluster,
        tool: host.tool,
        job: request.job,
        reason: request.reason,
        note: request.note,
        pinned: request.pinned,
        encryption: { kind: encryption, recipients: encryption === 'age' ? [...host.recipients] : [] },
    }
}

/** Leaves out what is undefined: a plan is compared and journaled as JSON. */
function asJson(value: unknown): Json {
    return JSON.parse(JSON.stringify(value)) as Json
}

/** One line for the log. */
export function describeResult(facts: Record<string, unknown>): string {
    const size = typeof facts.size === 'number' ? showSize(facts.size) : '?'
    const entries = typeof facts.entries === 'number' ? count(facts.entries, 'entry', 'entries') : '?'
    return `backup ${facts.backup} (${size}, ${entries})`
}
