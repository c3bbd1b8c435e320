/** Sudo */
import type { Category } from '../category.ts'

export const sudo: Category = {
    id: 'sudo',
    title: 'Sudo',
    product: 'common',
    paths: ['/etc/sudoers', '/etc/sudoers.d/', '/etc/sudo.conf', '/etc/doas.conf'],
    strategy: 'guarded',
    area: 'access',
    risk: 'lock-out',
    modes: ['full'],
    validator: [
        { path: '/etc/sudoers', kind: 'sudoers' },
        { path: '/etc/sudoers.d/*', kind: 'sudoers' },
    ],
    about: 'Who may act as root.',
}
