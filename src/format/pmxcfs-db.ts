/**
 * The cluster file system as its database holds it: rows of `config.db` become files of /etc/pve, and whatever would make
 * pmxcfs refuse them, or lose data over them, is named.
 */
import { Fault } from '../core/errors.ts'
import type { ByteString } from './tar-write.ts'

/** One row of the table `tree`, as SQLite has it. Names are bytes: nothing promises that they are UTF-8. */
export interface TreeRow {
    inode: bigint
    parent: bigint
    version: bigint
    writer: bigint
    /** Seconds since the epoch. */
    mtime: bigint
    type: bigint
    name: Uint8Array
    /** Null for directories and for empty files. */
    data: Uint8Array | null
}

export type PmxcfsRule =
    | 'columns'
    | 'duplicate-inode'
    | 'empty-name'
    | 'invalid-name'
    | 'unknown-type'
    | 'directory-data'
    | 'orphan'
    | 'cycle'
    | 'duplicate-name'
    | 'duplicate-vmid'
    | 'no-version'
    | 'old-version'
    | 'large-file'
    | 'large-tree'
    | 'stale-lock'

/**
 * `refused`: pmxcfs does not start with it. `dangerous`: it starts, and files get lost or cannot be written later.
 * `remark`: worth knowing.
 */
export type PmxcfsSeverity = 'refused' | 'dangerous' | 'remark'

export interface PmxcfsProblem {
    severity: PmxcfsSeverity
    rule: PmxcfsRule
    /** A clause for people. */
    text: string
}

/** A file or directory; `path` is relative to /etc/pve, one character a byte. */
export interface PmxcfsEntry {
    path: ByteString
    type: 'file' | 'directory'
    /** Seconds since the epoch. */
    mtime: number
    data: Uint8Array
    inode: number
    version: number
}

export interface PmxcfsGuest {
    vmid: number
    kind: 'qemu' | 'lxc' | 'openvz'
    node: string
}

export interface PmxcfsTree {
    /** All that can be reached from the root under a name that a file can have; by path, parents first. */
    entries: PmxcfsEntry[]
    /** Version counter of the whole database; undefined when the row that holds it is missing. */
    version: number | undefined
    /** Names below `nodes`. */
    nodes: string[]
    guests: PmxcfsGuest[]
    /** Text of `corosync.conf`, which makes it the database of a cluster member. */
    corosync: string | undefined
    problems: PmxcfsProblem[]
}

/** What pmxcfs itself keeps to. */
export const pmxcfsLimits = {
    /** EFBIG above it. */
    fileBytes: 1024 * 1024,
    treeBytes: 128 * 1024 * 1024,
    inodes: 256 * 1024,
} as const

const DIRECTORY = 4n
const REGULAR = 8n
const versionName = '__version__'
/** Of any one rule this many are spelled out; the rest is a number. */
const mostOfOneRule = 20

/** Reads everything and throws nothing but for the programmer: a damaged database is what one wants to look into. */
export function readPmxcfsTree(rows: readonly TreeRow[]): PmxcfsTree {
    const problems = new Problems()
    const { root, nodes } = sortOut(rows, problems)
    const children = new Map<bigint, Row[]>()
    const byInode = new Map(nodes.map(row => [row.inode, row]))
    for (const row of nodes) {
        const parent = row.parent === 0n ? undefined : byInode.get(row.parent)
        if (row.parent !== 0n && parent?.type !== DIRECTORY)
            problems.add(
                'refused',
                'orphan',
                `${show(row)} lies in ${row.parent}, which is ${parent === undefined ? 'not there' : 'no directory'}`,
            )
        else {
            const siblings = children.get(row.parent)
            if (siblings === undefined) children.set(row.parent, [row])
            else siblings.push(row)
        }
    }
    const entries = walk(children, problems)
    const guests = findGuests(entries, problems)
    checkVersion(root, nodes, problems)
    checkSizes(nodes, problems)
    for (const { path, type } of entries)
        if (type === 'directory' && path.startsWith('priv/lock/'))
            problems.add(
                'remark',
                'stale-lock',
                `the lock ${path.slice(10)} was held when the backup was made; it expires by itself`,
            )
    const corosync = entries.find(({ path, type }) => path === 'corosync.conf' && type === 'file')
    return {
        entries,
        version: root === undefined ? undefined : Number(root.version),
        nodes: entries
            .filter(({ path, type }) => type === 'directory' && /^nodes\/[^/]+$/.test(path))
            .map(({ path }) => path.slice(6)),
        guests,
        corosync: corosync === undefined ? undefined : Buffer.from(corosync.data).toString('latin1'),
        problems: problems.list(),
    }
}

/** Throws `damaged` when pmxcfs would not start with the database, or would lose data with it. */
export function checkPmxcfsTree({ problems }: Pick<PmxcfsTree, 'problems'>): void {
    const bad = problems.filter(({ severity }) => severity !== 'remark')
    const [first] = bad
    if (first === undefined) return
    const verb = bad.some(({ severity }) => severity === 'refused')
        ? 'pmxcfs would not start with it'
        : 'pmxcfs would lose data with it'
    const more = bad.length === 1 ? '' : ` (and ${bad.length - 1} more)`
    throw new Fault('damaged', `cannot use the cluster database: ${verb}: ${first.text}${more}`, {
        hint: 'its files can still be taken out: proxsavectl extract BACKUP /etc/pve --output DIR',
        facts: { rule: first.rule },
    })
}

type Row = TreeRow & { label: ByteString }

/** The row of the root, and all that can stand somewhere. */
function sortOut(rows: readonly TreeRow[], problems: Problems): { root: Row | undefined; nodes: Row[] } {
    let root: Row | undefined
    const nodes: Row[] = []
    const seen = new Set<bigint>()
    for (const raw of rows) {
        const row: Row = { ...raw, label: Buffer.from(raw.name).toString('latin1') }
        if (!inRange(row)) {
            problems.add('refused', 'columns', `${show(row)} has a number that cannot be`)
            continue
        }
        if (seen.has(row.inode)) {
            problems.add('refused', 'duplicate-inode', `the inode ${row.inode} is there twice`)
            continue
        }
        seen.add(row.inode)
        if (row.inode === 0n) {
            if (row.label === versionName && row.parent === 0n) root = row
            else problems.add('refused', 'invalid-name', `the row of the root is called ${quote(row.label)}`)
            continue
        }
        if (row.label === '') {
            problems.add('refused', 'empty-name', `the inode ${row.inode} has no name`)
            continue
        }
        const odd = whyNoName(row)
        if (odd !== undefined) {
            problems.add('refused', 'invalid-name', `${show(row)} ${odd}`)
            continue
        }
        if (row.type !== DIRECTORY && row.type !== REGULAR) {
            problems.add('refused', 'unknown-type', `${show(row)} has the type ${row.type}`)
            continue
        }
        if (row.type === DIRECTORY && (row.data?.length ?? 0) > 0)
            problems.add('refused', 'directory-data', `the directory ${show(row)} has content`)
        nodes.push(row)
    }
    return { root, nodes }
}

const u32 = 0xffff_ffffn
const inRange = ({ inode, parent, version, writer, mtime }: TreeRow) =>
    [inode, parent, version].every(value => value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) &&
    [writer, mtime].every(value => value >= 0n && value <= u32)

function whyNoName({ label, parent }: Row): string | undefined {
    if (label === '.' || label === '..') return 'is a name that means a directory'
    if (label.includes('/')) return 'has a slash in its name'
    if (label.includes('\0')) return 'has a NUL in its name'
    if (label.length > 255) return 'has a name of more than 255 bytes'
    if (label === versionName && parent === 0n) return 'has the name of the version row'
    return undefined
}

function walk(children: ReadonlyMap<bigint, Row[]>, problems: Problems): PmxcfsEntry[] {
    const entries: PmxcfsEntry[] = []
    const open: { row: Row; path: ByteString }[] = []
    const reached = new Set<bigint>()
    const enter = (inode: bigint, path: ByteString) => {
        const byName = new Map<ByteString, Row>()
        for (const row of children.get(inode) ?? []) {
            reached.add(row.inode)
            const other = byName.get(row.label)
            if (other !== undefined)
                problems.add(
                    'refused',
                    'duplicate-name',
                    `${path === '' ? '' : `${path}/`}${row.label} is there twice`,
                )
            // The last one written is what people mean.
            if (other === undefined || other.version < row.version) byName.set(row.label, row)
        }
        for (const row of byName.values())
            open.push({ row, path: path === '' ? row.label : `${path}/${row.label}` })
    }
    enter(0n, '')
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
        const { row, path } = next
        const isDirectory = row.type === DIRECTORY
        entries.push({
            path,
            type: isDirectory ? 'directory' : 'file',
            mtime: Number(row.mtime),
            data: isDirectory ? new Uint8Array() : (row.data ?? new Uint8Array()),
            inode: Number(row.inode),
            version: Number(row.version),
        })
        if (isDirectory) enter(row.inode, path)
    }
    reportUnreached(children, reached, problems)
    return entries.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
}

/** What has a parent and yet no way up to the root goes round in a circle, or hangs below something that does. */
function reportUnreached(
    children: ReadonlyMap<bigint, Row[]>,
    reached: ReadonlySet<bigint>,
    problems: Problems,
): void {
    const lost = new Map<bigint, Row>()
    for (const rows of children.values())
        for (const row of rows) if (!reached.has(row.inode)) lost.set(row.inode, row)
    const settled = new Set<bigint>()
    for (const start of lost.values()) {
        const way = new Set<bigint>()
        let at: Row | undefined = start
        while (at !== undefined && !settled.has(at.inode) && !way.has(at.inode)) {
            way.add(at.inode)
            at = lost.get(at.parent)
        }
        if (at !== undefined && way.has(at.inode))
            problems.add('refused', 'cycle', `the directory ${show(at)} lies within itself`)
        for (const inode of way) settled.add(inode)
    }
}

const guestPath =
    /^nodes\/([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)\/(qemu-server|lxc|openvz)\/([1-9][0-9]*)\.conf$/
const kinds = { 'qemu-server': 'qemu', lxc: 'lxc', openvz: 'openvz' } as const

function findGuests(entries: readonly PmxcfsEntry[], problems: Problems): PmxcfsGuest[] {
    const guests = new Map<number, PmxcfsGuest>()
    for (const { path, type } of entries) {
        const [, node, directory, digits] = guestPath.exec(path) ?? []
        const vmid = Number(digits)
        if (type !== 'file' || node === undefined || vmid > Number(u32)) continue
        const other = guests.get(vmid)
        if (other !== undefined)
            problems.add(
                'refused',
                'duplicate-vmid',
                `the guest ${vmid} is on ${other.node} (${other.kind}) and on ${node} (${kinds[directory as keyof typeof kinds]})`,
            )
        else guests.set(vmid, { vmid, kind: kinds[directory as keyof typeof kinds], node })
    }
    return [...guests.values()].sort((a, b) => a.vmid - b.vmid)
}

/** Inodes are taken from the version counter: one that lags behind gives a new file the inode of another. */
function checkVersion(root: Row | undefined, nodes: readonly Row[], problems: Problems): void {
    if (root === undefined) {
        problems.add(
            'dangerous',
            'no-version',
            `the row ${versionName} is missing, so that new files would replace others`,
        )
        return
    }
    let highest = 0n
    for (const { inode, version } of nodes) {
        if (inode > highest) highest = inode
        if (version > highest) highest = version
    }
    if (root.version < highest)
        problems.add(
            'dangerous',
            'old-version',
            `its version is ${root.version} and there are inodes or versions up to ${highest}, so that new files would replace others`,
        )
}

function checkSizes(nodes: readonly Row[], problems: Problems): void {
    let total = 0
    for (const row of nodes) {
        const size = row.data?.length ?? 0
        total += size
        if (size > pmxcfsLimits.fileBytes)
            problems.add(
                'dangerous',
                'large-file',
                `${show(row)} has ${size} bytes, and pmxcfs takes 1 MiB a file`,
            )
    }
    if (total > pmxcfsLimits.treeBytes)
        problems.add('dangerous', 'large-tree', `its files have ${total} bytes, and pmxcfs takes 128 MiB`)
    if (nodes.length > pmxcfsLimits.inodes)
        problems.add(
            'dangerous',
            'large-tree',
            `it has ${nodes.length} entries, and pmxcfs takes ${pmxcfsLimits.inodes}`,
        )
}

class Problems {
    readonly #list: PmxcfsProblem[] = []
    readonly #counts = new Map<PmxcfsRule, number>()

    add(severity: PmxcfsSeverity, rule: PmxcfsRule, text: string): void {
        const count = (this.#counts.get(rule) ?? 0) + 1
        this.#counts.set(rule, count)
        if (count <= mostOfOneRule) this.#list.push({ severity, rule, text })
    }

    /** The worst first. */
    list(): PmxcfsProblem[] {
        const order: PmxcfsSeverity[] = ['refused', 'dangerous', 'remark']
        const list = this.#list.toSorted((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity))
        for (const [rule, count] of this.#counts)
            if (count > mostOfOneRule) {
                const { severity } = list.find(one => one.rule === rule)!
                list.push({ severity, rule, text: `and ${count - mostOfOneRule} more of the kind ${rule}` })
            }
        return list
    }
}

const quote = (text: ByteString) =>
    `"${text.slice(0, 80).replace(/[^\x20-\x7e]/g, byte => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`)}"`
const show = ({ inode, label }: Row) => `${quote(label)} (inode ${inode})`
