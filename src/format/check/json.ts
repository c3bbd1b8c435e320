/** Checks JSON, and says in which line it breaks. */
import { lineFault } from '../lines.ts'
import { anyText, utf8Text } from './text.ts'

const what = 'a JSON file'

export function checkJson(bytes: Uint8Array, path: string): void {
    if (path.startsWith('/etc/pve/')) {
        // To the Perl code behind /etc/pve an empty file and a missing one are the same.
        if (bytes.length === 0) return
        const text = anyText(bytes)
        if (path.endsWith('/priv/tfa.cfg') && !text.startsWith('{')) checkOldTfa(text)
        else checkJsonText(text)
    } else checkJsonText(utf8Text(bytes, what))
}

/** Before Proxmox VE 7 second factors were lines of user, type and encoded data; later releases still read them. */
function checkOldTfa(text: string): void {
    for (const [index, line] of text.split('\n').entries())
        if (line !== '' && !/^[^:\0]+:[^:\0]+:[A-Za-z0-9+/=]+\r?$/.test(line))
            throw lineFault(
                what,
                index + 1,
                'it is neither JSON nor a second factor as older releases kept it',
            )
}

/** What may come next; a stack of open brackets stands in for recursion, so depth costs nothing. */
type Expect = 'value' | 'value or ]' | 'key' | 'key or }' | ', or end'

/** Accepts exactly what RFC 8259 does. */
export function checkJsonText(text: string): void {
    const open: ('[' | '{')[] = []
    let expect: Expect = 'value'
    let at = skipBlanks(text, 0)
    const fail = (why: string): never => {
        throw lineFault(what, lineAt(text, at), why)
    }
    while (at < text.length) {
        const char = text[at]!
        const bracket = open.at(-1)
        if (expect === ', or end') {
            if (bracket === undefined) fail('there is more behind its end')
            if (char === ',') expect = bracket === '[' ? 'value' : 'key'
            else if (char === (bracket === '[' ? ']' : '}')) open.pop()
            else fail(`it needs a comma or the end of what began with "${bracket}"`)
            at++
        } else if (char === ']' && expect === 'value or ]') {
            open.pop()
            at++
            expect = ', or end'
        } else if (char === '}' && expect === 'key or }') {
            open.pop()
            at++
            expect = ', or end'
        } else if (expect === 'key' || expect === 'key or }') {
            if (char !== '"') fail('it needs a name in quotes')
            at = endOfString(text, at) ?? fail('a text in quotes does not end or holds what it must not')
            at = skipBlanks(text, at)
            if (text[at] !== ':') fail('it needs a colon behind a name')
            at++
            expect = 'value'
        } else if (char === '[' || char === '{') {
            open.push(char)
            at++
            expect = char === '[' ? 'value or ]' : 'key or }'
        } else {
            const end = char === '"' ? endOfString(text, at) : endOfScalar(text, at)
            at =
                end ??
                fail(
                    char === '"'
                        ? 'a text in quotes does not end or holds what it must not'
                        : 'it needs a value',
                )
            expect = ', or end'
        }
        at = skipBlanks(text, at)
    }
    if (open.length > 0 || expect !== ', or end') fail('it ends too early')
}

function skipBlanks(text: string, at: number): number {
    while (text[at] === ' ' || text[at] === '\n' || text[at] === '\t' || text[at] === '\r') at++
    return at
}

/** The offset behind the closing quote. */
function endOfString(text: string, at: number): number | undefined {
    for (let i = at + 1; i < text.length; i++) {
        const char = text[i]!
        if (char === '"') return i + 1
        if (char < ' ') return undefined
        if (char !== '\\') continue
        i++
        const escaped = text[i]
        if (escaped === 'u') {
            if (!/^[0-9a-fA-F]{4}$/.test(text.slice(i + 1, i + 5))) return undefined
            i += 4
        } else if (escaped === undefined || !'"\\/bfnrt'.includes(escaped)) return undefined
    }
    return undefined
}

function endOfScalar(text: string, at: number): number | undefined {
    const scalar = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
    scalar.lastIndex = at
    return scalar.test(text) ? scalar.lastIndex : undefined
}

function lineAt(text: string, at: number): number {
    let line = 1
    for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) line++
    return line
}
