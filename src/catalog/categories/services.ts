/** System services */
import type { Category } from '../category.ts'

export const services: Category = {
    id: 'services',
    title: 'System services',
    product: 'common',
    paths: [
        '/etc/systemd/',
        '/etc/default/',
        '/etc/udev/',
        '/etc/init.d/',
        '/etc/rc.local',
        '/etc/inittab',
        '/etc/insserv.conf.d/',
        '/etc/sysctl.conf',
        '/etc/sysctl.d/',
        '/etc/modprobe.d/',
        '/etc/modules',
        '/etc/modules-load.d/',
        '/etc/tmpfiles.d/',
        '/etc/sysusers.d/',
        '/etc/binfmt.d/',
        '/etc/environment',
        '/etc/environment.d/',
        '/etc/logrotate.conf',
        '/etc/logrotate.d/',
        '/etc/rsyslog.conf',
        '/etc/rsyslog.d/',
        '/etc/watchdog.conf',
        '/etc/needrestart/',
        '/var/lib/systemd/linger/',
    ],
    residual: true,
    commands: [
        {
            file: 'unit-files.txt',
            argv: ['systemctl', '--no-pager', '--plain', '--no-legend', 'list-unit-files'],
        },
        {
            file: 'units.txt',
            argv: ['systemctl', '--no-pager', '--plain', '--no-legend', '--all', 'list-units'],
        },
        { file: 'timers.txt', argv: ['systemctl', '--no-pager', '--plain', '--all', 'list-timers'] },
        // Some keys can be read by nobody, which sysctl counts as a failure.
        { file: 'sysctl.txt', argv: ['sysctl', '-a'], okStatuses: [0, 1, 255] },
        { file: 'modules.txt', argv: ['lsmod'] },
    ],
    strategy: 'replace',
    risk: 'medium',
    modes: ['full', 'base'],
    validator: [
        { path: '/etc/systemd/system/*.service', kind: 'systemd-unit' },
        { path: '/etc/systemd/system/*.timer', kind: 'systemd-unit' },
    ],
    about: 'Units and their enablement, defaults, udev rules, kernel parameters and modules, logging.',
}
