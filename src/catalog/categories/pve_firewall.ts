/** PVE firewall */
import type { Category } from '../category.ts'

export const pveFirewall: Category = {
    id: 'pve_firewall',
    title: 'PVE firewall',
    product: 'pve',
    paths: ['/etc/pve/firewall/', '/etc/pve/nodes/*/host.fw', '/etc/pve/sdn/firewall/'],
    commands: [{ file: 'pve-firewall-status.txt', argv: ['pve-firewall', 'status'] }],
    services: ['pve-firewall.service'],
    strategy: 'guarded',
    risk: 'lock-out',
    modes: ['full'],
    about: 'Firewall rules of the cluster, the nodes, the guests and the virtual networks.',
}
