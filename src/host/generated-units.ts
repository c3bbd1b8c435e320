/** Writes what a systemd generator generated: all of it, or none. */
import { closeSync, mkdirSync, openSync, rmSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Fault } from '../core/errors.ts'

/** `directory` is the one that systemd gave the generator; it is new and empty, and read when the generator is done. */
export function writeUnits(
    directory: string,
    files: readonly ({ path: string; text: string } | { path: string; link: string })[],
): void {
    const written: string[] = []
    try {
        for (const file of files) {
            const path = join(directory, file.path)
            mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
            if ('link' in file) symlinkSync(file.link, path)
            else writeFileSync(path, file.text, { mode: 0o644, flag: 'wx' })
            written.push(path)
        }
    } catch (error) {
        for (const path of written) rmSync(path, { force: true })
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault('failed', `cannot write the timers to ${directory}: ${why}`, { cause: error })
    }
}

/** One line for the kernel's log: generators run before the journal does. Silent where that is not allowed. */
export function writeKernelLog(line: string): void {
    const notice = 5
    try {
        const fd = openSync('/dev/kmsg', 'w')
        try {
            writeSync(
                fd,
                `<${notice}>proxsave-generator: ${line.replaceAll(/[^ -~]+/g, ' ').slice(0, 900)}\n`,
            )
        } finally {
            closeSync(fd)
        }
    } catch {
        // A container has no kernel log; standard error has the line as well.
    }
}
