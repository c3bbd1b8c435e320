/**
 * Entries that lie ready in one directory take the places of live ones, one by one, each whole-old or whole-new after a
 * crash. `put-back.ts` is the way back; both may run again after a crash, with the same key.
 */
import { Fault } from '../core/errors.ts'
import type { ByteString } from '../format/tar-write.ts'
import { close } from './libc.ts'
import { sha256 } from './libcrypto.ts'
import { breathing, type Live, type Meta, type PlaceTree } from './place.ts'
import { above, type Snapshot } from './snapshot.ts'
import { showPath } from './tree.ts'

/** What becomes of one path below the root. */
export interface PathAction {
    path: ByteString
    action: 'create' | 'replace' | 'metadata' | 'remove'
    type: 'file' | 'directory' | 'symlink' | 'hardlink'
}

/** Where the new entries lie, below `at`, with the metadata that they shall have. */
export interface Staged {
    tree: PlaceTree
    at: string
}

export interface Places {
    live: PlaceTree
    from: Staged
    /** Of every path that changes; see `saveBefore`. */
    snapshot: Snapshot
}

/** Whom putting in place and putting back tell what they do. */
export interface Teller {
    /** Tells the temporaries of one change from those of another; the same in every attempt. */
    key: string
    log(text: string): void
    warn(text: string): void
    progress?(done: number, total: number): void
    /** Stops putting in place between two entries. Nothing stops putting back. */
    signal?: AbortSignal
}

/**
 * Does what `arrange` made of the actions; `checkPlaces` comes before it. Durable when it returns. Returns the digest of each
 * file it wrote, as `PlaceTree.digest` has it.
 */
export async function putInPlace(
    work: Arrangement,
    places: Places,
    teller: Teller,
): Promise<ReadonlyMap<ByteString, string>> {
    const digests = await new Placing(work, places, teller).run()
    places.live.settle()
    return digests
}

export interface Arrangement {
    /** What comes, by path; parents before what lies in them. */
    puts: Map<ByteString, PathAction['type']>
    /** Directories that no action names and that are not there; they come along with what lies in them. */
    parents: ReadonlySet<ByteString>
    /** What goes; what lies in a directory before the directory. */
    removals: ByteString[]
}

/** Throws when the snapshot knows nothing of a path: nothing is written that cannot be put back. */
export function arrange(actions: readonly PathAction[], snapshot: Snapshot): Arrangement {
    const puts = new Map<ByteString, PathAction['type']>()
    const removals: ByteString[] = []
    const parents = new Set<ByteString>()
    for (const { path, action, type } of actions) {
        const known = snapshot.has(path) && !snapshot.before(path)?.around
        if (!known) throw new Fault('failed', `cannot restore /${showPath(path)}: it is not in the snapshot`)
        if (action === 'remove') removals.push(path)
        else puts.set(path, type)
    }
    for (const path of [...puts.keys()])
        for (const parent of above(path)) {
            if (puts.has(parent) || !snapshot.has(parent) || snapshot.before(parent) !== undefined) continue
            puts.set(parent, 'directory')
            parents.add(parent)
        }
    return { puts: new Map([...puts].sort(byPath)), parents, removals: removals.sort().reverse() }
}

const byPath = ([a]: [string, unknown], [b]: [string, unknown]) => (a < b ? -1 : 1)

/** Everything that can be known to go wrong does so before anything is written. */
export function checkPlaces(
    { puts, parents, removals }: Arrangement,
    { live, from, snapshot }: Places,
): void {
    const removed = new Set(removals)
    const cannot = (path: ByteString, why: string, hint?: string) =>
        new Fault('failed', `cannot restore /${showPath(path)}: ${why}`, { hint })
    const emptied = (path: ByteString) => live.names(path).every(name => removed.has(`${path}/${name}`))
    for (const [path, type] of puts) {
        const source = from.tree.look(staged(path, from))
        if (source === undefined ? !parents.has(path) : source.type !== (type === 'hardlink' ? 'file' : type))
            throw cannot(
                path,
                source === undefined ? 'it was not unpacked' : `what was unpacked is no ${type}`,
            )
        for (const parent of above(path)) {
            if (puts.get(parent) === 'directory') break
            if (live.look(parent)?.type === 'directory') continue
            throw cannot(
                path,
                `/${showPath(parent)} is no directory here`,
                'make it one as it was when the backup was made, or leave the category out',
            )
        }
        if (type === 'directory' || snapshot.before(path)?.type !== 'directory') continue
        if (live.look(path)?.type === 'directory' && !emptied(path))
            throw cannot(path, 'a directory stands there that is not empty', 'move it away first')
    }
    for (const path of removals)
        if (snapshot.before(path)?.type === 'directory' && !emptied(path))
            throw new Fault('failed', `cannot remove /${showPath(path)}: it is not empty`, {
                hint: 'what else lies there is not in the plan: plan the restore again',
            })
}

class Placing {
    readonly #live: PlaceTree
    readonly #from: Staged
    readonly #snapshot: Snapshot
    readonly #teller: Teller
    readonly #work: Arrangement
    readonly #digests = new Map<ByteString, string>()
    /** By inode in the stage: the name that was put in place first. */
    readonly #firsts = new Map<string, ByteString>()

    constructor(work: Arrangement, { live, from, snapshot }: Places, teller: Teller) {
        this.#work = work
        this.#live = live
        this.#from = from
        this.#snapshot = snapshot
        this.#teller = teller
    }

    async run(): Promise<ReadonlyMap<ByteString, string>> {
        const { puts, removals } = this.#work
        const breathe = breathing()
        const total = puts.size + removals.length
        let done = 0
        const next = () => {
            this.#teller.progress?.(done++, total)
            return breathe(this.#teller.signal)
        }
        for (const path of removals) {
            await next()
            sweep(this.#live, path, this.#teller)
            this.#noteWritten(path)
            this.#live.remove(path)
            this.#teller.log(`removed /${showPath(path)}`)
        }
        for (const [path, type] of puts) {
            await next()
            sweep(this.#live, path, this.#teller)
            this.#noteWritten(path)
            if (type === 'directory') this.#putDirectory(path)
            else this.#put(path, type)
        }
        const directories = [...puts].filter(([, type]) => type === 'directory').reverse()
        for (const [path] of directories) this.#live.dressDirectory(path, this.#metaOf(path))
        this.#setTimesAround()
        return this.#digests
    }

    /** A service may write while it stops; the undo knows what stood there when the snapshot was taken. */
    #noteWritten(path: ByteString): void {
        const before = this.#snapshot.before(path)
        const live = before === undefined ? undefined : this.#live.look(path)
        if (before === undefined || live === undefined || live.type === 'directory') return
        if (live.inode === before.inode && live.mtimeNs !== before.mtimeNs)
            this.#teller.log(`/${showPath(path)} was written between the snapshot and now`)
    }

    /** A directory that another task of this change has put in place keeps the times it got there. */
    #setTimesAround(): void {
        const { puts, removals } = this.#work
        const parents = new Set([...puts.keys(), ...removals].map(path => above(path).at(-1)!))
        for (const path of [...parents].sort().reverse()) {
            if (path === '' || puts.has(path)) continue
            const before = this.#snapshot.before(path)
            if (before?.around || !this.#snapshot.has(path)) continue
            const wanted = this.#from.tree.look(staged(path, this.#from))
            if (wanted?.type !== 'directory' || this.#live.look(path)?.type !== 'directory') continue
            this.#live.setTimes(path, wanted)
        }
    }

    #putDirectory(path: ByteString): void {
        const live = this.#live.look(path)
        if (live?.type === 'directory') return
        if (live === undefined) {
            this.#live.makeDirectory(path)
            return
        }
        const temporary = temporaryOf(path, this.#teller)
        this.#live.makeDirectory(temporary)
        this.#live.swap(temporary, path)
    }

    #put(path: ByteString, type: PathAction['type']): void {
        const source = staged(path, this.#from)
        const meta = this.#from.tree.look(source)!
        const temporary = temporaryOf(path, this.#teller)
        const live = this.#live.look(path)
        if (type === 'symlink') {
            this.#live.makeSymlink(temporary, meta.link!, meta)
        } else {
            const first = meta.nlink > 1 ? this.#firsts.get(meta.inode) : undefined
            if (first !== undefined) {
                this.#digests.set(path, this.#digests.get(first)!)
                // A rename of one name of a file over another does nothing and leaves both.
                if (live?.inode === this.#live.look(first)?.inode) return
                this.#live.linkFrom(this.#live, first, temporary)
            } else {
                const fd = this.#from.tree.openFile(source)
                try {
                    this.#digests.set(path, this.#live.writeFile(temporary, fd, meta))
                } finally {
                    close(fd)
                }
                if (meta.nlink > 1) this.#firsts.set(meta.inode, path)
            }
        }
        if (live?.type === 'directory') this.#live.swap(temporary, path)
        else this.#live.publish(temporary, path)
        const owner = `${meta.uid}:${meta.gid}`
        this.#teller.log(`wrote /${showPath(path)} (${type}, ${meta.mode.toString(8)}, ${owner})`)
    }

    #metaOf(path: ByteString): Meta {
        const found = this.#from.tree.look(staged(path, this.#from))
        if (found !== undefined && found.type === 'directory') return found
        const now = this.#live.look(path)!
        return { ...now, mode: 0o755, uid: 0, gid: 0 }
    }
}

const staged = (path: ByteString, { at }: Staged): ByteString => `${at}/${path}`

// --- temporaries -------------------------------------------------------------------------------------------------

/** The same in every attempt, so that the one behind a crash finds what was left. Hidden, and nothing reads such names. */
export function temporaryOf(path: ByteString, { key }: Pick<Teller, 'key'>): ByteString {
    const hash = Buffer.from(sha256(Buffer.from(`${key}/${path}`, 'latin1')))
    const parent = above(path).at(-1)!
    return `${parent === '' ? '' : `${parent}/`}.${hash.toString('hex').slice(0, 20)}.proxsave-tmp`
}

/** Removes what an attempt that was interrupted has left beside the path. */
export function sweep(live: PlaceTree, path: ByteString, teller: Pick<Teller, 'key'>): void {
    const temporary = temporaryOf(path, teller)
    if (lookPast(live, temporary) !== undefined) live.remove(temporary)
}

/** What putting back meets may have been replaced by anything; below a link there is nothing of ours. */
export function lookPast(live: PlaceTree, path: ByteString): Live | undefined {
    try {
        return live.look(path)
    } catch (error) {
        if ((error as { code?: string }).code === 'ELOOP') return undefined
        throw error
    }
}
