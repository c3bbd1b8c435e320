/** The task `restore.snapshot`: everything that will change, as it was, durable before the first write. */
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskKind } from '../engine/kinds.ts'
import type { ByteString } from '../format/tar-write.ts'
import type { Live, PlaceTree } from '../host/place.ts'
import { Snapshot } from '../host/snapshot.ts'
import { showPath } from '../host/tree.ts'
import { above, pathOf, places, type RestoreHost, withTrees } from './host.ts'
import type { FileAction } from './types.ts'

export type SnapshotParams = { actions: FileAction[] }

export function restoreSnapshot(host: RestoreHost): TaskKind<Json> {
    return {
        kind: 'restore.snapshot',
        async do(params, context) {
            const { actions } = params as unknown as SnapshotParams
            const paths = actions.map(action => pathOf(action, host))
            return withTrees(host, context, async (live, own) => {
                const wanted = withMissingParents(paths, live)
                const around = [...new Set(wanted.flatMap(path => above(path).slice(-1)))]
                const snapshot = await Snapshot.take(
                    live,
                    own,
                    places.snapshot,
                    { paths: wanted, around },
                    {
                        signal: context.signal,
                        progress: done =>
                            context.progress({ done, total: wanted.length, unit: 'entries', text: 'saving' }),
                    },
                )
                let absent = 0
                for (const before of snapshot.entries.values()) if (before === undefined) absent++
                return { saved: snapshot.entries.size - absent, absent }
            })
        },
        // It is what the other undos work from, and stays. Only the second names of what is back in its place go.
        undo: (_, context) =>
            withTrees(host, context, (live, own) => {
                const snapshot = Snapshot.read(own, places.snapshot)
                if (snapshot === undefined) own.removeTree(places.snapshot)
                else {
                    dropSecondNames(snapshot, live, own)
                    // Another undo of this change asks again.
                    own.remove(`${places.snapshot}/answer`)
                }
                own.settle()
            }),
    }
}

/** A directory above a path that is not there will be made with it. Throws when a link stands in the way. */
function withMissingParents(paths: readonly ByteString[], live: PlaceTree): ByteString[] {
    const known = new Set(paths)
    const standing = new Set<ByteString>([''])
    for (const path of [...known]) {
        let nothingBelow = false
        for (const parent of above(path)) {
            if (standing.has(parent)) continue
            const found = nothingBelow ? undefined : live.look(parent)
            if (found?.type === 'directory') standing.add(parent)
            else if (found === undefined || known.has(parent)) {
                // Whatever an action replaces by a directory has nothing of the present tree below it.
                nothingBelow = true
                known.add(parent)
            } else throw inTheWay(path, parent, found)
        }
    }
    return [...known]
}

function inTheWay(path: ByteString, parent: ByteString, found: Live): Fault {
    const what = found.type === 'symlink' ? `a link to ${showPath(found.link ?? '')}` : 'no directory'
    return new Fault('failed', `cannot restore /${showPath(path)}: /${showPath(parent)} is ${what} here`, {
        hint: 'make it a directory as it was when the backup was made, or leave the category out',
    })
}

function dropSecondNames(snapshot: Snapshot, live: PlaceTree, own: PlaceTree): void {
    for (const [path, before] of snapshot.entries) {
        const keep = before && snapshot.keepOf(before)
        if (keep === undefined) continue
        const kept = own.look(keep)
        if (kept === undefined) continue
        let now: ReturnType<PlaceTree['look']>
        try {
            now = live.look(path)
        } catch {
            // Something else stands in its way by now: the old one is not in its place.
            continue
        }
        if (now?.inode === kept.inode) own.remove(keep)
    }
}
