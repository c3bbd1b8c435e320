/** Opens whatever archive a path names, as a restore sees it: proxsave's own, or one of the Go tool. */
import { OwnArchive } from './own.ts'
import type { SavedArchive } from './saved.ts'
import type { Identity } from './unlock.ts'
import { isUpstream } from './upstream-head.ts'
import type { OpenOptions } from './upstream.ts'

/** A foreign archive is compared with its digest first, which reads all of it; `progress` tells how far that is. */
export async function openSaved(
    path: string,
    identity: Identity | undefined,
    options: OpenOptions = {},
): Promise<SavedArchive> {
    if (!isUpstream(path)) return await OwnArchive.open(path, identity)
    const { openUpstream } = await import('./upstream.ts')
    return await openUpstream(path, identity, options)
}
