/** PVE notifications */
import type { Category } from '../category.ts'

export const pveNotifications: Category = {
    id: 'pve_notifications',
    title: 'PVE notifications',
    product: 'pve',
    paths: [
        '/etc/pve/notifications.cfg',
        '/etc/pve/priv/notifications.cfg',
        '/etc/pve/notification-templates/',
    ],
    services: ['pvedaemon.service'],
    strategy: 'objects',
    risk: 'low',
    modes: ['full'],
    validator: [
        { path: '/etc/pve/notifications.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/priv/notifications.cfg', kind: 'pve-section-config' },
    ],
    about: 'Notification targets with their secrets, matchers and templates.',
}
