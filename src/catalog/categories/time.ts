/** Time */
import type { Category } from '../category.ts'

export const time: Category = {
    id: 'time',
    title: 'Time',
    product: 'common',
    paths: [
        '/etc/chrony/',
        '/etc/systemd/timesyncd.conf',
        '/etc/systemd/timesyncd.conf.d/',
        '/etc/ntp.conf',
        '/etc/ntpsec/',
        '/etc/adjtime',
        '/etc/localtime',
        '/etc/timezone',
    ],
    commands: [{ file: 'timedatectl.txt', argv: ['timedatectl', 'show'], okStatuses: [0, 1] }],
    services: ['chrony.service', 'systemd-timesyncd.service', 'ntpsec.service'],
    strategy: 'replace',
    risk: 'low',
    modes: ['full'],
    about: 'Time zone and time synchronisation.',
}
