/** Questions at a terminal. Without one nothing is asked: the callers know their safe answers. */
import { Fault } from '../core/errors.ts'
import type { Cli } from './command.ts'

/** Prompts go to standard error, so that the result on standard output stays clean. */
export const canAsk = (cli: Cli): boolean =>
    cli.terminal.inIsTerminal && cli.terminal.errIsTerminal && !cli.json

export async function askPassphrase(message: string, again = false): Promise<string> {
    return asked(async context => {
        const { password } = await import('@inquirer/prompts')
        const first = await password({ message, mask: true }, context)
        if (!again) return first
        const second = await password({ message: 'The same once more', mask: true }, context)
        if (first !== second) throw new Fault('refused', 'cannot take the passphrase: the two entries differ')
        return first
    })
}

export async function askConfirm(message: string, byDefault: boolean): Promise<boolean> {
    return asked(async context => {
        const { confirm } = await import('@inquirer/prompts')
        return confirm({ message, default: byDefault }, context)
    })
}

export async function askText(message: string, byDefault?: string): Promise<string> {
    return asked(async context => {
        const { input } = await import('@inquirer/prompts')
        return input({ message, default: byDefault }, context)
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
