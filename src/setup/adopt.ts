/** Taking over the archives of a machine that was reinstalled, or beginning anew on one that was cloned. */
import type { TaskKind } from '../engine/kinds.ts'

export interface HostIds {
    /** The id of this host now. */
    current(): string
    /** Binds an id to this machine; `sequence` is the highest number among its archives. */
    adopt(hostId: string, sequence: number): void
}

/** `setup.adopt`: from here on this machine continues the archives of that id. */
export function adoptTask(ids: HostIds): TaskKind<{ hostId: string; sequence: number }> {
    return {
        kind: 'setup.adopt',
        async do({ hostId, sequence }, context) {
            if (context.remembered() === undefined) context.remember({ before: ids.current() })
            ids.adopt(hostId, sequence)
            context.fact('host', hostId)
            return { hostId }
        },
        async undo({ hostId }, context) {
            const remembered = context.remembered() as { before: string } | undefined
            if (remembered !== undefined && ids.current() === hostId) ids.adopt(remembered.before, 0)
        },
    }
}
