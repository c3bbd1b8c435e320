/** Where the administrator wants something mounted, whether it is or not: /etc/fstab and systemd's own mount units. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { limits } from '../core/limits.ts'
import { readSmallFile } from './atomic.ts'
import { codeOf } from './libc.ts'

/** Absolute mount points below `root`, as written there; swap has none. */
export function readConfiguredMounts(root: string): string[] {
    const points = parseFstabPoints(textOf(join(root, 'etc/fstab')))
    // Proxmox Backup Server mounts the datastores that it made by units of this kind.
    const units = join(root, 'etc/systemd/system')
    for (const name of listNames(units)) {
        if (!name.endsWith('.mount')) continue
        const where = /^\s*Where\s*=\s*(\/\S*)\s*$/m.exec(textOf(join(units, name)))?.[1]
        if (where !== undefined) points.push(tidy(where))
    }
    return points
}

/** The second field of fstab(5), with its octal escapes undone. */
export function parseFstabPoints(text: string): string[] {
    const points: string[] = []
    for (const line of text.split('\n')) {
        const [source, point] = line.trim().split(/\s+/)
        if (source === undefined || source.startsWith('#') || !point?.startsWith('/')) continue
        const plain = point.replace(/\\([0-7]{3})/g, (_, digits: string) =>
            String.fromCharCode(Number.parseInt(digits, 8)),
        )
        points.push(tidy(plain))
    }
    return points
}

const tidy = (path: string) => path.replace(/(?<=.)\/+$/, '')

function textOf(path: string): string {
    return Buffer.from(readSmallFile(path, limits.configBytes) ?? []).toString('latin1')
}

function listNames(directory: string): string[] {
    try {
        return readdirSync(directory)
    } catch (error) {
        if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return []
        throw error
    }
}
