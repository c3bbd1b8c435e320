/** PVE high availability. What its managers write at run time belongs to the export of /etc/pve. */
import { pvesh } from '../commands.ts'
import type { Category } from '../category.ts'

export const pveHa: Category = {
    id: 'pve_ha',
    title: 'PVE high availability',
    product: 'pve',
    paths: [
        '/etc/pve/ha/resources.cfg',
        '/etc/pve/ha/groups.cfg',
        '/etc/pve/ha/rules.cfg',
        '/etc/pve/ha/fence.cfg',
    ],
    commands: [pvesh('ha-status.json', '/cluster/ha/status/current')],
    services: ['pve-ha-lrm.service', 'pve-ha-crm.service'],
    strategy: 'objects',
    risk: 'high',
    modes: ['full'],
    validator: [
        { path: '/etc/pve/ha/resources.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/ha/groups.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/ha/rules.cfg', kind: 'pve-section-config' },
    ],
    about: 'HA resources, groups, rules and fencing; the state of the managers is only exported.',
}
