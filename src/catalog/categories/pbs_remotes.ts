/** PBS remotes */
import type { Category } from '../category.ts'

export const pbsRemotes: Category = {
    id: 'pbs_remotes',
    title: 'PBS remotes',
    product: 'pbs',
    paths: ['/etc/proxmox-backup/remote.cfg'],
    services: ['proxmox-backup-proxy.service', 'proxmox-backup.service'],
    strategy: 'objects',
    risk: 'low',
    modes: ['full'],
    validator: [{ path: '/etc/proxmox-backup/remote.cfg', kind: 'pbs-section-config' }],
    about: 'Other backup servers and the passwords for them.',
}
