/** Every command of proxsavectl, in the order of its help; a file is loaded when its command is called. */
import type { Command, CommandGroup } from '../command.ts'

type Loader = () => Promise<{ command: Command | CommandGroup }>

export const commands: Record<string, Loader> = {
    setup: () => import('./setup.ts'),
    status: () => import('./status.ts'),
    doctor: () => import('./doctor.ts'),
    backup: () => import('./backup.ts'),
    list: () => import('./list.ts'),
    show: () => import('./show.ts'),
    verify: () => import('./verify.ts'),
    diff: () => import('./diff.ts'),
    decrypt: () => import('./decrypt.ts'),
    extract: () => import('./extract.ts'),
    restore: () => import('./restore.ts'),
    undo: () => import('./undo.ts'),
    attach: () => import('./attach.ts'),
    commit: () => import('./commit.ts'),
    rollback: () => import('./rollback.ts'),
    cancel: () => import('./cancel.ts'),
    history: () => import('./history.ts'),
    prune: () => import('./prune.ts'),
    keys: () => import('./keys.ts'),
    job: () => import('./job.ts'),
    'apt-hook': () => import('./apt-hook.ts'),
}
