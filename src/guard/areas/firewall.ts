/** The host's own packet filters, by whichever program loads them. */
import type { AreaHost, Check, Finding, GuardArea } from '../area.ts'
import { firewallDiagnostics } from '../diagnostics.ts'
import { finding, said, sshHealth } from '../health.ts'
import { type LoaderWay, loadersOf } from '../load.ts'
import type { Argv } from '../record.ts'
import { unchecked, unseen } from '../shown.ts'

const bounds = { checkMs: 20_000, loadMs: 30_000 } as const

export const firewall: GuardArea = {
    id: 'firewall',
    diagnostics: firewallDiagnostics,

    async checks(host, area, candidate) {
        const checks: Check[] = []
        const findings: Finding[] = []
        for (const { program, argv, shape, refuse } of checkers) {
            const concerned = host.has(program) && candidate.changed.some(path => shape.test(path))
            // A file that goes away leaves nothing to check.
            if (!concerned || candidate.read(argv.at(-1)!) === undefined) continue
            const hidden = unseen(host, area, candidate, shape)
            if (hidden.length > 0) findings.push(unchecked(program, hidden))
            else
                checks.push({ title: `${program} checks the rules`, argv, timeoutMs: bounds.checkMs, refuse })
        }
        return { problems: [], checks, findings }
    },

    async ways(host, candidate) {
        const loads: [string, LoaderWay[]][] = []
        for (const loader of loaders)
            if (
                candidate.changed.some(path => loader.shape.test(path)) &&
                (await host.active(loader.unit)) === 'active'
            )
                loads.push([loader.unit, waysOf(host, loader)])
        return loadersOf(loads)
    },

    async health(host, addresses) {
        const [ssh, rules] = await Promise.all([sshHealth(host, addresses), rulesOf(host)])
        return [...ssh, ...rules]
    },
}

const checkers: readonly { program: string; argv: Argv; shape: RegExp; refuse?: RegExp }[] = [
    {
        program: 'nft',
        argv: ['nft', '-c', '-f', '/etc/nftables.conf'],
        shape: /^\/etc\/nftables(\.conf$|\.d\/|\/)/,
        refuse: /: Error: /,
    },
    {
        program: 'iptables-restore',
        argv: ['iptables-restore', '--test', '/etc/iptables/rules.v4'],
        shape: /^\/etc\/iptables\/rules\.v4$/,
    },
    {
        program: 'ip6tables-restore',
        argv: ['ip6tables-restore', '--test', '/etc/iptables/rules.v6'],
        shape: /^\/etc\/iptables\/rules\.v6$/,
    },
]

/** `reload` keeps connections; a restart passes through an open or a closed moment. */
const loaders: readonly { unit: string; shape: RegExp; reload: Argv }[] = [
    {
        unit: 'nftables.service',
        shape: /^\/etc\/nftables(\.conf$|\.d\/|\/)/,
        reload: ['systemctl', 'reload', 'nftables.service'],
    },
    {
        unit: 'netfilter-persistent.service',
        shape: /^\/etc\/(iptables\/|iptables\.|ipset\.conf$)/,
        reload: ['netfilter-persistent', 'reload'],
    },
    { unit: 'ufw.service', shape: /^\/etc\/(ufw\/|default\/ufw$)/, reload: ['ufw', 'reload'] },
    { unit: 'firewalld.service', shape: /^\/etc\/firewalld\//, reload: ['firewall-cmd', '--reload'] },
    {
        unit: 'ferm.service',
        shape: /^\/etc\/(ferm\/|default\/ferm$)/,
        reload: ['systemctl', 'reload', 'ferm.service'],
    },
    { unit: 'shorewall.service', shape: /^\/etc\/shorewall\//, reload: ['shorewall', 'reload'] },
    { unit: 'shorewall6.service', shape: /^\/etc\/shorewall6\//, reload: ['shorewall6', 'reload'] },
    { unit: 'fail2ban.service', shape: /^\/etc\/fail2ban\//, reload: ['fail2ban-client', 'reload'] },
]

function waysOf(host: AreaHost, { unit, reload }: (typeof loaders)[number]): LoaderWay[] {
    const ways = host.has(reload[0])
        ? [{ title: `reload ${unit}`, commands: [reload], timeoutMs: bounds.loadMs }]
        : []
    return [
        ...ways,
        { title: `restart ${unit}`, commands: [['systemctl', 'restart', unit]], timeoutMs: bounds.loadMs },
    ]
}

async function rulesOf(host: AreaHost) {
    if (!host.has('nft')) return []
    const text = await said(host, ['nft', 'list', 'tables'])
    if (text === undefined)
        return [finding('rules', 'warning', 'the rules of the kernel could not be listed')]
    const tables = text.split('\n').filter(line => line !== '').length
    return [finding('rules', 'ok', `the kernel filters with ${tables} ${tables === 1 ? 'table' : 'tables'}`)]
}
