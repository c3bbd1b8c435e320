/** Writes down how the host is before, after, and after a rollback: for the person who decides, and for reading later. */
import { join } from 'node:path'
import type { Disk } from '../host/disk.ts'
import { outputOf } from '../host/exec.ts'
import type { AreaHost, Finding, GuardArea } from './area.ts'
import type { Addresses } from './record.ts'

export type Moment = 'before' | 'after' | 'rolled-back'

/** A look takes no longer (ms) than this, whatever hangs. */
const wholeMs = 30_000
const commandMs = 8_000
/** Of one output. */
const keptBytes = 1024 * 1024

/** Files `MOMENT.NAME` in `directory`, and the findings, which are also `MOMENT.health.json`. Never throws for what it sees. */
export async function observe(
    area: GuardArea,
    host: AreaHost,
    to: { disk: Disk; directory: string; addresses: Addresses },
    moment: Moment,
): Promise<Finding[]> {
    const { disk, directory, addresses } = to
    const until = performance.now() + wholeMs
    disk.mkdir(directory, 0o700)
    const write = (name: string, text: string) =>
        disk.replace(join(directory, `${moment}.${name}`), Buffer.from(text).subarray(0, keptBytes), 0o600)
    const looked = area.diagnostics.map(async ({ file, argv, okStatuses }) => {
        const left = Math.max(1_000, Math.min(commandMs, until - performance.now()))
        const result = await host.look(argv, left)
        const answer = outputOf(result, okStatuses)
        const said = result.found ? Buffer.from(result.stdout).toString() : ''
        write(file, answer.ok ? answer.text : `${said}${argv.join(' ')}: ${answer.why}\n`)
    })
    const findings = area.health(host, addresses).catch((error: unknown): Finding[] => [
        {
            name: 'health',
            level: 'warning',
            text: `the checks failed: ${error instanceof Error ? error.message : error}`,
        },
    ])
    await Promise.all(looked)
    const health = await within(findings, Math.max(1_000, until - performance.now()))
    write('health.json', `${JSON.stringify(health, undefined, 4)}\n`)
    return health
}

async function within(findings: Promise<Finding[]>, ms: number): Promise<Finding[]> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<Finding[]>(resolve => {
        timer = setTimeout(
            () => resolve([{ name: 'health', level: 'warning', text: 'the checks did not end in time' }]),
            ms,
        )
    })
    return Promise.race([findings, late]).finally(() => clearTimeout(timer))
}

/** The findings that somebody should know before deciding, worst first. */
export function worthTelling(findings: readonly Finding[]): Finding[] {
    const rank = { critical: 0, warning: 1, ok: 2 }
    return findings.filter(({ level }) => level !== 'ok').sort((a, b) => rank[a.level] - rank[b.level])
}
