/** Lines of text files that other programs own: faults that name the line, and what a blank is to those programs. */
import { Fault } from '../core/errors.ts'

/**
 * `what` is the kind of file in the words of an administrator, `line` counts from 1, and `why` is a clause without a
 * full stop. The fault carries `line` and `why` among its facts too.
 */
export function lineFault(what: string, line: number, why: string): Fault {
    return new Fault('damaged', `cannot read ${what}: line ${line}: ${why}`, { facts: { line, why } })
}

/** A piece of a foreign file as an error may quote it: short, and nothing in it confuses a terminal. */
export function quote(text: string): string {
    const short = text.length > 40 ? `${text.slice(0, 40)}...` : text
    return `"${short.replace(/[^\x20-\x7e]/g, '?')}"`
}

/** C's isspace without the newline; JavaScript's \s would also match a byte inside a UTF-8 character. */
export function isSpace(text: string, at: number): boolean {
    const code = text.charCodeAt(at)
    return code === 0x20 || (code >= 0x09 && code <= 0x0d)
}

export function isBlank(text: string): boolean {
    for (let i = 0; i < text.length; i++) if (!isSpace(text, i)) return false
    return true
}

export function trimSpace(text: string): string {
    let from = 0
    let to = text.length
    while (from < to && isSpace(text, from)) from++
    while (to > from && isSpace(text, to - 1)) to--
    return text.slice(from, to)
}

/** The words between runs of white space. */
export function wordsOf(text: string): string[] {
    return text.split(/[\t-\r ]+/).filter(word => word !== '')
}
