/** Makes the live system read its files again: each loader on its own, its ways in their order until one of them works. */
import { exec } from '../host/exec.ts'
import type { AreaHost } from './area.ts'
import { guestLinks, missingOf, quietly } from './configured.ts'
import { areaHostOf } from './host.ts'
import type { Argv, Way } from './record.ts'

/** A way as areas give it, and `guard.json` keeps it. Ways without a loader are of one. */
export interface LoaderWay extends Way {
    /** What is told to read again; that one fails changes nothing for the others. */
    loader?: string
    /** Places among its commands of those whose failure does not count: what they take away may be gone already. */
    mayFail?: number[]
    /** Places of those that are only run while a file is not there: the device that it describes is to go then. */
    without?: [number, string][]
    /**
     * Its last command ends with 1 for a mere warning as well: then it has worked when the addresses and routes are there
     * that the files name at that moment.
     */
    judge?: 'interfaces'
    /** Not taken while guests have links: it would take those off their bridges. */
    spares?: 'guests'
}

export type RunCommand = (command: {
    argv: Argv
    timeoutMs: number
}) => Promise<{ ok: boolean; why?: string; missing?: boolean }>

/** Before anything that is started by a unit whose files changed. */
export const readUnits: [string, LoaderWay[]] = [
    'units',
    [{ title: 'systemd reads its units', commands: [['systemctl', 'daemon-reload']], timeoutMs: 30_000 }],
]

/** The ways of several loaders, in the order of the loaders. */
export const loadersOf = (loaders: readonly (readonly [string, readonly LoaderWay[]])[]): LoaderWay[] =>
    loaders.flatMap(([loader, ways]) => ways.map(way => ({ ...way, loader })))

/**
 * `way` names what worked; `problem` says what did not, with the ways that are `left` to try again. Both undefined: there was
 * nothing to do. `host` is where guests and addresses are looked at.
 */
export async function runWays(
    ways: readonly LoaderWay[],
    run: RunCommand,
    say: (text: string) => void,
    host: AreaHost = areaHostOf({ root: '/', exec }),
): Promise<{ way?: string; problem?: string; left?: LoaderWay[] }> {
    const worked: string[] = []
    const failed: string[] = []
    const left: LoaderWay[] = []
    for (const [, own] of Map.groupBy(ways, ({ loader }) => loader)) {
        const ended = await runLoader(own, run, say, host)
        if (ended.way !== undefined) worked.push(ended.way)
        else {
            failed.push(...ended.failed)
            left.push(...own)
        }
    }
    return {
        ...(worked.length === 0 ? {} : { way: worked.join(', ') }),
        ...(failed.length === 0 ? {} : { problem: `cannot load it: ${failed.join('; ')}`, left }),
    }
}

async function runLoader(
    ways: readonly LoaderWay[],
    run: RunCommand,
    say: (text: string) => void,
    host: AreaHost,
): Promise<{ way?: string; failed: string[] }> {
    const failed: string[] = []
    for (const way of ways) {
        const [guest, ...others] = way.spares === undefined ? [] : guestLinks(host)
        const why =
            guest === undefined
                ? await runAll(way, run, say, host)
                : `not while guests are connected (${guest}${others.length === 0 ? '' : ` and ${others.length} more`})`
        if (why === undefined) return { way: way.title, failed: [] }
        if (guest !== undefined) say(`${way.title}: ${why}`)
        failed.push(`${way.title}: ${why}`)
    }
    return { failed }
}

/** Why a way did not work; undefined when it did. */
async function runAll(
    { commands, timeoutMs, mayFail = [], without = [], judge }: LoaderWay,
    run: RunCommand,
    say: (text: string) => void,
    host: AreaHost,
): Promise<string | undefined> {
    for (const [at, argv] of commands.entries()) {
        const line = argv.join(' ')
        const [, file] = without.find(([place]) => place === at) ?? []
        if (file !== undefined && quietly(() => host.read(file)) !== undefined) continue
        const { ok, why } = await run({ argv, timeoutMs })
        say(`${line}: ${ok ? 'done' : why}`)
        if (ok || mayFail.includes(at)) continue
        if (judge === undefined || at < commands.length - 1 || why !== 'exit status 1')
            return `${line}: ${why}`
        const missing = await missingOf(host)
        if (missing.length > 0) return `${line}: ${why}, and ${missing.join(', ')}`
        say(`${line}: the addresses and routes of the files are there, and that counts`)
    }
    return undefined
}
