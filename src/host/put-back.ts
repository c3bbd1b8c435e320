/** What a snapshot holds returns to its place, with its metadata and times; what has come since goes. */
import { Fault } from '../core/errors.ts'
import type { ByteString } from '../format/tar-write.ts'
import { close } from './libc.ts'
import { breathing, type Live, type Meta, type PlaceTree } from './place.ts'
import { lookPast, sweep, type Teller, temporaryOf } from './put-in-place.ts'
import { above, type Before, type Snapshot } from './snapshot.ts'
import { showPath } from './tree.ts'

/**
 * Puts these paths (`Snapshot.paths` for all of them) back as the snapshot has them. `leave` tells which of them stay as
 * they are; it is asked when no temporaries lie about any more. Durable when it returns; what could not be put back is
 * returned as sentences, and did not keep the others from it.
 */
export async function putBack(
    paths: readonly ByteString[],
    live: PlaceTree,
    snapshot: Snapshot,
    teller: Teller,
    leave?: () => Promise<ReadonlySet<ByteString>>,
): Promise<readonly string[]> {
    const sorted = [...paths].sort()
    for (const path of sorted) sweep(live, path, teller)
    const left = (await leave?.()) ?? new Set<ByteString>()
    const problems = await new PuttingBack(sorted, live, snapshot, teller, left).run()
    live.settle()
    return problems
}

class PuttingBack {
    readonly #live: PlaceTree
    readonly #snapshot: Snapshot
    readonly #teller: Teller
    readonly #paths: readonly ByteString[]
    readonly #leave: ReadonlySet<ByteString>
    /** By inode of before: a name, in the tree or kept, of a file that is what the group was. */
    readonly #groups = new Map<string, { tree: PlaceTree; path: ByteString; inode: string }>()
    readonly #problems: string[] = []

    constructor(
        paths: readonly ByteString[],
        live: PlaceTree,
        snapshot: Snapshot,
        teller: Teller,
        leave: ReadonlySet<ByteString>,
    ) {
        this.#paths = paths
        this.#live = live
        this.#snapshot = snapshot
        this.#teller = teller
        this.#leave = leave
    }

    async run(): Promise<readonly string[]> {
        const breathe = breathing()
        const stood = this.#paths.filter(path => this.#snapshot.before(path) !== undefined)
        const created = this.#paths.filter(path => this.#snapshot.before(path) === undefined)
        for (const path of created.toReversed()) {
            await breathe()
            if (!this.#leave.has(path)) this.#attempt(() => this.#removeCreated(path))
        }
        this.#findGroups(stood)
        for (const path of stood) {
            await breathe()
            if (this.#leave.has(path)) continue
            const before = this.#snapshot.before(path)!
            this.#attempt(() =>
                before.type === 'directory' ? this.#putDirectory(path) : this.#put(path, before),
            )
        }
        this.#dressDirectories(stood)
        return this.#problems
    }

    /** One path that cannot be put back must not keep the others from it; all are told at the end. */
    #attempt(act: () => void): void {
        try {
            act()
        } catch (error) {
            if (!(error instanceof Fault)) throw error
            this.#problems.push(error.message)
        }
    }

    #removeCreated(path: ByteString): void {
        const live = lookPast(this.#live, path)
        if (live?.type !== 'directory') {
            if (live === undefined) this.#touch(path)
            else this.#live.remove(path)
            return
        }
        const left = this.#live.names(path).filter(name => !this.#snapshot.has(`${path}/${name}`))
        if (left.length > 0) {
            const names = left.slice(0, 5).map(showPath).join(', ')
            this.#teller.warn(`/${showPath(path)} stays: there is something in it since (${names})`)
        } else if (this.#live.names(path).length === 0) this.#live.remove(path)
    }

    /** The parent may be gone as well. */
    #touch(path: ByteString): void {
        this.#live.touch(above(path).at(-1)!)
    }

    #putDirectory(path: ByteString): void {
        const live = this.#live.look(path)
        if (live === undefined) this.#live.makeDirectory(path)
        else if (live.type === 'directory') this.#touch(path)
        else {
            const temporary = temporaryOf(path, this.#teller)
            this.#live.makeDirectory(temporary)
            this.#live.swap(temporary, path)
        }
    }

    #put(path: ByteString, before: Before): void {
        const live = this.#live.look(path)
        const group = before.nlink > 1 ? this.#groups.get(before.inode) : undefined
        const same = live !== undefined && isSame(live, before, () => this.#live.digest(path))
        if (same && (group === undefined || group.inode === live.inode)) {
            this.#touch(path)
            return
        }
        if (live?.type === 'directory' && this.#live.names(path).length > 0) {
            this.#problems.push(`/${showPath(path)} is a directory by now, and not empty`)
            return
        }
        const temporary = temporaryOf(path, this.#teller)
        const second = group ?? this.#kept(before)
        if (second !== undefined) this.#live.linkFrom(second.tree, second.path, temporary)
        else this.#copy(before, temporary)
        if (live?.type === 'directory') this.#live.swap(temporary, path)
        else this.#live.publish(temporary, path)
        if (before.nlink > 1 && group === undefined)
            this.#groups.set(before.inode, {
                tree: this.#live,
                path,
                inode: this.#live.look(path)!.inode,
            })
    }

    #copy(before: Before, temporary: ByteString): void {
        if (before.type === 'symlink') {
            this.#live.makeSymlink(temporary, before.link!, before)
            return
        }
        const fd = this.#snapshot.tree.openFile(this.#snapshot.dataOf(before))
        try {
            if (this.#live.writeFile(temporary, fd, before) === before.digest) return
        } finally {
            close(fd)
        }
        throw new Fault('stuck', `cannot put /${showPath(before.path)} back: its copy is damaged`, {
            hint: 'the backup before this change has it',
        })
    }

    /** Its own inode, when nobody who had it open has written to it since. */
    #kept(before: Before): { tree: PlaceTree; path: ByteString; inode: string } | undefined {
        const path = this.#snapshot.keepOf(before)
        const kept = path === undefined ? undefined : this.#snapshot.tree.look(path)
        if (path === undefined || kept === undefined) return undefined
        if (!isSame(kept, before, () => this.#snapshot.tree.digest(path))) return undefined
        return { tree: this.#snapshot.tree, path, inode: kept.inode }
    }

    /** Names of one file are one file again: a name that still is it, or its kept inode, or the first that is like it. */
    #findGroups(stood: readonly ByteString[]): void {
        const alike = new Map<string, { tree: PlaceTree; path: ByteString; inode: string }>()
        const wanted = new Set(stood.map(path => this.#snapshot.before(path)!.inode))
        // Other tasks have put their names back already, or will find those of this one.
        for (const [path, before] of this.#snapshot.entries) {
            if (before === undefined || before.nlink < 2 || before.type === 'directory') continue
            if (!wanted.has(before.inode) || this.#leave.has(path)) continue
            if (this.#groups.has(before.inode)) continue
            const live = lookPast(this.#live, path)
            if (live === undefined || !isSame(live, before, () => this.#live.digest(path))) continue
            const one = { tree: this.#live, path, inode: live.inode }
            if (live.inode === before.inode) this.#groups.set(before.inode, one)
            else if (!alike.has(before.inode)) alike.set(before.inode, one)
        }
        for (const path of stood) {
            const before = this.#snapshot.before(path)!
            if (before.nlink < 2 || before.type === 'directory' || this.#groups.has(before.inode)) continue
            const one = this.#kept(before) ?? alike.get(before.inode)
            if (one !== undefined) this.#groups.set(before.inode, one)
        }
    }

    /** Deepest first, behind everything else: each change in a directory changes its times. */
    #dressDirectories(stood: readonly ByteString[]): void {
        const whole = new Set(
            stood.filter(path => this.#snapshot.before(path)!.type === 'directory' && !this.#leave.has(path)),
        )
        const around = this.#paths.map(path => above(path).at(-1)!)
        for (const path of [...new Set([...whole, ...around])].sort().reverse()) {
            const before = this.#snapshot.before(path)
            const live = lookPast(this.#live, path)
            if (before?.type !== 'directory' || live?.type !== 'directory' || this.#leave.has(path)) continue
            this.#attempt(() => {
                if (whole.has(path) && !isSame(live, before, () => ''))
                    this.#live.dressDirectory(path, before)
                else this.#live.setTimes(path, before)
            })
        }
    }
}

/** Whether an entry is what stood there before. Times of directories are not compared: they change with what lies in them, and are set in any case. */
export function isSame(live: Live, before: Before, digest: () => string): boolean {
    if (live.type !== before.type || live.mode !== before.mode) return false
    if (live.uid !== before.uid || live.gid !== before.gid || live.link !== before.link) return false
    if (!sameAttributes(live, before)) return false
    if (live.type === 'directory') return true
    if (live.mtimeNs !== before.mtimeNs) return false
    return live.type !== 'file' || digest() === before.digest
}

function sameAttributes(a: Meta, b: Meta): boolean {
    if (a.xattrs.length !== b.xattrs.length) return false
    return a.xattrs.every(({ name, value }, i) => {
        const other = b.xattrs[i]!
        return name === other.name && Buffer.compare(value, other.value) === 0
    })
}
