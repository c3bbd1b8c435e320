/** Runs the commands of the catalogue and keeps what they print. */
import type { CapturedCommand, Category } from '../catalog/category.ts'
import { limits } from '../core/limits.ts'
import type { Exec } from '../host/exec.ts'

export interface CapturedOutput {
    /** Below `var/lib/proxsave/captured/`: `<category>/<file>`. */
    path: string
    content: Uint8Array
}

export interface Capture {
    outputs: CapturedOutput[]
    /** Commands that did not answer, by category id. */
    failed: { category: string; file: string; why: string }[]
}

/** Commands are few and mostly wait for others: a few at once. */
const AT_ONCE = 4
/** A program that did not answer this many times is not asked again: a dead daemon behind it must not cost minutes. */
const PATIENCE = 3

/**
 * Captures the output of every command of the categories. A program that the host has not is passed over in silence;
 * one that fails is kept with what it printed and reported. Never throws for a command.
 */
export async function capture(
    categories: readonly Category[],
    exec: Exec,
    signal: AbortSignal | undefined,
): Promise<Capture> {
    const result: Capture = { outputs: [], failed: [] }
    const queue = categories.flatMap(category =>
        (category.commands ?? []).map(command => ({ category: category.id, command })),
    )
    let kept = 0
    const silent = new Map<string, number>()
    const work = async () => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
            if (signal?.aborted) return
            const { category, command } = next
            const program = command.argv[0]!
            if ((silent.get(program) ?? 0) >= PATIENCE) {
                const why = `${command.argv.join(' ')} was not asked: ${program} did not answer before`
                result.failed.push({ category, file: command.file, why })
                continue
            }
            const answer = await run(command, exec, signal)
            if (answer === undefined) continue
            if (answer.silent === true) silent.set(program, (silent.get(program) ?? 0) + 1)
            if (answer.why !== undefined)
                result.failed.push({ category, file: command.file, why: answer.why })
            if (answer.content.length === 0) continue
            if (kept + answer.content.length > limits.capturedBytes) {
                const why = `${command.argv.join(' ')} was left out: all commands together printed too much`
                result.failed.push({ category, file: command.file, why })
                continue
            }
            kept += answer.content.length
            result.outputs.push({ path: `${category}/${command.file}`, content: answer.content })
        }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    result.outputs.sort((a, b) => (a.path < b.path ? -1 : 1))
    result.failed.sort((a, b) => (a.category + a.file < b.category + b.file ? -1 : 1))
    return result
}

async function run(
    command: CapturedCommand,
    exec: Exec,
    signal: AbortSignal | undefined,
): Promise<{ content: Uint8Array; why?: string; silent?: true } | undefined> {
    const timeoutMs = command.timeoutMs ?? limits.commandMs
    const shown = command.argv.join(' ')
    let answer: Awaited<ReturnType<Exec>>
    try {
        answer = await exec(command.argv, { timeoutMs, maxBytes: limits.commandBytes, signal })
    } catch (error) {
        // No process left, no memory: the files matter more than what a command would have said.
        const why = error instanceof Error ? error.message : String(error)
        return { content: new Uint8Array(), why: `${shown} could not be started: ${why}` }
    }
    if (!answer.found) return undefined
    if (answer.timedOut)
        return {
            content: answer.stdout,
            why: `${shown} did not end within ${timeoutMs / 1000} s`,
            silent: true,
        }
    const ok = answer.status !== null && (command.okStatuses ?? [0]).includes(answer.status)
    if (ok && !answer.truncated) return { content: answer.stdout }
    if (ok) return { content: answer.stdout, why: `${shown} printed too much; the beginning was kept` }
    const first = Buffer.from(answer.stderr).toString().trim().split('\n')[0] ?? ''
    const ended =
        answer.status === null ? `was ended by ${answer.endedBy}` : `ended with status ${answer.status}`
    return {
        content: answer.stdout,
        why: `${shown} ${ended}${first === '' ? '' : `: ${first.slice(0, 200)}`}`,
    }
}
