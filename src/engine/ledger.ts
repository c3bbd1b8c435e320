/** What a journal says, folded into the present state of its change. */
import type { FaultRecord } from '../core/errors.ts'
import type {
    ChangeEvent,
    ChangeSummary,
    EndEvent,
    Json,
    Plan,
    PlannedTask,
    Question,
    Result,
} from './change.ts'
import { isCommit } from './questions.ts'

/** One record of the journal: the event that followers see, and beside it what only recovery needs. */
export interface JournalRecord {
    event: ChangeEvent
    /** With `begin`. */
    plan?: Plan
    interactive?: boolean
    /** With a task's `done`: what its `do` returned. */
    result?: Json
    /** With `question`: the deadline on the clock of that boot. */
    until?: { boot: string; ms: number }
    /** From here on the change only goes back, or stops where it is. */
    turn?: Turn
    /** Somebody asked to cancel. */
    cancelled?: string
    /** Facts set since the record before. */
    facts?: Record<string, Json>
    /** The change has undo material from here on. */
    material?: true
}

export interface Turn {
    to: 'undo' | 'stop'
    result: Result
    error?: FaultRecord
}

export type TaskState = 'waiting' | 'doing' | 'done' | 'failed' | 'undoing' | 'undone' | 'undo-failed'

/** A question that was asked, and its answer when it has one. */
export interface Asked {
    task: string | undefined
    /** Asked by the task's undo. */
    undoing: boolean
    question: Question
    until?: { boot: string; ms: number }
    answer?: string
}

export class Ledger {
    readonly id: string
    readonly plan: Plan
    readonly began: string
    readonly interactive: boolean
    readonly results = new Map<string, Json>()
    readonly facts: Record<string, Json>
    readonly asked: Asked[] = []
    /** Tasks of which an undo failed at some time, even if a later one did not. */
    readonly undoFailed = new Set<string>()
    seq = 0
    warnings = 0
    turn: Turn | undefined
    cancelled: string | undefined
    end: EndEvent | undefined
    hasMaterial = false
    #tasks = new Map<string, { state: TaskState; error?: FaultRecord }>()

    /** Begins with the `begin` record; undefined when `record` is not one. */
    static begin(record: JournalRecord | undefined): Ledger | undefined {
        if (record?.event?.event !== 'begin' || record.plan === undefined) return undefined
        return new Ledger(record.event.change, record.event.time, record.plan, record.interactive ?? false)
    }

    private constructor(id: string, began: string, plan: Plan, interactive: boolean) {
        this.id = id
        this.began = began
        this.plan = plan
        this.interactive = interactive
        this.facts = { ...plan.facts }
        this.seq = 1
        // The tasks of an undo were done by the change that it undoes.
        if (plan.undoes !== undefined)
            for (const task of plan.tasks) this.#tasks.set(task.id, { state: 'done' })
    }

    apply(record: JournalRecord): void {
        const { event } = record
        this.seq = event.seq
        if (record.facts !== undefined) Object.assign(this.facts, record.facts)
        if (record.material) this.hasMaterial = true
        if (record.cancelled !== undefined) this.cancelled = record.cancelled
        if (record.turn !== undefined) this.turn = record.turn
        switch (event.event) {
            case 'task':
                if (event.state === 'undo-failed') this.undoFailed.add(event.task)
                this.#tasks.set(event.task, {
                    state: event.state,
                    error: event.error ?? this.#tasks.get(event.task)?.error,
                })
                if (record.result !== undefined) this.results.set(event.task, record.result)
                return
            case 'log':
                if (event.level === 'warning') this.warnings++
                return
            case 'question': {
                const { seq: _seq, time: _time, event: _event, task, ...question } = event
                const undoing = task !== undefined && this.stateOf(task) === 'undoing'
                this.asked.push({ task, undoing, question, until: record.until })
                return
            }
            case 'answer': {
                const open = this.asked.findLast(asked => asked.question.id === event.id)
                if (open !== undefined) open.answer = event.value
                return
            }
            case 'end':
                this.end = event
                return
        }
    }

    stateOf(task: string): TaskState {
        return this.#tasks.get(task)?.state ?? 'waiting'
    }

    /** Why the task failed, or why its undo did. */
    errorOf(task: string): FaultRecord | undefined {
        return this.#tasks.get(task)?.error
    }

    /** Once true, nothing that was done is taken back any more. */
    get pastPivot(): boolean {
        const { pivot } = this.plan
        return pivot !== undefined && this.stateOf(pivot) === 'done'
    }

    /**
     * What the next start does with this change when it is interrupted now: go on, or take back. It goes on behind the
     * pivot, when the plan says so, in a task that has come to ask whether its effect may stay, and behind one that was
     * told so: what a person has confirmed is not taken back because a process died.
     */
    get goesForward(): boolean {
        if (this.pastPivot || this.plan.recovery === 'resume' || this.plan.undoes !== undefined) return true
        return this.asked.some(
            asked =>
                isCommit(asked.question.id) &&
                asked.task !== undefined &&
                !asked.undoing &&
                ['doing', 'done'].includes(this.stateOf(asked.task)),
        )
    }

    /** A person has confirmed something: failures and cancelling behind it end the change where it is. */
    get hasConfirmed(): boolean {
        return this.asked.some(
            asked =>
                isCommit(asked.question.id) &&
                asked.task !== undefined &&
                !asked.undoing &&
                this.stateOf(asked.task) === 'done',
        )
    }

    /** The task has come to ask whether its effect may stay: when it runs again it goes on with that. */
    asksToStay(task: string): boolean {
        return (
            this.stateOf(task) === 'doing' &&
            this.asked.some(asked => asked.task === task && !asked.undoing && isCommit(asked.question.id))
        )
    }

    /** The task that an interruption caught at its work. */
    get atWork(): PlannedTask | undefined {
        return this.plan.tasks.find(task => ['doing', 'undoing'].includes(this.stateOf(task.id)))
    }

    summary(): ChangeSummary {
        const { id, plan, began, warnings, end, facts } = this
        const summary: ChangeSummary = {
            id,
            kind: plan.kind,
            summary: plan.summary,
            by: plan.by,
            state: end
                ? 'done'
                : this.turn?.to === 'undo' || plan.undoes !== undefined
                  ? 'undoing'
                  : 'running',
            began,
            warnings,
            facts,
        }
        if (end !== undefined) {
            summary.result = end.result
            summary.ended = end.time
            if (end.error !== undefined) summary.error = end.error
            if (end.left !== undefined) summary.left = end.left
        }
        return summary
    }
}
