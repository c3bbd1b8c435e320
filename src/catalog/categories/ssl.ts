/** TLS certificates */
import type { Category } from '../category.ts'

export const ssl: Category = {
    id: 'ssl',
    title: 'TLS certificates',
    product: 'common',
    paths: [
        '/etc/ssl/',
        '/etc/ca-certificates/',
        '/etc/ca-certificates.conf',
        '/usr/local/share/ca-certificates/',
        '/etc/letsencrypt/',
        // The certificate of the PBS web interface, which clients pin.
        '/etc/proxmox-backup/proxy.pem',
        '/etc/proxmox-backup/proxy.key',
        '/etc/proxmox-backup/ssl/',
    ],
    services: ['proxmox-backup-proxy.service'],
    strategy: 'replace',
    risk: 'medium',
    modes: ['full', 'base'],
    validator: [
        { path: '/etc/ssl/certs/*.pem', kind: 'pem' },
        { path: '/etc/proxmox-backup/proxy.pem', kind: 'pem' },
        { path: '/etc/proxmox-backup/proxy.key', kind: 'pem' },
        { path: '/etc/letsencrypt/archive/*/*.pem', kind: 'pem' },
    ],
    about: 'Certificates, their private keys and the authorities this host trusts.',
}
