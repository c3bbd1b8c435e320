/** Runs changes, one at a time, and finishes at its start what a crash interrupted. */
import { Fault, toRecord } from '../core/errors.ts'
import { changeId } from '../core/ids.ts'
import { defaultHistory, type HistoryRule } from '../format/config.ts'
import type { TimedClock } from '../host/timer.ts'
import { bounds } from './bounds.ts'
import type { ChangeEvent, ChangeSummary, EndEvent, Json, Plan, ProgressEvent, Question } from './change.ts'
import { Follower } from './follow.ts'
import type { TaskKinds } from './kinds.ts'
import { type JournalRecord, Ledger } from './ledger.ts'
import { isCommit } from './questions.ts'
import { type Answers, reservedFacts, Run } from './run.ts'
import type { Store } from './store.ts'

export interface RunnerOptions {
    store: Store
    kinds: TaskKinds
    clock: TimedClock
    random: (bytes: number) => Uint8Array
    /** Resolves when no worker of an earlier daemon is alive any more; recovery waits for it. */
    workersGone?: () => Promise<void>
    /** What waits to be confirmed and belongs to no running change; nothing begins meanwhile. */
    armed?: () => string | undefined
    /** How long finished changes are kept, asked behind each change; undefined: not known now, nothing is dropped. */
    history?: () => HistoryRule | undefined
}

export interface StartOptions {
    /** Answers given ahead, by question id; never for a `*.commit`. */
    answers?: Answers
    /** Somebody is there to ask. Without, every question but `*.commit` takes its safe default at once. */
    interactive?: boolean
}

/** What runs now, for `status` and `attach`. */
export interface RunningChange {
    summary: ChangeSummary
    /** The task at work. */
    task?: { id: string; title: string; undoing: boolean }
    questions: Question[]
}

export class Runner {
    readonly #store: Store
    readonly #options: RunnerOptions
    #run: Run | undefined
    #over: Promise<EndEvent | undefined> | undefined
    /** The last change, when its end could not be written yet. */
    #unsettled: Run | undefined
    #recovering: Promise<EndEvent[]> | undefined
    #recovered = false

    constructor(options: RunnerOptions) {
        this.#options = options
        this.#store = options.store
    }

    /**
     * Begins a change; its begin is durable when this returns the id. Throws `conflict` while another one runs or is
     * not finished, `usage` for an answer that cannot be given ahead.
     */
    start(plan: Plan, options: StartOptions = {}): string {
        this.#refuseWhenBusy(plan.kind)
        this.#checkPlan(plan)
        const answers = options.answers ?? {}
        for (const id of Object.keys(answers))
            if (isCommit(id))
                throw new Fault(
                    'usage',
                    `cannot answer ${id} ahead: it asks whether you can still reach this host`,
                    {
                        hint: 'answer it with proxsavectl commit, over a new connection',
                    },
                )
        const { store, clock, random } = { ...this.#options }
        const id = this.#freeId(clock.nowMs(), random)
        const time = new Date(clock.nowMs()).toISOString()
        const { kind, summary, by } = plan
        const tasks = plan.tasks.map(({ id, title }) => ({ id, title }))
        const begin: JournalRecord = {
            event: { seq: 1, time, event: 'begin', change: id, kind, summary, by, tasks },
            plan,
            interactive: options.interactive ?? false,
        }
        try {
            const journal = store.create(id)
            journal.append([begin as unknown as Json])
            this.#launch(new Run(this.#options, Ledger.begin(begin)!, journal, answers))
        } catch (error) {
            this.#sweep(id)
            const why = error instanceof Error ? error.message : String(error)
            throw new Fault('failed', `cannot start a ${kind}: ${why}`, { cause: error })
        }
        return id
    }

    /**
     * Finishes what an earlier process left: to be called once, before anything else, when the daemon starts. Until
     * its promise resolves nothing can be started. Resolves to the ends of what it finished; throws when it could not
     * begin to, and may then be called again.
     */
    recover(): Promise<EndEvent[]> {
        this.#recovering ??= this.#recover().finally(() => {
            this.#recovering = undefined
        })
        return this.#recovering
    }

    /** What runs now; undefined when all is quiet. */
    running(): RunningChange | undefined {
        if (this.#run === undefined) return undefined
        const { ledger, questions } = this.#run
        const running: RunningChange = { summary: ledger.summary(), questions: questions.open }
        const task = ledger.atWork
        if (task !== undefined)
            running.task = { id: task.id, title: task.title, undoing: ledger.stateOf(task.id) === 'undoing' }
        return running
    }

    /** Changes without an end that do not run: what a crash left and recovery has not finished. */
    unfinished(): ChangeSummary[] {
        return this.#store
            .list()
            .filter(
                change => change.state !== 'done' && (change.id !== this.#run?.ledger.id || this.#recovering),
            )
    }

    /** Stops the change at its next task boundary and takes back what it did; durable when this returns. */
    cancel(id: string, by: string): void {
        const run = this.#running('cancel', id)
        if (run.ledger.turn !== undefined)
            throw new Fault('failed', `cannot cancel ${id}: it is being taken back already`)
        if (run.ledger.cancelled === undefined) run.cancel(by)
    }

    /** Answers an open question; durable when this returns. Throws when it is not open or the value is no choice. */
    answer(id: string, questionId: string, value: string, by: string): void {
        this.#running('answer', id).answer(questionId, value, by)
    }

    /**
     * All events behind `after`, then those to come, up to the end; progress in between, only the newest. Every
     * follower reads at its own pace. Leave with `return()`, or by breaking out of the loop.
     */
    events(id: string, after = 0): AsyncIterableIterator<ChangeEvent | ProgressEvent> {
        const run = this.#runOf(id)
        if (run === undefined && !this.#store.exists(id)) throw unknownChange(id)
        const follower = new Follower()
        run?.followers.add(follower)
        const events = this.#follow(id, run, follower, after)
        return {
            [Symbol.asyncIterator]() {
                return this
            },
            next: () => events.next(),
            async return() {
                run?.followers.delete(follower)
                follower.close()
                return events.return(undefined)
            },
        }
    }

    /** The end of a change, as soon as it has one. Throws when the daemon stops before. */
    async wait(id: string): Promise<EndEvent> {
        const run = this.#runOf(id)
        const end = run === undefined ? this.#store.replay(id)?.end : (run.end ?? (await this.#over))
        if (end !== undefined) return end
        if (!this.#store.exists(id)) throw unknownChange(id)
        throw new Fault('failed', `cannot wait for the change ${id}: it is not finished`, {
            hint: 'the next start of the daemon finishes it',
        })
    }

    /** The plan that takes a finished change back: the undos of its tasks, in reverse, with what they remembered. */
    planUndo(id: string, by: string): Plan {
        const ledger = this.#store.exists(id) ? this.#store.replay(id) : undefined
        if (ledger === undefined) throw unknownChange(id)
        const cannot = (why: string, hint?: string) =>
            new Fault('failed', `cannot undo ${id}: ${why}`, { hint })
        if (ledger.end === undefined) throw cannot('it is not finished', `proxsavectl cancel ${id}`)
        if (ledger.plan.undoes !== undefined) throw cannot('it is itself an undo')
        const before = this.#store.list().find(({ facts, result }) => facts.undoes === id && result === 'ok')
        if (before !== undefined) throw cannot(`${before.id} has undone it already`)
        if (ledger.hasMaterial && !this.#store.hasMaterial(id))
            throw cannot(
                'what it had kept for that was dropped',
                'the last backup before it has the old state',
            )
        // Behind an undo that failed, the ones that went well run again: a late undo puts back what they had taken away.
        const failed = ledger.plan.tasks.findLastIndex(task => ledger.stateOf(task.id) === 'undo-failed')
        const done = ledger.plan.tasks.filter((task, index) => {
            const state = ledger.stateOf(task.id)
            return state === 'done' || (state !== 'waiting' && index <= failed)
        })
        const tasks = done.filter(task => !this.#options.kinds.get(task.kind).irreversible)
        if (tasks.length === 0)
            throw cannot(done.length > 0 ? 'what it did cannot be taken back' : 'it left nothing to undo')
        return {
            kind: 'undo',
            summary: `undo of ${id} (${ledger.plan.summary})`,
            by,
            tasks: tasks.map(({ id, kind, title, params }) => ({ id, kind, title, params })),
            undoes: id,
            facts: { undoes: id },
        }
    }

    /** Begins the change that takes a finished one back. */
    undo(id: string, by: string, options: StartOptions = {}): string {
        return this.start(this.planUndo(id, by), options)
    }

    /**
     * For the stop of the daemon: a change that the next start would go on with is left to it, any other is cancelled.
     * Resolves when nothing runs any more; the caller bounds the time.
     */
    async stop(): Promise<void> {
        const run = this.#run
        if (run === undefined) return
        const { ledger } = run
        if (ledger.goesForward || ledger.turn !== undefined) run.abandon()
        else if (ledger.cancelled === undefined) run.cancel('the stop of the daemon')
        await this.#over
    }

    // -----------------------------------------------------------------------------------------------------------

    #launch(run: Run): Promise<EndEvent | undefined> {
        const { id } = run.ledger
        this.#run = run
        this.#store.attach(run.ledger)
        this.#over = run.execute().then(end => {
            this.#store.detach(id)
            if (run.settled) this.#store.noteEnd(run.ledger)
            else if (!run.abandoned) this.#unsettled = run
            this.#run = undefined
            this.#prune()
            return end
        })
        return this.#over
    }

    async #recover(): Promise<EndEvent[]> {
        const ends: EndEvent[] = []
        this.#recovered = false
        this.#unsettled = undefined
        await this.#options.workersGone?.()
        for (const id of this.#store.unbegun()) this.#store.sweep(id)
        for (const id of this.#store.unended()) {
            const end = await this.#finish(id)
            if (end !== undefined) ends.push(end)
        }
        this.#recovered = true
        this.#prune()
        return ends
    }

    /** Goes on with a change that was interrupted: forward or back, as its plan and its state say. */
    async #finish(id: string): Promise<EndEvent | undefined> {
        this.#store.makeDurable(id)
        this.#store.sweep(id)
        const ledger = this.#store.replay(id)
        if (ledger === undefined) return undefined
        const run = new Run(this.#options, ledger, this.#store.open(id), {})
        const task = ledger.atWork
        const where = task === undefined ? 'between two tasks' : `during "${task.title}"`
        const goesBack = ledger.turn?.to === 'undo' || (ledger.turn === undefined && !ledger.goesForward)
        run.recovered(`the daemon stopped ${where}: ${goesBack ? 'taking back what was done' : 'going on'}`)
        if (goesBack && ledger.turn === undefined) {
            const result = ledger.cancelled === undefined ? 'failed' : 'cancelled'
            const kind = ledger.cancelled === undefined ? 'failed' : 'refused'
            const error = toRecord(new Fault(kind, `cannot finish: the daemon stopped ${where}`))
            run.turn({ to: 'undo', result, error }, 'taking back what was done')
        }
        return this.#launch(run)
    }

    #refuseWhenBusy(kind: string): void {
        const conflict = (change: ChangeSummary, why: string, options: { hint?: string } = {}) => {
            const which = `change ${change.id} (${change.kind}, began ${change.began})`
            const facts = { change: change.id }
            return new Fault('conflict', `cannot start a ${kind}: ${which} ${why}`, { ...options, facts })
        }
        if (this.#run !== undefined) throw conflict(this.#run.ledger.summary(), 'is running')
        if (this.#unsettled?.settle()) {
            this.#store.noteEnd(this.#unsettled.ledger)
            this.#sweep(this.#unsettled.ledger.id)
            this.#unsettled = undefined
        }
        const unsettled = this.#unsettled
        if (unsettled !== undefined && !unsettled.needsRecovery)
            throw conflict(unsettled.ledger.summary(), 'is not finished: its journal cannot be written', {
                hint: 'make room on the disk of the state directory, then try again',
            })
        if (unsettled === undefined && this.#recovered) {
            const armed = this.#options.armed?.()
            if (armed === undefined) return
            throw new Fault('conflict', `cannot start a ${kind}: the guard ${armed} is armed`, {
                hint: 'proxsavectl commit keeps the new state, proxsavectl rollback returns to the old one',
                facts: { guard: armed },
            })
        }
        this.recover().catch(() => {
            // The conflict says that something is unfinished; the next try meets the same.
        })
        const change = unsettled?.ledger.summary() ?? this.#store.list().find(({ state }) => state !== 'done')
        if (change !== undefined)
            throw conflict(change, 'is not finished', { hint: 'it is being recovered: try again' })
        throw new Fault(
            'conflict',
            `cannot start a ${kind}: the daemon is still looking for what a crash left`,
            {
                hint: 'try again',
            },
        )
    }

    #checkPlan(plan: Plan): void {
        const ids = new Set<string>()
        const groups = new Set<string>()
        for (const [index, task] of plan.tasks.entries()) {
            const { group } = task
            if (group !== undefined && group !== plan.tasks[index - 1]?.group) {
                // A group that is undone must not reach behind what other tasks did since.
                if (groups.has(group))
                    throw new Error(`the tasks of the group ${group} do not stand together`)
                groups.add(group)
            }
            if (group !== undefined && !task.optional)
                throw new Error(`${task.id} is in a group and not optional`)
            if (!taskIdShape.test(task.id) || ids.has(task.id))
                throw new Error(`bad or double task id ${task.id}`)
            ids.add(task.id)
            this.#options.kinds.get(task.kind)
        }
        for (const fact of Object.keys(plan.facts ?? {}))
            if (reservedFacts.has(fact)) throw new Error(`"${fact}" is not a name for a fact`)
        if (plan.pivot !== undefined && !ids.has(plan.pivot))
            throw new Error(`no task is the pivot ${plan.pivot}`)
    }

    #freeId(nowMs: number, random: (bytes: number) => Uint8Array): string {
        for (let tries = 0; tries < bounds.idTries; tries++) {
            const id = changeId(nowMs, random)
            if (!this.#store.exists(id)) return id
        }
        throw new Fault('failed', 'cannot find a free id for the change')
    }

    /** Sweeps behind a disk that failed; a change whose begin could not be written never was. */
    #sweep(id: string): void {
        try {
            this.#store.sweep(id)
        } catch {
            // The disk refuses still; what is left are unfinished copies that nothing reads.
        }
    }

    #prune(): void {
        const { clock, history = () => defaultHistory } = this.#options
        try {
            const rule = history()
            if (rule !== undefined) this.#store.prune(clock.nowMs(), rule)
        } catch {
            // Dropping old material is tried again after the next change; a failing disk shows there.
        }
    }

    #runOf(id: string): Run | undefined {
        return [this.#run, this.#unsettled].find(run => run?.ledger.id === id)
    }

    #running(verb: string, id: string): Run {
        if (this.#run?.ledger.id === id) return this.#run
        if (!this.#store.exists(id)) throw unknownChange(id)
        throw new Fault('failed', `cannot ${verb} ${id}: it is not running`)
    }

    async *#follow(
        id: string,
        run: Run | undefined,
        follower: Follower,
        after: number,
    ): AsyncGenerator<ChangeEvent | ProgressEvent, undefined> {
        const reader = this.#store.reader(id)
        for (let seen = after; !follower.closed; ) {
            const until = run === undefined || run.settled ? undefined : run.durableSize
            const record = reader.next(until) as JournalRecord | undefined
            if (record !== undefined) {
                const { event } = record
                if (event.seq > seen) {
                    seen = event.seq
                    yield event
                }
                if (event.event === 'end') return
                continue
            }
            if (run === undefined || run.abandoned) return
            for (const progress of follower.takeProgress()) yield progress
            if (run.end === undefined) {
                await follower.wait()
            } else if (!run.settled) {
                for (const event of run.unwritten) if (event.seq > seen) yield event
                return
            }
        }
    }
}

const taskIdShape = /^[a-z0-9][a-z0-9._-]{0,63}$/

function unknownChange(id: string): Fault {
    return new Fault('failed', `cannot find the change ${id}: there is none of that id`, {
        hint: 'proxsavectl history lists them',
    })
}
