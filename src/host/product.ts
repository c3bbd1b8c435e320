/** What a host is: PVE, PBS, both or plain Debian, read from the files below a root and from nothing else. */
import type { Manifest } from '../format/manifest.ts'
import { isLocal } from './mounts.ts'
import { Tree } from './tree.ts'

export interface Product {
    kind: Manifest['product']['kind']
    /** Version of the package `pve-manager`, when the package database tells it. */
    pve?: string
    /** Version of the package `proxmox-backup-server`. */
    pbs?: string
    debian?: string
    /** The running kernel; unknown for a tree that is not running. */
    kernel?: string
    cluster: 'standalone' | 'cluster'
    /** The short name. */
    hostname: string
    fqdn?: string
    /** What an uninstalled product left behind, a line each; it makes no product. */
    leftovers: string[]
}

const packageOf = { pve: 'pve-manager', pbs: 'proxmox-backup-server' } as const

/** Files without which a product cannot have been configured; asked only where no package database can be. */
const marksOf = {
    pve: ['var/lib/pve-cluster/config.db', 'etc/pve/storage.cfg', 'etc/pve/user.cfg'],
    pbs: [
        'etc/proxmox-backup/datastore.cfg',
        'etc/proxmox-backup/user.cfg',
        'etc/proxmox-backup/domains.cfg',
    ],
} as const

/** A few hundred thousand packages would not fill it. */
const packageDatabaseBytes = 256 * 1024 * 1024
const smallFileBytes = 1024 * 1024

export function detectProduct(root: string): Product {
    const tree = new Tree(root)
    try {
        return detectIn(tree)
    } finally {
        tree.close()
    }
}

function detectIn(tree: Tree): Product {
    const packages = readPackages(tree)
    const product: Product = { kind: 'debian', cluster: 'standalone', ...readNames(tree), leftovers: [] }
    const present = { pve: false, pbs: false }
    for (const id of ['pve', 'pbs'] as const) {
        const found = packages?.(packageOf[id])
        if (found?.installed) {
            present[id] = true
            product[id] = found.version
            continue
        }
        const marks = marksOf[id].filter(path => isThere(tree, path))
        if (packages === undefined) present[id] = marks.length > 0
        else {
            if (found !== undefined)
                product.leftovers.push(`package ${packageOf[id]} is removed, its configuration is kept`)
            for (const path of marks) product.leftovers.push(`/${path} without ${packageOf[id]}`)
        }
    }
    if (present.pve && present.pbs) product.kind = 'both'
    else if (present.pve) product.kind = 'pve'
    else if (present.pbs) product.kind = 'pbs'
    // On a running host the copy below /etc/corosync tells; a tree of files may have the other one only.
    if (
        present.pve &&
        ['etc/corosync/corosync.conf', 'etc/pve/corosync.conf'].some(path => isThere(tree, path))
    )
        product.cluster = 'cluster'
    const debian = readLine(tree, 'etc/debian_version')
    if (debian !== undefined) product.debian = debian
    const kernel = readLine(tree, 'proc/sys/kernel/osrelease')
    if (kernel !== undefined) product.kernel = kernel
    return product
}

interface Package {
    version: string
    installed: boolean
}

/**
 * Looks packages up in dpkg's database; undefined when the tree has none that describes it. Every Debian has the package
 * `dpkg`, so a database without it is a fragment, and its silence about a product means nothing.
 */
function readPackages(tree: Tree): ((name: string) => Package | undefined) | undefined {
    const status = tree.readFile('var/lib/dpkg/status', packageDatabaseBytes)
    const look = (name: string) => {
        // Images made without dpkg keep one stanza a file.
        const stanza =
            (status && findStanza(status, name)) ??
            tree.readFile(`var/lib/dpkg/status.d/${name}`, smallFileBytes)?.toString('latin1')
        return stanza === undefined ? undefined : parseStanza(stanza, name)
    }
    if (look('dpkg')?.installed || look('base-files')?.installed) return look
    return undefined
}

/** The database is several megabytes, so it is searched as bytes; only the one stanza becomes text. */
function findStanza(status: Buffer, name: string): string | undefined {
    const line = Buffer.from(`Package: ${name}\n`)
    for (let at = status.indexOf(line); at >= 0; at = status.indexOf(line, at + 1)) {
        if (at > 0 && status[at - 1] !== 0x0a) continue
        const end = status.indexOf('\n\n', at)
        return status.toString('latin1', at, end < 0 ? status.length : end)
    }
    return undefined
}

function parseStanza(stanza: string, name: string): Package | undefined {
    const field = (key: string) => new RegExp(`^${key}: *(.*)$`, 'm').exec(stanza)?.[1]?.trim()
    if (field('Package') !== name) return undefined
    // Want, flag, state (dpkg(1)). A package on hold or half way through an upgrade is still this host's product. One
    // file a package has no status at all.
    const state = field('Status')?.split(' ')[2] ?? 'installed'
    if (state === 'not-installed') return undefined
    return { version: field('Version') ?? '', installed: state !== 'config-files' }
}

/** The names of the host: the short one, and the full one that its hosts file gives. */
function readNames(tree: Tree): { hostname: string; fqdn?: string } {
    const full = readLine(tree, 'etc/hostname') ?? readLine(tree, 'proc/sys/kernel/hostname') ?? 'localhost'
    const hostname = full.split('.')[0] || full
    if (full !== hostname) return { hostname, fqdn: full }
    const hosts = tree.readFile('etc/hosts', smallFileBytes)?.toString('utf8') ?? ''
    for (const line of hosts.split('\n')) {
        const [, ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
        const fqdn = names.find(name => name.startsWith(`${hostname}.`))
        if (fqdn !== undefined) return { hostname, fqdn }
    }
    return { hostname }
}

/** The first line of a small file that has more on it than blanks and comments. */
function readLine(tree: Tree, path: string): string | undefined {
    const text = tree.readFile(path, smallFileBytes)?.toString('utf8') ?? ''
    for (const line of text.split('\n')) if (line.trim() !== '' && !line.startsWith('#')) return line.trim()
    return undefined
}

/** Whether a file is there. A mount on the way that needs a network or a process (pmxcfs) is not asked: it may hang. */
function isThere(tree: Tree, path: string): boolean {
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
        const mount = tree.mountAt(path.slice(0, slash))
        if (mount !== undefined && !isLocal(mount.type)) return false
    }
    return tree.stat(path) !== undefined
}
