/** PBS encryption keys */
import type { Category } from '../category.ts'

export const pbsEncryptionKeys: Category = {
    id: 'pbs_encryption_keys',
    title: 'PBS encryption keys',
    product: 'pbs',
    paths: ['/etc/proxmox-backup/encryption-keys.cfg', '/etc/proxmox-backup/encryption-keys/'],
    services: ['proxmox-backup-proxy.service', 'proxmox-backup.service'],
    strategy: 'objects',
    risk: 'high',
    modes: ['full'],
    validator: [
        { path: '/etc/proxmox-backup/encryption-keys.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/encryption-keys/*.enc', kind: 'json' },
    ],
    about: 'Keys with which sync jobs encrypt and decrypt; without them those backups are lost.',
}
