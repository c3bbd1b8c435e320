/** PVE CPU models */
import type { Category } from '../category.ts'

export const pveCpuModels: Category = {
    id: 'pve_cpu_models',
    title: 'PVE CPU models',
    product: 'pve',
    paths: ['/etc/pve/virtual-guest/'],
    services: ['pvedaemon.service'],
    strategy: 'objects',
    risk: 'low',
    modes: ['full'],
    validator: [{ path: '/etc/pve/virtual-guest/cpu-models.conf', kind: 'pve-section-config' }],
    about: 'Own CPU models and profiles of virtual machines.',
}
