/** What the section files of Proxmox VE and of Proxmox Backup Server have in common once they are read. */

/** A line that says nothing to the program: a comment, or blanks. */
export interface PlainLine {
    raw: string
    /** Counts from 1. */
    line: number
}

export interface PropertyLine extends PlainLine {
    key: string
    /** Undefined where the file has the key alone, which means 1 to Proxmox VE. */
    value: string | undefined
}

export interface Section extends PlainLine {
    type: string
    id: string
    body: (PropertyLine | PlainLine)[]
    /** What lies between this section and the next, the line that ends it first. */
    gap: PlainLine[]
}

/** A whole file. The text of each line is `raw`; whoever changes a value changes `raw` with it. */
export interface SectionConfig {
    /** What lies before the first section. */
    lead: PlainLine[]
    sections: Section[]
}

/** The text again, byte for byte where nothing was changed. */
export function writeSectionConfig(config: SectionConfig): string {
    const lines = [...config.lead]
    for (const section of config.sections) lines.push(section, ...section.body, ...section.gap)
    return lines.map(({ raw }) => raw).join('\n')
}

export function propertiesOf(section: Section): PropertyLine[] {
    return section.body.filter(line => 'key' in line)
}

/** All values of one key in the order of the file; a list has one line for each element. */
export function valuesOf(section: Section, key: string): (string | undefined)[] {
    return propertiesOf(section)
        .filter(property => property.key === key)
        .map(property => property.value)
}
