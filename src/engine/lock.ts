/** One engine for one state directory: a lock of the kernel, which is free the moment its holder dies. */
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import type { Disk } from '../host/disk.ts'
import { AT_FDCWD, close, cPath, open, openAt, tryLock } from '../host/libc.ts'

export interface Lock {
    /** Gives the lock back; a process that dies gives it back as well. */
    release(): void
}

/** Takes STATE/lock for the life of the daemon. Throws `conflict` when another daemon serves this state directory. */
export function lockState(disk: Disk, stateDirectory: string): Lock {
    disk.mkdir(stateDirectory, 0o700)
    const lock = tryHold(join(stateDirectory, 'lock'))
    if (lock === undefined)
        throw new Fault('conflict', `cannot serve ${stateDirectory}: another daemon serves it`, {
            hint: 'stop the other one first, or name another directory with --state',
        })
    return lock
}

/** Locks the file, which is made when it is not there; undefined when another process holds it. Never waits. */
export function tryHold(path: string): Lock | undefined {
    // Close-on-exec: a child that lives on must not keep the lock of a daemon that died.
    const fd = openAt(AT_FDCWD, cPath(path), open.WRONLY | open.CREAT | open.NOFOLLOW, 0o600)
    let held = false
    try {
        held = tryLock(fd)
    } finally {
        if (!held) close(fd)
    }
    if (!held) return undefined
    let released = false
    return {
        release() {
            if (!released) close(fd)
            released = true
        },
    }
}
