/**
 * The shipped binary rolls back, and is killed or refused at its system calls; then it is started again, as its unit does.
 * PROXSAVE_KILLS and PROXSAVE_FAILURES say how many, PROXSAVE_SEED which.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GuardDirectory } from '../../src/guard/record.ts'
import { systemClock } from '../../src/host/clock.ts'
import { realDisk } from '../../src/host/disk.ts'
import { PlaceTree } from '../../src/host/place.ts'
import { saveBefore } from '../../src/host/snapshot.ts'
import { run } from '../backup/lab.ts'
import { temporaries } from '../guard/world.ts'
import { Describer } from '../restore/describer.ts'
import { differences, type Tree } from '../vm/tree.ts'
import { binary, type Injection, missing, mutating } from './shipped.ts'

const why = missing()
if (why !== undefined) console.log(`skip: killing the shipped rollback ${why}`)

const kills = Number(process.env.PROXSAVE_KILLS ?? 12)
const failures = Number(process.env.PROXSAVE_FAILURES ?? 6)
const seed = Number(process.env.PROXSAVE_SEED ?? Math.floor(Math.random() * 1_000_000))
const errors = ['ENOSPC', 'EIO', 'EROFS', 'EMFILE'] as const
const opening = ['openat', 'openat2'] as const

const id = '20261120-120000-aaaa-access'
const old = `
mkdir -p sub/inner swept
echo old > changed; chmod 640 changed; chown 1:2 changed; setfattr -n user.note -v old changed
echo lost > sub/lost; echo deep > sub/inner/deep; chmod 2750 sub/inner
ln -s changed link; echo one > hard1; ln hard1 hard2; echo stays > swept/stays
touch -h -d '2024-02-03 04:05:06.123456789' changed sub/lost sub/inner/deep link hard1 swept/stays swept sub/inner sub .
`
const since = `
rm changed; echo new > changed; rm sub/lost; rm -r sub/inner; ln -sfn elsewhere link; rm hard2; echo two > hard2
mkdir made; echo made > made/file; echo appeared > swept/appeared; 
`
const paths = [
    'changed',
    'sub/lost',
    'sub/inner',
    'sub/inner/deep',
    'link',
    'hard1',
    'hard2',
    'made',
    'made/file',
    'swept',
]

describe.if(why === undefined)('the shipped rollback', () => {
    let base: string
    let tree: string
    let state: string
    let describer: Describer
    let before: Tree
    const counts = new Map<string, number>()

    beforeAll(async () => {
        base = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'proxsave-rollback-')))
        tree = join(base, 'tree')
        state = join(base, 'state')
        describer = new Describer()
        await arm()
        const trace = join(base, 'trace')
        const calls = [...mutating, ...opening].map(call => `?${call}`).join()
        expect(await start(['strace', '-qq', '-o', trace, '-e', `trace=${calls}`])).toBe(0)
        await expectDone('untroubled')
        for (const line of fs.readFileSync(trace, 'latin1').split('\n')) {
            const call = /^([a-z0-9_]+)\(/.exec(line)?.[1]
            if (call !== undefined) counts.set(call, (counts.get(call) ?? 0) + 1)
        }
    }, 60_000)
    afterAll(async () => {
        await describer.end()
        fs.rmSync(base, { recursive: true, force: true })
    })

    const guard = () => new GuardDirectory(realDisk(), state, id)

    /** A guard whose deadline has come, and a tree in its new state. */
    async function arm(): Promise<void> {
        for (const directory of [tree, state]) {
            fs.rmSync(directory, { recursive: true, force: true })
            fs.mkdirSync(directory, { mode: 0o755 })
        }
        await run(['bash', '-ec', `cd '${tree}'; umask 022; ${old}`])
        before = await describer.describe(tree)
        const at = tree.slice(1)
        guard().write('guard.json', {
            version: 1,
            id,
            change: id.slice(0, 20),
            area: 'access',
            created: '2026-11-20T12:00:00.000Z',
            place: 'host',
            actions: [],
            sweeps: [{ directory: join(tree, 'swept'), names: ['stays'] }],
            ways: [{ title: 'nothing', commands: [['true']], timeoutMs: 5_000 }],
            addresses: { before: [] },
            diagnostics: join(state, 'diagnostics'),
            timeoutMs: 180_000,
        })
        const [live, own] = [new PlaceTree('/'), new PlaceTree(guard().path)]
        try {
            await saveBefore(
                paths.map(path => `${at}/${path}`),
                live,
                own,
                'snapshot',
            )
        } finally {
            live.close()
            own.close()
        }
        await run(['bash', '-ec', `cd '${tree}'; umask 022; ${since}`])
        const now = systemClock.bootMs()
        guard().write('armed', { boot: systemClock.bootId(), deadlineMs: now })
        guard().write('applied', { boot: systemClock.bootId(), ms: now - 1 })
    }

    /** Its exit status; undefined when it was killed. */
    async function start(wrapper: string[] = []): Promise<number | undefined> {
        const child = Bun.spawn([...wrapper, binary, 'rollback', id, '--state', state], {
            stdin: 'ignore',
            stdout: 'ignore',
            stderr: 'ignore',
            cwd: '/',
            timeout: 60_000,
        })
        await child.exited
        return child.signalCode === null ? (child.exitCode ?? undefined) : undefined
    }

    async function expectDone(what: string): Promise<void> {
        const found = differences(before, await describer.describe(tree))
        if (found.length > 0) throw new Error(`${what}: ${found.join('\n')}`)
        const left = [...temporaries(tree), ...temporaries(guard().path)]
        expect([what, left]).toEqual([what, []])
        expect([what, guard().state(), guard().executed()?.problems]).toEqual([what, 'EXECUTED', []])
    }

    /** As many as asked for, spread evenly over all calls. */
    function chosen(number: number, calls: readonly string[]): Omit<Injection, 'action'>[] {
        const all = calls.flatMap(call =>
            Array.from({ length: counts.get(call) ?? 0 }, (_, index) => ({ call, when: index + 1 })),
        )
        const from = (seed % 997) / 997
        const most = Math.min(number, all.length)
        return Array.from({ length: most }, (_, i) => all[Math.floor(((i + from) * all.length) / most)]!)
    }

    const traced = (call: string, what: string) => [
        ...['strace', '-qq', '-o', '/dev/null', '-e', `trace=?${call}`, '-e', `inject=?${call}:${what}`],
    ]

    test(
        'finishes when it is started again, wherever it was killed',
        async () => {
            let interrupted = 0
            for (const { call, when } of chosen(kills, mutating)) {
                const what = `${call} ${when} killed (seed ${seed})`
                await arm()
                await start(traced(call, `signal=KILL:when=${when}`))
                if (guard().state() === 'ARMED') {
                    interrupted++
                    expect([what, await start()]).toEqual([what, 0])
                }
                await expectDone(what)
            }
            const total = mutating.reduce((sum, call) => sum + (counts.get(call) ?? 0), 0)
            console.log(
                `rollback killed at ${kills} of ${total} calls, seed ${seed}: ${interrupted} left it armed`,
            )
            expect(interrupted).toBeGreaterThan(kills / 4)
        },
        60_000 + kills * 5_000,
    )

    test(
        'is done or stays armed when the system refuses, and a later run does it',
        async () => {
            const ends = { done: 0, armed: 0 }
            for (const [i, { call, when }] of chosen(failures, [...mutating, ...opening]).entries()) {
                const error = errors[(i + seed) % errors.length]!
                const forGood = (i + seed) % 3 === 0
                const what = `${call} ${when}${forGood ? '+' : ''} ${error} (seed ${seed})`
                await arm()
                await start(traced(call, `error=${error}:when=${when}${forGood ? '+' : ''}`))
                ends[guard().state() === 'ARMED' ? 'armed' : 'done']++
                if (guard().state() === 'ARMED') expect([what, await start()]).toEqual([what, 0])
                await expectDone(what)
            }
            console.log(
                `rollback refused at ${failures} calls, seed ${seed}: ${ends.done} done, ${ends.armed} armed`,
            )
        },
        60_000 + failures * 15_000,
    )
})
