/** The task `restore.files`: staged entries are put in place one by one, and put back from the snapshot by the undo. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import type { ByteString } from '../format/tar-write.ts'
import { close } from '../host/libc.ts'
import { sha256 } from '../host/libcrypto.ts'
import { breathing, type Live, type Meta, type PlaceTree } from '../host/place.ts'
import type { Before, Snapshot } from '../host/snapshot.ts'
import { showPath } from '../host/tree.ts'
import { above, pathOf, places, type RestoreHost, snapshotOf, staged, withTrees } from './host.ts'
import type { FileAction } from './types.ts'

export type FilesParams = {
    category: string
    actions: FileAction[]
    /** Directory below the change's own that the new entries lie in; default `stage`. */
    from?: string
}

/** How a path was left: what differs from it later was edited by somebody else. */
interface After {
    path: ByteString
    type: 'absent' | Live['type']
    mode?: number
    owner?: [number, number]
    /** Not of directories: theirs change with what lies in them. */
    mtime?: string
    digest?: string
    link?: ByteString
}

export function restoreFiles(host: RestoreHost): TaskKind<Json> {
    return {
        kind: 'restore.files',
        async do(params, context) {
            return applyFiles(host, params as unknown as FilesParams, context)
        },
        undo: (params, context) => putFilesBack(host, params as unknown as FilesParams, context),
    }
}

// --- do --------------------------------------------------------------------------------------------------------

/** Also for tasks that made their entries themselves, below `from`; their paths are in the snapshot. */
export async function applyFiles(
    host: RestoreHost,
    params: FilesParams,
    context: TaskContext,
): Promise<Json> {
    const { actions, from = places.stage } = params
    return withTrees(host, context, async (live, own) => {
        const snapshot = snapshotOf(own)
        const work = arrange(actions, snapshot, host)
        check(work, live, own, from, snapshot)
        // From here on the undo has something to take back.
        context.remember({ began: true })
        const after = await new Placing(live, own, snapshot, from, context, work).run()
        live.settle()
        writeAfter(own, context.task, after)
        const count = (action: FileAction['action']) => actions.filter(one => one.action === action).length
        return {
            category: params.category,
            created: count('create'),
            replaced: count('replace') + count('metadata'),
            removed: count('remove'),
        }
    })
}

interface Work {
    /** By path; parents before what lies in them. */
    puts: Map<ByteString, FileAction['type']>
    /** Directories that no action names and that are not there; they come along with what lies in them. */
    parents: ReadonlySet<ByteString>
    /** What lies in a directory before the directory. */
    removals: ByteString[]
}

function arrange(actions: readonly FileAction[], snapshot: Snapshot, host: RestoreHost): Work {
    const puts = new Map<ByteString, FileAction['type']>()
    const removals: ByteString[] = []
    const parents = new Set<ByteString>()
    for (const action of actions) {
        const path = pathOf(action, host)
        const known = snapshot.has(path) && !snapshot.before(path)?.around
        if (!known) throw new Fault('failed', `cannot restore /${showPath(path)}: it is not in the snapshot`)
        if (action.action === 'remove') removals.push(path)
        else puts.set(path, action.type)
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
function check(
    { puts, parents, removals }: Work,
    live: PlaceTree,
    own: PlaceTree,
    from: string,
    snapshot: Snapshot,
): void {
    const removed = new Set(removals)
    const cannot = (path: ByteString, why: string, hint?: string) =>
        new Fault('failed', `cannot restore /${showPath(path)}: ${why}`, { hint })
    const emptied = (path: ByteString) => live.names(path).every(name => removed.has(`${path}/${name}`))
    for (const [path, type] of puts) {
        const source = own.look(staged(path, from))
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
    readonly #own: PlaceTree
    readonly #snapshot: Snapshot
    readonly #from: string
    readonly #context: TaskContext
    readonly #work: Work
    readonly #digests = new Map<ByteString, string>()
    /** By inode in the stage: the name that was put in place first. */
    readonly #firsts = new Map<string, ByteString>()

    constructor(
        live: PlaceTree,
        own: PlaceTree,
        snapshot: Snapshot,
        from: string,
        context: TaskContext,
        work: Work,
    ) {
        this.#live = live
        this.#own = own
        this.#snapshot = snapshot
        this.#from = from
        this.#context = context
        this.#work = work
    }

    async run(): Promise<After[]> {
        const { puts, removals } = this.#work
        const breathe = breathing()
        const total = puts.size + removals.length
        let done = 0
        const next = () => {
            this.#context.progress({ done: done++, total, unit: 'entries', text: 'putting in place' })
            return breathe(this.#context.signal)
        }
        for (const path of removals) {
            await next()
            sweep(this.#live, path, this.#context)
            this.#noteWritten(path)
            this.#live.remove(path)
            this.#context.log(`removed /${showPath(path)}`)
        }
        for (const [path, type] of puts) {
            await next()
            sweep(this.#live, path, this.#context)
            this.#noteWritten(path)
            if (type === 'directory') this.#putDirectory(path)
            else this.#put(path, type)
        }
        const directories = [...puts].filter(([, type]) => type === 'directory').reverse()
        for (const [path] of directories) this.#live.dressDirectory(path, this.#metaOf(path))
        this.#setTimesAround()
        return [...removals, ...puts.keys()].map(path => this.#after(path))
    }

    /** A service may write while it stops; the undo knows what stood there when the snapshot was taken. */
    #noteWritten(path: ByteString): void {
        const before = this.#snapshot.before(path)
        const live = before === undefined ? undefined : this.#live.look(path)
        if (before === undefined || live === undefined || live.type === 'directory') return
        if (live.inode === before.inode && live.mtimeNs !== before.mtimeNs)
            this.#context.log(`/${showPath(path)} was written between the snapshot and now`)
    }

    /** A directory that another task of this change has put in place keeps the times it got there. */
    #setTimesAround(): void {
        const { puts, removals } = this.#work
        const parents = new Set([...puts.keys(), ...removals].map(path => above(path).at(-1)!))
        for (const path of [...parents].sort().reverse()) {
            if (path === '' || puts.has(path)) continue
            const before = this.#snapshot.before(path)
            if (before?.around || !this.#snapshot.has(path)) continue
            const wanted = this.#own.look(staged(path, this.#from))
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
        const temporary = temporaryOf(path, this.#context)
        this.#live.makeDirectory(temporary)
        this.#live.swap(temporary, path)
    }

    #put(path: ByteString, type: FileAction['type']): void {
        const source = staged(path, this.#from)
        const meta = this.#own.look(source)!
        const temporary = temporaryOf(path, this.#context)
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
                const fd = this.#own.openFile(source)
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
        this.#context.log(`wrote /${showPath(path)} (${type}, ${meta.mode.toString(8)}, ${owner})`)
    }

    #metaOf(path: ByteString): Meta {
        const found = this.#own.look(staged(path, this.#from))
        if (found !== undefined && found.type === 'directory') return found
        const now = this.#live.look(path)!
        return { ...now, mode: 0o755, uid: 0, gid: 0 }
    }

    #after(path: ByteString): After {
        const live = this.#live.look(path)
        if (live === undefined) return { path, type: 'absent' }
        return stateOf(path, live, () => this.#digests.get(path) ?? this.#live.digest(path))
    }
}

// --- undo ------------------------------------------------------------------------------------------------------

/** Puts the paths of these actions back as the snapshot has them, metadata and times of directories included. */
export async function putFilesBack(
    host: RestoreHost,
    { actions, category }: FilesParams,
    context: TaskContext,
): Promise<void> {
    // It never began: there is nothing of it.
    if (context.remembered() === undefined) return
    await withTrees(host, context, async (live, own) => {
        const snapshot = snapshotOf(own)
        const { puts, removals } = arrange(actions, snapshot, host)
        const paths = [...puts.keys(), ...removals].sort()
        for (const path of paths) sweep(live, path, context)
        const finished = host.finished(context.change)
        const leave = finished
            ? await decideOnce(own, context.task, () => editedToLeave(live, own, snapshot, context))
            : new Set<ByteString>()
        for (const path of leave) context.warn(`/${showPath(path)} was edited since and is left as it is`)
        await new PuttingBack(live, own, snapshot, context, paths, leave).run(category)
        live.settle()
        if (finished) own.remove(undoingFile(context.task))
        own.settle()
    })
}

function isEdited(live: PlaceTree, after: After, snapshot: Snapshot): boolean {
    const { path } = after
    const now = lookPast(live, path)
    if (now === undefined) return after.type !== 'absent' && snapshot.before(path) !== undefined
    let digest: string | undefined
    const read = () => (digest ??= live.digest(path))
    if (JSON.stringify(stateOf(path, now, read)) === JSON.stringify(after)) return false
    const before = snapshot.before(path)
    return before === undefined || !isSame(now, before, read)
}

/** What an undo meets may have been replaced by anything; below a link there is nothing of ours. */
function lookPast(live: PlaceTree, path: ByteString): Live | undefined {
    try {
        return live.look(path)
    } catch (error) {
        if ((error as { code?: string }).code === 'ELOOP') return undefined
        throw error
    }
}

class PuttingBack {
    readonly #live: PlaceTree
    readonly #own: PlaceTree
    readonly #snapshot: Snapshot
    readonly #context: TaskContext
    readonly #paths: readonly ByteString[]
    readonly #leave: ReadonlySet<ByteString>
    /** By inode of before: a name, in the tree or kept, of a file that is what the group was. */
    readonly #groups = new Map<string, { tree: PlaceTree; path: ByteString; inode: string }>()
    readonly #problems: string[] = []

    constructor(
        live: PlaceTree,
        own: PlaceTree,
        snapshot: Snapshot,
        context: TaskContext,
        paths: readonly ByteString[],
        leave: ReadonlySet<ByteString>,
    ) {
        this.#live = live
        this.#own = own
        this.#snapshot = snapshot
        this.#context = context
        this.#paths = paths
        this.#leave = leave
    }

    async run(category: string): Promise<void> {
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
        if (this.#problems.length > 0)
            throw new Fault('failed', `cannot put ${category} back: ${this.#problems.join('; ')}`)
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
            this.#context.warn(`/${showPath(path)} stays: there is something in it since (${names})`)
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
            const temporary = temporaryOf(path, this.#context)
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
        const temporary = temporaryOf(path, this.#context)
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
        const fd = this.#own.openFile(this.#snapshot.dataOf(before))
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
        const kept = path === undefined ? undefined : this.#own.look(path)
        if (path === undefined || kept === undefined) return undefined
        if (!isSame(kept, before, () => this.#own.digest(path))) return undefined
        return { tree: this.#own, path, inode: kept.inode }
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

// --- shared ----------------------------------------------------------------------------------------------------

/** Times of directories are not compared: they change with what lies in them, and are set in any case. */
function isSame(live: Live, before: Before, digest: () => string): boolean {
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

function stateOf(path: ByteString, live: Live, digest: () => string): After {
    const { type, mode, uid, gid, link } = live
    const after: After = { path, type, mode, owner: [uid, gid] }
    if (type !== 'directory') after.mtime = String(live.mtimeNs)
    if (type === 'file') after.digest = digest()
    if (link !== undefined) after.link = link
    return after
}

/** The same in every attempt, so that the one behind a crash finds what was left. Hidden, and nothing reads such names. */
function temporaryOf(path: ByteString, context: TaskContext): ByteString {
    const hash = Buffer.from(sha256(Buffer.from(`${context.change}/${path}`, 'latin1')))
    const parent = above(path).at(-1)!
    return `${parent === '' ? '' : `${parent}/`}.${hash.toString('hex').slice(0, 20)}.proxsave-tmp`
}

function sweep(live: PlaceTree, path: ByteString, context: TaskContext): void {
    const temporary = temporaryOf(path, context)
    if (lookPast(live, temporary) !== undefined) live.remove(temporary)
}

// --- how it was left, and what was edited since ----------------------------------------------------------------

/** What an interrupted undo has half put back must not look like an edit to the next attempt. */
async function decideOnce(
    own: PlaceTree,
    task: string,
    decide: () => Promise<ReadonlySet<ByteString>>,
): Promise<ReadonlySet<ByteString>> {
    const path = undoingFile(task)
    if (own.look(path) !== undefined) return new Set(readOwn(own, path) as ByteString[])
    const leave = await decide()
    replaceOwn(own, path, [...leave])
    return leave
}

const undoingFile = (task: string): string => `${places.snapshot}/undoing-${task}`
const answerFile = `${places.snapshot}/answer`
const afterFile = (task: string): string => `${places.snapshot}/after-${task}`

function writeAfter(own: PlaceTree, task: string, after: readonly After[]): void {
    replaceOwn(own, afterFile(task), after)
}

/** How each task of the change left its paths; only of those that came to their end. */
function readAfter(own: PlaceTree): Map<string, After[]> {
    const found = new Map<string, After[]>()
    for (const name of own.names(places.snapshot)) {
        const task = /^after-(.*)(?<!\.new)$/.exec(name)?.[1]
        if (task !== undefined) found.set(task, readOwn(own, afterFile(task)) as After[])
    }
    return found
}

function replaceOwn(own: PlaceTree, path: ByteString, value: unknown): void {
    own.remove(`${path}.new`)
    own.writeWhole(`${path}.new`, Buffer.from(JSON.stringify(value)))
    own.publish(`${path}.new`, path)
    own.settle()
}

const readOwn = (own: PlaceTree, path: ByteString): unknown =>
    JSON.parse(Buffer.from(own.readWhole(path)).toString())

interface Answered {
    task: string
    value: 'keep' | 'restore'
    paths: ByteString[]
}

/**
 * Which paths of this task stay as somebody edited them. Asks once a change: the first task that runs asks about
 * everything, the others take its answer for what was on that list.
 */
async function editedToLeave(
    live: PlaceTree,
    own: PlaceTree,
    snapshot: Snapshot,
    context: TaskContext,
): Promise<ReadonlySet<ByteString>> {
    const all = readAfter(own)
    const edited = (all.get(context.task) ?? []).filter(one => isEdited(live, one, snapshot))
    const mine = edited.map(({ path }) => path)
    const known = own.look(answerFile) === undefined ? undefined : (readOwn(own, answerFile) as Answered)
    if (known !== undefined && known.task !== context.task) {
        if (mine.every(path => known.paths.includes(path))) return new Set(known.value === 'keep' ? mine : [])
    }
    const paths = new Set<ByteString>(mine)
    for (const after of all.values())
        for (const one of after) if (isEdited(live, one, snapshot)) paths.add(one.path)
    if (paths.size === 0) return paths
    const value = await ask([...paths].sort(), context)
    replaceOwn(own, answerFile, { task: context.task, value, paths: [...paths] } satisfies Answered)
    return new Set(value === 'keep' ? mine : [])
}

async function ask(paths: readonly ByteString[], context: TaskContext): Promise<'keep' | 'restore'> {
    const shown = paths.slice(0, limits.reportedPaths).map(path => `/${showPath(path)}`)
    const more = paths.length > shown.length ? ` and ${paths.length - shown.length} more` : ''
    const answer = await context.ask({
        id: 'undo.conflict',
        text: `Edited since the restore: ${shown.join(', ')}${more}. Keep them as they are now, or put back the state before?`,
        choices: [
            { value: 'keep', text: 'leave them as they are now' },
            { value: 'restore', text: 'put back the state before; the edits are lost' },
        ],
        safe: 'keep',
    })
    return answer === 'restore' ? 'restore' : 'keep'
}
