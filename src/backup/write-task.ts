/** The task kinds that make an archive in its spool and take it away again. */
import { dirname } from 'node:path'
import type { Json } from '../engine/change.ts'
import type { TaskKind } from '../engine/kinds.ts'
import type { RunWorker } from '../engine/worker.ts'
import type { Disk } from '../host/disk.ts'
import type { WriteParams, WriteResult } from './write.ts'

/** Runs the worker; what it left of an archive that failed or was interrupted is removed. */
export function archiveWrite(runWorker: RunWorker, disk: Disk): TaskKind<Json> {
    return {
        kind: 'archive.write',
        async do(params, context) {
            const { output } = params as unknown as WriteParams
            disk.mkdir(dirname(output), 0o700)
            // An earlier attempt of this very task, before a crash, may have left its unfinished file.
            disk.remove(output)
            const value = await runWorker('archive.write', params, {
                signal: context.signal,
                onEvent(event) {
                    if (event.event === 'progress') context.progress(event)
                    if (event.event === 'warning') context.warn(event.text)
                },
            })
            const result = value as unknown as WriteResult
            context.fact('size', result.size)
            context.fact('entries', result.entries)
            context.fact('bytes', result.bytes)
            context.fact('missing', result.missing)
            context.fact('frames', result.frames)
            context.fact('reusedFrames', result.reusedFrames)
            return value
        },
        async undo(params) {
            disk.remove((params as unknown as WriteParams).output)
        },
    }
}

/** Removes the copy that stays in the spool when the first target took its own. */
export function archiveDiscard(disk: Disk): TaskKind<{ path: string }> {
    return {
        kind: 'archive.discard',
        async do({ path }) {
            disk.remove(path)
            return undefined
        },
        async undo() {},
    }
}
