/**
 * Puts the database of the cluster file system back while nobody has it open. Three tasks: one looks before any service
 * stops, one swaps, one compares afterwards.
 *
 * The order of the swap matters because the machine may be reset at any moment and pmxcfs starts with the next boot,
 * before anything is taken back: the log of the old database goes first, so that what pmxcfs finds is the old database,
 * or the new one, and never the new one with the log of the old, which SQLite would replay over it without a word.
 */
import { basename, dirname } from 'node:path'
import { categoryById } from '../catalog/index.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext, TaskKind, TaskKinds } from '../engine/kinds.ts'
import type { RunWorker } from '../engine/worker.ts'
import { checkPmxcfsTree, type PmxcfsTree } from '../format/pmxcfs-db.ts'
import type { ByteString } from '../format/tar-write.ts'
import { temporaryOf } from '../host/disk.ts'
import type { Exec } from '../host/exec.ts'
import { close } from '../host/libc.ts'
import { readMounts } from '../host/mounts.ts'
import { readPmxcfsBytes, readPmxcfsDatabase } from '../host/pmxcfs-db.ts'
import { type Meta, type PlaceCalls, placeCalls, PlaceTree } from '../host/place.ts'
import { type Before, Snapshot } from '../host/snapshot.ts'
import type { Systemd } from '../host/systemd.ts'
import type { TimedClock } from '../host/timer.ts'
import { compareTrees, type Differences, explainCorosync, explainNodes, filesOf } from './cluster.ts'
import {
    describeAlive,
    explainDoubts,
    findAlive,
    findNeighbours,
    membersOf,
    type PeerProbe,
    refuseNeighbours,
} from './isolation.ts'
import { exportsDirectory, withTrees } from './host.ts'
import { askIsolated } from './questions.ts'
import { orderServices } from './services.ts'

export interface DatabaseHost {
    state: string
    /** The tree that is restored: `/`, or another root. */
    root: string
    exec: Exec
    /** Undefined where another root is served: then nobody is asked and nothing is stopped. */
    systemd: Systemd | undefined
    clock: TimedClock
    runWorker: RunWorker
    probe: PeerProbe
    /** Whether a change has ended: only then may somebody have edited since. */
    finished(change: string): boolean
    /** What is mounted now, by absolute path; a test gives its own. */
    mounted?: () => ReadonlySet<string>
    /** The calls that change files; a test gives its own. */
    calls?: PlaceCalls
}

export type DatabaseCheckParams = {
    /** The unpacked database, below the directory of the change. */
    staged: string
    /** `cluster.isolated` was answered with yes while the plan was made. */
    isolated: boolean
    hostname: string
    backupHostname?: string
}

export type DatabaseParams = {
    staged: string
    /** Below the root, without a leading slash. */
    live: string
}

export type DatabaseExportParams = {
    /** That of `restore.export`, absolute. */
    directory: string
    /** The exported database below it. */
    database: string
}

export type DatabaseCompareParams = { live: string }

const bounds = {
    commandMs: 20_000,
    stopMs: 120_000,
    startMs: 180_000,
    /** pmxcfs loads its database and mounts before its unit counts as started; a moment more for a slow disk. */
    mountMs: 30_000,
    lookMs: 250,
    /** All files of /etc/pve are read in far less. */
    compareMs: 120_000,
    conflictMs: 600_000,
    /** Paths of one kind that a warning names. */
    named: 20,
} as const

/** The log, its index, and a journal of the other kind. */
const beside = ['-wal', '-shm', '-journal'] as const

export function registerDatabaseTasks(kinds: TaskKinds, host: DatabaseHost): TaskKinds {
    return kinds
        .register(restoreDatabaseCheck(host))
        .register(restoreDatabase(host))
        .register(restoreDatabaseCompare(host))
        .register(restoreDatabaseExport(host))
}

// --- before anything stops -------------------------------------------------------------------------------------

/** Everything that can speak against it, while the host still runs as before. Changes nothing but its own directory. */
export function restoreDatabaseCheck(host: DatabaseHost): TaskKind<DatabaseCheckParams> {
    return {
        kind: 'restore.database-check',
        async do(params, context) {
            const tree = readStaged(context, params.staged)
            checkPmxcfsTree(tree)
            for (const { text } of tree.problems) context.log(text)
            await saveStatus(host, context)
            const local = localCorosync(host)
            const clustered = tree.corosync !== undefined
            if (!clustered && local.text !== undefined)
                throw new Fault(
                    'failed',
                    'cannot restore a standalone database on a member of a cluster: this node would go on outside of its quorum while the others still count on it',
                    { hint: 'separate the node from its cluster first: docs/cluster-recovery.md' },
                )
            if (clustered) await checkIsolated(host, params, tree, local.text, context)
            const facts = {
                hostname: params.hostname,
                backupHostname: params.backupHostname,
                member: local.text !== undefined,
                localCorosync: local.text,
                authkey: local.authkey,
            }
            for (const text of [...explainNodes(tree, facts), ...explainCorosync(tree, facts)])
                context.warn(text)
            return { clustered, version: tree.version ?? 0, files: filesOf(tree).size }
        },
        // What it saved stays with the change: it tells how the cluster was.
        async undo() {},
    }
}

async function checkIsolated(
    host: DatabaseHost,
    params: DatabaseCheckParams,
    tree: PmxcfsTree,
    local: string | undefined,
    context: TaskContext,
): Promise<void> {
    if (!params.isolated && (await context.ask(askIsolated())) !== 'yes')
        throw new Fault(
            'refused',
            'cannot restore the cluster database: nobody said that this node is isolated',
            {
                hint: 'docs/cluster-recovery.md says how; then --answer cluster.isolated=yes',
            },
        )
    if (!isThisHost(host)) {
        context.warn(
            'nobody was asked whether other members of the cluster answer: this daemon serves another root',
        )
        return
    }
    const found = await findNeighbours(host, [tree.corosync, local], context.signal)
    context.log(`asked whether anybody answers: ${found.members.map(({ node }) => node).join(', ')}`)
    for (const text of explainDoubts(found)) context.warn(text)
    refuseNeighbours(found)
    context.log(`no other member answers, at ${found.asked === 1 ? '1 address' : `${found.asked} addresses`}`)
}

/** How the cluster and the storages were, for whoever has to explain it afterwards. */
async function saveStatus(host: DatabaseHost, context: TaskContext): Promise<void> {
    if (!isThisHost(host)) return
    const own = new PlaceTree(context.dir, host.calls ?? placeCalls)
    try {
        own.removeTree('before')
        own.makeDirectory('before')
        for (const argv of [
            ['pvecm', 'status'],
            ['pvesm', 'status'],
        ] as [string, ...string[]][]) {
            const result = await host.exec(argv, { timeoutMs: bounds.commandMs, signal: context.signal })
            if (!result.found) continue
            const status = result.timedOut ? 'no end in time' : `exit status ${result.status}`
            own.writeWhole(
                `before/${argv.join('-')}.txt`,
                Buffer.concat([result.stdout, result.stderr, Buffer.from(`# ${status}\n`)]),
            )
        }
        own.settle()
    } finally {
        own.close()
    }
}

/** corosync as this host has it, on its own disk: /etc/pve may hang. */
function localCorosync(host: DatabaseHost): { text: string | undefined; authkey: boolean } {
    const live = new PlaceTree(host.root)
    try {
        const conf = 'etc/corosync/corosync.conf'
        const text =
            live.look(conf)?.type === 'file'
                ? Buffer.from(live.readWhole(conf)).toString('latin1')
                : undefined
        return { text, authkey: live.look('etc/corosync/authkey')?.type === 'file' }
    } finally {
        live.close()
    }
}

// --- the swap --------------------------------------------------------------------------------------------------

type Memory = {
    /** Digest of the database that was put there. */
    digest: string
}

export function restoreDatabase(host: DatabaseHost): TaskKind<DatabaseParams> {
    return {
        kind: 'restore.database',
        async do(params, context) {
            // An earlier attempt was interrupted: what it left must not be taken for what stood there before.
            if (context.remembered() !== undefined) await putBack(host, params, context)
            await expectUnused(host, context)
            checkPmxcfsTree(readStaged(context, params.staged))
            return withTrees(host, context, (live, own) => swap(live, own, params, context))
        },
        async undo(params, context) {
            if (context.remembered() === undefined) {
                // A snapshot that was begun would leave second names of what stands.
                await withTrees(host, context, (_, own) => {
                    own.removeTree(placeOf(context))
                    own.settle()
                })
                return
            }
            // A reset in the middle: with the boot pmxcfs has opened whatever it found.
            const { units, startOrder } = orderServices([clusterCategory()], [clusterCategory()])
            const stopped = await stopRunning(host, units, context)
            try {
                await expectUnused(host, context)
                if (await mayPutBack(host, params, context)) await putBack(host, params, context)
            } finally {
                await startAgain(
                    host,
                    startOrder.filter(unit => stopped.includes(unit)),
                    context,
                )
            }
        },
    }
}

async function swap(
    live: PlaceTree,
    own: PlaceTree,
    { staged, live: path }: DatabaseParams,
    context: TaskContext,
): Promise<Json> {
    const directory = parentOf(path)
    if (live.look(directory)?.type !== 'directory')
        throw new Fault('failed', `cannot replace /${path}: there is no directory /${directory}`, {
            hint: 'Proxmox VE must be installed: apt install pve-cluster',
        })
    const at = placeOf(context)
    await Snapshot.take(live, own, at, {
        paths: [path, ...beside.map(suffix => `${path}${suffix}`)],
        around: [directory],
    })
    const copy = `${at}/new`
    own.remove(copy)
    own.writeWhole(copy, own.readWhole(staged))
    own.settle()
    const digest = own.digest(copy)
    // From here on an undo has something to take back.
    context.remember({ digest } satisfies Memory)
    removeBeside(live, path)
    const { atimeNs, mtimeNs } = own.look(staged)!
    place(own, copy, live, path, {
        mode: 0o600,
        ...(process.getuid?.() === 0 ? { uid: 0, gid: 0 } : ownIds()),
        atimeNs,
        mtimeNs,
        xattrs: [],
    })
    // SQLite would replay a log over the database without a word, whoever left it.
    const left = beside.filter(suffix => live.look(`${path}${suffix}`) !== undefined)
    if (left.length > 0 || live.digest(path) !== digest)
        throw new Fault('failed', `cannot replace /${path}: something else writes there`, {
            hint: `fuser -v /${path} tells what`,
        })
    context.log(`/${path} is replaced; what was there lies in the directory of this change`)
    return { digest }
}

/** The old database and its companions, exactly. The log comes last: without it the database is old, but whole. */
async function putBack(
    host: DatabaseHost,
    { live: path }: DatabaseParams,
    context: TaskContext,
): Promise<void> {
    await withTrees(host, context, async (live, own) => {
        const snapshot = Snapshot.read(own, placeOf(context))
        if (snapshot === undefined)
            throw new Fault(
                'stuck',
                'cannot put the cluster database back: the copy of the old one is not there',
                {
                    hint: 'the backup before it has the database',
                },
            )
        // What stands there is better than half of what stood there.
        for (const before of snapshot.entries.values())
            if (before?.type === 'file' && own.digest(snapshot.dataOf(before)) !== before.digest)
                throw new Fault('stuck', `cannot put /${before.path} back: its copy is damaged`, {
                    hint: 'the backup before it has the database',
                })
        live.remove(temporaryBeside(path))
        removeBeside(live, path)
        for (const one of [path, `${path}-journal`, `${path}-wal`, `${path}-shm`]) {
            const before = snapshot.before(one)
            live.remove(temporaryBeside(one))
            if (before === undefined) live.remove(one)
            else putOne(live, own, snapshot, before)
            live.settle()
        }
        for (const [directory, before] of snapshot.entries)
            if (before?.around && live.look(directory)?.type === 'directory') live.setTimes(directory, before)
        live.settle()
    })
}

function putOne(live: PlaceTree, own: PlaceTree, snapshot: Snapshot, before: Before): void {
    const temporary = temporaryBeside(before.path)
    if (before.type === 'symlink') {
        live.makeSymlink(temporary, before.link ?? '', before)
        live.publish(temporary, before.path)
    } else if (before.type === 'file') place(own, snapshot.dataOf(before), live, before.path, before)
}

/** A copy, never another name of the saved inode: pmxcfs would write into what the undo needs. */
function place(from: PlaceTree, source: ByteString, to: PlaceTree, path: ByteString, meta: Meta): void {
    const temporary = temporaryBeside(path)
    to.remove(temporary)
    const fd = from.openFile(source)
    try {
        to.writeFile(temporary, fd, meta)
    } finally {
        close(fd)
    }
    to.publish(temporary, path)
    to.settle()
}

/** Durable before it returns. */
function removeBeside(live: PlaceTree, path: ByteString): void {
    for (const suffix of beside) live.remove(`${path}${suffix}`)
    live.settle()
}

/** Throws while pmxcfs may have the database open. */
async function expectUnused(host: DatabaseHost, context: TaskContext): Promise<void> {
    context.signal.throwIfAborted()
    const point = mountPoint(host)
    if (isMounted(host))
        throw new Fault('failed', `cannot replace the cluster database: ${point} is still mounted`, {
            hint: 'systemctl status pve-cluster, and fuser -vm /etc/pve tell who holds it',
        })
    if (!isThisHost(host)) return
    for (const unit of ['pve-ha-lrm.service', 'pve-ha-crm.service', 'pve-cluster.service']) {
        const { active, load } = await host.systemd.unitState(unit)
        if (load !== 'not-found' && active !== 'inactive' && active !== 'failed')
            throw new Fault('failed', `cannot replace the cluster database: ${unit} is ${active}`, {
                hint: `systemctl stop ${unit}`,
            })
    }
}

/** Units that run, stopped in order, HA first; throws at the first that does not stop. */
async function stopRunning(
    host: DatabaseHost,
    units: readonly string[],
    context: TaskContext,
): Promise<string[]> {
    if (!isThisHost(host)) return []
    const stopped: string[] = []
    try {
        for (const unit of units) {
            const before = await host.systemd.unitState(unit)
            if (before.load === 'not-found' || before.active === 'inactive' || before.active === 'failed')
                continue
            stopped.push(unit)
            const result = await host.systemd.stop(unit, bounds.stopMs)
            const { active } = await host.systemd.unitState(unit)
            if (active !== 'inactive' && active !== 'failed')
                throw new Fault('failed', `cannot stop ${unit}: ${result}, it is ${active}`, {
                    hint: `systemctl status ${unit}`,
                })
        }
    } catch (error) {
        await startAgain(host, stopped.toReversed(), context)
        throw error
    }
    return stopped
}

async function startAgain(host: DatabaseHost, units: readonly string[], context: TaskContext): Promise<void> {
    if (!isThisHost(host)) return
    for (const unit of units) {
        const result = await host.systemd.start(unit, bounds.startMs)
        if (result !== 'done') context.warn(`${unit} does not run now: ${result}; systemctl start ${unit}`)
    }
}

/** Asks when something would be lost that nobody meant to lose: edits of /etc/pve since, and a cluster that came back. */
async function mayPutBack(
    host: DatabaseHost,
    params: DatabaseParams,
    context: TaskContext,
): Promise<boolean> {
    if (!host.finished(context.change)) return true
    const reasons = [
        ...(await editsSince(host, params, context)),
        ...(await aliveAgain(host, params, context)),
    ]
    if (reasons.length === 0) return true
    const answer = await context.ask({
        id: 'undo.conflict',
        text: `${reasons.join('\n')}\nPut the database of before the restore back all the same?`,
        choices: [
            { value: 'keep', text: 'keep the database as it is now' },
            { value: 'restore', text: 'put the old database back; what changed in /etc/pve since is lost' },
        ],
        safe: 'keep',
        timeoutMs: bounds.conflictMs,
    })
    if (answer === 'restore') return true
    context.warn(`/${params.live} is not put back: ${reasons.join('; ')}`)
    return false
}

async function editsSince(
    host: DatabaseHost,
    { live: path }: DatabaseParams,
    context: TaskContext,
): Promise<string[]> {
    return withTrees(host, context, (live, own) => {
        if (live.look(path)?.type !== 'file') return []
        const scratch = scratchOf(own, context)
        try {
            const now = readable(() =>
                readPmxcfsDatabase(`${live.root === '/' ? '' : live.root}/${path}`, scratch),
            )
            // One that cannot be read holds nothing that anybody would miss.
            if (now === undefined) return []
            const edits = changesSince(
                readable(() => readPmxcfsBytes(own.readWhole(`${placeOf(context)}/new`))),
                now,
            )
            if (edits.length === 0) return []
            // An undo that was interrupted has put the old one there already.
            const old = readOld(own, path, context)
            if (old !== undefined && changesSince(old, now).length === 0) return []
            return [`changed in /etc/pve since the restore: ${name(edits)}`]
        } finally {
            own.removeTree(relativeScratch(context))
            own.settle()
        }
    })
}

async function aliveAgain(
    host: DatabaseHost,
    params: DatabaseParams,
    context: TaskContext,
): Promise<string[]> {
    if (!isThisHost(host)) return []
    const trees = await withTrees(host, context, (_, own) => {
        scratchOf(own, context)
        try {
            return [
                readable(() => readPmxcfsBytes(own.readWhole(`${placeOf(context)}/new`))),
                readOld(own, params.live, context),
            ]
        } finally {
            own.removeTree(relativeScratch(context))
            own.settle()
        }
    })
    const members = membersOf({ corosync: [...trees.map(tree => tree?.corosync), localCorosync(host).text] })
    if (members.length === 0) return []
    const isolation = await findAlive(members, host.probe, context.signal)
    return isolation.alive.length === 0
        ? []
        : [
              `other members of the cluster answer, and would be overwritten or overwrite it: ${describeAlive(isolation)}`,
          ]
}

/** The old database as it was together with its log; undefined when there was none, or none that can be read. */
function readOld(own: PlaceTree, path: ByteString, context: TaskContext): PmxcfsTree | undefined {
    const snapshot = Snapshot.read(own, placeOf(context))
    const scratch = relativeScratch(context)
    for (const suffix of ['', '-wal', '-journal']) {
        const before = snapshot?.before(`${path}${suffix}`)
        if (snapshot !== undefined && before?.data !== undefined)
            own.writeWhole(`${scratch}/old.db${suffix}`, own.readWhole(snapshot.dataOf(before)))
        else if (suffix === '') return undefined
    }
    const at = `${context.dir}/${scratch}`
    return readable(() => readPmxcfsDatabase(`${at}/old.db`, `${at}/copy`))
}

const relativeScratch = (context: TaskContext) => `${placeOf(context)}-look`

function scratchOf(own: PlaceTree, context: TaskContext): string {
    own.removeTree(relativeScratch(context))
    own.makeDirectory(relativeScratch(context))
    return `${context.dir}/${relativeScratch(context)}`
}

function readable(read: () => PmxcfsTree): PmxcfsTree | undefined {
    try {
        return read()
    } catch (error) {
        if (error instanceof Fault) return undefined
        throw error
    }
}

const changesSince = (tree: PmxcfsTree | undefined, now: PmxcfsTree) =>
    tree === undefined ? [] : changesOf(compareTrees(filesOf(tree), filesOf(now)))

// --- afterwards ------------------------------------------------------------------------------------------------

/** Whether what pmxcfs shows is what was put back. Warns only: by now everything runs again. */
export function restoreDatabaseCompare(host: DatabaseHost): TaskKind<DatabaseCompareParams> {
    return {
        kind: 'restore.database-compare',
        async do(_, context) {
            if (!isThisHost(host)) {
                context.log(
                    '/etc/pve is not compared: this daemon serves another root, or systemd does not run here',
                )
                return undefined
            }
            const database = newestCopy(context)
            if (database === undefined) return undefined
            if (!(await comesUp(host, context))) {
                context.warn(
                    '/etc/pve is not mounted, so it could not be compared with the restored database: journalctl -b -u pve-cluster',
                )
                return undefined
            }
            let found: Differences
            try {
                found = await compareWithin(host, database, context)
            } catch (error) {
                if (!(error instanceof Fault) || context.signal.aborted) throw error
                context.warn(`/etc/pve could not be compared with the restored database: ${error.message}`)
                return undefined
            }
            if (found.missing.length > 0) context.warn(`missing in /etc/pve: ${name(found.missing)}`)
            if (found.different.length > 0)
                context.warn(`other content in /etc/pve than in the database: ${name(found.different)}`)
            if (found.extra.length > 0)
                context.warn(`in /etc/pve and not in the database: ${name(found.extra)}`)
            if (found.expected.length > 0)
                context.log(`written by Proxmox VE itself when it started: ${name(found.expected)}`)
            context.log(`/etc/pve has ${found.same} files as the database has them`)
            return found as unknown as Json
        },
        async undo() {},
    }
}

/** The copy that the swap of this change kept. */
function newestCopy(context: TaskContext): string | undefined {
    const own = new PlaceTree(context.dir)
    try {
        const at = own
            .names('')
            .find(name => name.startsWith(placePrefix) && own.look(`${name}/new`)?.type === 'file')
        return at === undefined ? undefined : `${context.dir}/${at}/new`
    } finally {
        own.close()
    }
}

async function comesUp(host: DatabaseHost, { signal }: TaskContext): Promise<boolean> {
    const until = host.clock.bootMs() + bounds.mountMs
    for (;;) {
        signal.throwIfAborted()
        if (isMounted(host)) return true
        if (host.clock.bootMs() >= until) return false
        await new Promise<void>(resolve => host.clock.after(bounds.lookMs, resolve))
    }
}

async function compareWithin(
    host: DatabaseHost,
    database: string,
    context: TaskContext,
): Promise<Differences> {
    const limit = new AbortController()
    const stop = host.clock.after(bounds.compareMs, () => limit.abort())
    try {
        const value = await host.runWorker(
            'restore.compare-database',
            { database, root: host.root },
            { signal: AbortSignal.any([context.signal, limit.signal]) },
        )
        return value as unknown as Differences
    } finally {
        stop()
    }
}

// --- SAFE ------------------------------------------------------------------------------------------------------

/** Behind the export of the database: the files that are in it, beside it, to look at and to take from. */
export function restoreDatabaseExport(host: DatabaseHost): TaskKind<DatabaseExportParams> {
    const withExports = <T>(act: (exports: PlaceTree) => T): T => {
        const exports = new PlaceTree(exportsDirectory(host.state), host.calls ?? placeCalls)
        try {
            return act(exports)
        } finally {
            exports.close()
        }
    }
    const placesOf = ({ directory, database }: DatabaseExportParams) => {
        const top = basename(directory)
        if (dirname(directory) !== exportsDirectory(host.state) || top.startsWith('.'))
            throw new Fault(
                'failed',
                `cannot export to ${directory}: exports lie in ${exportsDirectory(host.state)}`,
            )
        return { database: `${top}/${database}`, tree: `${top}/${exportedTree}` }
    }
    return {
        kind: 'restore.database-export',
        async do(params, context) {
            const places = placesOf(params)
            return withExports(exports => {
                exports.removeTree(places.tree)
                const tree = readable(() => readPmxcfsBytes(exports.readWhole(places.database)))
                if (tree === undefined) {
                    context.warn(`no files can be taken out of ${params.directory}/${params.database}`)
                    return { files: 0 }
                }
                for (const { severity, text } of tree.problems)
                    if (severity !== 'remark') context.warn(`the cluster database is not sound: ${text}`)
                exports.makeDirectory(places.tree)
                for (const { path, type, data } of tree.entries)
                    if (type === 'directory') exports.makeDirectory(`${places.tree}/${path}`)
                    else exports.writeWhole(`${places.tree}/${path}`, data)
                exports.settle()
                const files = filesOf(tree).size
                context.log(`${files} files of /etc/pve are in ${params.directory}/${exportedTree}`)
                return { files }
            })
        },
        async undo(params) {
            if (!existsInState(host)) return
            const places = placesOf(params)
            withExports(exports => {
                exports.removeTree(places.tree)
                exports.settle()
            })
        },
    }
}

const exportedTree = 'etc-pve-from-config.db'

function existsInState(host: DatabaseHost): boolean {
    const state = new PlaceTree(host.state)
    try {
        return state.look(basename(exportsDirectory(host.state)))?.type === 'directory'
    } finally {
        state.close()
    }
}

const mountPoint = ({ root }: DatabaseHost) => (root === '/' ? '/etc/pve' : `${root}/etc/pve`)
const isMounted = (host: DatabaseHost) =>
    (host.mounted?.() ?? new Set(readMounts().keys())).has(mountPoint(host))

// --- small things ----------------------------------------------------------------------------------------------

const placePrefix = 'database-'
const placeOf = (context: TaskContext) => `${placePrefix}${context.task}`

const isThisHost = (host: DatabaseHost): host is DatabaseHost & { systemd: Systemd } =>
    host.systemd !== undefined

function readStaged(context: TaskContext, staged: string): PmxcfsTree {
    const own = new PlaceTree(context.dir)
    try {
        if (own.look(staged)?.type !== 'file')
            throw new Fault('failed', 'cannot restore the cluster database: it was not unpacked')
        return readPmxcfsBytes(own.readWhole(staged))
    } finally {
        own.close()
    }
}

function clusterCategory() {
    const category = categoryById('pve_cluster')
    if (category === undefined) throw new Error('the catalogue has no pve_cluster')
    return category
}

const changesOf = ({ missing, different, extra }: Differences) => [...missing, ...different, ...extra]

function name(paths: readonly string[]): string {
    const shown = paths.slice(0, bounds.named).join(', ')
    return paths.length > bounds.named ? `${shown} and ${paths.length - bounds.named} more` : shown
}

const parentOf = (path: ByteString) => path.slice(0, Math.max(0, path.lastIndexOf('/')))
const temporaryBeside = (path: ByteString) =>
    `${parentOf(path)}/${temporaryOf(path.slice(path.lastIndexOf('/') + 1))}`
const ownIds = () => ({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 })
