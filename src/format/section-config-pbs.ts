/**
 * The section files of Proxmox Backup Server, and those of Proxmox VE that the same Rust code reads, without loss.
 *
 * That code is strict: one line it does not like and every entry of the file is out of reach. So is this parser. The text is
 * decoded UTF-8 with a byte order mark, if there is one, still in it.
 */
import { lineFault, quote } from './lines.ts'
import {
    type PlainLine,
    type PropertyLine,
    propertiesOf,
    type Section,
    type SectionConfig,
} from './section-config.ts'

export interface PropertySpec {
    required: boolean
    /** A list has one line for each element; anything else may stand there once. */
    list: boolean
    value: 'string' | 'boolean' | 'integer'
}

export interface SectionSpec {
    /** Whether a section may be called so; undefined when any name but none will do. */
    id?: (id: string) => boolean
    /** Undefined when the properties are not known to us: then only the syntax counts. */
    properties?: ReadonlyMap<string, PropertySpec>
}

/** By section type. */
export type SectionSchema = ReadonlyMap<string, SectionSpec>

const what = 'a section file of Proxmox Backup Server'

/** Throws a `damaged` fault with the line at the first doubt. Without a schema only the syntax counts. */
export function parsePbsSectionConfig(text: string, schema?: SectionSchema): SectionConfig {
    const config: SectionConfig = { lead: [], sections: [] }
    let gap: PlainLine[] = config.lead
    let open: { section: Section; spec: SectionSpec | undefined; seen: Set<string> } | undefined
    const lines = text.split('\n')
    for (const [index, raw] of lines.entries()) {
        const plain = { raw, line: index + 1 }
        // What follows the last newline is not a line, but it must be kept to write the newline again.
        const isLast = index === lines.length - 1 && raw === ''
        if (isBlank(raw)) {
            if (open !== undefined) checkComplete(open, isLast ? index : plain.line)
            gap.push(plain)
            open = undefined
            continue
        }
        if (open === undefined) {
            const header = readHeader(raw, plain.line)
            const spec = checkHeader(header, schema, plain.line)
            gap = []
            open = { section: { ...plain, ...header, body: [], gap }, spec, seen: new Set() }
            config.sections.push(open.section)
            continue
        }
        const property = readProperty(raw, plain.line)
        checkProperty(property, open, plain.line)
        open.section.body.push({ ...plain, ...property })
    }
    if (open !== undefined) checkComplete(open, lines.length)
    return config
}

function readHeader(raw: string, line: number): { type: string; id: string } {
    const colon = raw.indexOf(':')
    if (!/^\p{Alphabetic}/u.test(raw) || colon < 0)
        throw lineFault(what, line, `${quote(raw)} is not the head of a section`)
    return { type: trim(raw.slice(0, colon)), id: trim(raw.slice(colon + 1)) }
}

function checkHeader(
    header: { type: string; id: string },
    schema: SectionSchema | undefined,
    line: number,
): SectionSpec | undefined {
    const spec = schema?.get(header.type)
    if (schema !== undefined && spec === undefined)
        throw lineFault(what, line, `there is no section type ${quote(header.type)} in this file`)
    if (header.id === '' || spec?.id?.(header.id) === false)
        throw lineFault(
            what,
            line,
            `a section of type ${quote(header.type)} cannot be called ${quote(header.id)}`,
        )
    return spec
}

function readProperty(raw: string, line: number): Pick<PropertyLine, 'key'> & { value: string } {
    if (!isUnicodeSpace(raw, 0))
        throw lineFault(
            what,
            line,
            `${quote(raw)} is not a property, and no empty line ends the section before it`,
        )
    let start = 0
    while (isUnicodeSpace(raw, start)) start++
    let end = start
    while (end < raw.length && !isUnicodeSpace(raw, end)) end++
    const key = raw.slice(start, end)
    // The blank behind the key is what makes an empty value.
    if (end === raw.length || raw.slice(end) === '\r')
        throw lineFault(what, line, `property ${quote(key)} has no value`)
    return { key, value: trim(raw.slice(end)) }
}

function checkProperty(
    { key, value }: { key: string; value: string },
    { section, spec, seen }: { section: Section; spec: SectionSpec | undefined; seen: Set<string> },
    line: number,
): void {
    if (spec?.properties === undefined) return
    const property = spec.properties.get(key)
    if (property === undefined)
        throw lineFault(what, line, `a section of type ${quote(section.type)} has no property ${quote(key)}`)
    if (!property.list && seen.has(key)) throw lineFault(what, line, `property ${quote(key)} is there twice`)
    seen.add(key)
    if (property.value === 'boolean' && !/^(1|on|yes|true|0|off|no|false)$/i.test(value))
        throw lineFault(what, line, `property ${quote(key)} must be true or false, not ${quote(value)}`)
    if (property.value === 'integer' && !/^[+-]?[0-9]+$/.test(value))
        throw lineFault(what, line, `property ${quote(key)} must be a whole number, not ${quote(value)}`)
}

function checkComplete({ section, spec }: { section: Section; spec: SectionSpec | undefined }, line: number) {
    if (spec?.properties === undefined) return
    const present = new Set(propertiesOf(section).map(({ key }) => key))
    for (const [key, { required }] of spec.properties)
        if (required && !present.has(key))
            throw lineFault(
                what,
                line,
                `section ${quote(section.id)} ends without its property ${quote(key)}`,
            )
}

/** Rust's idea of white space: Unicode's, without the byte order mark that JavaScript counts in. */
function isUnicodeSpace(text: string, at: number): boolean {
    const char = text[at]
    return (
        char !== undefined &&
        (char <= ' ' ? /[\t-\r ]/.test(char) : char >= '\x7f' && /\p{White_Space}/u.test(char))
    )
}

function isBlank(raw: string): boolean {
    for (let i = 0; i < raw.length; i++) if (!isUnicodeSpace(raw, i)) return false
    return true
}

function trim(text: string): string {
    let from = 0
    let to = text.length
    while (from < to && isUnicodeSpace(text, from)) from++
    while (to > from && isUnicodeSpace(text, to - 1)) to--
    return text.slice(from, to)
}
