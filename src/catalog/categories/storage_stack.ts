/** Storage stack */
import type { Category } from '../category.ts'

export const storageStack: Category = {
    id: 'storage_stack',
    title: 'Storage stack',
    product: 'common',
    paths: [
        '/etc/lvm/',
        '/etc/mdadm/',
        '/etc/iscsi/',
        '/var/lib/iscsi/',
        '/etc/multipath/',
        '/etc/multipath.conf',
        '/etc/nvme/',
        '/etc/autofs.conf',
        '/etc/autofs_ldap_auth.conf',
        '/etc/auto.*',
        '/etc/systemd/system/*.mount',
        '/etc/systemd/system/*.automount',
        '/etc/systemd/system/*.swap',
        '/etc/exports',
        '/etc/exports.d/',
        '/etc/nfs.conf',
        '/etc/nfs.conf.d/',
        '/etc/idmapd.conf',
        '/etc/crypttab',
        '/etc/keys/',
        '/etc/luks-keys/',
        '/etc/cryptsetup-keys.d/',
        '/etc/cryptsetup-nuke-password/',
        '/etc/smartd.conf',
        '/etc/smartmontools/',
    ],
    commands: [
        {
            file: 'pvs.json',
            argv: ['pvs', '--all', '--reportformat', 'json', '--units', 'b', '--options', 'pv_all,vg_name'],
        },
        { file: 'vgs.json', argv: ['vgs', '--reportformat', 'json', '--units', 'b', '--options', 'vg_all'] },
        {
            file: 'lvs.json',
            argv: ['lvs', '--all', '--reportformat', 'json', '--units', 'b', '--options', 'lv_all,vg_name'],
        },
        { file: 'mdadm.txt', argv: ['mdadm', '--detail', '--scan'] },
        { file: 'mdstat.txt', argv: ['cat', '/proc/mdstat'], okStatuses: [0, 1] },
        // 21: there is no session.
        { file: 'iscsi-sessions.txt', argv: ['iscsiadm', '--mode', 'session'], okStatuses: [0, 21] },
        { file: 'multipath.txt', argv: ['multipath', '-ll'], okStatuses: [0, 1] },
        { file: 'device-mapper.txt', argv: ['dmsetup', 'table'], okStatuses: [0, 1] },
        { file: 'smart-devices.json', argv: ['smartctl', '--scan', '--json'], okStatuses: [0, 1, 2] },
    ],
    strategy: 'replace',
    except: [
        // A wrong line here can stop the next boot before the guard could act.
        { path: '/etc/crypttab', strategy: 'export' },
        { path: '/etc/keys/', strategy: 'export' },
        { path: '/etc/luks-keys/', strategy: 'export' },
        { path: '/etc/cryptsetup-keys.d/', strategy: 'export' },
        { path: '/etc/cryptsetup-nuke-password/', strategy: 'export' },
        // Metadata of volume groups: for vgcfgrestore, by hand.
        { path: '/etc/lvm/backup/', strategy: 'export' },
        { path: '/etc/lvm/archive/', strategy: 'export' },
    ],
    risk: 'high',
    modes: ['full'],
    validator: [
        { path: '/etc/systemd/system/*.mount', kind: 'systemd-unit' },
        { path: '/etc/systemd/system/*.automount', kind: 'systemd-unit' },
        { path: '/etc/systemd/system/*.swap', kind: 'systemd-unit' },
    ],
    about: 'LVM, software RAID, iSCSI, multipath, NVMe over fabrics, automounter, mount units, NFS and encrypted disks.',
}
