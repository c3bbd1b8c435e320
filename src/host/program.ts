/** Keeps the running program where no package operation can take it away. */
import {
    chmodSync,
    closeSync,
    copyFileSync,
    fsyncSync,
    linkSync,
    openSync,
    readlinkSync,
    renameSync,
    rmSync,
    statSync,
} from 'node:fs'
import { dirname } from 'node:path'

const self = '/proc/self/exe'

/** One more name of the running program, or a copy where that cannot be; durable. Costs 100 MB only for a copy. */
export function keepProgram(to: string): void {
    rmSync(to, { force: true })
    if (!linked(to)) {
        const temporary = `${to}.new`
        rmSync(temporary, { force: true })
        copyFileSync(self, temporary)
        chmodSync(temporary, 0o700)
        sync(temporary)
        renameSync(temporary, to)
    }
    sync(dirname(to))
}

function linked(to: string): boolean {
    try {
        const path = readlinkSync(self)
        const [running, named] = [statSync(self), statSync(path)]
        // An upgrade may have put another program there since this one was started.
        if (running.ino !== named.ino || running.dev !== named.dev) return false
        linkSync(path, to)
        return true
    } catch {
        // Another file system, or a program that was removed: a copy serves as well.
        return false
    }
}

function sync(path: string): void {
    const fd = openSync(path, 'r')
    try {
        fsyncSync(fd)
    } finally {
        closeSync(fd)
    }
}
