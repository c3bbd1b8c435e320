/** A change: an ordered list of tasks, planned as a plain value before anything runs. */
import type { FaultRecord } from '../core/errors.ts'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

export interface PlannedTask {
    /** Unique in its change; the runner numbers them t1, t2, … */
    id: string
    /** A registered task kind, `folder.verb`: `archive.write`, `target.publish`. */
    kind: string
    /** One line for people: "write the archive", "publish to local". */
    title: string
    params: Json
    /**
     * A failure of this task is a warning: it is undone alone and the change goes on. One that fails with the kind
     * `rolled-back` makes that the result of the change: the guard fired, and what is not guarded stays.
     */
    optional?: boolean
    /**
     * Optional tasks of one group stand or fall together: when one fails, the done ones are undone and the rest
     * skipped. They follow each other in the plan.
     */
    group?: string
}

export interface Plan {
    /** `backup`, `prune`, `restore`, … */
    kind: string
    /** One line for `history`. */
    summary: string
    /** Who asked: `root@pts/0`, `timer`, `apt`. */
    by: string
    tasks: PlannedTask[]
    /**
     * The task after which the change only goes forward: once it is done, a crash resumes the tasks behind it, and
     * their failures never undo it. A published backup is not taken back because a second copy failed.
     */
    pivot?: string
    /** What the next start does with a change that a crash interrupted before its pivot. Default `undo`. */
    recovery?: 'undo' | 'resume'
    /** Facts for the end event and for history, such as the id of the backup that is being made. */
    facts?: Record<string, Json>
    /** This change runs the undos of the tasks of that finished change, with what it remembered; see `Runner.undo`. */
    undoes?: string
}

export type Result = 'ok' | 'warning' | 'cancelled' | 'rolled-back' | 'failed'

export type ChangeState = 'running' | 'undoing' | 'done'

export interface Question {
    id: string
    text: string
    /** None for a free text. */
    choices: { value: string; text: string }[]
    /** Milliseconds since the epoch, or undefined when the question waits for ever. */
    deadlineMs?: number
    /** How long a person has (ms). A task gives this; the runner makes the deadline of it. */
    timeoutMs?: number
    /** Taken when nobody answers; never destroys anything. */
    safe: string
    /** The answer is a passphrase or a key: it is given to the task and never journaled. */
    secret?: boolean
}

/** What a follower of a change sees. All but `progress` are journaled and numbered from 1. */
export type ChangeEvent = { seq: number; time: string } & (
    | {
          event: 'begin'
          change: string
          kind: string
          summary: string
          by: string
          tasks: { id: string; title: string }[]
      }
    | {
          event: 'task'
          task: string
          state: 'doing' | 'done' | 'failed' | 'undoing' | 'undone' | 'undo-failed'
          error?: FaultRecord
      }
    | { event: 'log'; level: 'info' | 'warning'; text: string; task?: string }
    | ({ event: 'question'; task?: string } & Question)
    | { event: 'answer'; id: string; value: string; by: string }
    | { event: 'recovery'; text: string }
    | ({ event: 'end'; result: Result; change: string; error?: FaultRecord; left?: string[] } & {
          [fact: string]: unknown
      })
)

export type EndEvent = Extract<ChangeEvent, { event: 'end' }>

export interface ProgressEvent {
    event: 'progress'
    task: string
    /** Bytes or items done so far, of `total` when it is known. */
    done: number
    total?: number
    unit: 'bytes' | 'entries'
    text?: string
}

export interface ChangeSummary {
    id: string
    kind: string
    summary: string
    by: string
    state: ChangeState
    result?: Result
    /** RFC 3339. */
    began: string
    ended?: string
    warnings: number
    error?: FaultRecord
    /** What could not be taken back, each with its reason. */
    left?: string[]
    facts: Record<string, Json>
}
