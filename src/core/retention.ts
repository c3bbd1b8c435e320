/**
 * Which backups to keep: Proxmox's own prune rules, so that the same notation means the same as in VE and PBS.
 *
 * Rules run in a fixed order and add up: each one counts only periods that no earlier rule covered, the newest backup
 * of a period survives, and a period without a backup does not count, so silence never deletes anything.
 */
import { Fault } from './errors.ts'

export const keepRules = [
    'keep-last',
    'keep-hourly',
    'keep-daily',
    'keep-weekly',
    'keep-monthly',
    'keep-yearly',
] as const
export type KeepRule = (typeof keepRules)[number]

/** How many periods each rule keeps. No rule above zero means: keep everything. */
export type Keep = Partial<Record<KeepRule, number>>

/** Nobody keeps more periods than this; a longer number is a slip of the finger. */
const mostPeriods = 100_000

/** Reads Proxmox's property string: "keep-last=3,keep-daily=7" or "keep-all=1". */
export function parseKeep(text: string): Keep {
    const keep: Keep = {}
    let all: boolean | undefined
    const wrong = (why: string) =>
        new Fault('usage', `cannot read the retention "${text}": ${why}`, {
            hint: 'write it as Proxmox does, for example keep-last=3,keep-daily=7,keep-weekly=4',
        })
    for (const part of text.split(',')) {
        const match = /^\s*([a-z-]+)\s*=\s*(\d+)\s*$/.exec(part)
        if (!match)
            throw wrong(part.trim() === '' ? 'a rule is empty' : `"${part.trim()}" is not rule=number`)
        const [, name, digits] = match as unknown as [string, string, string]
        const periods = Number(digits)
        if (name === 'keep-all') {
            if (all !== undefined) throw wrong('keep-all is there twice')
            if (periods > 1) throw wrong('keep-all is 0 or 1')
            all = periods === 1
            continue
        }
        if (!isRule(name)) throw wrong(`there is no rule ${name}, only keep-all, ${keepRules.join(', ')}`)
        if (keep[name] !== undefined) throw wrong(`${name} is there twice`)
        if (periods > mostPeriods) throw wrong(`${name} is at most ${mostPeriods}`)
        keep[name] = periods
    }
    if (all === true && keepsSomething(keep)) throw wrong('keep-all=1 leaves no room for other rules')
    return all === true ? {} : keep
}

/** The notation that `parseKeep` reads; rules in Proxmox's order. */
export function showKeep(keep: Keep): string {
    const parts = keepRules.filter(rule => (keep[rule] ?? 0) > 0).map(rule => `${rule}=${keep[rule]}`)
    return parts.length > 0 ? parts.join(',') : 'keep-all=1'
}

function isRule(name: string): name is KeepRule {
    return (keepRules as readonly string[]).includes(name)
}

/** False when the rules remove nothing at all. */
export function keepsSomething(keep: Keep): boolean {
    return keepRules.some(rule => (keep[rule] ?? 0) > 0)
}

export interface RetentionEntry {
    /** When the backup was made, milliseconds since the epoch; compared by whole seconds, as Proxmox does. */
    timeMs: number
    /** Kept whatever the rules say; takes no slot of a rule and covers no period. */
    protected?: boolean
}

export type RetentionMark =
    | {
          mark: 'keep'
          rule: KeepRule | 'keep-all' /** How many periods the rule has used with it. */
          nth: number
      }
    | { mark: 'remove' }
    | { mark: 'protected' }

/**
 * Marks the backups of one group, in the order in which they were given. Periods are those of `timeZone` (an IANA
 * name). Of two backups in one second the one that was given first counts as the newer.
 */
export function applyRetention(
    entries: readonly RetentionEntry[],
    keep: Keep,
    timeZone: string,
): RetentionMark[] {
    const marks: (RetentionMark | undefined)[] = entries.map(entry =>
        entry.protected ? { mark: 'protected' } : undefined,
    )
    if (!keepsSomething(keep))
        return marks.map((mark, index) => mark ?? { mark: 'keep', rule: 'keep-all', nth: index + 1 })

    const newestFirst = entries
        .map((entry, index) => ({ index, timeMs: entry.timeMs }))
        .filter(({ index }) => marks[index] === undefined)
        .sort((a, b) => b.timeMs - a.timeMs || a.index - b.index)
        .map(({ index, timeMs }) => ({ index, periods: periodsOf(timeMs, timeZone) }))

    for (const rule of keepRules) {
        const most = keep[rule] ?? 0
        if (most <= 0) continue
        const covered = new Set<string>()
        for (const { index, periods } of newestFirst)
            if (marks[index]?.mark === 'keep') covered.add(periods[rule])
        const fresh = new Set<string>()
        for (const { index, periods } of newestFirst) {
            const period = periods[rule]
            if (marks[index] !== undefined || covered.has(period)) continue
            if (fresh.has(period)) {
                marks[index] = { mark: 'remove' }
                continue
            }
            if (fresh.size >= most) break
            fresh.add(period)
            marks[index] = { mark: 'keep', rule, nth: fresh.size }
        }
    }
    return marks.map(mark => mark ?? { mark: 'remove' })
}

/** The period of each rule that a moment falls into. */
function periodsOf(timeMs: number, timeZone: string): Record<KeepRule, string> {
    const local = Temporal.Instant.fromEpochMilliseconds(timeMs).toZonedDateTimeISO(timeZone)
    const year = `${local.year}`
    const month = `${year}-${local.month}`
    const day = `${month}-${local.day}`
    return {
        // Proxmox's times are whole seconds, and two of the same are one; what is finer here is told apart.
        'keep-last': `${timeMs}`,
        // Local hours: when the clock is set back, two hours are one period, as in Proxmox.
        'keep-hourly': `${day} ${local.hour}`,
        'keep-daily': day,
        'keep-weekly': `${local.yearOfWeek}-W${local.weekOfYear}`,
        'keep-monthly': month,
        'keep-yearly': year,
    }
}
