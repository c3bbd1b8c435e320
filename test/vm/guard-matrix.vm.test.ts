/**
 * A machine that is rebooted or loses its power while a guard is at work: at each of 8 points, with each of 8 networks that
 * nobody could be reached on. It has to come back at its old address with its old files, and know what happened.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { away, GuardedHost, graceSeconds, home, interfaces, poll } from './guarded.ts'
import type { Tree } from './tree.ts'

const root = process.getuid?.() === 0
if (!root) console.log('skipped: the container tests need root')

/** `all`, how many of them, or from which to which (`32-64`). */
const wanted = process.env.PROXSAVE_GUARD_MATRIX ?? '4'

const file = '/etc/network/interfaces'
/** No case comes to its end (s). */
const windowSeconds = 60
const loadSeconds = 15

const networks: readonly [name: string, text: string][] = [
    ['wrong address', interfaces(away)],
    ['wrong gateway', interfaces({ gateway: '10.77.0.99' })],
    ['no interface at all', 'auto lo\niface lo inet loopback\n'],
    ['wrong bridge port', interfaces({ card: 'enp2s0' })],
    ['duplicate address', interfaces({ address: home.gateway, gateway: '10.77.0.99' })],
    ['interface down', interfaces({ ...away, auto: false })],
    ['absurd mtu', interfaces({ cardLines: ['mtu 68'] })],
    ['dhcp without a server', interfaces({ method: 'dhcp' })],
]

interface Moment {
    host: GuardedHost
    /** Guards and changes that were there before. */
    guards: readonly string[]
    ids: ReadonlySet<string>
}

/** Each resolves as soon as that point is reached. */
const points: readonly [name: string, reach: (moment: Moment) => Promise<unknown>][] = [
    ['preparing', ({ host, ids }) => host.reached(ids, 'network-prepare', 'doing')],
    ['arming', ({ host, ids }) => host.reached(ids, 'network-arm', 'doing')],
    ['armed', ({ host, guards }) => host.armed(guards)],
    ['applying', ({ host, ids }) => host.reached(ids, 'network-apply', 'doing')],
    [
        'files in place',
        async ({ host, guards }) => {
            const old = readFileSync(host.machine.path(file), 'utf8')
            await host.armed(guards)
            await poll(
                windowSeconds,
                () => 'no file was changed',
                () => readFileSync(host.machine.path(file), 'utf8') !== old,
            )
        },
    ],
    ['waiting for a person', async ({ host, guards }) => waits(host, await host.armed(guards))],
    [
        'rolling back',
        async ({ host, guards }) => {
            const guard = await host.armed(guards)
            await waits(host, guard)
            void host.run('rollback')
            await poll(
                windowSeconds,
                () => 'no rollback began',
                () => /rolling back/.test(host.log(guard)),
            )
        },
    ],
    [
        'rolled back',
        async ({ host, guards }) => {
            const guard = await host.armed(guards)
            await waits(host, guard)
            void host.run('rollback')
            await poll(
                windowSeconds,
                () => 'no rollback came to its end',
                () => host.has(guard, 'executed'),
            )
        },
    ],
]

/** Until a person is asked; a DHCP client that nobody answers goes on for minutes, and is as good as there. */
async function waits(host: GuardedHost, guard: string): Promise<void> {
    await host.waits(guard, loadSeconds).catch(error => {
        if (!host.has(guard, 'armed')) throw error
    })
}

const ways = ['reboot', 'power cut'] as const

/** Spread so that a few of them already differ in everything. */
const stride = 37
const count = points.length * networks.length * ways.length
const cases = Array.from({ length: count }, (_, number) => {
    const at = (number * stride) % count
    const pick = <T>(all: readonly T[], index: number) => all[index % all.length]!
    return {
        number,
        point: pick(points, at),
        network: pick(networks, Math.floor(at / points.length)),
        way: pick(ways, Math.floor(at / points.length / networks.length)),
    }
})
const [from, to] = wanted.includes('-')
    ? (wanted.split('-').map(Number) as [number, number])
    : [0, wanted === 'all' ? count : Number(wanted)]
const chosen = cases.slice(from, to)

describe.skipIf(!root)('guard, at any time', () => {
    let host: GuardedHost
    let before: Tree
    let addresses: string[]
    let good = 0
    let broken = false
    const slowest = { ms: 0, what: '' }

    beforeAll(async () => {
        host = await GuardedHost.at(interfaces())
        for (const [name, text] of networks) await host.save(name, text)
        await host.settle(interfaces())
        await host.wait(windowSeconds)
        await host.machine.shutDown()
        await host.machine.keep()
        await host.machine.boot()
        await remember()
    }, 300_000)
    afterAll(async () => await host?.destroy(), 120_000)

    const remember = async () => {
        await host.quiet()
        before = await host.look()
        addresses = await host.addresses()
    }

    for (const { number, point, network, way } of chosen) {
        const what = `${number}: ${network[0]}, ${way} while ${point[0]}`
        test(what, async () => {
            if (broken) {
                await host.machine.reset()
                await host.machine.boot()
                await remember()
            }
            broken = true
            try {
                await run(what, point[1], network[0], way)
                good++
                broken = false
            } catch (error) {
                const journal = await host.told().catch(String)
                console.log(`--- ${what}: journal of the machine\n${journal}`)
                throw error
            } finally {
                await host.endSessions()
            }
        }, 200_000)
    }

    async function run(
        what: string,
        reach: (moment: Moment) => Promise<unknown>,
        network: string,
        way: (typeof ways)[number],
    ): Promise<void> {
        const moment: Moment = { host, guards: host.guards(), ids: host.ids() }
        const session = host.login(host.restoring(network).join(' '))
        await reach(moment).catch(error => {
            throw new Error(`${error}\n${session.output}`)
        })
        if (way === 'reboot') await host.machine.shutDown()
        else await host.machine.cutPower()
        const on = performance.now()
        await host.machine.boot()
        while (!(await host.lan.reaches(host.machine, home.address)))
            if (performance.now() - on > graceSeconds * 1000)
                throw new Error(`${home.address} is not reached\n${await host.machine.must(['ip', 'addr'])}`)
        const ms = performance.now() - on
        if (ms > slowest.ms) Object.assign(slowest, { ms, what })

        expect(host.guards().filter(guard => host.has(guard, 'armed'))).toEqual([])
        expect(await host.addresses()).toEqual(addresses)
        await host.quiet()
        expect(await host.changedSince(before)).toEqual([])
        expect(host.leftovers()).toEqual([])
        expect(await host.remains()).toEqual([])
        const changes = (await host.changes()).filter(({ id }) => !moment.ids.has(id))
        expect(changes.length).toBe(1)
        const [change] = changes
        expect(change).toMatchObject({ kind: 'restore', state: 'done' })
        expect(change!.left ?? []).toEqual([])
        expect(change!.result).not.toBe('ok')
        expect(await host.ctl('history', change!.id)).toMatch(/the network/)
    }

    test('counts what was tried', () => {
        console.log(
            `row 6: ${good} of ${chosen.length} cases came back as they were, the slowest ${Math.round(slowest.ms / 100) / 10} s after power on (${slowest.what}); ${count} with PROXSAVE_GUARD_MATRIX=all`,
        )
        expect(good).toBe(chosen.length)
    })
})
