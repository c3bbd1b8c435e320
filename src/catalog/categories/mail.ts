/** Mail */
import type { Category } from '../category.ts'

export const mail: Category = {
    id: 'mail',
    title: 'Mail',
    product: 'common',
    paths: [
        '/etc/postfix/',
        '/etc/aliases',
        '/etc/aliases.db',
        '/etc/mailname',
        '/etc/mail.rc',
        '/etc/msmtprc',
        '/etc/exim4/',
        '/etc/nullmailer/',
        '/etc/ssmtp/',
        '/etc/mailutils.conf',
    ],
    services: ['postfix.service', 'exim4.service'],
    strategy: 'replace',
    risk: 'low',
    modes: ['full'],
    about: 'How the host sends its mail, and to whom.',
}
