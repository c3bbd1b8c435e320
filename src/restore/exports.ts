/**
 * What restores exported: which directories there are below STATE/exports, which of them may go, and the task
 * `exports.remove`. They hold secrets in the plain and stay until somebody has them removed.
 */
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import { count, showAge, showDuration } from '../core/units.ts'
import type { Json, Plan, PlannedTask } from '../engine/change.ts'
import type { TaskKind } from '../engine/kinds.ts'
import type { ByteString } from '../format/tar-write.ts'
import { codeOf } from '../host/libc.ts'
import { readMounts } from '../host/mounts.ts'
import { breathing, type PlaceCalls, placeCalls, PlaceTree } from '../host/place.ts'
import { exportsDirectory } from './host.ts'

/** `<host>-<UTC stamp>`; no other name is a directory of exports. */
export const exportName = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/

export interface Exports {
    name: string
    path: string
    /** When the restore was planned; its name says so. */
    createdMs: number
}

/** Oldest first. What somebody else put beside them is not among them. */
export function listExports(state: string): Exports[] {
    const tree = openExports(state)
    if (tree === undefined) return []
    try {
        return tree
            .names('')
            .flatMap(name => {
                const createdMs = timeOf(name)
                if (createdMs === undefined || tree.look(name)?.type !== 'directory') return []
                return [{ name, path: join(exportsDirectory(state), name), createdMs }]
            })
            .sort((a, b) => a.createdMs - b.createdMs || (a.name < b.name ? -1 : 1))
    } finally {
        tree.close()
    }
}

function timeOf(name: string): number | undefined {
    const match = exportName.exec(name)
    if (match === null) return undefined
    const [, year, month, day, hour, minute, second] = match
    const timeMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
    return Number.isNaN(timeMs) ? undefined : timeMs
}

const oldMs = 30 * 24 * 3_600_000

/** What `status` and `doctor` tell of exports that nobody seems to need any more. */
export function warnOfOldExports(state: string, nowMs: number): { text: string; hint: string } | undefined {
    const old = listExports(state).filter(({ createdMs }) => nowMs - createdMs > oldMs)
    if (old.length === 0) return undefined
    const are = count(old.length, 'export of a restore is', 'exports of restores are')
    return {
        text: `${are} older than 30 days, and there may be secrets in the plain in ${exportsDirectory(state)}`,
        hint: 'proxsavectl prune --exports --dry-run lists them, without --dry-run it removes them',
    }
}

export interface ExportsRequest {
    state: string
    /** Only those older than this. */
    olderThanMs?: number
    /** The unfinished change that may still write to an export or take from it. */
    neededBy(name: string): string | undefined
    nowMs: number
}

export interface ExportsDecision extends Exports {
    /** Bytes on the disk, and how many entries. */
    bytes: number
    entries: number
    verdict: 'keep' | 'remove'
    why: string
}

/** Decides for each directory of exports. Removes nothing. */
export async function planExports(request: ExportsRequest): Promise<ExportsDecision[]> {
    const decisions: ExportsDecision[] = []
    for (const one of listExports(request.state))
        decisions.push({ ...one, ...(await measure(request.state, one.name)), ...judge(one, request) })
    return decisions
}

function judge(
    { name, createdMs }: Exports,
    { neededBy, olderThanMs, nowMs }: ExportsRequest,
): Pick<ExportsDecision, 'verdict' | 'why'> {
    const change = neededBy(name)
    if (change !== undefined) return { verdict: 'keep', why: `change ${change} is not finished` }
    if (olderThanMs === undefined) return { verdict: 'remove', why: 'all were asked for' }
    return nowMs - createdMs > olderThanMs
        ? { verdict: 'remove', why: `older than ${showDuration(olderThanMs)}` }
        : { verdict: 'keep', why: `not older than ${showDuration(olderThanMs)}` }
}

async function measure(state: string, name: string): Promise<{ bytes: number; entries: number }> {
    const found = { bytes: 0, entries: 0 }
    const tree = openExports(state)
    if (tree === undefined) return found
    const breathe = breathing()
    const linked = new Set<string>()
    const add = async (path: ByteString): Promise<void> => {
        const live = tree.look(path)
        if (live === undefined) return
        found.entries++
        if (live.nlink === 1 || live.type === 'directory' || !linked.has(live.inode))
            found.bytes += live.stored
        if (live.nlink > 1) linked.add(live.inode)
        await breathe()
        if (live.type === 'directory') for (const child of tree.names(path)) await add(`${path}/${child}`)
    }
    try {
        await add(name)
        return found
    } finally {
        tree.close()
    }
}

/** The change that removes what was decided, one task a directory, oldest first; undefined when nothing is to be done. */
export function exportsChange(
    decisions: readonly ExportsDecision[],
    by: string,
    nowMs: number,
): Plan | undefined {
    const tasks = decisions
        .filter(({ verdict }) => verdict === 'remove')
        .map(
            ({ name, path, createdMs, bytes, why }, index): PlannedTask => ({
                id: `remove-${index + 1}`,
                kind: 'exports.remove',
                title: `remove ${path}, ${showAge(createdMs, nowMs)}: ${why}`,
                params: { name, bytes },
                // One that cannot be removed is no reason to leave the secrets of the others.
                optional: true,
            }),
        )
    if (tasks.length === 0) return undefined
    return {
        kind: 'prune-exports',
        summary: `remove ${count(tasks.length, 'export of a restore', 'exports of restores')}`,
        by,
        tasks,
        // As with backups: what is gone does not come back, and what was to go still has to.
        recovery: 'resume',
        facts: { removedExports: 0, bytes: 0 },
    }
}

export type ExportsRemoveParams = { name: string; bytes: number }

export interface ExportsHost {
    state: string
    calls?: PlaceCalls
    /** Where something is mounted. */
    mountPoints?: () => string[]
}

/** Removes one directory of exports with all in it; its plan said so beforehand, because nothing brings it back. */
export function exportsRemove(host: ExportsHost): TaskKind<ExportsRemoveParams> {
    const { mountPoints = () => [...readMounts().keys()] } = host
    return {
        kind: 'exports.remove',
        irreversible: true,
        async do({ name, bytes }, context) {
            const path = join(exportsDirectory(host.state), name)
            if (timeOf(name) === undefined)
                throw new Fault('failed', `cannot remove ${path}: it is no directory of exports`)
            const mounted = mountPoints().find(point => point === path || point.startsWith(`${path}/`))
            if (mounted !== undefined)
                throw new Fault('failed', `cannot remove ${path}: something is mounted at ${mounted}`, {
                    hint: `umount ${mounted}`,
                })
            const tree = openExports(host.state, host.calls)
            if (tree !== undefined)
                try {
                    await removeTree(tree, name)
                    tree.settle()
                } finally {
                    tree.close()
                }
            // Results are those of the tasks before this one, also of the ones before a crash.
            const freed = [...context.results.values()].map(bytesOf).concat(bytes)
            context.fact('removedExports', freed.length)
            context.fact(
                'bytes',
                freed.reduce((sum, one) => sum + one, 0),
            )
            return { bytes }
        },
        async undo() {},
    }
}

const bytesOf = (result: Json): number => (result as { bytes: number }).bytes

/** As `PlaceTree.removeTree`, but others get their turn: an export may have every file of a host. */
async function removeTree(tree: PlaceTree, name: ByteString): Promise<void> {
    const breathe = breathing()
    const remove = async (path: ByteString): Promise<void> => {
        if (tree.look(path)?.type === 'directory')
            for (const child of tree.names(path)) await remove(`${path}/${child}`)
        tree.remove(path)
        await breathe()
    }
    await remove(name)
}

/** Undefined when nothing was ever exported. */
function openExports(state: string, calls: PlaceCalls = placeCalls): PlaceTree | undefined {
    try {
        return new PlaceTree(exportsDirectory(state), calls)
    } catch (error) {
        if (codeOf(error) === 'ENOENT') return undefined
        throw error
    }
}
