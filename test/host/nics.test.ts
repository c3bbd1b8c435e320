/** The cards of a host: from a made-up sysfs, and from the real kernel in a network namespace of its own. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Link } from '../../src/format/rtnetlink.ts'
import { readLinks, readNics } from '../../src/host/nics.ts'

describe('a made-up host', () => {
    let root: string
    beforeEach(() => {
        root = mkdtempSync(join(tmpdir(), 'proxsave-nics-'))
        mkdirSync(join(root, 'sys/class/net'), { recursive: true })
    })
    afterEach(() => rmSync(root, { recursive: true, force: true }))

    const put = (path: string, content: string) => {
        mkdirSync(dirname(join(root, path)), { recursive: true })
        writeFileSync(join(root, path), content)
    }

    /** `device` is a path below /sys/devices; without one the interface is virtual. */
    function iface(name: string, files: Record<string, string>, device?: string, driver?: string): void {
        const home = device === undefined ? `virtual/net/${name}` : `${device}/net/${name}`
        mkdirSync(join(root, 'sys/devices', home), { recursive: true })
        symlinkSync(`../../devices/${home}`, join(root, 'sys/class/net', name))
        for (const [file, content] of Object.entries(files))
            put(`sys/devices/${home}/${file}`, `${content}\n`)
        if (device === undefined) return
        symlinkSync('../..', join(root, 'sys/devices', home, 'device'))
        if (driver !== undefined)
            symlinkSync(`/x/drivers/${driver}`, join(root, 'sys/devices', device, 'driver'))
    }

    test('has cards, and they are told apart', () => {
        iface(
            'eno1',
            { address: '52:54:00:00:00:01', addr_assign_type: '0', ifindex: '2' },
            'pci0000:00/0000:00:1c.0/0000:01:00.0',
            'igb',
        )
        put(
            'run/udev/data/n2',
            'I:123\nE:ID_PATH=pci-0000:01:00.0\nE:ID_NET_NAME_PATH=enp1s0\nE:ID_NET_NAME_SLOT=ens1\n' +
                'E:ID_NET_NAME_ONBOARD=eno1\nE:ID_SERIAL=a=b\nG:systemd\n',
        )
        // Enslaved: its address is that of the bond, and the kernel alone knows its own.
        iface(
            'eno2',
            { address: '52:54:00:00:00:01', addr_assign_type: '3', ifindex: '3' },
            'pci0000:00/0000:00:12.0/virtio4',
        )
        iface('vmbr0', { address: '52:54:00:00:00:01', addr_assign_type: '3', ifindex: '4' })
        iface('tap100i0', { address: '52:54:00:00:00:09', ifindex: '5' })
        put('sys/class/net/bonding_masters', 'bond0\n')
        const links: Link[] = [
            {
                index: 3,
                name: 'eno2',
                altnames: ['enp0s18'],
                mac: '52:54:00:00:00:01',
                permanentMac: '52:54:00:00:00:02',
            },
        ]
        expect(readNics(root, links)).toEqual([
            {
                name: 'eno1',
                permanentMac: '52:54:00:00:00:01',
                mac: '52:54:00:00:00:01',
                driver: 'igb',
                pciSlot: '0000:01:00.0',
                devicePath: 'pci0000:00/0000:00:1c.0/0000:01:00.0',
                serial: 'a=b',
                path: 'pci-0000:01:00.0',
                netNamePath: 'enp1s0',
                netNameSlot: 'ens1',
                netNameOnboard: 'eno1',
            },
            {
                name: 'eno2',
                altnames: ['enp0s18'],
                permanentMac: '52:54:00:00:00:02',
                mac: '52:54:00:00:00:01',
                pciSlot: '0000:00:12.0',
                devicePath: 'pci0000:00/0000:00:12.0',
            },
        ])
        // Without the kernel's word an address that somebody set is not taken for the card's own.
        expect(readNics(root)[1]!.permanentMac).toBeUndefined()
    })

    test('virtual cables are cards in a container, and only there', () => {
        iface('eth0', { address: '02:00:00:00:00:01', addr_assign_type: '3' })
        iface('br0', { address: '02:00:00:00:00:02', addr_assign_type: '1' })
        const links: Link[] = [
            { index: 2, name: 'eth0', altnames: [], kind: 'veth', mac: '02:00:00:00:00:01' },
            { index: 3, name: 'br0', altnames: [], kind: 'bridge' },
        ]
        expect(readNics(root, links)).toEqual([])
        put('run/systemd/container', 'lxc\n')
        expect(readNics(root, links)).toEqual([{ name: 'eth0', mac: '02:00:00:00:00:01' }])
    })

    test('without a sysfs has none', () => {
        rmSync(join(root, 'sys'), { recursive: true })
        expect(readNics(root)).toEqual([])
    })
})

test('the kernel lists the loopback', () => {
    expect(readLinks().find(({ name }) => name === 'lo')).toMatchObject({
        index: 1,
        mac: '00:00:00:00:00:00',
    })
})

const ip = Bun.which('ip')
const namespace = ['unshare', '--net', '--mount', 'sh', '-ec']
const canIsolate =
    ip !== null &&
    process.getuid?.() === 0 &&
    Bun.spawnSync([...namespace, 'mount -t sysfs none /sys && ip link add va type veth peer name vb'])
        .exitCode === 0
if (!canIsolate) console.log('skip: real interfaces need root, ip and network namespaces')

describe.if(canIsolate)('real interfaces of a container', () => {
    test('names, addresses and alternative names, whatever they are called at the moment', () => {
        const script = `
            mount -t sysfs none /sys
            mount -t tmpfs none /run
            mkdir -p /run/systemd
            echo lxc > /run/systemd/container
            ip link add eth0 address 02:00:00:00:00:11 type veth peer name eth1 address 02:00:00:00:00:22
            ip link add vmbr0 type bridge
            ip link add link eth0 name eth0.5 type vlan id 5 2>/dev/null || true
            i=0; while [ $i -lt 200 ]; do ip link add br$i type bridge; i=$((i+1)); done
            ip link property add dev eth1 altname enp1s0
            ip link set eth0 name swap0; ip link set eth1 name eth0; ip link set swap0 name eth1
            "$0" -e "$1"
        `
        const program = `
            import { readNics } from ${JSON.stringify(join(import.meta.dir, '../../src/host/nics.ts'))}
            console.log(JSON.stringify(readNics()))
        `
        const child = Bun.spawnSync([...namespace, script, process.execPath, program], { timeout: 20_000 })
        expect(child.stderr.toString()).toBe('')
        expect(JSON.parse(child.stdout.toString())).toEqual([
            { name: 'eth0', altnames: ['enp1s0'], mac: '02:00:00:00:00:22' },
            { name: 'eth1', mac: '02:00:00:00:00:11' },
        ])
    }, 25_000)
})
