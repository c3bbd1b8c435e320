/** Local programs and scripts */
import type { Category } from '../category.ts'

export const scripts: Category = {
    id: 'scripts',
    title: 'Local programs and scripts',
    product: 'common',
    paths: ['/usr/local/'],
    residual: true,
    strategy: 'replace',
    risk: 'low',
    modes: ['full'],
    about: 'Everything in /usr/local: what was installed on this host by hand.',
}
