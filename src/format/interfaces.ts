/**
 * /etc/network/interfaces as ifupdown2 and ifupdown read it, without loss. The text holds one character for a byte.
 *
 * ifupdown2 runs the file through a template engine first. Where such lines are, what they will become is not known, so
 * lines that fit nowhere are then kept instead of refused.
 */
import { lineFault, quote, trimSpace, wordsOf } from './lines.ts'

/** A comment, blanks, or a line of a template. */
export interface InterfacesPlain {
    /** The whole line, with what continues it behind a backslash. */
    raw: string
    /** Counts from 1. */
    line: number
}

export interface InterfacesOption extends InterfacesPlain {
    key: string
    value: string
}

export interface Stanza extends InterfacesPlain {
    /** `auto`, `allow-hotplug`, `iface`, `source`, … */
    keyword: string
    /** What stands behind the keyword. */
    words: string[]
    /** Options of an `iface`, `mapping`, `template` or `vlan`, and the comments up to the next stanza. */
    body: (InterfacesOption | InterfacesPlain)[]
}

export interface Interfaces {
    lead: InterfacesPlain[]
    stanzas: Stanza[]
}

const what = 'the network configuration'

/** Stanzas that lines of options belong to. */
const withOptions = new Set(['iface', 'mapping', 'template', 'vlan'])
/** Keywords that say nothing without a name behind them. */
const named = new Set([...withOptions, 'source', 'source-directory', 'source-dir', 'rename'])
const others = new Set(['auto', 'no-auto-down', 'no-scripts'])

const isKeyword = (word: string) => named.has(word) || others.has(word) || /^allow-\S/.test(word)

/** Throws a `damaged` fault with the line at anything that ifupdown2 would report and skip. */
export function parseInterfaces(text: string): Interfaces {
    const interfaces: Interfaces = { lead: [], stanzas: [] }
    const templated = isTemplated(text)
    let open: Stanza | undefined
    const keep = (plain: InterfacesPlain) => {
        if (open === undefined) interfaces.lead.push(plain)
        else open.body.push(plain)
    }
    for (const { raw, line } of logicalLines(text)) {
        const joined = trimSpace(raw.replaceAll('\\\n', ' '))
        const [first = '#', ...rest] = wordsOf(joined)
        if (first.startsWith('#') || (templated && /^(%|<%)/.test(first))) {
            keep({ raw, line })
            continue
        }
        if (isKeyword(first)) {
            if (named.has(first) && rest.length === 0)
                throw lineFault(what, line, `${quote(first)} has no name behind it`)
            open = { raw, line, keyword: first, words: rest, body: [] }
            interfaces.stanzas.push(open)
            continue
        }
        if (open !== undefined && withOptions.has(open.keyword) && rest.length > 0) {
            open.body.push({ raw, line, key: first, value: trimSpace(joined.slice(first.length)) })
            continue
        }
        if (templated) {
            keep({ raw, line })
            continue
        }
        if (open !== undefined && withOptions.has(open.keyword))
            throw lineFault(what, line, `option ${quote(first)} of ${quote(open.words[0]!)} has no value`)
        throw lineFault(what, line, `${quote(raw)} belongs to no interface`)
    }
    return interfaces
}

/** Whether ifupdown2's template engine would make something else of it: what the interfaces are is then not known. */
export const isTemplated = (text: string): boolean => /^[ \t]*%|<%/m.test(text)

/** The text again, byte for byte where nothing was changed. */
export function writeInterfaces(interfaces: Interfaces): string {
    const lines = [...interfaces.lead]
    for (const stanza of interfaces.stanzas) lines.push(stanza, ...stanza.body)
    return lines.map(({ raw }) => raw).join('\n')
}

export function optionsOf(stanza: Stanza): InterfacesOption[] {
    return stanza.body.filter(line => 'key' in line)
}

/** A line that ends with a backslash goes on in the next one; a comment never does. */
function* logicalLines(text: string): Generator<InterfacesPlain> {
    const lines = text.split('\n')
    for (let i = 0; i < lines.length; i++) {
        const start = i
        if (!/^[ \t]*#/.test(lines[i]!)) while (lines[i]!.endsWith('\\') && i + 1 < lines.length) i++
        yield { raw: lines.slice(start, i + 1).join('\n'), line: start + 1 }
    }
}
