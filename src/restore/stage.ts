/** The tasks `restore.stage` and `restore.unstage`: the chosen entries in a private directory, and that gone again. */
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import type { ByteString } from '../format/tar-write.ts'
import { places, type RestoreHost, withTrees } from './host.ts'
import { checkSpace, type Needs } from './space.ts'

export type StageParams = {
    /** Absolute path of the archive. */
    archive: string
    /** Names what opens it; the secret itself never comes into a plan. */
    identity?: string
    /** Paths in the archive, one character a byte, without a leading slash. */
    entries: ByteString[]
    /** Name of the directory below the change's own; default `stage`. */
    directory?: string
    /** What staging and snapshot need below the state directory: checked before anything else happens. */
    needs?: Needs
}

export function restoreStage(host: RestoreHost): TaskKind<StageParams> {
    const remove = (params: StageParams, context: TaskContext) =>
        withTrees(host, context, (_, own) => {
            own.removeTree(directoryOf(params))
            own.settle()
        })
    return {
        kind: 'restore.stage',
        async do(params, context) {
            if (params.needs !== undefined) checkSpace(host.state, params.needs)
            await remove(params, context)
            const output = join(context.dir, directoryOf(params))
            return unpack(host, params, output, context)
        },
        undo: remove,
    }
}

/** Behind everything that takes from the stage: what was restored is not kept twice. */
export function restoreUnstage(host: RestoreHost): TaskKind<{ directory?: string }> {
    return {
        kind: 'restore.unstage',
        async do(params, context) {
            await withTrees(host, context, (_, own) => {
                own.removeTree(directoryOf(params))
                own.settle()
            })
            return undefined
        },
        // An undo works from the snapshot.
        async undo() {},
    }
}

/** Runs the worker that unpacks exactly these entries into `output`. */
export async function unpack(
    host: RestoreHost,
    params: Pick<StageParams, 'archive' | 'identity' | 'entries'>,
    output: string,
    context: TaskContext,
): Promise<Json> {
    const identities = params.identity === undefined ? undefined : host.identity(params.identity)
    if (params.identity !== undefined && identities === undefined)
        throw new Fault('failed', `cannot open ${params.archive}: what opens it is not known any more`, {
            hint: 'start the restore again',
        })
    const job: Record<string, Json> = { path: params.archive, output, entries: params.entries }
    if (identities !== undefined) job.identities = identities as unknown as Json
    return host.runWorker('archive.stage', job, {
        signal: context.signal,
        onEvent(event) {
            if (event.event === 'progress') context.progress(event)
            if (event.event === 'warning') context.warn(event.text)
        },
    })
}

function directoryOf({ directory = places.stage }: { directory?: string }): string {
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(directory) || directory === places.snapshot)
        throw new Fault('failed', `cannot unpack into ${JSON.stringify(directory)}: it is no name for that`)
    return directory
}
