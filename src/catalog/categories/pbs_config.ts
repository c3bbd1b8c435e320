/** All of /etc/proxmox-backup as plain files. Finer categories own most of it; this one owns the rest and selects the whole. */
import { pbsManager } from '../commands.ts'
import type { Category } from '../category.ts'

export const pbsConfig: Category = {
    id: 'pbs_config',
    title: 'PBS configuration (export)',
    product: 'pbs',
    paths: ['/etc/proxmox-backup/'],
    never: [
        // A stale lock that belongs to root breaks the proxy.
        '/etc/proxmox-backup/*.lck',
        '/etc/proxmox-backup/.*.lck',
        '/etc/proxmox-backup/*.lock',
        '/etc/proxmox-backup/*/*.lck',
        '/etc/proxmox-backup/*/.*.lck',
        '/etc/proxmox-backup/*/*.lock',
    ],
    expected: ['/etc/proxmox-backup/authkey.key', '/etc/proxmox-backup/proxy.pem'],
    commands: [
        { file: 'versions.txt', argv: ['proxmox-backup-manager', 'versions', '--verbose'] },
        { file: 'certificate.txt', argv: ['proxmox-backup-manager', 'cert', 'info'] },
        pbsManager('network.json', 'network', 'list'),
    ],
    strategy: 'export',
    risk: 'low',
    modes: ['full', 'storage'],
    validator: [
        { path: '/etc/proxmox-backup/authkey.key', kind: 'pem' },
        { path: '/etc/proxmox-backup/authkey.pub', kind: 'pem' },
    ],
    about: 'All of /etc/proxmox-backup as plain files, to read and to copy from by hand.',
}
