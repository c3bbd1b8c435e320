/** The connection to systemd, on a real bus with a stand-in behind it: results, refusals, silence and lost buses. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import { DbusSystemd } from '../../src/host/systemd.ts'
import { busDaemon, FakeSystemd, jobRemoved, PrivateBus } from './bus.ts'

if (busDaemon === undefined)
    console.log('skip: dbus-daemon is not installed, the connection to systemd is not tested')

async function faultOf(work: Promise<unknown>): Promise<Fault> {
    try {
        await work
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error('expected a fault')
}

/** Resolves when a condition holds; each look waits for the event loop only. */
async function until(condition: () => boolean): Promise<void> {
    for (let turn = 0; turn < 5000 && !condition(); turn++) await Bun.sleep(1)
    expect(condition()).toBe(true)
}

describe.skipIf(busDaemon === undefined)('systemd over D-Bus', () => {
    let bus: PrivateBus
    let fake: FakeSystemd
    let systemd: DbusSystemd
    const unit = 'proxmox-backup.service'

    beforeEach(async () => {
        bus = await new PrivateBus().start()
        fake = await new FakeSystemd().join(bus)
        fake.units.set(unit, { active: 'active' })
        systemd = new DbusSystemd({ socket: bus.socket, callMs: 1000, pollMs: 5 })
    })
    afterEach(async () => {
        systemd.close()
        fake.leave()
        await bus.close()
    })

    test('a job is waited for, whether its end is told after or before the job has a name', async () => {
        expect(await systemd.stop(unit)).toBe('done')
        expect(await systemd.unitState(unit)).toMatchObject({
            load: 'loaded',
            active: 'inactive',
            busy: false,
        })
        fake.outcome = { result: 'done', signal: 'before' }
        expect(await systemd.start(unit)).toBe('done')
        expect(await systemd.restart(unit)).toBe('done')
        expect(fake.calls.filter(call => call.member === 'StopUnit')).toEqual([
            { member: 'StopUnit', body: [unit, 'replace'] },
        ])
    })

    test('a job that fails says so, and one that does not end is a timeout', async () => {
        fake.outcome = { result: 'failed', signal: 'after' }
        expect(await systemd.start(unit)).toBe('failed')
        fake.outcome = { result: 'done', signal: 'never' }
        expect(await systemd.start(unit, 30)).toBe('timeout')
    })

    test('many jobs at once get each its own result', async () => {
        const names = Array.from({ length: 20 }, (_, index) => `unit-${index}.service`)
        for (const name of names) fake.units.set(name, { active: 'inactive' })
        fake.outcome = { result: 'done', signal: 'never' }
        const running = names.map(name => systemd.start(name))
        await until(() => fake.calls.filter(call => call.member === 'StartUnit').length === names.length)
        names.toReversed().forEach((name, index) => {
            fake.finish(name, index % 2 ? 'done' : 'dependency')
        })
        const results = await Promise.all(running)
        expect(results.toReversed()).toEqual(names.map((_, index) => (index % 2 ? 'done' : 'dependency')))
    })

    test('a signal reaches the processes that were meant, and a failure is forgotten', async () => {
        await systemd.kill(unit, 'main', 'SIGTERM')
        await systemd.kill(unit, 'all', 'SIGKILL')
        await systemd.resetFailed(unit)
        expect(fake.calls.filter(call => /Kill|Reset/.test(call.member)).map(call => call.body)).toEqual([
            [unit, 'main', 15],
            [unit, 'all', 9],
            [unit],
        ])
        await systemd.resetFailed('nothing.service')
        expect((await faultOf(systemd.kill('nothing.service', 'all', 'SIGKILL'))).message).toContain(
            'cannot send SIGKILL to nothing.service',
        )
    })

    test('a unit that does not exist is an answer, not an error', async () => {
        expect(await systemd.stop('nothing.service')).toBe('not-found')
        expect(await systemd.unitState('nothing.service')).toMatchObject({
            load: 'not-found',
            active: 'inactive',
        })
    })

    test('units are listed by pattern', async () => {
        fake.units.set('proxsave-backup@daily.timer', { active: 'active' })
        fake.units.set('proxsave-backup@weekly.timer', { active: 'active' })
        const found = await systemd.listUnits('proxsave-backup@*.timer')
        expect(found.map(({ name }) => name).sort()).toEqual([
            'proxsave-backup@daily.timer',
            'proxsave-backup@weekly.timer',
        ])
    })

    test('a timer tells when it fires and when it fired, or neither', async () => {
        const next = Date.UTC(2026, 10, 21, 2, 30)
        fake.timers.set('a.timer', { next: BigInt(next) * 1000n, last: BigInt(next - 86_400_000) * 1000n })
        fake.timers.set('b.timer', { next: 2n ** 64n - 1n, last: 0n })
        expect(await systemd.timerTimes('a.timer')).toEqual({ nextMs: next, lastMs: next - 86_400_000 })
        expect(await systemd.timerTimes('b.timer')).toEqual({})
    })

    test('a transient timer is monotonic, exact, and survives an isolate', async () => {
        await systemd.startTransientTimer({
            unit: 'proxsave-rollback@x.service',
            description: 'guard x',
            afterMs: 180_000,
        })
        const [name, mode, properties, extra] = fake.calls.find(call => call.member === 'StartTransientUnit')!
            .body as [string, string, [string, { value: unknown }][], unknown[]]
        expect([name, mode, extra]).toEqual(['proxsave-rollback@x.timer', 'fail', []])
        expect(Object.fromEntries(properties.map(([key, { value }]) => [key, value]))).toEqual({
            Description: 'guard x',
            TimersMonotonic: [['OnActiveSec', 180_000_000n]],
            AccuracyUSec: 1_000_000n,
            RemainAfterElapse: false,
            IgnoreOnIsolate: true,
            DefaultDependencies: false,
        })
    })

    test('a transient timer that systemd does not run is a failure', async () => {
        fake.outcome = { result: 'failed', signal: 'after' }
        const timer = { unit: 'x.service', description: 'x', afterMs: 1000 }
        expect((await faultOf(systemd.startTransientTimer(timer))).message).toContain('systemd says failed')
    })

    test('a command of its own: what it sees, where it writes, how it ended', async () => {
        const run = {
            unit: 'proxsave-check.service',
            description: 'check',
            argv: ['/usr/sbin/ifup', '-n', '-a'] as const,
            timeoutMs: 5_000,
            output: '/var/lib/x/out',
            shows: [['/var/lib/x/network', '/etc/network']] as const,
        }
        expect(await systemd.runTransient(run)).toEqual({ result: 'done' })
        const [name, mode, properties] = fake.calls.find(call => call.member === 'StartTransientUnit')!
            .body as [string, string, [string, { value: unknown }][]]
        expect([name, mode]).toEqual(['proxsave-check.service', 'fail'])
        expect(Object.fromEntries(properties.map(([key, { value }]) => [key, value]))).toMatchObject({
            Type: 'oneshot',
            ExecStart: [['/usr/sbin/ifup', ['/usr/sbin/ifup', '-n', '-a'], false]],
            TimeoutStartUSec: 5_000_000n,
            KillMode: 'control-group',
            StandardOutputFileToAppend: '/var/lib/x/out',
            StandardErrorFileToAppend: '/var/lib/x/out',
            BindReadOnlyPaths: [['/var/lib/x/network', '/etc/network', false, 0n]],
        })
        fake.outcome = { result: 'timeout', signal: 'after' }
        expect((await faultOf(systemd.runTransient({ ...run, leavesChildren: true }))).message).toBe(
            'cannot run /usr/sbin/ifup -n -a: systemd says timeout',
        )
    })

    test('the end of a job as told by somebody else is not believed', async () => {
        fake.outcome = { result: 'failed', signal: 'never' }
        const impostor = await bus.connect()
        const running = systemd.start(unit)
        await until(() => fake.calls.some(call => call.member === 'StartUnit'))
        impostor.send(jobRemoved(1, unit, 'done'))
        // Its messages arrive in order: once this call is answered, the signal was seen.
        await systemd.unitState(unit)
        fake.finish(unit, 'failed', 'failed')
        expect(await running).toBe('failed')
        impostor.disconnect()
    })

    test('silence is a fault after the time of one call, and the next call works', async () => {
        systemd.close()
        systemd = new DbusSystemd({ socket: bus.socket, callMs: 60 })
        await systemd.unitState(unit)
        fake.deaf.add('ListUnitsByNames')
        for (let turn = 0; turn < 4; turn++)
            expect((await faultOf(systemd.unitState(unit))).message).toContain('it does not answer')
        fake.deaf.clear()
        expect((await systemd.unitState(unit)).active).toBe('active')
    })

    test('a bus that hangs is a fault, and works again when it wakes up', async () => {
        systemd.close()
        systemd = new DbusSystemd({ socket: bus.socket, callMs: 100 })
        bus.signal('SIGSTOP')
        expect((await faultOf(systemd.unitState(unit))).message).toContain('it does not answer')
        bus.signal('SIGCONT')
        expect((await systemd.unitState(unit)).active).toBe('active')
    })

    test('a bus that is restarted under a running job: the unit itself tells how it ended', async () => {
        fake.outcome = { result: 'done', signal: 'never' }
        const running = systemd.stop(unit)
        await until(() => fake.calls.some(call => call.member === 'StopUnit'))
        await systemd.unitState(unit)
        await bus.kill()
        await bus.start()
        fake = await new FakeSystemd().join(bus)
        fake.units.set(unit, { active: 'inactive' })
        expect(await running).toBe('done')
        expect(await systemd.start(unit)).toBe('done')
    })

    test('a systemd that was executed anew is subscribed to again', async () => {
        fake.outcome = { result: 'done', signal: 'never' }
        const running = systemd.start(unit)
        await until(() => fake.calls.some(call => call.member === 'StartUnit'))
        await systemd.unitState(unit)
        fake.leave()
        fake = await new FakeSystemd().join(bus)
        fake.units.set(unit, { active: 'failed' })
        expect(await running).toBe('failed')
        expect(await systemd.start(unit)).toBe('done')
        expect(fake.calls.map(call => call.member)).toContain('Subscribe')
    })
})

test('a host without D-Bus is told apart', async () => {
    const systemd = new DbusSystemd({ socket: '/nowhere/bus' })
    const fault = await faultOf(systemd.start('x.service'))
    expect(fault.message).toBe('cannot start x.service: there is no D-Bus here')
    expect(fault.hint).toContain('dbus.service')
    systemd.close()
})
