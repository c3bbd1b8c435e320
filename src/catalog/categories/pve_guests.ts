/** PVE guest configurations */
import type { Category } from '../category.ts'

export const pveGuests: Category = {
    id: 'pve_guests',
    title: 'PVE guest configurations',
    product: 'pve',
    paths: ['/etc/pve/nodes/*/qemu-server/', '/etc/pve/nodes/*/lxc/', '/etc/pve/nodes/*/openvz/'],
    commands: [
        { file: 'qm-list.txt', argv: ['qm', 'list'] },
        { file: 'pct-list.txt', argv: ['pct', 'list'] },
    ],
    services: ['pvedaemon.service'],
    strategy: 'objects',
    risk: 'medium',
    modes: ['full'],
    about: 'The configuration files of virtual machines and containers; never their disks.',
}
