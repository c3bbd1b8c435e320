/** What the commands print with: plain lines, tables and colour, the latter only where a terminal has it. */
import type { Terminal } from '../client/types.ts'

export type Colour = 'green' | 'yellow' | 'red' | 'bold' | 'dim'

export interface Output {
    line(text?: string): void
    /** One JSON document on a line of its own. */
    document(value: unknown): void
    /** To standard error: what a script that reads the result does not want. */
    note(text: string): void
    colour(colour: Colour, text: string): string
    /** Rows below a head, without borders; cut to the terminal's width, never cut in a pipe. */
    table(
        head: readonly string[],
        rows: readonly (readonly string[])[],
        right?: readonly number[],
    ): Promise<void>
}

const codes: Record<Colour, string> = { green: '32', yellow: '33', red: '31', bold: '1', dim: '2' }

export function createOutput(terminal: Terminal): Output {
    const coloured = terminal.outIsTerminal && !terminal.env.NO_COLOR && terminal.env.TERM !== 'dumb'
    const colour = (name: Colour, text: string) => (coloured ? `\x1b[${codes[name]}m${text}\x1b[0m` : text)
    return {
        line: (text = '') => terminal.out(`${text}\n`),
        document: value => terminal.out(`${JSON.stringify(value)}\n`),
        note: text => terminal.err(`${text}\n`),
        colour,
        async table(head, rows, right = []) {
            const { default: Table } = await import('cli-table3')
            const none = ''
            const table = new Table({
                head: head.map(text => colour('bold', text)),
                colAligns: head.map((_, at) => (right.includes(at) ? 'right' : 'left')),
                chars: {
                    top: none,
                    'top-mid': none,
                    'top-left': none,
                    'top-right': none,
                    bottom: none,
                    'bottom-mid': none,
                    'bottom-left': none,
                    'bottom-right': none,
                    left: none,
                    'left-mid': none,
                    mid: none,
                    'mid-mid': none,
                    right: none,
                    'right-mid': none,
                    middle: '  ',
                },
                style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
            })
            for (const row of rows) table.push([...row])
            for (const line of table.toString().split('\n')) {
                const trimmed = line.trimEnd()
                if (trimmed !== '') terminal.out(`${fit(trimmed, terminal.columns)}\n`)
            }
        },
    }
}

/** Cut to the width of a terminal, colour codes not counted; a pipe (width 0) gets everything. */
export function fit(line: string, columns: number): string {
    if (columns <= 0 || Bun.stringWidth(line) <= columns) return line
    let shown = ''
    let width = 0
    for (const part of line.split(/(\x1b\[\d+m)/)) {
        if (part.startsWith('\x1b')) {
            shown += part
            continue
        }
        for (const character of part) {
            const next = Bun.stringWidth(character)
            if (width + next > columns - 1) return `${shown}…${line.includes('\x1b') ? '\x1b[0m' : ''}`
            shown += character
            width += next
        }
    }
    return shown
}

/** Text from an archive or another host as a terminal may see it: no control characters. */
export function safe(text: string): string {
    return text.replaceAll(
        /[\x00-\x1f\x7f-\x9f]/g,
        character => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
}

/** `2026-11-20 02:30` in the caller's time zone, to the minute. */
export function showTime(rfc3339: string): string {
    const time = new Date(rfc3339)
    if (Number.isNaN(time.getTime())) return '-'
    const two = (number: number) => String(number).padStart(2, '0')
    const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`
    return `${day} ${two(time.getHours())}:${two(time.getMinutes())}`
}
