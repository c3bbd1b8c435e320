/** The inventory of cards: ours comes back as it was written or is refused, the Go tool's gives the cards in it. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import {
    type Nic,
    nicOf,
    parseNicInventory,
    parseUpstreamInventory,
    writeNicInventory,
} from '../../src/format/nic-inventory.ts'
import { seeded } from '../sim/random.ts'

const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))

const full: Nic = {
    name: 'enp1s0f0',
    altnames: ['eno1', 'a-name-of-more-than-fifteen'],
    permanentMac: '52:54:00:00:00:01',
    mac: '52:54:00:00:00:02',
    driver: 'igb',
    pciSlot: '0000:01:00.0',
    devicePath: 'pci0000:00/0000:00:1c.0/0000:01:00.0',
    serial: 'Vendor_1',
    path: 'pci-0000:01:00.0',
    netNamePath: 'enp1s0f0',
    netNameSlot: 'ens1f0',
    netNameOnboard: 'eno1',
}

describe('our own', () => {
    test('comes back as it was written', () => {
        const nics: Nic[] = [full, { name: 'eth0' }]
        expect(parseNicInventory(writeNicInventory(nics))).toEqual(nics)
        expect(parseNicInventory(writeNicInventory([]))).toEqual([])
    })

    test.each([
        ['', 'it is not valid JSON'],
        ['null', 'its format is missing'],
        [{ format: 'proxsave-nics/2', nics: [] }, 'its format is "proxsave-nics/2"'],
        [{ format: 'proxsave-nics/1' }, '/nics'],
        [{ format: 'proxsave-nics/1', nics: [{ name: 'eth0', speed: 1 }] }, '/nics/0/speed'],
        [{ format: 'proxsave-nics/1', nics: [{ mac: '52:54:00:00:00:01' }] }, '/nics/0/name'],
        [{ format: 'proxsave-nics/1', nics: [{ name: 'sixteen-letters-' }] }, '/nics/0/name'],
        [{ format: 'proxsave-nics/1', nics: [{ name: '../eth0' }] }, '/nics/0/name'],
        [{ format: 'proxsave-nics/1', nics: [{ name: 'eth0', mac: '52:54:00:00:00:0A' }] }, '/nics/0/mac'],
        [{ format: 'proxsave-nics/1', nics: [{ name: 'eth0' }, { name: 'eth0' }] }, 'eth0 is in it twice'],
    ])('%j is refused', (value, why) => {
        expect(() => parseNicInventory(bytes(value))).toThrow(why)
    })
})

describe('that of the Go tool', () => {
    const inventory = {
        generated_at: '2026-01-02T03:04:05+01:00',
        hostname: 'pve1',
        interfaces: [
            {
                name: 'eno1',
                mac: '52:54:00:00:00:02',
                permanent_mac: '52:54:00:00:00:0A',
                driver: 'igb',
                pci_path: '/sys/devices/pci0000:00/0000:00:1c.0/0000:01:00.0',
                ifindex: 2,
                oper_state: 'up',
                speed_mbps: 1000,
                system_net_path: '/sys/class/net/eno1',
                udev_properties: {
                    ID_PATH: 'pci-0000:01:00.0',
                    ID_NET_NAME_PATH: 'enp1s0',
                    ID_NET_NAME_SLOT: '',
                    ID_NET_NAME_ONBOARD: 'eno1',
                    SUBSYSTEM: 'net',
                },
            },
            {
                name: 'ens18',
                mac: 'bc:24:11:00:00:01',
                permanent_mac: 'not set',
                pci_path: '/sys/devices/pci0000:00/0000:00:12.0/virtio2',
            },
            { name: 'vmbr0', mac: '52:54:00:00:00:02', is_virtual: true },
            { name: 'tap100i0', mac: '00:00:00:00:00:00' },
        ],
    }

    test('gives the physical cards, in our shape', () => {
        expect(parseUpstreamInventory(bytes(inventory))).toEqual([
            {
                name: 'eno1',
                permanentMac: '52:54:00:00:00:0a',
                mac: '52:54:00:00:00:02',
                driver: 'igb',
                pciSlot: '0000:01:00.0',
                devicePath: 'pci0000:00/0000:00:1c.0/0000:01:00.0',
                path: 'pci-0000:01:00.0',
                netNamePath: 'enp1s0',
                netNameOnboard: 'eno1',
            },
            {
                name: 'ens18',
                mac: 'bc:24:11:00:00:01',
                pciSlot: '0000:00:12.0',
                devicePath: 'pci0000:00/0000:00:12.0',
            },
        ])
        expect(parseUpstreamInventory(bytes({ interfaces: null }))).toEqual([])
    })

    test.each([
        ['[]', 'no list of interfaces'],
        ['null', 'no list of interfaces'],
        [{ interfaces: [7] }, 'no object'],
        [{ interfaces: [{ mac: 'x' }] }, 'no usable name'],
        [{ interfaces: [{ name: 'a b' }] }, 'no usable name'],
    ])('%j is refused', (value, why) => {
        expect(() => parseUpstreamInventory(bytes(value))).toThrow(why)
    })
})

test('addresses that no card has say nothing', () => {
    for (const mac of ['00:00:00:00:00:00', 'FF:FF:FF:FF:FF:FF', '', 'garbage', 7, undefined])
        expect(nicOf({ name: 'a', mac })).toEqual({ name: 'a' })
})

test('a USB card keeps its whole path, because its controller has others', () => {
    const device = '/devices/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0'
    expect(nicOf({ name: 'a', device })).toEqual({ name: 'a', devicePath: device.slice('/devices/'.length) })
})

test('whatever stands in it: cards or a fault', () => {
    const random = seeded(20_261_121)
    const samples = [
        writeNicInventory([full]),
        bytes({ interfaces: [{ name: 'a', pci_path: '/b', udev_properties: { ID_PATH: 'c' } }] }),
    ]
    const rounds = Number(process.env.PROXSAVE_FUZZ ?? 2000)
    let read = 0
    for (let round = 0; round < rounds; round++) {
        const mutated = Buffer.from(random.pick(samples))
        for (let edits = random.int(4); edits >= 0; edits--)
            mutated[random.int(mutated.length)] = random.chance(0.7)
                ? random.pick([...Buffer.from('{}[]",:0an/ \\-')])
                : random.int(256)
        for (const parse of [parseNicInventory, parseUpstreamInventory])
            try {
                parse(mutated)
                read++
            } catch (error) {
                expect(error).toBeInstanceOf(Fault)
            }
    }
    expect(read).toBeGreaterThan(rounds / 100)
})
