/** The conversation that makes a restore: each round takes all answers so far and gives the next question, or the plan. */
import type { Identity } from '../archive/unlock.ts'
import { newestFirst } from '../backup/list.ts'
import { areaById } from '../catalog/areas.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json, Plan } from '../engine/change.ts'
import { freeBytes } from '../host/archive-directory.ts'
import { readSmallFile } from '../host/atomic.ts'
import type { SshEnds } from '../host/origin.ts'
import { loadIdentity, loadProtectedIdentity } from '../keys/identity.ts'
import { readSigningKey } from '../keys/signing-key.ts'
import { compare, type HostFacts } from '../restore/compatibility.ts'
import type { DatabaseFacts } from '../restore/cluster.ts'
import { databaseComesBack, type Circumstances } from '../restore/decide.ts'
import { exportsDirectory } from '../restore/host.ts'
import { explainDoubts, findNeighbours, refuseNeighbours, shortPatience } from '../restore/isolation.ts'
import { chooseCategories, type Held, readCategories } from '../restore/modes.ts'
import type { Examined } from '../restore/open.ts'
import {
    type BarePlan,
    checkRoom,
    describePlan,
    exportsPlace,
    digestOf,
    isEmpty,
    makePlan,
    unitsOf,
} from '../restore/plan.ts'
import * as ask from '../restore/questions.ts'
import { availableStrategies, guardedAreas, tasksOf } from '../restore/strategies.ts'
import { nextSteps } from '../restore/summary.ts'
import type { Survey } from '../restore/survey.ts'
import type { ClusterMode, Mode, RestorePlan, RestoreRequest } from '../restore/types.ts'
import { bringHere, type Here, listAll, type Located, locate, ownOnly, untilIdle } from './backups.ts'
import { keepLog } from './change-log.ts'
import type { Daemon } from './daemon.ts'
import { consoleAdvice } from './console-advice.ts'
import { fencingAdvice } from './fencing-advice.ts'
import { keepSecret } from './secrets.ts'
import { listUpstream, upstreamOffers, within } from './upstream.ts'

/** An archive that lies on a source: it has to be brought here before anything can be said of its content. */
export interface Fetch {
    backup: string
    from: string
    size: number
}

/** What a round came to: `identity` is what opened the archive and never leaves the daemon. */
type Round =
    | { question: ask.Ask }
    | { fetch: Fetch }
    | {
          plan: BarePlan
          survey: Survey
          examined: Examined
          host: HostFacts
          identity?: Identity
          session?: SshEnds
          /** A person says that no other member of the cluster runs. */
          isolated: boolean
      }

type Planned = Exclude<Round, { question: ask.Ask } | { fetch: Fetch }>

export type PlanAnswer = { question: ask.Ask } | { fetch: Fetch } | { plan: RestorePlan; digest: string }

/** Plans and forgets. */
export async function planRestore(
    daemon: Daemon,
    request: RestoreRequest,
    signal: AbortSignal,
    session?: SshEnds,
): Promise<PlanAnswer> {
    const round = await converse(daemon, request, signal, session)
    if ('question' in round || 'fetch' in round) return round
    const plan = { ...round.plan, tasks: tasksFor(daemon, round, '(given at the start)') }
    return { plan, digest: digestOf(plan) }
}

/** Plans again, compares with what was shown, and starts the change; resolves to its id. */
export async function startRestore(
    daemon: Daemon,
    request: RestoreRequest,
    shown: string,
    by: string,
    signal: AbortSignal,
    session?: SshEnds,
): Promise<string> {
    if (request.answers.confirm !== 'RESTORE')
        throw new Fault('refused', 'cannot restore: it was not confirmed; nothing was changed', {
            hint: 'type RESTORE when asked, or give --answer confirm=RESTORE',
        })
    await untilIdle(daemon, false, signal)
    const round = await converse(daemon, request, signal, session)
    if ('fetch' in round)
        throw new Fault(
            'failed',
            'cannot restore: the backup is not here any more, it was downloaded too long ago',
            {
                hint: 'run the same command again',
            },
        )
    if ('question' in round)
        throw new Fault('refused', `cannot restore: the question ${round.question.id} is not answered`, {
            hint: `--answer ${round.question.id}=VALUE`,
        })
    if (digestOf(round.plan) !== shown)
        throw new Fault('failed', 'cannot restore: the host has changed since the plan was shown', {
            hint: 'look at the new plan: run the same command again',
        })
    if (isEmpty(round.plan))
        throw new Fault('failed', 'cannot restore: there is nothing to do, the host is as the backup has it')
    const { runner } = daemon.parts
    const reference =
        round.identity === undefined ? undefined : keepSecret(daemon, JSON.stringify(round.identity))
    const letGo = daemon.downloads.hold(round.plan.backup.path)
    const forget = () => {
        if (reference !== undefined) daemon.secrets.delete(reference)
        letGo()
    }
    try {
        const change = runner.start(changeOf(daemon, round, reference, by), {
            answers: later(request.answers),
            interactive: request.interactive,
        })
        void keepLog(daemon.parts, change).then(forget, forget)
        return change
    } catch (error) {
        forget()
        throw error
    }
}

function changeOf(daemon: Daemon, round: Planned, reference: string | undefined, by: string): Plan {
    const { plan, survey } = round
    const live = daemon.parts.root === '/'
    // What becomes of these only their guards know: each says it when it is over.
    const waiting = guardedAreas(survey.rows).flatMap(({ actions }) => actions)
    const guarded = (wanted: string) => waiting.filter(({ action }) => action === wanted).length
    const facts: Record<string, Json> = {
        backup: plan.backup.id,
        from: plan.backup.path,
        mode: plan.mode,
        categories: [
            ...new Set(plan.categories.filter(({ action }) => action !== 'skip').map(({ id }) => id)),
        ],
        created: plan.files.create.length - guarded('create'),
        replaced: plan.files.replace.length - guarded('replace'),
        merged: plan.files.merge.length,
        dressed: plan.files.metadata.length - guarded('metadata'),
        deleted: plan.files.remove.length - guarded('remove'),
        unchanged: plan.files.unchanged,
    }
    const next = nextSteps(plan, live)
    if (next.length > 0) facts.next = next
    if (plan.warnings.length > 0) facts.noted = plan.warnings.slice(0, 50)
    if (plan.exports !== undefined) facts.exports = plan.exports.directory
    return {
        kind: 'restore',
        summary: describePlan(plan),
        by,
        tasks: tasksFor(daemon, round, reference),
        recovery: 'undo',
        facts,
    }
}

function tasksFor(
    daemon: Daemon,
    { plan, survey, examined, host, identity, isolated, session }: Planned,
    reference: string | undefined,
) {
    const { state, clock } = daemon.parts
    return tasksOf({
        archive: plan.backup.path,
        identity: identity === undefined ? undefined : reference,
        rows: survey.rows,
        ...unitsOf(survey.rows),
        exports: plan.exports?.directory,
        needs: plan.needs,
        backup: plan.backup.id,
        directories: survey.directories,
        database: {
            isolated,
            hostname: host.name,
            backupHostname: examined.summary.host.name,
        },
        check: {
            product: host.product.kind,
            database: plan.categories.some(({ action }) => action === 'database'),
            hostname: host.name,
            backupHostname: examined.summary.host.name,
            pools: survey.pools,
        },
        guard: {
            timeoutMs: daemon.config.config.guard.timeoutMs,
            exports:
                plan.exports?.directory ??
                exportsPlace(exportsDirectory(state), examined.summary.host.name, clock.nowMs()),
            ...(survey.inventory === undefined ? {} : { inventory: survey.inventory }),
            ...session,
        },
    })
}

/** Questions of planning are answered by now; the rest belongs to the tasks. */
function later(answers: Record<string, string>): Record<string, string> {
    const planning =
        /^(source|backup|decrypt\..*|signature\.untrusted|compat\.mismatch|mode|categories|cluster\.mode|cluster\.isolated|confirm)$/
    return Object.fromEntries(Object.entries(answers).filter(([id]) => !planning.test(id)))
}

async function converse(
    daemon: Daemon,
    request: RestoreRequest,
    signal: AbortSignal,
    session: SshEnds | undefined,
): Promise<Round> {
    const located = await findArchive(daemon, request)
    if ('question' in located) return located
    const { remote, backup } = located
    // It may take an hour: the client asks for it, sees how far it is, and can stop it.
    if (remote !== undefined && !daemon.downloads.has(remote.source, remote.archive))
        return { fetch: { backup: backup.id, from: remote.source.place, size: remote.archive.size } }
    const here = await bringHere(daemon, located, { signal })
    try {
        return await converseAbout(daemon, here, request, signal, session)
    } finally {
        here.release(limits.downloadKeptMs)
    }
}

async function converseAbout(
    daemon: Daemon,
    found: Here,
    request: RestoreRequest,
    signal: AbortSignal,
    session: SshEnds | undefined,
): Promise<Round> {
    const opened = await open(daemon, found, request, signal)
    if ('question' in opened) return opened
    const { examined, held, identity } = opened
    const trust = checkTrust(examined, request)
    if (trust !== undefined) return trust
    const host = hostFacts(daemon)
    const fit = checkCompatibility(examined, host, request)
    if (fit !== undefined) return fit
    const chosen = choose(held, request)
    if ('question' in chosen) return chosen
    const cluster = chooseCluster(examined, host, chosen.ids, request)
    if ('question' in cluster) return cluster

    const warnings = [...cluster.warnings, ...rootWarnings(daemon)]
    const circumstances: Circumstances = {
        host,
        available: availableStrategies,
        cluster: cluster.mode,
        noGuard: noGuardHere(daemon),
        database: chosen.ids.includes('pve_cluster'),
    }
    const survey = await surveyOf(daemon, found, identity, chosen.ids, circumstances, request, signal)
    const { root, state, clock } = daemon.parts
    const { units } = unitsOf(survey.rows)
    if (root !== '/' && units.length > 0)
        warnings.push(
            `no service is stopped or started, because ${root} is served instead of /: ${units.join(', ')}`,
        )
    if (examined.signature.state === 'unsigned') warnings.push('the backup is not signed')
    if (examined.signature.state === 'foreign')
        warnings.push(
            `the backup is signed by a key this host does not know: ${examined.signature.fingerprint}`,
        )
    const database =
        circumstances.database && databaseComesBack(circumstances)
            ? await examineDatabase(daemon, found, identity, host, examined, chosen.ids, signal)
            : undefined
    if (database !== undefined) warnings.push(...database.warnings)
    warnings.push(...(await fencingAdvice(daemon, survey)))
    const guards = guardedAreas(survey.rows).map(({ area: id, actions }) => {
        const { title, apply, commit } = areaById(id)
        const { timeoutMs } = daemon.config.config.guard
        return {
            area: id,
            title,
            ...(apply === undefined ? {} : { apply }),
            commit,
            timeoutMs,
            files: actions.length,
        }
    })
    const free = freeBytes(state)
    const plan = makePlan({
        examined,
        survey,
        mode: chosen.mode,
        cluster:
            examined.summary.cluster === 'cluster' || request.cluster !== undefined
                ? cluster.mode
                : undefined,
        exact: request.exact === true,
        exportsDirectory: exportsDirectory(state),
        host: host.name,
        nowMs: clock.nowMs(),
        warnings,
        irreversible: database?.irreversible,
        console: await consoleAdvice(daemon, survey, session),
        guards,
        unitStates: await unitStates(daemon, units),
        freeBytes: free,
    })
    checkRoom(plan, free, state)
    const isolated = request.answers['cluster.isolated'] === 'yes'
    return { plan, survey, examined, host, identity, isolated, session }
}

// --- where it is ---------------------------------------------------------------------------------------------------

async function findArchive(
    daemon: Daemon,
    request: RestoreRequest,
): Promise<Located | { question: ask.Ask }> {
    const { answers, interactive } = request
    const { root } = daemon.parts
    const named = request.backup ?? answers.backup
    if (named !== undefined) {
        if (answers.source === 'path' && !named.startsWith('/'))
            return { question: ask.askPath('it must begin with /') }
        return locate(daemon, named)
    }
    const { source } = answers
    const remote = source === undefined ? undefined : daemon.sources().get(source)
    const { backups, targets } = await listAll(daemon, remote?.name)
    if (remote !== undefined && targets[0]?.problem !== undefined) throw targets[0].problem
    const readable = backups.filter(({ id }) => id !== '')
    const own = ownOnly(readable)
    const offered = request.allHosts === true || own.length === 0 || remote !== undefined ? readable : own
    if (!interactive) {
        if (own.length === 0 && daemon.sources().size === 0)
            throw new Fault('failed', 'cannot restore: there is no backup of this host', {
                hint: 'name one: proxsavectl list --all-hosts, then restore BACKUP',
                facts: { missing: 'backup' },
            })
        return locate(daemon, 'latest')
    }
    if (source === 'path') return { question: ask.askPath() }
    const { directories } = upstreamOffers(root, daemon.config.config)
    if (source !== undefined && directories.includes(source)) return askUpstream(within(root, source))
    const places: Parameters<typeof ask.askSource>[0] = [
        ...targets.map(({ target }) => ({
            name: target.name,
            place: target.place,
            count: offered.filter(backup => backup.target === target.name).length,
        })),
        // Counting them would be a way to another machine for somebody who may not want them.
        ...[...daemon.sources().values()]
            .filter(({ name }) => name !== remote?.name)
            .map(({ name, place }) => ({ name, place })),
        ...directories.map(name => ({ name, place: 'of the Go ProxSave' })),
    ]
    if (source === undefined && (places.length > 1 || offered.length === 0))
        return { question: ask.askSource(places) }
    if (source !== undefined && remote === undefined && !places.some(({ name }) => name === source))
        daemon.target(source)
    const there = offered.filter(backup => source === undefined || backup.target === source)
    if (there.length === 0)
        return { question: ask.askPath(`there is no backup on ${source ?? 'this target'}`) }
    return { question: ask.askBackup(there.slice(0, mostOffered), own.length === 0) }
}

/** Archives of the Go tool are named by their paths: the same name may lie in two of its directories. */
async function askUpstream(directory: string): Promise<{ question: ask.Ask }> {
    const { backups, problems } = await listUpstream([directory])
    if (problems[0] !== undefined)
        throw new Fault('failed', problems[0].message, { hint: problems[0].hint ?? 'look at the directory' })
    const there = backups
        .filter(({ id, path }) => id !== '' && path !== undefined)
        .sort(newestFirst)
        .map(backup => ({ ...backup, id: backup.path! }))
    if (there.length === 0) return { question: ask.askPath(`there is no backup in ${directory}`) }
    return { question: ask.askBackup(there.slice(0, mostOffered), false) }
}

/** A menu of more nobody reads; the rest is reached by its id. */
const mostOffered = 200

// --- what opens it -------------------------------------------------------------------------------------------------

type Opened = { examined: Examined; held: Held[]; identity?: Identity }

async function open(
    daemon: Daemon,
    located: Located,
    request: RestoreRequest,
    signal: AbortSignal,
): Promise<Opened | { question: ask.Ask }> {
    const encrypted = located.manifest.encryption.kind !== 'none'
    const host = encrypted ? hostIdentity(daemon) : undefined
    const methods = {
        host: host !== undefined,
        passphrase:
            located.hasIdentity ||
            located.upstream === true ||
            loadProtectedIdentity(daemon.keys) !== undefined,
    }
    const { answers } = request
    const method = answers['decrypt.method']
    const [passphrase, text] = [answers['decrypt.passphrase'], answers['decrypt.identity']]
    let identity: Identity | undefined
    if (encrypted) {
        // What was given decides; without anything the host's own identity is tried first.
        if (text !== undefined && method !== 'host' && method !== 'passphrase') identity = { texts: [text] }
        else if (passphrase !== undefined && method !== 'host' && method !== 'identity')
            // A protected identity may come as a file with the passphrase.
            identity = { passphrase, ...(text === undefined ? fileOf(daemon, located) : { file: text }) }
        else if (method === 'passphrase') return { question: ask.askPassphrase() }
        else if (method === 'identity') return { question: ask.askIdentity() }
        // Three wrong passphrases: what opens it is asked again.
        else if (method === 'ask') return { question: ask.askMethod(methods) }
        else identity = host
    }
    const examined = await examine(daemon, located, identity, signal)
    if (examined.held !== undefined)
        return { examined, held: examined.held, ...(identity === undefined ? {} : { identity }) }
    const why = examined.locked?.why ?? 'it cannot be opened'
    if (!request.interactive)
        throw new Fault('damaged', why.startsWith('cannot') ? why : `cannot restore: ${why}`, {
            hint: 'give what opens it: --identity FILE, or at a terminal its passphrase',
            facts: { need: methods.passphrase ? 'passphrase' : 'identity' },
        })
    if (passphrase !== undefined && identity !== undefined && 'passphrase' in identity)
        return { question: ask.askPassphrase('the passphrase does not fit') }
    if (text !== undefined) return { question: ask.askMethod(methods, 'the identity does not fit') }
    return {
        question: ask.askMethod(
            methods,
            host === undefined ? undefined : 'the identity of this host does not fit',
        ),
    }
}

function hostIdentity(daemon: Daemon): Identity | undefined {
    const own = loadIdentity(daemon.keys)
    return own?.kind === 'plain' ? { texts: [own.text] } : undefined
}

/** An archive older than the passphrase is opened by the host's own protected copy. */
function fileOf(daemon: Daemon, located: Located): { file?: string } {
    if (located.hasIdentity || located.upstream === true) return {}
    const bytes = loadProtectedIdentity(daemon.keys)
    return bytes === undefined ? {} : { file: Buffer.from(bytes).toString('base64') }
}

async function examine(
    daemon: Daemon,
    located: Located,
    identity: Identity | undefined,
    signal: AbortSignal,
): Promise<Examined> {
    const { state, runWorker, random } = daemon.parts
    const allowed = readSmallFile(`${daemon.keys.config}/allowed_signers`, limits.configBytes)
    const trust = {
        own: readSigningKey(state)?.publicKey,
        allowedSigners: allowed === undefined ? undefined : Buffer.from(allowed).toString('utf8'),
    }
    return daemon.examined.get(
        { path: located.path, identity, trust },
        async () =>
            (await runWorker(
                'restore.examine',
                plain({ path: located.path, identities: identity, trust, check: true }),
                { signal },
            )) as unknown as Examined,
        random,
    )
}

// --- whether it fits -----------------------------------------------------------------------------------------------

function checkTrust(
    examined: Examined,
    { answers, interactive }: RestoreRequest,
): { question: ask.Ask } | undefined {
    const { state, fingerprint } = examined.signature
    if (state === 'own' || state === 'trusted') return undefined
    const who =
        state === 'unsigned'
            ? 'The backup is not signed'
            : `The backup is signed by a key that this host does not know (${fingerprint})`
    const answer = answers['signature.untrusted']
    if (answer === 'yes') return undefined
    if (answer !== undefined)
        throw new Fault('refused', 'cannot restore: the signature is not trusted; nothing was changed', {
            hint: 'put the key of the other host into /etc/proxsave/allowed_signers to trust it for good',
        })
    if (interactive) return { question: ask.askUntrusted(who) }
    throw new Fault('damaged', `cannot restore: ${who.charAt(0).toLowerCase()}${who.slice(1)}`, {
        hint: 'when you know where the file comes from: --answer signature.untrusted=yes',
    })
}

function hostFacts(daemon: Daemon): HostFacts {
    const { kind, pve, pbs, debian, hostname, cluster } = daemon.product()
    return { name: hostname, product: { kind, pve, pbs, debian }, cluster }
}

function checkCompatibility(
    { summary }: Examined,
    host: HostFacts,
    { answers, interactive }: RestoreRequest,
): { question: ask.Ask } | undefined {
    const { mismatches, product } = compare(summary, host)
    if (mismatches.length === 0) return undefined
    const answer = answers['compat.mismatch']
    if (answer === 'yes') return undefined
    const consequence = product
        ? 'Only common categories and those of installed products would be applied, the rest exported.'
        : undefined
    if (answer === undefined && interactive) return { question: ask.askMismatch(mismatches, consequence) }
    throw new Fault('refused', `cannot restore: ${mismatches.join('; ')}; nothing was changed`, {
        hint: 'when that is meant: --answer compat.mismatch=yes',
    })
}

// --- what of it ----------------------------------------------------------------------------------------------------

function choose(
    held: readonly Held[],
    request: RestoreRequest,
): { mode: Mode; ids: string[] } | { question: ask.Ask } {
    const { answers, interactive } = request
    const given =
        request.categories ?? (request.mode === undefined && answers.mode === undefined ? undefined : [])
    const named = request.mode ?? (answers.mode as Mode | undefined)
    const mode = named ?? (given !== undefined && given.length > 0 ? 'custom' : undefined)
    if (mode !== undefined && !['full', 'storage', 'base', 'custom'].includes(mode))
        throw new Fault('usage', `cannot restore in the mode ${mode}: there is none of that name`, {
            hint: 'full, storage, base or custom',
        })
    if (mode === undefined && interactive) return { question: ask.askMode() }
    if (mode !== undefined && mode !== 'custom' && (request.categories?.length ?? 0) > 0)
        throw new Fault('usage', `cannot choose categories in the mode ${mode}: it has its own`, {
            hint: 'leave --mode out, or say --mode custom',
        })
    if (mode !== 'custom') return { mode: mode ?? 'full', ids: chooseCategories(mode ?? 'full', held) }
    const wanted =
        request.categories !== undefined && request.categories.length > 0
            ? request.categories
            : answers.categories === undefined
              ? undefined
              : readCategories(answers.categories, held)
    if (wanted === undefined || wanted.length === 0) {
        if (interactive) return { question: ask.askCategories(held, [], wanted && 'none is chosen') }
        throw new Fault('usage', 'cannot restore: no category is named', {
            hint: `--category ID; the backup has ${held.map(({ id }) => id).join(', ')}`,
        })
    }
    return { mode, ids: chooseCategories('custom', held, wanted) }
}

/** SAFE or RECOVERY is only a question for a node of a cluster; a standalone database is restored as any file. */
function chooseCluster(
    { summary }: Examined,
    host: HostFacts,
    ids: readonly string[],
    request: RestoreRequest,
): { mode: ClusterMode | undefined; warnings: string[] } | { question: ask.Ask } {
    const { answers, interactive } = request
    const given = request.cluster ?? (answers['cluster.mode'] as ClusterMode | undefined)
    if (given !== undefined && given !== 'safe' && given !== 'recovery')
        throw new Fault('usage', `cannot restore with the cluster mode ${given}: it is safe or recovery`)
    if (!ids.includes('pve_cluster')) return { mode: given, warnings: [] }
    if (summary.cluster === 'standalone') {
        if (host.cluster === 'standalone') return { mode: given, warnings: [] }
        if (given === 'recovery')
            throw new Fault('failed', 'cannot restore a standalone database on a member of a cluster', {
                hint: 'SAFE exports it: --cluster safe',
            })
        return {
            mode: 'safe',
            warnings: ['this host is a member of a cluster: a standalone database is only exported'],
        }
    }
    const mode = given ?? (interactive ? undefined : 'safe')
    if (mode === undefined) return { question: ask.askCluster() }
    if (mode === 'safe') return { mode, warnings: [] }
    const isolated = answers['cluster.isolated']
    if (isolated === 'yes') return { mode, warnings: [] }
    if (isolated === undefined && interactive) return { question: ask.askIsolated() }
    throw new Fault(
        'refused',
        'cannot restore the cluster database: the node must be isolated; nothing was changed',
        {
            hint: 'docs/cluster-recovery.md says how; then --answer cluster.isolated=yes',
        },
    )
}

// --- what it would do ----------------------------------------------------------------------------------------------

async function surveyOf(
    daemon: Daemon,
    located: Located,
    identities: Identity | undefined,
    chosen: string[],
    circumstances: Circumstances,
    request: RestoreRequest,
    signal: AbortSignal,
): Promise<Survey> {
    const { root, state, runWorker } = daemon.parts
    const leftOut = located.manifest.categories.flatMap(({ missing }) =>
        (missing ?? []).filter(({ state }) => state !== 'absent').map(({ path }) => path),
    )
    const base = root === '/' ? '' : root
    const inRoot = (path: string) => (path.startsWith(`${base}/`) ? [path.slice(base.length)] : [])
    const never = [state, ...[...daemon.targets().values()].map(target => target.place)].flatMap(inRoot)
    const params = {
        path: located.path,
        identities,
        root,
        chosen,
        circumstances,
        exact: request.exact === true,
        exclude: daemon.config.config.backup.exclude,
        never,
        leftOut,
        state,
    }
    return (await runWorker('restore.survey', plain(params), { signal })) as unknown as Survey
}

/** What the saved database is and means for this host; refuses one that pmxcfs would not start with. */
async function examineDatabase(
    daemon: Daemon,
    located: Located,
    identities: Identity | undefined,
    host: HostFacts,
    examined: Examined,
    chosen: string[],
    signal: AbortSignal,
): Promise<DatabaseFacts> {
    const { root, exec, probe, systemd, runWorker } = daemon.parts
    const here = readSmallFile(within(root, '/etc/corosync/corosync.conf'), limits.configBytes)
    const localCorosync = here === undefined ? undefined : Buffer.from(here).toString('latin1')
    const params = {
        path: located.path,
        identities,
        host: {
            hostname: host.name,
            backupHostname: examined.summary.host.name,
            member: host.cluster === 'cluster',
            localCorosync,
            // A member has the key; otherwise it comes with the category.
            authkey: host.cluster === 'cluster' || chosen.includes('corosync'),
        },
    }
    const answer = await runWorker('restore.examine-database', plain(params), { signal })
    const facts = answer as unknown as DatabaseFacts
    if (facts.refused !== undefined)
        throw new Fault('damaged', facts.refused, {
            hint: '--cluster safe exports it and restores the rest',
        })
    // Served from elsewhere, the tree is not this machine: who answers it says nothing.
    if (facts.corosync === undefined || systemd === undefined) return facts
    const neighbours = await findNeighbours(
        { exec, probe },
        [facts.corosync, localCorosync],
        signal,
        shortPatience,
    )
    refuseNeighbours(neighbours)
    return { ...facts, warnings: [...facts.warnings, ...explainDoubts(neighbours)] }
}

/** Where nobody could confirm anything nothing is guarded, and what is not guarded could lock somebody out. */
function noGuardHere({ parts: { root, systemd } }: Daemon): string | undefined {
    if (root !== '/') return `nobody could confirm it while ${root} is served instead of /`
    return systemd === undefined
        ? 'systemd does not run here, and nothing else could take it back'
        : undefined
}

function rootWarnings({ parts: { root } }: Daemon): string[] {
    return root === '/'
        ? []
        : [`commands of the running host are left out, because ${root} is served instead of /`]
}

async function unitStates(
    daemon: Daemon,
    units: readonly string[],
): Promise<ReadonlyMap<string, string> | undefined> {
    const { systemd } = daemon.parts
    if (systemd === undefined) return undefined
    const states = new Map<string, string>()
    for (const unit of units) {
        const { load, active } = await systemd.unitState(unit)
        // A unit that this host has not is no error; one that does not run is not stopped.
        if (load !== 'not-found') states.set(unit, active)
    }
    return states
}

const plain = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json
