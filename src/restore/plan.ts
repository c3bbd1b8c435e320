/** Makes the plan of a restore out of what was asked for and what the survey found: a plain value, nothing is touched. */
import { createHash } from 'node:crypto'
import { categories, categoryById } from '../catalog/index.ts'
import { Fault } from '../core/errors.ts'
import { compactStamp } from '../core/ids.ts'
import { showSize } from '../core/units.ts'
import type { PlannedTask } from '../engine/change.ts'
import type { Examined } from './open.ts'
import { orderServices } from './services.ts'
import { stateNeeds } from './space.ts'
import type { Survey, SurveyRow } from './survey.ts'
import type { ClusterMode, Mode, RestorePlan } from './types.ts'

export interface PlanParts {
    examined: Examined
    survey: Survey
    mode: Mode
    cluster: ClusterMode | undefined
    exact: boolean
    /** Where exports go: `<state>/exports`. */
    exportsDirectory: string
    host: string
    nowMs: number
    /** What another root leaves out, or other things to know beforehand. */
    warnings: string[]
    /** What an undo could not take back. */
    irreversible?: string[]
    /** Units of the host with their states, by name; none are known with another root. */
    unitStates: ReadonlyMap<string, string> | undefined
    console: string | undefined
    guards: RestorePlan['guards']
    /** Bytes free below the state directory; undefined when that is not known. */
    freeBytes: number | undefined
}

/** The plan without its tasks: those are made by the strategies. */
export type BarePlan = Omit<RestorePlan, 'tasks'>

/** Categories of which something is put in place on the host. */
const applied = ({ action }: SurveyRow) => action !== 'export' && action !== 'skip'

/** Units that the applied categories concern, in the order of stopping and of starting. */
export function unitsOf(rows: readonly SurveyRow[]): { units: string[]; startOrder: string[] } {
    const concerned = rows
        .filter(
            row =>
                applied(row) &&
                row.actions.length > 0 &&
                row.action !== 'objects' &&
                row.action !== 'guarded',
        )
        .flatMap(({ id }) => categoryById(id) ?? [])
    return orderServices(concerned, categories)
}

export function makePlan(parts: PlanParts): BarePlan {
    const { examined, survey, mode, cluster, exact } = parts
    const { summary, signature } = examined
    const { rows } = survey
    const exported = rows.filter(({ action, exported }) => action === 'export' && exported.length > 0)
    const paths = (wanted: string) =>
        rows
            .filter(({ action }) => action !== 'merge')
            .flatMap(({ actions }) =>
                actions.filter(({ action }) => action === wanted).map(({ path }) => path),
            )
    const { units } = unitsOf(rows)
    const states = parts.unitStates
    const services =
        states === undefined
            ? []
            : units.flatMap(unit => (states.has(unit) ? [{ unit, state: states.get(unit)! }] : []))
    const plan: BarePlan = {
        backup: {
            id: summary.id,
            path: summary.path,
            created: summary.created,
            host: summary.host.name,
            maker: summary.maker,
            signature: signature.state,
        },
        mode,
        ...(cluster === undefined ? {} : { cluster }),
        exact,
        categories: rows.map(({ actions: _actions, exported: _exported, ...row }) => row),
        files: {
            create: paths('create'),
            replace: paths('replace'),
            metadata: paths('metadata'),
            remove: paths('remove'),
            merge: rows
                .filter(({ action }) => action === 'merge')
                .flatMap(({ actions }) => actions.map(({ path }) => path)),
            unchanged: survey.unchanged,
        },
        ...(exported.length === 0
            ? {}
            : {
                  exports: {
                      directory: exportsPlace(parts.exportsDirectory, summary.host.name, parts.nowMs),
                      categories: [...new Set(exported.map(({ id }) => id))],
                  },
              }),
        services,
        ...(parts.console === undefined ? {} : { console: parts.console }),
        guards: parts.guards,
        commands: survey.commands,
        warnings: [...parts.warnings, ...survey.warnings],
        needs: stateNeeds(survey.sizes),
        irreversible: parts.irreversible ?? [],
    }
    return plan
}

/** The directory of the exports of one restore. */
export const exportsPlace = (directory: string, host: string, nowMs: number): string =>
    `${directory}/${fileName(host)}-${compactStamp(nowMs)}`

/** Throws before anything is touched when the state directory has no room. */
export function checkRoom(plan: BarePlan, freeBytes: number | undefined, state: string): void {
    if (freeBytes === undefined || freeBytes >= plan.needs.bytes) return
    throw new Fault(
        'failed',
        `cannot restore: ${showSize(freeBytes)} are free at ${state}, ${showSize(plan.needs.bytes)} are needed`,
        { hint: 'make room there, or restore fewer categories: --mode custom --category ID' },
    )
}

/** Whether the plan puts anything anywhere. */
export function isEmpty(plan: BarePlan): boolean {
    const { create, replace, metadata, remove, merge } = plan.files
    return (
        create.length + replace.length + metadata.length + remove.length + merge.length === 0 &&
        plan.exports === undefined
    )
}

/**
 * What a person agreed to, as a digest: two plans with the same one do the same. The time in the name of the export
 * directory, free space and states of units do not count.
 */
export function digestOf(plan: BarePlan & { tasks?: PlannedTask[] }): string {
    const { tasks: _tasks, exports, services, ...rest } = plan
    const value = {
        ...rest,
        exports: exports?.categories,
        services: services.map(({ unit }) => unit),
    }
    return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}

/** One line for `history`. */
export function describePlan(plan: BarePlan): string {
    return `restore of ${plan.backup.id} of ${plan.backup.host} (${plan.mode})`
}

const fileName = (host: string) => host.replaceAll(/[^A-Za-z0-9-]/g, '-').slice(0, 63) || 'host'
