/** PBS notifications */
import type { Category } from '../category.ts'

export const pbsNotifications: Category = {
    id: 'pbs_notifications',
    title: 'PBS notifications',
    product: 'pbs',
    paths: [
        '/etc/proxmox-backup/notifications.cfg',
        '/etc/proxmox-backup/notifications-priv.cfg',
        '/etc/proxmox-backup/notification-templates/',
    ],
    services: ['proxmox-backup-proxy.service', 'proxmox-backup.service'],
    strategy: 'objects',
    risk: 'low',
    modes: ['full'],
    validator: [
        { path: '/etc/proxmox-backup/notifications.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/notifications-priv.cfg', kind: 'pbs-section-config' },
    ],
    about: 'Notification targets with their secrets, matchers and templates.',
}
