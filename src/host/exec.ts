/** Runs one command: argv, never a shell; bounded in time and output; with an environment of its own. */
import { spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import { limits } from '../core/limits.ts'

export interface ExecOptions {
    /** After this long (ms) the command and everything it started is killed. */
    timeoutMs?: number
    /** Bytes that are kept of each stream; the rest is read and dropped, so that the command does not block. */
    maxBytes?: number
    /** Replaces the whole environment. Default: `LC_ALL=C` and the system's PATH. */
    env?: Readonly<Record<string, string>>
    cwd?: string
    /** Given on standard input, which is otherwise empty. */
    input?: Uint8Array | string
    signal?: AbortSignal
}

export type ExecResult =
    | { found: false }
    | {
          found: true
          /** Exit status, or null when a signal ended it or it could not be ended at all. */
          status: number | null
          endedBy: string | null
          stdout: Uint8Array
          stderr: Uint8Array
          timedOut: boolean
          /** More was printed than is kept. */
          truncated: boolean
      }

/** How other folders run commands, so that a test can stand in for the host. */
export type Exec = (argv: readonly [string, ...string[]], options?: ExecOptions) => Promise<ExecResult>

export const systemPath = '/usr/sbin:/usr/bin:/sbin:/bin'
const defaultEnvironment = { LC_ALL: 'C', PATH: systemPath }

/** Resolves always: a failing command is an answer. Rejects only for a bad argument. */
export const exec: Exec = (argv, options = {}) => {
    const env = options.env ?? defaultEnvironment
    const program = findProgram(argv[0], env.PATH ?? systemPath)
    if (program === undefined) return Promise.resolve({ found: false })
    return new Promise((resolve, reject) => {
        const child = spawn(program, argv.slice(1), {
            argv0: argv[0],
            env: { ...env },
            cwd: options.cwd ?? '/',
            // A session of its own: killing the group reaches what the command started, and it has no terminal to ask.
            detached: true,
            stdio: ['pipe', 'pipe', 'pipe'],
        })
        const most = options.maxBytes ?? limits.commandBytes
        const out = new Kept(most)
        const err = new Kept(most)
        let timedOut = false
        let finished = false
        let grace: ReturnType<typeof setTimeout> | undefined

        const finish = (status: number | null, endedBy: string | null) => {
            if (finished) return
            finished = true
            clearTimeout(limit)
            clearTimeout(grace)
            options.signal?.removeEventListener('abort', kill)
            child.stdin.destroy()
            child.stdout.destroy()
            child.stderr.destroy()
            // What does not die of SIGKILL sleeps in the kernel; nothing here waits for it.
            child.unref()
            resolve({
                found: true,
                status,
                endedBy,
                stdout: out.bytes(),
                stderr: err.bytes(),
                timedOut,
                truncated: out.truncated || err.truncated,
            })
        }
        const kill = () => {
            killGroup(child.pid)
            grace ??= setTimeout(() => finish(null, null), limits.commandGraceMs)
        }
        const limit = setTimeout(() => {
            timedOut = true
            kill()
        }, options.timeoutMs ?? limits.commandMs)

        child.stdout.on('data', (piece: Uint8Array) => out.add(piece))
        child.stderr.on('data', (piece: Uint8Array) => err.add(piece))
        // A command may end without reading its input.
        child.stdin.on('error', () => undefined)
        child.on('error', error => {
            // The file went away or is no program: between our look and the start. Anything else is for the caller.
            const code = (error as { code?: string }).code
            if (finished || child.pid !== undefined) return
            finished = true
            clearTimeout(limit)
            if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOEXEC') resolve({ found: false })
            else reject(error)
        })
        child.on('exit', (status, endedBy) => {
            // A grandchild that keeps the pipes open must not keep us: what has arrived shortly after is all there is.
            clearTimeout(grace)
            grace = setTimeout(() => finish(status, endedBy), limits.commandGraceMs)
        })
        child.on('close', (status, endedBy) => finish(status, endedBy))
        options.signal?.addEventListener('abort', kill)
        if (options.signal?.aborted) kill()
        child.stdin.end(options.input ?? '')
    })
}

/** Standard output as text, or the reason why there is none; for commands whose failure is only a remark. */
export function outputOf(
    result: ExecResult,
    okStatuses: readonly number[] = [0],
): { ok: true; text: string } | { ok: false; why: string } {
    if (!result.found) return { ok: false, why: 'it is not installed' }
    if (result.timedOut) return { ok: false, why: 'it did not end in time' }
    if (result.status === null)
        return { ok: false, why: `it was ended by ${result.endedBy ?? 'nobody knows what'}` }
    const text = Buffer.from(result.stdout).toString('utf8')
    if (okStatuses.includes(result.status)) return { ok: true, text }
    const said = Buffer.from(result.stderr).toString('utf8').trim().split('\n')[0]
    return { ok: false, why: `exit status ${result.status}${said ? `: ${said.slice(0, 300)}` : ''}` }
}

/** The absolute path of a program, looked up in `path` unless its name has a slash. */
export function findProgram(name: string, path: string = systemPath): string | undefined {
    if (name === '' || name.includes('\0')) return undefined
    const places = name.includes('/')
        ? [name]
        : path.split(':').map(directory => join(directory || '/', name))
    return places.find(isProgram)
}

function isProgram(path: string): boolean {
    try {
        accessSync(path, constants.X_OK)
        return statSync(path).isFile()
    } catch {
        return false
    }
}

function killGroup(pid: number | undefined): void {
    if (pid === undefined) return
    try {
        process.kill(-pid, 'SIGKILL')
    } catch {
        // Gone already.
    }
}

/** The first bytes of a stream. */
class Kept {
    readonly #pieces: Uint8Array[] = []
    #length = 0
    truncated = false

    constructor(readonly most: number) {}

    add(piece: Uint8Array): void {
        const room = this.most - this.#length
        if (piece.length > room) this.truncated = true
        if (room <= 0) return
        const kept = piece.subarray(0, room)
        this.#pieces.push(kept)
        this.#length += kept.length
    }

    bytes(): Uint8Array {
        return Buffer.concat(this.#pieces, this.#length)
    }
}
