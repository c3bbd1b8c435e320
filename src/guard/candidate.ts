/** The files of an area as they would be: those that lie ready in the stage, over those of the host. */
import { join } from 'node:path'
import type { Area } from '../catalog/areas.ts'
import type { ByteString } from '../format/tar-write.ts'
import { close } from '../host/libc.ts'
import type { PlaceTree } from '../host/place.ts'
import type { PathAction } from '../host/put-in-place.ts'
import { showPath, toByteString } from '../host/tree.ts'
import type { Candidate } from './area.ts'

/** Where the stage lies in the change's own tree. */
export const stage = 'stage'
const overlay = 'preflight'

const relative = (path: string): ByteString => toByteString(path.replace(/^\/+|\/+$/g, ''))

/** Reads what preflight and planning ask for; `own` is the tree of the change. */
export function candidateOf(live: PlaceTree, own: PlaceTree, actions: readonly PathAction[]): Candidate {
    const byPath = new Map(actions.map(action => [action.path, action]))
    const sourceOf = (path: ByteString): [PlaceTree, ByteString] | undefined => {
        const action = byPath.get(path)
        if (action === undefined) return [live, path]
        return action.action === 'remove' ? undefined : [own, `${stage}/${path}`]
    }
    return {
        changed: actions
            .filter(({ type }) => type !== 'directory')
            .map(({ path }) => `/${showPath(path)}`)
            .sort(),
        read(path) {
            const source = sourceOf(relative(path))
            if (source === undefined) return undefined
            const [tree, at] = source
            if (tree.look(at)?.type !== 'file') return undefined
            return Buffer.from(tree.readWhole(at)).toString('latin1')
        },
        names(path) {
            const at = relative(path)
            const names = new Set(live.names(at))
            for (const action of actions) {
                if (!action.path.startsWith(`${at}/`)) continue
                const [name] = action.path.slice(at.length + 1).split('/')
                if (action.path !== `${at}/${name}` || action.action !== 'remove') names.add(name!)
                else names.delete(name!)
            }
            return [...names].sort()
        },
    }
}

/**
 * Copies of what a checker reads, as it would be, in the change's own tree; what to bind over what. Only places that are
 * there can be bound over: one that is about to be made is checked by our own parsers alone.
 */
export function buildOverlay(
    area: Area,
    live: PlaceTree,
    own: PlaceTree,
    actions: readonly PathAction[],
): [string, string][] {
    own.removeTree(overlay)
    const shows: [string, string][] = []
    for (const place of area.checked) {
        const at = relative(place)
        const there = live.look(at)
        const touched = actions.some(({ path }) => path === at || path.startsWith(`${at}/`))
        if (!touched || there === undefined || there.type === 'symlink' || there.type === 'other') continue
        copy(live, at, own, `${overlay}/${at}`)
        for (const action of [...actions].sort((a, b) => (a.path < b.path ? -1 : 1))) {
            const { path } = action
            if (path !== at && !path.startsWith(`${at}/`)) continue
            const to = `${overlay}/${path}`
            if (action.action === 'remove') own.removeTree(to)
            else if (action.type !== 'directory' || own.look(to)?.type !== 'directory') {
                own.removeTree(to)
                copyOne(own, `${stage}/${path}`, own, to)
            }
        }
        shows.push([join(own.root, overlay, place), place])
    }
    return shows
}

export function dropOverlay(own: PlaceTree): void {
    own.removeTree(overlay)
    own.settle()
}

/** A copy of what lies ready, for people: below `to`, which is made. */
export function keepCopy(
    own: PlaceTree,
    actions: readonly PathAction[],
    tree: PlaceTree,
    to: ByteString,
): void {
    for (const { path, action } of [...actions].sort((a, b) => (a.path < b.path ? -1 : 1)))
        if (action !== 'remove') copyOne(own, `${stage}/${path}`, tree, `${to}/${path}`)
    tree.syncAll(to)
}

function copy(from: PlaceTree, path: ByteString, to: PlaceTree, at: ByteString): void {
    copyOne(from, path, to, at)
    if (from.look(path)?.type !== 'directory') return
    for (const name of from.names(path)) copy(from, `${path}/${name}`, to, `${at}/${name}`)
}

/** One entry with its metadata, and the directories above it. */
function copyOne(from: PlaceTree, path: ByteString, to: PlaceTree, at: ByteString): void {
    const found = from.look(path)
    if (found === undefined || found.type === 'other') return
    makeAbove(to, at)
    if (found.type === 'directory') {
        if (to.look(at) === undefined) to.makeDirectory(at)
        to.dressDirectory(at, found)
        return
    }
    to.remove(at)
    if (found.type === 'symlink') {
        to.makeSymlink(at, found.link!, found)
        return
    }
    const fd = from.openFile(path)
    try {
        to.writeFile(at, fd, found)
    } finally {
        close(fd)
    }
}

function makeAbove(tree: PlaceTree, path: ByteString): void {
    for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1)) {
        const above = path.slice(0, end)
        if (tree.look(above) !== undefined) continue
        tree.makeDirectory(above)
        // Checkers do not always run as root.
        tree.dressDirectory(above, { mode: 0o755, uid: 0, gid: 0, atimeNs: 0n, mtimeNs: 0n, xattrs: [] })
    }
}
