/** What names or describes one installation. On another machine it would be a lie, so it is only exported. */
import type { Category } from '../category.ts'

export const machine: Category = {
    id: 'machine',
    title: 'Machine identity',
    product: 'common',
    paths: [
        '/etc/machine-id',
        '/var/lib/dbus/machine-id',
        '/etc/os-release',
        '/etc/debian_version',
        '/etc/lsb-release',
        '/etc/issue',
        '/etc/issue.net',
        '/etc/.updated',
        '/etc/mtab',
        '/etc/ld.so.cache',
        // What the account tools keep as the version before.
        '/etc/passwd-',
        '/etc/group-',
        '/etc/shadow-',
        '/etc/gshadow-',
        '/etc/subuid-',
        '/etc/subgid-',
        '/etc/.pwd.lock',
    ],
    expected: ['/etc/machine-id'],
    commands: [
        { file: 'uname.txt', argv: ['uname', '-a'] },
        { file: 'lscpu.json', argv: ['lscpu', '-J'] },
        { file: 'lspci.txt', argv: ['lspci', '-nnk'], okStatuses: [0, 1] },
        { file: 'lsusb.txt', argv: ['lsusb'], okStatuses: [0, 1] },
        { file: 'memory.txt', argv: ['free', '-b'] },
        { file: 'dmidecode.txt', argv: ['dmidecode'], okStatuses: [0, 1] },
        { file: 'sensors.json', argv: ['sensors', '-j'], okStatuses: [0, 1] },
        { file: 'virtualization.txt', argv: ['systemd-detect-virt'], okStatuses: [0, 1] },
    ],
    strategy: 'export',
    risk: 'medium',
    modes: ['full'],
    about: 'What names or describes this one installation, and an inventory of its hardware.',
}
