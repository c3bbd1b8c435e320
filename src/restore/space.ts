/** Whether there is room for a restore: bytes and inodes, counted before any service stops. */
import { Fault } from '../core/errors.ts'
import { showSize } from '../core/units.ts'
import type { ByteString } from '../format/tar-write.ts'
import { freeSpace } from '../host/space.ts'
import { PlaceTree } from '../host/place.ts'
import type { FileAction } from './types.ts'

export type Needs = { bytes: number; inodes: number }

/** What an entry takes besides its content: its inode, and its share of a directory. */
const perEntry = 1024
const block = 4096
const inBlocks = (bytes: number): number => Math.ceil(bytes / block) * block

/** Left free below the state directory in any case: the journal and everybody else must be able to go on. */
const reserve: Needs = { bytes: 16 * 1024 * 1024, inodes: 256 }

/** Left free elsewhere: file systems such as that of /boot are small, and what is in them grows with updates only. */
const reserveElsewhere: Needs = { bytes: 256 * 1024, inodes: 8 }

/** Room that these entries take below the state directory when they are unpacked. */
export function stagingNeeds(entries: readonly { type: string; size: number }[]): Needs {
    let bytes = 0
    for (const { type, size } of entries) bytes += perEntry + (type === 'directory' ? block : inBlocks(size))
    return { bytes, inodes: entries.length }
}

/** Room that the copies of everything take that these actions change. */
export function snapshotNeeds(actions: readonly FileAction[], live: PlaceTree): Needs {
    let bytes = block
    let inodes = 3
    for (const { bytes: name } of actions) {
        const found = lookSafely(live, name)
        bytes += perEntry
        if (found === undefined || found.type === 'directory') continue
        inodes++
        bytes += found.type === 'file' ? found.stored + block : block
    }
    return { bytes, inodes }
}

export function addNeeds(...all: readonly Needs[]): Needs {
    return {
        bytes: all.reduce((sum, one) => sum + one.bytes, 0),
        inodes: all.reduce((sum, one) => sum + one.inodes, 0),
    }
}

/** What stands in the way of needing this much in `directory`, in words; undefined when there is room. */
export function shortage(directory: string, needs: Needs, left: Needs = reserve): string | undefined {
    const free = freeSpace(directory)
    const wanted = addNeeds(needs, left)
    if (free.bytes < wanted.bytes)
        return `${showSize(wanted.bytes)} are needed in ${directory} and ${showSize(free.bytes)} are free`
    // File systems that make inodes as they go say that they have none.
    if (free.inodes !== undefined && free.inodes < wanted.inodes)
        return `${wanted.inodes} inodes are needed in ${directory} and ${free.inodes} are free`
    return undefined
}

export function checkSpace(directory: string, needs: Needs): void {
    refuse(shortage(directory, needs))
}

function refuse(why: string | undefined): void {
    if (why === undefined) return
    throw new Fault('failed', `cannot restore: ${why}`, {
        hint: `free some space there, or choose fewer categories`,
    })
}

/** What a restore takes below the state directory: the stage, the copies for an undo, the exports and its journal. */
export function stateNeeds(sizes: Sizes): Needs {
    const { staged, kept, exported, entries } = sizes
    // Each entry has a last block that is not full, in the stage and in the copies.
    return { bytes: staged + kept + exported + 2 * block * entries + 1024 * 1024, inodes: 3 * entries + 64 }
}

/** Bytes and entries that will be unpacked, kept for the undo, and exported. */
export interface Sizes {
    staged: number
    kept: number
    exported: number
    entries: number
}

/** An entry that will be written or removed, with the bytes that its new content takes. */
export interface Written extends Pick<FileAction, 'action' | 'type'> {
    /** Without a leading slash. */
    path: ByteString
    size: number
}

/** What is written on one file system. */
interface Load {
    /** A directory of it, for people. */
    directory: string
    grown: Needs
    /** A new file stands beside the old one until it takes its place: the most that this takes at one time. */
    beside: number
}

/**
 * The same for the file systems that are written. Where the state directory lies on one of them, both need their room
 * there, and what is replaced gives none back: the snapshot keeps it.
 */
export function checkTargets(
    root: string,
    written: readonly Written[],
    live: PlaceTree,
    state: { directory: string; needs: Needs } | undefined,
): void {
    const loads = new Map<string, Load>()
    const stateDevice = state === undefined ? undefined : deviceOf(state.directory)
    const places = new Places(live)
    for (const { path, action, type, size } of written) {
        if (action === 'remove') continue
        const place = places.nearest(parentOf(path))
        if (place === undefined) continue
        const load = loads.get(place.device) ?? newLoad(root, place.path)
        loads.set(place.device, load)
        const fresh = perEntry + (type === 'directory' ? block : inBlocks(size))
        const old = place.device === stateDevice ? undefined : lookSafely(live, path)
        // An old file with other names stays under those.
        const freed = old?.type === 'file' && old.nlink === 1 ? old.stored : 0
        load.grown.bytes += Math.max(0, fresh - freed)
        load.grown.inodes += old === undefined ? 1 : 0
        load.beside = Math.max(load.beside, Math.min(fresh, freed))
    }
    for (const [device, { directory, grown, beside }] of loads) {
        const needs = addNeeds(grown, { bytes: beside, inodes: 1 })
        if (device === stateDevice) checkSpace(state!.directory, addNeeds(needs, state!.needs))
        else refuse(shortage(directory, needs, reserveElsewhere))
    }
    if (state !== undefined && !loads.has(stateDevice!)) checkSpace(state.directory, state.needs)
}

function newLoad(root: string, directory: ByteString): Load {
    const base = root === '/' ? '' : root
    const below = Buffer.from(directory, 'latin1').toString()
    return {
        directory: below === '' ? root : `${base}/${below}`,
        grown: { bytes: 0, inodes: 0 },
        beside: 0,
    }
}

function deviceOf(directory: string): string {
    const tree = new PlaceTree(directory)
    try {
        return deviceIn(tree.look('')!.inode)
    } finally {
        tree.close()
    }
}

const deviceIn = (inode: string): string => inode.split(':')[0]!

interface Place {
    path: ByteString
    device: string
}

/** The directories that stand nearest above paths, each looked for once. */
class Places {
    readonly #live: PlaceTree
    readonly #known = new Map<ByteString, Place | undefined>()

    constructor(live: PlaceTree) {
        this.#live = live
    }

    nearest(directory: ByteString): Place | undefined {
        if (this.#known.has(directory)) return this.#known.get(directory)
        const found = lookSafely(this.#live, directory)
        let place: Place | undefined
        if (found?.type === 'directory') place = { path: directory, device: deviceIn(found.inode) }
        else if (directory !== '') place = this.nearest(parentOf(directory))
        this.#known.set(directory, place)
        return place
    }
}

const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(0, path.lastIndexOf('/')))

function lookSafely(live: PlaceTree, name: ByteString): ReturnType<PlaceTree['look']> {
    try {
        return live.look(name.replace(/^\/+/, ''))
    } catch (error) {
        // What cannot be reached is refused by the task that wants to change it, which says why.
        if (error instanceof Fault) return undefined
        throw error
    }
}
