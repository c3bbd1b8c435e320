/** PVE ACME accounts and plugins */
import type { Category } from '../category.ts'

export const pveAcme: Category = {
    id: 'pve_acme',
    title: 'PVE ACME accounts and plugins',
    product: 'pve',
    paths: ['/etc/pve/priv/acme/'],
    services: ['pvedaemon.service'],
    strategy: 'objects',
    risk: 'low',
    modes: ['full'],
    validator: [{ path: '/etc/pve/priv/acme/plugins.cfg', kind: 'pve-section-config' }],
    about: 'Accounts and DNS credentials with which nodes renew their certificates.',
}
