/** PVE resource mappings */
import { pvesh } from '../commands.ts'
import type { Category } from '../category.ts'

export const pveMappings: Category = {
    id: 'pve_mappings',
    title: 'PVE resource mappings',
    product: 'pve',
    paths: ['/etc/pve/mapping/'],
    commands: [
        pvesh('pci.json', '/nodes/localhost/hardware/pci'),
        pvesh('usb.json', '/nodes/localhost/hardware/usb'),
    ],
    services: ['pvedaemon.service'],
    strategy: 'objects',
    risk: 'low',
    modes: ['full'],
    validator: [
        { path: '/etc/pve/mapping/pci.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/mapping/usb.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/mapping/directory.cfg', kind: 'pve-section-config' },
    ],
    about: 'Which PCI and USB devices and directories guests may name.',
}
