/** Loaders run on their own, a warning is no failure, and nothing that is worse than the fault is tried. */
import { describe, expect, test } from 'bun:test'
import { type LoaderWay, loadersOf, runWays } from '../../src/guard/load.ts'
import { type FakeOptions, fakeHost } from './areas/fake-host.ts'

const way = (line: string, more: Partial<LoaderWay> = {}): LoaderWay => ({
    title: line,
    commands: line.split('; ').map(one => one.split(' ') as [string]),
    timeoutMs: 1_000,
    ...more,
})

/** Runs them; what is in `fails` fails. */
async function load(ways: LoaderWay[], fails: Record<string, string>, options: FakeOptions = {}) {
    const ran: string[] = []
    const run = async ({ argv }: { argv: string[] }) => {
        ran.push(argv.join(' '))
        const why = fails[argv.join(' ')]
        return why === undefined ? { ok: true } : { ok: false, why }
    }
    const said: string[] = []
    const result = await runWays(ways, run, text => void said.push(text), fakeHost(options))
    return { ...result, ran, said }
}

describe('loaders', () => {
    const manager: [string, LoaderWay[]] = ['manager', [way('ifreload'), way('restart')]]
    const frr: [string, LoaderWay[]] = ['frr', [way('reload frr')]]

    test('one that fails does not make another go on to its next way', async () => {
        const { ran, way, problem, left } = await load(loadersOf([manager, frr]), {
            'reload frr': 'exit status 1',
        })
        expect(ran).toEqual(['ifreload', 'reload frr'])
        expect(way).toBe('ifreload')
        expect(problem).toBe('cannot load it: reload frr: reload frr: exit status 1')
        expect(left?.map(({ title }) => title)).toEqual(['reload frr'])
    })

    test('the others have their turn when the first one has no way that works', async () => {
        const { ran, problem } = await load(loadersOf([manager, frr]), { ifreload: 'a', restart: 'b' })
        expect(ran).toEqual(['ifreload', 'restart', 'reload frr'])
        expect(problem).toBe('cannot load it: ifreload: ifreload: a; restart: restart: b')
    })

    test('ways of a guard that an earlier version made are tried one after the other', async () => {
        const { ran, problem } = await load([way('a'), way('b'), way('c')], { a: 'no' })
        expect(ran).toEqual(['a', 'b'])
        expect(problem).toBeUndefined()
    })

    test('nothing to do is no problem', async () => {
        expect(await load([], {})).toEqual({ ran: [], said: [] })
    })

    test('a command that may fail is passed over', async () => {
        const { ran, way: worked } = await load([way('up; port; last', { mayFail: [1] })], { port: 'gone' })
        expect(ran).toEqual(['up', 'port', 'last'])
        expect(worked).toBe('up; port; last')
        expect((await load([way('up; port', { mayFail: [1] })], { up: 'no' })).problem).toBeDefined()
    })

    test('a command is left out while the file is there that speaks against it', async () => {
        const ways = [
            way('restart; delete br0; delete br9', {
                without: [
                    [1, '/a.netdev'],
                    [2, '/b.netdev'],
                ],
            }),
        ]
        const { ran } = await load(ways, {}, { files: { '/a.netdev': 'x' } })
        expect(ran).toEqual(['restart', 'delete br9'])
    })
})

describe('a way that spares guests', () => {
    const ways = [way('restart', { spares: 'guests' })]

    test('is not taken while one has a link', async () => {
        for (const name of ['tap101i0', 'veth102i1', 'fwpr101p0', 'fwln101i0']) {
            const { ran, problem } = await load(ways, {}, { files: { [`/sys/class/net/${name}/mtu`]: '' } })
            expect(ran).toEqual([])
            expect(problem).toBe(`cannot load it: restart: not while guests are connected (${name})`)
        }
    })

    test('is taken where no guest has one', async () => {
        const files = { '/sys/class/net/vmbr0/mtu': '', '/sys/class/net/vethab12cd3/mtu': '' }
        expect((await load(ways, {}, { files })).ran).toEqual(['restart'])
    })
})

describe('ifreload that ends with 1', () => {
    const interfaces = `auto lo
iface lo inet loopback
auto vmbr0
iface vmbr0 inet static
    address 192.0.2.20/24
    gateway 192.0.2.1
    bridge-ports eth7
auto eth7
iface eth7 inet static
    address 198.51.100.7/24
auto vmbr1
iface vmbr1 inet dhcp
    bridge-ports none
iface eth9 inet static
    address 198.51.100.9/24
`
    const ways = [way('flock; ifreload', { judge: 'interfaces' }), way('ifup -a')]
    const live = (links: Record<string, string[]>, gateway = '192.0.2.1'): FakeOptions => ({
        files: { '/etc/network/interfaces': interfaces, '/sys/class/net/vmbr0/mtu': '' },
        says: {
            'ip -j addr': JSON.stringify(
                Object.entries(links).map(([ifname, addresses]) => ({
                    ifname,
                    addr_info: addresses.map(local => ({ local, scope: 'global' })),
                })),
            ),
            'ip -j route show default': JSON.stringify([{ dst: 'default', gateway }]),
            'ip -j -6 route show default': '',
        },
    })
    const well = live({ vmbr0: ['192.0.2.20'], vmbr1: ['203.0.113.5'] })
    const fails = { ifreload: 'exit status 1' }

    test('has worked when the addresses and routes are there, although a port is missing', async () => {
        const { ran, way, problem } = await load(ways, fails, well)
        expect({ ran, way, problem }).toEqual({
            ran: ['flock', 'ifreload'],
            way: 'flock; ifreload',
            problem: undefined,
        })
    })

    test('has not when an address, a lease or the way out is missing', async () => {
        for (const [options, why] of [
            [live({ vmbr0: ['192.0.2.10'], vmbr1: ['203.0.113.5'] }), '192.0.2.20 is not on this host'],
            [live({ vmbr0: ['192.0.2.20'], vmbr1: [] }), 'vmbr1 has no address'],
            [
                live({ vmbr0: ['192.0.2.20'], vmbr1: ['203.0.113.5'] }, '192.0.2.254'),
                'no default route leads to 192.0.2.1',
            ],
        ] as const) {
            const { ran, problem } = await load(ways, { ...fails, 'ifup -a': 'no' }, options)
            expect(ran).toEqual(['flock', 'ifreload', 'ifup -a'])
            expect(problem).toContain(`exit status 1, and ${why}`)
        }
    })

    test('is judged for its own status only: not for its lock, for another status, nor when nobody can look', async () => {
        for (const [failing, options] of [
            [{ flock: 'exit status 1' }, well],
            [{ ifreload: 'exit status 89' }, well],
            [{ ifreload: 'it is not installed' }, well],
            [fails, { ...well, says: {} }],
            [fails, { ...well, files: { '/etc/network/interfaces': 'stray words\n' } }],
        ] as const)
            expect((await load(ways, failing, options)).ran.at(-1)).toBe('ifup -a')
    })
})
