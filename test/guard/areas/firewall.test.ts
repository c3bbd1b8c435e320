/** The area of the host's own packet filters. */
import { describe, expect, test } from 'bun:test'
import { firewall } from '../../../src/guard/areas/firewall.ts'
import { areaOf, candidateOver, type FakeOptions, fakeHost, verdictOf } from './fake-host.ts'
import { nftChecks } from './recorded.ts'

const area = areaOf('firewall')
const rules = '/etc/nftables.conf'
const checksOf = async (options: FakeOptions, changes: Record<string, string | undefined>, where = area) =>
    (await firewall.checks(fakeHost(options), where, candidateOver(options.files ?? {}, changes))).checks
const waysOf = async (options: FakeOptions, changes: Record<string, string>) =>
    (await firewall.ways(fakeHost(options), candidateOver({}, changes))).map(({ commands }) =>
        commands.map(argv => argv.join(' ')),
    )

describe('checks', () => {
    for (const { what, status, output, good } of nftChecks)
        test(`nft on ${what} is ${good ? 'passed' : 'refused'}`, async () => {
            const [check] = await checksOf(
                { programs: ['nft'], files: { [rules]: 'x' } },
                { [rules]: 'flush ruleset' },
            )
            expect(check!.argv.join(' ')).toBe('nft -c -f /etc/nftables.conf')
            expect(verdictOf(check!, status, output) === undefined).toBe(good)
        })

    test('a file that nftables.conf includes is reason enough', async () => {
        const files = { [rules]: 'include "/etc/nftables.d/*.nft"', '/etc/nftables.d/b.nft': '' }
        expect(await checksOf({ programs: ['nft'], files }, { '/etc/nftables.d/a.nft': 'x' })).toHaveLength(1)
    })

    test('none without the program, for a file that goes away, or where the new files are not shown', async () => {
        expect(await checksOf({}, { [rules]: 'x' })).toEqual([])
        expect(
            await checksOf({ programs: ['nft'], files: { [rules]: 'x' } }, { [rules]: undefined }),
        ).toEqual([])
        const files = { [rules]: 'x' }
        expect(
            await checksOf({ programs: ['nft'], files }, { [rules]: 'y' }, { ...area, checked: [] }),
        ).toEqual([])
    })

    test('rules that lie where nothing stands yet are not checked without them: told, and not refused', async () => {
        const host = fakeHost({ programs: ['nft'], files: { [rules]: 'x' } })
        const change = { [rules]: 'include "/etc/nftables.d/a.nft"', '/etc/nftables.d/a.nft': 'y' }
        const { checks, findings } = await firewall.checks(host, area, candidateOver({}, change))
        expect(checks).toEqual([])
        expect(findings!.map(({ text }) => text)).toEqual([
            'nft cannot check /etc/nftables.d/a.nft beforehand',
        ])
    })

    test('rules of iptables, each family by its own program', async () => {
        const programs = ['iptables-restore', 'ip6tables-restore']
        const checks = await checksOf(
            { programs, files: { '/etc/iptables/rules.v4': '' } },
            { '/etc/iptables/rules.v6': '*filter\nCOMMIT\n' },
        )
        expect(checks.map(({ argv }) => argv.join(' '))).toEqual([
            'ip6tables-restore --test /etc/iptables/rules.v6',
        ])
    })
})

describe('how they are loaded', () => {
    test('only by units that run', async () => {
        expect(await waysOf({ programs: ['systemctl'] }, { [rules]: 'x' })).toEqual([])
        const units = { 'nftables.service': 'active' }
        expect(await waysOf({ programs: ['systemctl'], units }, { [rules]: 'x' })).toEqual([
            ['systemctl reload nftables.service'],
            ['systemctl restart nftables.service'],
        ])
    })

    test('several at once, each on its own', async () => {
        const units = { 'ufw.service': 'active', 'fail2ban.service': 'active', 'ferm.service': 'inactive' }
        const programs = ['ufw', 'fail2ban-client']
        expect(
            await waysOf(
                { programs, units },
                { '/etc/ufw/user.rules': 'x', '/etc/fail2ban/jail.local': 'y', '/etc/ferm/ferm.conf': 'z' },
            ),
        ).toEqual([
            ['ufw reload'],
            ['systemctl restart ufw.service'],
            ['fail2ban-client reload'],
            ['systemctl restart fail2ban.service'],
        ])
    })

    test('a program that is gone is not tried', async () => {
        const units = { 'netfilter-persistent.service': 'active' }
        expect(await waysOf({ units }, { '/etc/iptables/rules.v4': 'x' })).toEqual([
            ['systemctl restart netfilter-persistent.service'],
        ])
    })

    test('nothing for TCP wrappers', async () => {
        expect(
            await waysOf({ units: { 'nftables.service': 'active' } }, { '/etc/hosts.deny': 'ALL: ALL' }),
        ).toEqual([])
    })
})

test('health: sshd behind the rules, and a kernel that does not answer', async () => {
    const says = { 'sshd -T': 'listenaddress 0.0.0.0:22\n', 'nft list tables': { hangs: true } }
    const host = fakeHost({ programs: ['sshd', 'nft'], says })
    const findings = await firewall.health(host, { before: [], client: '203.0.113.7' })
    expect(findings.map(({ name, level }) => [name, level])).toEqual([
        ['sshd', 'critical'],
        ['rules', 'warning'],
    ])
})
