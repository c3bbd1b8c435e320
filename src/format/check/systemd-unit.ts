/** Checks a systemd unit: sections, and assignments in them. Unknown sections and keys draw only a warning from systemd. */
import { isBlank, lineFault, quote, trimSpace } from '../lines.ts'
import { utf8Text } from './text.ts'

const what = 'a systemd unit'

export function checkSystemdUnit(bytes: Uint8Array): void {
    const lines = utf8Text(bytes, what)
        .replace(/^\ufeff/, '')
        .split('\n')
    // An empty file is fine: it masks the unit.
    let inSection = false
    let continued = false
    for (const [index, line] of lines.entries()) {
        // Comments may stand between continued lines; the end of the file ends the last of them.
        if (isComment(line)) continue
        const first = !continued
        continued = line.endsWith('\\')
        // Only the first of joined lines has the key.
        if (!first || isBlank(line)) continue
        const text = trimSpace(line)
        if (text.startsWith('[')) inSection = true
        checkStart(text, inSection, index + 1)
    }
}

function checkStart(text: string, inSection: boolean, number: number): void {
    if (text.startsWith('[')) {
        if (!text.endsWith(']')) throw lineFault(what, number, `${quote(text)} is not the head of a section`)
        return
    }
    const equals = text.indexOf('=')
    if (equals < 0) throw lineFault(what, number, `${quote(text)} has no "=", so systemd passes over it`)
    if (equals === 0) throw lineFault(what, number, 'there is no key before "="')
    if (!inSection) throw lineFault(what, number, `${quote(text)} stands before the first section`)
}

function isComment(line: string): boolean {
    const text = trimSpace(line)
    return text.startsWith('#') || text.startsWith(';')
}
