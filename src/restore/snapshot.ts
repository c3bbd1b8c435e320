/** The task `restore.snapshot`: everything that will change, as it was, durable before the first write. */
import type { Json } from '../engine/change.ts'
import type { TaskKind } from '../engine/kinds.ts'
import { dropSecondNames, Snapshot, saveBefore } from '../host/snapshot.ts'
import { pathOf, places, type RestoreHost, withTrees } from './host.ts'
import type { FileAction } from './types.ts'

export type SnapshotParams = { actions: FileAction[] }

export function restoreSnapshot(host: RestoreHost): TaskKind<Json> {
    return {
        kind: 'restore.snapshot',
        async do(params, context) {
            const { actions } = params as unknown as SnapshotParams
            const paths = actions.map(action => pathOf(action, host))
            return withTrees(host, context, async (live, own) => {
                const snapshot = await saveBefore(paths, live, own, places.snapshot, {
                    signal: context.signal,
                    progress: (done, total) =>
                        context.progress({ done, total, unit: 'entries', text: 'saving' }),
                })
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
                    dropSecondNames(snapshot, live)
                    // Another undo of this change asks again.
                    own.remove(`${places.snapshot}/answer`)
                    // A crash between a file and its name; the undos may have left some as well.
                    for (const name of own.names(places.snapshot))
                        if (name.endsWith('.new')) own.remove(`${places.snapshot}/${name}`)
                }
                own.settle()
            }),
    }
}
