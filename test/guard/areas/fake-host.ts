/** A host that is no kinder than a real one: programs are missing, hang, complain on standard error and end well all the same. */
import { areaById, type AreaId } from '../../../src/catalog/areas.ts'
import type { AreaHost, Candidate, Check } from '../../../src/guard/area.ts'
import type { ExecResult } from '../../../src/host/exec.ts'
import type { Answer } from '../../../src/host/reach.ts'

export interface Said {
    status?: number
    stdout?: string
    stderr?: string
    hangs?: boolean
}

export interface FakeHost extends AreaHost {
    /** Every command that was run, as one line. */
    asked: string[]
}

export interface FakeOptions {
    files?: Record<string, string>
    programs?: string[]
    /** By the whole command line. What is not here prints nothing and ends with 1. */
    says?: Record<string, Said | string>
    /** By unit; what is not here is inactive. `undefined`: systemd does not answer. */
    units?: Record<string, string> | undefined
    /** `ADDRESS PORT` that are open. */
    open?: string[]
}

export function fakeHost(options: FakeOptions = {}): FakeHost {
    const { files = {}, programs = [], says = {}, open = [] } = options
    const units = 'units' in options ? options.units : {}
    const asked: string[] = []
    return {
        root: '/',
        asked,
        async look(argv): Promise<ExecResult> {
            asked.push(argv.join(' '))
            const answer = says[argv.join(' ')]
            if (answer === undefined && !programs.includes(argv[0])) return { found: false }
            const said = typeof answer === 'string' ? { stdout: answer } : (answer ?? { status: 1 })
            return {
                found: true,
                status: said.hangs ? null : (said.status ?? 0),
                endedBy: said.hangs ? 'SIGKILL' : null,
                stdout: Buffer.from(said.stdout ?? ''),
                stderr: Buffer.from(said.stderr ?? ''),
                timedOut: said.hangs ?? false,
                truncated: false,
            }
        },
        has: program => programs.includes(program),
        active: async unit => (units === undefined ? undefined : (units[unit] ?? 'inactive')),
        read: path => readOf(files, path),
        names: path => namesOf(files, path),
        answers: async (address, port): Promise<Answer> =>
            open.includes(`${address} ${port}`) ? 'open' : 'refused',
    }
}

/** The host's files with these over them; `undefined` removes one. A link is `{ link }` and cannot be read, as in life. */
export function candidateOver(
    files: Record<string, string>,
    changes: Record<string, string | undefined | { link: string }>,
): Candidate {
    const all: Record<string, string | { link: string }> = { ...files }
    for (const [path, content] of Object.entries(changes))
        if (content === undefined) delete all[path]
        else all[path] = content
    return {
        changed: Object.keys(changes).sort(),
        read(path) {
            const content = all[path]
            return typeof content === 'string' ? content : undefined
        },
        names: path => namesOf(all, path),
    }
}

/** A directory cannot be read as a file: the real look throws then. */
function readOf(files: Record<string, string>, path: string): string | undefined {
    if (files[path] === undefined && namesOf(files, path).length > 0)
        throw new Error(`${path} is a directory`)
    return files[path]
}

function namesOf(files: object, path: string): string[] {
    const inside = Object.keys(files).filter(one => one.startsWith(`${path}/`))
    return [...new Set(inside.map(one => one.slice(path.length + 1).split('/')[0]!))].sort()
}

/** What preflight makes of a checker's end: the line that refuses, or the status, or nothing. */
export function verdictOf(check: Check, status: number, output: string): string | undefined {
    const bad = output.split('\n').find(line => check.refuse?.test(line))
    if (bad !== undefined) return bad
    return (check.okStatuses ?? [0]).includes(status) ? undefined : `exit status ${status}`
}

export const areaOf = (id: AreaId) => areaById(id)
