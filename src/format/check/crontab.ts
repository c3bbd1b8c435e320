/** Checks crontabs as Debian's cron reads them: one line it does not understand, and it runs nothing of the file. */
import { lineFault, quote } from '../lines.ts'
import { byteText } from './text.ts'

const what = 'a crontab'
/** cron refuses longer files. */
const maxLines = 10_000

const nicknames = /^@(reboot|yearly|annually|monthly|weekly|daily|midnight|hourly)(?![^ \t])/
const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']
const fields = [
    { name: 'minute', least: 0, most: 59, words: [] },
    { name: 'hour', least: 0, most: 23, words: [] },
    { name: 'day of the month', least: 1, most: 31, words: [] },
    { name: 'month', least: 1, most: 12, words: months },
    { name: 'day of the week', least: 0, most: 7, words: days },
] as const
type Field = (typeof fields)[number]

export function checkCrontab(bytes: Uint8Array, path: string): void {
    const name = path.slice(path.lastIndexOf('/') + 1)
    const inDirectory = path.startsWith('/etc/cron.d/')
    // cron itself does not read other names there: placeholders, what a package manager left behind.
    if (inDirectory && !/^[A-Za-z0-9_-]+$/.test(name)) return
    // The crontabs of users have no field for the user.
    const withUser = !path.startsWith('/var/spool/cron/')
    const text = byteText(bytes)
    const lines = text.split('\n')
    if (lines.length > maxLines + 1) throw lineFault(what, maxLines, `it has more than ${maxLines} lines`)
    for (const [index, raw] of lines.entries()) {
        const line = raw.replace(/^[ \t]+/, '')
        if (line === '' || line.startsWith('#') || isAssignment(line)) continue
        checkEntry(line, index + 1, withUser)
    }
    if (text !== '' && !text.endsWith('\n'))
        throw lineFault(what, lines.length, 'the last line has no end, so cron ignores the whole file')
}

/** `NAME=value`; either side may stand in quotes. */
function isAssignment(line: string): boolean {
    if (!line.includes('=')) return false
    const name = /^(?:"[^"]*"|'[^']*'|[^"'= \t][^= \t]*|)[ \t]*=[ \t]*/.exec(line)
    if (name === null) return false
    const value = line.slice(name[0].length)
    return /^["']/.test(value) ? /^("[^"]*"|'[^']*')[ \t\r]*$/.test(value) : true
}

function checkEntry(line: string, number: number, withUser: boolean): void {
    let rest = line
    if (line.startsWith('@')) {
        const nickname = nicknames.exec(line)?.[0]
        if (nickname === undefined)
            throw lineFault(what, number, `${quote(line)} is not a time that cron knows`)
        rest = line.slice(nickname.length)
    } else {
        for (const field of fields) {
            const value = /^[ \t]*([^ \t]*)/.exec(rest)!
            if (!isTime(value[1]!, field))
                throw lineFault(what, number, `${quote(value[1]!)} is not a ${field.name}`)
            rest = rest.slice(value[0].length)
        }
    }
    if (withUser && !/[^ \t\r]/.test(rest))
        throw lineFault(what, number, 'it does not say as whom to run what')
}

/** Follows cron's own reading, which passes over what stands behind a complete range. */
function isTime(text: string, field: Field): boolean {
    let at = 0
    const word = (): number | undefined => {
        const found = /^[A-Za-z0-9]{1,20}/.exec(text.slice(at, at + 21))?.[0]
        if (found === undefined) return undefined
        at += found.length
        if (/^[0-9]+$/.test(found)) return Number(found)
        const index = (field.words as readonly string[]).indexOf(found.toLowerCase())
        return index < 0 ? undefined : index + field.least
    }
    const inside = (value: number) => value >= field.least && value <= field.most
    for (;;) {
        if (text[at] === '*') at++
        else {
            const first = word()
            if (first === undefined) return false
            if (text[at] !== '-' && text[at] !== '~') {
                // Behind a number a step is wrong; anything else cron passes over.
                if (!inside(first) || text[at] === '/') return false
                if (text[at] !== ',') return true
                at++
                continue
            }
            at++
            const last = word()
            // A range that runs backwards is empty to cron, not wrong.
            if (last === undefined || (first <= last && !(inside(first) && inside(last)))) return false
        }
        if (text[at] === '/') {
            at++
            const step = /^[0-9]{1,9}/.exec(text.slice(at, at + 9))?.[0]
            if (step === undefined || Number(step) === 0) return false
            at += step.length
        }
        if (text[at] !== ',') return true
        at++
    }
}
