/** What a PVE cluster signs and trusts with. Only the database restores it as a whole; file by file it would not fit together. */
import type { Category } from '../category.ts'

export const pveIdentity: Category = {
    id: 'pve_identity',
    title: 'PVE cluster identity',
    product: 'pve',
    paths: [
        '/etc/pve/pve-root-ca.pem',
        '/etc/pve/priv/pve-root-ca.key',
        '/etc/pve/priv/pve-root-ca.srl',
        '/etc/pve/nodes/*/pve-ssl.pem',
        '/etc/pve/nodes/*/pve-ssl.key',
        '/etc/pve/pve-www.key',
        '/etc/pve/authkey.pub',
        '/etc/pve/priv/authkey.key',
        '/etc/pve/priv/authorized_keys',
        '/etc/pve/priv/known_hosts',
        '/etc/pve/nodes/*/ssh_known_hosts',
    ],
    strategy: 'export',
    risk: 'high',
    modes: ['full'],
    validator: [
        { path: '/etc/pve/pve-root-ca.pem', kind: 'pem' },
        { path: '/etc/pve/nodes/*/pve-ssl.pem', kind: 'pem' },
        { path: '/etc/pve/priv/pve-root-ca.key', kind: 'pem' },
        { path: '/etc/pve/nodes/*/pve-ssl.key', kind: 'pem' },
        { path: '/etc/pve/pve-www.key', kind: 'pem' },
        { path: '/etc/pve/authkey.pub', kind: 'pem' },
        { path: '/etc/pve/priv/authkey.key', kind: 'pem' },
    ],
    about: 'Certificate authority, node certificates, ticket keys and SSH trust of the cluster: the database brings them back, or PVE makes new ones.',
}
