/** User data */
import type { Category } from '../category.ts'

export const userData: Category = {
    id: 'user_data',
    title: 'User data',
    product: 'common',
    paths: ['/root/', '/home/'],
    residual: true,
    never: [
        '/root/.cache/',
        '/home/*/.cache/',
        '/root/.local/share/Trash/',
        '/home/*/.local/share/Trash/',
        '/root/.npm/_cacache/',
        '/home/*/.npm/_cacache/',
        // A FUSE mount that not even root may enter.
        '/root/.gvfs',
        '/home/*/.gvfs',
    ],
    strategy: 'replace',
    risk: 'low',
    modes: ['full'],
    about: 'The home directories of root and of users, without caches and trash.',
}
