/** Corosync */
import type { Category } from '../category.ts'

export const corosync: Category = {
    id: 'corosync',
    title: 'Corosync',
    product: 'pve',
    paths: ['/etc/corosync/'],
    commands: [
        { file: 'quorum.txt', argv: ['corosync-quorumtool', '-siH'], okStatuses: [0, 1, 2] },
        { file: 'links.txt', argv: ['corosync-cfgtool', '-n'], okStatuses: [0, 1] },
    ],
    services: ['pve-cluster.service', 'corosync.service'],
    startOrder: ['pve-cluster.service', 'corosync.service'],
    strategy: 'replace',
    exportWhile: {
        condition: 'cluster-member-alive',
        why: 'another member would take part in two clusters at once',
    },
    risk: 'high',
    modes: ['full'],
    about: 'Cluster transport configuration and its secret key.',
}
