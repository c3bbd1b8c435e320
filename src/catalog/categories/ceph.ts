/** Ceph */
import type { Category } from '../category.ts'

export const ceph: Category = {
    id: 'ceph',
    title: 'Ceph',
    product: 'pve',
    paths: [
        '/etc/ceph/',
        '/etc/pve/ceph.conf',
        '/etc/pve/ceph/',
        '/etc/pve/priv/ceph.*',
        // Keys of the daemons; their stores are data and are not configuration.
        '/var/lib/ceph/bootstrap-*/ceph.keyring',
        '/var/lib/ceph/*/*/keyring',
    ],
    commands: [
        {
            file: 'ceph-status.json',
            argv: ['ceph', '--connect-timeout', '10', 'status', '--format', 'json'],
            okStatuses: [0, 1, 2],
        },
        {
            file: 'osd-tree.json',
            argv: ['ceph', '--connect-timeout', '10', 'osd', 'tree', '--format', 'json'],
            okStatuses: [0, 1, 2],
        },
        {
            file: 'mon-dump.json',
            argv: ['ceph', '--connect-timeout', '10', 'mon', 'dump', '--format', 'json'],
            okStatuses: [0, 1, 2],
        },
        {
            file: 'ceph-volume.json',
            argv: ['ceph-volume', 'lvm', 'list', '--format', 'json'],
            okStatuses: [0, 1],
        },
    ],
    strategy: 'replace',
    exportWhile: {
        condition: 'cluster-member-alive',
        why: 'the monitors of the other members hold the truth',
    },
    risk: 'high',
    modes: ['full'],
    about: 'Ceph configuration and keyrings; never the data of monitors or OSDs.',
}
