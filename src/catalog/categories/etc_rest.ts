/** Everything else below /etc. Leftovers of a product that is not installed are found here too. */
import type { Category } from '../category.ts'

export const etcRest: Category = {
    id: 'etc_rest',
    title: 'The rest of /etc',
    product: 'common',
    paths: ['/etc/'],
    residual: true,
    strategy: 'replace',
    risk: 'medium',
    modes: ['full'],
    about: 'Everything else below /etc, so that no file of it is ever missing from a backup.',
}
