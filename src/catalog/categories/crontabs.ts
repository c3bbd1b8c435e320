/** Scheduled tasks */
import type { Category } from '../category.ts'

export const crontabs: Category = {
    id: 'crontabs',
    title: 'Scheduled tasks',
    product: 'common',
    paths: [
        '/etc/crontab',
        '/etc/anacrontab',
        '/etc/cron.*',
        // The tree of each cron directory, named so that a mount there is entered too.
        '/etc/cron.d/',
        '/etc/cron.hourly/',
        '/etc/cron.daily/',
        '/etc/cron.weekly/',
        '/etc/cron.monthly/',
        '/etc/cron.yearly/',
        '/etc/at.allow',
        '/etc/at.deny',
        '/var/spool/cron/',
    ],
    strategy: 'replace',
    risk: 'medium',
    modes: ['full'],
    validator: [
        { path: '/etc/crontab', kind: 'crontab' },
        { path: '/etc/cron.d/*', kind: 'crontab' },
        { path: '/var/spool/cron/crontabs/*', kind: 'crontab' },
    ],
    about: 'System and user crontabs, anacron and at jobs.',
}
