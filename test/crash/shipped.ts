/** The compiled binary as a real daemon on a tree of its own, traced: killed, or failed, at a chosen system call. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

export const binary = join(import.meta.dir, '../../build/proxsave')

/** System calls that change a file system or make a change durable. */
export const mutating = [
    ...[
        'rename',
        'renameat',
        'renameat2',
        'link',
        'linkat',
        'unlink',
        'unlinkat',
        'rmdir',
        'symlink',
        'symlinkat',
    ],
    ...['mkdir', 'mkdirat', 'write', 'pwrite64', 'ftruncate', 'fsync', 'fdatasync', 'syncfs'],
    ...[
        'chmod',
        'fchmod',
        'fchmodat',
        'chown',
        'fchown',
        'fchownat',
        'utimensat',
        'lsetxattr',
        'lremovexattr',
    ],
] as const

/** Why this cannot run here; undefined when it can. */
export function missing(): string | undefined {
    if (process.getuid?.() !== 0) return 'needs root'
    if (!existsSync(binary)) return 'needs build/proxsave: npm run build'
    if (Bun.which('strace') === null) return 'needs strace'
    return undefined
}

export type Injection = { call: string; when: number; action: string }

export class ShippedDaemon {
    readonly root: string
    readonly state: string
    readonly socket: string
    readonly #scratch: string
    #child: ChildProcess | undefined
    #ended: Promise<unknown> = Promise.resolve()
    #traced = false
    log = ''

    constructor(places: { root: string; state: string; scratch: string }) {
        this.root = places.root
        this.state = places.state
        this.#scratch = places.scratch
        this.socket = join(places.scratch, 'run/proxsave.sock')
        mkdirSync(join(places.scratch, 'run'), { recursive: true })
    }

    /** False when it was killed before it served. With `trace`, system calls are written to that file. */
    async start(how: { inject?: Injection; trace?: string } = {}): Promise<boolean> {
        rmSync(this.socket, { force: true })
        const daemon = [
            binary,
            'proxsaved',
            '--root',
            this.root,
            '--state',
            this.state,
            '--socket',
            this.socket,
        ]
        const { inject, trace } = how
        const calls = inject === undefined ? mutating.map(call => `?${call}`).join() : `?${inject.call}`
        const argv = ['strace', '-f', '-qq', '-o', trace ?? '/dev/null', '-e', `trace=${calls}`]
        if (inject !== undefined)
            argv.push('-e', `inject=?${inject.call}:${inject.action}:when=${inject.when}`)
        this.#traced = inject !== undefined || trace !== undefined
        const [program, ...args] = this.#traced ? [...argv, ...daemon] : daemon
        const child = spawn(program!, args, {
            stdio: ['ignore', 'ignore', 'pipe'],
            env: { PATH: process.env.PATH ?? '', TZ: 'UTC' },
            cwd: this.#scratch,
        })
        this.#child = child
        this.#ended = new Promise(resolve => child.once('close', resolve))
        const from = this.log.length
        return new Promise(resolve => {
            child.stderr!.on('data', (chunk: Buffer) => {
                this.log += chunk.toString()
                if (this.log.indexOf(' serves ', from) >= 0) resolve(true)
            })
            child.once('close', () => resolve(false))
        })
    }

    /** Resolves when the daemon has ended, by itself or by this. */
    async stop(): Promise<void> {
        if (this.#child?.exitCode === null && this.#child.signalCode === null) this.#signal('SIGTERM')
        const timer = setTimeout(() => this.#signal('SIGKILL'), 5_000)
        await this.#ended
        clearTimeout(timer)
    }

    /** A tracer that is told to end would leave the daemon behind: the daemon itself is told. */
    #signal(signal: NodeJS.Signals): void {
        const pid = this.#child?.pid
        if (pid === undefined) return
        try {
            const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim()
            if (this.#traced && children !== '') process.kill(Number(children.split(' ')[0]), signal)
            else this.#child!.kill(signal)
        } catch {
            // It is gone already.
        }
    }

    async api<T>(method: string, path: string, body?: unknown): Promise<T> {
        const response = await fetch(`http://proxsave${path}`, {
            method,
            body: body === undefined ? undefined : JSON.stringify(body),
            unix: this.socket,
            signal: AbortSignal.timeout(30_000),
        })
        const text = await response.text()
        if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
        return JSON.parse(text) as T
    }

    /** The events of a change to its end; throws when the daemon goes before. */
    async follow(change: string): Promise<{ event: string; result?: string }[]> {
        const response = await fetch(`http://proxsave/v1/changes/${change}/events`, {
            unix: this.socket,
            signal: AbortSignal.timeout(30_000),
        })
        const lines = (await response.text()).trimEnd().split('\n')
        const events = lines.map(line => JSON.parse(line) as { event: string; result?: string })
        if (events.at(-1)?.event !== 'end') throw new Error('the events stop before the end')
        return events
    }
}
