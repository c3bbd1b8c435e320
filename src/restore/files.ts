/** The task `restore.files`: staged entries are put in place one by one, and put back from the snapshot by the undo. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import type { ByteString } from '../format/tar-write.ts'
import type { Live, PlaceTree } from '../host/place.ts'
import { isSame, putBack } from '../host/put-back.ts'
import {
    type Arrangement,
    arrange,
    checkPlaces,
    lookPast,
    type Places,
    putInPlace,
    type Teller,
} from '../host/put-in-place.ts'
import type { Snapshot } from '../host/snapshot.ts'
import { showPath } from '../host/tree.ts'
import { pathOf, places, type RestoreHost, snapshotOf, withTrees } from './host.ts'
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
        const work = arranged(actions, snapshot, host)
        const where: Places = { live, from: { tree: own, at: from }, snapshot }
        checkPlaces(work, where)
        // From here on the undo has something to take back.
        context.remember({ began: true })
        const digests = await putInPlace(work, where, tellerOf(context))
        const after = pathsOf(work).map(path => afterOf(path, live, digests))
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
        const paths = pathsOf(arranged(actions, snapshot, host))
        const finished = host.finished(context.change)
        const leave = async () => {
            if (!finished) return new Set<ByteString>()
            const edited = await decideOnce(own, context.task, () =>
                editedToLeave(live, own, snapshot, context),
            )
            for (const path of edited)
                context.warn(`/${showPath(path)} was edited since and is left as it is`)
            return edited
        }
        const problems = await putBack(paths, live, snapshot, tellerOf(context), leave)
        if (problems.length > 0)
            throw new Fault('failed', `cannot put ${category} back: ${problems.join('; ')}`)
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

// --- shared ----------------------------------------------------------------------------------------------------

const arranged = (actions: readonly FileAction[], snapshot: Snapshot, host: RestoreHost): Arrangement =>
    arrange(
        actions.map(one => ({ path: pathOf(one, host), action: one.action, type: one.type })),
        snapshot,
    )

const pathsOf = ({ puts, removals }: Arrangement): ByteString[] => [...removals, ...puts.keys()]

function tellerOf(context: TaskContext): Teller {
    return {
        key: context.change,
        log: text => context.log(text),
        warn: text => context.warn(text),
        progress: (done, total) =>
            context.progress({ done, total, unit: 'entries', text: 'putting in place' }),
        signal: context.signal,
    }
}

function afterOf(path: ByteString, live: PlaceTree, digests: ReadonlyMap<ByteString, string>): After {
    const now = live.look(path)
    if (now === undefined) return { path, type: 'absent' }
    return stateOf(path, now, () => digests.get(path) ?? live.digest(path))
}

function stateOf(path: ByteString, live: Live, digest: () => string): After {
    const { type, mode, uid, gid, link } = live
    const after: After = { path, type, mode, owner: [uid, gid] }
    if (type !== 'directory') after.mtime = String(live.mtimeNs)
    if (type === 'file') after.digest = digest()
    if (link !== undefined) after.link = link
    return after
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
