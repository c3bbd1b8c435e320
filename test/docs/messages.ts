/** What the program can say when it fails, read out of its own source: how messages begin, and what their hints are. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const source = resolve(import.meta.dir, '../../src')

export interface Said {
    text: string
    file: string
}

export interface Messages {
    /** How messages begin, up to the first thing that differs or the reason: `cannot list`. */
    beginnings: Said[]
    /** Hints with `…` in the place of what differs. */
    hints: Said[]
}

export function readMessages(): Messages {
    const found: Messages = { beginnings: [], hints: [] }
    for (const file of readdirSync(source, { recursive: true, encoding: 'utf8' }).sort()) {
        if (!file.endsWith('.ts')) continue
        const { beginnings, hints } = messagesIn(readFileSync(join(source, file), 'utf8'))
        found.beginnings.push(...beginnings.map(text => ({ text, file })))
        found.hints.push(...hints.map(text => ({ text, file })))
    }
    return { beginnings: once(found.beginnings), hints: once(found.hints) }
}

/** A property, a variable, or a table of several. */
const hintBegins = /(?<=[{,(]\s*|^[ \t]+|^(?:[ \t]*(?:const|let) ))hints?(?::[^=\n{}'`]* =|:| =)\s+/gm
/** What stands before a literal that is no sentence of the hint. */
const noHint = /(?:includes|startsWith|endsWith|join)\($|description: $/

export function messagesIn(code: string): { beginnings: string[]; hints: string[] } {
    const beginnings = [...code.matchAll(/['"`](cannot [^'"`$:\\\n]*)/g)].map(([, text]) => text!.trim())
    const hints = [...code.matchAll(hintBegins)].flatMap(({ index, 0: { length } }) =>
        literalsOf(code, index + length),
    )
    return { beginnings, hints }
}

/** The literals of the expression that begins there, those inside of other literals left out. */
function literalsOf(code: string, from: number): string[] {
    const found: string[] = []
    let depth = 0
    for (let at = from; at < code.length; at++) {
        const char = code[at]!
        if (char === "'" || char === '"' || char === '`') {
            const { text, end } = readLiteral(code, at)
            // A word alone is an argument or is compared with something.
            if (/\s/.test(text) && !noHint.test(code.slice(at - 20, at))) found.push(text)
            at = end
        } else if ('([{'.includes(char)) depth++
        else if (')]}'.includes(char)) {
            if (depth-- === 0) break
        } else if (depth === 0 && (char === ',' || /^\n\s*[^\s?:.+'"`(]/.test(code.slice(at, at + 99)))) break
    }
    return found
}

function readLiteral(code: string, from: number): { text: string; end: number } {
    const quote = code[from]
    let text = ''
    for (let at = from + 1; at < code.length; at++) {
        if (code[at] === quote) return { text, end: at }
        if (code[at] === '\\') text += code[++at] === 'n' ? '\n' : code[at]
        else if (quote === '`' && code.startsWith('${', at)) {
            text += '…'
            at = endOfHole(code, at + 2)
        } else text += code[at]
    }
    throw new Error('a literal does not end')
}

/** Where the brace stands that closes a `${`. */
function endOfHole(code: string, from: number): number {
    let depth = 0
    for (let at = from; at < code.length; at++) {
        const char = code[at]!
        if (char === "'" || char === '"' || char === '`') at = readLiteral(code, at).end
        else if (char === '{') depth++
        else if (char === '}' && depth-- === 0) return at
    }
    throw new Error('a literal does not end')
}

const once = (list: Said[]): Said[] => [...new Map(list.map(said => [said.text, said])).values()]

/** Everything that the source says, in one text. */
export function sourceText(): string {
    return readdirSync(source, { recursive: true, encoding: 'utf8' })
        .filter(file => file.endsWith('.ts'))
        .map(file => readFileSync(join(source, file), 'utf8'))
        .join('\n')
}
