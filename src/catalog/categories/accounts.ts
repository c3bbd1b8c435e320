/** Accounts */
import type { Category } from '../category.ts'

export const accounts: Category = {
    id: 'accounts',
    title: 'Accounts',
    product: 'common',
    paths: ['/etc/passwd', '/etc/group', '/etc/shadow', '/etc/gshadow', '/etc/subuid', '/etc/subgid'],
    expected: ['/etc/passwd', '/etc/group', '/etc/shadow'],
    strategy: 'merge',
    risk: 'lock-out',
    modes: ['full'],
    validator: [
        { path: '/etc/passwd', kind: 'passwd' },
        { path: '/etc/group', kind: 'passwd' },
        { path: '/etc/shadow', kind: 'passwd' },
        { path: '/etc/gshadow', kind: 'passwd' },
        { path: '/etc/subuid', kind: 'passwd' },
        { path: '/etc/subgid', kind: 'passwd' },
    ],
    about: 'Users, groups, password hashes and the id ranges of containers.',
}
