/** Captured output: every way in which a command can go wrong is a line in the manifest, never the end of the run. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { archiveDiff } from '../../src/backup/diff.ts'
import { capture } from '../../src/backup/capture.ts'
import type { Category } from '../../src/catalog/category.ts'
import { limits } from '../../src/core/limits.ts'
import { type Exec, type ExecResult, exec } from '../../src/host/exec.ts'
import { inMemory, Lab, missingIn, recorder } from './lab.ts'

const category = (commands: NonNullable<Category['commands']>): Category => ({
    id: 'network',
    title: '',
    product: 'common',
    paths: [],
    commands,
    strategy: 'export',
    risk: 'low',
    modes: [],
    about: '',
})

const answer = (change: Partial<Extract<ExecResult, { found: true }>> = {}): ExecResult => ({
    found: true,
    status: 0,
    endedBy: null,
    stdout: Buffer.from('output\n'),
    stderr: Buffer.of(),
    timedOut: false,
    truncated: false,
    ...change,
})

async function one(result: ExecResult | (() => Promise<ExecResult>), command: object = {}) {
    const fake: Exec = async () => (typeof result === 'function' ? result() : result)
    const done = await capture(
        [category([{ file: 'a.txt', argv: ['tool', '-x'], ...command }])],
        fake,
        undefined,
    )
    return {
        outputs: done.outputs.map(({ path, content }) => [path, Buffer.from(content).toString()]),
        why: done.failed.map(({ why }) => why),
    }
}

const output = [['network/a.txt', 'output\n']]

test('what a command prints is kept under its category', async () => {
    expect(await one(answer())).toEqual({ outputs: output, why: [] })
})
test('a program that is missing is passed over in silence', async () => {
    expect(await one({ found: false })).toEqual({ outputs: [], why: [] })
})
test('an exit status is reported with the first line of what it said; what it printed is kept', async () => {
    const stderr = Buffer.from('tool: no such device\nmore\n')
    expect(await one(answer({ status: 3, stderr }))).toEqual({
        outputs: output,
        why: ['tool -x ended with status 3: tool: no such device'],
    })
    expect((await one(answer({ status: 3 }), { okStatuses: [0, 3] })).why).toEqual([])
    const long = await one(answer({ status: 1, stderr: Buffer.alloc(100_000, 'x') }))
    expect(long.why[0]!.length).toBeLessThan(300)
})
test('a signal, a timeout and too much output are reported', async () => {
    expect((await one(answer({ status: null, endedBy: 'SIGSEGV' }))).why).toEqual([
        'tool -x was ended by SIGSEGV',
    ])
    expect((await one(answer({ status: null, timedOut: true }))).why).toEqual([
        'tool -x did not end within 20 s',
    ])
    expect((await one(answer({ truncated: true }))).why).toEqual([
        'tool -x printed too much; the beginning was kept',
    ])
})
test('a command that cannot be started at all does not end the run', async () => {
    const { outputs, why } = await one(() => Promise.reject(new Error('spawn EAGAIN')))
    expect(outputs).toEqual([])
    expect(why[0]).toContain('spawn EAGAIN')
})
test('commands run a few at once, with a time limit and a bound each', async () => {
    let running = 0
    let most = 0
    const options: object[] = []
    const fake: Exec = async (_argv, given) => {
        options.push(given!)
        most = Math.max(most, ++running)
        await Promise.resolve()
        running--
        return answer()
    }
    const commands = Array.from({ length: 20 }, (_, i) => ({ file: `f${i}`, argv: ['tool'] as [string] }))
    const done = await capture([category(commands)], fake, undefined)
    expect(done.outputs.length).toBe(20)
    expect(most).toBeLessThanOrEqual(4)
    for (const given of options)
        expect(given).toMatchObject({ timeoutMs: limits.commandMs, maxBytes: limits.commandBytes })
})
test('a program that does not answer is not asked for ever', async () => {
    const argv = (program: string) =>
        Array.from({ length: 12 }, (_, at) => ({
            file: `${program}${at}`,
            argv: [program, `${at}`] as [string, string],
        }))
    const asked: string[] = []
    const fake: Exec = async argv => {
        asked.push(argv[0]!)
        return answer(argv[0] === 'dead' ? { timedOut: true, status: null } : { stdout: Buffer.from('yes') })
    }
    const done = await capture([category([...argv('dead'), ...argv('alive')])], fake, undefined)
    expect(asked.filter(program => program === 'dead').length).toBeLessThanOrEqual(6)
    expect(done.outputs.filter(({ path }) => path.includes('alive'))).toHaveLength(12)
    expect(done.failed).toHaveLength(12)
    expect(done.failed.map(({ why }) => why)).toContain('dead 9 was not asked: dead did not answer before')
})
test('all together are bounded, and what was left out is said', async () => {
    const fake: Exec = async () => answer({ stdout: Buffer.alloc(limits.commandBytes) })
    const commands = Array.from({ length: 6 }, (_, i) => ({ file: `f${i}`, argv: ['tool'] as [string] }))
    const done = await capture([category(commands)], fake, undefined)
    expect(done.outputs.length).toBe(limits.capturedBytes / limits.commandBytes)
    expect(done.failed.map(({ why }) => why)).toEqual(
        Array(2).fill('tool was left out: all commands together printed too much'),
    )
})
test('a run that was stopped starts no more of them', async () => {
    let calls = 0
    const fake: Exec = async () => {
        calls++
        return answer()
    }
    await capture([category([{ file: 'a', argv: ['tool'] }])], fake, AbortSignal.abort())
    expect(calls).toBe(0)
})
test('real programs: stderr, status and timeout', async () => {
    const commands: NonNullable<Category['commands']> = [
        { file: 'a', argv: ['sh', '-c', 'echo yes; echo no >&2; exit 4'] },
        { file: 'b', argv: ['sleep', '100'], timeoutMs: 50 },
        { file: 'c', argv: ['this-program-is-not-there'] },
    ]
    const done = await capture([category(commands)], exec, undefined)
    expect(done.outputs.map(({ path }) => path)).toEqual(['network/a'])
    expect(done.failed.map(({ why }) => why)).toEqual([
        'sh -c echo yes; echo no >&2; exit 4 ended with status 4: no',
        'sleep 100 did not end within 0.05 s',
    ])
})

describe('in an archive', () => {
    let lab: Lab
    beforeEach(() => {
        lab = new Lab(inMemory())
    })
    afterEach(() => lab.remove())

    test('output as long as one command may print it is saved, verified and extracted', async () => {
        const long = Buffer.alloc(limits.commandBytes, 'a line of output\n')
        let first = true
        const fake: Exec = async () => {
            if (!first) return answer({ status: 1, stderr: Buffer.from('broken') })
            first = false
            return answer({ stdout: long, truncated: true })
        }
        const saved = await lab.save({ capture: true }, { exec: fake })
        const { deep } = await lab.verify(saved.path)
        expect(deep!.bytes).toBeGreaterThanOrEqual(long.length)
        const rows = (await lab.files(saved.path)).filter(row => row.size === long.length)
        expect(rows.length).toBe(1)
        expect(rows[0]!.path).toStartWith('/var/lib/proxsave/captured/')
        expect([rows[0]!.category, rows[0]!.mode]).toEqual(['captured', '0600'])
        const out = await lab.extract(saved.path, { paths: [rows[0]!.path as string] })
        expect(Buffer.compare(fs.readFileSync(join(out, rows[0]!.path as string)), long)).toBe(0)
        // Its directories are not on the host, and nothing of them is called missing for that.
        expect(Object.keys(missingIn(saved.path)).filter(path => path.endsWith('/captured'))).toEqual([])
        const above = (await lab.files(saved.path)).filter(row => row.type === 'directory')
        expect(above.map(row => row.path)).toContain('/var/lib/proxsave/captured')
        expect(fs.statSync(join(out, 'var/lib/proxsave/captured')).mode & 0o777).toBe(0o700)
        const whys = Object.values(missingIn(saved.path))
        expect(whys.some(why => why.includes('printed too much; the beginning was kept'))).toBe(true)
        expect(whys.some(why => why.includes('ended with status 1: broken'))).toBe(true)
    })

    test('is no difference to the host, and neither are the directories above it', async () => {
        fs.mkdirSync(join(lab.root, 'etc'))
        fs.mkdirSync(join(lab.root, 'var/lib/proxsave'), { recursive: true, mode: 0o700 })
        lab.file('etc/hostname', 'lab\n')
        const saved = await lab.save({ capture: true, include: [] }, { exec: async () => answer() })
        const io = recorder()
        await archiveDiff({ left: { path: saved.path }, right: { root: lab.root } }, io)
        expect(io.items).toEqual([])
        const left = { path: saved.path }
        await archiveDiff({ left, right: { root: lab.root }, categories: ['network'] }, io)
        expect(io.items).toEqual([])
    })
})
