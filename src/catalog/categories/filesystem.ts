/** File systems */
import type { Category } from '../category.ts'

export const filesystem: Category = {
    id: 'filesystem',
    title: 'File systems',
    product: 'common',
    paths: ['/etc/fstab'],
    commands: [
        // No column that needs statfs: a dead network mount would hang it.
        {
            file: 'findmnt.json',
            argv: [
                'findmnt',
                '--json',
                '--real',
                '--output',
                'TARGET,SOURCE,FSTYPE,OPTIONS,FSROOT,LABEL,UUID,PARTUUID,PROPAGATION',
            ],
            okStatuses: [0, 1],
        },
        { file: 'lsblk.json', argv: ['lsblk', '--json', '--bytes', '--output-all'] },
        { file: 'blkid.txt', argv: ['blkid'], okStatuses: [0, 2] },
        // Local ones only: the statistics of a dead network mount would hang.
        { file: 'df.txt', argv: ['df', '--local', '--portability', '--print-type'], okStatuses: [0, 1] },
        { file: 'swaps.txt', argv: ['swapon', '--show', '--bytes'] },
    ],
    strategy: 'merge',
    risk: 'high',
    modes: ['full'],
    validator: [{ path: '/etc/fstab', kind: 'fstab' }],
    about: 'What is mounted where at boot.',
}
