/** PVE storage replication */
import { pvesh } from '../commands.ts'
import type { Category } from '../category.ts'

export const pveReplication: Category = {
    id: 'pve_replication',
    title: 'PVE storage replication',
    product: 'pve',
    paths: ['/etc/pve/replication.cfg'],
    commands: [pvesh('replication.json', '/nodes/localhost/replication')],
    services: ['pvedaemon.service', 'pvescheduler.service'],
    strategy: 'objects',
    risk: 'medium',
    modes: ['full'],
    validator: [{ path: '/etc/pve/replication.cfg', kind: 'pve-section-config' }],
    about: 'Replication jobs between cluster members.',
}
