/** Walks the host and sorts what it finds into categories; reads no content yet. */
import picomatch from 'picomatch'
import type { Category } from '../catalog/category.ts'
import type { Matcher, PathNode, PathTrie } from '../catalog/match.ts'
import { limits } from '../core/limits.ts'
import type { MissingPath } from '../format/manifest.ts'
import type { ByteString, TarType } from '../format/tar-write.ts'
import * as libc from '../host/libc.ts'
import { type Passed, showPath, toByteString, type Tree, type Visitor } from '../host/tree.ts'

/** One entry that will be in the archive. */
export interface CollectedEntry {
    path: ByteString
    type: TarType
    stat: libc.Stat
    category: Category
    /** Symlink target; for a hard link, set when it is packed. */
    link?: ByteString
    /** Content that proxsave made itself. */
    content?: Uint8Array
    /** Absolute path of a private copy that is read instead of the original. */
    copy?: string
    /** A directory that was written before: once more for the sake of its times. */
    again?: true
}

/** What a category does not hold although somebody may look for it, bounded. */
export class MissingPaths {
    readonly listed: MissingPath[] = []
    more = 0

    add(path: ByteString, state: MissingPath['state'], why?: string): void {
        if (this.listed.length >= limits.reportedPaths) this.more++
        else this.listed.push({ path: `/${showPath(path)}`, state, why })
    }
}

export interface Collected {
    /** By category id, each sorted by the bytes of its paths. */
    entries: Map<string, CollectedEntry[]>
    missing: Map<string, MissingPaths>
    /** How many entries could not be read. */
    failed: number
}

export interface CollectOptions {
    matcher: Matcher
    /** Absolute globs of the configuration. */
    exclude: readonly string[]
    /** Absolute paths that are never walked: the state directory, the targets. */
    never: readonly string[]
    warn(text: string): void
}

interface State {
    /** Category trie of the directory whose children are visited. */
    node: PathNode<Category> | undefined
    never: PathNode<true> | undefined
}

export function collect(tree: Tree, options: CollectOptions): Collected {
    const collected: Collected = { entries: new Map(), missing: new Map(), failed: 0 }
    const walk = new CategoryWalk(collected, options)
    for (const root of options.matcher.roots) {
        const start = toByteString(root).slice(1)
        const parent = start.slice(0, Math.max(0, start.lastIndexOf('/')))
        tree.walk(start, walk.stateAt(parent), walk)
    }
    for (const category of options.matcher.categories) {
        reportAbsent(tree, category, collected)
        collected.entries.get(category.id)?.sort((a, b) => (a.path < b.path ? -1 : 1))
    }
    return collected
}

class CategoryWalk implements Visitor<State> {
    readonly #collected: Collected
    readonly #categories: PathTrie<Category>
    readonly #neverTrie: PathTrie<true>
    readonly #never: ReadonlySet<ByteString>
    readonly #all: readonly Category[]
    readonly #excluded: ((path: string) => boolean) | undefined
    readonly #warn: (text: string) => void
    /** Of the entry that `ignore` was just asked about; `visit` is about the same one. */
    #next: State = { node: undefined, never: undefined }

    constructor(collected: Collected, options: CollectOptions) {
        this.#collected = collected
        this.#categories = options.matcher.trie
        this.#all = options.matcher.categories
        this.#neverTrie = options.matcher.never
        this.#never = new Set(options.never.map(path => toByteString(path).replace(/^\/+|\/+$/g, '')))
        this.#excluded =
            options.exclude.length === 0 ? undefined : picomatch([...options.exclude], { dot: true })
        this.#warn = options.warn
    }

    stateAt(directory: ByteString): State {
        let state: State = { node: this.#categories.root, never: this.#neverTrie.root }
        if (directory === '') return state
        for (const name of directory.split('/')) state = this.#below(state, name)
        return state
    }

    #below(state: State, name: ByteString): State {
        return {
            node: state.node === undefined ? undefined : this.#categories.descend(state.node, name),
            never: state.never === undefined ? undefined : this.#neverTrie.descend(state.never, name),
        }
    }

    ignore(path: ByteString, name: ByteString, state: State): boolean {
        this.#next = this.#below(state, name)
        if (this.#next.node === undefined || this.#next.never?.owner === true) return true
        if (this.#never.has(path)) return true
        if (this.#excluded?.(`/${showPath(path)}`) !== true) return false
        const owner = this.#next.node.owner
        if (owner !== undefined) this.#missing(owner).add(path, 'excluded')
        return true
    }

    enters(): boolean {
        return this.#next.node?.named === true
    }

    visit(path: ByteString, _name: ByteString, stat: libc.Stat, _state: State, link?: ByteString): State {
        const { node } = this.#next
        if (node?.owner !== undefined)
            this.#add({ path, type: typeOf(stat), stat, category: node.owner, link })
        return this.#next
    }

    #add(entry: CollectedEntry): void {
        const list = this.#collected.entries.get(entry.category.id)
        if (list === undefined) this.#collected.entries.set(entry.category.id, [entry])
        else list.push(entry)
    }

    passed(path: ByteString, reason: Passed, state: State): void {
        const owner = this.#next.node?.owner ?? state.node?.owner
        // What only leads to things is missed by all the categories that would have looked for theirs below it.
        const concerned =
            owner !== undefined ? [owner] : this.#all.filter(category => liesBelow(category, path))
        for (const category of concerned) this.#missing(category).add(path, reason.state, reason.why)
        if (reason.state === 'skipped') return
        this.#collected.failed++
        this.#warn(`cannot read /${showPath(path)}: ${reason.why}`)
    }

    #missing(category: Category): MissingPaths {
        return missingOf(this.#collected, category.id)
    }
}

const liesBelow = (category: Category, path: ByteString): boolean =>
    category.paths.some(pattern => pattern.startsWith(`/${showPath(path)}/`))

export function missingOf(collected: Collected, category: string): MissingPaths {
    let missing = collected.missing.get(category)
    if (missing === undefined) {
        missing = new MissingPaths()
        collected.missing.set(category, missing)
    }
    return missing
}

function reportAbsent(tree: Tree, category: Category, collected: Collected): void {
    for (const path of category.expected ?? []) {
        const bytes = toByteString(path).replace(/^\/+|\/+$/g, '')
        if (tree.stat(bytes) === undefined) missingOf(collected, category.id).add(bytes, 'absent')
    }
}

function typeOf(stat: libc.Stat): TarType {
    const type = stat.mode & libc.fileType.mask
    if (type === libc.fileType.directory) return 'directory'
    return type === libc.fileType.symlink ? 'symlink' : 'file'
}
