/** The network's area: what is refused, how files are loaded, where the host will be, and whether it is well. */
import { describe, expect, test } from 'bun:test'
import type { Check, Finding } from '../../../src/guard/area.ts'
import { network } from '../../../src/guard/areas/network.ts'
import { configuredAddresses, readInterfaces } from '../../../src/guard/configured.ts'
import { networkHealth } from '../../../src/guard/health.ts'
import { isReadBy, managersOf } from '../../../src/guard/managers.ts'
import { areaOf, candidateOver, type FakeOptions, fakeHost, verdictOf } from './fake-host.ts'
import { ifreloadChecks, ifup2DryRuns, ifupDryRuns, netplanGets } from './recorded.ts'

const interfaces = '/etc/network/interfaces'
const bridge = (address: string) => `auto lo
iface lo inet loopback

auto eth0
iface eth0 inet manual

auto vmbr0
iface vmbr0 inet static
    address ${address}/24
    gateway 192.0.2.1
    bridge-ports eth0
    bridge-stp off

source /etc/network/interfaces.d/*
`
const old = { [interfaces]: bridge('192.0.2.10') }
const ifupdown2: FakeOptions = {
    files: old,
    programs: ['ifup', 'ifreload', 'ip'],
    units: { 'networking.service': 'active' },
}
const classic: FakeOptions = {
    files: { ...old, '/sys/class/net/eth0/address': '', '/sys/class/net/lo/address': '' },
    programs: ['ifup', 'ip'],
    units: { 'networking.service': 'active' },
}
const area = areaOf('network')
const checksOf = (options: FakeOptions, changes: Record<string, string | undefined>, where = area) =>
    network.checks(fakeHost(options), where, candidateOver(options.files ?? {}, changes))
const commandsOf = async (options: FakeOptions, changes: Record<string, string | undefined>) =>
    (await network.ways(fakeHost(options), candidateOver(options.files ?? {}, changes))).map(({ commands }) =>
        commands.map(argv => argv.join(' ')),
    )
const levels = (findings: readonly Finding[], level: Finding['level']) =>
    findings.filter(one => one.level === level).map(({ name }) => name)

describe('who manages the network', () => {
    test('ifupdown2 where ifreload is, even when one interface failed at boot', async () => {
        for (const state of ['active', 'failed', 'activating'])
            expect(
                await managersOf(fakeHost({ ...ifupdown2, units: { 'networking.service': state } })),
            ).toEqual(['ifupdown2'])
    })

    test('not ifupdown where its unit is off and another one runs', async () => {
        const host = fakeHost({ programs: ['ifup'], units: { 'systemd-networkd.service': 'active' } })
        expect(await managersOf(host)).toEqual(['networkd'])
    })

    test('ifupdown where its unit is off and nothing else is there', async () => {
        expect(await managersOf(fakeHost({ programs: ['ifup'] }))).toEqual(['ifupdown'])
    })

    test('without systemd, what lies below /run tells', async () => {
        const files = { '/run/systemd/netif/state': '', '/run/NetworkManager/conf.d/x': '' }
        expect(await managersOf(fakeHost({ files, units: undefined }))).toEqual([
            'networkd',
            'NetworkManager',
        ])
        expect(await managersOf(fakeHost({ units: undefined, programs: ['ifup'] }))).toEqual(['ifupdown'])
    })

    test('netplan only where it has files', async () => {
        const files = { '/etc/netplan/a.yaml': '' }
        const units = { 'systemd-networkd.service': 'active' }
        expect(await managersOf(fakeHost({ files, units, programs: ['netplan'] }))).toEqual([
            'netplan',
            'networkd',
        ])
        expect(await managersOf(fakeHost({ units, programs: ['netplan'] }))).toEqual(['networkd'])
    })

    test('hooks, what waits for the next boot, and names of hosts load nothing', () => {
        for (const path of [
            '/etc/network/interfaces.new',
            '/etc/network/if-up.d/x',
            '/etc/hosts',
            '/etc/network/run',
        ])
            expect(isReadBy('ifupdown2', path)).toBe(false)
        for (const path of [
            interfaces,
            '/etc/network/interfaces.d/sdn',
            '/etc/network/ifupdown2/policy.d/x.json',
        ])
            expect(isReadBy('ifupdown2', path)).toBe(true)
        expect(isReadBy('networkd', '/etc/systemd/network/10-a.link')).toBe(false)
        expect(isReadBy('networkd', '/etc/systemd/network/10-a.link.d/b.conf')).toBe(false)
        expect(isReadBy('networkd', '/etc/systemd/network/10-a.network.d/b.conf')).toBe(true)
        expect(isReadBy('networkd', '/usr/local/lib/systemd/network/10-a.network')).toBe(true)
    })
})

describe('our own check of interfaces', () => {
    test('says file and line', async () => {
        const { problems } = await checksOf(ifupdown2, {
            [interfaces]: bridge('192.0.2.20').replace('bridge-stp off', 'bridge-stp'),
        })
        expect(problems).toEqual([`${interfaces}: line 12: option "bridge-stp" of "vmbr0" has no value`])
    })

    test('refuses an address that ifupdown would call good in its dry run', async () => {
        const { problems } = await checksOf(classic, { [interfaces]: bridge('192.0.2.300') })
        expect(problems).toEqual([`${interfaces}: line 9: address "192.0.2.300/24" is not an address`])
    })

    test('follows source into files that change, and reads those that nothing sources', async () => {
        const { problems } = await checksOf(ifupdown2, {
            '/etc/network/interfaces.d/vlan': 'iface vlan7 inet static\n    address 198.51.100.300\n',
            '/etc/network/interfaces.d/other': 'stray words\n',
        })
        expect(problems).toHaveLength(2)
        expect(problems.join()).toContain('interfaces.d/vlan: line 2')
        expect(problems.join()).toContain('interfaces.d/other: line 1')
    })

    test('a fault in a file that stays is not held against the new ones', async () => {
        const files = { ...old, '/etc/network/interfaces.d/old': 'stray words\n' }
        const { problems } = await checksOf({ ...ifupdown2, files }, { [interfaces]: bridge('192.0.2.20') })
        expect(problems).toEqual([])
    })

    test('files that source each other end', () => {
        const set = readInterfaces({
            read: path =>
                path === interfaces ? 'source /etc/network/b\n' : 'source /etc/network/interfaces\n',
            names: () => [],
        })
        expect(set.files).toHaveLength(2)
    })

    test('good files of many kinds have no problem', async () => {
        const text = `auto bond0
iface bond0 inet manual
    bond-slaves none
auto vmbr1
iface vmbr1 inet static
    address 10.0.0.1/255.255.255.0
    gateway none
iface vmbr1 inet6 static
    address fd00::1/64
iface tun0 inet tunnel
    address anything
`
        expect((await checksOf(ifupdown2, { [interfaces]: text })).problems).toEqual([])
    })
})

describe('what the real checkers say', () => {
    const named = async (
        options: FakeOptions,
        changes: Record<string, string>,
        line: string,
        where = area,
    ): Promise<Check> =>
        (await checksOf(options, changes, where)).checks.find(({ argv }) => argv.join(' ') === line)!
    const change = { [interfaces]: bridge('192.0.2.20') }

    for (const [line, options, recorded] of [
        ['ifreload --syntax-check -a', ifupdown2, ifreloadChecks],
        ['ifup -n -a', ifupdown2, ifup2DryRuns],
        ['ifup -n -a', classic, ifupDryRuns],
    ] as const)
        for (const { what, status, output, good } of recorded)
            test(`${line} on ${what} is ${good ? 'passed' : 'refused'}`, async () => {
                const verdict = verdictOf(await named(options, change, line), status, output)
                if (good) expect(verdict).toBeUndefined()
                else expect(verdict).toBeDefined()
            })

    const netplanned: FakeOptions = { files: { '/etc/netplan/a.yaml': 'network: {}' }, programs: ['netplan'] }
    const shown = { ...area, checked: [...area.checked, '/etc/netplan'] }
    for (const { what, status, output, good } of netplanGets)
        test(`netplan get on ${what} is ${good ? 'passed' : 'refused'}, and its reason is told`, async () => {
            const check = await named(
                netplanned,
                { '/etc/netplan/a.yaml': 'network: {}' },
                'netplan get',
                shown,
            )
            const verdict = verdictOf(check, status, output)
            if (good) expect(verdict).toBeUndefined()
            else expect(verdict).toContain('/etc/netplan/b.yaml:')
        })

    test('any other failure of netplan is one as well, although it ends with 0', async () => {
        const check = await named(netplanned, { '/etc/netplan/a.yaml': 'network: {}' }, 'netplan get', shown)
        expect(verdictOf(check, 0, 'Command failed: Cannot open /etc/netplan/a.yaml')).toBeDefined()
    })

    test('netplan is not asked about files that it would not be shown', async () => {
        const hidden = { ...area, checked: ['/etc/network'] }
        expect((await checksOf(netplanned, { '/etc/netplan/a.yaml': 'x' }, hidden)).checks).toEqual([])
    })

    test('nothing is run for names of hosts, nor where the manager is not the one', async () => {
        expect((await checksOf(ifupdown2, { '/etc/hosts': 'x', '/etc/hostname': 'y' })).checks).toEqual([])
        const other = { ...ifupdown2, units: { 'systemd-networkd.service': 'active' } }
        const { checks, findings } = await checksOf(other, change)
        expect(checks).toEqual([])
        expect(findings?.map(({ name, level }) => [name, level])).toEqual([['manager', 'warning']])
    })
})

describe('what is told beforehand', () => {
    const change = { [interfaces]: bridge('192.0.2.20') }

    test('the one faulty version of ifupdown2', async () => {
        const says = (version: string) => ({
            ...ifupdown2,
            says: { 'dpkg-query -W ifupdown2': `ifupdown2\t${version}\n` },
        })
        expect((await checksOf(says('3.3.0-1+pmx11'), change)).findings?.map(({ name }) => name)).toEqual([
            'ifupdown2',
        ])
        expect((await checksOf(says('3.3.0-1+pmx12'), change)).findings).toEqual([])
        expect((await checksOf(ifupdown2, change)).findings).toEqual([])
    })

    test('what counts at the next boot only: names of cards, of the host, and how networking starts', async () => {
        const link = '/etc/systemd/network/10-lan.link'
        const rules = '/etc/udev/rules.d/70-persistent-net.rules'
        const named = '[Match]\nMACAddress=52:54:00:00:00:01\n[Link]\nName=lan0\n'
        const files = { ...old, '/etc/hostname': 'pve1\n', [rules]: 'SUBSYSTEM=="net", NAME="x"\n' }
        const tellings = async (changes: Record<string, string | undefined>, programs: string[] = []) =>
            ((await checksOf({ ...ifupdown2, files, programs }, changes)).findings ?? []).map(
                ({ name, level, text }) => `${level} ${name}: ${text}`,
            )
        const [rule, ...others] = await tellings({ [link]: named, [rules]: undefined })
        expect(rule).toContain(
            `critical naming-rules: rules that name network cards change (${link} line 4, ${rules} goes)`,
        )
        expect(others).toEqual([])
        expect(await tellings({ [link]: '[Link]\nMTUBytes=9000\n', [rules]: files[rules] })).toEqual([])
        expect((await tellings({ '/etc/hostname': 'pve2\n' }))[0]).toStartWith(
            'warning hostname: /etc/hostname changes to pve2',
        )
        expect((await tellings({ '/etc/hostname': 'pve2\n' }, ['pmxcfs']))[0]).toStartWith('critical')
        expect(await tellings({ '/etc/hostname': 'pve1\n' })).toEqual([])
        const dropIn = '/etc/systemd/system/networking.service.d/a.conf'
        expect((await tellings({ '/etc/default/networking': 'x', [dropIn]: 'y' })).join()).toContain(
            `(/etc/default/networking, ${dropIn})`,
        )
    })

    test('that a watchdog may reset the node, when HA has one armed here', async () => {
        const tellings = async (
            lrm: object | { hangs: true },
            manager: object,
            changes: Record<string, string> = change,
            corosync = true,
        ) => {
            const files: Record<string, string> = { ...old, '/etc/hostname': 'pve1\n' }
            if (corosync) files['/etc/corosync/corosync.conf'] = 'totem {}'
            const says = {
                'cat /etc/pve/local/lrm_status': 'hangs' in lrm ? { hangs: true } : JSON.stringify(lrm),
                'cat /etc/pve/ha/manager_status': JSON.stringify(manager),
            }
            const { findings } = await checksOf({ ...ifupdown2, files, says }, changes)
            return (findings ?? []).map(({ name, level }) => `${level} ${name}`)
        }
        const idle = { state: 'wait_for_agent_lock', mode: 'active' }
        const managed = { master_node: 'pve1', service_status: { 'vm:100': {} } }
        expect(await tellings({ state: 'active', mode: 'active' }, {})).toEqual(['critical fencing'])
        expect(await tellings(idle, managed)).toEqual(['critical fencing'])
        expect(await tellings(idle, { ...managed, master_node: 'pve2' })).toEqual([])
        expect(await tellings(idle, { ...managed, service_status: {} })).toEqual([])
        expect(await tellings({ hangs: true }, {})).toEqual([])
        expect(await tellings({ state: 'active' }, {}, { '/etc/hosts': 'x' })).toEqual([])
        expect(await tellings({ state: 'active' }, {}, change, false)).toEqual([])
    })

    test('that no interfaces file would be left', async () => {
        const { findings } = await checksOf(ifupdown2, { [interfaces]: undefined })
        expect(levels(findings ?? [], 'critical')).toEqual(['interfaces'])
    })
})

const online = '/usr/lib/systemd/systemd-networkd-wait-online --any --timeout=20'

describe('how the files are loaded', () => {
    const change = { [interfaces]: bridge('192.0.2.20') }

    test('ifupdown2: ifreload behind its lock first, and a restart of everything last', async () => {
        expect(await commandsOf(ifupdown2, change)).toEqual([
            ['install -d -m 0755 /run/network', 'flock -w 20 /run/network/.lock true', 'ifreload -a'],
            ['ifquery --check -a'],
            ['ifup -a'],
            ['systemctl restart networking.service'],
        ])
    })

    test('ifupdown: takes the addresses of both sides and the ports away between ifdown and ifup', async () => {
        const [first, second, third] = await commandsOf(classic, change)
        expect(first).toEqual([
            'ifdown -a --exclude=lo',
            'ip addr flush to 192.0.2.20',
            'ip addr flush to 192.0.2.10',
            'ip link set dev eth0 nomaster',
            'ifup -a',
        ])
        expect(second).toEqual(['ifup -a --force'])
        expect(third).toEqual(['systemctl restart networking.service'])
    })

    test('ifupdown: guests that run are put back on their bridge, if they still do', async () => {
        const guests = Object.fromEntries(
            ['tap101i0', 'eth0'].map(name => [`/sys/class/net/vmbr0/brif/${name}/state`, '']),
        )
        const files = { ...classic.files, ...guests, '/sys/class/net/tap101i0/address': '' }
        const candidate = candidateOver(files, change)
        const [first] = await network.ways(fakeHost({ ...classic, files }), candidate)
        expect(first!.commands.slice(-2).map(argv => argv.join(' '))).toEqual([
            'ifup -a',
            'ip link set dev tap101i0 master vmbr0',
        ])
        expect(first!.mayFail).toEqual([first!.commands.length - 1])
    })

    test('everything is only restarted behind ifup, and not while guests have links', async () => {
        for (const options of [ifupdown2, classic]) {
            const ways = await network.ways(fakeHost(options), candidateOver(options.files!, change))
            const restarts = ways.filter(({ commands }) => commands.flat().includes('restart'))
            expect(restarts.map(({ spares }) => spares)).toEqual(['guests'])
            expect(ways.at(-1)).toBe(restarts[0])
            expect(ways.at(-2)!.commands[0]!.slice(0, 2)).toEqual(['ifup', '-a'])
        }
    })

    test('what frr does is no matter of ifreload: each is a loader of its own', async () => {
        const options = { ...ifupdown2, units: { ...ifupdown2.units, 'frr.service': 'active' } }
        const changes = { ...change, '/etc/frr/frr.conf': 'x' }
        const ways = await network.ways(fakeHost(options), candidateOver(options.files!, changes))
        expect(ways.map(({ loader, title }) => `${loader}: ${title}`)).toEqual([
            'ifupdown2: ifreload',
            'ifupdown2: what ifreload has reached is what the files say',
            'ifupdown2: ifup',
            'ifupdown2: restart networking.service',
            'frr.service: reload frr.service',
        ])
    })

    test('ifupdown: a port that this machine does not have is not touched', async () => {
        const [first] = await commandsOf(classic, {
            [interfaces]: bridge('192.0.2.20').replaceAll('eth0', 'eth7'),
        })
        expect(first!.filter(line => line.includes('nomaster'))).toEqual(['ip link set dev eth0 nomaster'])
    })

    test('units are read again before anything that they start', async () => {
        const changes = { '/etc/systemd/system/networking.service.d/a.conf': 'x', ...change }
        expect((await commandsOf(ifupdown2, changes))[0]).toEqual(['systemctl daemon-reload'])
    })

    test('tunnels that run are restarted when their file changes, or a key that it names', async () => {
        const files = {
            '/etc/wireguard/wg0.conf': 'x',
            '/etc/wireguard/wg1.conf': 'y',
            '/etc/openvpn/client/office.conf': 'ca office-ca.crt\n',
            '/etc/openvpn/client/other.conf': 'ca other.crt\n',
        }
        const units = {
            'wg-quick@wg0.service': 'active',
            'openvpn-client@office.service': 'active',
            'openvpn-client@other.service': 'active',
            'openvpn@x.service': 'active',
        }
        const changes = {
            '/etc/wireguard/wg0.conf': 'z',
            '/etc/wireguard/wg1.conf': 'z',
            '/etc/openvpn/client/office-ca.crt': 'z',
            '/etc/openvpn/x.conf': 'z',
        }
        const candidate = candidateOver(files, changes)
        const ways = await network.ways(fakeHost({ files, units }), candidate)
        const first = [...Map.groupBy(ways, ({ loader }) => loader).values()].map(([way]) => way!.title)
        expect(first).toEqual([
            'restart wg-quick@wg0.service',
            'restart openvpn@x.service',
            'restart openvpn-client@office.service',
        ])
    })

    test('a tunnel whose file goes leaves no device; the same ways start it again', async () => {
        const files = { '/etc/wireguard/wg0.conf': 'x' }
        const units = { 'wg-quick@wg0.service': 'active' }
        expect(await commandsOf({ files, units }, { '/etc/wireguard/wg0.conf': undefined })).toEqual([
            ['systemctl restart wg-quick@wg0.service'],
            [
                'test ! -e /etc/wireguard/wg0.conf',
                'systemctl stop wg-quick@wg0.service',
                'ip link delete dev wg0',
            ],
        ])
    })

    test('nothing for names of hosts, hooks, and what waits for the next boot', async () => {
        const changes = { '/etc/hosts': 'x', '/etc/hostname': 'y', '/etc/network/interfaces.new': 'z' }
        expect(await commandsOf(ifupdown2, changes)).toEqual([])
    })

    test('networkd and resolved together', async () => {
        const options = {
            units: { 'systemd-networkd.service': 'active', 'systemd-resolved.service': 'active' },
        }
        expect(
            await commandsOf(options, {
                '/etc/systemd/network/a.network': 'x',
                '/etc/systemd/resolved.conf': 'y',
            }),
        ).toEqual([
            ['systemctl restart systemd-networkd.service', online],
            ['networkctl reload'],
            ['systemctl restart systemd-resolved.service'],
        ])
    })

    test('networkd: what only one side has goes by hand, a device only while its file is not there', async () => {
        const directory = '/etc/systemd/network'
        const address = (text: string) => `[Network]\nAddress=${text}/24\n`
        const files = {
            [`${directory}/a.network`]: address('192.0.2.10'),
            [`${directory}/b.network`]: address('192.0.2.99'),
            [`${directory}/gone.netdev`]: '[NetDev]\nName=br9\nKind=bridge\n',
            [`${directory}/vlan.netdev`]: '[NetDev]\nName=v7\nKind=vlan\n[VLAN]\nId=7\n',
            [`${directory}/kept.netdev`]: '[NetDev]\nName=br1\nKind=bridge\n',
        }
        const changes = {
            [`${directory}/a.network`]: address('192.0.2.20'),
            [`${directory}/gone.netdev`]: undefined,
            [`${directory}/vlan.netdev`]: '[NetDev]\nName=v7\nKind=vlan\n[VLAN]\nId=8\n',
            [`${directory}/kept.netdev`]: '[NetDev]\nName=br1\nKind=bridge\n[Bridge]\nSTP=yes\n',
            '/usr/local/lib/systemd/network/new.netdev': '[NetDev]\nName=br8\nKind=bridge\n',
        }
        const units = { 'systemd-networkd.service': 'active' }
        const [first] = await network.ways(fakeHost({ files, units }), candidateOver(files, changes))
        expect(first!.commands.map(argv => argv.join(' '))).toEqual([
            'ip link delete dev v7',
            'ip addr flush to 192.0.2.20',
            'ip addr flush to 192.0.2.10',
            'systemctl restart systemd-networkd.service',
            online,
            'ip link delete dev br8',
            'ip link delete dev br9',
        ])
        expect(first!.mayFail).toEqual([0, 4, 5, 6])
        expect(first!.without).toEqual([
            [5, '/usr/local/lib/systemd/network/new.netdev'],
            [6, `${directory}/gone.netdev`],
        ])
    })

    test('netplan by netplan alone, although networkd runs below it', async () => {
        const options: FakeOptions = {
            files: { '/etc/netplan/a.yaml': 'x' },
            programs: ['netplan'],
            units: { 'systemd-networkd.service': 'active' },
        }
        expect((await commandsOf(options, { '/etc/netplan/a.yaml': 'y' }))[0]).toEqual(['netplan apply'])
    })

    test('NetworkManager: reapplied where it is connected, then by id, then restarted', async () => {
        const options: FakeOptions = {
            units: { 'NetworkManager.service': 'active' },
            says: {
                'nmcli -t -f DEVICE,STATE device':
                    'eth0:connected\neth1:disconnected\nlo:connected (externally)\n',
            },
        }
        const path = '/etc/NetworkManager/system-connections/a.nmconnection'
        expect(await commandsOf(options, { [path]: '[connection]\nuuid=1111\n' })).toEqual([
            ['nmcli connection reload', 'nmcli device reapply eth0'],
            ['nmcli connection reload', 'nmcli connection up uuid 1111'],
            ['systemctl restart NetworkManager.service'],
        ])
        const deaf = { ...options, says: { 'nmcli -t -f DEVICE,STATE device': { hangs: true } } }
        expect((await commandsOf(deaf, { [path]: 'x' })).at(-1)).toEqual([
            'systemctl restart NetworkManager.service',
        ])
    })
})

const ipAddr = (...links: { name: string; flags?: string[]; addresses: string[] }[]) =>
    JSON.stringify(
        links.map(({ name, flags = ['UP', 'LOWER_UP'], addresses }) => ({
            ifname: name,
            flags,
            addr_info: addresses.map(local => ({
                local,
                scope: local.startsWith('fe80') ? 'link' : 'global',
            })),
        })),
    )

describe('where the host will be reached', () => {
    const live = {
        'ip -j addr': ipAddr(
            { name: 'vmbr0', addresses: ['192.0.2.10', 'fe80::1', 'fd00::10'] },
            { name: 'docker0', addresses: ['172.17.0.1'] },
            { name: 'veth12ab', addresses: ['10.9.9.9'] },
        ),
    }
    const addresses = (options: FakeOptions, changes: Record<string, string | undefined>) =>
        network.addresses!(fakeHost(options), candidateOver(options.files ?? {}, changes))

    test('before: global ones, without containers; after: what the files say', async () => {
        expect(await addresses({ ...ifupdown2, says: live }, { [interfaces]: bridge('192.0.2.20') })).toEqual(
            {
                before: ['192.0.2.10', 'fd00::10'],
                after: ['192.0.2.20'],
            },
        )
    })

    test('after is unknown when it is left to DHCP', async () => {
        const text = 'auto eth0\niface eth0 inet dhcp\n'
        expect(await addresses({ ...ifupdown2, says: live }, { [interfaces]: text })).toEqual({
            before: ['192.0.2.10', 'fd00::10'],
        })
    })

    test('after is nothing when the files name nothing', async () => {
        expect(
            (
                await addresses(
                    { ...ifupdown2, says: live },
                    { [interfaces]: 'auto lo\niface lo inet loopback\n' },
                )
            ).after,
        ).toEqual([])
    })

    test('names of hosts move nothing', async () => {
        expect((await addresses({ ...ifupdown2, says: live }, { '/etc/hosts': 'x' })).after).toEqual([
            '192.0.2.10',
            'fd00::10',
        ])
    })

    test('an ip that hangs, or prints no JSON, is no reason to fail', async () => {
        for (const said of [{ hangs: true }, 'nonsense', { status: 1, stderr: 'Cannot open netlink socket' }])
            expect(
                (
                    await addresses(
                        { ...ifupdown2, says: { 'ip -j addr': said } },
                        { [interfaces]: bridge('192.0.2.20') },
                    )
                ).before,
            ).toEqual([])
    })

    test('an interface that is not started counts for nothing, one that a hook gives does', () => {
        const text = `iface eth1 inet static
    address 198.51.100.1/24
allow-hotplug eth2
iface eth2 inet static
    address 198.51.100.2
    post-up ip addr add 198.51.100.3/24 dev eth2
iface eth2 inet6 static
    address fd00::2/64
`
        const files = { read: (path: string) => (path === interfaces ? text : undefined), names: () => [] }
        expect(configuredAddresses(files, ['ifupdown2'])).toEqual({
            addresses: ['198.51.100.2', '198.51.100.3', 'fd00::2'],
            dynamic: false,
        })
    })

    test('netplan, networkd and NetworkManager', () => {
        const files = candidateOver(
            {
                '/etc/netplan/a.yaml':
                    'network:\n  version: 2\n  bridges:\n    br0:\n      addresses:\n        - 192.0.2.1/24\n        - 192.0.2.2/24: {label: x}\n      nameservers: {addresses: [9.9.9.9]}\n',
                '/etc/systemd/network/a.network':
                    '[Match]\nName=eth0\n[Network]\nAddress=192.0.2.3/24\nDNS=9.9.9.9\n[Address]\nAddress=fd00::3/64\n[Neighbor]\nAddress=192.0.2.77\n',
                '/etc/systemd/network/a.netdev': '[NetDev]\nAddress=192.0.2.99\n',
                // Hidden by its namesake.
                '/usr/local/lib/systemd/network/a.network': '[Network]\nAddress=192.0.2.98\n',
                '/usr/local/lib/systemd/network/b.network': '[Network]\nAddress=192.0.2.6\n',
                '/etc/NetworkManager/system-connections/a.nmconnection':
                    '[ipv4]\naddress1=192.0.2.4/24,192.0.2.254\nmethod=manual\n',
                '/etc/NetworkManager/system-connections/b.nmconnection':
                    '[connection]\nautoconnect=false\n[ipv4]\naddress1=192.0.2.5/24\n',
            },
            {},
        )
        expect(configuredAddresses(files, ['netplan', 'networkd', 'NetworkManager'])).toEqual({
            addresses: ['192.0.2.1', '192.0.2.2', '192.0.2.3', 'fd00::3', '192.0.2.6', '192.0.2.4'],
            dynamic: false,
        })
        const dynamic = candidateOver({ '/etc/systemd/network/a.network': '[Network]\nDHCP=ipv4\n' }, {})
        expect(configuredAddresses(dynamic, ['networkd']).dynamic).toBe(true)
        expect(
            configuredAddresses(candidateOver({ '/etc/netplan/a.yaml': ': [' }, {}), ['netplan']).dynamic,
        ).toBe(true)
    })
})

describe('whether the host is well', () => {
    const route =
        '[{"dst":"203.0.113.7","gateway":"192.0.2.1","dev":"vmbr0","prefsrc":"192.0.2.10","flags":[]}]'
    const fine: FakeOptions = {
        programs: ['ip', 'ping', 'getent'],
        says: {
            'ip -j addr': ipAddr({ name: 'vmbr0', addresses: ['192.0.2.10'] }),
            'ip -j route get 203.0.113.7': route,
            'ip -j route show default': '[{"dst":"default","gateway":"192.0.2.1","dev":"vmbr0","flags":[]}]',
            // That is what it prints for no route.
            'ip -j -6 route show default': '',
            'ping -n -q -c 1 -W 2 192.0.2.1': '1 packets transmitted, 1 received',
            'getent ahosts deb.debian.org': '198.51.100.80 STREAM deb.debian.org\n',
        },
    }
    const asked = { before: ['192.0.2.10'], client: '203.0.113.7', server: '192.0.2.10' }
    const but = (says: FakeOptions['says'], more: FakeOptions = {}) =>
        fakeHost({ ...fine, ...more, says: { ...fine.says, ...says } })

    test('all is well', async () => {
        const findings = await networkHealth(fakeHost(fine), asked)
        expect(findings.filter(({ level }) => level !== 'ok')).toEqual([])
        expect(findings.map(({ name }) => name).sort()).toEqual([
            ...['addresses', 'client-route', 'default-route', 'dns', 'gateway', 'link'],
        ])
    })

    test('no way back to the one who asked is critical', async () => {
        const none = { status: 2, stderr: 'RTNETLINK answers: Network is unreachable' }
        const findings = await networkHealth(but({ 'ip -j route get 203.0.113.7': none }), asked)
        expect(levels(findings, 'critical')).toEqual(['client-route'])
    })

    test('an ip that cannot tell is not told as a route that is gone', async () => {
        for (const said of [{ hangs: true }, { status: 1, stderr: 'Cannot open netlink socket' }]) {
            const findings = await networkHealth(but({ 'ip -j route get 203.0.113.7': said }), asked)
            expect(levels(findings, 'critical')).toEqual([])
            expect(levels(findings, 'warning')).toEqual(['client-route'])
        }
    })

    test('the address that they came in by: gone is critical, gone as planned is not', async () => {
        const moved = { 'ip -j addr': ipAddr({ name: 'vmbr0', addresses: ['192.0.2.20'] }) }
        expect(
            levels(await networkHealth(but(moved), { ...asked, after: ['192.0.2.30'] }), 'critical'),
        ).toEqual(['server'])
        expect(levels(await networkHealth(but(moved), asked), 'critical')).toEqual(['server'])
        const planned = await networkHealth(but(moved), { ...asked, after: ['192.0.2.20'] })
        expect(levels(planned, 'critical')).toEqual([])
        expect(planned.find(({ name }) => name === 'server')?.text).toContain('connect to 192.0.2.20')
    })

    test('no carrier under the address that they came in by is critical, elsewhere a warning', async () => {
        const dead = (name: string, address: string) => ({ name, flags: ['UP'], addresses: [address] })
        const under = { 'ip -j addr': ipAddr(dead('vmbr0', '192.0.2.10')) }
        expect(levels(await networkHealth(but(under), asked), 'critical')).toEqual(['link'])
        const beside = {
            'ip -j addr': ipAddr({ name: 'vmbr0', addresses: ['192.0.2.10'] }, dead('vmbr1', '10.0.0.1')),
        }
        const findings = await networkHealth(but(beside), asked)
        expect([levels(findings, 'critical'), levels(findings, 'warning')]).toEqual([[], ['link']])
    })

    test('without an address: critical over SSH, a warning at the console', async () => {
        const bare = { 'ip -j addr': '[{"ifname":"lo","flags":["UP"],"addr_info":[]}]' }
        expect(levels(await networkHealth(but(bare), asked), 'critical')).toEqual(['addresses'])
        expect(levels(await networkHealth(but(bare), { before: [] }), 'critical')).toEqual([])
    })

    test('gateway, names and default route are warnings', async () => {
        const findings = await networkHealth(
            but({
                'ping -n -q -c 1 -W 2 192.0.2.1': { status: 1 },
                'getent ahosts deb.debian.org': { status: 2 },
            }),
            asked,
        )
        expect(levels(findings, 'warning').sort()).toEqual(['dns', 'gateway'])
        for (const empty of ['[]', '']) {
            const routeless = await networkHealth(
                but({ 'ip -j route show default': empty, 'ip -j -6 route show default': '' }),
                asked,
            )
            expect(routeless.find(({ name }) => name === 'default-route')?.text).toStartWith(
                'there is no default route',
            )
            expect(levels(routeless, 'warning')).toEqual(['default-route'])
        }
    })

    test('everything missing, or hanging, makes findings and no failure', async () => {
        expect(levels(await networkHealth(fakeHost(), asked), 'critical')).toEqual([])
        const says = Object.fromEntries(Object.keys(fine.says!).map(line => [line, { hangs: true }]))
        const findings = await networkHealth(fakeHost({ ...fine, says }), asked)
        expect(levels(findings, 'critical')).toEqual([])
        expect(levels(findings, 'warning').length).toBeGreaterThan(3)
    })

    test('a gateway of the link is asked over its interface', async () => {
        const host = but({
            'ip -j -6 route show default': '[{"dst":"default","gateway":"fe80::1","dev":"vmbr0"}]',
        })
        await networkHealth(host, asked)
        expect(host.asked).toContain('ping -n -q -c 1 -W 2 fe80::1%vmbr0')
    })

    test('web interfaces only where the product is', async () => {
        const programs = [...fine.programs!, 'pveproxy']
        expect(levels(await networkHealth(fakeHost({ ...fine, programs }), asked), 'warning')).toEqual([
            'port-8006',
        ])
        const open = ['127.0.0.1 8006']
        expect(levels(await networkHealth(fakeHost({ ...fine, programs, open }), asked), 'warning')).toEqual(
            [],
        )
    })

    test('cluster: pmxcfs always, corosync and quorum only with a corosync.conf', async () => {
        const programs = [...fine.programs!, 'pvecm', 'corosync-quorumtool']
        const says = { 'mountpoint -q /etc/pve': { status: 0 } }
        expect(levels(await networkHealth(but(says, { programs }), asked), 'warning')).toEqual([])
        const files = { '/etc/corosync/corosync.conf': 'totem {}' }
        const lost = {
            'mountpoint -q /etc/pve': { status: 32 },
            'corosync-quorumtool -s': { status: 2, stdout: 'Quorate:          No\n' },
        }
        expect(levels(await networkHealth(but(lost, { programs, files }), asked), 'warning').sort()).toEqual([
            ...['corosync', 'pmxcfs', 'quorum'],
        ])
        const well = { ...says, 'corosync-quorumtool -s': 'Quorate:          Yes\n' }
        const units = { 'corosync.service': 'active' }
        expect(levels(await networkHealth(but(well, { programs, files, units }), asked), 'warning')).toEqual(
            [],
        )
    })
})
