/** PVE cluster database */
import { pvesh } from '../commands.ts'
import type { Category } from '../category.ts'

export const pveCluster: Category = {
    id: 'pve_cluster',
    title: 'PVE cluster database',
    product: 'pve',
    paths: ['/var/lib/pve-cluster/config.db'],
    never: [
        // The collector copies the database through SQLite, so what the log holds is inside.
        '/var/lib/pve-cluster/config.db-wal',
        '/var/lib/pve-cluster/config.db-shm',
        '/var/lib/pve-cluster/config.db-journal',
        '/var/lib/pve-cluster/.pmxcfs.lockfile',
    ],
    expected: ['/var/lib/pve-cluster/config.db'],
    commands: [
        // Without a cluster both end with a status of their own, which is an answer.
        { file: 'pvecm-status.txt', argv: ['pvecm', 'status'], okStatuses: [0, 1, 2, 255] },
        { file: 'pvecm-nodes.txt', argv: ['pvecm', 'nodes'], okStatuses: [0, 1, 2, 255] },
        pvesh('cluster-status.json', '/cluster/status'),
        pvesh('cluster-resources.json', '/cluster/resources'),
    ],
    services: [
        // HA first: a manager that loses /etc/pve while it is active lets the watchdog reset the node.
        'pve-ha-lrm.service',
        'pve-ha-crm.service',
        'pvescheduler.service',
        'pvestatd.service',
        'spiceproxy.service',
        'pveproxy.service',
        'pvedaemon.service',
        'pve-firewall.service',
        'pve-cluster.service',
        'corosync.service',
    ],
    startOrder: [
        // pmxcfs may write the configuration of corosync when it starts.
        'pve-cluster.service',
        'corosync.service',
        'pvedaemon.service',
        'pveproxy.service',
        'spiceproxy.service',
        'pvestatd.service',
        'pvescheduler.service',
        'pve-firewall.service',
        'pve-ha-crm.service',
        'pve-ha-lrm.service',
    ],
    strategy: 'database',
    risk: 'high',
    modes: ['full', 'storage'],
    validator: [{ path: '/var/lib/pve-cluster/config.db', kind: 'config-db' }],
    about: 'The database behind /etc/pve, copied with the backup function of SQLite.',
}
