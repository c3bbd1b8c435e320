/** Checks a candidate before anything is armed: our own parsers, then the tools of the area on a copy that only they see. */
import { areaById } from '../catalog/areas.ts'
import { asFault } from '../core/errors.ts'
import type { TaskContext } from '../engine/kinds.ts'
import { findProgram } from '../host/exec.ts'
import type { PlaceTree } from '../host/place.ts'
import type { Candidate, Check, Finding } from './area.ts'
import { buildOverlay, dropOverlay } from './candidate.ts'
import { areaHostOf } from './host.ts'
import { diagnosticsOf, type GuardHost, type GuardParams, preflightOutput } from './tasks.ts'

/** `problems` in words, `findings` to be known before it is applied; `output` is the file with what the tools said. */
export async function runPreflight(
    host: GuardHost,
    params: GuardParams,
    context: TaskContext,
    { candidate, live, own }: { candidate: Candidate; live: PlaceTree; own: PlaceTree },
): Promise<{ problems: string[]; findings: Finding[]; output?: string }> {
    const area = areaById(params.area)
    const {
        problems,
        checks,
        findings = [],
    } = await host.areas[params.area].checks(
        areaHostOf(host),
        area,
        candidate,
        params.client === undefined ? {} : { client: params.client },
    )
    if (problems.length > 0 || checks.length === 0) return { problems, findings }
    const output = preflightOutput(context, params.area)
    host.disk.mkdir(diagnosticsOf(context, params.area), 0o700)
    host.disk.remove(output)
    const shows = buildOverlay(area, live, own, params.actions)
    try {
        const found: string[] = []
        for (const check of checks) {
            const problem = await runCheck(host, context, params, check, { shows, output })
            if (problem !== undefined) found.push(problem)
        }
        return { problems: found, findings, output }
    } finally {
        dropOverlay(own)
    }
}

async function runCheck(
    host: GuardHost,
    context: TaskContext,
    { area }: GuardParams,
    check: Check,
    { shows, output }: { shows: [string, string][]; output: string },
): Promise<string | undefined> {
    const [name, ...args] = check.argv
    const program = findProgram(name)
    if (program === undefined) return `${name} is not installed`
    const line = check.argv.join(' ')
    const from = host.disk.size(output) ?? 0
    let why: string | undefined
    try {
        const ended = await host.systemd.runTransient({
            unit: `proxsave-check-${context.change}-${area}.service`,
            description: `proxsave: ${check.title}`,
            argv: [program, ...args],
            timeoutMs: check.timeoutMs,
            output,
            shows,
        })
        const ok =
            ended.result === 'done' ||
            (ended.status !== undefined && check.okStatuses?.includes(ended.status))
        if (!ok && ended.result === 'failed')
            why = ended.timedOut
                ? `it did not end within ${check.timeoutMs / 1000} s`
                : `exit status ${ended.status ?? 'unknown'}`
    } catch (error) {
        why = asFault(error).message
    }
    const said = Buffer.from(host.disk.read(output)?.subarray(from) ?? [])
        .toString()
        .trim()
        .split('\n')
        .filter(text => text.trim() !== '')
    const bad = check.refuse === undefined ? undefined : said.find(text => check.refuse!.test(text))
    context.log(`${line}: ${why ?? bad ?? 'nothing against it'}`)
    if (why === undefined && bad === undefined) return undefined
    // The first line names the place, the last one the verdict.
    const words = bad === undefined ? [...new Set([said[0], said.at(-1)])] : [bad]
    return `${line}: ${[...words, why].filter(Boolean).join(', ')}`
}
