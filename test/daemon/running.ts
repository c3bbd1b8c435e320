/** A real daemon on a small tree of its own, and the command line talking to it from inside the test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { runCli } from '../../src/cli/main.ts'
import { connect } from '../../src/client/client.ts'
import { localFiles } from '../../src/client/files.ts'
import type { Terminal } from '../../src/client/terminal.ts'

const main = join(import.meta.dir, '../../src/main.ts')

export interface Ran {
    status: number
    out: string
    err: string
}

export class RunningDaemon {
    readonly base: string
    readonly root: string
    readonly state: string
    readonly socket: string
    log = ''
    #child: ChildProcess | undefined
    #ended: Promise<number | null> = Promise.resolve(null)

    private constructor() {
        this.base = mkdtempSync(join(tmpdir(), 'proxsave-daemon-'))
        this.root = join(this.base, 'root')
        this.state = join(this.base, 'state')
        this.socket = join(this.base, 'run/proxsave.sock')
        for (const directory of ['etc/network', 'etc/proxsave', 'var/backups', 'var/lib'])
            mkdirSync(join(this.root, directory), { recursive: true })
        this.write('etc/hostname', 'testhost\n')
        this.write('etc/hosts', '127.0.0.1 localhost\n')
        this.write('etc/network/interfaces', 'auto lo\niface lo inet loopback\n')
    }

    static async begin(
        prepare: (daemon: RunningDaemon) => void | Promise<void> = () => undefined,
    ): Promise<RunningDaemon> {
        const daemon = new RunningDaemon()
        await prepare(daemon)
        await daemon.start()
        return daemon
    }

    write(path: string, text: string): void {
        const full = join(this.root, path)
        mkdirSync(dirname(full), { recursive: true })
        writeFileSync(full, text)
    }

    get pid(): number {
        return this.#child!.pid!
    }

    /** Resolves when the socket listens; throws with the log when the daemon ends before. */
    async start(env: Record<string, string> = {}): Promise<void> {
        const args = [main, 'proxsaved', '--root', this.root, '--state', this.state, '--socket', this.socket]
        const child = spawn(process.execPath, args, {
            stdio: ['ignore', 'ignore', 'pipe'],
            env: { PATH: process.env.PATH ?? '', TZ: 'UTC', ...env },
        })
        this.#child = child
        this.#ended = new Promise(resolve => child.once('close', status => resolve(status)))
        const from = this.log.length
        await new Promise<void>((resolve, reject) => {
            child.stderr!.on('data', (chunk: Buffer) => {
                this.log += chunk.toString('utf8')
                if (this.log.indexOf(' serves ', from) >= 0) resolve()
            })
            child.once('close', () => reject(new Error(`the daemon ended: ${this.log.slice(from)}`)))
        })
    }

    /** Ends it; resolves to its exit status. */
    async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
        this.#child?.kill(signal)
        return this.#ended
    }

    async end(): Promise<void> {
        await this.stop('SIGKILL')
        rmSync(this.base, { recursive: true, force: true })
    }

    /** Waits until the log has this text, behind `from`. */
    async logged(text: string, from = 0): Promise<void> {
        await until(() => this.log.indexOf(text, from) >= 0, `the log says "${text}"`)
    }

    /** One command line, run here with a terminal that is none. */
    async ctl(...args: string[]): Promise<Ran> {
        return runHere(args, this.socket)
    }

    async api(method: string, path: string, body?: string): Promise<{ status: number; text: string }> {
        const response = await fetch(`http://proxsave${path}`, { method, body, unix: this.socket })
        return { status: response.status, text: await response.text() }
    }
}

export async function runHere(
    args: string[],
    socket: string,
    terminal: Partial<Terminal> = {},
): Promise<Ran> {
    const ran: Ran = { status: -1, out: '', err: '' }
    ran.status = await runCli(args, {
        connect,
        files: localFiles(),
        version: '1.2.3',
        terminal: {
            out: text => {
                ran.out += text
            },
            err: text => {
                ran.err += text
            },
            drained: async () => undefined,
            inIsTerminal: false,
            outIsTerminal: false,
            errIsTerminal: false,
            columns: 0,
            env: { PROXSAVE_SOCKET: socket },
            cwd: '/',
            user: 'tester@test',
            onInterrupt: () => () => undefined,
            readInput: async () => '',
            ...terminal,
        },
    })
    return ran
}

/** Polls a condition, because nothing tells when it becomes true; bounded. */
export async function until(condition: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + 15_000
    while (!condition()) {
        if (performance.now() > deadline) throw new Error(`it did not happen: ${what}`)
        await Bun.sleep(10)
    }
}

/** Retention counts by seconds, as Proxmox does: backups that shall both be kept need one of their own. */
export async function nextSecond(): Promise<void> {
    await Bun.sleep(1_000 - (Date.now() % 1_000))
}
