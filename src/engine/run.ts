/** One change at work: journals, then acts; takes back in reverse; ends with one event. The order of writes is the point. */
import { asFault, Fault, type FaultRecord, fromRecord, toRecord } from '../core/errors.ts'
import type { TimedClock } from '../host/timer.ts'
import { bounds } from './bounds.ts'
import type { ChangeEvent, EndEvent, Json, PlannedTask, ProgressEvent, Question, Result } from './change.ts'
import type { Follower } from './follow.ts'
import type { Journal } from './journal.ts'
import type { TaskContext, TaskKinds } from './kinds.ts'
import type { JournalRecord, Ledger, Turn } from './ledger.ts'
import { AskedBefore, isCommit, OpenQuestions } from './questions.ts'
import type { Store } from './store.ts'

export interface RunHost {
    store: Store
    kinds: TaskKinds
    clock: TimedClock
}

/** Answers given ahead, by question id. They live in memory only: some are passphrases. */
export type Answers = Readonly<Record<string, string>>

type Body<E = ChangeEvent> = E extends unknown ? Omit<E, 'seq' | 'time'> : never
type Extra = Omit<JournalRecord, 'event'>

export class Run {
    readonly ledger: Ledger
    readonly followers = new Set<Follower>()
    readonly questions = new OpenQuestions()
    /** Events that could not be journaled before the change ended here; only a disk that fails makes some. */
    readonly unwritten: ChangeEvent[] = []
    /** Set when the change is over for this process; the journal may not know it, see `settled`. */
    end: EndEvent | undefined
    readonly #host: RunHost
    readonly #journal: Journal
    readonly #answers: Answers
    readonly #pending: JournalRecord[] = []
    readonly #abort = new AbortController()
    readonly #undoAbort = new AbortController()
    readonly #earlier: AskedBefore
    #facts: Record<string, Json> | undefined
    #material: true | undefined
    #stopLogTimer: (() => void) | undefined
    #abandoned = false
    #broke = false
    #resumed = false

    constructor(host: RunHost, ledger: Ledger, journal: Journal, answers: Answers) {
        this.#host = host
        this.ledger = ledger
        this.#journal = journal
        this.#answers = answers
        this.#earlier = new AskedBefore(ledger)
    }

    /** How far followers may read. */
    get durableSize(): number {
        return this.#journal.size
    }

    /** The journal knows the end. */
    get settled(): boolean {
        return this.ledger.end !== undefined
    }

    get abandoned(): boolean {
        return this.#abandoned
    }

    /** Runs to the end, from whatever state the ledger is in. Never throws; undefined when it was abandoned. */
    async execute(): Promise<EndEvent | undefined> {
        try {
            if (this.ledger.turn === undefined) {
                if (this.ledger.plan.undoes !== undefined) await this.#undoAll()
                else await this.#forward()
            }
            await this.#turnBack()
            if (!this.#abandoned && !this.#writeEnd()) await this.#turnBack()
            if (!this.#abandoned && this.end === undefined) this.#writeEnd()
        } catch (error) {
            if (!this.#abandoned) this.#endUnwritten(asFault(error))
        }
        this.#stopLogTimer?.()
        this.#journal.close()
        return this.end
    }

    /** The disk failed such that only a recovery from what is on it can tell how this change ends. */
    get needsRecovery(): boolean {
        return !this.settled && (this.#broke || this.#uncertain)
    }

    /** Tries again to write what a failing disk refused; true when the journal knows the end. */
    settle(): boolean {
        if (this.settled || this.needsRecovery) return this.settled
        try {
            this.#must(this.#endEvent())
        } catch {
            // The disk refuses still; the change that wants to begin is told so.
            return false
        } finally {
            this.#journal.close()
        }
        return true
    }

    /** Durable when it returns; the change stops at the next task boundary. */
    cancel(by: string): void {
        this.#must({ event: 'log', level: 'info', text: `cancelled by ${by}` }, { cancelled: by })
        this.#abort.abort(new Fault('refused', `cannot go on: the change was cancelled by ${by}`))
    }

    /** Leaves the change to the next start: nothing more is written or done once the task at work lets go. */
    abandon(): void {
        this.#abandoned = true
        const reason = new Fault('failed', 'cannot go on: the daemon stops')
        this.#abort.abort(reason)
        this.#undoAbort.abort(reason)
        for (const follower of this.followers) follower.ring()
    }

    /** Durable when it returns. */
    answer(questionId: string, value: string, by: string): void {
        this.questions.answer(questionId, value, by)
    }

    recovered(text: string): void {
        this.#resumed = true
        this.#must({ event: 'recovery', text })
    }

    /** The first and durable record of a turn; an undo only begins when a power loss could not contradict it. */
    turn(turn: Turn, text: string): void {
        this.#note({ event: 'log', level: 'info', text }, { turn })
        this.#tryFlush()
    }

    get #uncertain(): boolean {
        return this.#journal.uncertain
    }

    // --- forward -----------------------------------------------------------------------------------------------

    async #forward(): Promise<void> {
        const { ledger } = this
        for (const task of ledger.plan.tasks) {
            const state = ledger.stateOf(task.id)
            if (state === 'done' || this.#skipped(task)) continue
            if (ledger.cancelled !== undefined && (state === 'waiting' || state === 'doing'))
                return this.#turnCancelled(task)
            const known = this.#knownFailure(task) ?? this.#interrupted(task)
            // Dealt with as far as could be; undoing it now would take away what later tasks have put there.
            if (known !== undefined && task.optional && this.#laterStarted(task)) continue
            const fault = known ?? (await this.#do(task))
            if (this.#abandoned) return
            if (fault === undefined) continue
            if (task.optional) {
                await this.#takeBackGroup(task)
                if (this.#abandoned) return
                continue
            }
            if (ledger.cancelled !== undefined) return this.#turnCancelled(task)
            if (!ledger.pastPivot && !ledger.hasConfirmed) {
                const { result, error } = outcomeOf(fault)
                return this.turn({ to: 'undo', result, error }, 'taking back what was done')
            }
            await this.#takeBack([task])
            if (this.#abandoned) return
            const error = toRecord(
                new Fault('partial', `cannot finish: ${task.title}: ${fault.message}`, { hint: fault.hint }),
            )
            return this.turn(
                { to: 'stop', result: 'warning', error },
                `what follows "${task.title}" is not done`,
            )
        }
        const unfinished = ledger.plan.tasks.some(task => ledger.stateOf(task.id) !== 'done')
        if (ledger.cancelled !== undefined && (unfinished || !(ledger.pastPivot || ledger.hasConfirmed)))
            await this.#turnCancelled(undefined)
    }

    /** The failure that an earlier process had noted but not dealt with. */
    #knownFailure(task: PlannedTask): Fault | undefined {
        const state = this.ledger.stateOf(task.id)
        if (state === 'waiting' || state === 'doing' || state === 'done') return undefined
        const error = this.ledger.errorOf(task.id)
        return error === undefined ? new Fault('failed', 'cannot tell why it failed') : fromRecord(error)
    }

    /**
     * A group that a crash caught at work is taken back alone, when the change only goes on for what was confirmed before:
     * what it guards would go on with less time than it was given, and nobody may be there any more.
     */
    #interrupted(task: PlannedTask): Fault | undefined {
        const { ledger } = this
        if (!this.#resumed || task.group === undefined || ledger.pastPivot) return undefined
        if (ledger.plan.recovery === 'resume') return undefined
        const group = this.#inGroup(task)
        if (group.every(other => ledger.stateOf(other.id) === 'waiting')) return undefined
        if (group.some(other => ledger.asksToStay(other.id))) return undefined
        const fault = new Fault('failed', 'cannot go on: the daemon stopped in between')
        this.#note({ event: 'log', level: 'warning', text: `${task.title}: ${fault.message}`, task: task.id })
        this.#noteTask(task, 'failed', toRecord(fault))
        return fault
    }

    #laterStarted(task: PlannedTask): boolean {
        const { tasks } = this.ledger.plan
        return tasks.slice(tasks.indexOf(task) + 1).some(later => this.ledger.stateOf(later.id) !== 'waiting')
    }

    /** Another task of the group failed. */
    #skipped(task: PlannedTask): boolean {
        if (task.group === undefined || this.ledger.stateOf(task.id) !== 'waiting') return false
        return this.#inGroup(task).some(
            other => !['waiting', 'doing', 'done'].includes(this.ledger.stateOf(other.id)),
        )
    }

    #inGroup(task: PlannedTask): PlannedTask[] {
        return this.ledger.plan.tasks.filter(other => other.group === task.group)
    }

    async #takeBackGroup(task: PlannedTask): Promise<void> {
        if (task.group === undefined) {
            await this.#takeBack([task])
            return
        }
        // On disk the group must be known to have failed before its done tasks are undone: a restart would go on in it.
        this.#tryFlush()
        if (this.#pending.length > 0) throw this.#cannotFinish()
        await this.#takeBack(this.#inGroup(task))
    }

    async #turnCancelled(next: PlannedTask | undefined): Promise<void> {
        const { ledger } = this
        const by = ledger.cancelled
        if (!ledger.pastPivot && !ledger.hasConfirmed) {
            const error = toRecord(
                new Fault('refused', `cannot finish: ${by} cancelled; what was done is taken back`),
            )
            this.turn({ to: 'undo', result: 'cancelled', error }, 'taking back what was done')
            return
        }
        if (next !== undefined) await this.#takeBack([next])
        if (this.#abandoned) return
        const from = next === undefined ? '' : `; not done: ${this.#titlesFrom(next)}`
        const error = toRecord(
            new Fault('refused', `cannot finish: ${by} cancelled${from}; what was done stays`),
        )
        this.turn({ to: 'stop', result: 'cancelled', error }, 'what was done stays')
    }

    #titlesFrom(first: PlannedTask): string {
        const { tasks } = this.ledger.plan
        return tasks
            .slice(tasks.indexOf(first))
            .filter(task => this.ledger.stateOf(task.id) !== 'done')
            .map(task => task.title)
            .join(', ')
    }

    /** `doing` is durable before the effect, `done` after it. */
    async #do(task: PlannedTask): Promise<Fault | undefined> {
        try {
            const kind = this.#host.kinds.get(task.kind)
            this.#must({ event: 'task', task: task.id, state: 'doing' })
            const result = await kind.do(task.params, this.#context(task, this.#abort.signal))
            if (this.#abandoned) return undefined
            this.#done(task, result)
            return undefined
        } catch (error) {
            if (this.#abandoned) return undefined
            if (error instanceof ConfirmedUnwritten) throw this.#cannotFinish()
            const fault = asFault(error)
            if (task.optional) {
                const text = `${task.title}: ${fault.message}`
                this.#note({ event: 'log', level: 'warning', text, task: task.id })
            }
            if (this.ledger.stateOf(task.id) !== 'waiting') this.#noteTask(task, 'failed', toRecord(fault))
            return fault
        }
    }

    /** What a person has confirmed is not taken back because the journal refuses: the next start asks the task again. */
    #done(task: PlannedTask, result: Json | undefined): void {
        const { ledger } = this
        const write = () =>
            this.#must(
                { event: 'task', task: task.id, state: 'done' },
                result === undefined ? {} : { result },
            )
        try {
            write()
        } catch (error) {
            if (!ledger.asksToStay(task.id)) throw error
            try {
                write()
            } catch (again) {
                throw new ConfirmedUnwritten('the journal refuses', { cause: again })
            }
        }
    }

    // --- backward ----------------------------------------------------------------------------------------------

    async #turnBack(): Promise<void> {
        if (this.#abandoned || this.ledger.turn?.to !== 'undo') return
        this.#tryFlush()
        // A plan that resumes must know that it turned.
        if (this.#pending.length > 0 && this.#wouldResume) throw this.#cannotFinish()
        await this.#takeBack(this.ledger.plan.tasks)
    }

    get #wouldResume(): boolean {
        const { plan, asked } = this.ledger
        return plan.recovery === 'resume' || asked.some(one => isCommit(one.question.id))
    }

    #cannotFinish(): Fault {
        return new Fault('stuck', 'cannot finish: the journal cannot be written', {
            hint: 'mend the disk of the state directory, then start the daemon again: it finishes this change',
        })
    }

    /** The change that undoes another one: goes back from the start, and may be cancelled between two tasks. */
    async #undoAll(): Promise<void> {
        const { ledger } = this
        const mayGoOn = () => ledger.cancelled === undefined
        if (await this.#takeBack(ledger.plan.tasks, mayGoOn)) return
        const error = toRecord(new Fault('refused', `cannot finish: ${ledger.cancelled} cancelled`))
        this.turn({ to: 'stop', result: 'cancelled', error }, 'what is not undone yet stays')
    }

    /**
     * In reverse. One that fails is reported, and the others are taken back all the same. False when `mayGoOn` ended it
     * between two tasks.
     */
    async #takeBack(tasks: PlannedTask[], mayGoOn = () => true): Promise<boolean> {
        const { ledger } = this
        this.#tryFlush()
        // A record whose sync failed may be on the disk all the same, and say that what is taken back here is done.
        if (this.#uncertain) throw this.#cannotFinish()
        let again = false
        for (const task of tasks.toReversed()) {
            const state = ledger.stateOf(task.id)
            // An undo that comes late puts back what other undos had meanwhile taken away: those run again behind it.
            again ||= ledger.undoFailed.has(task.id)
            if (state === 'waiting' || (state === 'undone' && !again)) continue
            if (!mayGoOn()) return false
            try {
                const kind = this.#host.kinds.get(task.kind)
                if (kind.irreversible) {
                    this.#note({
                        event: 'log',
                        level: 'info',
                        text: `${task.title}: cannot be taken back`,
                        task: task.id,
                    })
                    continue
                }
                this.#noteTask(task, 'undoing')
                await kind.undo(task.params, this.#context(task, this.#undoAbort.signal))
                if (this.#abandoned) return true
                this.#noteTask(task, 'undone')
            } catch (error) {
                if (this.#abandoned) return true
                this.#noteTask(task, 'undo-failed', toRecord(asFault(error)))
            }
        }
        return true
    }

    // --- the end -----------------------------------------------------------------------------------------------

    /** False when the end of a change that went well could not be written, and the change turned back for it. */
    #writeEnd(): boolean {
        const end = this.#endEvent()
        try {
            this.#must(end)
        } catch (error) {
            const { ledger } = this
            if (ledger.turn === undefined && !ledger.goesForward) {
                const fault = toRecord(asFault(error))
                this.turn({ to: 'undo', result: 'failed', error: fault }, 'taking back what was done')
                return false
            }
            // The next start goes on from what is durable: it may be told only when nothing else can come of that.
            const told = (record: JournalRecord) => record.event.event === 'log' && record.turn === undefined
            if (ledger.goesForward && !this.#pending.every(told)) throw this.#cannotFinish()
            this.#tell({ seq: this.ledger.seq + 1, time: this.#now(), ...end } as EndEvent)
            return true
        }
        this.#tell(this.ledger.end!)
        return true
    }

    #endUnwritten(fault: Fault): void {
        this.#broke = true
        const left = this.#notUndone().map(task => task.title)
        const error = toRecord(fault)
        const { id, seq, facts } = this.ledger
        const time = this.#now()
        this.#tell({ seq: seq + 1, time, event: 'end', result: 'failed', change: id, error, left, ...facts })
    }

    #tell(end: EndEvent): void {
        this.end = end
        if (!this.settled) this.unwritten.push(...this.#pending.map(record => record.event), end)
        for (const follower of this.followers) follower.ring()
    }

    #endEvent(): Body<EndEvent> {
        const { ledger } = this
        const { result, error, left } = this.#outcome()
        const end: Body<EndEvent> = {
            ...ledger.facts,
            ...this.#facts,
            event: 'end',
            result,
            change: ledger.id,
        }
        if (error !== undefined) end.error = error
        if (left.length > 0) end.left = left
        return end
    }

    #outcome(): { result: Result; error?: FaultRecord; left: string[] } {
        const { ledger } = this
        const { turn, plan } = ledger
        const left = this.#notUndone().map(
            task => `${task.title}: ${ledger.errorOf(task.id)?.message ?? 'not undone'}`,
        )
        if (turn?.to === 'stop') return { result: turn.result, error: turn.error, left }
        if (turn === undefined && plan.undoes === undefined) return { ...this.#forwardOutcome(left), left }
        if (left.length > 0) {
            const why = turn?.error === undefined ? '' : `${turn.error.message}; `
            const error = toRecord(
                new Fault('stuck', `${why}cannot take back: ${left.join('; ')}`, {
                    hint: turn?.error?.hint ?? `proxsavectl history ${ledger.id} tells what was tried`,
                }),
            )
            return { result: 'failed', error, left }
        }
        if (turn === undefined) {
            const fired = plan.tasks.find(task => this.#firedInUndo(task))
            return fired === undefined
                ? { result: 'ok', left }
                : { result: 'rolled-back', error: ledger.errorOf(fired.id), left }
        }
        const kept = plan.tasks.filter(
            task => ledger.stateOf(task.id) !== 'waiting' && this.#isIrreversible(task),
        )
        if (kept.length === 0 || turn.error === undefined)
            return { result: turn.result, error: turn.error, left }
        const stays = `${turn.error.message}; cannot be taken back: ${kept.map(task => task.title).join(', ')}`
        const kind = turn.error.kind === 'failed' ? 'partial' : turn.error.kind
        return { result: turn.result, error: { ...turn.error, kind, message: stays }, left }
    }

    #forwardOutcome(left: string[]): { result: Result; error?: FaultRecord } {
        const { ledger } = this
        const fired = ledger.plan.tasks.find(task => ledger.errorOf(task.id)?.kind === 'rolled-back')
        if (fired !== undefined) return { result: 'rolled-back', error: ledger.errorOf(fired.id) }
        if (left.length > 0)
            return {
                result: 'warning',
                error: toRecord(new Fault('partial', `cannot take back: ${left.join('; ')}`)),
            }
        return { result: ledger.warnings > 0 ? 'warning' : 'ok' }
    }

    /** Tasks with an effect, whole or in part, that should have been taken back and is not. */
    #notUndone(): PlannedTask[] {
        const { turn, plan } = this.ledger
        const goesBack = turn?.to === 'undo' || plan.undoes !== undefined
        const bad = goesBack ? ['doing', 'done', 'failed', 'undoing', 'undo-failed'] : ['undo-failed']
        return plan.tasks.filter(
            task =>
                bad.includes(this.ledger.stateOf(task.id)) &&
                !this.#isIrreversible(task) &&
                !this.#firedInUndo(task),
        )
    }

    /** The undo of something guarded is guarded too: when nobody confirms it, that task stays done, and nothing is half. */
    #firedInUndo(task: PlannedTask): boolean {
        const { ledger } = this
        return (
            ledger.plan.undoes !== undefined &&
            ledger.stateOf(task.id) === 'undo-failed' &&
            ledger.errorOf(task.id)?.kind === 'rolled-back'
        )
    }

    #isIrreversible(task: PlannedTask): boolean {
        return this.#host.kinds.has(task.kind) && this.#host.kinds.get(task.kind).irreversible === true
    }

    // --- what a task sees --------------------------------------------------------------------------------------

    #context(task: PlannedTask, signal: AbortSignal): TaskContext {
        const { ledger } = this
        const { store } = this.#host
        // An undo works with what the change that it undoes has kept.
        const owner = ledger.plan.undoes ?? ledger.id
        const results = ledger.plan.undoes === undefined ? ledger.results : store.replay(owner)!.results
        const material = () => {
            if (!ledger.hasMaterial && owner === ledger.id) this.#material = true
            return store.materialDirectory(owner)
        }
        return {
            change: owner,
            task: task.id,
            results,
            signal,
            get dir() {
                return material()
            },
            progress: event => this.#progress({ event: 'progress', task: task.id, ...event }),
            log: text => this.#log('info', text, task),
            warn: text => this.#log('warning', text, task),
            fact: (name, value) => {
                if (reservedFacts.has(name)) throw new Error(`"${name}" is not a name for a fact`)
                this.#facts = { ...this.#facts, [name]: value }
            },
            remember: value => {
                material()
                store.remember(owner, task.id, value)
            },
            remembered: () => store.remembered(owner, task.id),
            ask: (question, admit) => this.#ask(task, question, signal, admit),
        }
    }

    #progress(event: ProgressEvent): void {
        for (const follower of this.followers) follower.show(event)
    }

    #log(level: 'info' | 'warning', text: string, task: PlannedTask): void {
        if (this.#abandoned || this.end !== undefined) return
        const line =
            Buffer.byteLength(text) > bounds.logLineBytes
                ? `${text.slice(0, bounds.logLineBytes / 4)} …`
                : text
        this.#note({ event: 'log', level, text: line, task: task.id })
        if (this.#pending.length >= bounds.logLines) this.#tryFlush()
        else
            this.#stopLogTimer ??= this.#host.clock.after(bounds.logDelayMs, () => {
                this.#stopLogTimer = undefined
                this.#tryFlush()
            })
    }

    async #ask(
        task: PlannedTask,
        question: Question,
        signal: AbortSignal,
        admit: ((value: string, by: string) => void) | undefined,
    ): Promise<string> {
        const { clock } = this.#host
        signal.throwIfAborted()
        const earlier = this.#earlier.take(task.id, this.ledger.stateOf(task.id) === 'undoing', question.id)
        if (earlier?.answer !== undefined && !question.secret) return earlier.answer
        const boot = { id: clock.bootId(), ms: clock.bootMs() }
        let until: { boot: string; ms: number } | undefined
        const asked = { ...question }
        if (earlier !== undefined && earlier.answer === undefined) {
            until = earlier.until
            if (earlier.question.deadlineMs !== undefined) asked.deadlineMs = earlier.question.deadlineMs
        } else {
            const timeoutMs =
                question.timeoutMs ??
                (question.deadlineMs === undefined ? undefined : question.deadlineMs - clock.nowMs())
            if (timeoutMs !== undefined) {
                until = { boot: boot.id, ms: boot.ms + timeoutMs }
                asked.deadlineMs = clock.nowMs() + timeoutMs
            }
            if (until === undefined && isCommit(question.id))
                throw new Error(`${question.id} needs a deadline`)
            delete asked.timeoutMs
            const extra = until === undefined ? {} : { until }
            this.#must({ event: 'question', task: task.id, ...asked }, extra)
        }
        const ahead = this.#ahead(question, admit)
        if (ahead !== undefined) {
            this.#writeAnswer(question, ahead.value, ahead.by)
            return ahead.value
        }
        return this.questions.wait(asked, {
            // Another boot: whoever could have answered is gone, and so is the time.
            leftMs: until && (until.boot === boot.id ? until.ms - boot.ms : 0),
            clock,
            signal,
            admit,
            write: (value, by) => this.#writeAnswer(question, value, by),
        })
    }

    /** An answer that needs nobody: given at the start, or the safe one because nobody is there. */
    #ahead(
        question: Question,
        admit: ((value: string, by: string) => void) | undefined,
    ): { value: string; by: string } | undefined {
        if (isCommit(question.id)) return undefined
        const given = Object.hasOwn(this.#answers, question.id) ? this.#answers[question.id] : undefined
        if (given !== undefined) {
            const { by } = this.ledger.plan
            this.questions.check(question, given)
            admit?.(given, by)
            return { value: given, by }
        }
        return this.ledger.interactive ? undefined : { value: question.safe, by: 'default' }
    }

    #writeAnswer(question: Question, value: string, by: string): void {
        this.#must({ event: 'answer', id: question.id, value: question.secret ? '' : value, by })
    }

    // --- the journal -------------------------------------------------------------------------------------------

    /** Durable, or it throws and never was. */
    #must(body: Body, extra: Extra = {}): void {
        if (this.#abandoned) throw new Fault('failed', 'cannot go on: the daemon stops')
        const record = this.#record(body, extra)
        this.#journal.append([...this.#pending, record] as unknown as Json[])
        this.ledger.apply(record)
        this.#facts = undefined
        this.#material = undefined
        this.#written()
    }

    /** Holds now, and is durable with the next record that is. */
    #note(body: Body, extra: Extra = {}): void {
        const record = this.#record(body, extra)
        this.ledger.apply(record)
        this.#pending.push(record)
        this.#facts = undefined
        this.#material = undefined
    }

    #noteTask(
        task: PlannedTask,
        state: 'failed' | 'undoing' | 'undone' | 'undo-failed',
        error?: FaultRecord,
    ): void {
        this.#note(
            error ? { event: 'task', task: task.id, state, error } : { event: 'task', task: task.id, state },
        )
        this.#tryFlush()
    }

    /** What a disk refuses now stays pending: taking back must not wait for a disk that is full. */
    #tryFlush(): void {
        if (this.#abandoned || this.#pending.length === 0) return
        try {
            this.#journal.append(this.#pending as unknown as Json[])
        } catch {
            return
        }
        this.#written()
    }

    #written(): void {
        this.#pending.length = 0
        this.#stopLogTimer?.()
        this.#stopLogTimer = undefined
        for (const follower of this.followers) follower.ring()
    }

    #record(body: Body, extra: Extra): JournalRecord {
        const event = { seq: this.ledger.seq + 1, time: this.#now(), ...body } as ChangeEvent
        const record: JournalRecord = { event, ...extra }
        if (this.#facts !== undefined) record.facts = this.#facts
        if (this.#material !== undefined) record.material = true
        return record
    }

    #now(): string {
        return new Date(this.#host.clock.nowMs()).toISOString()
    }
}

class ConfirmedUnwritten extends Error {}

/** Names that an end event has itself. */
export const reservedFacts: ReadonlySet<string> = new Set([
    'seq',
    'time',
    'event',
    'result',
    'change',
    'error',
    'left',
])

/** A person who refuses cancels; a fired guard rolls back; everything else failed. */
function outcomeOf(fault: Fault): { result: Result; error: FaultRecord } {
    const result =
        fault.kind === 'refused' ? 'cancelled' : fault.kind === 'rolled-back' ? 'rolled-back' : 'failed'
    return { result, error: toRecord(fault) }
}
