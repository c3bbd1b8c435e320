/**
 * A time of day for the program in a machine: that of a container is this host's, which no test may set. A library in front of
 * libc answers for it; the clocks of the boot, systemd's own timers and all other programs stay as they are.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Machine } from './machine.ts'

/** The daemon; each unit that a guard makes or starts. */
const dropIns = ['proxsave.service.d', 'proxsave-.service.d'].map(name => `/run/systemd/system/${name}`)
const ahead = '/run/faketime'

const variables = [
    // The dynamic linker puts the directory of the architecture there.
    'LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1',
    ...[`FAKETIME_TIMESTAMP_FILE=${ahead}`, 'FAKETIME_NO_CACHE=1', 'FAKETIME_DISABLE_SHM=1'],
    // A clock that is set moves neither the time since boot nor the times of files.
    ...['FAKETIME_DONT_FAKE_MONOTONIC=1', 'NO_FAKE_STAT=1', 'FAKE_UTIME=0'],
]

export class FakedClock {
    readonly #machine: Machine

    private constructor(machine: Machine) {
        this.#machine = machine
    }

    /** The daemon is started anew and lives by that clock, which shows the right time at first. */
    static async give(machine: Machine): Promise<FakedClock> {
        const clock = new FakedClock(machine)
        clock.set(0)
        for (const directory of dropIns) {
            mkdirSync(machine.live(directory), { recursive: true })
            writeFileSync(
                `${machine.live(directory)}/faketime.conf`,
                `[Service]\nEnvironment=${variables.join(' ')}\n`,
            )
        }
        await clock.#restart()
        return clock
    }

    /** Seconds that the clock is ahead of the right time; each program that has it sees that at once. */
    set(seconds: number): void {
        const path = this.#machine.live(ahead)
        writeFileSync(`${path}.part`, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`)
        renameSync(`${path}.part`, path)
    }

    async takeAway(): Promise<void> {
        for (const directory of dropIns)
            rmSync(this.#machine.live(directory), { recursive: true, force: true })
        await this.#restart()
        rmSync(this.#machine.live(ahead), { force: true })
    }

    async #restart(): Promise<void> {
        await this.#machine.must(['systemctl', 'daemon-reload'])
        await this.#machine.must(['systemctl', 'restart', 'proxsave.service'])
    }
}
