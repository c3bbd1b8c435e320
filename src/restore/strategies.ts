/** Which tasks bring a category back, by strategy, and the order in which the tasks of a restore stand. */
import { type AreaId, areaById, areas } from '../catalog/areas.ts'
import type { Strategy } from '../catalog/category.ts'
import { categoryById } from '../catalog/index.ts'
import type { Json, PlannedTask } from '../engine/change.ts'
import { databaseExportTask, databasePath, databaseTasks, type DatabaseWish } from './cluster.ts'
import type { Needs } from './space.ts'
import type { SurveyRow } from './survey.ts'
import type { FileAction } from './types.ts'

export type StrategyTask = Pick<PlannedTask, 'kind' | 'title' | 'params' | 'optional' | 'group'>

/** What a strategy makes of one row of the survey. */
export interface StrategyTasks {
    tasks: StrategyTask[]
    /** Before any service stops, and behind their start. */
    before?: StrategyTask[]
    after?: StrategyTask[]
    /** Archive paths that these tasks take from the stage. */
    staged: string[]
    /** Paths that these tasks change: the snapshot holds them. */
    changes: FileAction[]
    /** These tasks belong to an area: when the plan guards it they stand behind its guard, and wait for its confirmation. */
    belongs?: AreaId
    /** What becomes part of a guarded area instead: its own tasks stand behind everything else. */
    guarded?: AreaId
}

/** What a strategy knows of the restore besides its row; `backup` is what people call it. */
export interface StrategyFacts {
    backup: string
    database?: DatabaseWish
}

export type PlanStrategy = (row: SurveyRow, facts: StrategyFacts) => StrategyTasks

export class Strategies {
    readonly #plans = new Map<Strategy, PlanStrategy>()

    register(strategy: Strategy, plan: PlanStrategy): this {
        if (this.#plans.has(strategy)) throw new Error(`strategy ${strategy} is registered twice`)
        this.#plans.set(strategy, plan)
        return this
    }

    /** What this version can do; every other strategy becomes an export. */
    get available(): readonly Strategy[] {
        return [...this.#plans.keys(), 'export']
    }

    tasksOf(row: SurveyRow, facts: StrategyFacts): StrategyTasks {
        const plan = row.action === 'skip' ? undefined : this.#plans.get(row.action)
        return plan?.(row, facts) ?? { tasks: [], staged: [], changes: [] }
    }
}

/** Staged entries take the place of the live ones, one by one. */
const replace: PlanStrategy = row => ({
    tasks: [
        {
            kind: 'restore.files',
            title: `restore ${row.title}`,
            params: { category: row.id, actions: row.actions } as unknown as Json,
        },
    ],
    staged: stagedBy(row.actions),
    changes: row.actions,
})

/** Current and saved are made one by the rule of that file; the task keeps what stood there itself. */
const merge: PlanStrategy = (row, { backup }) => {
    const saved = row.saved ?? []
    const which = saved.includes('etc/fstab')
        ? 'fstab'
        : saved.includes('etc/resolv.conf')
          ? 'resolv'
          : 'accounts'
    return {
        tasks: [
            {
                kind: 'restore.merge',
                title: `merge ${row.title}`,
                params: { which, stage: 'stage', backup },
                // A host without name servers is no reason to take everything else back.
                ...(which === 'resolv' ? { optional: true } : {}),
            },
        ],
        staged: saved,
        changes: [],
        // The name servers of one network are seldom reached from another.
        ...(which === 'resolv' ? { belongs: 'network' } : {}),
    }
}

/** The cluster database: checked before anything stops, swapped while services are down, compared when they run again. */
const database: PlanStrategy = (_row, facts) => {
    if (facts.database === undefined)
        throw new Error('a restore of the database needs to know about this host')
    const { staged, check, swap, compare } = databaseTasks(facts.database)
    // The swap keeps the old database itself, with what lies beside it.
    return { before: [check], tasks: [swap], after: [compare], staged, changes: [] }
}

/** What could lock somebody out: the guard has a snapshot of its own, and applies all of an area at once. */
const guarded: PlanStrategy = row => {
    const area = categoryById(row.id)?.area
    if (area === undefined) throw new Error(`the category ${row.id} is in no area`)
    return { tasks: [], staged: stagedBy(row.actions), changes: [], guarded: area }
}

/** One line a strategy. `export` is none of them: all exports of a restore are one task. */
export const strategies = new Strategies()
    .register('replace', replace)
    .register('merge', merge)
    .register('database', database)
    .register('guarded', guarded)

export const availableStrategies: readonly Strategy[] = strategies.available

/** What these actions take from the archive. */
export function stagedBy(actions: readonly FileAction[]): string[] {
    return actions.filter(({ action }) => action !== 'remove').map(({ bytes }) => bytes.replace(/^\/+/, ''))
}

/** What the guard needs to know besides its files. */
export interface GuardWish {
    /** How long (ms) a person has to confirm. */
    timeoutMs: number
    /** Directory of exports that a copy goes to when it is not applied. */
    exports: string
    /** Archive path of the inventory of network cards. */
    inventory?: string
    /** The ends of the SSH connection that the one who asks came in by. */
    client?: string
    server?: string
}

export interface RestoreTasks {
    /** Absolute path of the archive. */
    archive: string
    /** Names what opens it. */
    identity?: string
    rows: readonly SurveyRow[]
    /** Units in the order of stopping, and of starting. */
    units: readonly string[]
    startOrder: readonly string[]
    /** Directory of the exports. */
    exports?: string
    needs: Needs
    /** When the cluster database comes back. */
    database?: DatabaseWish
    /** What people call the backup; default: the path of the archive. */
    backup?: string
    /** Archive paths of tables that name directories which may be made: storages, datastores. */
    directories?: readonly string[]
    /** What `restore.check` looks at when all is done. */
    check?: { [key: string]: Json }
    guard?: GuardWish
}

/** All tasks of a restore in their order: `docs/design.md` section 5. */
export function tasksOf(restore: RestoreTasks, registry: Strategies = strategies): PlannedTask[] {
    const { archive, rows, units, startOrder, exports, needs } = restore
    const identity = restore.identity === undefined ? {} : { identity: restore.identity }
    const { backup = archive, directories = [], check } = restore
    const facts: StrategyFacts = { backup, database: restore.database }
    const applied = rows.filter(({ actions }) => actions.length > 0).map(row => registry.tasksOf(row, facts))
    const guards = guardedAreas(rows, registry, facts)
    const inventory = guards.some(({ area }) => area === 'network') ? restore.guard?.inventory : undefined
    const staged = [
        ...new Set([
            ...applied.flatMap(one => one.staged),
            ...directories,
            ...(inventory === undefined ? [] : [inventory]),
        ]),
    ]
    const changes = applied.flatMap(one => one.changes)
    const tasks: PlannedTask[] = []
    const add = (id: string, kind: string, title: string, params: unknown, more: Partial<PlannedTask> = {}) =>
        void tasks.push({ id, kind, title, params: params as Json, ...more })
    if (staged.length > 0)
        add('stage', 'restore.stage', 'unpack what will be restored', {
            archive,
            ...identity,
            entries: staged,
            needs,
        })
    if (changes.length > 0) add('snapshot', 'restore.snapshot', 'save what will change', { actions: changes })
    // Unit files that changed are read before anything is started again.
    const reload = changes.some(({ bytes }) => /^\/?(etc|usr\/lib|lib)\/systemd\/system(\/|$)/.test(bytes))
    // Also without a unit to stop: the service manager has to read what it is to start at the next boot.
    const before = applied.flatMap(one => one.before ?? [])
    for (const [index, { kind, title, params }] of before.entries())
        add(`before-${index + 1}`, kind, title, params)
    const stops = (changes.length > 0 || before.length > 0) && (units.length > 0 || reload)
    if (stops) add('stop', 'services.stop', 'stop services', { units, startOrder, reload })
    const guarded = new Set(restore.guard === undefined ? [] : guards.map(({ area }) => area))
    const waits = ({ belongs }: StrategyTasks) => belongs !== undefined && guarded.has(belongs)
    const now = applied.filter(one => !waits(one))
    for (const [index, task] of now.flatMap(one => one.tasks).entries()) {
        const { kind, title, params, ...more } = task
        add(`apply-${index + 1}`, kind, title, params, more)
    }
    if (directories.length > 0)
        add('directories', 'restore.directories', 'make the directories of storages where it is safe', {
            stage: 'stage',
        })
    const exported = rows.filter(row => row.action === 'export' && row.exported.length > 0)
    if (exports !== undefined && exported.length > 0) {
        const titles = [...new Set(exported.map(({ title }) => title))]
        add('export', 'restore.export', `export ${titles.join(', ')}`, {
            archive,
            ...identity,
            entries: [...new Set(exported.flatMap(row => row.exported))],
            categories: [...new Set(exported.map(({ id }) => id))],
            directory: exports,
        })
    }
    if (exports !== undefined && exported.some(row => row.exported.includes(databasePath))) {
        const { kind, title, params } = databaseExportTask(exports)
        add('export-database', kind, title, params, { optional: true })
    }
    if (stops) add('start', 'services.start', 'start services', { stop: 'stop', reload })
    for (const [index, task] of applied.flatMap(one => one.after ?? []).entries())
        add(`after-${index + 1}`, task.kind, task.title, task.params)
    if (check !== undefined && staged.length > 0)
        add('check', 'restore.check', 'look whether the host is well', {
            ...check,
            ...(stops ? { start: 'start' } : {}),
        })
    if (restore.guard !== undefined)
        for (const { area, actions } of guards) {
            tasks.push(...guardTasks(area, actions, restore.guard))
            const behind = applied.filter(({ belongs }) => belongs === area).flatMap(one => one.tasks)
            for (const [index, { kind, title, params, ...more }] of behind.entries())
                add(
                    `${area}-behind-${index + 1}`,
                    kind,
                    title,
                    { ...(params as object), behind: `${area}-confirm` },
                    more,
                )
        }
    // What somebody has confirmed does not go back because a copy could not be removed.
    const confirmed = restore.guard !== undefined && guards.length > 0
    if (staged.length > 0)
        add('unstage', 'restore.unstage', 'remove what was unpacked', {}, confirmed ? { optional: true } : {})
    return tasks
}

/** Areas of which something changes, in their order, with all that changes in them. */
export function guardedAreas(
    rows: readonly SurveyRow[],
    registry: Strategies = strategies,
    facts: StrategyFacts = { backup: '' },
): { area: AreaId; actions: FileAction[] }[] {
    return areas.flatMap(({ id: area }) => {
        const actions = rows
            .filter(row => row.actions.length > 0 && row.action === 'guarded')
            .filter(row => registry.tasksOf(row, facts).guarded === area)
            .flatMap(row => row.actions)
        return actions.length === 0 ? [] : [{ area, actions }]
    })
}

/** The four tasks of an area stand or fall together, and take nothing else with them. */
function guardTasks(area: AreaId, actions: readonly FileAction[], wish: GuardWish): PlannedTask[] {
    const { inventory: _, ...rest } = wish
    const params = {
        area,
        actions: actions.map(({ bytes, action, type }) => ({
            path: bytes.replace(/^\/+/, ''),
            action,
            type,
        })),
        ...rest,
    } as unknown as Json
    const { phrase } = areaById(area)
    const steps = [
        ['prepare', `check ${phrase}`],
        ['arm', `arm the guard of ${phrase}`],
        ['apply', `apply ${phrase}`],
        ['confirm', `wait until ${phrase} is confirmed`],
    ] as const
    return steps.map(([verb, text]) => ({
        id: `${area}-${verb}`,
        kind: `guard.${verb}`,
        title: text,
        params,
        optional: true,
        group: `guard-${area}`,
    }))
}
