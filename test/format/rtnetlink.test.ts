/** The kernel's list of interfaces, from messages put together here as linux/rtnetlink.h has them. */
import { expect, test } from 'bun:test'
import { parseLinks } from '../../src/format/rtnetlink.ts'
import { seeded } from '../sim/random.ts'

function attribute(type: number, value: Uint8Array | string): Buffer {
    const content = typeof value === 'string' ? Buffer.from(`${value}\0`) : Buffer.from(value)
    const bytes = Buffer.alloc(4 + Math.ceil(content.length / 4) * 4)
    bytes.writeUInt16LE(4 + content.length, 0)
    bytes.writeUInt16LE(type, 2)
    content.copy(bytes, 4)
    return bytes
}

function message(type: number, ...parts: Buffer[]): Buffer {
    const head = Buffer.alloc(16)
    head.writeUInt32LE(16 + parts.reduce((sum, { length }) => sum + length, 0), 0)
    head.writeUInt16LE(type, 4)
    return Buffer.concat([head, ...parts])
}

const info = (index: number) => {
    const bytes = Buffer.alloc(16)
    bytes.writeInt32LE(index, 4)
    return bytes
}
const nested = 0x8000

const card = message(
    16,
    info(3),
    attribute(3, 'enp9s0'),
    attribute(1, Uint8Array.of(0x52, 0x54, 0, 0, 0, 0x0a)),
    attribute(54, Uint8Array.of(0x52, 0x54, 0, 0, 0, 0x0b)),
    attribute(52 | nested, Buffer.concat([attribute(53, 'eno1'), attribute(53, 'a-very-long-alternative')])),
)
const veth = message(
    16,
    info(4),
    attribute(3, 'eth0'),
    attribute(18 | nested, Buffer.concat([attribute(1, 'veth'), attribute(2, Uint8Array.of())])),
)

test('names, kinds, addresses and alternative names', () => {
    expect(parseLinks([Buffer.concat([card, veth]), message(3, Buffer.alloc(4))])).toEqual([
        {
            index: 3,
            name: 'enp9s0',
            mac: '52:54:00:00:00:0a',
            permanentMac: '52:54:00:00:00:0b',
            altnames: ['eno1', 'a-very-long-alternative'],
        },
        { index: 4, name: 'eth0', kind: 'veth', altnames: [] },
    ])
})

test('what is cut off or mangled neither hangs nor throws', () => {
    const whole = Buffer.concat([card, veth])
    for (let length = 0; length <= whole.length; length++) parseLinks([whole.subarray(0, length)])
    const random = seeded(7)
    for (let round = 0; round < 2000; round++) {
        const mangled = Buffer.from(whole)
        for (let edits = 0; edits < 4; edits++) mangled[random.int(mangled.length)] = random.int(256)
        expect(parseLinks([mangled]).length).toBeLessThan(10)
    }
})
