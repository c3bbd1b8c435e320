/** Host firewall */
import type { Category } from '../category.ts'

export const hostFirewall: Category = {
    id: 'host_firewall',
    title: 'Host firewall',
    product: 'common',
    paths: [
        '/etc/nftables.conf',
        '/etc/nftables.d/',
        '/etc/nftables/',
        '/etc/iptables/',
        '/etc/iptables.*',
        '/etc/ipset.conf',
        '/etc/ufw/',
        '/etc/default/ufw',
        '/etc/firewalld/',
        '/etc/ferm/',
        '/etc/default/ferm',
        '/etc/shorewall/',
        '/etc/shorewall6/',
        '/etc/hosts.allow',
        '/etc/hosts.deny',
        '/etc/fail2ban/',
    ],
    commands: [
        { file: 'nftables.txt', argv: ['nft', 'list', 'ruleset'] },
        { file: 'iptables.txt', argv: ['iptables-save'], okStatuses: [0, 1] },
        { file: 'ip6tables.txt', argv: ['ip6tables-save'], okStatuses: [0, 1] },
        { file: 'ufw.txt', argv: ['ufw', 'status', 'verbose'] },
    ],
    strategy: 'guarded',
    area: 'firewall',
    risk: 'lock-out',
    modes: ['full'],
    about: 'Packet filters outside PVE, TCP wrappers and fail2ban.',
}
