/** Commands: bounded in time and output, never a shell, and an answer for each way in which they end. */
import { describe, expect, test } from 'bun:test'
import { exec, findProgram, outputOf } from '../../src/host/exec.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')

async function run(...[argv, options]: Parameters<typeof exec>) {
    const result = await exec(argv, options)
    if (!result.found) throw new Error(`${argv[0]} is not here`)
    return result
}

describe('a command', () => {
    test('gives its status and both streams', async () => {
        const result = await run(['sh', '-c', 'echo out; echo err >&2; exit 3'])
        expect(result).toMatchObject({ status: 3, endedBy: null, timedOut: false, truncated: false })
        expect([text(result.stdout), text(result.stderr)]).toEqual(['out\n', 'err\n'])
    })

    test('gets its arguments as they are', async () => {
        const result = await run(['printf', '%s|', '$HOME', '; reboot', 'a b'])
        expect(text(result.stdout)).toBe('$HOME|; reboot|a b|')
    })

    test('gets only the environment that is given, and / to work in', async () => {
        const plain = await run(['sh', '-c', 'env | cut -d= -f1 | sort; pwd'])
        expect(text(plain.stdout).split('\n')).toEqual(
            expect.arrayContaining(['LC_ALL', 'PATH', '/']) as unknown as string[],
        )
        expect(text(plain.stdout)).not.toContain('HOME')
        const given = await run(['sh', '-c', 'echo "$X"'], { env: { X: '1', PATH: '/usr/bin:/bin' } })
        expect(text(given.stdout)).toBe('1\n')
    })

    test('reads what it is given', async () => {
        expect(text((await run(['cat'], { input: 'hello' })).stdout)).toBe('hello')
        expect(text((await run(['cat'])).stdout)).toBe('')
    })

    test('may leave its input unread', async () => {
        expect((await run(['true'], { input: new Uint8Array(1 << 20) })).status).toBe(0)
    })

    test('that is not there is told apart from one that fails', async () => {
        expect(await exec(['no-such-command-of-ours'])).toEqual({ found: false })
        expect(await exec(['/etc/passwd'])).toEqual({ found: false })
        expect(await exec([''])).toEqual({ found: false })
        expect(await run(['false'])).toMatchObject({ found: true, status: 1 })
    })

    test('that takes too long is killed with everything it started', async () => {
        const began = performance.now()
        const result = await run(['sh', '-c', 'sleep 60 & echo $!; sleep 60'], { timeoutMs: 200 })
        expect(result).toMatchObject({ status: null, endedBy: 'SIGKILL', timedOut: true })
        expect(performance.now() - began).toBeLessThan(5000)
        const child = Number(text(result.stdout))
        expect(child).toBeGreaterThan(1)
        expect(await gone(child)).toBe(true)
    })

    test('that leaves a child with its pipes open does not hold us', async () => {
        const began = performance.now()
        const result = await run(['setsid', '-f', 'sh', '-c', 'echo $$; exec sleep 30'], {
            timeoutMs: 20_000,
        })
        expect(result.timedOut).toBe(false)
        expect(performance.now() - began).toBeLessThan(10_000)
        process.kill(Number(text(result.stdout)), 'SIGKILL')
    })

    test('that prints too much is read to its end and cut', async () => {
        const result = await run(['head', '-c', '5000000', '/dev/zero'], { maxBytes: 1000 })
        expect(result).toMatchObject({ status: 0, truncated: true })
        expect(result.stdout.length).toBe(1000)
    })

    test('is killed when its caller gives up', async () => {
        const controller = new AbortController()
        const running = run(['sleep', '60'], { signal: controller.signal })
        controller.abort()
        expect(await running).toMatchObject({ status: null, endedBy: 'SIGKILL', timedOut: false })
        expect(await run(['sleep', '60'], { signal: controller.signal })).toMatchObject({ status: null })
    })
})

test('the output of a command, or why there is none', async () => {
    expect(outputOf(await exec(['echo', 'x']))).toEqual({ ok: true, text: 'x\n' })
    expect(outputOf(await exec(['no-such-command-of-ours']))).toEqual({
        ok: false,
        why: 'it is not installed',
    })
    expect(outputOf(await exec(['sh', '-c', 'echo bad >&2; exit 2']))).toEqual({
        ok: false,
        why: 'exit status 2: bad',
    })
    expect(outputOf(await exec(['sh', '-c', 'echo x; exit 2']), [0, 2])).toEqual({ ok: true, text: 'x\n' })
    expect(outputOf(await exec(['sleep', '9'], { timeoutMs: 50 }))).toEqual({
        ok: false,
        why: 'it did not end in time',
    })
})

test('a program is looked up in the path that is given, and directories are none', () => {
    expect(findProgram('sh')).toMatch(/\/sh$/)
    expect(findProgram('sh', '/nowhere')).toBeUndefined()
    expect(findProgram('/usr')).toBeUndefined()
})

/** Whether a process is gone, or only waits to be collected, within two seconds. */
async function gone(pid: number): Promise<boolean> {
    for (let turn = 0; turn < 200; turn++) {
        const state = await Bun.file(`/proc/${pid}/stat`)
            .text()
            .catch(() => '')
        if (state === '' || /\) [ZX]/.test(state)) return true
        await Bun.sleep(10)
    }
    return false
}
