/** IP addresses as text, held against Node's own idea of them. */
import { expect, test } from 'bun:test'
import { isIP } from 'node:net'
import { ipFamily, isInNetwork, parseIpAddress } from '../../src/format/ip-address.ts'

const good = [
    '0.0.0.0',
    '192.0.2.255',
    '::',
    '::1',
    'fe80::1',
    '1:2:3:4:5:6:7:8',
    '1::8',
    '::ffff:192.0.2.1',
    '1:2:3:4:5:6:192.0.2.1',
    '1:2:3:4:5:6:7::',
    'fe80::1%eth0',
]
const bad = [
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3.4 ',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
    'g::',
    '::1.2.3',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '1:',
    ':1',
    'fe80::1%',
]

test('takes what Node takes, and nothing else', () => {
    for (const text of [...good, ...bad])
        expect([text, ipFamily(text) ?? 0]).toEqual([text, isIP(text) as 0 | 4 | 6])
    for (const text of bad) expect(parseIpAddress(text)).toBeUndefined()
})

test('random texts of the right letters', () => {
    let seed = 7
    const next = (most: number) => {
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        return (seed >> 8) % most
    }
    for (let round = 0; round < 20_000; round++) {
        const text = Array.from({ length: next(24) }, () => '::::..0129af'[next(12)]).join('')
        expect([text, ipFamily(text) ?? 0]).toEqual([text, isIP(text) as 0 | 4 | 6])
    }
})

test('bytes', () => {
    expect([...parseIpAddress('1::192.0.2.1')!]).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1])
})

test('networks', () => {
    expect(isInNetwork('192.0.2.77', '192.0.2.64', 26)).toBe(true)
    expect(isInNetwork('192.0.2.128', '192.0.2.64', 26)).toBe(false)
    expect(isInNetwork('fd00:1::5', 'fd00::', 16)).toBe(true)
    expect(isInNetwork('fd00:1::5', 'fd00::', 32)).toBe(false)
    expect(isInNetwork('192.0.2.1', '0.0.0.0', 0)).toBe(true)
    for (const bits of [-1, 33, 1.5, Number.NaN])
        expect(isInNetwork('192.0.2.1', '192.0.2.1', bits)).toBe(false)
    expect(isInNetwork('192.0.2.1', '::', 0)).toBe(false)
})
