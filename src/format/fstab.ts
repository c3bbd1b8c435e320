/** fstab(5) without loss. The text holds one character for a byte. */
import { lineFault, quote } from './lines.ts'

/** A comment or blanks. */
export interface FstabPlain {
    raw: string
    /** Counts from 1. */
    line: number
}

export interface FstabEntry extends FstabPlain {
    /** `UUID=…`, a device, `host:/export`; its octal escapes are undone here and in `target`. */
    source: string
    target: string
    type: string
    /** As in the file; undefined when the line ends before them. */
    options: string | undefined
    dump: number
    pass: number
}

export interface Fstab {
    lines: (FstabEntry | FstabPlain)[]
}

/**
 * Throws a `damaged` fault with the line where mount(8) would call it a parse error. Only a comment behind the options or
 * numbers passes here although mount refuses it there: at boot systemd mounts such a line all the same.
 */
export function parseFstab(text: string): Fstab {
    const lines = text.split('\n').map((raw, index): FstabEntry | FstabPlain => {
        const plain = { raw, line: index + 1 }
        const fields = raw.split(/[ \t]+/).filter(field => field !== '' && field !== '\r')
        if (fields.length === 0 || fields[0]!.startsWith('#')) return plain
        const comment = fields.findIndex((field, i) => i >= 3 && field.startsWith('#'))
        const [source, target, type, options, dump, pass] = comment < 0 ? fields : fields.slice(0, comment)
        if (source === undefined || target === undefined || type === undefined)
            throw lineFault('fstab', plain.line, `${quote(raw)} has no mount point or no file system type`)
        return {
            ...plain,
            source: unmangle(source),
            target: unmangle(target),
            type,
            options,
            dump: number(dump, plain.line),
            pass: number(pass, plain.line),
        }
    })
    return { lines }
}

/** The text again, byte for byte where nothing was changed. */
export function writeFstab(fstab: Fstab): string {
    return fstab.lines.map(({ raw }) => raw).join('\n')
}

export function entriesOf(fstab: Fstab): FstabEntry[] {
    return fstab.lines.filter(line => 'source' in line)
}

function number(field: string | undefined, line: number): number {
    if (field === undefined) return 0
    const digits = field.replace(/\r$/, '')
    if (!/^[+-]?[0-9]{1,9}$/.test(digits)) throw lineFault('fstab', line, `${quote(field)} is not a number`)
    return Number(digits)
}

const unmangle = (field: string) =>
    field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
        String.fromCharCode(Number.parseInt(digits, 8) & 0xff),
    )
