/** The daemon's side of a worker: whatever the other process does, the outcome is a value or a fault that says why. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import { workerRunner } from '../../src/host/worker.ts'

/** A worker that is a shell script: the protocol is lines, so anything can speak it. */
const worker = (script: string, silenceMs?: number) =>
    workerRunner({ argv: ['/bin/sh', '-c', script], state: '/nowhere', silenceMs })

async function faultOf(promise: Promise<unknown>): Promise<Fault> {
    const fault = await promise.then(
        value => new Error(`it ended well: ${JSON.stringify(value)}`),
        error => error,
    )
    expect(fault).toBeInstanceOf(Fault)
    return fault as Fault
}

describe('a worker', () => {
    test('is given its job on standard input and nothing in argv', async () => {
        const run = worker(`read job; printf '{"event":"result","value":%s}\\n' "$job"`)
        expect(await run('archive.verify', { path: '/x' })).toEqual({
            operation: 'archive.verify',
            params: { path: '/x' },
            state: '/nowhere',
        })
    })

    test('reports in order, and waits for a slow listener', async () => {
        const run = worker(
            `for i in 1 2 3; do echo "{\\"event\\":\\"item\\",\\"item\\":$i}"; done; echo '{"event":"result","value":null}'`,
        )
        const items: unknown[] = []
        await run(
            'archive.files',
            {},
            {
                onEvent: async event => {
                    await Bun.sleep(5)
                    if (event.event === 'item') items.push(event.item)
                },
            },
        )
        expect(items).toEqual([1, 2, 3])
    })

    test('throws its own fault, kind, hint and facts', async () => {
        const error = '{"kind":"damaged","message":"cannot read x","hint":"look","facts":{"offset":7}}'
        const fault = await faultOf(worker(`echo '{"event":"error","error":${error}}'`)('archive.verify', {}))
        expect([fault.kind, fault.message, fault.hint, fault.facts]).toEqual([
            'damaged',
            'cannot read x',
            'look',
            { offset: 7 },
        ])
    })

    const deaths: [string, string, string][] = [
        ['that exits without a word', 'exit 0', 'ended early (exit 0)'],
        [
            'that fails after its result',
            `echo '{"event":"result","value":1}'; exit 3`,
            'ended early (exit 3)',
        ],
        ['that is killed', 'kill -9 $$', 'SIGKILL'],
        ['that complains', 'echo "out of memory" >&2; exit 1', 'out of memory'],
        ['that stops in the middle of a line', `printf '{"event":"resu'`, 'ended early'],
        ['that says something else', 'echo hello', 'not JSON: hello'],
        ['that reports an unknown event', `echo '{"event":"party"}'`, 'unknown event'],
    ]
    for (const [name, script, words] of deaths)
        test(`${name} is a failure that says so`, async () => {
            const fault = await faultOf(worker(script)('archive.write', {}))
            expect(fault.kind).toBe('failed')
            expect(fault.message).toContain(words)
        })

    test('that cannot be started at all is one too', async () => {
        const run = workerRunner({ argv: ['/nowhere/at/all'], state: '/nowhere' })
        expect((await faultOf(run('archive.write', {}))).message).toContain('could not be started')
    })

    test('that is silent for too long is killed', async () => {
        const fault = await faultOf(worker('exec sleep 60', 80)('archive.write', {}))
        expect(fault.message).toContain('no sign of life')
    })

    test('that is aborted ends, and says that it was stopped', async () => {
        const abort = new AbortController()
        const run = worker(`echo '{"event":"warning","text":"up"}'; exec sleep 60`)
        const promise = run('archive.write', {}, { signal: abort.signal, onEvent: () => abort.abort() })
        const fault = await faultOf(promise)
        expect([fault.kind, fault.facts.stopped]).toEqual(['refused', 1])
    })

    test('is not started when it is aborted already', async () => {
        const fault = await faultOf(worker('exit 0')('archive.write', {}, { signal: AbortSignal.abort() }))
        expect(fault.facts.stopped).toBe(1)
    })

    test('gets none of the daemon’s environment', async () => {
        process.env.PROXSAVE_TEST_SECRET = 'x'
        try {
            const run = worker(`printf '{"event":"result","value":"%s"}\\n' "$PROXSAVE_TEST_SECRET"`)
            expect(await run('archive.verify', {})).toBe('')
        } finally {
            delete process.env.PROXSAVE_TEST_SECRET
        }
    })
})
