/**
 * Directories that storages expect: made where they belong, refused where a file system is missing. A directory made on
 * the root file system in its stead fills up the root, and hides that the disk is not there.
 */
import { Fault } from '../core/errors.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import { type Section, valuesOf } from '../format/section-config.ts'
import { parsePbsSectionConfig } from '../format/section-config-pbs.ts'
import { parsePveSectionConfig } from '../format/section-config-pve.ts'
import { readConfiguredMounts } from '../host/fstab.ts'
import { isLocal, readMounts } from '../host/mounts.ts'
import { PlaceTree } from '../host/place.ts'
import type { TimedClock } from '../host/timer.ts'
import { toByteString } from '../host/tree.ts'

export interface DirectoryFacts {
    /** Type of what is mounted, by absolute path. */
    mounted: ReadonlyMap<string, string>
    /** Where fstab and units of systemd want something mounted. */
    configured: readonly string[]
    /** What stands at an absolute path; not asked where a network may have to answer. */
    look(path: string): 'absent' | 'empty' | 'directory' | 'other'
}

export interface DirectoryPlan {
    /** Absolute, parents first. */
    create: string[]
    left: { what: string; why: string }[]
}

/** Directories of one kind of content (`PVE::Storage::Plugin`), relative to the path of the storage. */
const contentDirectories: Readonly<Record<string, string>> = {
    images: 'images',
    rootdir: 'private',
    iso: 'template/iso',
    vztmpl: 'template/cache',
    backup: 'dump',
    snippets: 'snippets',
    import: 'import',
}

const systemDirectories =
    /^\/?$|^\/(bin|boot|dev|etc|lib|lib32|lib64|proc|root|run|sbin|sys|usr)(\/|$)|^\/(var|home|mnt|media|srv|opt|tmp|var\/lib)$/

/** Places that are made for mounts, so that an empty one there is a mount that is missing. */
const mountPlaces = /^\/(mnt|media|run\/media)\//

/** `text` is a storage.cfg. */
export function planStorageDirectories(text: string, facts: DirectoryFacts): DirectoryPlan {
    const plan: DirectoryPlan = { create: [], left: [] }
    let sections: Section[]
    try {
        sections = parsePveSectionConfig(text).sections
    } catch (error) {
        plan.left.push({ what: 'all storages', why: error instanceof Error ? error.message : String(error) })
        return plan
    }
    const pools = new Set<string>()
    for (const section of sections)
        if (section.type === 'zfspool') pools.add(`/${oneOf(section, 'pool')?.split('/')[0]}`)
    for (const section of sections) {
        const what = `storage ${section.id}`
        if (section.type === 'dir' || section.type === 'btrfs') {
            const why = planOne(section, what, pools, facts, plan)
            if (why !== undefined) plan.left.push({ what, why })
        } else if (['nfs', 'cifs', 'cephfs', 'glusterfs'].includes(section.type)) {
            const path = oneOf(section, 'path') ?? `/mnt/pve/${section.id}`
            if (!facts.mounted.has(path))
                plan.left.push({
                    what,
                    why: `nothing is mounted on ${path}; pvestatd mounts it and makes its directories`,
                })
        }
    }
    return plan
}

/** Why nothing is made for a storage. */
function planOne(
    section: Section,
    what: string,
    pools: ReadonlySet<string>,
    facts: DirectoryFacts,
    plan: DirectoryPlan,
): string | undefined {
    const path = oneOf(section, 'path')?.replace(/(?<=.)\/+$/, '')
    if (path === undefined || !path.startsWith('/') || isCrooked(path))
        return 'its path is no plain absolute path'
    if (systemDirectories.test(path)) return `${path} belongs to the system`
    if (isOff(section, 'mkdir') || isOff(section, 'create-subdirs'))
        return 'its configuration forbids to make directories'
    const point = oneOf(section, 'is_mountpoint')
    const own =
        point === undefined || /^(0|no|off|false)$/i.test(point) ? [] : [point.startsWith('/') ? point : path]
    const trouble = mountTrouble(path, facts, [...facts.configured, ...own, ...pools])
    if (trouble !== undefined) return trouble
    const base = facts.look(path)
    if (base === 'other') return `${path} is no directory, or a link leads there`
    if (base === 'absent' && isOff(section, 'create-base-path'))
        return 'its configuration forbids to make its directory'
    const overrides = new Map(
        (oneOf(section, 'content-dirs') ?? '')
            .split(',')
            .map(pair => pair.trim().split('=') as [string, string]),
    )
    const wanted = [path]
    for (const content of (oneOf(section, 'content') ?? '').split(/[\s,;]+/)) {
        const directory = overrides.get(content)?.replace(/^\/+/, '') ?? contentDirectories[content]
        if (directory === undefined) continue
        if (isCrooked(directory)) {
            plan.left.push({ what, why: `its directory for ${content} is no plain path` })
            continue
        }
        const names = directory.split('/').filter(name => name !== '')
        for (const end of names.keys()) wanted.push(`${path}/${names.slice(0, end + 1).join('/')}`)
    }
    for (const one of wanted)
        if (!plan.create.includes(one) && facts.look(one) === 'absent') plan.create.push(one)
    return undefined
}

/** What an administrator does about each datastore of a datastore.cfg; a chunk store is only ever made by PBS itself. */
export function explainDatastores(text: string, facts: DirectoryFacts): { what: string; why: string }[] {
    let sections: Section[]
    try {
        sections = parsePbsSectionConfig(text).sections
    } catch (error) {
        return [{ what: 'all datastores', why: error instanceof Error ? error.message : String(error) }]
    }
    return sections
        .filter(({ type }) => type === 'datastore')
        .flatMap(section => {
            const what = `datastore ${section.id}`
            const path = oneOf(section, 'path')
            if (oneOf(section, 'backing-device') !== undefined)
                return [{ what, why: 'it is removable: it is there again once its device is' }]
            if (path === undefined || !path.startsWith('/') || isCrooked(path))
                return [{ what, why: 'its path is no plain absolute path' }]
            const trouble = mountTrouble(path, facts, facts.configured)
            if (trouble !== undefined) return [{ what, why: trouble }]
            const command = `proxmox-backup-manager datastore create ${section.id} ${path}`
            if (facts.look(path) === 'absent' || facts.look(path) === 'empty')
                return [{ what, why: `${path} holds no datastore; for a new and empty one: ${command}` }]
            if (facts.look(`${path}/.chunks`) === 'directory') return []
            return [
                {
                    what,
                    why: `${path} has no .chunks: is its disk mounted? A directory made by hand is no datastore`,
                },
            ]
        })
}

/** Why nothing may be made at a path: the file system that belongs there is not there, or may not answer. */
export function mountTrouble(
    path: string,
    { mounted, look }: DirectoryFacts,
    points: readonly string[],
): string | undefined {
    const within = (point: string) => path === point || path.startsWith(`${point}/`)
    const on = [...mounted.keys()]
        .filter(point => point !== '/' && within(point))
        .sort((a, b) => b.length - a.length)[0]
    const missing = points.find(point => point !== '/' && within(point) && !mounted.has(point))
    if (missing !== undefined)
        return `${missing} is meant to be a mount and nothing is mounted there: what is made now would lie on the file system around it`
    if (on !== undefined && !isLocal(mounted.get(on)!))
        return `it lies on ${mounted.get(on)} file system ${on}, which is left to its owner`
    if (on === undefined && mountPlaces.test(path) && look(path) !== 'directory')
        return `${path} looks like a mount, but nothing is mounted there; mount it, or make the directory by hand`
    return undefined
}

const oneOf = (section: Section, key: string): string | undefined => valuesOf(section, key)[0]
const isOff = (section: Section, key: string) => /^(0|no|off|false)$/i.test(oneOf(section, key) ?? '')
const isCrooked = (path: string) => /(^|\/)\.\.?(\/|$)/.test(path) || /[\0-\x1f\x7f]/.test(path)

// --- the task --------------------------------------------------------------------------------------------------

export interface DirectoriesHost {
    root: string
    clock: TimedClock
}

export type DirectoriesParams = {
    /** Directory below the change's own with the files of the backup. */
    stage: string
}

/** Makes the directories of the storages in the backup, and takes away those it made while they are empty. */
export function restoreDirectories(host: DirectoriesHost): TaskKind<DirectoriesParams> {
    const within = <T>(act: (live: PlaceTree) => T): T => {
        const live = new PlaceTree(host.root)
        try {
            return act(live)
        } finally {
            live.close()
        }
    }
    return {
        kind: 'restore.directories',
        async do({ stage }, context) {
            return within(live => {
                const facts = directoryFacts(host.root, live)
                const storages = stagedText(context, stage, 'etc/pve/storage.cfg')
                const datastores = stagedText(context, stage, 'etc/proxmox-backup/datastore.cfg')
                const plan =
                    storages === undefined
                        ? { create: [], left: [] }
                        : planStorageDirectories(storages, facts)
                const explained = datastores === undefined ? [] : explainDatastores(datastores, facts)
                for (const { what, why } of [...plan.left, ...explained]) context.warn(`${what}: ${why}`)
                const memory = memoryOf(context)
                if (plan.create.length === 0) return { created: memory.made }
                const now = BigInt(host.clock.nowMs()) * 1_000_000n
                const all = withParents(plan.create, live)
                context.remember({
                    made: [...new Set([...memory.made, ...all])],
                    around: { ...timesAround(all, live), ...memory.around },
                } satisfies Memory)
                for (const path of all) {
                    live.makeDirectory(path)
                    const ids = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
                    live.dressDirectory(path, { mode: 0o755, ...ids, atimeNs: now, mtimeNs: now, xattrs: [] })
                }
                live.settle()
                for (const path of plan.create) context.log(`made ${path}`)
                return { created: plan.create }
            })
        },
        async undo(_, context) {
            const { made, around } = memoryOf(context)
            within(live => {
                for (const path of made.toReversed()) {
                    if (live.look(path)?.type !== 'directory') continue
                    if (live.names(path).length === 0) live.remove(path)
                    else context.warn(`/${path} stays: something was put into it`)
                }
                for (const [path, [atime, mtime]] of Object.entries(around))
                    if (live.look(path)?.type === 'directory')
                        live.setTimes(path, { atimeNs: BigInt(atime), mtimeNs: BigInt(mtime) })
                live.settle()
            })
        },
    }
}

/** What was made, parents first, and the times (nanoseconds) of the directories that it was made in. */
type Memory = { made: string[]; around: Record<string, [atime: string, mtime: string]> }

const memoryOf = (context: TaskContext): Memory =>
    (context.remembered() as Memory | undefined) ?? { made: [], around: {} }

/** Of directories that stand already; the root of the tree has no name to set them by. */
function timesAround(paths: readonly string[], live: PlaceTree): Memory['around'] {
    const around: Memory['around'] = {}
    for (const path of paths) {
        const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')))
        const found = parent === '' ? undefined : live.look(parent)
        if (found?.type === 'directory') around[parent] = [String(found.atimeNs), String(found.mtimeNs)]
    }
    return around
}

function withParents(paths: readonly string[], live: PlaceTree): string[] {
    const wanted = new Set<string>()
    for (const path of paths) {
        const names = toByteString(path)
            .split('/')
            .filter(name => name !== '')
        for (const end of names.keys()) wanted.add(names.slice(0, end + 1).join('/'))
    }
    return [...wanted].filter(path => live.look(path) === undefined)
}

function directoryFacts(root: string, live: PlaceTree): DirectoryFacts {
    // The mounts of this host say nothing about another root.
    const mounts = root === '/' ? [...readMounts().values()] : []
    return {
        mounted: new Map(mounts.map(({ point, type }) => [point, type])),
        configured: readConfiguredMounts(root).filter(point => point !== '/'),
        look(path) {
            const relative = toByteString(path).replace(/^\/+/, '')
            try {
                const found = live.look(relative)
                if (found === undefined) return 'absent'
                if (found.type !== 'directory') return 'other'
                return live.names(relative).length === 0 ? 'empty' : 'directory'
            } catch (error) {
                // A link stands in the way: where it leads is for a person to say.
                if (error instanceof Fault) return 'other'
                throw error
            }
        },
    }
}

function stagedText(context: TaskContext, stage: string, path: string): string | undefined {
    const own = new PlaceTree(context.dir)
    try {
        const found = own.look(`${stage}/${path}`)
        if (found?.type !== 'file' || found.size > 1024 * 1024) return undefined
        return Buffer.from(own.readWhole(`${stage}/${path}`)).toString('latin1')
    } finally {
        own.close()
    }
}
