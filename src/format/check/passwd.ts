/** Checks the account tables: passwd, group, shadow, gshadow, subuid and subgid, told apart by their names. */
import { lineFault, quote } from '../lines.ts'
import { byteText } from './text.ts'

interface Table {
    what: string
    /** How many fields a line may have. */
    fields: readonly number[]
    /** Which of them are numbers, and whether they may be empty. */
    numbers: readonly number[]
    emptyNumbers: boolean
}

const tables: Readonly<Record<string, Table>> = {
    passwd: { what: 'passwd', fields: [7], numbers: [2, 3], emptyNumbers: false },
    group: { what: 'group', fields: [4], numbers: [2], emptyNumbers: false },
    // glibc also reads the short form of old systems.
    shadow: { what: 'shadow', fields: [9, 5], numbers: [2, 3, 4, 5, 6, 7, 8], emptyNumbers: true },
    gshadow: { what: 'gshadow', fields: [4], numbers: [], emptyNumbers: true },
    subuid: { what: 'subuid', fields: [3], numbers: [1, 2], emptyNumbers: false },
    subgid: { what: 'subgid', fields: [3], numbers: [1, 2], emptyNumbers: false },
}

export function checkPasswd(bytes: Uint8Array, path: string): void {
    const name = /([^/]*?)-?$/.exec(path)?.[1] ?? ''
    const table = Object.hasOwn(tables, name) ? tables[name]! : tables.passwd!
    for (const [index, line] of byteText(bytes).split('\n').entries()) {
        // Comments and blank lines are passed over; + and - bring in names from a directory service.
        if (/^[ \t]*(#|$)/.test(line) || /^[+-]/.test(line)) continue
        checkLine(line, index + 1, table)
    }
}

function checkLine(line: string, number: number, table: Table): void {
    const { what, fields, numbers, emptyNumbers } = table
    const values = line.split(':')
    if (!fields.includes(values.length))
        throw lineFault(what, number, `it has ${values.length} fields instead of ${fields[0]}`)
    if (values[0] === '') throw lineFault(what, number, 'it has no name')
    if (line.includes('\0')) throw lineFault(what, number, 'it holds a zero byte')
    for (const i of numbers) {
        const value = values[i]
        if (value === undefined || (value === '' && emptyNumbers)) continue
        if (!/^(-1|[0-9]{1,20})$/.test(value))
            throw lineFault(what, number, `field ${i + 1} of ${quote(values[0]!)} is not a number`)
    }
}
