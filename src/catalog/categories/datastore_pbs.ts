/** PBS datastores */
import { pbsManager } from '../commands.ts'
import type { Category } from '../category.ts'

export const datastorePbs: Category = {
    id: 'datastore_pbs',
    title: 'PBS datastores',
    product: 'pbs',
    paths: ['/etc/proxmox-backup/datastore.cfg', '/etc/proxmox-backup/s3.cfg'],
    commands: [
        pbsManager('datastores.json', 'datastore', 'list'),
        {
            file: 'usage.json',
            argv: [
                'proxmox-backup-debug',
                'api',
                'get',
                '/status/datastore-usage',
                '--output-format',
                'json',
            ],
        },
        pbsManager('disks.json', 'disk', 'list'),
    ],
    services: ['proxmox-backup-proxy.service', 'proxmox-backup.service'],
    strategy: 'objects',
    risk: 'high',
    modes: ['full', 'storage'],
    validator: [
        { path: '/etc/proxmox-backup/datastore.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/s3.cfg', kind: 'pbs-section-config' },
    ],
    about: 'Datastores and the S3 endpoints they use; never the chunks.',
}
