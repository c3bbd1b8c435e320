/** Who holds a lock of the kernel: for a process that must go on although the holder hangs. */
import { readFileSync, statSync } from 'node:fs'

/**
 * The process that holds the flock of a file, from /proc/locks (proc_locks(5)); undefined when nobody does, or it cannot
 * be told.
 */
export function lockHolder(path: string): number | undefined {
    try {
        const { ino } = statSync(path)
        for (const line of readFileSync('/proc/locks', 'latin1').split('\n')) {
            // "1: FLOCK  ADVISORY  WRITE 708 08:01:393252 0 EOF"
            const found = /^\d+: FLOCK\s+\S+\s+WRITE\s+(\d+)\s+\S+:(\d+)\s/.exec(line)
            if (found !== null && Number(found[2]) === ino && found[1] !== '0') return Number(found[1])
        }
        return undefined
    } catch {
        return undefined
    }
}
