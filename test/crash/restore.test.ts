/** The shipped binary restores and is killed at its system calls: its next start leaves the tree whole-old or whole-new. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../backup/lab.ts'
import { RestoreBench } from '../restore/bench.ts'
import { Describer } from '../restore/describer.ts'
import { differences, type Tree } from '../vm/tree.ts'
import { type Injection, missing, mutating, ShippedDaemon } from './shipped.ts'

const why = missing()
if (why !== undefined) console.log(`skip: killing the shipped binary ${why}`)

/** PROXSAVE_KILLS is how many; the seed makes a run again what it was. */
const kills = Number(process.env.PROXSAVE_KILLS ?? 9)
const failures = Number(process.env.PROXSAVE_FAILURES ?? 4)
const seed = Number(process.env.PROXSAVE_SEED ?? Math.floor(Math.random() * 1_000_000))
const timeoutMs = (kills + failures) * 5_000 + 60_000

/** Copying the tree for the next try reads it. */
const ignoring = { ignoring: ['atime'] }

interface Summary {
    id: string
    kind: string
    state: string
    result?: string
    left?: string[]
}

describe.if(why === undefined)('the shipped daemon', () => {
    let bench: RestoreBench
    let describer: Describer
    let daemon: ShippedDaemon
    let pristine: string
    let before: Tree
    let after: Tree
    /** Calls of one restore, those of starting and planning included. */
    const counts = new Map<string, number>()

    beforeAll(async () => {
        bench = await RestoreBench.begin()
        // A plan never removes what fills a directory that a file would replace.
        await run(['rm', join(bench.root, 'tree/is-dir-now/in')])
        describer = new Describer()
        before = await describer.describe(bench.root)
        pristine = bench.lab.place('pristine')
        await run(['cp', '-a', bench.root, pristine])
        daemon = new ShippedDaemon({ root: bench.root, state: bench.state, scratch: bench.lab.base })
        const trace = bench.lab.place('trace')
        await daemon.start({ trace })
        expect(await restore()).toBe('ok')
        await daemon.stop()
        after = await describer.describe(bench.root)
        expect(differences(before, after)).not.toEqual([])
        // A call is counted by the process that makes it: the daemon is the one that the first line is of.
        const lines = readFileSync(trace, 'latin1').split('\n')
        const daemonPid = lines[0]!.split(' ')[0]!
        for (const line of lines) {
            const call = /^(\d+) +([a-z0-9_]+)\(/.exec(line)
            if (call !== null && call[1] === daemonPid) counts.set(call[2]!, (counts.get(call[2]!) ?? 0) + 1)
        }
    }, 60_000)
    afterAll(async () => {
        await daemon.stop()
        await describer.end()
        bench.remove()
    })

    async function restore(): Promise<string | undefined> {
        const request = {
            backup: bench.archive,
            mode: 'custom',
            categories: ['included'],
            answers: { 'compat.mismatch': 'yes', 'signature.untrusted': 'yes' },
            interactive: false,
            exact: true,
        }
        const planned = await daemon.api<{ digest?: string }>('POST', '/v1/restores/plan', request)
        if (planned.digest === undefined) throw new Error(JSON.stringify(planned))
        const answers = { ...request.answers, confirm: 'RESTORE' }
        const started = { ...request, answers, digest: planned.digest }
        const { change } = await daemon.api<{ change: string }>('POST', '/v1/restores', started)
        const end = (await daemon.follow(change)).at(-1)
        return end?.result === 'failed' ? `failed: ${JSON.stringify(end)}` : end?.result
    }

    async function again(): Promise<void> {
        await run(['rm', '-rf', bench.root])
        await run(['cp', '-a', pristine, bench.root])
        bench.forget()
    }

    /** As many as asked for, spread evenly over all calls of a restore, behind those of the start. */
    function chosen(number: number, action: string): Injection[] {
        const all: { call: string; when: number }[] = []
        for (const call of mutating)
            for (let when = 1; when <= (counts.get(call) ?? 0); when++) all.push({ call, when })
        const from = (seed % 997) / 997
        const most = Math.min(number, all.length)
        return Array.from({ length: most }, (_, i) => ({
            ...all[Math.floor(((i + from) * all.length) / most)]!,
            action,
        }))
    }

    async function trouble(inject: Injection): Promise<'old' | 'new'> {
        await again()
        const what = `${inject.call} ${inject.when} ${inject.action} (seed ${seed})`
        if (await daemon.start({ inject })) await restore().catch(() => undefined)
        await daemon.stop()
        if (!(await daemon.start())) throw new Error(`${what}: it does not start again: ${daemon.log}`)
        await quiet()
        const { changes } = await daemon.api<{ changes: Summary[] }>('GET', '/v1/changes')
        await daemon.stop()
        const found = await describer.describe(bench.root)
        const old = differences(before, found, ignoring)
        const last = changes.find(({ kind }) => kind === 'restore')
        if (last?.left !== undefined) throw new Error(`${what}: left ${last.left.join('; ')}`)
        if (last?.state !== undefined && last.state !== 'done') throw new Error(`${what}: not finished`)
        if (last?.result === 'ok' || last?.result === 'warning') {
            // Times of directories that no action names are those of the moment.
            const lines = differences(after, found, ignoring).filter(line => !/: mtime was /.test(line))
            if (lines.length > 0) throw new Error(`${what}: neither old nor new: ${lines.join('\n')}`)
            return 'new'
        }
        if (old.length > 0) throw new Error(`${what}: ${last?.result}: ${old.join('\n')}`)
        return 'old'
    }

    /** The daemon answers before it has finished what was interrupted. */
    async function quiet(): Promise<void> {
        const deadline = performance.now() + 15_000
        for (;;) {
            const status = await daemon.api<{ unfinished: unknown[] }>('GET', '/v1/status')
            if (status.unfinished.length === 0) return
            if (performance.now() > deadline) throw new Error('the recovery does not end')
            await Bun.sleep(10)
        }
    }

    for (const [title, number, actions] of [
        ['killed', kills, ['signal=KILL']],
        ['starved', failures, ['error=ENOSPC', 'error=EIO']],
    ] as const)
        test(
            `${title} at system calls of a restore`,
            async () => {
                const ends = { old: 0, new: 0 }
                for (const [i, injection] of chosen(number, '').entries())
                    ends[await trouble({ ...injection, action: actions[i % actions.length]! })]++
                const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
                console.log(
                    `${title}: ${number} of ${total} calls, seed ${seed}: whole-old ${ends.old}, whole-new ${ends.new}`,
                )
                expect(ends.old).toBeGreaterThan(0)
            },
            timeoutMs,
        )
})
