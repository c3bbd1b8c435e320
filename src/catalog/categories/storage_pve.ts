/** PVE storages and datacenter options */
import { pvesh } from '../commands.ts'
import type { Category } from '../category.ts'

export const storagePve: Category = {
    id: 'storage_pve',
    title: 'PVE storages and datacenter options',
    product: 'pve',
    paths: [
        '/etc/pve/storage.cfg',
        '/etc/pve/datacenter.cfg',
        '/etc/vzdump.conf',
        // Passwords, encryption keys and keyrings of storages. Without a .enc key its backups are lost.
        '/etc/pve/priv/storage/',
        '/etc/pve/priv/ceph/',
        '/etc/pve/priv/zfs/',
        '/etc/pve/priv/import/',
    ],
    expected: ['/etc/pve/storage.cfg'],
    commands: [
        { file: 'pvesm-status.txt', argv: ['pvesm', 'status'] },
        pvesh('storage-status.json', '/nodes/localhost/storage'),
        pvesh('disks.json', '/nodes/localhost/disks/list'),
    ],
    services: ['pvedaemon.service', 'pvestatd.service'],
    strategy: 'objects',
    except: [{ path: '/etc/vzdump.conf', strategy: 'replace' }],
    risk: 'medium',
    modes: ['full', 'storage'],
    validator: [
        { path: '/etc/pve/storage.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/priv/storage/*.enc', kind: 'json' },
        { path: '/etc/pve/priv/storage/*.pem', kind: 'pem' },
    ],
    about: 'Storage definitions with their passwords and keys, datacenter options, defaults of vzdump.',
}
