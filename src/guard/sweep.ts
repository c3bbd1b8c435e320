/** What processes that were killed have left beside guards that are over. */
import { join } from 'node:path'
import { type Disk, isTemporary } from '../host/disk.ts'
import { listGuards, undoSuffix } from './record.ts'

/**
 * Of every guard that is not armed: its program, its markers, and unfinished copies there and in its diagnostics; that of an
 * undo goes as a whole, the next undo makes another. Not while a change is unfinished.
 */
export function sweepEnded(disk: Disk, state: string): void {
    for (const guard of listGuards(disk, state)) {
        if (guard.state() === 'ARMED') continue
        if (guard.id.endsWith(undoSuffix)) {
            guard.removeAll()
            continue
        }
        // Without either it was disarmed by hand while it was applied: the undo needs its markers.
        if (guard.state() === 'EXECUTED' || guard.applied() !== undefined) guard.tidy()
        for (const directory of [guard.path, guard.record().diagnostics]) sweepTemporaries(disk, directory)
    }
}

export function sweepTemporaries(disk: Disk, directory: string): void {
    for (const name of disk.list(directory)) if (isTemporary(name)) disk.remove(join(directory, name))
}
