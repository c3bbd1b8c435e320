/** All of /etc/pve as plain files. Finer categories own most of it; this one owns the rest and selects the whole. */
import { pvesh } from '../commands.ts'
import type { Category } from '../category.ts'

export const pveConfigExport: Category = {
    id: 'pve_config_export',
    title: 'PVE configuration (export)',
    product: 'pve',
    paths: ['/etc/pve/', '/etc/subscription'],
    never: [
        // pmxcfs makes these up; none is in its database.
        '/etc/pve/.version',
        '/etc/pve/.members',
        '/etc/pve/.vmlist',
        '/etc/pve/.rrd',
        '/etc/pve/.clusterlog',
        '/etc/pve/.debug',
        '/etc/pve/local',
        '/etc/pve/qemu-server',
        '/etc/pve/lxc',
        '/etc/pve/openvz',
        // Locks are directories there. A saved one would look held after a restore.
        '/etc/pve/priv/lock/',
        '/etc/pve/sdn/.lock',
        // The previous ticket key, kept for a day by the rotation.
        '/etc/pve/authkey.pub.old',
    ],
    expected: ['/etc/pve/user.cfg'],
    commands: [
        { file: 'pveversion.txt', argv: ['pveversion', '-v'] },
        pvesh('version.json', '/version'),
        pvesh('nodes.json', '/nodes'),
        pvesh('node-status.json', '/nodes/localhost/status'),
        pvesh('cluster-options.json', '/cluster/options'),
        pvesh('certificates.json', '/nodes/localhost/certificates/info'),
    ],
    strategy: 'export',
    risk: 'low',
    modes: ['full'],
    about: 'All of /etc/pve as plain files, to read and to copy from by hand.',
}
