/** Checks the section files of both products, each by the rules of the code that reads it. */
import { lineFault, quote } from '../lines.ts'
import { parsePbsSectionConfig } from '../section-config-pbs.ts'
import { type PveHeaderStyle, parsePveSectionConfig } from '../section-config-pve.ts'
import { pbsSchemas, pveRustSchemas } from './pbs-schema.ts'
import { byteText, utf8Text } from './text.ts'

const styles: ReadonlyMap<string, PveHeaderStyle> = new Map([
    ['mapping/pci.cfg', 'untyped'],
    ['mapping/usb.cfg', 'untyped'],
    ['mapping/directory.cfg', 'untyped'],
    ['status.cfg', 'optional-id'],
])

export function checkPveSections(bytes: Uint8Array, path: string): void {
    const name = below('/etc/pve/', path)
    if (pveRustSchemas.has(name)) {
        parsePbsSectionConfig(utf8Text(bytes, path), pveRustSchemas.get(name))
        return
    }
    const config = parsePveSectionConfig(byteText(bytes), styles.get(name))
    if (name !== 'replication.cfg') return
    for (const { id, line } of config.sections)
        if (!/^[0-9]+-[0-9]+$/.test(id))
            throw lineFault(path, line, `${quote(id)} is not the number of a guest and of its job`)
}

export function checkPbsSections(bytes: Uint8Array, path: string): void {
    parsePbsSectionConfig(utf8Text(bytes, path), pbsSchemas.get(below('/etc/proxmox-backup/', path)))
}

const below = (directory: string, path: string) =>
    path.startsWith(directory) ? path.slice(directory.length) : path
