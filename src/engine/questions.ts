/** Questions of a running change: which are open, who may answer, and what happens when nobody does. */
import { Fault } from '../core/errors.ts'
import type { TimedClock } from '../host/timer.ts'
import type { Question } from './change.ts'
import type { Asked, Ledger } from './ledger.ts'

/** Confirming what could lock a person out is never done ahead and never for want of a terminal. */
export function isCommit(questionId: string): boolean {
    return questionId.endsWith('.commit')
}

interface Waiting {
    question: Question
    answer(value: string, by: string): void
}

export interface WaitOptions {
    /** Undefined waits for ever. */
    leftMs: number | undefined
    clock: TimedClock
    signal: AbortSignal
    admit: ((value: string, by: string) => void) | undefined
    /** Makes the answer durable, or throws. */
    write(value: string, by: string): void
}

export class OpenQuestions {
    readonly #open = new Map<string, Waiting>()

    get open(): Question[] {
        return [...this.#open.values()].map(waiting => waiting.question)
    }

    /** Resolves with the answer once it is durable; with the safe one at the deadline. */
    wait(question: Question, options: WaitOptions): Promise<string> {
        if (this.#open.has(question.id)) throw new Error(`the question ${question.id} is open already`)
        const { leftMs, clock, signal, admit, write } = options
        return new Promise<string>((resolve, reject) => {
            let stopTimer = () => {}
            const close = () => {
                stopTimer()
                signal.removeEventListener('abort', aborted)
                this.#open.delete(question.id)
            }
            const aborted = () => {
                close()
                reject(signal.reason)
            }
            const expired = () => {
                close()
                try {
                    write(question.safe, 'deadline')
                    resolve(question.safe)
                } catch (error) {
                    reject(error)
                }
            }
            this.#open.set(question.id, {
                question,
                answer: (value, by) => {
                    this.check(question, value)
                    admit?.(value, by)
                    write(value, by)
                    close()
                    resolve(value)
                },
            })
            signal.addEventListener('abort', aborted)
            if (leftMs !== undefined) {
                if (leftMs <= 0) expired()
                else stopTimer = clock.after(leftMs, expired)
            }
        })
    }

    answer(id: string, value: string, by: string): void {
        const waiting = this.#open.get(id)
        if (waiting === undefined) {
            const open = [...this.#open.keys()].join(', ')
            throw new Fault('failed', `cannot answer ${id}: the change does not ask that now`, {
                hint: open === '' ? 'no question is open' : `open now: ${open}`,
            })
        }
        waiting.answer(value, by)
    }

    check(question: Question, value: string): void {
        const { choices } = question
        if (choices.length === 0 || choices.some(choice => choice.value === value)) return
        throw new Fault('usage', `cannot answer ${question.id} with ${value}: it is not a choice`, {
            hint: `choices: ${choices.map(choice => choice.value).join(', ')}`,
        })
    }
}

/** The questions that earlier processes asked for the tasks which now run again, to be given out once and in order. */
export class AskedBefore {
    readonly #asked: Asked[]

    constructor(ledger: Ledger) {
        this.#asked = [...ledger.asked]
    }

    take(task: string, undoing: boolean, question: string): Asked | undefined {
        const at = this.#asked.findIndex(
            one => one.task === task && one.undoing === undoing && one.question.id === question,
        )
        return at < 0 ? undefined : this.#asked.splice(at, 1)[0]
    }
}
