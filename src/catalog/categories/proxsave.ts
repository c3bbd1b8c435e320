/** proxsave itself */
import type { Category } from '../category.ts'

export const proxsave: Category = {
    id: 'proxsave',
    title: 'proxsave itself',
    product: 'common',
    paths: ['/etc/proxsave/'],
    strategy: 'replace',
    risk: 'low',
    modes: ['full'],
    about: 'Configuration, policy, recipients and trusted signers; never the private identity.',
}
