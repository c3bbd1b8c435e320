/** PBS access control */
import type { Category } from '../category.ts'

export const pbsAccessControl: Category = {
    id: 'pbs_access_control',
    title: 'PBS access control',
    product: 'pbs',
    paths: [
        '/etc/proxmox-backup/user.cfg',
        '/etc/proxmox-backup/acl.cfg',
        '/etc/proxmox-backup/domains.cfg',
        '/etc/proxmox-backup/shadow.json',
        '/etc/proxmox-backup/token.shadow',
        '/etc/proxmox-backup/tfa.json',
        '/etc/proxmox-backup/ldap_passwords.json',
    ],
    services: ['proxmox-backup-proxy.service', 'proxmox-backup.service'],
    strategy: 'guarded',
    risk: 'lock-out',
    modes: ['full'],
    validator: [
        { path: '/etc/proxmox-backup/user.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/domains.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/shadow.json', kind: 'json' },
        { path: '/etc/proxmox-backup/token.shadow', kind: 'json' },
        { path: '/etc/proxmox-backup/tfa.json', kind: 'json' },
        { path: '/etc/proxmox-backup/ldap_passwords.json', kind: 'json' },
    ],
    about: 'Users, permissions, realms, passwords, API tokens and second factors.',
}
