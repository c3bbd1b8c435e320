/** PBS jobs */
import { pbsManager } from '../commands.ts'
import type { Category } from '../category.ts'

export const pbsJobs: Category = {
    id: 'pbs_jobs',
    title: 'PBS jobs',
    product: 'pbs',
    paths: [
        '/etc/proxmox-backup/sync.cfg',
        '/etc/proxmox-backup/verification.cfg',
        '/etc/proxmox-backup/prune.cfg',
    ],
    commands: [pbsManager('garbage-collection.json', 'garbage-collection', 'list')],
    services: ['proxmox-backup-proxy.service', 'proxmox-backup.service'],
    strategy: 'objects',
    risk: 'high',
    modes: ['full', 'storage'],
    validator: [
        { path: '/etc/proxmox-backup/sync.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/verification.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/prune.cfg', kind: 'pbs-section-config' },
    ],
    about: 'Sync, verification and prune jobs.',
}
