/** Services around a restore: order, escalation, bounds, and that whatever happens they run again afterwards. */
import { describe, expect, test } from 'bun:test'
import { categories } from '../../src/catalog/index.ts'
import { Fault } from '../../src/core/errors.ts'
import { orderServices, servicesStart, servicesStop } from '../../src/restore/services.ts'
import { SimClock } from '../sim/clock.ts'
import { drive, SimSystemd, type SimUnit } from '../sim/systemd.ts'
import { testContext } from './context.ts'

const proxy = 'proxmox-backup-proxy.service'
const api = 'proxmox-backup.service'

function lab(units: Record<string, SimUnit>) {
    const clock = new SimClock()
    const systemd = new SimSystemd(clock, units)
    return {
        clock,
        systemd,
        stop: servicesStop({ systemd, clock }),
        start: servicesStart({ systemd, clock }),
        run: <T>(work: Promise<T>) => drive(clock, work),
    }
}

async function faultOf(work: Promise<unknown>): Promise<Fault> {
    try {
        await work
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error('expected a fault')
}

describe('services.stop', () => {
    test('stops what runs, in order, and nothing that does not run or does not exist', async () => {
        const { systemd, stop, run } = lab({
            a: { active: 'active' },
            b: { active: 'inactive' },
            c: { active: 'failed' },
            d: { active: 'active', stopMs: 40_000 },
        })
        const context = testContext()
        const result = await run(stop.do({ units: ['d', 'b', 'nothing', 'c', 'a'] }, context))
        expect(systemd.effects).toEqual(['stop d', 'stop a'])
        expect(result).toMatchObject({ stopped: ['d', 'a'], start: ['a', 'd'] })
        await run(stop.undo({ units: [] }, context))
        expect(systemd.effects).toEqual(['stop d', 'stop a', 'start a', 'start d'])
        expect(systemd.activeUnits()).toEqual(['a', 'd'])
    })

    test('remembers durably what ran before it touches the first unit', async () => {
        const { systemd, stop, run } = lab({ a: { active: 'active' }, b: { active: 'active' } })
        const context = testContext()
        let atFirstStop: unknown
        systemd.onCall = call => {
            if (call.startsWith('stop ')) atFirstStop ??= context.memory
        }
        await run(stop.do({ units: ['a', 'b'] }, context))
        expect(atFirstStop).toEqual({ stopped: ['a', 'b'], start: ['b', 'a'], shaky: [] })
    })

    test('run again after a crash it does not take its own stops for the state before', async () => {
        const { systemd, stop, run } = lab({ a: { active: 'inactive' }, b: { active: 'active' } })
        const context = testContext()
        context.memory = { stopped: ['a', 'b'], start: ['b', 'a'], shaky: [] }
        await run(stop.do({ units: ['a', 'b'] }, context))
        await run(stop.undo({ units: ['a', 'b'] }, context))
        expect(systemd.activeUnits()).toEqual(['a', 'b'])
    })

    test('never ends the connection it may be run through', async () => {
        const units = [
            'ssh.service',
            'ssh.socket',
            'networking.service',
            'proxsave.service',
            'dbus.service',
            'x',
        ]
        const { systemd, stop, run } = lab(
            Object.fromEntries(units.map(unit => [unit, { active: 'active' }])),
        )
        const context = testContext()
        await run(stop.do({ units }, context))
        expect(systemd.effects).toEqual(['stop x'])
        expect(context.logs.filter(text => text.includes('keeps running'))).toHaveLength(5)
    })

    test('escalates from stop over SIGTERM to SIGKILL, within a bound', async () => {
        const { systemd, stop, run, clock } = lab({
            a: { active: 'active', stopMs: Number.POSITIVE_INFINITY },
            b: { active: 'active', stopMs: Number.POSITIVE_INFINITY, diesOf: 'SIGKILL' },
        })
        const before = clock.bootMs()
        await run(stop.do({ units: ['a', 'b'] }, testContext()))
        expect(systemd.effects).toEqual([
            'stop a',
            'kill main SIGTERM a',
            'stop b',
            'kill main SIGTERM b',
            'kill all SIGKILL b',
        ])
        expect(clock.bootMs() - before).toBeLessThan(400_000)
    })

    test('never kills an HA manager: the watchdog would reset the node', async () => {
        const { systemd, stop, run } = lab({
            'pve-ha-lrm.service': { active: 'active', stopMs: Number.POSITIVE_INFINITY },
            'pve-cluster.service': { active: 'active' },
        })
        const context = testContext()
        const fault = await faultOf(
            run(stop.do({ units: ['pve-ha-lrm.service', 'pve-cluster.service'] }, context)),
        )
        expect(fault.message).toContain('watchdog')
        expect(systemd.effects).toEqual(['stop pve-ha-lrm.service'])
        await run(stop.undo({ units: [] }, context))
        expect(systemd.activeUnits()).toEqual(['pve-ha-lrm.service', 'pve-cluster.service'])
    })

    test('one that does not stop: a question whose safe answer aborts, then everything runs again', async () => {
        const { systemd, stop, run } = lab({
            a: { active: 'active' },
            b: { active: 'active', stopMs: Number.POSITIVE_INFINITY, diesOf: 'nothing' },
            c: { active: 'active' },
        })
        const context = testContext()
        const fault = await faultOf(run(stop.do({ units: ['a', 'b', 'c'] }, context)))
        expect(fault.message).toContain('cannot stop the services: b does not stop')
        expect(context.asked).toMatchObject([{ id: 'services.stop-failed', safe: 'abort' }])
        expect(context.asked[0]!.choices.map(({ value }) => value)).toEqual(['retry', 'abort'])
        expect(systemd.effects).not.toContain('stop c')
        await run(stop.undo({ units: [] }, context))
        expect(systemd.activeUnits()).toEqual(['a', 'b', 'c'])
    })

    test('retry goes on where it stood', async () => {
        const { systemd, stop, run } = lab({
            a: { active: 'active' },
            b: { active: 'active', stopFails: 'failed' },
        })
        systemd.units.get('b')!.diesOf = 'nothing'
        const context = testContext({ answers: ['retry'] })
        const ask = context.ask
        context.ask = question => {
            delete systemd.units.get('b')!.stopFails
            return ask(question)
        }
        expect(await run(stop.do({ units: ['a', 'b'] }, context))).toMatchObject({ stopped: ['a', 'b'] })
        expect(systemd.effects.filter(call => call === 'stop a')).toHaveLength(1)
    })

    test('one that comes back is stopped again; one that always comes back is a failure', async () => {
        const once = lab({ a: { active: 'active', comesBack: 1, diesOf: 'nothing' } })
        // The stop did what it should; whatever started the unit again is somebody else's.
        once.systemd.units.get('a')!.diesOf = 'SIGTERM'
        await once.run(once.stop.do({ units: ['a'] }, testContext()))
        expect(once.systemd.activeUnits()).toEqual([])
        const ever = lab({ a: { active: 'active', comesBack: 1e9, diesOf: 'nothing' } })
        expect((await faultOf(ever.run(ever.stop.do({ units: ['a'] }, testContext())))).message).toContain(
            'does not stop',
        )
    })

    test('a second unit that brings the first one back is noticed', async () => {
        const { systemd, stop, run } = lab({ a: { active: 'active' }, b: { active: 'active' } })
        let times = 1
        systemd.onCall = call => {
            if (call === 'stop b' && times-- > 0) systemd.units.get('a')!.active = 'active'
        }
        const context = testContext()
        await run(stop.do({ units: ['a', 'b'] }, context))
        expect(systemd.effects).toEqual(['stop a', 'stop b', 'stop a'])
        expect(context.logs.join()).toContain('a came back')
    })

    test('a bus that is gone for a moment changes nothing; one that stays away is a failure with nothing stopped', async () => {
        const { systemd, stop, run } = lab({ a: { active: 'active' }, b: { active: 'active' } })
        systemd.onCall = call => {
            if (call === 'stop a') {
                systemd.onCall = () => undefined
                queueMicrotask(() => {
                    systemd.busLost = 2
                })
            }
        }
        await run(stop.do({ units: ['a', 'b'] }, testContext()))
        expect(systemd.activeUnits()).toEqual([])
        const gone = lab({ a: { active: 'active' } })
        gone.systemd.busLost = 1e9
        expect((await faultOf(gone.run(gone.stop.do({ units: ['a'] }, testContext())))).message).toContain(
            'D-Bus',
        )
        expect(gone.systemd.activeUnits()).toEqual(['a'])
    })

    test('a masked unit that runs is left alone: it could not be started again', async () => {
        const { systemd, stop, run } = lab({
            a: { active: 'active', load: 'masked' },
            b: { active: 'active' },
        })
        expect((await faultOf(run(stop.do({ units: ['b', 'a'] }, testContext())))).message).toContain(
            'masked',
        )
        expect(systemd.effects).toEqual([])
    })

    test('cancelled while a stop hangs, it lets go at once and its undo starts everything', async () => {
        const { systemd, stop, run, clock } = lab({
            a: { active: 'active' },
            b: { active: 'active', stopMs: 100_000 },
        })
        const context = testContext()
        const before = clock.bootMs()
        systemd.onCall = call => {
            if (call === 'stop b') clock.after(3000, () => context.cancel())
        }
        const work = run(stop.do({ units: ['a', 'b'] }, context))
        expect(
            await work.then(
                () => 'done',
                error => error.message,
            ),
        ).toBe('cancelled')
        expect(clock.bootMs() - before).toBeLessThan(20_000)
        const later = testContext()
        later.memory = context.memory
        await run(stop.undo({ units: [] }, later))
        expect(systemd.activeUnits()).toEqual(['a', 'b'])
    })

    test('its undo restarts what a reboot has started on half-restored files, after reading the units again', async () => {
        const { systemd, stop, run } = lab({ a: { active: 'active' } })
        const context = testContext()
        await run(stop.do({ units: ['a'], reload: true }, context))
        systemd.units.get('a')!.active = 'active'
        await run(stop.undo({ units: ['a'], reload: true }, context))
        expect(systemd.effects).toEqual(['stop a', 'reload', 'restart a'])
    })

    test('without systemd it says that it does nothing, and why', async () => {
        const clock = new SimClock()
        const context = testContext()
        expect(
            await servicesStop({ systemd: undefined, clock }).do({ units: ['a'] }, context),
        ).toBeUndefined()
        expect(context.logs[0]).toContain('another root')
        await servicesStop({ systemd: undefined, clock }).undo({ units: ['a'] }, context)
    })
})

describe('services.start', () => {
    const results = (stopped: string[], shaky: string[] = []) => ({
        results: { t3: { stopped, start: stopped.toReversed(), shaky } },
    })

    test('starts in starting order what ran before and nothing else; its undo stops that again', async () => {
        const { systemd, start, run } = lab({
            a: { active: 'inactive' },
            b: { active: 'inactive' },
            c: { active: 'inactive' },
        })
        const context = testContext(results(['a', 'b']))
        await run(start.do({ stop: 't3', reload: true }, context))
        expect(systemd.effects).toEqual(['reload', 'start b', 'start a'])
        await run(start.undo({ stop: 't3' }, context))
        expect(systemd.effects.slice(3)).toEqual(['stop a', 'stop b'])
        expect(systemd.activeUnits()).toEqual([])
    })

    test('one that fails at first is tried again; one that never comes up fails the restore and names itself', async () => {
        const first = lab({ a: { active: 'inactive', startFails: 2 } })
        await first.run(first.start.do({ stop: 't3' }, testContext(results(['a']))))
        expect(first.systemd.activeUnits()).toEqual(['a'])
        const never = lab({ a: { active: 'inactive', diesAfterStart: true }, b: { active: 'inactive' } })
        const fault = await faultOf(
            never.run(never.start.do({ stop: 't3' }, testContext(results(['b', 'a'])))),
        )
        expect(fault.message).toContain('cannot start a (done, it is failed)')
        // The others are started all the same: the undo needs no healthy host to begin with.
        expect(never.systemd.activeUnits()).toEqual(['b'])
    })

    test('a start that hangs has an end', async () => {
        const { start, run, clock } = lab({ a: { active: 'inactive', startHangs: true } })
        const before = clock.bootMs()
        expect((await faultOf(run(start.do({ stop: 't3' }, testContext(results(['a'])))))).message).toContain(
            'timeout',
        )
        expect(clock.bootMs() - before).toBeLessThan(600_000)
    })

    test('one that was not well before, or whose unit file is gone, is a warning only', async () => {
        const { start, run } = lab({ a: { active: 'inactive', startFails: 99 } })
        const context = testContext(results(['a', 'gone'], ['a']))
        await run(start.do({ stop: 't3' }, context))
        expect(context.warnings).toHaveLength(2)
    })

    test('a unit that ends when its work is done was started', async () => {
        const { start, run } = lab({ a: { active: 'inactive', oneshot: true } })
        expect(await run(start.do({ stop: 't3' }, testContext(results(['a']))))).toEqual({ started: ['a'] })
    })
})

describe('the order', () => {
    const pick = (...ids: string[]) => categories.filter(category => ids.includes(category.id))

    test('is that of the cluster database wherever categories disagree: HA first, pmxcfs last', () => {
        const { units, startOrder } = orderServices(
            pick('pve_access_control', 'pve_cluster', 'pve_ha', 'corosync'),
            categories,
        )
        expect(units[0]).toBe('pve-ha-lrm.service')
        expect(units.indexOf('pveproxy.service')).toBeLessThan(units.indexOf('pvedaemon.service'))
        expect(units.slice(-2)).toEqual(['pve-cluster.service', 'corosync.service'])
        expect(startOrder.slice(0, 3)).toEqual([
            'pve-cluster.service',
            'corosync.service',
            'pvedaemon.service',
        ])
        expect(startOrder.at(-1)).toBe('pve-ha-lrm.service')
    })

    test('holds only what the chosen categories name, once', () => {
        const { units, startOrder } = orderServices(pick('datastore_pbs', 'pbs_jobs', 'mail'), categories)
        expect(units).toEqual([proxy, api, 'postfix.service', 'exim4.service'])
        expect(startOrder.toSorted()).toEqual(units.toSorted())
        expect(startOrder.indexOf(api)).toBeLessThan(startOrder.indexOf(proxy))
    })
})
