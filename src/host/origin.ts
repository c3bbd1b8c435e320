/** Where a process comes from: an SSH connection and how old it is, a console, something that outlived its session. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export type Origin =
    /** Below an sshd; `since` is when that connection was opened (ms of CLOCK_BOOTTIME, rounded down to a clock tick). */
    | { kind: 'ssh'; since: number }
    /** A shell in the browser: the web interface starts a terminal server for each, at that time. */
    | { kind: 'web'; since: number }
    /** At the machine itself: `tty1`, `ttyS0`, `console`. */
    | { kind: 'console'; tty: string }
    /** It has left the session that it came from, or cannot be judged any more. */
    | { kind: 'left'; program?: string }
    /** No session at all: entered from a container's host, started by systemd. */
    | { kind: 'other' }

/** Ends of an SSH connection, addresses only. */
export interface SshEnds {
    client: string
    server: string
}

interface Process {
    pid: number
    parent: number
    name: string
    /** Device number of its terminal; 0: none. */
    tty: number
    startMs: number
}

/** The server of OpenSSH is one program up to 9.7, and one for each connection since. */
const sshServers: ReadonlySet<string> = new Set(['sshd', 'sshd-session'])
/** What the shells of the web interface run below, one process a shell. */
const webTerminals: ReadonlySet<string> = new Set(['termproxy', 'vncterm'])
/** Terminals that live on without the connection they are looked at through. Kernel names end after 15 bytes. */
const multiplexers =
    /^(tmux(: server)?|screen|SCREEN|mosh-server|zellij|dtach|abduco|tmate(: server)?|byobu|shpool)$/

/** The kernel shows times of processes in hundredths of a second on all machines that we run on. */
const tickMs = 10
/** Deeper than any session: a loop would only come from a process table that changes while we read it. */
const depth = 64

/** `pid` 0 is a process that this PID namespace does not see. */
export function originOf(pid: number, proc = '/proc'): Origin {
    if (pid <= 0) return { kind: 'other' }
    const line = ancestry(pid, proc)
    const at = line.findIndex(({ name }) => sshServers.has(name))
    if (at >= 0) return { kind: 'ssh', since: connectionStart(line.slice(at), proc) }
    const web = line.find(({ name }) => webTerminals.has(name))
    if (web !== undefined) return { kind: 'web', since: web.startMs }

    const program = line.find(({ name }) => multiplexers.test(name))?.name
    if (program !== undefined) return { kind: 'left', program: program.split(':')[0]! }
    const top = line.at(-1)
    // Gone, or its parents went while we looked: nobody can tell any more.
    if (top === undefined || (top.parent !== 0 && top.pid !== 1)) return { kind: 'left' }
    // Above it is a process of another PID namespace, and whatever its environment says is of there.
    if (top.pid !== 1) return { kind: 'other' }
    const told = line.filter(({ pid }) => pid !== 1).map(({ pid }) => sshConnection(pid, proc))
    if (told.some(connection => connection)) return { kind: 'left' }
    const tty = consoleName(line.find(({ tty }) => tty !== 0)?.tty ?? 0)
    if (tty === undefined && told.includes('')) return { kind: 'left' }
    return tty === undefined ? { kind: 'other' } : { kind: 'console', tty }
}

/** Undefined when the process is in no SSH session. Also tells the ends of a connection that is gone. */
export function sshEndsOf(pid: number, proc = '/proc'): SshEnds | undefined {
    if (pid <= 0) return undefined
    for (const process of ancestry(pid, proc)) {
        // Its own environment is of whoever started the server.
        if (process.pid === 1 || sshServers.has(process.name)) return undefined
        const [client, , server] = sshConnection(process.pid, proc)?.split(' ') ?? []
        if (client && server) return { client, server }
    }
    return undefined
}

/**
 * When the connection was opened. The process nearest to a session may be forked only once somebody has logged in; the
 * one above it, whose title says so, was there from the first packet on.
 */
function connectionStart(servers: readonly Process[], proc: string): number {
    const [nearest, above] = servers as [Process, Process | undefined]
    if (above === undefined || !sshServers.has(above.name)) return nearest.startMs
    const title = read(join(proc, String(above.pid), 'cmdline'))
        .replaceAll('\0', ' ')
        .trimEnd()
    return title.endsWith('[priv]') ? above.startMs : nearest.startMs
}

/** The process itself first; ends at the top, or where a process is gone. */
function ancestry(pid: number, proc: string): Process[] {
    const line: Process[] = []
    for (let next = pid; next > 0 && line.length < depth; ) {
        const process = readProcess(next, proc)
        if (process === undefined) break
        line.push(process)
        next = process.parent
    }
    return line
}

function readProcess(pid: number, proc: string): Process | undefined {
    const stat = read(join(proc, String(pid), 'stat'))
    // The name stands in parentheses and may have any character, these two included.
    const [from, to] = [stat.indexOf('('), stat.lastIndexOf(')')]
    if (from < 0 || to < from) return undefined
    const fields = stat.slice(to + 2).split(' ')
    return {
        pid,
        parent: Number(fields[1]),
        name: stat.slice(from + 1, to),
        tty: Number(fields[4]),
        startMs: Number(fields[19]) * tickMs,
    }
}

/** Empty when we are not allowed to know, which must not pass for none: a container may deny its own root that. */
function sshConnection(pid: number, proc: string): string | undefined {
    const prefix = 'SSH_CONNECTION='
    let environment: string
    try {
        environment = readFileSync(join(proc, String(pid), 'environ'), 'latin1')
    } catch (error) {
        return ['ENOENT', 'ESRCH'].includes((error as { code?: string }).code ?? '') ? undefined : ''
    }
    const found = environment.split('\0').find(entry => entry.startsWith(prefix))
    return found?.slice(prefix.length)
}

/** Undefined for none and for a pseudo-terminal, which anything may be behind. */
function consoleName(device: number): string | undefined {
    const major = (device >> 8) & 0xfff
    const minor = (device & 0xff) | ((device >>> 12) & 0xfff00)
    if (device === 0 || (major >= 136 && major <= 143)) return undefined
    if (major === 4) return minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`
    if (major === 5) return 'console'
    if (major === 229) return `hvc${minor}`
    if (major === 204) return `ttyAMA${minor - 64}`
    return `tty ${major}:${minor}`
}

/** Empty when it is gone. */
function read(path: string): string {
    try {
        return readFileSync(path, 'latin1')
    } catch {
        return ''
    }
}
