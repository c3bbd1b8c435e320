/** How long finished changes are kept is what the configuration says, from the next change on, and never less by mistake. */
import { afterEach, expect, setDefaultTimeout, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { generateX25519Identity, identityToRecipient } from 'age-encryption'
import { TaskKinds } from '../../src/engine/kinds.ts'
import { Runner } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import { systemClock } from '../../src/host/clock.ts'
import { realDisk } from '../../src/host/disk.ts'
import { withTimers } from '../../src/host/timer.ts'
import { RunningDaemon } from './running.ts'

setDefaultTimeout(60_000)

let daemon: RunningDaemon
afterEach(() => daemon.end())

const day = 24 * 3_600_000
const config = 'etc/proxsave/proxsave.toml'

/** Changes of so many days ago, each with something that its undo would need. */
async function changeLongAgo(state: string, days: number, number: number): Promise<void> {
    const kinds = new TaskKinds().register({
        kind: 'test.keep',
        async do(_, context) {
            context.remember('before')
            return null
        },
        async undo() {},
    })
    const thenMs = Date.now() - days * day
    const disk = realDisk()
    disk.mkdir(state, 0o700)
    for (let at = 0; at < number; at++) {
        const clock = { ...systemClock, nowMs: () => thenMs + at * 1000 }
        const random = (bytes: number) => new Uint8Array(randomBytes(bytes))
        const store = new Store(disk, state)
        const runner = new Runner({
            store,
            kinds,
            clock: withTimers(clock),
            random,
            history: () => undefined,
        })
        await runner.recover()
        const tasks = [{ id: 't1', kind: 'test.keep', title: 'keep', params: {} }]
        await runner.wait(runner.start({ kind: 'test', summary: 'a test', by: 'test', tasks }))
    }
}

const changes = () => readdirSync(join(daemon.state, 'changes'))
const undoable = () =>
    changes().filter(id => readdirSync(join(daemon.state, 'changes', id)).includes('undo')).length

test('what the configuration says holds from its reload on; one that cannot be read drops nothing', async () => {
    daemon = await RunningDaemon.begin(async daemon => {
        await changeLongAgo(daemon.state, 80, 15)
        daemon.write(config, '[history]\nundo = "90d"\n')
    })
    const another = async () => {
        const recipient = await identityToRecipient(await generateX25519Identity())
        const { status, err } = await daemon.ctl('keys', 'add', recipient)
        expect([status, err]).toEqual([0, ''])
    }
    const reload = async (text: string) => {
        daemon.write(config, text)
        expect((await daemon.api('POST', '/v1/reload')).status).toBe(200)
    }
    await another()
    expect([changes().length, undoable()]).toEqual([16, 16])
    // Neither a running daemon nor one that starts takes the default for what it cannot read.
    await reload('[history]\nundo = 90\n')
    await another()
    await daemon.stop()
    await daemon.start()
    await another()
    expect([changes().length, undoable()]).toEqual([18, 18])
    await reload('')
    await another()
    expect([changes().length, undoable()]).toEqual([19, 10])
    await reload('[history]\nkeep = 12\n')
    await another()
    expect([changes().length, undoable()]).toEqual([12, 10])
    expect(JSON.parse((await daemon.ctl('history', '--json')).out).changes).toHaveLength(12)
})
