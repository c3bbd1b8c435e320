/**
 * Puts files of the cluster file system back. It takes content only, and only while it is mounted and this node has quorum:
 * owner, mode and times are its own matter, and there are no links in it (pmxcfs(8)).
 */
import { Fault } from '../core/errors.ts'
import type { ByteString } from '../format/tar-write.ts'
import { codeOf } from '../host/libc.ts'
import { readMounts } from '../host/mounts.ts'
import type { PlaceTree } from '../host/place.ts'
import type { Snapshot } from '../host/snapshot.ts'
import { showPath } from '../host/tree.ts'

/** Whether it is there: without it these would be files in the way of its mount point. */
export const isMounted = (root: string): boolean => readMounts().has(`${root === '/' ? '' : root}/etc/pve`)

/** What could not be put back, as sentences; without quorum that is everything. */
export function putPmxcfsBack(
    paths: readonly ByteString[],
    live: PlaceTree,
    snapshot: Snapshot,
    say: (text: string) => void,
): string[] {
    const problems: string[] = []
    for (const path of [...paths].sort()) {
        try {
            putOne(path, live, snapshot, say)
        } catch (error) {
            const code = codeOf((error as { cause?: unknown }).cause ?? error)
            if (!(error instanceof Fault) && code === undefined) throw error
            const why =
                code === 'EACCES' ? 'this node has no quorum' : error instanceof Error ? error.message : code
            problems.push(`/${showPath(path)}: ${why}`)
        }
    }
    return problems
}

function putOne(path: ByteString, live: PlaceTree, snapshot: Snapshot, say: (text: string) => void): void {
    const before = snapshot.before(path)
    const now = live.look(path)
    if (before === undefined) {
        if (now === undefined) return
        live.remove(path)
        say(`removed /${showPath(path)}`)
        return
    }
    if (before.type === 'directory') {
        if (now === undefined) live.makeDirectory(path)
        return
    }
    const bytes = snapshot.tree.readWhole(snapshot.dataOf(before))
    if (now?.type === 'file' && Buffer.compare(live.readWhole(path), bytes) === 0) return
    const temporary = `${path}.proxsave-tmp`
    live.remove(temporary)
    live.writeWhole(temporary, bytes)
    live.publish(temporary, path)
    say(`put /${showPath(path)} back`)
}
