/** The last lines of a restore: what it did, where the exports are, what to do next, and the way back. */
import { count } from '../core/units.ts'
import type { Cli } from './command.ts'
import { safe } from './output.ts'

interface RestoreEnd {
    result: string
    change: string
    [fact: string]: unknown
}

/** `3 created, 1 replaced, 20 entries unchanged, network rolled back (1)`. */
export function didInRestore(end: RestoreEnd): string {
    const number = (name: string) => (typeof end[name] === 'number' ? (end[name] as number) : 0)
    return [
        `${number('created')} created`,
        `${number('replaced')} replaced`,
        ...(number('merged') > 0 ? [`${number('merged')} merged`] : []),
        ...(number('dressed') > 0 ? [`${number('dressed')} with owner or mode set`] : []),
        ...(number('deleted') > 0 ? [`${number('deleted')} removed`] : []),
        `${count(number('unchanged'), 'entry', 'entries')} unchanged`,
        ...Object.entries(end)
            .filter(([name]) => name.startsWith('guarded_'))
            .map(([name, outcome]) => `${name.slice('guarded_'.length)} ${safe(String(outcome))}`),
    ].join(', ')
}

export function summariseRestore(cli: Cli, end: RestoreEnd): void {
    const { line, colour } = cli.output
    line(
        `${end.result === 'ok' ? colour('green', 'done') : colour('yellow', 'done, with warnings')}: ${didInRestore(end)}`,
    )
    if (typeof end.exports === 'string') line(`exported to ${safe(end.exports)}`)
    if (Array.isArray(end.next) && end.next.length > 0) {
        line('\nWhat to do next:')
        for (const step of end.next) line(`  - ${safe(String(step))}`)
    }
    line(`\nWhat it did, path by path: proxsavectl history ${end.change}`)
    line(`Back to the state before:  proxsavectl undo ${end.change}`)
}
