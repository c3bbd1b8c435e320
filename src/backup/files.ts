/** The operation `archive.files`: one row for each entry, from the index alone. */
import { categoryById } from '../catalog/index.ts'
import { memberOf } from '../catalog/match.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { IndexEntry } from '../format/index.ts'
import { showPath } from '../host/tree.ts'
import type { OperationIo } from '../engine/operation.ts'
import { openContents } from './contents.ts'
import type { Identity } from '../archive/unlock.ts'

export async function archiveFiles(
    params: { path: string; identities?: Identity; category?: string },
    io: OperationIo,
): Promise<Json> {
    const opened = await openContents(params.path, params.identities, io)
    try {
        const wanted = selector(params.category)
        let entries = 0
        let bytes = 0
        for (const entry of opened.reader.index().entries) {
            if (entry.superseded === true || !wanted(entry)) continue
            entries++
            bytes += entry.size
            await io.item(row(entry))
        }
        return { entries, bytes }
    } finally {
        opened.close()
    }
}

/** Which entries a category chooses; all of them when none is named. */
export function selector(id: string | undefined): (entry: IndexEntry) => boolean {
    if (id === undefined) return () => true
    const category = categoryById(id)
    if (category === undefined)
        throw new Fault('usage', `cannot choose the category ${id}: there is none of that name`, {
            hint: 'the backup lists its categories: proxsavectl show BACKUP',
        })
    const member = memberOf(category)
    return entry => member(`/${entry.path}`, entry.category)
}

function row(entry: IndexEntry): Json {
    return {
        path: `/${showPath(entry.path)}`,
        type: entry.type,
        category: entry.category,
        mode: entry.mode.toString(8).padStart(4, '0'),
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        modified: timeText(entry.mtimeNs),
        ...(entry.link === undefined ? {} : { link: showPath(entry.link) }),
    }
}

/** RFC 3339; a time that no calendar of ours reaches as seconds since the epoch. */
function timeText(ns: bigint): string {
    const date = new Date(Number(ns / 1_000_000n))
    return Number.isNaN(date.getTime()) ? `@${ns / 1_000_000_000n}` : date.toISOString()
}
