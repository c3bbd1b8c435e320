/** The context that a task is given, in memory, with everything it said and asked. */
import type { Json, Question } from '../../src/engine/change.ts'
import type { TaskContext } from '../../src/engine/kinds.ts'

export interface TestContext extends TaskContext {
    logs: string[]
    warnings: string[]
    asked: Question[]
    facts: Record<string, Json>
    /** What a new process would find. */
    memory: Json | undefined
    /** Given one after the other; then the safe answers. */
    answers: string[]
    cancel(): void
}

export function testContext(
    options: { dir?: string; results?: Record<string, Json>; answers?: string[] } = {},
) {
    const abort = new AbortController()
    const context: TestContext = {
        change: 'c',
        task: 't',
        results: new Map(Object.entries(options.results ?? {})),
        dir: options.dir ?? '/nowhere',
        signal: abort.signal,
        logs: [],
        warnings: [],
        asked: [],
        facts: {},
        memory: undefined,
        answers: options.answers ?? [],
        cancel: () => abort.abort(new Error('cancelled')),
        progress: () => undefined,
        log: text => void context.logs.push(text),
        warn: text => void context.warnings.push(text),
        fact: (name, value) => {
            context.facts[name] = value
        },
        remember: value => {
            context.memory = structuredClone(value)
        },
        remembered: () => structuredClone(context.memory),
        ask: async question => {
            context.asked.push(question)
            return context.answers.shift() ?? question.safe
        },
    }
    return context
}
