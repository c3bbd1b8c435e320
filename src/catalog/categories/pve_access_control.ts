/** PVE access control */
import type { Category } from '../category.ts'

export const pveAccessControl: Category = {
    id: 'pve_access_control',
    title: 'PVE access control',
    product: 'pve',
    paths: [
        '/etc/pve/user.cfg',
        '/etc/pve/domains.cfg',
        '/etc/pve/priv/shadow.cfg',
        '/etc/pve/priv/token.cfg',
        '/etc/pve/priv/tfa.cfg',
        '/etc/pve/priv/realm/',
        // Where older releases kept realm passwords.
        '/etc/pve/priv/ldap/',
    ],
    services: ['pvedaemon.service', 'pveproxy.service'],
    strategy: 'guarded',
    risk: 'lock-out',
    modes: ['full'],
    validator: [
        { path: '/etc/pve/domains.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/priv/tfa.cfg', kind: 'json' },
    ],
    about: 'Users, groups, roles, pools, permissions, realms, passwords, API tokens and second factors.',
}
