/**
 * Which category a path belongs to, fast enough to ask for every entry of a host while it is walked.
 *
 * Paths are opaque text split at `/`: UTF-8, or one character for a byte. Patterns end with `/` for a whole tree and may
 * hold `*`, which matches within one name. Of several patterns the most specific one decides: the one with the longest
 * text before its first `*`, then the deeper one, then the one with more text, then one entry before a tree, then
 * catalogue order.
 */
import { Fault } from '../core/errors.ts'
import { included } from './categories/included.ts'
import type { Category, Strategy } from './category.ts'
import { neverSaved } from './never.ts'

export interface Rule<Owner> {
    pattern: string
    owner: Owner
}

/** Where a walk stands. Nodes are shared and made once; hold one for each directory that is being walked. */
export interface PathNode<Owner> {
    /** Whose entry this is; undefined for a directory that only leads to one. */
    readonly owner: Owner | undefined
    /** A pattern names this very directory as a tree, so it is meant even when it is a mount point. */
    readonly named: boolean
    /** No pattern says anything new below: everything there has the same owner. */
    readonly settled: boolean
}

/** A pattern's place among all others; a larger rank is more specific. */
interface Ranked<Owner> {
    rank: number
    owner: Owner
}

/** One step of the patterns, joined where they begin alike. */
interface Step<Owner> {
    literal: Map<string, Step<Owner>>
    wild: { test: NameTest; step: Step<Owner> }[]
    entry: Ranked<Owner> | undefined
    tree: Ranked<Owner> | undefined
}

/** All steps that one path has reached, and the best tree it lies in. */
class Node<Owner> implements PathNode<Owner> {
    readonly owner: Owner | undefined
    readonly named: boolean
    readonly settled: boolean
    /** Names that some pattern spells out; any other name goes by the `wild` tests it passes. */
    readonly literal = new Map<string, Node<Owner> | undefined>()
    readonly other = new Map<string, Node<Owner> | undefined>()
    readonly wild: { test: NameTest; step: Step<Owner> }[]

    constructor(
        readonly steps: Step<Owner>[],
        readonly inherited: Ranked<Owner> | undefined,
    ) {
        let best = inherited
        let trees = inherited
        for (const step of steps) {
            best = higher(best, higher(step.entry, step.tree))
            trees = higher(trees, step.tree)
        }
        this.owner = best?.owner
        this.inherited = trees
        this.named = steps.some(step => step.tree !== undefined)
        this.wild = steps.flatMap(step => step.wild)
        this.settled =
            this.wild.length === 0 && best === trees && steps.every(step => step.literal.size === 0)
        for (const step of steps) for (const name of step.literal.keys()) this.literal.set(name, undefined)
        for (const name of this.literal.keys()) this.literal.set(name, this.make(name))
    }

    /** What a name leads to. Names that no pattern spells out are told apart only by the tests they pass. */
    child(name: string): Node<Owner> | undefined {
        const known = this.literal.get(name)
        if (known !== undefined) return known
        let key = ''
        for (let i = 0; i < this.wild.length; i++) if (this.wild[i]!.test(name)) key += `${i},`
        if (!this.other.has(key)) this.other.set(key, this.make(name))
        return this.other.get(key)
    }

    private make(name: string): Node<Owner> | undefined {
        const steps: Step<Owner>[] = []
        for (const step of this.steps) {
            const literal = step.literal.get(name)
            if (literal !== undefined) steps.push(literal)
            for (const { test, step: next } of step.wild) if (test(name)) steps.push(next)
        }
        if (steps.length === 0) {
            if (this.inherited === undefined) return undefined
            if (this.steps.length === 0) return this
        }
        return new Node(steps, this.inherited)
    }
}

/** Patterns compiled for walking: `descend` costs one look-up a name, however many patterns there are. */
export class PathTrie<Owner> {
    /** The node of `/`. */
    readonly root: PathNode<Owner>

    /** Of rules with the same pattern, the earlier one wins. */
    constructor(rules: readonly Rule<Owner>[]) {
        const first: Step<Owner> = newStep()
        const ranked = rules
            .map((rule, order) => ({ rule, order, parsed: parsePattern(rule.pattern) }))
            .sort((a, b) => compareSpecificity(a.parsed, b.parsed) || b.order - a.order)
        for (const [rank, { rule, parsed }] of ranked.entries()) {
            let step = first
            for (const name of parsed.names) step = stepInto(step, name)
            const place = parsed.tree ? 'tree' : 'entry'
            step[place] = higher(step[place], { rank, owner: rule.owner })
        }
        this.root = new Node([first], undefined)
    }

    /** The node of a name below `node`; undefined when no pattern matches it or anything below it. */
    descend(node: PathNode<Owner>, name: string): PathNode<Owner> | undefined {
        return (node as Node<Owner>).child(name)
    }

    /** The node of a whole path, with or without its leading slash. */
    find(path: string): PathNode<Owner> | undefined {
        let node: Node<Owner> | undefined = this.root as Node<Owner>
        let start = path.startsWith('/') ? 1 : 0
        while (start < path.length && node !== undefined) {
            const slash = path.indexOf('/', start)
            const end = slash < 0 ? path.length : slash
            node = node.child(path.slice(start, end))
            // What follows has the same owner; only a named node must give way to the ones below it.
            if (node?.settled && !node.named) return node
            start = end + 1
        }
        return node
    }
}

export interface Matcher {
    readonly categories: readonly Category[]
    /** For walking. Start at `trie.find(root)` for each of `roots`. */
    readonly trie: PathTrie<Category>
    /** For walking beside `trie`: a node with an owner means that neither the entry nor anything below is saved. */
    readonly never: PathTrie<true>
    /** Absolute paths from which a walk finds everything; none lies below another, sorted. */
    readonly roots: readonly string[]
    ownerOf(path: string): Category | undefined
    /** Whether an entry of the host is not saved, whatever else matches. */
    isNever(path: string): boolean
}

/**
 * Builds the matcher for the categories that a run collects. `include` are absolute paths of the configuration, files or
 * trees; they belong to the category `included` unless another one claims them more specifically. Throws a `Fault` when
 * one of them is no pattern.
 */
export function buildMatcher(chosen: readonly Category[], include: readonly string[] = []): Matcher {
    const categories = include.length === 0 || chosen.includes(included) ? chosen : [...chosen, included]
    const rules: Rule<Category>[] = []
    for (const category of categories)
        for (const pattern of category.paths) rules.push({ pattern, owner: category })
    for (const path of include) rules.push({ pattern: path.replace(/\/*$/, '/'), owner: included })
    const trie = new PathTrie(rules)
    const neverPatterns = [...neverSaved, ...categories.flatMap(category => category.never ?? [])]
    const never = new PathTrie(neverPatterns.map(pattern => ({ pattern, owner: true as const })))
    return {
        categories,
        trie,
        never,
        roots: shortestRoots(rules.filter(rule => !rule.owner.virtual).map(rule => rule.pattern)),
        ownerOf: path => trie.find(path)?.owner,
        isNever: path => isBelowNever(never, path),
    }
}

/** The paths from which a walk finds everything that categories own; their never-paths are left to the walk. */
export function rootsToWalk(categories: readonly Category[]): string[] {
    return shortestRoots(categories.filter(category => !category.virtual).flatMap(category => category.paths))
}

/**
 * Which entries choosing a category chooses. `owner` is the id under which an archive holds the entry, or its owner by a
 * matcher where there is no archive. A category chooses what any of its patterns matches even when another one owns it,
 * except a residual one, which chooses what it owns.
 */
export function memberOf(category: Category): (path: string, owner: string | undefined) => boolean {
    const patterns = category.residual ? [] : category.paths
    const trie = new PathTrie(patterns.map(pattern => ({ pattern, owner: true as const })))
    return (path, owner) => owner === category.id || trie.find(path)?.owner === true
}

/** How paths of a category come back: by its strategy, unless one of its exceptions matches. */
export function strategyOf(category: Category): (path: string) => Strategy {
    const rules = (category.except ?? []).map(({ path, strategy }) => ({ pattern: path, owner: strategy }))
    const trie = new PathTrie<Strategy>(rules)
    return path => trie.find(path)?.owner ?? category.strategy
}

function isBelowNever(never: PathTrie<true>, path: string): boolean {
    let node: PathNode<true> | undefined = never.root
    let start = path.startsWith('/') ? 1 : 0
    while (start < path.length && node !== undefined) {
        const slash = path.indexOf('/', start)
        const end = slash < 0 ? path.length : slash
        node = never.descend(node, path.slice(start, end))
        if (node?.owner) return true
        start = end + 1
    }
    return false
}

function shortestRoots(patterns: readonly string[]): string[] {
    const starts = patterns.map(pattern => {
        const names = parsePattern(pattern).names
        const firstWild = names.findIndex(name => name.includes('*'))
        return `/${(firstWild < 0 ? names : names.slice(0, firstWild)).join('/')}`
    })
    const roots: string[] = []
    const below = (path: string, root: string) => root === '/' || path === root || path.startsWith(`${root}/`)
    // A path sorts behind everything it lies below, though other names may come between.
    for (const start of [...new Set(starts)].sort((a, b) => a.length - b.length))
        if (!roots.some(root => below(start, root))) roots.push(start)
    return roots.sort()
}

type NameTest = (name: string) => boolean

interface ParsedPattern {
    names: string[]
    tree: boolean
    /** Characters before the first `*`. */
    fixed: number
    /** Characters that are not `*`. */
    text: number
}

/** Takes a pattern apart, or throws a `Fault`. */
export function parsePattern(pattern: string): ParsedPattern {
    if (!pattern.startsWith('/')) throw notAPattern(pattern, 'it is not absolute')
    const tree = pattern.endsWith('/')
    const path = tree ? pattern.slice(0, -1) : pattern
    const names = path === '' ? [] : path.slice(1).split('/')
    if (names.some(name => name === '' || name === '.' || name === '..' || name.includes('**')))
        throw notAPattern(pattern, 'it has an empty or relative name, or two stars in a row')
    const star = path.indexOf('*')
    return {
        names,
        tree,
        fixed: star < 0 ? path.length : star,
        text: path.length - (path.split('*').length - 1),
    }
}

const notAPattern = (pattern: string, why: string) =>
    new Fault('usage', `cannot use ${JSON.stringify(pattern)} as a path: ${why}`)

/** Above 0 when `a` is the more specific one. */
function compareSpecificity(a: ParsedPattern, b: ParsedPattern): number {
    return (
        a.fixed - b.fixed ||
        a.names.length - b.names.length ||
        a.text - b.text ||
        Number(b.tree) - Number(a.tree)
    )
}

function higher<Owner>(
    a: Ranked<Owner> | undefined,
    b: Ranked<Owner> | undefined,
): Ranked<Owner> | undefined {
    if (a === undefined || b === undefined) return a ?? b
    return a.rank > b.rank ? a : b
}

function newStep<Owner>(): Step<Owner> {
    return { literal: new Map(), wild: [], entry: undefined, tree: undefined }
}

function stepInto<Owner>(step: Step<Owner>, name: string): Step<Owner> {
    const next = newStep<Owner>()
    if (name.includes('*')) {
        step.wild.push({ test: nameTest(name), step: next })
        return next
    }
    const known = step.literal.get(name)
    if (known !== undefined) return known
    step.literal.set(name, next)
    return next
}

/** `*` as any run of characters, also none. */
function nameTest(pattern: string): NameTest {
    const [head = '', ...rest] = pattern.split('*')
    const tail = rest.pop() ?? ''
    return name => {
        if (name.length < head.length + tail.length || !name.startsWith(head) || !name.endsWith(tail))
            return false
        let at = head.length
        const end = name.length - tail.length
        for (const part of rest) {
            const found = name.indexOf(part, at)
            if (found < 0 || found + part.length > end) return false
            at = found + part.length
        }
        return true
    }
}
