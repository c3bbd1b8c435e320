/** Task kinds: the do and the undo of one effect, side by side, and the registry that recovery finds them in. */
import { Fault } from '../core/errors.ts'
import type { Json, ProgressEvent, Question } from './change.ts'

export interface TaskContext {
    change: string
    task: string
    /** Results of the tasks done so far, by task id: what `do` returned. */
    results: ReadonlyMap<string, Json>
    /**
     * Private directory of the change, 0700, durable: undo material goes here before the do. Made when it is first
     * asked for. Names that begin with `remembered.` are the engine's.
     */
    readonly dir: string
    /** Aborted when somebody cancels the change or the daemon stops. */
    signal: AbortSignal
    progress(event: Omit<ProgressEvent, 'event' | 'task'>): void
    /** A line of the change's log, durable with the next record. */
    log(text: string): void
    /** As `log`; the change then ends with `warning` at best. */
    warn(text: string): void
    /** Facts that the end event and history carry, such as the backup's size. */
    fact(name: string, value: Json): void
    /** Stores what undo needs, durably, before the effect; replaces what this task stored before. */
    remember(value: Json): void
    /** What `remember` stored, also after a crash. */
    remembered(): Json | undefined
    /**
     * Asks a person; resolves to the safe default when nobody answers in time. After a crash a task that runs again
     * gets the answers that were given before, and an open question goes on with the time it had left. `admit` may
     * refuse an answer by throwing a Fault, which whoever answered sees; the question then stays open.
     */
    ask(question: Question, admit?: (value: string, by: string) => void): Promise<string>
}

/**
 * Both functions are idempotent: after a crash the runner may call either again. A `do` that runs again must not
 * remember its own work as the state before, and neither may take for durable what it finds done: a killed process may
 * have left it unsynced. Only below STATE the runner syncs everything before it calls a task again.
 */
export interface TaskKind<P extends Json = Json> {
    kind: string
    /** The effect. What it returns is journaled and given to later tasks. */
    do(params: P, context: TaskContext): Promise<Json | undefined>
    /** Takes the effect back; also called when `do` was interrupted half-way, or never got to start. */
    undo(params: P, context: TaskContext): Promise<void>
    /** Cannot be taken back: the plan says so. */
    irreversible?: true
}

export class TaskKinds {
    readonly #kinds = new Map<string, TaskKind>()

    register<P extends Json>(kind: TaskKind<P>): this {
        if (this.#kinds.has(kind.kind)) throw new Error(`task kind ${kind.kind} is registered twice`)
        this.#kinds.set(kind.kind, kind as unknown as TaskKind)
        return this
    }

    has(kind: string): boolean {
        return this.#kinds.has(kind)
    }

    get(kind: string): TaskKind {
        const found = this.#kinds.get(kind)
        if (found === undefined)
            throw new Fault(
                'stuck',
                `cannot run a task of kind ${kind}: this version of proxsave does not know it`,
                {
                    hint: 'install the version that began the change, and start it again',
                },
            )
        return found
    }
}
