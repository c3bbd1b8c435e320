/** Makes the live system read its files again: the ways in their order, until one of them works. */
import type { Argv, Way } from './record.ts'

export type RunCommand = (command: {
    argv: Argv
    timeoutMs: number
}) => Promise<{ ok: boolean; why?: string; missing?: boolean }>

/** `way` is the one that worked; `problem` says that none did, or is undefined when there was nothing to do. */
export async function runWays(
    ways: readonly Way[],
    run: RunCommand,
    say: (text: string) => void,
): Promise<{ way?: string; problem?: string }> {
    const failed: string[] = []
    for (const { title, commands, timeoutMs } of ways) {
        const why = await runAll(commands, timeoutMs, run, say)
        if (why === undefined) return { way: title }
        failed.push(`${title}: ${why}`)
    }
    return failed.length === 0 ? {} : { problem: `cannot load it: ${failed.join('; ')}` }
}

/** Why a way did not work; undefined when it did. */
async function runAll(
    commands: readonly Argv[],
    timeoutMs: number,
    run: RunCommand,
    say: (text: string) => void,
): Promise<string | undefined> {
    for (const argv of commands) {
        const { ok, why } = await run({ argv, timeoutMs })
        say(`${argv.join(' ')}: ${ok ? 'done' : why}`)
        if (!ok) return `${argv.join(' ')}: ${why}`
    }
    return undefined
}
