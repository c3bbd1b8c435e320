/** ZFS */
import type { Category } from '../category.ts'

export const zfs: Category = {
    id: 'zfs',
    title: 'ZFS',
    product: 'common',
    paths: ['/etc/zfs/', '/etc/hostid'],
    commands: [
        { file: 'zpool-status.txt', argv: ['zpool', 'status', '-LP'] },
        { file: 'zpool-list.txt', argv: ['zpool', 'list', '-v', '-p', '-P'] },
        { file: 'zpool-properties.txt', argv: ['zpool', 'get', '-Hp', 'all'] },
        {
            file: 'zfs-list.txt',
            argv: [
                'zfs',
                'list',
                '-Hp',
                '-t',
                'filesystem,volume',
                '-o',
                'name,used,avail,refer,mountpoint,canmount,mounted,encryption,keylocation',
            ],
        },
        {
            file: 'zfs-properties.txt',
            argv: ['zfs', 'get', '-Hp', '-t', 'filesystem,volume', '-s', 'local,received', 'all'],
        },
    ],
    services: ['zfs-zed.service'],
    strategy: 'replace',
    risk: 'high',
    modes: ['full', 'storage'],
    about: 'Pool cache, keys, event daemon and the host id that pools remember; never a pool itself.',
}
