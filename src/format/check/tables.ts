/** Checks fstab and the network configuration with the parsers that a restore uses. */
import { parseFstab } from '../fstab.ts'
import { parseInterfaces } from '../interfaces.ts'
import { byteText } from './text.ts'

export const checkFstab = (bytes: Uint8Array): void => void parseFstab(byteText(bytes))

export function checkInterfaces(bytes: Uint8Array, path: string): void {
    // A pattern in a `source` line does not match hidden files.
    if (/\/\.[^/]*$/.test(path)) return
    parseInterfaces(byteText(bytes))
}
