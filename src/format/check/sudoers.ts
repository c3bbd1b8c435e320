/**
 * Checks sudoers for its shape: who, where, what. A file that sudo cannot parse locks everybody out of root, so the parts
 * that mistakes and damage reach are followed; the commands themselves may be patterns of many kinds and are left alone.
 */
import { isSpace, lineFault, quote, trimSpace } from '../lines.ts'
import { byteText } from './text.ts'

const what = 'sudoers'

export function checkSudoers(bytes: Uint8Array, path: string): void {
    // sudo passes over names with a dot or a tilde at the end in that directory.
    const name = /\/sudoers\.d\/([^/]*)$/.exec(path)?.[1]
    if (name !== undefined && (name.includes('.') || name.endsWith('~'))) return
    const lines = byteText(bytes).split('\n')
    for (let i = 0; i < lines.length; i++) {
        const number = i + 1
        let text = lines[i]!
        if (isComment(text)) continue
        const parts = []
        while (endsWithEscape(text) && i + 1 < lines.length) {
            parts.push(text.slice(0, -1))
            i++
            text = lines[i]!
        }
        text = trimSpace([...parts, text].join(' '))
        if (text !== '') checkStatement(text, number)
    }
}

/** `#include` and `#1000`, a user by number, are not comments. */
const isComment = (line: string) => /^[\t-\r ]*#(?!include(dir)?[ \t]|-?[0-9])/.test(line)

function endsWithEscape(line: string): boolean {
    let slashes = 0
    while (line[line.length - 1 - slashes] === '\\') slashes++
    return slashes % 2 === 1
}

function checkStatement(text: string, number: number): void {
    const include = /^[@#]include(dir)?(?![^ \t])/.exec(text)?.[0]
    const defaults = /^Defaults(?:[@:!>][ \t]*|(?=[ \t]|$))/.exec(text)?.[0]
    const alias = /^(User|Runas|Host|Cmnd|Cmd)_Alias(?![^ \t])/.exec(text)?.[0]
    if (include !== undefined) checkInclude(text.slice(include.length), number)
    else if (defaults !== undefined)
        checkDefaults(text.slice(defaults.length), defaults !== 'Defaults', number)
    else if (alias !== undefined) checkAlias(text.slice(alias.length), alias.startsWith('C'), number)
    else checkRule(text, number)
}

function checkInclude(rest: string, number: number): void {
    if (trimSpace(rest) === '') throw lineFault(what, number, 'it does not say what to include')
}

function checkDefaults(rest: string, bound: boolean, number: number): void {
    const settings = trimSpace(bound ? rest.replace(/^[^ \t]+/, '') : rest)
    if (hasOpenQuote(settings)) throw lineFault(what, number, 'a quotation mark is never closed')
    if (!/^!*[A-Za-z_]/.test(settings) && !(bound && settings !== ''))
        throw lineFault(what, number, 'Defaults names no setting')
    if (/=[\t-\r ]*(#|$)/.test(settings)) throw lineFault(what, number, 'a setting of Defaults has no value')
}

function checkAlias(rest: string, ofCommands: boolean, number: number): void {
    const text = trimSpace(rest)
    if (!/^[A-Z][A-Z0-9_]*[\t-\r ]*=/.test(text))
        throw lineFault(what, number, `${quote(text)} is not a name in capitals with "=" behind it`)
    const tail = checkTail(text.slice(text.indexOf('=') + 1), number)
    if (ofCommands) checkCommand(tail, number)
}

function checkRule(text: string, number: number): void {
    const equals = findPlain(text, '=')
    if (equals < 0) throw lineFault(what, number, `${quote(text)} says nothing that sudo understands`)
    if (!isTwoLists(text.slice(0, equals)))
        throw lineFault(
            what,
            number,
            `before "=" must stand who and where, not ${quote(text.slice(0, equals))}`,
        )
    checkCommand(checkTail(text.slice(equals + 1), number), number)
}

/** Something stands behind "=", up to a comment, and no comma waits for more. */
function checkTail(text: string, number: number): string {
    const comment = findComment(text)
    const tail = trimSpace(comment < 0 ? text : text.slice(0, comment))
    if (tail === '') throw lineFault(what, number, 'nothing stands behind "="')
    if (tail.endsWith(',') && !tail.endsWith('\\,')) throw lineFault(what, number, 'it ends with a comma')
    return tail
}

/** As whom, with which options and tags, and then the first command. */
function checkCommand(tail: string, number: number): void {
    let rest = tail
    if (rest.startsWith('(')) {
        const close = rest.indexOf(')')
        if (close < 0) throw lineFault(what, number, `${quote(tail)} does not say as whom`)
        rest = trimSpace(rest.slice(close + 1))
    }
    for (;;) {
        const tag = /^([A-Z]+[ \t]*=[ \t]*("[^"]*"|[^ \t,]+)[ \t]+|[A-Z_]+[ \t]*:[ \t]*)/.exec(rest)
        if (tag === null) break
        rest = trimSpace(rest.slice(tag[0].length))
    }
    if (rest === '') throw lineFault(what, number, 'it names no command')
    // A path, a pattern, an alias, what is built in, or the digest of what follows.
    if (!/^[! \t]*(["/^]|[A-Z][A-Z0-9_]*(?![\w])|(sudoedit|list|sha[0-9]+)(?![a-z]))/.test(rest))
        throw lineFault(what, number, `${quote(rest)} is not a full path`)
}

/** A list of users, blanks, and a list of hosts. */
function isTwoLists(text: string): boolean {
    let lists = 0
    let at = 0
    const skip = () => {
        while (isSpace(text, at)) at++
    }
    skip()
    while (at < text.length) {
        lists++
        for (;;) {
            skip()
            while (text[at] === '!') {
                at++
                skip()
            }
            const end = endOfWord(text, at)
            if (end === undefined || end === at) return false
            at = end
            skip()
            if (text[at] !== ',') break
            at++
        }
    }
    return lists === 2
}

/** The offset behind a name, in quotes or not; undefined when a quotation mark is not closed. */
function endOfWord(text: string, from: number): number | undefined {
    let at = from
    let quoted = false
    for (; at < text.length; at++) {
        const char = text[at]!
        if (char === '\\') at++
        else if (char === '"') quoted = !quoted
        else if (!quoted && (isSpace(text, at) || char === ',')) break
    }
    return quoted ? undefined : Math.min(at, text.length)
}

/** The first such character that is neither escaped nor in quotes. */
function findPlain(text: string, wanted: string): number {
    let quoted = false
    for (let i = 0; i < text.length; i++) {
        if (text[i] === '\\') i++
        else if (text[i] === '"') quoted = !quoted
        else if (!quoted && text[i] === wanted) return i
    }
    return -1
}

/** `#` begins a comment unless it is escaped or begins a number. */
function findComment(text: string): number {
    for (let i = 0; i < text.length; i++) {
        if (text[i] === '\\') i++
        else if (text[i] === '#' && !/[0-9-]/.test(text[i + 1] ?? '')) return i
    }
    return -1
}

function hasOpenQuote(text: string): boolean {
    let quoted = false
    for (let i = 0; i < text.length; i++) {
        if (text[i] === '\\') i++
        else if (text[i] === '"') quoted = !quoted
        else if (text[i] === '#' && !quoted) return false
    }
    return quoted
}
