/** SSH */
import type { Category } from '../category.ts'

export const ssh: Category = {
    id: 'ssh',
    title: 'SSH',
    product: 'common',
    paths: [
        '/etc/ssh/',
        '/etc/dropbear/',
        '/root/.ssh/',
        '/home/*/.ssh/',
        // How sshd is started decides about the next login as much as its own files do.
        '/etc/default/ssh',
        '/etc/systemd/system/ssh.service.d/',
        '/etc/systemd/system/ssh.socket.d/',
        '/etc/systemd/system/sshd*.d/',
    ],
    commands: [{ file: 'sshd-effective.txt', argv: ['sshd', '-T'], okStatuses: [0, 1, 255] }],
    services: ['ssh.service'],
    residual: true,
    strategy: 'guarded',
    area: 'ssh',
    risk: 'lock-out',
    modes: ['full', 'base'],
    validator: [
        { path: '/etc/ssh/sshd_config', kind: 'sshd-config' },
        { path: '/etc/ssh/sshd_config.d/*', kind: 'sshd-config' },
    ],
    about: 'Server configuration, host keys, and the keys of root and of users.',
}
