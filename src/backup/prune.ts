/** Decides which archives of a target may go: Proxmox's rules, and around them what no rule may remove. */
import { Fault } from '../core/errors.ts'
import { applyRetention, type Keep, type RetentionMark } from '../core/retention.ts'
import { count, showAge } from '../core/units.ts'
import type { Plan, PlannedTask } from '../engine/change.ts'
import type { Manifest } from '../format/manifest.ts'

export interface PruneArchive {
    /** File name on the target. */
    name: string
    /** Bytes. */
    size: number
    /** Undefined when it could not be read; such an archive is reported and never touched. */
    manifest: Manifest | undefined
    /** Why there is no manifest. */
    problem?: string
}

export interface PruneRequest {
    target: string
    /** Everything that the target lists, other hosts' archives included. */
    archives: readonly PruneArchive[]
    keep: Keep
    /** The newest this many stay whatever `keep` says. */
    minKeep: number
    /** More removals than this at once need `confirmed`; undefined: no bound. */
    maxPrune?: number
    confirmed?: boolean
    hostId: string
    /** Whether this installation ever published to the target; without it nothing there is ours to judge. */
    hasPublished: boolean
    nowMs: number
    /** IANA zone of days, weeks and months. */
    timeZone: string
    /** Ids of backups that `verify` found whole. */
    verified: ReadonlySet<string>
}

export type PruneVerdict =
    /** A rule or a guard keeps it. */
    | 'keep'
    | 'remove'
    /** Kept because a person said so when it was made. */
    | 'pinned'
    /** Another host's. */
    | 'foreign'
    /** Dated in the future: a wrong clock. */
    | 'suspect'
    /** Its manifest cannot be read. */
    | 'unreadable'

export interface PruneDecision {
    name: string
    size: number
    verdict: PruneVerdict
    /** Why, for people: "keep-daily 3", "newest verified backup", "no rule keeps it". */
    reason: string
    /** Id and time (ms since the epoch) of the backup, when its manifest was read. */
    backup?: string
    createdMs?: number
}

export interface PruneResult {
    target: string
    /** Newest first; what has no time comes last. */
    decisions: PruneDecision[]
    /** Why nothing is removed although rules say so. */
    blocked?: { why: string; hint: string }
}

/** An archive from further ahead than this was made with a wrong clock, or is read with one. */
const aheadMs = 3_600_000

/** Backups of one second are told apart by their order: the second one was made because somebody wanted it. */
function apartInSecond(newestFirst: PruneDecision[], index: number): number {
    const second = seconds(newestFirst[index]!)
    let younger = index
    while (younger > 0 && seconds(newestFirst[younger - 1]!) === second) younger--
    return second * 1000 + Math.max(0, 999 - (index - younger))
}

/** Decides for each archive of one target. Pure: removes nothing. */
export function planPrune(request: PruneRequest): PruneResult {
    const decisions = request.archives.map(archive => first(archive, request))
    const own = decisions.filter(decision => decision.verdict === 'keep' || decision.verdict === 'pinned')
    const sequences = new Map(request.archives.map(({ name, manifest }) => [name, manifest?.sequence ?? 0]))
    const newestFirst = (a: PruneDecision, b: PruneDecision) =>
        seconds(b) - seconds(a) || sequences.get(b.name)! - sequences.get(a.name)! || compare(b.name, a.name)
    own.sort(newestFirst)

    const marks = applyRetention(
        own.map((decision, index) => ({
            timeMs: apartInSecond(own, index),
            protected: decision.verdict === 'pinned',
        })),
        request.keep,
        request.timeZone,
    )
    const newestVerified = own.find(({ backup }) => request.verified.has(backup!))
    own.forEach((decision, index) => {
        judge(decision, marks[index]!)
        if (decision.verdict !== 'remove') return
        // Guards stand behind the rules and use no slot of them: keep-last=3 means three archives, not five.
        if (index < request.minKeep) spare(decision, `one of the newest ${request.minKeep}`)
        else if (decision === newestVerified) spare(decision, 'newest verified backup')
    })

    const blocked = whyBlocked(request, own)
    if (blocked !== undefined)
        for (const decision of own)
            if (decision.verdict === 'remove') spare(decision, `${decision.reason}, but ${blocked.why}`)
    decisions.sort(
        (a, b) => Number(b.createdMs !== undefined) - Number(a.createdMs !== undefined) || newestFirst(a, b),
    )
    return { target: request.target, decisions, ...(blocked === undefined ? {} : { blocked }) }
}

/** What can be said about an archive before the rules are asked. */
function first({ name, size, manifest, problem }: PruneArchive, request: PruneRequest): PruneDecision {
    if (manifest === undefined)
        return { name, size, verdict: 'unreadable', reason: problem ?? 'its manifest cannot be read' }
    const createdMs = Date.parse(manifest.created)
    const base = { name, size, backup: manifest.id }
    if (Number.isNaN(createdMs))
        return { ...base, verdict: 'unreadable', reason: `its time is "${manifest.created.slice(0, 40)}"` }
    const dated = { ...base, createdMs }
    if (manifest.host.id !== request.hostId)
        return {
            ...dated,
            verdict: 'foreign',
            reason: `of the host ${manifest.host.name}, id ${manifest.host.id.slice(0, 8)}`,
        }
    if (createdMs > request.nowMs + aheadMs)
        return { ...dated, verdict: 'suspect', reason: `its time is ${showAge(createdMs, request.nowMs)}` }
    if (manifest.pinned === true) return { ...dated, verdict: 'pinned', reason: 'pinned' }
    return { ...dated, verdict: 'keep', reason: '' }
}

function judge(decision: PruneDecision, mark: RetentionMark): void {
    if (mark.mark === 'protected') return
    if (mark.mark === 'keep')
        decision.reason = mark.rule === 'keep-all' ? 'keep-all' : `${mark.rule} ${mark.nth}`
    else {
        decision.verdict = 'remove'
        decision.reason = 'no rule keeps it'
    }
}

function spare(decision: PruneDecision, reason: string): void {
    decision.verdict = 'keep'
    decision.reason = reason
}

function whyBlocked(request: PruneRequest, own: readonly PruneDecision[]): PruneResult['blocked'] {
    const removals = own.filter(decision => decision.verdict === 'remove').length
    if (removals === 0) return undefined
    if (!request.hasPublished)
        return {
            why: 'this host never published a backup there',
            hint: 'make a backup to that target first',
        }
    if (request.maxPrune !== undefined && removals > request.maxPrune && !request.confirmed)
        return {
            why: `${count(removals, 'removal')} at once are more than max-prune = ${request.maxPrune}`,
            hint: `check with "proxsavectl prune --target ${request.target} --dry-run", then raise max-prune`,
        }
    return undefined
}

/** The change that removes what was decided, one task an archive, oldest first; undefined when nothing is to be done. */
export function pruneChange(results: readonly PruneResult[], by: string, nowMs: number): Plan | undefined {
    const tasks: PlannedTask[] = []
    let bytes = 0
    for (const { target, decisions } of results)
        for (const { name, size, verdict, reason, createdMs } of decisions.toReversed()) {
            if (verdict !== 'remove') continue
            bytes += size
            tasks.push({
                id: `remove-${tasks.length + 1}`,
                kind: 'archive.remove',
                title: `remove ${name} from ${target}, ${showAge(createdMs!, nowMs)}: ${reason}`,
                params: { target, name },
            })
        }
    if (tasks.length === 0) return undefined
    const targets = results.filter(({ decisions }) => decisions.some(({ verdict }) => verdict === 'remove'))
    return {
        kind: 'prune',
        summary: `remove ${count(tasks.length, 'backup')} from ${targets.map(({ target }) => target).join(', ')}`,
        by,
        tasks,
        // An interrupted prune goes on: what is gone does not come back, and what was to go still has to.
        recovery: 'resume',
        facts: { removed: tasks.length, bytes },
    }
}

/** How many archives each verdict has, for summaries. */
export function countVerdicts(results: readonly PruneResult[]): Record<PruneVerdict, number> {
    const counts = { keep: 0, remove: 0, pinned: 0, foreign: 0, suspect: 0, unreadable: 0 }
    for (const { decisions } of results) for (const { verdict } of decisions) counts[verdict]++
    return counts
}

/** Throws when a person asked for a prune that a guard holds back. */
export function refuseBlocked(results: readonly PruneResult[]): void {
    for (const { target, blocked } of results)
        if (blocked !== undefined)
            throw new Fault('failed', `cannot prune ${target}: ${blocked.why}`, { hint: blocked.hint })
}

function seconds(decision: PruneDecision): number {
    return Math.floor((decision.createdMs ?? 0) / 1000)
}

function compare(a: string, b: string): number {
    return a < b ? -1 : a > b ? 1 : 0
}
