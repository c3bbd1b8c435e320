/** Questions at a terminal. Without one nothing is asked: the callers know their safe answers. */
import { Fault } from '../core/errors.ts'
import type { Cli } from './command.ts'

/** Prompts go to standard error, so that the result on standard output stays clean. */
export const canAsk = (cli: Cli): boolean =>
    cli.terminal.inIsTerminal && cli.terminal.errIsTerminal && !cli.json

/** Something secret, typed unseen. */
export async function askPassphrase(message: string): Promise<string> {
    return asked(async context => {
        const { password } = await import('@inquirer/prompts')
        return password({ message, mask: true }, context)
    })
}

/** As the daemon takes it. */
const passphraseLength = { least: 8, most: 1024 }
const entries = 3

/** A passphrase that is made now: typed twice, and again when the two differ. */
export async function askNewPassphrase(): Promise<string> {
    const { least, most } = passphraseLength
    return asked(async context => {
        const { password } = await import('@inquirer/prompts')
        for (let left = entries; left > 0; left--) {
            const validate = (text: string) =>
                text.length < least
                    ? `too short: ${least} characters or more`
                    : text.length <= most || `too long: at most ${most} characters`
            const message = `New passphrase (${least} characters or more)`
            const first = await password({ message, mask: true, validate }, context)
            const second = await password({ message: 'The same once more', mask: true }, context)
            if (first === second) return first
            if (left > 1) context.output.write('The two differ. Once more, from the start:\n')
        }
        throw new Fault('refused', 'cannot take the passphrase: the two entries differed each time')
    })
}

export async function askConfirm(message: string, byDefault: boolean): Promise<boolean> {
    return asked(async context => {
        const { confirm } = await import('@inquirer/prompts')
        return confirm({ message, default: byDefault }, context)
    })
}

/** `check` returns what is wrong with what was typed; it is asked for again then. */
export async function askText(
    message: string,
    options: {
        byDefault?: string
        check?: (text: string) => string | undefined | Promise<string | undefined>
    } = {},
): Promise<string> {
    const { byDefault, check } = options
    return asked(async context => {
        const { input } = await import('@inquirer/prompts')
        const validate = async (text: string) => (await check?.(text.trim())) ?? true
        return (await input({ message, default: byDefault, validate }, context)).trim()
    })
}

export async function askChoice(
    message: string,
    choices: readonly { value: string; text: string }[],
    options: { byDefault?: string; deadlineMs?: number; signal?: AbortSignal } = {},
): Promise<string> {
    return asked(async context => {
        const { select } = await import('@inquirer/prompts')
        return select(
            {
                message,
                choices: choices.map(({ value, text }) => ({ value, name: text })),
                default: options.byDefault,
            },
            { ...context, signal: options.signal },
        )
    })
}

async function asked<T>(ask: (context: { output: NodeJS.WritableStream }) => Promise<T>): Promise<T> {
    try {
        return await ask({ output: process.stderr })
    } catch (error) {
        const name = error instanceof Error ? error.name : ''
        if (name === 'ExitPromptError' || name === 'AbortPromptError')
            throw new Fault('refused', 'cannot go on: the question was not answered', { cause: error })
        throw error
    }
}

/**
 * A choice with a deadline: the seconds left and what happens then stand in the prompt. Resolves to undefined when the
 * time is over or the question was answered elsewhere (`signal`); then the safe answer is somebody else's matter. `typed`
 * takes nothing but a choice in full: an empty line must not roll anything back.
 */
export async function askInTime(
    message: string,
    choices: readonly { value: string; text: string }[],
    options: { safe: string; leftMs?: number; typed?: boolean; signal: AbortSignal },
): Promise<string | undefined> {
    const { createInterface } = await import('node:readline')
    const { safe, leftMs, typed = false, signal } = options
    // Not the time of day, which may be set meanwhile.
    const deadline = leftMs === undefined ? undefined : performance.now() + leftMs
    const out = process.stderr
    const lines = choices.map(
        ({ value, text }, at) =>
            `    ${typed ? '' : `${at + 1}) `}${value === text ? value : `${value}: ${text}`}`,
    )
    // First the terminal's keys, then the question: whoever is quick must not end the program.
    const reader = createInterface({ input: process.stdin, output: out, terminal: true })
    out.write(`\n${message}\n${lines.join('\n')}${lines.length > 0 ? '\n' : ''}`)
    const label = () => {
        const left =
            deadline === undefined
                ? ''
                : `${Math.max(0, Math.ceil((deadline - performance.now()) / 1000))} s left, `
        return safe === '' ? '> ' : `[${left}${typed ? 'then' : 'default'} ${safe}] > `
    }
    return new Promise<string | undefined>((resolve, reject) => {
        const show = () => {
            reader.setPrompt(label())
            reader.prompt(true)
        }
        const timer = deadline === undefined ? undefined : setInterval(tick, 1_000)
        const close = () => {
            clearInterval(timer)
            signal.removeEventListener('abort', gone)
            reader.close()
        }
        function tick() {
            if (deadline !== undefined && performance.now() >= deadline) gone()
            else show()
        }
        function gone() {
            close()
            out.write('\n')
            resolve(undefined)
        }
        signal.addEventListener('abort', gone)
        reader.on('SIGINT', () => {
            close()
            out.write('\n')
            reject(new Fault('refused', 'cannot go on: the question was not answered'))
        })
        reader.on('line', line => {
            const text = line.trim()
            const byDefault = text === '' && safe !== '' ? safe : choices[Number(text) - 1]?.value
            const chosen = (typed ? undefined : byDefault) ?? text
            if (choices.length > 0 && !choices.some(({ value }) => value === chosen)) {
                out.write(`Please type one of ${choices.map(({ value }) => value).join(', ')}\n`)
                show()
                return
            }
            close()
            resolve(chosen)
        })
        if (signal.aborted) gone()
        else show()
    })
}
