/** PBS host and integrations */
import type { Category } from '../category.ts'

export const pbsHost: Category = {
    id: 'pbs_host',
    title: 'PBS host and integrations',
    product: 'pbs',
    paths: [
        '/etc/proxmox-backup/node.cfg',
        '/etc/proxmox-backup/acme/',
        '/etc/proxmox-backup/metricserver.cfg',
        '/etc/proxmox-backup/traffic-control.cfg',
    ],
    services: ['proxmox-backup-proxy.service', 'proxmox-backup.service'],
    strategy: 'objects',
    risk: 'medium',
    modes: ['full'],
    validator: [
        { path: '/etc/proxmox-backup/acme/plugins.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/metricserver.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/traffic-control.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/acme/accounts/*', kind: 'json' },
    ],
    about: 'Node options, ACME accounts and plugins, metric servers, traffic control.',
}
