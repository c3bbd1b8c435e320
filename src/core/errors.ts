/** The one class of failure that people see, and how its kind decides the exit status. */

/**
 * What went wrong, as a script needs to know it. The exit statuses are those of the command line's contract:
 * 1 nothing changed or all undone, 2 usage, 3 daemon unreachable, 4 refused by a person, 5 backup damaged, unsigned
 * or wrong key, 6 done in part, 7 rolled back, 8 another change holds the lock, 9 could not be fully undone.
 */
export const exitStatusOf = {
    failed: 1,
    usage: 2,
    unreachable: 3,
    refused: 4,
    damaged: 5,
    partial: 6,
    'rolled-back': 7,
    conflict: 8,
    stuck: 9,
} as const

export type FaultKind = keyof typeof exitStatusOf

export interface FaultOptions {
    /** What the person can do now; one sentence, without a full stop at the end of a command line. */
    hint?: string
    /** Machine-readable facts that travel with the error: an id of a running change, an offset, a path. */
    facts?: Record<string, string | number>
    cause?: unknown
}

/** A failure with a sentence that begins "cannot …: why" and, where there is one, a way out. */
export class Fault extends Error {
    readonly kind: FaultKind
    readonly hint: string | undefined
    readonly facts: Record<string, string | number>

    constructor(kind: FaultKind, message: string, options: FaultOptions = {}) {
        super(message, options.cause === undefined ? undefined : { cause: options.cause })
        this.name = 'Fault'
        this.kind = kind
        this.hint = options.hint
        this.facts = options.facts ?? {}
    }

    get exitStatus(): number {
        return exitStatusOf[this.kind]
    }
}

/** The shape in which a fault crosses a process boundary: the socket, the journal, a worker's pipe. */
export interface FaultRecord {
    kind: FaultKind
    message: string
    hint?: string
    facts?: Record<string, string | number>
}

export function toRecord(error: unknown): FaultRecord {
    const fault = asFault(error)
    const record: FaultRecord = { kind: fault.kind, message: fault.message }
    if (fault.hint !== undefined) record.hint = fault.hint
    if (Object.keys(fault.facts).length > 0) record.facts = fault.facts
    return record
}

export function fromRecord(record: FaultRecord): Fault {
    const kind = record.kind in exitStatusOf ? record.kind : 'failed'
    return new Fault(kind, record.message, { hint: record.hint, facts: record.facts })
}

/** Any thrown value as a fault; what is not one already is an unexpected failure and says so. */
export function asFault(error: unknown): Fault {
    if (error instanceof Fault) return error
    const why = error instanceof Error ? error.message : String(error)
    return new Fault('failed', `cannot go on: ${why}`, { cause: error })
}
