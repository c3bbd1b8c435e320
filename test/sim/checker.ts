/**
 * Judges a simulated history by what lies on the disk alone. It reads journals with its own eyes and shares no code
 * with the engine: a mistake there must not be repeated here.
 */
import type { ChangeEvent, Plan } from '../../src/engine/change.ts'
import type { Files, Step } from './world.ts'

export interface Evidence {
    /** Every file on the disk by path, content as latin1. */
    tree: Map<string, string>
    plan: Plan
    old: Files
    /** What followers saw before the crash. */
    seen: ChangeEvent[]
    /** The end that was told before the crash, of the change and of its undo. */
    told: ChangeEvent[]
    /** Errors of the disk were injected: what could not be journaled was told from memory. */
    diskErred: boolean
}

export interface Story {
    id: string
    plan: Plan
    events: ChangeEvent[]
    /** Bytes behind the last whole record. */
    torn: number
}

/** Before recovery: no file of the world is changed without a `doing` in a journal that says so. */
export function checkRecordedFirst({ tree, plan, old }: Evidence): void {
    const begun = new Set<string>()
    for (const story of readStories(tree))
        for (const event of story.events) if (event.event === 'task') begun.add(event.task)
    for (const [path, content] of Object.entries(old)) {
        if ((tree.get(path) ?? null) === content) continue
        const known = plan.tasks.some(task => begun.has(task.id) && path in (task.params as Step).files)
        if (!known) throw new Error(`${path} changed, and no journal has a task at work on it`)
    }
}

/** After the last recovery. */
export function checkSettled(evidence: Evidence): void {
    const { tree, plan, old, seen, told, diskErred } = evidence
    const stories = readStories(tree)
    const expected = { ...old }
    const first = stories.find(story => story.plan.undoes === undefined)
    const undo = stories.find(story => story.plan.undoes !== undefined)
    for (const story of stories) checkWhole(story, tree)
    // A task that may not be taken back and was caught at work, or one that could not be, leaves its files open.
    const open = new Set(stories.flatMap(story => openFiles(story, plan)))
    if (first !== undefined) {
        checkKept(first, plan)
        // An undo takes back what the change had left; each of its tasks counts once it is undone.
        const undone = new Set<string>()
        for (const event of undo?.events ?? [])
            if (event.event === 'task' && event.state === 'undone') undone.add(event.task)
        for (const task of plan.tasks)
            if (isApplied(first, task.id) && !undone.has(task.id))
                Object.assign(expected, (task.params as Step).files)
        if (undo !== undefined && endOf(undo).result !== 'ok') {
            if (!diskErred) throw new Error(`the undo ended with ${endOf(undo).result}`)
            checkLeftovers(tree, open)
            return
        }
    }
    for (const [path, content] of Object.entries(expected)) {
        const actual = tree.get(path) ?? null
        if (actual !== content && !open.has(path))
            throw new Error(`${path} is ${actual}, and history says ${content}`)
    }
    checkLeftovers(tree, open)
    checkTold(stories, seen, told, diskErred)
}

export function checkWhole({ id, events, torn }: Story, tree: Map<string, string>): void {
    if (torn > 0) throw new Error(`the journal of ${id} has ${torn} torn bytes`)
    if (events[0]?.event !== 'begin') throw new Error(`the journal of ${id} does not begin`)
    const ends = events.filter(event => event.event === 'end')
    if (ends.length !== 1 || events.at(-1) !== ends[0])
        throw new Error(`the journal of ${id} does not end once`)
    for (const [index, event] of events.entries())
        if (event.seq !== index + 1)
            throw new Error(`the journal of ${id} has event ${event.seq} at ${index + 1}`)
    const summary = tree.get(`/state/changes/${id}/summary`)
    if (summary !== undefined && JSON.parse(summary).result !== ends[0]!.result)
        throw new Error(`the summary of ${id} contradicts its journal`)
}

/** The promise of the result: all of it, or nothing of it, but for what the plan excepts. */
function checkKept(story: Story, plan: Plan): void {
    const end = endOf(story)
    const pivotIndex = plan.tasks.findIndex(task => task.id === plan.pivot)
    const beyond = pivotIndex >= 0 && isApplied(story, plan.pivot!)
    for (const [index, task] of plan.tasks.entries()) {
        const applied = isApplied(story, task.id)
        const final = task.kind === 'sim.final'
        const lost = end.left?.some(left => left.startsWith(`${task.title}:`)) ?? false
        if (end.result === 'ok' && !applied) throw new Error(`ok, but ${task.id} is not there`)
        if (end.result === 'warning' && !applied && !task.optional && !(beyond && index > pivotIndex))
            throw new Error(`a warning, but ${task.id} is not there`)
        if (['failed', 'cancelled'].includes(end.result) && !beyond && applied && !final && !lost)
            throw new Error(`${end.result}, but ${task.id} is still there and not named`)
        if (beyond && index <= pivotIndex && !applied && !task.optional)
            throw new Error(`${task.id} was taken back behind the pivot`)
    }
    if (end.result === 'failed' && end.left !== undefined && end.error?.kind !== 'stuck')
        throw new Error('something is left, and the error does not say stuck')
}

function checkLeftovers(tree: Map<string, string>, open: Set<string>): void {
    for (const path of tree.keys()) {
        const unfinished = /^(\/world\/)\.(file\d)\.tmp$/.exec(path)
        if (unfinished !== null && open.has(`${unfinished[1]}${unfinished[2]}`)) continue
        const good =
            /^\/world\/file\d$/.test(path) ||
            /^\/state\/changes\/[^/]+\/(journal|summary|undo\/remembered\.t\d)$/.test(path)
        if (!good) throw new Error(`left behind: ${path}`)
    }
}

function checkTold(stories: Story[], seen: ChangeEvent[], told: ChangeEvent[], diskErred: boolean): void {
    const recorded = new Set(stories.flatMap(story => story.events.map(event => JSON.stringify(event))))
    for (const event of diskErred ? [] : seen)
        if (!recorded.has(JSON.stringify(event)))
            throw new Error(`told and then forgotten: ${JSON.stringify(event)}`)
    for (const end of told) {
        if (end.event !== 'end') continue
        const story = stories.find(({ id }) => id === end.change)
        const result = story && endOf(story).result
        const good = ['ok', 'warning', 'rolled-back']
        if (end.error?.kind === 'stuck') continue
        if (
            result === undefined ||
            (result !== end.result && (!diskErred || good.includes(result) !== good.includes(end.result)))
        )
            throw new Error(`told ${end.result}, and it became ${result}`)
    }
}

/** Whether the effect of the task is there, as the last word of the journal about it says. */
function isApplied({ events }: Story, task: string): boolean {
    return lastState(events, task) === 'done'
}

function lastState(events: ChangeEvent[], task: string): string | undefined {
    const about = events.filter(event => event.event === 'task' && event.task === task)
    return (about.at(-1) as { state?: string } | undefined)?.state
}

function openFiles({ events }: Story, plan: Plan): string[] {
    const open: string[] = []
    for (const task of plan.tasks) {
        const state = lastState(events, task.id)
        const final = task.kind === 'sim.final' && state !== undefined && state !== 'done'
        if (final || state === 'undo-failed') open.push(...Object.keys((task.params as Step).files))
    }
    return open
}

export function endOf(story: Story): Extract<ChangeEvent, { event: 'end' }> {
    return story.events.at(-1) as Extract<ChangeEvent, { event: 'end' }>
}

/** All changes with a readable begin, oldest first. */
export function readStories(tree: Map<string, string>): Story[] {
    const stories: Story[] = []
    for (const [path, content] of tree) {
        const id = /^\/state\/changes\/([^/]+)\/journal$/.exec(path)?.[1]
        if (id === undefined) continue
        const bytes = Buffer.from(content, 'latin1')
        const events: ChangeEvent[] = []
        let plan: Plan | undefined
        let at = 0
        while (bytes.length - at >= 20) {
            const length = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0)
            const payload = bytes.subarray(at + 20, at + 20 + length)
            const hash = new Bun.CryptoHasher('sha256').update(payload).digest('hex')
            if (payload.length < length || hash.slice(0, 32) !== bytes.toString('hex', at + 4, at + 20)) break
            const record = JSON.parse(payload.toString('utf8'))
            plan ??= record.plan
            events.push(record.event)
            at += 20 + length
        }
        if (plan !== undefined) stories.push({ id, plan, events, torn: bytes.length - at })
    }
    return stories.sort((a, b) => (a.events[0]!.time < b.events[0]!.time ? -1 : 1))
}
