/** How a guard left the files it applied: what differs from it later was edited by somebody else. */
import type { ByteString } from '../format/tar-write.ts'
import type { PlaceTree } from '../host/place.ts'
import { isSame } from '../host/put-back.ts'
import { lookPast } from '../host/put-in-place.ts'
import type { Snapshot } from '../host/snapshot.ts'

const file = 'after.json'

/** Durable. */
export function writeAfter(own: PlaceTree, live: PlaceTree, paths: readonly ByteString[]): void {
    const after = paths.map(path => [path, stateOf(live, path)])
    own.remove(`${file}.new`)
    own.writeWhole(`${file}.new`, Buffer.from(JSON.stringify(after)))
    own.publish(`${file}.new`, file)
    own.settle()
}

/** Paths that are neither as the guard left them nor as they were before. */
export function editedSince(own: PlaceTree, live: PlaceTree, snapshot: Snapshot): ByteString[] {
    if (own.look(file) === undefined) return []
    const after = JSON.parse(Buffer.from(own.readWhole(file)).toString()) as [ByteString, string][]
    return after.flatMap(([path, state]) => {
        if (stateOf(live, path) === state) return []
        const [now, before] = [lookPast(live, path), snapshot.before(path)]
        if (now === undefined) return before === undefined ? [] : [path]
        return before !== undefined && isSame(now, before, () => live.digest(path)) ? [] : [path]
    })
}

/** Times of directories change with what lies in them. */
function stateOf(live: PlaceTree, path: ByteString): string {
    const found = lookPast(live, path)
    if (found === undefined) return 'absent'
    const { type, mode, uid, gid, link, mtimeNs } = found
    if (type === 'directory') return JSON.stringify([type, mode, uid, gid])
    const digest = type === 'file' ? live.digest(path) : ''
    return JSON.stringify([type, mode, uid, gid, link ?? '', String(mtimeNs), digest])
}
