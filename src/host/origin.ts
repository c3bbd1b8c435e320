/** Where a process comes from: an SSH connection, how old it is and from where, a console, something without a session. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { ipFamily, parseIpAddress } from '../format/ip-address.ts'

export type Origin =
    /**
     * Below an sshd; `since` is when that connection was opened (ms of CLOCK_BOOTTIME, rounded down to a clock tick).
     * Without `ends` nobody can tell where it comes from: no TCP at all, for one. `from` is where the client itself comes
     * from, when that is a process of this system.
     */
    | { kind: 'ssh'; since: number; ends?: SshEnds; from?: Origin }
    /** A shell in the browser: the web interface starts a terminal server for each, at that time. */
    | { kind: 'web'; since: number }
    /** At the machine itself: `tty1`, `ttyS0`, `console`. */
    | { kind: 'console'; tty: string }
    /** It has left the session that it came from, never had one (a unit of systemd), or cannot be judged any more. */
    | { kind: 'left'; program?: string }
    /** Not of this system at all: entered from a container's host. */
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

/**
 * The server of OpenSSH is one program up to 9.7, and one for each connection since; that of dropbear forks when it accepts
 * a connection.
 */
const sshServers: ReadonlySet<string> = new Set(['sshd', 'sshd-session', 'dropbear'])
/** What the shells of the web interface run below, one process a shell. Kernel names end after 15 bytes. */
const webTerminals: ReadonlySet<string> = new Set(['termproxy', 'proxmox-termpro', 'vncterm'])
/** What stands between PID 1 and a shell at a console: nothing but a getty becomes this there. */
const consoleLogins: ReadonlySet<string> = new Set(['login', 'sulogin', 'systemd-sulogin'])
/** Terminals that live on without the connection they are looked at through. */
const multiplexers =
    /^(tmux(: server)?|screen|SCREEN|mosh-server|zellij|dtach|abduco|tmate(: server)?|byobu|shpool)$/

/** A connection through this many others of this system is nothing that anybody needs. */
const mostHops = 4
/** The kernel shows times of processes in hundredths of a second on all machines that we run on. */
const tickMs = 10
/** Deeper than any session: a loop would only come from a process table that changes while we read it. */
const depth = 64

/** `pid` 0 is a process that this PID namespace does not see. systemd makes the file `container` where it runs in one. */
export function originOf(pid: number, proc = '/proc', container = '/run/systemd/container'): Origin {
    return originWithin(pid, proc, container, 0)
}

/** `hops`: SSH connections of this system to itself that led here. */
function originWithin(pid: number, proc: string, container: string, hops: number): Origin {
    if (pid <= 0) return { kind: 'other' }
    const line = ancestry(pid, proc)
    const at = line.findIndex(({ name }) => sshServers.has(name))
    if (at >= 0) {
        const [below, servers] = [line.slice(0, at), line.slice(at)]
        const ends = connectionEnds(below, servers, proc)
        const client = ends && hops < mostHops ? clientOf(ends, servers[0]!.pid, proc) : undefined
        return {
            kind: 'ssh',
            since: connectionStart(servers, proc),
            ...(ends && { ends: { client: ends.client, server: ends.server } }),
            ...(client && { from: originWithin(client, proc, container, hops + 1) }),
        }
    }
    const web = line.find(({ name }) => webTerminals.has(name))
    if (web !== undefined) return { kind: 'web', since: web.startMs }

    const program = line.find(({ name }) => multiplexers.test(name))?.name
    if (program !== undefined) return { kind: 'left', program: program.split(':')[0]! }
    const top = line.at(-1)
    // Gone, or its parents went while we looked: nobody can tell any more.
    if (top === undefined || (top.parent !== 0 && top.pid !== 1)) return { kind: 'left' }
    // Above it is a process of another PID namespace, and whatever its environment says is of there.
    if (top.pid !== 1) return { kind: 'other' }
    const own = line.slice(0, -1)
    if (own.some(({ pid }) => sshConnection(pid, proc))) return { kind: 'left' }
    const tty = own.find(({ tty }) => tty !== 0)?.tty ?? 0
    const console = consoleName(tty)
    if (console !== undefined) return { kind: 'console', tty: console }
    // The consoles of a container are pseudo-terminals as well; on a machine a login at one is asked for from elsewhere.
    if (isPseudo(tty) && consoleLogins.has(own.at(-1)!.name) && existsSync(container))
        return { kind: 'console', tty: `pts/${minorOf(tty)}` }
    // `systemd-run`, `run0`, cron: whoever asked for it may sit in a session that proves nothing.
    return { kind: 'left' }
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
 * What the server told the session is asked first, nearest to the server, where nobody else has written it; then the
 * server's own socket, which an environment that is cleared or may not be read does not hide.
 */
function connectionEnds(
    below: readonly Process[],
    servers: readonly Process[],
    proc: string,
): Connection | undefined {
    for (const { pid } of below.toReversed()) {
        const [client = '', from, server = '', to] = sshConnection(pid, proc)?.split(' ') ?? []
        // UNKNOWN, when it is no TCP connection.
        if (ipFamily(client) && ipFamily(server)) return { client, server, ports: [Number(from), Number(to)] }
    }
    for (const { pid, name } of servers) {
        const found = sshServers.has(name) ? socketEnds(pid, proc) : undefined
        if (found !== undefined) return found
    }
    return undefined
}

interface Connection extends SshEnds {
    /** Of the client and of the server. */
    ports: [number, number]
}

/** Every TCP connection that a process's network has, seen as a server there, by its socket as `/proc/PID/fd` names it. */
function connectionsOf(pid: number, proc: string): Map<string, Connection> {
    const connections = new Map<string, Connection>()
    for (const table of ['tcp', 'tcp6'])
        for (const row of read(join(proc, String(pid), 'net', table))
            .split('\n')
            .slice(1)) {
            const [, server = '', client = '', state, , , , , , inode] = row.trim().split(/ +/)
            if (inode === undefined || state === listening) continue
            connections.set(`socket:[${inode}]`, {
                client: addressIn(client),
                server: addressIn(server),
                ports: [portIn(client), portIn(server)],
            })
        }
    return connections
}

/** The process of this system at the other end of a connection; undefined when there is none. */
function clientOf({ client, server, ports }: Connection, pid: number, proc: string): number | undefined {
    const sockets = new Set(
        [...connectionsOf(pid, proc)]
            // What is the server's other end is the client's own.
            .filter(
                ([, one]) =>
                    one.ports[0] === ports[1] &&
                    one.ports[1] === ports[0] &&
                    isSameAddress(one.client, server) &&
                    isSameAddress(one.server, client),
            )
            .map(([socket]) => socket),
    )
    if (sockets.size === 0) return undefined
    for (const name of namesIn(proc)) {
        if (!/^[0-9]+$/.test(name)) continue
        const directory = join(proc, name, 'fd')
        if (namesIn(directory).some(fd => sockets.has(linkAt(join(directory, fd))))) return Number(name)
    }
    return undefined
}

/** Of its first TCP connection: forwarded ones come later. */
function socketEnds(pid: number, proc: string): Connection | undefined {
    const connections = connectionsOf(pid, proc)
    const directory = join(proc, String(pid), 'fd')
    for (const fd of namesIn(directory).sort((a, b) => Number(a) - Number(b))) {
        const found = connections.get(linkAt(join(directory, fd)))
        if (found !== undefined) return found
    }
    return undefined
}

const listening = '0A'

const portIn = (field: string): number => Number.parseInt(field.split(':')[1] ?? '', 16)

const isSameAddress = (one: string, other: string): boolean => {
    const [a, b] = [parseIpAddress(one), parseIpAddress(other)]
    return a !== undefined && b !== undefined && Buffer.compare(unmapped(a), unmapped(b)) === 0
}

/** IPv4 in IPv6 is IPv4. */
const unmapped = (bytes: Uint8Array): Uint8Array =>
    bytes.length === 16 && bytes.slice(0, 12).every((byte, at) => byte === (at < 10 ? 0 : 255))
        ? bytes.slice(12)
        : bytes

/** `0100007F:0016`: words of 32 bits as this machine has them in memory, the lowest byte first. */
function addressIn(field: string): string {
    const words = field.split(':')[0]!.match(/.{8}/g) ?? []
    const bytes = words.flatMap(word => [...Buffer.from(word, 'hex')].reverse())
    const mapped = bytes.length === 16 && bytes.slice(0, 12).every((byte, at) => byte === (at < 10 ? 0 : 255))
    if (bytes.length === 4 || mapped) return bytes.slice(-4).join('.')
    return bytes
        .flatMap((byte, at) => (at % 2 === 0 ? [((byte << 8) | bytes[at + 1]!).toString(16)] : []))
        .join(':')
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

/** Undefined where there is none, or where we are not allowed to know. */
function sshConnection(pid: number, proc: string): string | undefined {
    const prefix = 'SSH_CONNECTION='
    const environment = read(join(proc, String(pid), 'environ'))
    const found = environment.split('\0').find(entry => entry.startsWith(prefix))
    return found?.slice(prefix.length)
}

/** Undefined for none and for a pseudo-terminal, which anything may be behind. */
function consoleName(device: number): string | undefined {
    const [major, minor] = [majorOf(device), minorOf(device)]
    if (device === 0 || isPseudo(device)) return undefined
    if (major === 4) return minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`
    if (major === 5) return 'console'
    if (major === 229) return `hvc${minor}`
    if (major === 204) return `ttyAMA${minor - 64}`
    return `tty ${major}:${minor}`
}

const majorOf = (device: number): number => (device >> 8) & 0xfff
const minorOf = (device: number): number => (device & 0xff) | ((device >>> 12) & 0xfff00)
const isPseudo = (device: number): boolean => majorOf(device) >= 136 && majorOf(device) <= 143

function namesIn(directory: string): string[] {
    try {
        return readdirSync(directory)
    } catch {
        return []
    }
}

function linkAt(path: string): string {
    try {
        return readlinkSync(path)
    } catch {
        return ''
    }
}

/** Empty when it is gone, or not for us to see. */
function read(path: string): string {
    try {
        return readFileSync(path, 'latin1')
    } catch {
        return ''
    }
}
