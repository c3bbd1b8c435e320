/** The list of categories with a mark before each: numbers toggle, a all, n none, c continue, 0 cancel. */
import { Fault } from '../core/errors.ts'
import { safe } from './output.ts'

export interface Choice {
    value: string
    text: string
}

/** One step of the dialogue, so that it can be tried without a terminal. */
export type Step =
    | { kind: 'again'; chosen: Set<string>; complaint?: string }
    | { kind: 'done'; chosen: string[] }
    | { kind: 'cancel' }

export function showToggles(choices: readonly Choice[], chosen: ReadonlySet<string>): string {
    const width = String(choices.length).length
    const rows = choices.map(
        ({ value, text }, at) =>
            `  [${chosen.has(value) ? 'x' : ' '}] ${String(at + 1).padStart(width)}  ${value.padEnd(22)} ${safe(text)}`,
    )
    return [...rows, '  numbers toggle, a all, n none, c continue, 0 cancel'].join('\n')
}

export function toggle(text: string, choices: readonly Choice[], before: ReadonlySet<string>): Step {
    const chosen = new Set(before)
    const words = text
        .toLowerCase()
        .split(/[\s,]+/)
        .filter(word => word !== '')
    for (const word of words) {
        if (word === '0') return { kind: 'cancel' }
        if (word === 'a') for (const { value } of choices) chosen.add(value)
        else if (word === 'n') chosen.clear()
        else if (word === 'c') {
            if (chosen.size === 0) return { kind: 'again', chosen, complaint: 'Nothing is chosen yet.' }
            return {
                kind: 'done',
                chosen: choices.flatMap(({ value }) => (chosen.has(value) ? [value] : [])),
            }
        } else {
            const choice = choices[Number(word) - 1] ?? choices.find(({ value }) => value === word)
            if (choice === undefined)
                return { kind: 'again', chosen, complaint: `There is no "${safe(word)}" in the list.` }
            if (!chosen.delete(choice.value)) chosen.add(choice.value)
        }
    }
    return { kind: 'again', chosen }
}

/** Asks until the person continues or cancels. */
export async function askToggles(
    message: string,
    choices: readonly Choice[],
    ask: (message: string) => Promise<string>,
    say: (text: string) => void,
): Promise<string[]> {
    say(message)
    for (let chosen: ReadonlySet<string> = new Set(); ; ) {
        say(showToggles(choices, chosen))
        const step = toggle(await ask('Your choice'), choices, chosen)
        if (step.kind === 'done') return step.chosen
        if (step.kind === 'cancel') throw new Fault('refused', 'cannot go on: cancelled; nothing was changed')
        if (step.complaint !== undefined) say(step.complaint)
        chosen = step.chosen
    }
}
