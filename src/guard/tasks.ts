/** What the guard's tasks share: what a plan gives them, and what they need of the daemon. */
import type { AreaId } from '../catalog/areas.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext } from '../engine/kinds.ts'
import type { PathAction } from '../host/put-in-place.ts'
import type { Systemd } from '../host/systemd.ts'
import type { TimedClock } from '../host/timer.ts'
import type { Finding } from './area.ts'
import { type GuardPlaces, guardOf } from './host.ts'
import type { Addresses, GuardDirectory, Way } from './record.ts'

export interface GuardHost extends GuardPlaces {
    clock: GuardPlaces['clock'] & TimedClock
    systemd: Systemd
    /** Puts a copy of the running program there, durable. */
    keepProgram(to: string): void
    /** Answers an open question of a running change; throws when it is not open. */
    answer(change: string, question: string, value: string, by: string): void
    /** Calls back when something in the directory changes. */
    watch(directory: string, onChange: () => void): { close(): Promise<void> | void }
    /** Starts a program that lives on without us; throws when it cannot. */
    launch(argv: readonly [string, ...string[]]): Promise<void>
}

/** The same for all four tasks of an area. */
export type GuardParams = {
    area: AreaId
    actions: PathAction[]
    timeoutMs: number
    /** Directory of exports that a copy goes to when it is not applied; STATE/exports/<host>-<UTC stamp>. */
    exports: string
    /** Who asked came in over SSH: from where, to which address. */
    client?: string
    server?: string
}

export const paramsOf = (params: Json): GuardParams => params as unknown as GuardParams

/** What `guard.prepare` came to. */
export type Prepared = { apply: false; kept?: string } | { apply: true; ways: Way[]; addresses: Addresses }

/** What `guard.apply` found afterwards. */
export type AppliedResult = { way?: string; problem?: string; health: Finding[] }

/** Task ids of one area; the plan uses them and the tasks find each other's results by them. */
export const guardTaskIds = (area: string) => ({
    prepare: `${area}-prepare`,
    arm: `${area}-arm`,
    apply: `${area}-apply`,
    confirm: `${area}-confirm`,
})

export function preparedOf({ area }: GuardParams, context: TaskContext): Prepared {
    const prepared = context.results.get(guardTaskIds(area).prepare) as Prepared | undefined
    if (prepared === undefined) throw new Error(`${area} was not prepared`)
    return prepared
}

/** What became of an area, for the end event and for history. */
export const tellOutcome = (
    { area, actions }: GuardParams,
    context: TaskContext,
    outcome: 'not applied' | 'rolled back' | 'confirmed',
): void => context.fact(`guarded_${area}`, `${outcome} (${actions.length})`)

export const plain = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json

export const guardFor = (host: GuardHost, { area }: GuardParams, context: TaskContext): GuardDirectory =>
    guardOf(host, context.change, area)

/** Diagnostics stay with the journal of the change when its undo material is dropped. */
export const diagnosticsOf = (context: TaskContext, area: string): string =>
    context.dir.replace(/\/undo\/?$/, `/diagnostics/${area}`)

/** Where the outputs of the checks go. */
export const preflightOutput = (context: TaskContext, area: string): string =>
    `${diagnosticsOf(context, area)}/preflight.txt`

/** The end of a guard that fired; the change then ends `rolled-back`. */
export function rolledBack(guard: GuardDirectory, phrase: string): Fault {
    const executed = guard.executed()
    const reasons: Record<string, string> = {
        deadline: 'nobody confirmed it in time',
        asked: 'as asked',
        boot: 'the host was started anew before anybody confirmed it',
    }
    const why = reasons[executed?.why ?? ''] ?? 'the guard fired'
    const { before } = guard.record().addresses
    const problems = executed?.problems.length ? `; ${executed.problems.join('; ')}` : ''
    const where = before.length === 0 ? '' : `the host is at ${before.join(', ')} again; `
    return new Fault(
        'rolled-back',
        `cannot keep the new state of ${phrase}: it was rolled back, ${why}${problems}`,
        {
            hint: `${where}${guard.file('log')} tells what was done`,
        },
    )
}
