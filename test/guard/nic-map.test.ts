/** Cards of a backup and of a host: who is who, what is renamed without asking, what is a conflict, which rules name cards. */
import { describe, expect, test } from 'bun:test'
import type { Nic } from '../../src/format/nic-inventory.ts'
import { mapNics, namingRules, type Rename, renameMap } from '../../src/guard/nic-map.ts'
import { seeded } from '../sim/random.ts'

const mac = (n: number) => `52:54:00:00:00:${n.toString(16).padStart(2, '0')}`
/** A card with an address of its own. */
const card = (name: string, n: number, more: Partial<Nic> = {}): Nic => ({
    name,
    permanentMac: mac(n),
    mac: mac(n),
    ...more,
})
const pairs = (renames: readonly Rename[]) => renames.map(({ from, to }) => `${from}>${to}`).sort()
const used = (...names: string[]) => new Set(names)

describe('who is who', () => {
    test('the same card under another name is renamed', () => {
        const map = mapNics([card('eno1', 1), card('eno2', 2)], [card('enp3s0', 1), card('eno2', 2)])
        expect(map.renames).toEqual([{ from: 'eno1', to: 'enp3s0', by: 'permanent MAC' }])
        expect([map.conflicts, map.unmatched, map.unknown]).toEqual([[], [], []])
        expect(map.matches.map(({ saved, live }) => [saved.name, live.name])).toEqual([
            ['eno1', 'enp3s0'],
            ['eno2', 'eno2'],
        ])
    })

    test('a swap and a cycle are renamed in one go', () => {
        const saved = [card('a', 1), card('b', 2), card('c', 3), card('d', 4), card('e', 5)]
        const live = [card('b', 1), card('a', 2), card('d', 3), card('e', 4), card('c', 5)]
        const map = mapNics(saved, live)
        expect(pairs(map.renames)).toEqual(['a>b', 'b>a', 'c>d', 'd>e', 'e>c'])
        expect(map.conflicts).toEqual([])
        expect(renameMap(map.renames).get('a')).toBe('b')
    })

    const ways: [string, Partial<Nic>][] = [
        ['permanent MAC', { permanentMac: mac(9) }],
        ['MAC', { mac: mac(9) }],
        ['serial number', { serial: 'S9' }],
        ['PCI slot', { pciSlot: '0000:09:00.0' }],
        ['ID_PATH', { path: 'pci-0000:09:00.0' }],
        ['device path', { devicePath: 'pci0000:00/0000:09:00.0' }],
        ['ID_NET_NAME_PATH', { netNamePath: 'enp9s0' }],
        ['ID_NET_NAME_SLOT', { netNameSlot: 'ens9' }],
        ['ID_NET_NAME_ONBOARD', { netNameOnboard: 'eno9' }],
    ]
    test.each(ways)('by %s, when nothing surer tells', (by, facts) => {
        const map = mapNics([{ name: 'old', ...facts }], [{ name: 'new', ...facts }, { name: 'other' }])
        expect(map.renames.map(({ from, to, by }) => ({ from, to, by: by as string }))).toEqual([
            { from: 'old', to: 'new', by },
        ])
    })

    test('the surer of two identities decides', () => {
        for (let first = 0; first < ways.length; first++)
            for (let second = first + 1; second < ways.length; second++) {
                const strong = ways[first]![1]
                const weak = ways[second]![1]
                const map = mapNics(
                    [{ name: 'old', ...strong, ...weak }],
                    [
                        { name: 'place', ...weak },
                        { name: 'self', ...strong },
                    ],
                )
                expect(pairs(map.renames)).toEqual(['old>self'])
            }
    })

    test('a value that two cards have proves nothing, on whichever side', () => {
        const one = { name: 'old', mac: mac(1) }
        const twins = [
            { name: 'x', mac: mac(1) },
            { name: 'y', mac: mac(1) },
        ]
        expect(mapNics([one], twins).matches).toEqual([])
        expect(mapNics(twins, [one]).matches).toEqual([])
        // Ports of a bond have one address, and each still its own.
        const bonded = [card('eno1', 1), { ...card('eno2', 2), mac: mac(1) }]
        const fresh = [card('p1', 1), card('p2', 2)]
        expect(pairs(mapNics(bonded, fresh).renames)).toEqual(['eno1>p1', 'eno2>p2'])
        expect(mapNics(twins, fresh).renames).toEqual([])
    })

    test('a card that is known leaves its old slot to nobody', () => {
        const saved = [card('eno1', 1, { pciSlot: 's1' }), card('eno2', 2, { pciSlot: 's2' })]
        // The first card sits in the second slot now, a new one in the first; the second is gone.
        const live = [card('p1', 7, { pciSlot: 's1' }), card('p2', 1, { pciSlot: 's2' })]
        const map = mapNics(saved, live)
        expect(pairs(map.renames)).toEqual(['eno1>p2'])
        expect(map.unmatched).toEqual([{ saved: saved[1]! }])
        expect(map.unknown).toEqual([live[0]!])
    })
})

describe('conflicts', () => {
    test('a card that the backup does not know has the saved name', () => {
        const other = card('eno1', 7)
        const map = mapNics([card('eno1', 1)], [card('enp3s0', 1), other])
        expect(map.renames).toEqual([])
        expect(map.conflicts).toEqual([
            {
                renames: [{ from: 'eno1', to: 'enp3s0', by: 'permanent MAC' }],
                clashes: [{ name: 'eno1', why: 'other-card', live: other }],
            },
        ])
    })

    test('the new name still belongs to a card of the backup that is not here', () => {
        const live = card('eno1', 2)
        const map = mapNics([card('eno1', 1), card('eno2', 2)], [live])
        expect(map.renames).toEqual([])
        expect(map.conflicts.map(({ clashes }) => clashes)).toEqual([
            [{ name: 'eno1', why: 'still-used', live }],
        ])
        expect(map.unmatched.map(({ saved, namesake }) => [saved.name, namesake])).toEqual([['eno1', live]])
    })

    test('the new name is that of a bridge in the saved configuration', () => {
        const map = mapNics([card('eno1', 1)], [card('lan0', 1)], used('eno1', 'lan0'))
        expect(map.renames).toEqual([])
        expect(map.conflicts[0]!.clashes[0]).toMatchObject({ name: 'lan0', why: 'still-used' })
        expect(pairs(mapNics([card('eno1', 1)], [card('lan0', 1)], used('eno1')).renames)).toEqual([
            'eno1>lan0',
        ])
    })

    test('a chain is done as a whole or not at all; what it does not touch is done', () => {
        const saved = [card('a', 1), card('b', 2), card('z', 3)]
        const live = [card('b', 1), card('c', 2), card('a', 9), card('y', 3)]
        const map = mapNics(saved, live)
        expect(pairs(map.renames)).toEqual(['z>y'])
        expect(map.conflicts.map(({ renames }) => pairs(renames))).toEqual([['a>b', 'b>c']])
    })

    test('a new card under an old name is told, because the settings will be its', () => {
        const map = mapNics([card('eno1', 1)], [card('eno1', 7)])
        expect([map.renames, map.conflicts]).toEqual([[], []])
        expect(map.unmatched).toEqual([{ saved: card('eno1', 1), namesake: card('eno1', 7) }])
    })

    test('cards that the configuration does not mention make none', () => {
        const map = mapNics([card('eno1', 1), card('eno2', 2)], [card('eno1', 2)], used('eno2'))
        expect(pairs(map.renames)).toEqual(['eno2>eno1'])
        expect([map.conflicts, map.unmatched]).toEqual([[], []])
    })
})

describe('alternative names', () => {
    test('that the configuration uses are renamed where the card has them no more', () => {
        const saved = card('nic0', 1, { altnames: ['enp1s0', 'ens3'] })
        const live = card('enp5s0', 1, { altnames: ['ens3'] })
        expect(pairs(mapNics([saved], [live], used('enp1s0', 'ens3')).renames)).toEqual(['enp1s0>enp5s0'])
        expect(mapNics([saved], [live], used('vmbr0')).renames).toEqual([])
    })

    test('become the name that the card has kept', () => {
        const saved = card('nic0', 1, { altnames: ['enp1s0'] })
        const map = mapNics([saved], [card('nic0', 1)], used('nic0', 'enp1s0'))
        expect(pairs(map.renames)).toEqual(['enp1s0>nic0'])
    })

    test('of another card are in the way like its name', () => {
        const other = card('enp9s0', 7, { altnames: ['eno1'] })
        const map = mapNics([card('eno1', 1)], [card('enp3s0', 1), other])
        expect(map.conflicts[0]!.clashes).toEqual([{ name: 'eno1', why: 'other-card', live: other }])
    })
})

test('whatever the cards are: one to one, and no two names become one', () => {
    const random = seeded(20_261_122)
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    const made = (): Nic[] => {
        const left = [...names].sort(() => (random.chance(0.5) ? 1 : -1))
        return Array.from({ length: random.int(6) }, () => {
            const nic: Nic = { name: left.pop()! }
            if (random.chance(0.7)) nic.permanentMac = mac(random.int(6))
            if (random.chance(0.7)) nic.mac = mac(random.int(6))
            if (random.chance(0.7)) nic.pciSlot = `s${random.int(6)}`
            return nic
        })
    }
    let renamed = 0
    let asked = 0
    for (let round = 0; round < 5000; round++) {
        const saved = made()
        const live = made()
        const mentioned = new Set(names.filter(() => random.chance(0.8)))
        const map = mapNics(saved, live, mentioned)
        expect(new Set(map.matches.map(match => match.live)).size).toBe(map.matches.length)
        expect(new Set(map.matches.map(match => match.saved)).size).toBe(map.matches.length)
        // What the configuration mentions are as many names afterwards as before, none of them shared.
        const after = renameMap(map.renames)
        const result = [...mentioned].map(name => after.get(name) ?? name)
        expect(new Set(result).size, `round ${round}`).toBe(mentioned.size)
        for (const { from, to } of map.renames) {
            expect(mentioned.has(from)).toBe(true)
            expect(live.some(nic => nic.name === to)).toBe(true)
        }
        renamed += map.renames.length
        asked += map.conflicts.length
    }
    expect(renamed).toBeGreaterThan(200)
    expect(asked).toBeGreaterThan(500)
})

describe('naming rules', () => {
    const rules = (path: string, text: string) =>
        namingRules([{ path, text }]).map(({ line, text }) => [line, text])

    test('of udev', () => {
        const path = '/etc/udev/rules.d/70-persistent-net.rules'
        expect(
            rules(
                path,
                `# SUBSYSTEM=="net", NAME="commented"
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:00:00:01", NAME="lan0"

SUBSYSTEM=="net", \\
  ATTR{address}=="52:54:00:00:00:02", NAME:="wan0"
SUBSYSTEM=="net", NAME = "spaced"
SUBSYSTEM=="net", PROGRAM="/bin/x", NAME="%c"
`,
            ),
        ).toEqual([
            [2, 'SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="52:54:00:00:00:01", NAME="lan0"'],
            [4, 'SUBSYSTEM=="net", ATTR{address}=="52:54:00:00:00:02", NAME:="wan0"'],
            [6, 'SUBSYSTEM=="net", NAME = "spaced"'],
            [7, 'SUBSYSTEM=="net", PROGRAM="/bin/x", NAME="%c"'],
        ])
        expect(rules(path, '# a comment never goes on \\\nNAME="lan0"\n')).toEqual([[2, 'NAME="lan0"']])
        for (const text of [
            'SUBSYSTEM=="net", NAME=="eth0", RUN+="/bin/x"',
            'SUBSYSTEM=="net", NAME!="eth0"',
            'SUBSYSTEM=="net", NAME=""',
            'ENV{NAME}="lan0"',
            'ENV{ID_NET_NAME}="lan0"',
            'RUN+="/bin/sh -c \'NAME=\\"x\\"\'", MYNAME="x"',
            'broken NAME lan0',
            '# NAME="x" \\',
        ])
            expect(rules(path, text), text).toEqual([])
    })

    test('of systemd, in link files and what is added to them', () => {
        const text = `[Match]\nMACAddress=52:54:00:00:00:01\nName=old\n\n[Link]\n#Name=no\nName = nic0\nNamePolicy=mac\nNamePolicy=\nMTUBytes=9000\n`
        const expected: [number, string][] = [
            [7, 'Name = nic0'],
            [8, 'NamePolicy=mac'],
        ]
        expect(rules('/usr/local/lib/systemd/network/50-pmx-nic0.link', text)).toEqual(expected)
        expect(rules('/etc/systemd/network/10-x.link.d/name.conf', text)).toEqual(expected)
        expect(rules('/etc/systemd/network/10-x.network', text)).toEqual([])
        expect(rules('/etc/systemd/network/10-x.link.txt', text)).toEqual([])
    })

    test('of ifupdown', () => {
        const text = 'auto lo\nrename eno1=lan0\n# rename x=y\n'
        expect(rules('/etc/network/interfaces', text)).toEqual([[2, 'rename eno1=lan0']])
        expect(rules('etc/network/interfaces.d/names', text)).toEqual([[2, 'rename eno1=lan0']])
        expect(rules('/etc/network/if-up.d/names', text)).toEqual([])
    })

    test('of a megabyte cost no time', () => {
        const started = performance.now()
        for (const piece of ['A', 'A{', '="', 'NAME=="\\', ', ', 'A="b",'])
            namingRules([{ path: 'x.rules', text: piece.repeat(1_000_000 / piece.length) }])
        expect(performance.now() - started).toBeLessThan(3_000)
    })
})
