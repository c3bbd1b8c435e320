/**
 * The configuration: TOML files in merge order become one typed value, or a list of everything that is wrong with
 * them, each with its file and line.
 */
import { type Static, type TObject, type TSchema, Type } from '@sinclair/typebox'
import { Value, ValueErrorType } from '@sinclair/typebox/value'
import { closest, distance } from 'fastest-levenshtein'
import { type AST, ParseError, parseTOML } from 'toml-eslint-parser'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type Keep, parseKeep } from '../core/retention.ts'
import { parseDuration } from '../core/units.ts'

/** One file of the configuration; `file` is the path that messages name. */
export interface ConfigFile {
    file: string
    text: string
}

export interface Config {
    backup: {
        categories: 'all' | string[]
        /** Patterns of paths that are left out, and absolute paths that are saved besides the categories. */
        exclude: string[]
        include: string[]
        /** Undefined: not written; a backup without recipients then refuses. */
        encryption: 'age' | 'none' | undefined
        /** Whether frames of the last run may be reused. */
        cache: boolean
        /** Where archives are built for targets that have no room of their own for it; undefined: the state directory. */
        spool: string | undefined
    }
    /** In the order in which they were first written; never empty. */
    targets: TargetConfig[]
    /** True when `targets` is the built-in one because the configuration has none. */
    targetsBuiltIn: boolean
    /** Places that archives are only read from, in the order in which they were first written. */
    sources: SourceConfig[]
    jobs: JobConfig[]
    guard: { timeoutMs: number }
    apt: { hook: 'on' | 'off' | 'strict' }
    history: HistoryRule
}

/** How long finished changes are kept. What failed, or waits to be confirmed, is kept whatever this says. */
export interface HistoryRule {
    /** `history` remembers this many, and whatever can still be undone. */
    keep: number
    /** What an undo needs is kept this long (ms), and longer for the newest few. */
    undoMs: number
}

export interface LocalTargetConfig {
    type: 'local'
    name: string
    path: string
    keep: Keep
    /** The newest this many backups stay whatever `keep` says. */
    minKeep: number
    /** A prune that would remove more at once asks first; undefined: no bound. */
    maxPrune: number | undefined
}
export type TargetConfig = LocalTargetConfig

export interface RcloneSourceConfig {
    type: 'rclone'
    name: string
    /** As rclone writes it: `name:` or `name:path`. */
    remote: string
    /** One look at the remote may take this long, and a download may stand still this long. */
    timeoutMs: number
    /** The configuration of rclone; an absolute path. */
    config: string
}
export type SourceConfig = RcloneSourceConfig

export interface JobConfig {
    name: string
    /** A systemd calendar expression; its characters are checked here, its meaning by systemd-analyze. */
    schedule: string
    /** Names of targets; the first is the primary one. */
    targets: string[]
    categories: 'all' | string[] | undefined
    note: string | undefined
}

const dayMs = 24 * 3_600_000

/** The retention of the built-in target, and the one that `setup` writes. */
export const defaultKeep = 'keep-last=3,keep-daily=7,keep-weekly=4,keep-monthly=6'
export const defaultTargetPath = '/var/backups/proxsave'
export const defaultHistory: HistoryRule = { keep: limits.keptChanges, undoMs: 30 * dayMs }
/** What a source has that names only its remote. */
export const rcloneDefaults = { timeoutMs: 30_000, config: '/root/.config/rclone/rclone.conf' } as const

/** What holds when nothing is configured. */
export function defaultConfig(): Config {
    return {
        backup: {
            categories: 'all',
            exclude: [],
            include: [],
            encryption: undefined,
            cache: true,
            spool: undefined,
        },
        targets: [
            {
                type: 'local',
                name: 'local',
                path: defaultTargetPath,
                keep: parseKeep(defaultKeep),
                minKeep: 2,
                maxPrune: undefined,
            },
        ],
        targetsBuiltIn: true,
        sources: [],
        jobs: [],
        guard: { timeoutMs: 180_000 },
        apt: { hook: 'on' },
        history: { ...defaultHistory },
    }
}

// The schemas. `description` ends the sentence "must be …" of an error message, hence every part has one.

const text = (most: number) => `^[^\\u0000-\\u001f\\u007f]{1,${most}}$`
// Begins with a letter: neither an option, nor a remote made up on the spot with secrets in it.
const remotePattern = '^[A-Za-z0-9_][A-Za-z0-9_.+@ -]{0,127}:[^\\u0000-\\u001f\\u007f]{0,1024}$'
/** Whether a source may name it. */
export const isRemote = (text: string): boolean => new RegExp(remotePattern).test(text)

const AbsolutePath = Type.String({
    pattern: '^/(?!.*(?:^|/)\\.\\.?(?:/|$))[^\\u0000-\\u001f\\u007f]{0,4095}$',
    description: 'an absolute path without "." or ".."',
})
const Pattern = Type.String({
    pattern: '^/[^\\u0000-\\u001f\\u007f]{0,4095}$',
    description: 'a pattern that begins with /, such as "/home/*/.cache"',
})
const Categories = Type.Union(
    [
        Type.Literal('all'),
        Type.Array(Type.String({ pattern: '^[a-z0-9_]{1,64}$', description: 'the id of a category' }), {
            minItems: 1,
            maxItems: 256,
        }),
    ],
    { description: '"all" or a list of category ids' },
)
const list = (items: TSchema & { static: string }, most: number, description: string) =>
    Type.Array(items, { maxItems: most, description })
const closed = { additionalProperties: false } as const

const Backup = Type.Object(
    {
        categories: Type.Optional(Categories),
        exclude: Type.Optional(list(Pattern, 1000, 'a list of patterns')),
        include: Type.Optional(list(AbsolutePath, 1000, 'a list of absolute paths')),
        encryption: Type.Optional(
            Type.Union([Type.Literal('age'), Type.Literal('none')], { description: '"age" or "none"' }),
        ),
        cache: Type.Optional(Type.Boolean({ description: 'true or false' })),
        spool: Type.Optional(AbsolutePath),
    },
    closed,
)

const Local = Type.Object(
    {
        type: Type.Literal('local', { description: '"local"' }),
        path: AbsolutePath,
        keep: Type.Optional(Type.String({ description: `a retention such as "${defaultKeep}"` })),
        'min-keep': Type.Optional(
            Type.Integer({ minimum: 1, maximum: 10_000, description: 'a whole number from 1 to 10000' }),
        ),
        'max-prune': Type.Optional(
            Type.Integer({ minimum: 1, maximum: 10_000, description: 'a whole number from 1 to 10000' }),
        ),
    },
    closed,
)

const Rclone = Type.Object(
    {
        type: Type.Literal('rclone', { description: '"rclone"' }),
        remote: Type.String({
            pattern: remotePattern,
            description: 'a remote of rclone with its path, such as "nas:backups/pve1"',
        }),
        timeout: Type.Optional(Type.String({ description: 'a duration such as "30s", from 5s to 10min' })),
        config: Type.Optional(AbsolutePath),
    },
    closed,
)

/** One entry a type of target or source; its name is what `type = "…"` says. */
const typedSchemas: Record<string, Record<string, TObject>> = {
    target: { local: Local },
    source: { rclone: Rclone },
}

const Job = Type.Object(
    {
        // Only what calendar expressions need: a newline or a % must not get into a unit file.
        schedule: Type.String({
            pattern: '^[A-Za-z0-9*][A-Za-z0-9 ,.*:/~+_-]{0,199}$',
            description: 'a systemd calendar expression such as "02:30" or "Mon..Fri 01:00"',
        }),
        targets: Type.Optional(
            Type.Array(Type.String(), {
                minItems: 1,
                maxItems: 16,
                uniqueItems: true,
                description: 'a list of names of targets, each once',
            }),
        ),
        categories: Type.Optional(Categories),
        note: Type.Optional(Type.String({ pattern: text(1000), description: 'one line of text' })),
    },
    closed,
)

const Guard = Type.Object(
    { timeout: Type.Optional(Type.String({ description: 'a duration such as "180s", from 10s to 1h' })) },
    closed,
)

const Apt = Type.Object(
    {
        hook: Type.Optional(
            Type.Union([Type.Literal('on'), Type.Literal('off'), Type.Literal('strict')], {
                description: '"on", "off" or "strict"',
            }),
        ),
    },
    closed,
)

const History = Type.Object(
    {
        keep: Type.Optional(
            Type.Integer({
                minimum: 10,
                maximum: limits.keptChanges,
                description: `a whole number from 10 to ${limits.keptChanges}`,
            }),
        ),
        undo: Type.Optional(Type.String({ description: 'a duration such as "30d", from 1d to 365d' })),
    },
    closed,
)

const tables: Record<string, TObject> = { backup: Backup, guard: Guard, apt: Apt, history: History }
const namedTables: Record<string, (entry: Table) => TObject | undefined> = {
    target: entry => schemaOfType('target', entry),
    source: entry => schemaOfType('source', entry),
    job: () => Job,
}

function schemaOfType(section: string, entry: Table): TObject | undefined {
    const schemas = typedSchemas[section]!
    const type = entry.entries.get('type')
    return type?.kind === 'value' && typeof type.value === 'string' && Object.hasOwn(schemas, type.value)
        ? schemas[type.value]
        : undefined
}
const sections = [...Object.keys(tables), ...Object.keys(namedTables)]

/** What the caller knows and this layer does not: the ids that may stand in `categories`. */
export interface ConfigKnowledge {
    categories?: readonly string[]
}

export interface ConfigProblem {
    file: string
    line: number
    message: string
    hint?: string
}

/** Everything wrong with the files, or the configuration; `doctor` prints the whole list. */
export function checkConfigText(
    files: readonly ConfigFile[],
    known: ConfigKnowledge = {},
): { config: Config; problems: [] } | { config: undefined; problems: ConfigProblem[] } {
    const reader = new Reader(known)
    for (const file of files) reader.merge(file)
    const config = reader.problems.length === 0 ? reader.read() : undefined
    if (config === undefined || reader.problems.length > 0)
        return { config: undefined, problems: reader.problems }
    return { config, problems: [] }
}

/** The configuration that the files make, later ones over earlier ones. Throws a usage fault with the first problem. */
export function loadConfigText(files: readonly ConfigFile[], known: ConfigKnowledge = {}): Config {
    const { config, problems } = checkConfigText(files, known)
    if (config !== undefined) return config
    throw configFault(problems)
}

/** The first problem as people meet it, and how many more there are. */
export function configFault(problems: readonly ConfigProblem[]): Fault {
    const [first, ...more] = problems
    if (first === undefined) return new Fault('usage', 'cannot use the configuration')
    const others = more.length === 0 ? '' : ` (and ${more.length} more)`
    const hint =
        first.hint ?? (more.length > 0 ? 'proxsavectl doctor lists every problem' : `mend ${first.file}`)
    return new Fault(
        'usage',
        `cannot use the configuration: ${first.file} line ${first.line}: ${first.message}${others}`,
        { hint, facts: { file: first.file, line: first.line } },
    )
}

/** The known name that a mistyped one most likely means, or undefined when none is near. */
export function nearestKey(name: string, names: readonly string[]): string | undefined {
    if (names.length === 0) return undefined
    const nearest = closest(name.toLowerCase(), names as string[])
    // Two, because swapped letters count as two changes.
    const most = Math.min(nearest.length - 1, Math.max(2, Math.floor(nearest.length / 2.5)))
    return distance(name.toLowerCase(), nearest) <= most ? nearest : undefined
}

type Place = { file: string; line: number }
type Scalar = { kind: 'value'; value: unknown } & Place
type Table = { kind: 'table'; entries: Map<string, Node> } & Place
type Node = Scalar | Table

class Reader {
    readonly problems: ConfigProblem[] = []
    readonly #root: Table = { kind: 'table', entries: new Map(), file: '', line: 1 }

    constructor(readonly known: ConfigKnowledge) {}

    merge({ file, text }: ConfigFile): void {
        let program: AST.TOMLProgram
        try {
            program = parseTOML(text, { tomlVersion: '1.0' })
        } catch (error) {
            this.problems.push(syntaxProblem(file, error))
            return
        }
        mergeInto(this.#root, readTree(file, program))
    }

    read(): Config | undefined {
        for (const [name, node] of this.#root.entries) this.#checkSection(name, node)
        if (this.problems.length > 0) return undefined

        const config = defaultConfig()
        const backup = this.#values<typeof Backup>('backup')
        config.backup.categories = backup.categories ?? 'all'
        config.backup.exclude = backup.exclude ?? []
        config.backup.include = backup.include ?? []
        config.backup.encryption = backup.encryption
        config.backup.cache = backup.cache ?? true
        config.backup.spool = backup.spool
        this.#checkCategories(backup.categories, ['backup', 'categories'])
        config.apt.hook = this.#values<typeof Apt>('apt').hook ?? config.apt.hook
        config.history = this.#history()
        const timeout = this.#values<typeof Guard>('guard').timeout
        if (timeout !== undefined)
            config.guard.timeoutMs = this.#duration(
                ['guard', 'timeout'],
                timeout,
                10_000,
                3_600_000,
                '10s to 1h',
            )

        const targets = this.#named('target')
        if (targets.length > 0) {
            config.targets = targets.map(name => this.#target(name))
            config.targetsBuiltIn = false
        }
        config.sources = this.#named('source').map(name => this.#source(name, config.targets))
        config.jobs = this.#named('job').map(name => this.#job(name, config.targets))
        return config
    }

    #history(): HistoryRule {
        const { keep, undo } = this.#values<typeof History>('history')
        return {
            keep: keep ?? defaultHistory.keep,
            undoMs:
                undo === undefined
                    ? defaultHistory.undoMs
                    : this.#duration(['history', 'undo'], undo, dayMs, 365 * dayMs, '1d to 365d'),
        }
    }

    #target(name: string): TargetConfig {
        const entry = plain(this.#at(['target', name])!) as Static<typeof Local>
        let keep: Keep = {}
        try {
            // As in Proxmox: a storage without a retention keeps everything.
            if (entry.keep !== undefined) keep = parseKeep(entry.keep)
        } catch (error) {
            if (!(error instanceof Fault)) throw error
            this.#report(['target', name, 'keep'], error.message, error.hint)
        }
        return {
            type: 'local',
            name,
            path: entry.path.replace(/(?<=.)\/+$/, ''),
            keep,
            minKeep: entry['min-keep'] ?? 2,
            maxPrune: entry['max-prune'],
        }
    }

    #job(name: string, targets: readonly TargetConfig[]): JobConfig {
        const entry = plain(this.#at(['job', name])!) as Static<typeof Job>
        const names = targets.map(target => target.name)
        for (const target of entry.targets ?? [])
            if (!names.includes(target))
                this.#report(
                    ['job', name, 'targets'],
                    `there is no [target.${target}], only ${names.join(', ')}`,
                    didYouMean(target, names),
                )
        if (entry.targets === undefined && names.length > 1)
            this.#report(
                ['job', name],
                `"targets" is missing in [job.${name}]: which of ${names.join(', ')}, the primary one first`,
            )
        this.#checkCategories(entry.categories, ['job', name, 'categories'])
        return {
            name,
            schedule: entry.schedule,
            targets: entry.targets ?? names.slice(0, 1),
            categories: entry.categories,
            note: entry.note,
        }
    }

    #source(name: string, targets: readonly TargetConfig[]): SourceConfig {
        const entry = plain(this.#at(['source', name])!) as Static<typeof Rclone>
        // `list --target NAME` and the question where a backup is must mean one place.
        if (targets.some(target => target.name === name))
            this.#report(['source', name], `[source.${name}] has the name of a target: give it another one`)
        return {
            type: 'rclone',
            name,
            remote: entry.remote,
            timeoutMs:
                entry.timeout === undefined
                    ? rcloneDefaults.timeoutMs
                    : this.#duration(
                          ['source', name, 'timeout'],
                          entry.timeout,
                          5_000,
                          600_000,
                          '5s to 10min',
                      ),
            config: entry.config ?? rcloneDefaults.config,
        }
    }

    #duration(path: string[], text: string, leastMs: number, mostMs: number, range: string): number {
        try {
            const ms = parseDuration(text)
            if (ms < leastMs || ms > mostMs) this.#report(path, `"${path.at(-1)}" is ${text}: it is ${range}`)
            return ms
        } catch (error) {
            if (!(error instanceof Fault)) throw error
            this.#report(path, error.message)
            return leastMs
        }
    }

    #checkCategories(categories: 'all' | string[] | undefined, path: string[]): void {
        const ids = this.known.categories
        if (ids === undefined || !Array.isArray(categories)) return
        for (const id of categories)
            if (!ids.includes(id))
                this.#report(
                    path,
                    `there is no category "${id}"`,
                    didYouMean(id, ids) ?? 'docs/categories.md lists them all',
                )
    }

    #checkSection(name: string, node: Node): void {
        const schema = Object.hasOwn(tables, name) ? tables[name] : undefined
        if (schema) {
            this.#checkTable([name], node, schema)
            return
        }
        if (!Object.hasOwn(namedTables, name)) {
            const what =
                node.kind === 'table'
                    ? `unknown section [${name}]`
                    : `unknown key "${name}" outside any section`
            this.problems.push({
                file: node.file,
                line: node.line,
                message: what,
                ...hinted(didYouMean(name, sections)),
            })
            return
        }
        if (node.kind !== 'table') {
            this.#report([name], `"${name}" must be a section: [${name}.NAME]`)
            return
        }
        for (const [entryName, entry] of node.entries) {
            const path = [name, entryName]
            if (entry.kind !== 'table')
                this.#report(path, `"${entryName}" must be inside a section: [${name}.NAME]`)
            else if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(entryName))
                this.#report(
                    path,
                    `"${entryName}" cannot be the name of a ${name}: small letters, digits and "-", at most 32`,
                )
            else {
                const entrySchema = namedTables[name]!(entry)
                if (entrySchema) this.#checkTable(path, entry, entrySchema)
                else this.#reportType(name, path, entry)
            }
        }
    }

    #reportType(section: string, path: string[], entry: Table): void {
        const types = Object.keys(typedSchemas[section]!)
        const type = entry.entries.get('type')
        const expected = types.map(name => `"${name}"`).join(' or ')
        if (type === undefined)
            this.#report(path, `"type" is missing in [${path.join('.')}]: it must be ${expected}`)
        else
            this.#report(
                [...path, 'type'],
                `"type" in [${path.join('.')}] must be ${expected}, not ${show(type)}`,
            )
    }

    #checkTable(path: string[], node: Node, schema: TObject): void {
        if (node.kind !== 'table') {
            this.#report(path, `"${path.at(-1)}" must be a section: [${path.join('.')}]`)
            return
        }
        const section = `[${path.join('.')}]`
        const properties = schema.properties
        const strangers = [...node.entries.keys()].filter(key => !Object.hasOwn(properties, key))
        const meant = new Set<string | undefined>()
        for (const key of strangers) {
            const missing = Object.keys(properties).filter(name => !node.entries.has(name))
            meant.add(nearestKey(key, missing))
            this.#report(
                [...path, key],
                `unknown key "${key}" in ${section}`,
                didYouMean(key, missing) ?? `known are ${Object.keys(properties).join(', ')}`,
            )
        }
        // One message a key: the first error is the outermost one. A mistyped key is not also a missing one.
        const reported = new Set<string | undefined>([...strangers, ...meant])
        for (const error of Value.Errors(schema, plain(node))) {
            const [key, ...inside] = error.path.split('/').slice(1).map(unescapePointer)
            if (key === undefined || reported.has(key)) continue
            reported.add(key)
            if (error.type === ValueErrorType.ObjectRequiredProperty)
                this.#report(path, `"${key}" is missing in ${section}: it ${expectation(properties[key])}`)
            else
                this.#report(
                    [...path, key],
                    `"${key}" in ${section} ${expectation(error.schema, properties[key])}, not ${show(node.entries.get(key), inside)}`,
                )
        }
    }

    #report(path: readonly string[], message: string, hint?: string): void {
        const place = this.#at(path) ?? this.#root
        this.problems.push({ file: place.file, line: place.line, message, ...hinted(hint) })
    }

    /** The node at a path, or the nearest one above it. */
    #at(path: readonly string[]): Node | undefined {
        let node: Node | undefined = this.#root
        for (const key of path) {
            const next: Node | undefined = node?.kind === 'table' ? node.entries.get(key) : undefined
            if (next === undefined) return node
            node = next
        }
        return node
    }

    #values<S extends TObject>(section: string): Static<S> {
        const node = this.#root.entries.get(section)
        return (node === undefined ? {} : plain(node)) as Static<S>
    }

    #named(section: string): string[] {
        const node = this.#root.entries.get(section)
        return node?.kind === 'table' ? [...node.entries.keys()] : []
    }
}

function syntaxProblem(file: string, error: unknown): ConfigProblem {
    if (error instanceof ParseError)
        return {
            file,
            line: error.lineNumber,
            message: `${error.message.replace(/\.$/, '')} (column ${error.column + 1})`,
            hint: 'strings stand in quotes: key = "value"',
        }
    // A thousand nested brackets exhaust the parser's stack; anything else is a bug and passes on.
    if (error instanceof RangeError) return { file, line: 1, message: 'it is nested too deeply' }
    throw error
}

/** The tables and values of one file, each with the line of its key. */
function readTree(file: string, program: AST.TOMLProgram): Table {
    const root: Table = { kind: 'table', entries: new Map(), file, line: 1 }
    for (const item of program.body[0].body) {
        if (item.type === 'TOMLKeyValue') {
            readPair(file, root, item)
            continue
        }
        if (item.kind === 'array') {
            // No section of ours is an array of tables; as a value it is reported where it stands.
            place(file, root, item.key, { kind: 'value', value: [], file, line: item.loc.start.line })
            continue
        }
        const table = descend(file, root, item.key.keys.map(keyName), item.loc.start.line)
        if (table === undefined) continue
        table.line = item.loc.start.line
        for (const pair of item.body) readPair(file, table, pair)
    }
    return root
}

function readPair(file: string, into: Table, pair: AST.TOMLKeyValue): void {
    place(file, into, pair.key, readValue(file, pair.value, pair.loc.start.line))
}

function readValue(file: string, value: AST.TOMLContentNode, line: number): Node {
    if (value.type !== 'TOMLInlineTable') return { kind: 'value', value: scalar(value), file, line }
    const table: Table = { kind: 'table', entries: new Map(), file, line }
    for (const pair of value.body) readPair(file, table, pair)
    return table
}

function scalar(node: AST.TOMLContentNode): unknown {
    if (node.type === 'TOMLArray') return node.elements.map(scalar)
    if (node.type === 'TOMLInlineTable')
        return Object.fromEntries(
            node.body.map(pair => [pair.key.keys.map(keyName).join('.'), scalar(pair.value)]),
        )
    return node.value
}

function place(file: string, into: Table, key: AST.TOMLKey, node: Node): void {
    const names = key.keys.map(keyName)
    const table = descend(file, into, names.slice(0, -1), key.loc.start.line)
    table?.entries.set(names.at(-1)!, node)
}

/** The table at a dotted path, made where it is missing. The parser has refused a table on top of a value. */
function descend(file: string, from: Table, names: readonly string[], line: number): Table | undefined {
    let table = from
    for (const name of names) {
        let next = table.entries.get(name)
        if (next === undefined) {
            next = { kind: 'table', entries: new Map(), file, line }
            table.entries.set(name, next)
        }
        if (next.kind !== 'table') return undefined
        table = next
    }
    return table
}

function keyName(key: AST.TOMLBare | AST.TOMLQuoted): string {
    return key.type === 'TOMLBare' ? key.name : key.value
}

/** Later keys win one by one; a list is a value and is replaced as a whole. */
function mergeInto(base: Table, over: Table): void {
    for (const [key, node] of over.entries) {
        const old = base.entries.get(key)
        if (old?.kind === 'table' && node.kind === 'table') {
            old.file = node.file
            old.line = node.line
            mergeInto(old, node)
        } else base.entries.set(key, node)
    }
}

/** A node as a plain value; its objects have no prototype, so a key named like a method of Object is only a key. */
function plain(node: Node): unknown {
    if (node.kind === 'value') return node.value
    const object: Record<string, unknown> = Object.create(null)
    for (const [key, entry] of node.entries) object[key] = plain(entry)
    return object
}

function expectation(...schemas: (TSchema | undefined)[]): string {
    const description = schemas.find(schema => schema?.description)?.description
    return `must be ${description ?? 'something else'}`
}

/** A value as the message quotes it, short. `keys` lead to the part of a list that is wrong. */
function show(node: Node | undefined, keys: readonly string[] = []): string {
    if (node === undefined) return 'missing'
    if (node.kind === 'table') return 'a table'
    let value = node.value
    for (const key of keys) value = Array.isArray(value) ? value[Number(key)] : value
    if (value instanceof Date) return 'a date'
    const shown = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value))
    return shown.length > 60 ? `${shown.slice(0, 57)}…` : shown
}

function unescapePointer(part: string): string {
    return part.replaceAll('~1', '/').replaceAll('~0', '~')
}

function didYouMean(name: string, names: readonly string[]): string | undefined {
    const nearest = nearestKey(name, names)
    return nearest === undefined ? undefined : `did you mean "${nearest}"?`
}

function hinted(hint: string | undefined): { hint?: string } {
    return hint === undefined ? {} : { hint }
}
