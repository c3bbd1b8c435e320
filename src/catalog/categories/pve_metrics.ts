/** PVE metric servers */
import type { Category } from '../category.ts'

export const pveMetrics: Category = {
    id: 'pve_metrics',
    title: 'PVE metric servers',
    product: 'pve',
    paths: ['/etc/pve/status.cfg', '/etc/pve/priv/metricserver/'],
    services: ['pvestatd.service'],
    strategy: 'objects',
    risk: 'low',
    modes: ['full'],
    validator: [{ path: '/etc/pve/status.cfg', kind: 'pve-section-config' }],
    about: 'Where the cluster sends its metrics, with the tokens for it.',
}
