/** The daemon at rest, and how long the command waits for an answer. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { alone } from './measure.ts'

/** Clock ticks of /proc/PID/stat in a second. */
const TICKS = 100

export async function measureDaemon(binary: string, work: string): Promise<void> {
    const root = join(work, 'idle-root')
    const socket = join(work, 'idle.sock')
    mkdirSync(join(root, 'etc'), { recursive: true })
    const daemon = Bun.spawn(
        [binary, '--root', root, '--state', join(work, 'idle-state'), '--socket', socket],
        {
            argv0: 'proxsaved',
            stdout: 'ignore',
            stderr: 'ignore',
        },
    )
    try {
        const ask = {
            argv: ['bash', '-c', `exec -a proxsavectl '${binary}' --socket '${socket}' status --json`],
        }
        for (let tries = 0; ; tries++) {
            try {
                await alone(ask, 1)
                break
            } catch (error) {
                if (tries > 50) throw error
                await Bun.sleep(100)
            }
        }
        const answered = await alone(ask, 15)
        const ticks = () => {
            const fields = readFileSync(`/proc/${daemon.pid}/stat`, 'latin1').split(' ')
            return Number(fields[13]) + Number(fields[14])
        }
        const before = ticks()
        await Bun.sleep(10_000)
        const cpu = (ticks() - before) / TICKS / 10
        const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'latin1'))![1]
        console.log(`status: ${answered.wallMs.toFixed(0)} ms whole command (goal 40 for the round trip)`)
        console.log(
            `idle daemon: ${(Number(rss) / 1024).toFixed(0)} MiB RSS (goal 40), ${(cpu * 100).toFixed(2)} % CPU (goal 0.1)`,
        )
    } finally {
        daemon.kill('SIGTERM')
        await daemon.exited
    }
}
