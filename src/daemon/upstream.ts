/** Archives of the Go ProxSave as the daemon lists them: in the directories of its settings, or in one that is named. */
import { describeUpstream, isUpstream, readUpstreamHead } from '../archive/upstream-head.ts'
import type { BackupInfo } from '../core/answers.ts'
import { asFault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { StoredArchive } from '../engine/target.ts'
import { type Config, isRemote, type RcloneSourceConfig, rcloneDefaults } from '../format/config.ts'
import { readUpstreamEnvironment, type UpstreamPlaces } from '../format/upstream-manifest.ts'
import type { Manifest } from '../format/manifest.ts'
import { listDirectory } from '../host/archive-directory.ts'
import { readSmallFile } from '../host/atomic.ts'

/** Where its settings lie, the newer place first, and what they call their base directory. */
const settings = [
    { base: '/opt/proxsave', file: 'configs/backup.env' },
    { base: '/opt/proxmox-backup', file: 'configs/backup.env' },
    { base: '/opt/proxmox-backup', file: 'env/backup.env' },
]

/** What the settings of the Go tool name; undefined when it was never on this host. */
export function upstreamPlaces(root: string): (UpstreamPlaces & { file: string }) | undefined {
    for (const { base, file } of settings) {
        const path = `${base}/${file}`
        const bytes = readSmallFile(within(root, path), limits.configBytes)
        if (bytes === undefined) continue
        return { ...readUpstreamEnvironment(Buffer.from(bytes).toString('utf8'), base), file: path }
    }
    return undefined
}

/** What its settings offer to read archives from, besides what the configuration names. */
export interface UpstreamOffers {
    /** Absolute, as the settings name them. */
    directories: string[]
    /** Its remote, under a name that is free. */
    source?: RcloneSourceConfig
}

/** Never throws: settings of another tool that cannot be read must not stand in the way of a restore; doctor tells. */
export function upstreamOffers(root: string, config: Pick<Config, 'targets' | 'sources'>): UpstreamOffers {
    let places: UpstreamPlaces | undefined
    try {
        places = upstreamPlaces(root)
    } catch {
        places = undefined
    }
    if (places === undefined) return { directories: [] }
    const targets = new Set(config.targets.map(({ path }) => path))
    const directories = places.directories.filter(path => !targets.has(path))
    const { remote } = places
    if (remote === undefined || !isRemote(remote)) return { directories }
    const same = (other: string) => other.replace(/\/+$/, '') === remote.replace(/\/+$/, '')
    if (config.sources.some(source => same(source.remote))) return { directories }
    const taken = new Set([...config.targets, ...config.sources].map(({ name }) => name))
    let name = upstreamSourceName
    for (let more = 2; taken.has(name); more++) name = `${upstreamSourceName}-${more}`
    const source = { type: 'rclone', name, remote, ...rcloneDefaults } as const
    return { directories, source }
}

const upstreamSourceName = 'go-proxsave'

export const within = (root: string, path: string): string => (root === '/' ? path : `${root}${path}`)

export interface UpstreamListing {
    backups: BackupInfo[]
    problems: { target: string; message: string; hint?: string }[]
}

/** The archives in some directories; one that cannot be read is listed with its reason. Unknown directories are left out. */
export async function listUpstream(directories: readonly string[]): Promise<UpstreamListing> {
    const backups: BackupInfo[] = []
    const problems: UpstreamListing['problems'] = []
    for (const directory of new Set(directories)) {
        let found: StoredArchive[]
        try {
            found = await listDirectory(directory, isUpstream)
        } catch (error) {
            const { message, hint } = asFault(error)
            problems.push({ target: directory, message, ...(hint === undefined ? {} : { hint }) })
            continue
        }
        for (const stored of found) backups.push(await describeFile(directory, stored))
    }
    return { backups, problems }
}

async function describeFile(directory: string, stored: StoredArchive): Promise<BackupInfo> {
    const path = `${directory}/${stored.name}`
    try {
        const manifest = describeUpstream(await readUpstreamHead(path))
        return upstreamInfo(manifest, { ...stored, directory, path })
    } catch (error) {
        const empty = {
            host: { id: '', name: '' },
            product: { kind: 'debian' },
            encryption: { kind: 'none' },
        }
        const created = new Date(stored.modifiedMs).toISOString()
        const manifest = { ...empty, id: '', created, cluster: 'standalone' } as unknown as Manifest
        return { ...upstreamInfo(manifest, { ...stored, directory, path }), problem: asFault(error).message }
    }
}

/** The row of one archive. Nobody signed it, and it is never taken for this host's latest. */
export function upstreamInfo(
    manifest: Manifest,
    file: { name: string; size: number; directory: string; path: string },
): BackupInfo {
    return {
        id: manifest.id,
        name: file.name,
        target: file.directory,
        host: manifest.host.name,
        hostId: '',
        created: manifest.created,
        sequence: 0,
        size: file.size,
        plainSize: 0,
        entries: 0,
        encrypted: manifest.encryption.kind === 'age',
        signed: false,
        pinned: false,
        own: false,
        product: manifest.product.kind,
        cluster: manifest.cluster === 'cluster',
        reason: 'upstream',
        path: file.path,
    }
}
