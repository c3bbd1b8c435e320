/** Short forms for the commands that categories capture most often. */
import type { CapturedCommand } from './category.ts'

/** One read-only call of the PVE API, as JSON. `path` may use the node name `localhost`. */
export function pvesh(file: string, path: string): CapturedCommand {
    return { file, argv: ['pvesh', 'get', path, '--output-format', 'json'] }
}

/** One listing of `proxmox-backup-manager`, as JSON. */
export function pbsManager(file: string, ...words: string[]): CapturedCommand {
    return { file, argv: ['proxmox-backup-manager', ...words, '--output-format', 'json'] }
}

/** One listing of `proxmox-tape`, as JSON. */
export function proxmoxTape(file: string, ...words: string[]): CapturedCommand {
    return { file, argv: ['proxmox-tape', ...words, '--output-format', 'json'] }
}
