/** Judges what a restore that lost power has come to, by what lies in the directory; shares no code with the product. */
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import type { PlannedTask } from '../../src/engine/change.ts'
import type { Describer } from '../restore/describer.ts'
import type { Tree } from '../vm/tree.ts'
import { checkWhole, endOf, readStories, type Story } from './checker.ts'

/** Trees of before and behind the restore. */
export interface Pictures {
    old: Tree
    /** Undefined when the restore is one that fails. */
    new: Tree | undefined
    /** Differences that are none. */
    known: RegExp
}

/** Before anything recovers: where the live tree is not the old one, a journal has a task at work on it. */
export async function checkBegun(base: string, pictures: Pictures, describer: Describer): Promise<void> {
    const stories = storiesIn(base)
    const begun = new Set<string>()
    for (const { plan, events } of stories)
        for (const event of events)
            if (event.event === 'task') {
                const task = plan.tasks.find(({ id }) => id === event.task)
                for (const path of task === undefined ? [] : changedBy(task)) begun.add(path)
            }
    const mayDiffer = (path: string) =>
        begun.has(path) ||
        // A directory above, or a file that is on its way to its name.
        [...begun].some(
            one =>
                one.startsWith(`${path}/`) ||
                path === '.' ||
                (/\.(proxsave-)?tmp$/.test(path) && dirname(one) === dirname(path)),
        )
    const all = await describer.differences(pictures.old, join(base, 'root'))
    // What a snapshot saves may get one more name.
    const found = all.filter(
        line =>
            !pictures.known.test(line) &&
            !/: (same as|links) was /.test(line) &&
            !mayDiffer((JSON.parse(/^"(?:[^"\\]|\\.)*"/.exec(line)![0]) as string).split('\0')[0]!),
    )
    if (found.length > 0) throw new Error(`changed, and no journal says so: ${some(found)}`)
}

/** Paths that a task may change. */
function changedBy({ kind, params }: PlannedTask): string[] {
    const { actions, which, live } = params as {
        actions: { bytes: string }[]
        which: keyof typeof mergedPaths
        live: string
    }
    if (kind === 'restore.files') return actions.map(({ bytes }) => bytes)
    if (kind === 'restore.merge') return mergedPaths[which]
    return kind === 'restore.database' ? ['', '-wal', '-shm'].map(suffix => live + suffix) : []
}

const mergedPaths = {
    fstab: ['etc/fstab'],
    accounts: ['etc/passwd', 'etc/group', 'etc/shadow'],
    resolv: ['etc/resolv.conf'],
}

export type Outcome = 'nothing' | 'new' | 'old'

/** After the recovery: the tree is what the journal says it is, and nothing else is there. `told` are ends, `CHANGE RESULT`. */
export async function checkSettled(
    base: string,
    pictures: Pictures,
    told: Iterable<string>,
    describer: Describer,
): Promise<Outcome> {
    const stories = storiesIn(base)
    const files = stateOf(base)
    for (const story of stories) {
        checkWhole(story, files)
        const { left } = endOf(story)
        if (left !== undefined) throw new Error(`${story.id} left ${left.join('; ')}`)
        checkCalm(story)
    }
    for (const what of told) {
        const [id, result] = what.split(' ')
        const story = stories.find(one => one.id === id)
        const now = story === undefined ? 'nothing' : endOf(story).result
        if (now !== result) throw new Error(`told that ${what}, and it became ${now}`)
    }
    const first = stories.find(({ plan }) => plan.undoes === undefined)
    const undo = stories.find(({ plan }) => plan.undoes !== undefined)
    const well = first !== undefined && good.has(endOf(first).result)
    if (undo !== undefined && !good.has(endOf(undo).result))
        throw new Error(`the undo ended with ${endOf(undo).result}: ${endOf(undo).error?.message}`)
    const isNew = well && undo === undefined
    if (isNew && pictures.new === undefined) throw new Error('a restore that fails has not')
    const all = await describer.differences(isNew ? pictures.new! : pictures.old, join(base, 'root'))
    const found = all.filter(line => !pictures.known.test(line))
    if (found.length > 0) throw new Error(`not whole-${isNew ? 'new' : 'old'}: ${some(found)}`)
    checkLeftovers(files, isNew)
    return first === undefined ? 'nothing' : isNew ? 'new' : 'old'
}

const good = new Set(['ok', 'warning'])

/** Nothing was edited by anybody, and everything can be put back: nobody is asked, and nobody is warned. */
function checkCalm({ id, events }: Story): void {
    let back = false
    for (const event of events) {
        if (event.event === 'recovery' || (event.event === 'task' && event.state === 'undoing')) back = true
        if (event.event === 'question' && event.id === 'undo.conflict')
            throw new Error(`${id} asked whether somebody edited: ${event.text}`)
        if (back && event.event === 'log' && event.level === 'warning')
            throw new Error(`${id} warned: ${event.text}`)
    }
}

/** What may lie in the state directory: journals, what an undo needs, and exports of a restore that is there. */
function checkLeftovers(files: ReadonlyMap<string, string>, isNew: boolean): void {
    for (const path of files.keys()) {
        const change = /^\/state\/changes\/[^/]+\/(.*)$/.exec(path)?.[1]
        const fine =
            change === undefined
                ? path === '/state/signing_key' || (isNew && path.startsWith('/state/exports/'))
                : /^(journal|summary)$/.test(change) ||
                  /^undo\/remembered\.[a-z0-9-]+$/.test(change) ||
                  /^undo\/(snapshot|merge-\w+|[\w-]+)\/(index|(data|keep)\/\d+)$/.test(change) ||
                  /^undo\/[\w-]+\/(after-[a-z0-9-]+|new)$/.test(change)
        if (!fine) throw new Error(`left behind: ${path}`)
    }
    if (isNew) return
    for (const path of files.keys())
        if (path.startsWith('/state/exports/')) throw new Error(`left behind: ${path}`)
}

export function storiesIn(base: string): Story[] {
    return readStories(stateOf(base))
}

/** Every file below `state` by path. */
function stateOf(base: string): Map<string, string> {
    const files = new Map<string, string>()
    const walk = (at: string) => {
        for (const entry of fs.readdirSync(join(base, at), { withFileTypes: true })) {
            const path = `${at}/${entry.name}`
            if (entry.isDirectory()) walk(path)
            else if (/\/(journal|summary)$/.test(path))
                files.set(path, fs.readFileSync(join(base, path), 'latin1'))
            else files.set(path, '')
        }
    }
    walk('/state')
    return files
}

const some = (found: readonly string[]): string => found.slice(0, 4).join('; ')
