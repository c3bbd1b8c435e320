/** PVE node options and certificates */
import type { Category } from '../category.ts'

export const pveNodes: Category = {
    id: 'pve_nodes',
    title: 'PVE node options and certificates',
    product: 'pve',
    paths: [
        '/etc/pve/nodes/*/config',
        '/etc/pve/nodes/*/pveproxy-ssl.pem',
        '/etc/pve/nodes/*/pveproxy-ssl.key',
    ],
    services: ['pvedaemon.service', 'pveproxy.service'],
    strategy: 'objects',
    risk: 'medium',
    modes: ['full'],
    validator: [
        { path: '/etc/pve/nodes/*/pveproxy-ssl.pem', kind: 'pem' },
        { path: '/etc/pve/nodes/*/pveproxy-ssl.key', kind: 'pem' },
    ],
    about: 'Options of each node and the certificate its web interface was given.',
}
