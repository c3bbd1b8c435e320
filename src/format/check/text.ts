/** Bytes of a file as the text that its parser wants. */
import { lineFault } from '../lines.ts'

/** One character for a byte: for files whose program does not care for an encoding. */
export function byteText(bytes: Uint8Array): string {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

/** Throws a fault with the line when the bytes are not UTF-8. A byte order mark stays. */
export function utf8Text(bytes: Uint8Array, what: string): string {
    try {
        return decode(bytes)
    } catch {
        throw lineFault(what, lineOfBadUtf8(bytes), 'it is not UTF-8')
    }
}

/** UTF-8 where it is, else one character for a byte. */
export function anyText(bytes: Uint8Array): string {
    try {
        return decode(bytes)
    } catch {
        return byteText(bytes)
    }
}

const decode = (bytes: Uint8Array) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)

function lineOfBadUtf8(bytes: Uint8Array): number {
    let line = 1
    for (let start = 0; start < bytes.length; line++) {
        const newline = bytes.indexOf(0x0a, start)
        const end = newline < 0 ? bytes.length : newline
        try {
            decode(bytes.subarray(start, end))
        } catch {
            return line
        }
        start = end + 1
    }
    return line
}
