/** Output of commands. Its entries are made during a backup; the path does not exist on the host. */
import type { Category } from '../category.ts'

export const captured: Category = {
    id: 'captured',
    title: 'Captured output',
    product: 'common',
    paths: ['/var/lib/proxsave/captured/'],
    virtual: true,
    strategy: 'export',
    risk: 'low',
    modes: ['full'],
    about: 'What the commands of the other categories printed when the backup was made.',
}
