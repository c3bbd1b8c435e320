/** What `proxsave rollback` works with when it runs alone: the real host, and nothing that could be away. */
import { systemClock } from '../host/clock.ts'
import { realDisk } from '../host/disk.ts'
import { exec } from '../host/exec.ts'
import { endHolder } from '../host/lock-holder.ts'
import { guardAreas } from './areas/index.ts'
import type { RollbackHost } from './rollback.ts'

export function rollbackHost(state: string): RollbackHost {
    // Whoever started it over a network may lose it now, and this must go on.
    for (const signal of ['SIGHUP', 'SIGINT', 'SIGPIPE'] as const) process.on(signal, () => undefined)
    process.stderr.on('error', () => undefined)
    // For what the tools of the area write; its own files have their modes.
    process.umask(0o022)
    return {
        root: '/',
        state,
        disk: realDisk(),
        clock: systemClock,
        exec,
        areas: guardAreas,
        kill: endHolder,
        sleep: ms => new Promise(resolve => setTimeout(resolve, ms)),
        say: text => void process.stderr.write(`${text}\n`),
    }
}
