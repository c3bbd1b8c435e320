/** PVE software-defined network */
import type { Category } from '../category.ts'

export const pveSdn: Category = {
    id: 'pve_sdn',
    title: 'PVE software-defined network',
    product: 'pve',
    paths: [
        '/etc/pve/sdn/',
        '/etc/pve/sdn.cfg',
        '/etc/pve/priv/wg-keys.cfg',
        // IPAM state of early releases of PVE 8.
        '/etc/pve/priv/ipam.db',
        '/etc/pve/priv/macs.db',
    ],
    residual: true,
    services: ['pvedaemon.service'],
    strategy: 'objects',
    risk: 'lock-out',
    modes: ['full'],
    validator: [
        { path: '/etc/pve/sdn/zones.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/vnets.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/subnets.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/.running-config', kind: 'json' },
        { path: '/etc/pve/sdn/controllers.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/dns.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/ipams.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/fabrics.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/route-maps.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/prefix-lists.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/sdn/pve-ipam-state.json', kind: 'json' },
        { path: '/etc/pve/sdn/mac-cache.json', kind: 'json' },
    ],
    about: 'Zones, virtual networks, subnets, controllers, fabrics and IPAM.',
}
