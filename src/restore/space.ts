/** Whether there is room for a restore: bytes and inodes, counted before any service stops. */
import { Fault } from '../core/errors.ts'
import { showSize } from '../core/units.ts'
import type { ByteString } from '../format/tar-write.ts'
import { freeSpace } from '../host/space.ts'
import type { PlaceTree } from '../host/place.ts'
import type { RestoreHost } from './host.ts'
import type { FileAction } from './types.ts'

export type Needs = { bytes: number; inodes: number }

/** What an entry takes besides its content: its inode, and its share of a directory. */
const perEntry = 1024
const block = 4096
const inBlocks = (bytes: number): number => Math.ceil(bytes / block) * block

/** Left free in any case: the journal and everybody else must be able to go on. */
const reserve: Needs = { bytes: 16 * 1024 * 1024, inodes: 256 }

/** Room that these entries take below the state directory when they are unpacked. */
export function stagingNeeds(entries: readonly { type: string; size: number }[]): Needs {
    let bytes = 0
    for (const { type, size } of entries) bytes += perEntry + (type === 'directory' ? block : inBlocks(size))
    return { bytes, inodes: entries.length }
}

/** Room that the copies of everything take that these actions change. */
export function snapshotNeeds(actions: readonly FileAction[], live: PlaceTree): Needs {
    let bytes = block
    let inodes = 3
    for (const { bytes: name } of actions) {
        const found = lookSafely(live, name)
        bytes += perEntry
        if (found === undefined || found.type === 'directory') continue
        inodes++
        bytes += found.type === 'file' ? found.stored + block : block
    }
    return { bytes, inodes }
}

export function addNeeds(...all: readonly Needs[]): Needs {
    return {
        bytes: all.reduce((sum, one) => sum + one.bytes, 0),
        inodes: all.reduce((sum, one) => sum + one.inodes, 0),
    }
}

/** What stands in the way of needing this much in `directory`, in words; undefined when there is room. */
export function shortage(directory: string, needs: Needs): string | undefined {
    const free = freeSpace(directory)
    const wanted = addNeeds(needs, reserve)
    if (free.bytes < wanted.bytes)
        return `${showSize(wanted.bytes)} are needed in ${directory} and ${showSize(free.bytes)} are free`
    // File systems that make inodes as they go say that they have none.
    if (free.inodes !== undefined && free.inodes < wanted.inodes)
        return `${wanted.inodes} inodes are needed in ${directory} and ${free.inodes} are free`
    return undefined
}

export function checkSpace(directory: string, needs: Needs): void {
    const why = shortage(directory, needs)
    if (why !== undefined)
        throw new Fault('failed', `cannot restore: ${why}`, {
            hint: `free some space there, or choose fewer categories`,
        })
}

/**
 * The same for the places that are written: a new file stands beside the old one until it takes its place. `sizes` is
 * by path without a leading slash.
 */
export function checkTargets(
    host: Pick<RestoreHost, 'root'>,
    actions: readonly FileAction[],
    sizes: ReadonlyMap<ByteString, number>,
    live: PlaceTree,
): void {
    const byDevice = new Map<string, Needs & { directory: string }>()
    for (const { action, bytes: name } of actions) {
        if (action === 'remove') continue
        const path = name.replace(/^\/+/, '')
        const directory = nearest(path, live)
        if (directory === undefined) continue
        const device = directory.inode.split(':')[0]!
        const base = host.root === '/' ? '' : host.root
        const known = byDevice.get(device) ?? {
            bytes: 0,
            inodes: 0,
            directory: `${base}/${Buffer.from(directory.path, 'latin1').toString()}`,
        }
        // The old content is kept until the snapshot is dropped: its room does not come back.
        known.bytes += inBlocks(sizes.get(path) ?? 0) + perEntry
        known.inodes++
        byDevice.set(device, known)
    }
    for (const { directory, ...needs } of byDevice.values()) checkSpace(directory, needs)
}

/** The directory that stands nearest above a path. */
function nearest(path: ByteString, live: PlaceTree): { path: ByteString; inode: string } | undefined {
    for (let above = path; above !== ''; ) {
        above = above.slice(0, Math.max(0, above.lastIndexOf('/')))
        const found = lookSafely(live, above)
        if (found?.type === 'directory') return { path: above, inode: found.inode }
    }
    return undefined
}

function lookSafely(live: PlaceTree, name: ByteString): ReturnType<PlaceTree['look']> {
    try {
        return live.look(name.replace(/^\/+/, ''))
    } catch (error) {
        // What cannot be reached is refused by the task that wants to change it, which says why.
        if (error instanceof Fault) return undefined
        throw error
    }
}
