/** The network configuration: stanzas with their options, and that it is written back byte for byte. */
import { describe, expect, test } from 'bun:test'
import { optionsOf, parseInterfaces, writeInterfaces } from '../../src/format/interfaces.ts'

const text = `# top
auto lo
iface lo inet loopback

iface vmbr0 inet static
\taddress  192.0.2.10/24
\tpost-up echo 1 > \\
\t\t/proc/x
#note \\
# second

    bridge-ports none
allow-hotplug eth0 eth1`

describe('the network configuration', () => {
    test('is stanzas, of which interfaces have options', () => {
        const { lead, stanzas } = parseInterfaces(text)
        expect(lead.map(({ raw }) => raw)).toEqual(['# top'])
        expect(stanzas.map(({ keyword, words, line }) => [line, keyword, ...words])).toEqual([
            [2, 'auto', 'lo'],
            [3, 'iface', 'lo', 'inet', 'loopback'],
            [5, 'iface', 'vmbr0', 'inet', 'static'],
            [13, 'allow-hotplug', 'eth0', 'eth1'],
        ])
        expect(optionsOf(stanzas[2]!).map(({ key, value }) => [key, value])).toEqual([
            ['address', '192.0.2.10/24'],
            ['post-up', 'echo 1 >  \t\t/proc/x'],
            ['bridge-ports', 'none'],
        ])
    })

    test.each([text, `${text}\n`, '', '\n\n', '# x', 'auto a \\\n', 'auto a\\', 'iface a\r\n\tmtu 9000\r\n'])(
        'is written back as %j',
        text => {
            expect(writeInterfaces(parseInterfaces(text))).toBe(text)
        },
    )

    test('keeps what belongs to a template', () => {
        const template = '%for i in range(2):\n<%include file="x"/>\nmagic\n%endfor\n'
        expect(writeInterfaces(parseInterfaces(template))).toBe(template)
        expect(() => parseInterfaces('magic\n')).toThrow('line 1: "magic" belongs to no interface')
    })
})
