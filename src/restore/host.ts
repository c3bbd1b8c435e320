/** What the tasks of a restore are given: the tree they change, where their state lies, and who reads archives for them. */
import { join } from 'node:path'
import type { Identity } from '../archive/unlock.ts'
import { Fault } from '../core/errors.ts'
import type { TaskContext } from '../engine/kinds.ts'
import type { RunWorker } from '../engine/worker.ts'
import type { ByteString } from '../format/tar-write.ts'
import { type PlaceCalls, type PlaceTree, withPlaceTrees } from '../host/place.ts'
import { Snapshot } from '../host/snapshot.ts'
import { showPath, toByteString } from '../host/tree.ts'
import { checkPath } from '../host/unpack.ts'
import type { FileAction } from './types.ts'

export interface RestoreHost {
    /** The tree that is restored: `/`, or another root. */
    root: string
    state: string
    runWorker: RunWorker
    /** What a person gave to open the archive; it lives in memory only. */
    identity(reference: string): Identity | undefined
    /** Whether a change has ended: only then may somebody have edited since what it restored. */
    finished(change: string): boolean
    /** The calls that change files; a test gives its own. */
    calls?: PlaceCalls
}

/** The two trees at hand, closed when `act` is through. */
export const withTrees = <T>(
    { root, calls }: Pick<RestoreHost, 'root' | 'calls'>,
    { dir }: Pick<TaskContext, 'dir'>,
    act: (live: PlaceTree, own: PlaceTree) => Promise<T> | T,
): Promise<T> => withPlaceTrees({ live: root, own: dir }, calls, act)

export const places = { stage: 'stage', snapshot: 'snapshot' } as const

/** Throws when the change has none: nothing is written without one. */
export function snapshotOf(own: PlaceTree): Snapshot {
    const snapshot = Snapshot.read(own, places.snapshot)
    if (snapshot !== undefined) return snapshot
    throw new Fault('stuck', 'cannot go on: the snapshot of this change is not there', {
        hint: 'the backup before it has the old files',
    })
}

/** The path of an action below the root, without a leading slash. Throws when no restore may write there. */
export function pathOf(action: FileAction, host: Pick<RestoreHost, 'root' | 'state'>): ByteString {
    const path = action.bytes.replace(/^\/+/, '')
    checkPath(path)
    for (const { at, why } of forbiddenPlaces(host)) {
        const within = path === at || path.startsWith(`${at}/`)
        const replacesAbove =
            at.startsWith(`${path}/`) && (action.type !== 'directory' || action.action === 'remove')
        if (within || replacesAbove)
            throw new Fault('failed', `cannot ${verbs[action.action]} /${showPath(path)}: ${why}`, {
                hint: 'have it exported instead',
            })
    }
    return path
}

const verbs: Record<FileAction['action'], string> = {
    create: 'create',
    replace: 'replace',
    metadata: 'change',
    remove: 'remove',
}

/** Whatever a plan says, no task writes files there. Keys lie nowhere else: no setting moves them. */
function forbiddenPlaces({
    root,
    state,
}: Pick<RestoreHost, 'root' | 'state'>): { at: ByteString; why: string }[] {
    const kernel = 'the kernel makes what is there'
    const own = 'it is the state of proxsave itself'
    const found = [
        { at: 'etc/pve', why: 'it is the cluster file system, which is never written as files' },
        { at: 'proc', why: kernel },
        { at: 'sys', why: kernel },
        { at: 'dev', why: kernel },
        { at: 'run', why: 'it lasts until the next start only' },
        { at: 'var/lib/proxsave', why: own },
        { at: 'etc/proxsave/identity.txt', why: 'it is a key of this host' },
        { at: 'etc/proxsave/identity.age', why: 'it is a key of this host' },
    ]
    const base = root === '/' ? '' : root
    if (state.startsWith(`${base}/`)) found.push({ at: toByteString(state.slice(base.length + 1)), why: own })
    return found
}

/** The directory of all exports. */
export const exportsDirectory = (state: string): string => join(state, 'exports')
