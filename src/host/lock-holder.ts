/** Who holds a lock of the kernel: for a process that must go on although the holder hangs. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

/** Arguments of the process, its program first. */
export interface Holder {
    pid: number
    argv: string[]
}

/**
 * The process that holds the flock of a file, from /proc/locks (proc_locks(5)); undefined when nobody does, or it cannot be
 * told. Inode numbers are those of one file system, and other systems on this kernel have some too: so only a process
 * that has this very file open is believed.
 */
export function lockHolder(path: string): Holder | undefined {
    try {
        const { ino } = statSync(path)
        for (const line of readFileSync('/proc/locks', 'latin1').split('\n')) {
            // "1: FLOCK  ADVISORY  WRITE 708 08:01:393252 0 EOF"
            const found = /^\d+: FLOCK\s+\S+\s+WRITE\s+(\d+)\s+\S+:(\d+)\s/.exec(line)
            if (found === null || Number(found[2]) !== ino || found[1] === '0') continue
            if (!hasOpen(found[1]!, path)) continue
            const argv = readFileSync(`/proc/${found[1]}/cmdline`, 'latin1').split('\0').slice(0, -1)
            return { pid: Number(found[1]), argv }
        }
        return undefined
    } catch {
        return undefined
    }
}

function hasOpen(pid: string, path: string): boolean {
    return readdirSync(`/proc/${pid}/fd`).some(fd => {
        try {
            return readlinkSync(`/proc/${pid}/fd/${fd}`) === path
        } catch {
            // Closed meanwhile.
            return false
        }
    })
}

/** So that its lock is free; it may have let go, and ended, meanwhile. */
export function endHolder(pid: number): void {
    try {
        process.kill(pid, 'SIGKILL')
    } catch {
        // Gone already.
    }
}
