/** Paths and names of backups as the caller means them: relative ones belong to the caller's directory. */
import { resolve } from 'node:path'
import type { Cli } from './command.ts'

export function absolute(cli: Cli, path: string): string {
    return resolve(cli.terminal.cwd, path)
}

/** An id, a prefix, `latest` and a name that `list` shows go to the daemon as they are; a file becomes an absolute path. */
export function backupReference(cli: Cli, backup: string): string {
    const looksLikePath = backup.includes('/') || cli.files.exists(absolute(cli, backup))
    return looksLikePath && backup !== 'latest' ? absolute(cli, backup) : backup
}
