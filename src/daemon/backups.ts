/** What the daemon does with backups: lists and finds them, starts new ones, and prunes behind them. */
import { readHead } from '../archive/head.ts'
import { named } from '../archive/reader.ts'
import {
    describeArchive,
    findBackup,
    type FoundArchive,
    type ListedTarget,
    listTargets,
    newestFirst,
} from '../backup/list.ts'
import { describeResult, planBackup, publishId } from '../backup/plan.ts'
import { type PruneResult, planPrune, pruneChange } from '../backup/prune.ts'
import type { Identity } from '../archive/unlock.ts'
import { describeUpstream, isUpstream, readUpstreamHead } from '../archive/upstream-head.ts'
import type { BackupInfo } from '../core/answers.ts'
import { asFault, Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { keepsSomething } from '../core/retention.ts'
import type { EndEvent, Plan } from '../engine/change.ts'
import type { StartOptions } from '../engine/runner.ts'
import type { RemoteSource, Source, StoredArchive, Target } from '../engine/target.ts'
import type { WorkerOptions } from '../engine/worker.ts'
import type { Config, JobConfig } from '../format/config.ts'
import type { Manifest } from '../format/manifest.ts'
import { DataFile } from '../host/data-file.ts'
import type { Product } from '../host/product.ts'
import { type HostIdentity, loadHost, nextSequence } from '../keys/host-identity.ts'
import { loadIdentity, loadProtectedIdentity } from '../keys/identity.ts'
import { loadRecipients } from '../keys/recipients.ts'
import { loadSigningKey } from '../keys/signing-key.ts'
import { jobNamed } from '../schedule/apply.ts'
import type { Daemon } from './daemon.ts'
import { listUpstream, upstreamInfo, upstreamOffers, within } from './upstream.ts'

export interface Listing {
    /** Newest first. */
    backups: BackupInfo[]
    targets: ListedTarget[]
}

/** All archives of the given target or source, or of all targets. One that cannot be read is told by its own row. */
export async function listAll(daemon: Daemon, targetName?: string): Promise<Listing> {
    if (targetName === undefined) return listFrom(daemon, daemon.targets().values())
    return listFrom(daemon, [daemon.sources().get(targetName) ?? daemon.target(targetName)])
}

/** The archives on all sources: their beginnings are read over the network, unless they are known already. */
export function listSources(daemon: Daemon): Promise<Listing> {
    return listFrom(daemon, daemon.sources().values())
}

async function listFrom(daemon: Daemon, chosen: Iterable<Source>): Promise<Listing> {
    const targets = await listTargets(chosen, daemon.heads)
    const judge = {
        hostId: hostOf(daemon).id,
        verified: (id: string) => daemon.knowledge.verified(id),
        nowMs: daemon.parts.clock.nowMs(),
    }
    const backups = targets.flatMap(({ archives }) => archives.map(found => describeArchive(found, judge)))
    return { backups: backups.sort(newestFirst), targets }
}

/** Those of this host, and those that nobody can tell whose they are. */
export function ownOnly(backups: readonly BackupInfo[]): BackupInfo[] {
    return backups.filter(backup => backup.own || backup.id === '')
}

export interface Located {
    /** Absolute; of an archive on a source what people call its place, until it is downloaded. */
    path: string
    backup: BackupInfo
    manifest: Manifest
    /** Carries an identity that a passphrase opens. */
    hasIdentity: boolean
    /** Made by the Go tool. */
    upstream?: boolean
    /** Lies elsewhere and has to be downloaded first. */
    remote?: { source: RemoteSource; archive: StoredArchive }
}

/** The archive that an id, the beginning of one, `latest` or an absolute path names. */
export async function locate(daemon: Daemon, reference: string): Promise<Located> {
    if (reference.startsWith('/'))
        return isUpstream(reference) ? locateUpstream(reference) : locateFile(daemon, reference)
    if (isUpstream(reference)) {
        const here = await findUpstream(daemon, reference)
        return here === undefined ? locateRemote(daemon, reference) : locateUpstream(here)
    }
    const { backups, targets } = await listAll(daemon)
    let backup: BackupInfo
    try {
        backup = findBackup(backups, reference)
    } catch (error) {
        const missing = error instanceof Fault && error.facts.missing === 'backup'
        if (!missing || daemon.sources().size === 0) throw error
        return locateRemote(daemon, reference)
    }
    const found = targets
        .flatMap(({ archives }) => archives)
        .find(({ target, stored }) => target.name === backup.target && stored.name === backup.name)
    if (found?.manifest === undefined || backup.path === undefined)
        throw new Fault('damaged', `cannot use ${backup.name}: ${backup.problem ?? 'it cannot be read here'}`)
    return locateFile(daemon, backup.path, found)
}

/** On the sources, which are asked only for what is not here. One that cannot be listed may be where it is. */
async function locateRemote(daemon: Daemon, reference: string): Promise<Located> {
    const sources = daemon.sources()
    const { backups, targets } = await listSources(daemon)
    let backup: BackupInfo
    try {
        backup = findBackup(backups, reference)
    } catch (error) {
        // Only of those that somebody chose: a remote of the Go tool may be out of use for years.
        const chosen = new Set(daemon.config.config.sources.map(({ name }) => name))
        const silent = targets.find(({ target, problem }) => problem !== undefined && chosen.has(target.name))
        throw silent?.problem ?? error
    }
    const found = targets
        .flatMap(({ archives }) => archives)
        .find(({ target, stored }) => target.name === backup.target && stored.name === backup.name)
    const source = sources.get(backup.target)
    if (found?.manifest === undefined || source === undefined)
        throw new Fault('damaged', `cannot use ${backup.name}: ${backup.problem ?? 'it cannot be read'}`)
    return {
        path: `${source.place}: ${backup.name}`,
        backup,
        manifest: found.manifest,
        hasIdentity: found.hasIdentity === true,
        ...(isUpstream(backup.name) ? { upstream: true } : {}),
        remote: { source, archive: found.stored },
    }
}

export interface Here extends Located {
    remote?: never
    /** The copy of a source's archive is not needed any more. */
    release(keepMs?: number): void
}

/** The archive as a file of this host: downloaded when it lies on a source. */
export async function bringHere(daemon: Daemon, located: Located, watch: WorkerOptions): Promise<Here> {
    const { remote, ...rest } = located
    if (remote === undefined) return { ...rest, release: () => undefined }
    const { path, release } = await daemon.downloads.open(remote.source, remote.archive, watch)
    return { ...rest, path, release }
}

/** An archive of the Go tool: its manifest in our shape, and whose passphrase works without an identity inside. */
async function locateUpstream(path: string): Promise<Located> {
    const manifest = describeUpstream(await readUpstreamHead(path))
    const directory = path.slice(0, path.lastIndexOf('/')) || '/'
    const file = { name: manifest.id, size: manifest.data.size, directory, path }
    return { path, backup: upstreamInfo(manifest, file), manifest, hasIdentity: false, upstream: true }
}

/** By its file name, as a listing shows it; undefined when a source may have it. */
async function findUpstream(daemon: Daemon, name: string): Promise<string | undefined> {
    const { backups } = await listUpstream(upstreamDirectories(daemon))
    const found = backups.find(backup => backup.name === name)?.path
    if (found !== undefined || daemon.sources().size > 0) return found
    throw new Fault('failed', `cannot find the backup ${name}: no directory that is known here has it`, {
        hint: 'name it by its path',
        facts: { missing: 'backup' },
    })
}

/** Where archives of the Go tool are looked for: its own settings, and our local targets. */
export function upstreamDirectories(daemon: Daemon): string[] {
    const { root } = daemon.parts
    const { directories } = upstreamOffers(root, daemon.config.config)
    const named = directories.map(path => within(root, path))
    const local = [...daemon.targets().values()].filter(({ type }) => type === 'local')
    return [...new Set([...named, ...local.map(({ place }) => place)])]
}

async function locateFile(daemon: Daemon, path: string, found?: FoundArchive): Promise<Located> {
    let file: DataFile
    try {
        file = DataFile.openForReading(path)
    } catch (error) {
        const code = (error as { code?: string }).code
        throw new Fault(
            'failed',
            `cannot open ${path}: ${code === 'ENOENT' ? 'there is no such file' : code}`,
            {
                facts: { missing: 'backup' },
            },
        )
    }
    try {
        const { manifest, signature, identity } = await readHead({
            read: (offset, length) => file.read(offset, length),
        })
        const name = path.slice(path.lastIndexOf('/') + 1)
        const judge = {
            hostId: hostOf(daemon).id,
            verified: (id: string) => daemon.knowledge.verified(id),
            nowMs: daemon.parts.clock.nowMs(),
        }
        const target = { name: found?.target.name ?? '', localPath: () => path } as unknown as Source
        const stored = found?.stored ?? { name, size: file.size, modifiedMs: 0 }
        const backup = describeArchive({ target, stored, manifest, signed: signature !== undefined }, judge)
        return { path, backup, manifest, hasIdentity: identity !== undefined }
    } catch (error) {
        throw named(error, path)
    } finally {
        file.close()
    }
}

/** What a worker opens the archive with: what the caller gave, or what this host has. */
export function identityFor(
    daemon: Daemon,
    located: Located,
    given: Identity | undefined,
): Identity | undefined {
    if (located.manifest.encryption.kind === 'none') return undefined
    if (located.upstream === true) {
        // Its passphrases are keys by themselves; a plain identity of this host may happen to be among its recipients.
        const here = given === undefined ? loadIdentity(daemon.keys) : undefined
        return here?.kind === 'plain' ? { texts: [here.text] } : given
    }
    const protectedHere = () => {
        const bytes = loadProtectedIdentity(daemon.keys)
        return bytes === undefined ? undefined : Buffer.from(bytes).toString('base64')
    }
    if (given !== undefined) {
        if ('texts' in given || given.file !== undefined || located.hasIdentity) return given
        // The archive is older than the passphrase: the host's own copy may open it.
        return { ...given, file: protectedHere() }
    }
    const own = loadIdentity(daemon.keys)
    if (own?.kind === 'plain') return { texts: [own.text] }
    if (own?.kind === 'protected' && !located.hasIdentity)
        throw new Fault('damaged', `cannot open ${located.path}: the identity needs its passphrase`, {
            hint: 'run this at a terminal to be asked for it, or give an identity with --identity FILE',
            facts: { need: 'passphrase' },
        })
    return undefined
}

export function hostOf(daemon: Daemon): HostIdentity {
    const { state, root, random } = daemon.parts
    return loadHost(state, root, random)
}

export interface BackupOrder {
    job?: string
    target?: string
    note?: string
    pin?: boolean
    reason?: string
    /** Wait for a running change, up to an hour. */
    wait?: boolean
}

/** Starts a backup; resolves to the id of the change as soon as its begin is durable. */
export async function startBackup(
    daemon: Daemon,
    order: BackupOrder,
    by: string,
    signal: AbortSignal,
): Promise<string> {
    for (;;) {
        await untilIdle(daemon, order.wait === true, signal)
        const plan = await planFor(daemon, order, by)
        signal.throwIfAborted()
        try {
            const id = daemon.parts.runner.start(plan)
            keepDuties(daemon, id)
            return id
        } catch (error) {
            // Somebody was quicker between the look and the start.
            if (order.wait !== true || !(error instanceof Fault) || error.kind !== 'conflict') throw error
        }
    }
}

/** Does what belongs behind the backup; never fails, because nobody waits for it. */
function keepDuties(daemon: Daemon, id: string): void {
    const duties = afterBackup(daemon, id)
        .catch(error => daemon.parts.log.warning(`behind the backup: ${asFault(error).message}`))
        .finally(() => {
            if (daemon.duties === duties) daemon.duties = undefined
        })
    daemon.duties = duties
}

/**
 * Waits for the prune that belongs to the last backup, whoever asks; for any other change only when `wait` says so.
 * Without it a running change is a conflict, told before anything is planned.
 */
export async function untilIdle(daemon: Daemon, wait: boolean, signal: AbortSignal): Promise<void> {
    const { runner, clock } = daemon.parts
    const untilMs = clock.bootMs() + limits.jobWaitMs
    for (;;) {
        const running = runner.running()?.summary
        const unfinished = running === undefined ? runner.unfinished()[0] : undefined
        const busy = running ?? unfinished
        if (running === undefined && unfinished === undefined) {
            if (daemon.duties === undefined) return
            await settled(daemon.duties, untilMs - clock.bootMs(), signal)
            continue
        }
        const automatic = busy?.facts.automatic === true
        if (!automatic && !wait)
            throw new Fault(
                'conflict',
                `cannot start: change ${busy!.id} (${busy!.summary}) ${running ? 'is running' : 'is being recovered'}`,
                {
                    hint: `wait for it with proxsavectl attach ${busy!.id}, or stop it with proxsavectl cancel ${busy!.id}`,
                    facts: { change: busy!.id },
                },
            )
        const leftMs = untilMs - clock.bootMs()
        if (leftMs <= 0)
            throw new Fault('conflict', `cannot start: change ${busy!.id} is still running after an hour`, {
                facts: { change: busy!.id },
            })
        if (running === undefined) await settled(runner.recover(), leftMs, signal)
        else await settled(runner.wait(running.id), leftMs, signal)
        // The run lets go of the engine a moment after its end.
        await Bun.sleep(5)
    }
}

/** Resolves when the promise is settled either way, the time is over, or the client went; throws for the last. */
async function settled(promise: Promise<unknown>, mostMs: number, signal: AbortSignal): Promise<void> {
    const { promise: gone, resolve } = Promise.withResolvers<void>()
    const onAbort = () => resolve()
    signal.addEventListener('abort', onAbort)
    const timer = setTimeout(resolve, mostMs)
    await Promise.race([promise.catch(() => undefined), gone])
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    signal.throwIfAborted()
}

async function planFor(daemon: Daemon, order: BackupOrder, by: string): Promise<Plan> {
    const { root, state, clock, random, version } = daemon.parts
    const config = daemon.usableConfig()
    const job = order.job === undefined ? undefined : jobNamed(config, order.job)
    const targets = chooseTargets(daemon, config, job, order)
    const host = hostOf(daemon)
    const product = daemon.product()
    const { backups } = await listAll(daemon)
    const own = backups.filter(backup => backup.own && backup.id !== '')
    // The worker signs with it; a host that never had one gets it here.
    loadSigningKey(state, random, `proxsave@${product.hostname}`)
    return planBackup(
        {
            targets,
            categories: job?.categories ?? config.backup.categories,
            reason: order.reason ?? 'manual',
            job: job?.name,
            note: order.note ?? job?.note,
            pinned: order.pin,
            by,
        },
        {
            root,
            state,
            tool: `proxsave ${version}`,
            host: { id: host.id, name: product.hostname, fqdn: product.fqdn },
            product: manifestProduct(product),
            cluster: product.cluster,
            config: config.backup,
            recipients: loadRecipients(daemon.keys).map(recipient => recipient.text),
            identityAge:
                loadProtectedIdentity(daemon.keys) === undefined ? undefined : daemon.keys.protectedIdentity,
            sequence: nextSequence(state, Math.max(0, ...own.map(backup => backup.sequence))),
            nowMs: clock.nowMs(),
            random,
            lastSize: own[0]?.size,
            never: [...daemon.targets().values()].map(target => target.place),
        },
    )
}

function manifestProduct({ kind, pve, pbs, debian, kernel }: Product): Manifest['product'] {
    return { kind, pve, pbs, debian, kernel }
}

/** By `--target`, by the job, or all of them in the order of the configuration; before a package change the first alone. */
function chooseTargets(
    daemon: Daemon,
    config: Config,
    job: JobConfig | undefined,
    order: BackupOrder,
): Target[] {
    if (order.target !== undefined) return [daemon.target(order.target)]
    if (job !== undefined) return job.targets.map(name => daemon.target(name))
    const names = config.targets.map(target => target.name)
    return (order.reason === 'apt' ? names.slice(0, 1) : names).map(name => daemon.target(name))
}

/** Notes where the backup went, and prunes the targets that it reached; never behind a failed one. */
async function afterBackup(daemon: Daemon, id: string): Promise<void> {
    const { runner, store, log } = daemon.parts
    const end = await runner.wait(id)
    tell(daemon, end)
    if (end.result !== 'ok' && end.result !== 'warning') return
    const ledger = store.replay(id)
    const reached = [...daemon.targets().values()].filter(
        target => ledger?.stateOf(publishId(target)) === 'done',
    )
    for (const target of reached) daemon.knowledge.markPublished(target.name)
    const results = await planPruneOf(
        daemon,
        reached.map(target => target.name),
    )
    const plan = pruneChange(results, 'proxsave', daemon.parts.clock.nowMs())
    if (plan === undefined) return
    const pruneId = runner.start({ ...plan, facts: { ...plan.facts, automatic: true, behind: id } })
    const pruned = await runner.wait(pruneId)
    if (pruned.result !== 'ok') log.warning(`prune behind ${id}: ${pruned.error?.message ?? pruned.result}`)
}

function tell({ parts: { log } }: Daemon, end: EndEvent): void {
    if (end.result === 'ok') log.info(`${describeResult(end)} is done`)
    else if (end.result === 'warning') log.warning(`${describeResult(end)} is done, with warnings`)
    else log.error(`backup ${String(end.backup)} ${end.result}: ${end.error?.message ?? ''}`)
}

/** What may go from each named target, or from all; targets without a retention are left out. */
export async function planPruneOf(daemon: Daemon, names?: readonly string[]): Promise<PruneResult[]> {
    const config = daemon.usableConfig()
    const host = hostOf(daemon)
    if (host.cloned)
        throw new Fault(
            'refused',
            `cannot prune: this machine looks like a copy of another one (${host.differs.join(', ')} changed)`,
            {
                hint: `take over the archives with proxsavectl setup --adopt ${host.id}, or begin anew with setup --adopt new`,
            },
        )
    const wanted = config.targets.filter(
        target => keepsSomething(target.keep) && (names === undefined || names.includes(target.name)),
    )
    const results: PruneResult[] = []
    for (const { name, keep, minKeep, maxPrune } of wanted) {
        const [listed] = await listTargets([daemon.target(name)], daemon.heads)
        if (listed?.problem !== undefined) throw listed.problem
        results.push(
            planPrune({
                target: name,
                archives: listed!.archives.map(({ stored, manifest, problem }) => ({
                    name: stored.name,
                    size: stored.size,
                    manifest,
                    problem,
                })),
                keep,
                minKeep,
                maxPrune,
                hostId: host.id,
                hasPublished: daemon.knowledge.hasPublished(name),
                nowMs: daemon.parts.clock.nowMs(),
                timeZone: daemon.parts.clock.timeZone(),
                verified: daemon.knowledge.allVerified(),
            }),
        )
    }
    return results
}

/** Starts any other change as soon as the engine is free; `plan` is asked once it is. */
export async function startChange(
    daemon: Daemon,
    signal: AbortSignal,
    plan: () => Plan | Promise<Plan>,
    options: StartOptions = {},
): Promise<{ change: string }> {
    await untilIdle(daemon, false, signal)
    const { runner } = daemon.parts
    const change = runner.start(await plan(), options)
    const forget = () => daemon.secrets.clear()
    void runner.wait(change).then(forget, forget)
    return { change }
}
