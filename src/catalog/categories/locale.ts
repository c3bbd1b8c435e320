/** Language and keyboard */
import type { Category } from '../category.ts'

export const locale: Category = {
    id: 'locale',
    title: 'Language and keyboard',
    product: 'common',
    paths: [
        '/etc/locale.gen',
        '/etc/locale.conf',
        '/etc/locale.alias',
        '/etc/default/locale',
        '/etc/default/keyboard',
        '/etc/default/console-setup',
        '/etc/console-setup/',
        '/etc/vconsole.conf',
    ],
    strategy: 'replace',
    risk: 'low',
    modes: ['full'],
    about: 'Languages, character sets and keyboard.',
}
