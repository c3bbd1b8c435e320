/** What a guard is up to, for people and scripts: its state, the time left, and where this host will be reached. */
import { areas } from '../catalog/areas.ts'
import type { GuardInfo } from '../core/answers.ts'
import { asFault } from '../core/errors.ts'
import type { Clock } from '../host/clock.ts'
import type { Disk } from '../host/disk.ts'
import { newest } from './decide.ts'
import { type GuardDirectory, type GuardRecord, listGuards } from './record.ts'
import { isUnarmed } from './unarmed.ts'

/** What the changes say about whether a guard is still of interest. */
export interface GuardHistory {
    finished(change: string): boolean
    /** The newest change; undefined when nobody knows. */
    newest(): string | undefined
}

/** How long (ms) a rollback stays worth telling, as long as nothing else was done. */
const tellMs = 24 * 3_600_000

/** The guard that a person should hear of now: an armed one before all, else the newest that still matters. */
export function guardStatus(
    disk: Disk,
    state: string,
    clock: Clock,
    history: GuardHistory,
): GuardInfo | undefined {
    const guards = onceArmed(disk, state)
    const armed = newest(guards.filter(guard => guard.state() === 'ARMED'))
    if (armed !== undefined) return guardInfo(armed, clock)
    const last = newest(guards)
    if (last === undefined) return undefined
    const info = guardInfo(last, clock)
    if (!history.finished(info.change)) return info
    const executed = last.executed()
    if (executed === undefined) return undefined
    const agoMs = clock.nowMs() - Date.parse(executed.time)
    const newer = (history.newest() ?? info.change) !== info.change
    // A clock that was set back must not hide it.
    return agoMs < tellMs && !newer ? info : undefined
}

/** All guards that were armed and left a directory, newest first. */
export function guardInfos(disk: Disk, state: string, clock: Clock): GuardInfo[] {
    const left = onceArmed(disk, state)
    const infos: GuardInfo[] = []
    for (let next = newest(left); next !== undefined; next = newest(left)) {
        left.splice(left.indexOf(next), 1)
        infos.push(guardInfo(next, clock))
    }
    return infos
}

const onceArmed = (disk: Disk, state: string): GuardDirectory[] =>
    listGuards(disk, state).filter(guard => !isUnarmed(guard))

/** Never throws for what the directory holds: an armed guard must be told even when its record is damaged. */
export function guardInfo(guard: GuardDirectory, clock: Clock): GuardInfo {
    const state = guard.state()
    const { record, problem } = readRecord(guard)
    const addresses = record?.addresses
    const before = addresses?.before ?? []
    // Only the network moves a host; what the other areas leave open is as it was.
    const after = addresses?.after ?? (record === undefined || record.area === 'network' ? 'unknown' : before)
    const old = before.length > 0 ? before : addresses?.server === undefined ? 'unknown' : [addresses.server]
    const executed = guard.executed()
    const problems = [...(problem === undefined ? [] : [problem]), ...(executed?.problems ?? [])]
    const info: GuardInfo = {
        id: guard.id,
        change: record?.change ?? changeOf(guard.id),
        area: record?.area ?? 'unknown',
        state,
        applied: guard.applied() !== undefined,
        addresses: { before, after },
        reconnect: state === 'DISARMED' ? (after === 'unknown' || after.length > 0 ? after : 'unknown') : old,
        log: guard.file('log'),
        directory: guard.path,
        ...timeLeft(guard, clock),
    }
    if (executed !== undefined)
        Object.assign(info, {
            why: executed.why,
            executed: executed.time,
            loaded: executed.problems.length === 0,
        })
    const confirmed = state === 'DISARMED' ? guard.confirmed() : undefined
    if (confirmed !== undefined) Object.assign(info, { confirmed })
    if (problems.length > 0) info.problems = problems
    return info
}

function readRecord(guard: GuardDirectory): { record?: GuardRecord; problem?: string } {
    try {
        return { record: guard.record() }
    } catch (error) {
        return { problem: asFault(error).message }
    }
}

/** By the clock of the boot alone; the time of day is only an estimate for people. */
function timeLeft(guard: GuardDirectory, clock: Clock): { secondsLeft?: number; deadline?: string } {
    const armed = guard.armed()
    if (armed === undefined) return {}
    // Armed in another boot: its time is over.
    if (armed.boot !== clock.bootId()) return { secondsLeft: 0 }
    const leftMs = Math.max(0, armed.deadlineMs - clock.bootMs())
    return {
        secondsLeft: Math.ceil(leftMs / 1000),
        deadline: new Date(clock.nowMs() + leftMs).toISOString(),
    }
}

/** As well as its name tells. */
function changeOf(id: string): string {
    const own = id.replace(/-undo$/, '')
    const area = areas.find(one => own.endsWith(`-${one.id}`))
    return area === undefined ? own : own.slice(0, -area.id.length - 1)
}

/** The address to open a new connection to, once the new state is there. */
export function newAddress({ addresses }: Pick<GuardInfo, 'addresses'>): string | undefined {
    return addresses.after === 'unknown' ? undefined : addresses.after[0]
}
