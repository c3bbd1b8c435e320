/** Package sources */
import type { Category } from '../category.ts'

export const apt: Category = {
    id: 'apt',
    title: 'Package sources',
    product: 'common',
    paths: ['/etc/apt/'],
    commands: [{ file: 'policy.txt', argv: ['apt-cache', 'policy'] }],
    strategy: 'replace',
    risk: 'medium',
    modes: ['full'],
    about: 'Package sources, their keys and credentials, preferences and settings of apt.',
}
