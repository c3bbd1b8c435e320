/** What is written down about an area before, after, and after a rollback. */
import type { Argv } from './record.ts'

export interface Diagnostic {
    file: string
    argv: Argv
    okStatuses?: number[]
}

export const networkDiagnostics: readonly Diagnostic[] = [
    { file: 'addresses.txt', argv: ['ip', 'addr'] },
    { file: 'addresses.json', argv: ['ip', '-j', 'addr'] },
    { file: 'links.txt', argv: ['ip', '-d', '-s', 'link'] },
    { file: 'routes.txt', argv: ['ip', 'route', 'show', 'table', 'all'] },
    { file: 'routes6.txt', argv: ['ip', '-6', 'route', 'show', 'table', 'all'] },
    { file: 'rules.txt', argv: ['ip', 'rule'] },
    { file: 'rules6.txt', argv: ['ip', '-6', 'rule'] },
    { file: 'bridges.txt', argv: ['bridge', 'link'] },
    { file: 'resolver.txt', argv: ['cat', '/etc/resolv.conf'] },
    // Says what differs from the files, which it may well do before anything was changed.
    { file: 'ifquery.txt', argv: ['ifquery', '--check', '-a'], okStatuses: [0, 1] },
    { file: 'networkctl.txt', argv: ['networkctl', '--no-pager', '--all', 'status'], okStatuses: [0, 1] },
    { file: 'nmcli.txt', argv: ['nmcli', 'device', 'show'], okStatuses: [0, 8, 10] },
]

export const sshDiagnostics: readonly Diagnostic[] = [
    { file: 'sshd-effective.txt', argv: ['sshd', '-T'], okStatuses: [0, 1, 255] },
    {
        file: 'units.txt',
        argv: ['systemctl', '--no-pager', 'status', 'ssh.service', 'ssh.socket'],
        okStatuses: [0, 3, 4],
    },
    { file: 'listening.txt', argv: ['ss', '-tlnpH'] },
]

export const firewallDiagnostics: readonly Diagnostic[] = [
    { file: 'nftables.txt', argv: ['nft', 'list', 'ruleset'] },
    { file: 'iptables.txt', argv: ['iptables-save'], okStatuses: [0, 1] },
    { file: 'ip6tables.txt', argv: ['ip6tables-save'], okStatuses: [0, 1] },
    { file: 'listening.txt', argv: ['ss', '-tlnpH'] },
]

export const accessDiagnostics: readonly Diagnostic[] = [
    { file: 'root.txt', argv: ['getent', 'passwd', 'root'], okStatuses: [0, 2] },
    { file: 'sudo.txt', argv: ['sudo', '-n', '-l'], okStatuses: [0, 1] },
]
