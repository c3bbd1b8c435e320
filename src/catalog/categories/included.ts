/** Paths that the configuration includes; `buildMatcher` is given them. */
import type { Category } from '../category.ts'

export const included: Category = {
    id: 'included',
    title: 'Chosen paths',
    product: 'common',
    paths: [],
    strategy: 'replace',
    risk: 'medium',
    modes: ['full'],
    about: 'What `include` of the configuration names.',
}
