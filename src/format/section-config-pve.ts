/**
 * The section files below /etc/pve that Perl reads (storage.cfg, jobs.cfg, …), without loss.
 *
 * The text holds one character for a byte: descriptions of mappings may be Latin-1. Only a truly empty line ends a section
 * (PVE::SectionConfig), so a header right behind a property, or behind a line of blanks, is lost to Proxmox VE together with
 * everything below it; that is a fault here. Types and properties that Proxmox VE would drop with a warning are kept.
 */
import { isBlank, isSpace, lineFault, quote, trimSpace, wordsOf } from './lines.ts'
import type { PlainLine, PropertyLine, Section, SectionConfig } from './section-config.ts'

/** How a file begins its sections: `type: id`, the id alone (mappings), `type:` with or without an id (metric servers). */
export type PveHeaderStyle = 'typed' | 'untyped' | 'optional-id'

const what = 'a section file of Proxmox VE'

/** Throws a `damaged` fault with the line at anything that Proxmox VE would not take as it is meant. */
export function parsePveSectionConfig(text: string, style: PveHeaderStyle = 'typed'): SectionConfig {
    const config: SectionConfig = { lead: [], sections: [] }
    let gap: PlainLine[] = config.lead
    let open: Section | undefined
    for (const [index, raw] of text.split('\n').entries()) {
        const plain = { raw, line: index + 1 }
        if (raw === '') {
            gap.push(plain)
            open = undefined
            continue
        }
        const blank = isBlank(raw)
        if (blank || isComment(raw)) {
            if (open === undefined) gap.push(plain)
            else open.body.push(plain)
            continue
        }
        if (open !== undefined) {
            if (!isSpace(raw, 0)) throw lineFault(what, plain.line, whyInside(open, raw))
            open.body.push({ ...plain, ...splitProperty(raw) })
            continue
        }
        const header = readHeader(raw, style)
        if (header === undefined)
            throw lineFault(what, plain.line, `${quote(raw)} is not the head of a section`)
        gap = []
        open = { ...plain, ...header, body: [], gap }
        config.sections.push(open)
    }
    return config
}

function whyInside(section: Section, raw: string): string {
    const before = section.body.at(-1)
    const hint =
        before !== undefined && isBlank(before.raw)
            ? 'the line before it has blanks and so does not end that section'
            : 'only an empty line ends a section'
    return `${quote(raw)} stands inside section ${quote(section.id)}: ${hint}`
}

function readHeader(raw: string, style: PveHeaderStyle): { type: string; id: string } | undefined {
    // Perl's greedy \S+ takes everything up to the last colon that is followed by one word.
    const words = isSpace(raw, 0) ? [] : wordsOf(raw)
    const [first = '', second] = words
    if (style === 'untyped') return words.length === 1 ? { type: '', id: first } : undefined
    if (words.length === 2 && first.endsWith(':') && first.length > 1)
        return { type: first.slice(0, -1), id: second! }
    if (words.length !== 1) return undefined
    const colon = first.lastIndexOf(':', first.length - 2)
    if (colon > 0) return { type: first.slice(0, colon), id: first.slice(colon + 1) }
    if (style === 'optional-id' && first.endsWith(':') && first.length > 1)
        return { type: first.slice(0, -1), id: first.slice(0, -1) }
    return undefined
}

function splitProperty(raw: string): Pick<PropertyLine, 'key' | 'value'> {
    const text = trimSpace(raw)
    let end = 0
    while (end < text.length && !isSpace(text, end)) end++
    return { key: text.slice(0, end), value: end < text.length ? trimSpace(text.slice(end)) : undefined }
}

function isComment(raw: string): boolean {
    let i = 0
    while (isSpace(raw, i)) i++
    return raw[i] === '#'
}
