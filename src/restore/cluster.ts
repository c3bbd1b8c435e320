/** What a cluster database means for a host: which plan it makes, what leaves that plan, and what people must know. */
import type { Identity } from '../archive/unlock.ts'
import type { Category } from '../catalog/category.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { OperationIo } from '../engine/operation.ts'
import { parseCorosyncConf } from '../format/corosync-conf.ts'
import { checkPmxcfsTree, pmxcfsLimits, type PmxcfsTree } from '../format/pmxcfs-db.ts'
import type { ByteString } from '../format/tar-write.ts'
import * as libc from '../host/libc.ts'
import { readPmxcfsBytes, readPmxcfsDatabase } from '../host/pmxcfs-db.ts'
import { showPath, Tree } from '../host/tree.ts'
import { openSaved } from './open.ts'
import type {
    DatabaseCheckParams,
    DatabaseCompareParams,
    DatabaseExportParams,
    DatabaseParams,
} from './database.ts'

/** Path in archives and below the root, without a leading slash. */
export const databasePath = 'var/lib/pve-cluster/config.db'

const within = (path: string) => path.replace(/\/+$/, '') === '/etc/pve' || path.startsWith('/etc/pve/')

/**
 * Whether a category leaves the plan when the database is restored: `all` of it lies in /etc/pve and comes with the
 * database, `some` of it does and the rest stays in the plan, or `none`.
 */
export function leavesPlan(category: Category): 'all' | 'some' | 'none' {
    const inside = category.paths.filter(within).length
    if (inside === 0) return 'none'
    return inside === category.paths.length ? 'all' : 'some'
}

// --- the tasks -------------------------------------------------------------------------------------------------

export interface DatabaseTask<P extends Json> {
    kind: string
    title: string
    params: P
}

export interface DatabaseTasks {
    /** Archive paths that are taken from the stage. */
    staged: ByteString[]
    /** Before any service stops. */
    check: DatabaseTask<DatabaseCheckParams>
    /** While services are down. */
    swap: DatabaseTask<DatabaseParams>
    /** Behind `services.start`. */
    compare: DatabaseTask<DatabaseCompareParams>
}

export interface DatabaseWish {
    /** `cluster.isolated` was answered with yes while the plan was made. */
    isolated: boolean
    /** Short names of this host and of that of the backup. */
    hostname: string
    backupHostname?: string
    /** Directory of the stage below that of the change. */
    stage?: string
}

/** The three tasks of the strategy `database`, each at its place around the services. */
export function databaseTasks(wish: DatabaseWish): DatabaseTasks {
    const { stage = 'stage', isolated, hostname, backupHostname } = wish
    const staged = `${stage}/${databasePath}`
    return {
        staged: [databasePath],
        check: {
            kind: 'restore.database-check',
            title: 'check the cluster database, and that no other member answers',
            params: {
                staged,
                isolated,
                hostname,
                ...(backupHostname === undefined ? {} : { backupHostname }),
            },
        },
        swap: {
            kind: 'restore.database',
            title: 'replace the cluster database',
            params: { staged, live: databasePath },
        },
        compare: {
            kind: 'restore.database-compare',
            title: 'compare /etc/pve with the restored database',
            params: { live: databasePath },
        },
    }
}

/** SAFE: behind `restore.export`, when the database is among what it exports. */
export function databaseExportTask(directory: string): DatabaseTask<DatabaseExportParams> {
    return {
        kind: 'restore.database-export',
        title: 'take the files of /etc/pve out of the exported database',
        params: { directory, database: databasePath },
    }
}

// --- what people must know -------------------------------------------------------------------------------------

/** Everything a plan says of a database, made by `restore.examine-database`. */
export type DatabaseFacts = {
    clustered: boolean
    cluster?: string
    nodes: string[]
    guests: number
    version?: number
    /** Problems that forbid RECOVERY, in words. */
    refused?: string
    remarks: string[]
    /** Text of its corosync.conf: it names members that are asked whether they are off. */
    corosync?: string
    warnings: string[]
    irreversible: string[]
}

export interface DatabaseHostFacts {
    hostname: string
    backupHostname?: string
    /** This host has a corosync.conf of its own. */
    member: boolean
    /** Its text. */
    localCorosync?: string
    /** corosync's key is on this host, or among what is restored. */
    authkey: boolean
}

export function factsOf(tree: PmxcfsTree, host: DatabaseHostFacts): DatabaseFacts {
    const { corosync, nodes, guests, version } = tree
    const conf = corosync === undefined ? undefined : parseCorosyncConf(corosync)
    let refused: string | undefined
    try {
        checkPmxcfsTree(tree)
    } catch (error) {
        if (!(error instanceof Fault)) throw error
        refused = error.message
    }
    return {
        clustered: conf !== undefined,
        ...(conf?.cluster === undefined ? {} : { cluster: conf.cluster }),
        nodes,
        guests: guests.length,
        ...(version === undefined ? {} : { version }),
        ...(refused === undefined ? {} : { refused }),
        remarks: tree.problems.filter(({ severity }) => severity === 'remark').map(({ text }) => text),
        ...(corosync === undefined ? {} : { corosync }),
        warnings: [
            ...beforehand(conf !== undefined),
            ...explainNodes(tree, host),
            ...explainCorosync(tree, host),
        ],
        irreversible: [...irreversible],
    }
}

/** Told before RESTORE is typed. */
function beforehand(clustered: boolean): string[] {
    return [
        'the cluster database is replaced: everything in /etc/pve (guests, storages, users, firewall, jobs) becomes what it was when the backup was made',
        'stop the guests of this node first: a guest that was made, moved or reconfigured since goes on running, but Proxmox VE knows only its old configuration, or none',
        clustered
            ? 'isolate the node first: switch the other members off or unplug their cluster network; a member that answers stops the restore before any service does'
            : 'no other node may use the storages of this one meanwhile',
        'HA is stopped before everything else; while the services are down the web interface, the API and the firewall of Proxmox VE do not work, and this host is not filtered',
        'guests go on running while the services are down, and cannot be managed until they are up again',
    ]
}

/** What RECOVERY does that no undo takes back. */
export const irreversible: readonly string[] = [
    'undo puts the database of before back byte for byte, and with it loses every change made in /etc/pve after the restore',
    'what happened outside of the database stays: disks and guests made or removed since, tasks that ran, and what other members took over once they were connected again',
    'HA is told to stand still when its services stop; a guest that HA moved or stopped meanwhile is not moved back',
]

/** Guests lie below the name of their node: under another name nobody starts them. */
export function explainNodes(tree: PmxcfsTree, { hostname, backupHostname }: DatabaseHostFacts): string[] {
    const { nodes, guests } = tree
    if (nodes.includes(hostname)) {
        const others = nodes.filter(node => node !== hostname)
        if (others.length === 0 || backupHostname === undefined || backupHostname === hostname) return []
        return [
            `the backup is of ${backupHostname} and this host is ${hostname}, which the database knows as another node`,
        ]
    }
    const old = backupHostname !== undefined && nodes.includes(backupHostname) ? backupHostname : nodes[0]
    if (old === undefined) return []
    const there = guests.filter(({ node }) => node === old)
    const count = there.length === 1 ? '1 guest' : `${there.length} guests`
    return [
        `the database knows the nodes ${nodes.join(', ')}, and this host is called ${hostname}: it will be a new, empty node, and ${count} will stay with ${old}, where nobody starts them. ` +
            `Either give the host its old name before (hostnamectl set-hostname ${old}, and /etc/hosts), ` +
            `or move each file afterwards: mv /etc/pve/nodes/${old}/qemu-server/*.conf /etc/pve/nodes/${hostname}/qemu-server/ and the same for lxc (directories themselves cannot be renamed there)`,
    ]
}

/** pmxcfs writes the corosync.conf of its database to /etc/corosync unless the one there is newer. */
export function explainCorosync(tree: PmxcfsTree, host: DatabaseHostFacts): string[] {
    if (tree.corosync === undefined) return []
    const saved = parseCorosyncConf(tree.corosync)
    const local = host.localCorosync === undefined ? undefined : parseCorosyncConf(host.localCorosync)
    const texts: string[] = []
    if (local !== undefined && local.cluster !== saved.cluster)
        texts.push(
            `the database is of the cluster ${saved.cluster ?? '(no name)'}, and this host is in ${local.cluster ?? '(no name)'}`,
        )
    if (local !== undefined && local.version > saved.version)
        texts.push(
            `/etc/corosync/corosync.conf is newer (version ${local.version}) than that of the database (${saved.version}): pmxcfs keeps the newer one; move it away to have the old one`,
        )
    if (!host.authkey)
        texts.push(
            'the database is of a cluster and this host has no /etc/corosync/authkey: restore the category corosync too, or corosync does not start and /etc/pve stays read-only',
        )
    if (saved.nodes.length > 1)
        texts.push(
            `the database expects ${saved.nodes.length} members: alone this node has no quorum and /etc/pve is read-only until others are back, or until you say: pvecm expected 1`,
        )
    return texts
}

export type ExamineDatabaseParams = {
    path: string
    identities?: Identity
    host: DatabaseHostFacts
}

/** The operation `restore.examine-database`: reads the database of an archive in memory. Writes nothing. */
export async function restoreExamineDatabase(params: ExamineDatabaseParams, _io: OperationIo): Promise<Json> {
    const archive = await openSaved(params.path, params.identities)
    try {
        const entry = (await archive.entries()).find(({ path }) => path === databasePath)
        if (entry === undefined)
            throw new Fault('usage', 'cannot restore the cluster database: the backup has none')
        if (entry.size > 4 * pmxcfsLimits.treeBytes)
            throw new Fault('damaged', `cannot use the cluster database: it has ${entry.size} bytes`)
        const pieces: Uint8Array[] = []
        await archive.visit([entry], () => ({
            entry() {},
            data: piece => void pieces.push(Uint8Array.from(piece)),
            end() {},
        }))
        const facts = factsOf(readPmxcfsBytes(Buffer.concat(pieces)), params.host)
        return JSON.parse(JSON.stringify(facts)) as Json
    } finally {
        archive.close()
    }
}

// --- afterwards ------------------------------------------------------------------------------------------------

export type Differences = {
    /** Paths below /etc/pve, for people. */
    missing: string[]
    different: string[]
    extra: string[]
    /** Files that are the same. */
    same: number
    /** Differences that Proxmox VE makes by itself when it starts. */
    expected: string[]
}

/** Made by pmxcfs, and never in a database. */
const virtual = /^(local|qemu-server|lxc|openvz|\.version|\.members|\.vmlist|\.rrd|\.clusterlog|\.debug)$/
/** What the services write when they start: locks, states of HA, tickets' keys, certificates, known hosts. */
const written =
    /^(priv\/lock(\/|$)|ha\/(manager_status|crm_commands)$|nodes\/[^/]+\/(lrm_status|ssh_known_hosts|pve-ssl\.(key|pem))$|priv\/(authkey\.key|known_hosts|authorized_keys|pve-root-ca\.srl)$|authkey\.pub(\.old)?$)/

/** Compares content; owners and modes are what pmxcfs computes, never what was stored. */
export function compareTrees(
    wanted: ReadonlyMap<ByteString, Uint8Array>,
    found: ReadonlyMap<ByteString, Uint8Array>,
): Differences {
    const result: Differences = { missing: [], different: [], extra: [], same: 0, expected: [] }
    const put = (list: string[], path: ByteString) =>
        (written.test(path) ? result.expected : list).push(`/etc/pve/${showPath(path)}`)
    for (const [path, data] of wanted) {
        const live = found.get(path)
        if (live === undefined) put(result.missing, path)
        else if (Buffer.compare(live, data) !== 0) put(result.different, path)
        else result.same++
    }
    for (const path of found.keys()) if (!wanted.has(path)) put(result.extra, path)
    return result
}

export const filesOf = ({ entries }: PmxcfsTree): Map<ByteString, Uint8Array> =>
    new Map(
        entries
            .filter(({ path, type }) => type === 'file' && !virtual.test(path))
            .map(({ path, data }) => [path, data]),
    )

/** Files of a mounted /etc/pve below `root`. */
export function readMounted(root: string): Map<ByteString, Uint8Array> {
    const tree = new Tree(root, { trusted: ['etc/pve'] })
    const files = new Map<ByteString, Uint8Array>()
    try {
        const paths: ByteString[] = []
        tree.walk('etc/pve', true, {
            ignore: path => virtual.test(path.slice('etc/pve/'.length)),
            visit(path, _name, stat) {
                if ((stat.mode & libc.fileType.mask) === libc.fileType.file) paths.push(path)
                return paths.length <= pmxcfsLimits.inodes ? true : undefined
            },
            passed(path, { why }) {
                throw new Fault('failed', `cannot read /${showPath(path)}: ${why}`)
            },
        })
        for (const path of paths) {
            const data = tree.readFile(path, 2 * pmxcfsLimits.fileBytes)
            if (data !== undefined) files.set(path.slice('etc/pve/'.length), Uint8Array.from(data))
        }
        return files
    } finally {
        tree.close()
    }
}

export type CompareParams = { database: string; root: string }

/** The operation `restore.compare-database`, in a worker: a pmxcfs that hangs must not hang the daemon. */
export async function restoreCompareDatabase({ database, root }: CompareParams): Promise<Json> {
    const tree = readPmxcfsDatabase(database)
    return compareTrees(filesOf(tree), readMounted(root)) as unknown as Json
}
