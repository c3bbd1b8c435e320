/** What each area knows: how its files are checked, loaded again, and whether the host is well with them. One file an area. */
import type { Area, AreaId } from '../catalog/areas.ts'
import type { ExecResult } from '../host/exec.ts'
import type { Answer } from '../host/reach.ts'
import type { LoaderWay } from './load.ts'
import type { Addresses, Argv } from './record.ts'

/** How an area looks at the host. Reads only, every call bounded in time. */
export interface AreaHost {
    /** Absolute; `/` in life, another directory in tests. */
    root: string
    /** Runs a command that changes nothing. */
    look(argv: Argv, timeoutMs?: number): Promise<ExecResult>
    /** Whether a program is there. */
    has(program: string): boolean
    /** `active`, `inactive`, … of a unit; undefined when systemd does not answer. */
    active(unit: string): Promise<string | undefined>
    /** A small file below the root; undefined when it is not there. */
    read(path: string): string | undefined
    /** Names in a directory below the root. */
    names(path: string): string[]
    /** One TCP connection from this host, closed at once; default: `tcpAnswer`. */
    answers?(address: string, port: number, timeoutMs: number): Promise<Answer>
}

/** A checker that preflight runs where it sees the candidate; what it prints is kept. */
export interface Check {
    title: string
    argv: Argv
    timeoutMs: number
    /** Exit statuses that are good. Default [0]. */
    okStatuses?: number[]
    /** Lines of its output that are no good although its status is. */
    refuse?: RegExp
}

export interface Finding {
    name: string
    level: 'ok' | 'warning' | 'critical'
    /** One sentence. */
    text: string
}

/** The candidate as preflight and planning see it: reads a file of it, or the live one where it has none. */
export interface Candidate {
    read(path: string): string | undefined
    names(path: string): string[]
    /** Absolute paths of the files that change. */
    changed: readonly string[]
}

/** Who asked, as far as it is known. */
export interface Session {
    /** Default: root. */
    user?: string
    /** The address that the connection came from. */
    client?: string
}

export interface Checks {
    /** What our own parsers refuse. */
    problems: string[]
    checks: Check[]
    /** What to tell before anything is armed; none of it refuses. */
    findings?: Finding[]
}

export interface GuardArea {
    id: AreaId
    /** Undefined: the host has nothing that could check it. `problem`: our own parser refuses it. */
    checks(host: AreaHost, area: Area, candidate: Candidate, session?: Session): Promise<Checks>
    /** How the live system takes the files, for each loader the best way first; the same ways load the old ones again. */
    ways(host: AreaHost, candidate: Candidate): Promise<LoaderWay[]>
    health(host: AreaHost, addresses: Addresses): Promise<Finding[]>
    /** Where the host will be reached; of the network only. */
    addresses?(host: AreaHost, candidate: Candidate): Promise<Addresses>
    /** Files of diagnostics: name and command. */
    diagnostics: readonly { file: string; argv: Argv; okStatuses?: number[] }[]
}
