/**
 * What is on a disk after a power loss: a list of everything that was done to a tree, and the rules that say how much of
 * it may be there.
 *
 * Content and metadata of a file are certain behind its fsync, names in a directory and its own metadata behind a sync
 * of that directory, everything behind a sync of the file system. Of the rest the seed takes what it likes: a rename
 * without the data of the renamed file, later names without earlier ones, a file of the old length, of zeros, or torn.
 * One operation on names is atomic, as with every journal; a link's target is there with its name, and its metadata with
 * the next sync of the directory, since nobody can sync a link itself.
 */
import type { Random } from './random.ts'

export interface Attribute {
    name: string
    value: Uint8Array
}

export interface Metadata {
    mode: number
    uid: number
    gid: number
    atimeNs: bigint
    mtimeNs: bigint
    xattrs: readonly Attribute[]
}

/** One inode. What is in it is told by an image. */
export interface Node {
    type: 'file' | 'directory' | 'symlink'
    /** The file system it lies on. */
    disk: string
    /** As it was when it was made. */
    born: Metadata
    /** Target of a symlink, one character a byte. */
    link?: string
    /** Device and inode, as programs saw them first. */
    inode?: string
}

export interface NameEdit {
    directory: Node
    name: string
    to: Node | undefined
}

export type Step =
    | { step: 'names'; edits: NameEdit[] }
    | { step: 'data'; node: Node; at: number; bytes: Uint8Array }
    | { step: 'cut'; node: Node; size: number }
    | { step: 'metadata'; node: Node; metadata: Metadata }
    | { step: 'sync'; node: Node }
    | { step: 'syncDisk'; disk: string }
    /** Nothing on the disk: something that the outside world was told. */
    | { step: 'told'; what: string }

interface State {
    metadata: Metadata
    content?: Uint8Array
    names?: Map<string, Node>
}

/** A tree at one moment. Images share nodes, never states. */
export class Image {
    readonly top: Node
    readonly states: Map<Node, State>

    constructor(top: Node, states: Map<Node, State>) {
        this.top = top
        this.states = states
    }

    /** A node that no state is known of is as it was made. */
    state(node: Node): State {
        let state = this.states.get(node)
        if (state === undefined) {
            state = { metadata: node.born }
            if (node.type === 'file') state.content = new Uint8Array(0)
            if (node.type === 'directory') state.names = new Map()
            this.states.set(node, state)
        }
        return state
    }

    copy(): Image {
        const states = new Map<Node, State>()
        for (const [node, { metadata, content, names }] of this.states)
            states.set(node, { metadata, content, names: names && new Map(names) })
        return new Image(this.top, states)
    }
}

/** How much of what was not synced is there: each operation with this chance, or all names up to some moment. */
export type Mood = { chance: number } | { upTo: number }

export function anyMood(random: Random, steps: number): Mood {
    return random.pick<Mood>([
        { chance: 0 },
        { chance: 0.2 },
        { chance: 0.5 },
        { chance: 0.5 },
        { chance: 0.9 },
        { chance: 1 },
        // As a journal does that keeps the order of metadata and takes its time with data.
        { upTo: random.int(steps + 1) },
        { upTo: random.int(steps + 1) },
    ])
}

/** All that was done, as running programs see it. */
export function seenAfter(start: Image, steps: readonly Step[]): Image {
    const image = start.copy()
    for (const step of steps) apply(image, step)
    return image
}

type Inner = Extract<Step, { step: 'data' | 'cut' | 'metadata' }>
type Names = Extract<Step, { step: 'names' }>

/** What a power loss behind these steps leaves. */
export function leftAfter(start: Image, steps: readonly Step[], random: Random, mood: Mood): Image {
    const image = start.copy()
    let names: { at: number; step: Names }[] = []
    const inner = new Map<Node, { at: number; step: Inner }[]>()
    const flush = (node: Node) => {
        for (const { step } of inner.get(node) ?? []) apply(image, step)
        inner.delete(node)
    }
    const flushNames = (directory: Node) => {
        // What happened to this directory, and before it to those that shared an operation with it.
        const reached = new Set([directory])
        const synced = new Set<Names>()
        for (const { step } of names.toReversed()) {
            if (!step.edits.some(edit => reached.has(edit.directory))) continue
            for (const edit of step.edits) reached.add(edit.directory)
            synced.add(step)
        }
        for (const { step } of names) {
            if (!synced.has(step)) continue
            apply(image, step)
            for (const { to } of step.edits) if (to?.type === 'symlink') flush(to)
        }
        names = names.filter(({ step }) => !synced.has(step))
    }
    for (const [at, step] of steps.entries()) {
        if (step.step === 'names') names.push({ at, step })
        else if (step.step === 'sync') {
            flush(step.node)
            if (step.node.type === 'directory') flushNames(step.node)
        } else if (step.step === 'syncDisk') {
            for (const { step: one } of names)
                if (one.edits[0]!.directory.disk === step.disk) apply(image, one)
            names = names.filter(({ step: one }) => one.edits[0]!.directory.disk !== step.disk)
            for (const node of [...inner.keys()]) if (node.disk === step.disk) flush(node)
        } else if (step.step !== 'told') {
            const known = inner.get(step.node)
            if (known === undefined) inner.set(step.node, [{ at, step }])
            else known.push({ at, step })
        }
    }
    const lives = (at: number) => ('chance' in mood ? random.chance(mood.chance) : at < mood.upTo)
    for (const { at, step } of names) if (lives(at)) apply(image, step)
    for (const [node, list] of inner) {
        // The inode, and the block of its attributes, are each as they were at some moment.
        const inode = list.findLast(({ at, step }) => step.step === 'metadata' && lives(at))?.step
        const block = list.findLast(({ at, step }) => step.step === 'metadata' && lives(at))?.step
        for (const { at, step } of list)
            if (step.step !== 'metadata' && (lives(at) || random.chance(0.2)))
                for (const one of torn(step, random)) apply(image, one)
        const state = image.state(node)
        const metadata = { ...state.metadata }
        if (inode?.step === 'metadata') Object.assign(metadata, inode.metadata, { xattrs: metadata.xattrs })
        if (block?.step === 'metadata') metadata.xattrs = block.metadata.xattrs
        state.metadata = metadata
    }
    return image
}

function apply(image: Image, step: Step): void {
    switch (step.step) {
        case 'names':
            for (const { directory, name, to } of step.edits) {
                const { names } = image.state(directory)
                if (to !== undefined) image.state(to)
                if (to === undefined) names!.delete(name)
                else names!.set(name, to)
            }
            return
        case 'data': {
            const state = image.state(step.node)
            const { content } = state
            const grown = new Uint8Array(Math.max(content!.length, step.at + step.bytes.length))
            grown.set(content!)
            grown.set(step.bytes, step.at)
            state.content = grown
            return
        }
        case 'cut': {
            const state = image.state(step.node)
            if (step.size === state.content!.length) return
            const cut = new Uint8Array(step.size)
            cut.set(state.content!.subarray(0, step.size))
            state.content = cut
            return
        }
        case 'metadata':
            image.state(step.node).metadata = step.metadata
            return
    }
}

/** All of a write, its beginning, its end, zeros in its place, zeros behind its beginning; a cut happens or does not. */
function torn(step: Inner, random: Random): Step[] {
    if (step.step !== 'data' || step.bytes.length === 0) return [step]
    const { node, at, bytes } = step
    const some = random.int(bytes.length)
    const zeros = { ...step, bytes: new Uint8Array(bytes.length) }
    switch (random.int(5)) {
        case 0:
            return [step]
        case 1:
            return [{ step: 'data', node, at, bytes: bytes.subarray(0, some) }]
        case 2:
            return [{ step: 'data', node, at: at + some, bytes: bytes.subarray(some) }]
        case 3:
            return [zeros]
        default:
            return [zeros, { step: 'data', node, at, bytes: bytes.subarray(0, some) }]
    }
}
