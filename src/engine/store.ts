/**
 * The changes on disk, one directory each below STATE/changes:
 *
 *     journal    what happened, for ever as true as the disk
 *     summary    its last state again as one small file, so that history is quick; written once, after the end is durable
 *     undo/      what the undo needs: files of the tasks, and `remembered.TASK`
 *     dropped/   undo material on its way out
 *
 * A change that is dropped as a whole is called `.gone-ID` until it is removed.
 */
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import { defaultHistory, type HistoryRule } from '../format/config.ts'
import { type Disk, isTemporary } from '../host/disk.ts'
import { bounds } from './bounds.ts'
import type { ChangeSummary, Json } from './change.ts'
import { Journal, JournalReader } from './journal.ts'
import { type JournalRecord, Ledger } from './ledger.ts'

export class Store {
    readonly #disk: Disk
    readonly #root: string
    readonly #isHeld: (id: string) => boolean
    readonly #ended = new Map<string, ChangeSummary>()
    readonly #live = new Map<string, Ledger>()
    readonly #withMaterial = new Set<string>()

    /** `isHeld` keeps a change and its undo material whatever their age, as long as it says true. */
    constructor(disk: Disk, stateDirectory: string, isHeld: (id: string) => boolean = () => false) {
        this.#disk = disk
        this.#root = join(stateDirectory, 'changes')
        this.#isHeld = isHeld
    }

    directory(id: string): string {
        return join(this.#root, id)
    }

    exists(id: string): boolean {
        return changeIdShape.test(id) && this.#disk.exists(this.#journal(id))
    }

    /** Makes the directory and the empty journal of a new change. */
    create(id: string): Journal {
        this.#disk.mkdir(this.directory(id), 0o700)
        return new Journal(this.#disk, this.#journal(id))
    }

    /** The journal of a change, to append to. */
    open(id: string): Journal {
        return new Journal(this.#disk, this.#journal(id))
    }

    /** While a change runs its summary comes from the ledger in memory instead of its journal. */
    attach(ledger: Ledger): void {
        this.#live.set(ledger.id, ledger)
    }

    detach(id: string): void {
        this.#live.delete(id)
    }

    /** Records in order, as JSON; may be asked again while the journal grows. */
    reader(id: string): JournalReader {
        return new JournalReader(this.#disk, this.#journal(id))
    }

    /** The state of a change as its journal tells it; undefined when not even its begin is there. */
    replay(id: string): Ledger | undefined {
        const reader = this.reader(id)
        const next = () => reader.next() as JournalRecord | undefined
        const ledger = Ledger.begin(next())
        if (ledger === undefined || ledger.id !== id) return undefined
        for (let record = next(); record !== undefined; record = next()) ledger.apply(record)
        return ledger
    }

    /** All changes, newest first. Cheap: an ended change is one small file, read once. */
    list(): ChangeSummary[] {
        const summaries = this.#ids().map(id => this.summary(id))
        return summaries.sort((a, b) => compare(b.began, a.began) || compare(b.id, a.id))
    }

    summary(id: string): ChangeSummary {
        const live = this.#live.get(id)
        if (live !== undefined) return live.summary()
        const known = this.#ended.get(id) ?? this.#readSummary(id)
        if (known !== undefined) return this.#keep(known)
        const ledger = this.replay(id)
        if (ledger === undefined) return unreadable(id)
        if (ledger.end === undefined) return ledger.summary()
        try {
            // A process that died right after writing the end may not have synced it; nobody is told before that is done.
            const journal = this.open(id)
            try {
                journal.sync()
            } finally {
                journal.close()
            }
        } catch {
            // A disk that takes no sync any more is still good for reading what it has.
            return ledger.summary()
        }
        return this.noteEnd(ledger)
    }

    /** Copies the end of a change, which is durable in its journal, into its summary. */
    noteEnd(ledger: Ledger): ChangeSummary {
        const summary = ledger.summary()
        try {
            this.#disk.replace(this.#summary(ledger.id), Buffer.from(JSON.stringify(summary)), 0o600)
        } catch {
            // The summary only saves time: without it the journal is read again by the next process.
        }
        return this.#keep(summary)
    }

    /** The id that a person means: an id, a unique beginning of one, or `latest`. */
    find(text: string): string {
        const ids = this.#ids()
        if (text === 'latest') {
            const newest = this.list()[0]
            if (newest === undefined)
                throw new Fault('failed', 'cannot find the latest change: there is none yet')
            return newest.id
        }
        if (ids.includes(text)) return text
        const found = text === '' ? [] : ids.filter(id => id.startsWith(text))
        if (found.length === 1) return found[0]!
        if (found.length === 0)
            throw new Fault('failed', `cannot find the change ${text}: there is none of that name`, {
                hint: 'proxsavectl history lists them',
            })
        const named = found.slice(0, bounds.namedCandidates).join(', ')
        throw new Fault(
            'usage',
            `cannot tell which change is meant: ${text} begins ${found.length} of them`,
            {
                hint: `type more of it: ${named}${found.length > bounds.namedCandidates ? ', …' : ''}`,
            },
        )
    }

    /** The directory for undo material; made, durably, when it is not there. */
    materialDirectory(id: string): string {
        const path = join(this.directory(id), 'undo')
        if (!this.#withMaterial.has(id)) this.#disk.mkdir(path, 0o700)
        this.#withMaterial.add(id)
        return path
    }

    hasMaterial(id: string): boolean {
        return this.#disk.exists(join(this.directory(id), 'undo'))
    }

    remember(id: string, task: string, value: Json): void {
        const bytes = Buffer.from(JSON.stringify(value))
        if (bytes.length > bounds.rememberedBytes)
            throw new Fault('failed', `cannot remember ${bytes.length} bytes for ${task}: it is too much`)
        this.#disk.replace(join(this.materialDirectory(id), `remembered.${task}`), bytes, 0o600)
    }

    remembered(id: string, task: string): Json | undefined {
        const bytes = this.#disk.read(join(this.directory(id), 'undo', `remembered.${task}`))
        return bytes && (JSON.parse(Buffer.from(bytes).toString('utf8')) as Json)
    }

    /** Takes away what a crash left beside the journal: unfinished copies, half-dropped material, changes that never began. */
    sweep(id: string): void {
        const directory = this.directory(id)
        if (this.replay(id) === undefined && !this.hasMaterial(id)) {
            this.#disk.removeTree(directory)
            return
        }
        for (const place of [directory, join(directory, 'undo')])
            for (const name of this.#disk.list(place))
                if (isTemporary(name)) this.#disk.remove(join(place, name))
        this.#disk.removeTree(join(directory, 'dropped'))
    }

    /**
     * Before recovery believes what it sees: a killed process has left names and bytes in the page cache that a power
     * loss would still take, undo material among them.
     */
    makeDurable(id: string): void {
        this.#disk.syncAll(this.directory(id))
    }

    /** Ids of changes whose journal has no end, newest first. */
    unended(): string[] {
        return this.list()
            .filter(change => change.state !== 'done')
            .map(change => change.id)
    }

    /** Directories that hold no readable begin. A crash right after `create` leaves one. */
    unbegun(): string[] {
        return this.#ids().filter(id => this.summary(id).kind === unknownKind)
    }

    /**
     * Drops what is older than anybody undoes or asks for. Changes that are not ended, are held, failed, or could not be
     * fully undone stay as they are, and so does what an undo that was not through would need again.
     */
    prune(nowMs: number, { keep, undoMs }: HistoryRule = defaultHistory): void {
        for (const name of this.#disk.list(this.#root))
            if (name.startsWith(gonePrefix)) this.#disk.removeTree(join(this.#root, name))
        const changes = this.list()
        const isOpen = (change: ChangeSummary) => this.#isOpen(change)
        const wanted = new Set(changes.filter(isOpen).map(({ facts }) => facts.undoes))
        for (const [rank, change] of changes.filter(({ state }) => state === 'done').entries()) {
            const { id, ended, began } = change
            if (rank < bounds.keptAlways || isOpen(change) || wanted.has(id) || this.#isHeld(id)) continue
            const young = nowMs - Date.parse(ended ?? began) < undoMs
            // What can still be undone is not forgotten, however many came after it.
            if (rank >= keep && !(young && this.hasMaterial(id))) this.#dropWhole(id)
            else if (!young) this.#dropMaterial(id)
        }
    }

    /** Nobody may be through with it: it goes on, something of it is left, or it failed and kept what an undo needs. */
    #isOpen({ id, state, result, left }: ChangeSummary): boolean {
        return state !== 'done' || left !== undefined || (result === 'failed' && this.hasMaterial(id))
    }

    /** The rename makes it gone at once: a crash while removing leaves nothing that looks like a change. */
    #dropWhole(id: string): void {
        const gone = join(this.#root, `${gonePrefix}${id}`)
        this.#disk.rename(this.directory(id), gone)
        this.#disk.removeTree(gone)
        this.#ended.delete(id)
        this.#withMaterial.delete(id)
    }

    /** As above: half the material must not look like all of it. */
    #dropMaterial(id: string): void {
        const dropped = join(this.directory(id), 'dropped')
        if (this.#disk.exists(dropped)) this.#disk.removeTree(dropped)
        if (!this.hasMaterial(id)) return
        this.#withMaterial.delete(id)
        this.#disk.rename(join(this.directory(id), 'undo'), dropped)
        this.#disk.removeTree(dropped)
    }

    #keep(summary: ChangeSummary): ChangeSummary {
        if (summary.state === 'done') this.#ended.set(summary.id, summary)
        return summary
    }

    #readSummary(id: string): ChangeSummary | undefined {
        const bytes = this.#disk.read(this.#summary(id))
        if (bytes === undefined) return undefined
        try {
            return JSON.parse(Buffer.from(bytes).toString('utf8')) as ChangeSummary
        } catch {
            // The journal has it all; a damaged copy of its end is made again.
            return undefined
        }
    }

    #ids(): string[] {
        return this.#disk.list(this.#root).filter(name => changeIdShape.test(name))
    }

    #journal(id: string): string {
        return join(this.directory(id), 'journal')
    }

    #summary(id: string): string {
        return join(this.directory(id), 'summary')
    }
}

const changeIdShape = /^\d{8}-\d{6}-[0-9a-f]{4}$/
const gonePrefix = '.gone-'
const unknownKind = 'unknown'

/** A change whose journal cannot be read is shown, not hidden. */
function unreadable(id: string): ChangeSummary {
    const began = id.replace(/^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-.*$/, '$1-$2-$3T$4:$5:$6.000Z')
    const message = 'cannot read the journal of this change: its first record is damaged'
    return {
        id,
        kind: unknownKind,
        summary: 'a change whose journal is damaged',
        by: unknownKind,
        state: 'done',
        result: 'failed',
        began,
        warnings: 0,
        error: { kind: 'damaged', message },
        left: ['what this change did is not known'],
        facts: {},
    }
}

function compare(a: string, b: string): number {
    return a < b ? -1 : a > b ? 1 : 0
}
