/** The page `docs/categories.md`, written from the catalogue itself so that the two cannot differ. */
import type { Category, Product, RestoreMode } from './category.ts'
import { neverSaved } from './never.ts'

const productNames: Record<Product, string> = { pve: 'VE', pbs: 'Backup Server', common: 'every host' }
const strategyTexts: Record<Category['strategy'], string> = {
    replace: 'files are swapped one by one for the saved ones',
    merge: 'saved and current content are merged by a rule of the file',
    guarded: 'like replace, with a rollback armed before and a confirmation by a person after',
    database: 'services stopped, database checked and swapped, services started',
    objects: 'differences between saved and live objects are applied through the API',
    export: 'written to an export directory, never to its place on the system',
}
const modeTexts: Record<RestoreMode, string> = {
    storage: 'the database, storages, datastores and jobs',
    base: 'the host itself: network, certificates, SSH, services',
    full: 'everything; what is export-only is exported',
}

export function categoriesPage(categories: readonly Category[]): string {
    const lines = [
        '# Categories',
        '',
        'What a backup holds, in the order in which it holds it. `packaging/generate-categories` writes this page from',
        '`src/catalog/`; do not edit it by hand.',
        '',
        'A path that ends with `/` is a whole tree, and `*` matches within one name. A file belongs to the category whose',
        'path fits it most closely. Categories of a product are collected only where that product is installed; what it',
        'left behind elsewhere below `/etc` is in `etc_rest`.',
        '',
        '| category | for | product | comes back by | risk | modes |',
        '|---|---|---|---|---|---|',
        ...categories.map(tableRow),
        '',
        '## How a category comes back',
        '',
        ...Object.entries(strategyTexts).map(([strategy, text]) => `* \`${strategy}\`: ${text}`),
        '',
        '## Restore modes',
        '',
        ...Object.entries(modeTexts).map(
            ([mode, text]) =>
                `* \`${mode}\`: ${text}${mode === 'full' ? '' : ` (${modeIds(categories, mode)})`}`,
        ),
        '* `custom`: what you choose',
        '',
        '## Never saved',
        '',
        'Whatever is chosen or included:',
        '',
        ...neverSaved.map(path => `* \`${path}\``),
        '',
        '## Each category',
        ...categories.flatMap(section),
    ]
    return `${lines.join('\n')}\n`
}

function tableRow(category: Category): string {
    const { id, about, product, risk, modes } = category
    const strategy = `${category.strategy}${category.except || category.exportWhile ? ' *' : ''}`
    return `| [\`${id}\`](#${id}) | ${about} | ${productNames[product]} | ${strategy} | ${risk} | ${modes.join(', ')} |`
}

const modeIds = (categories: readonly Category[], mode: string): string =>
    categories
        .filter(category => category.modes.some(known => known === mode))
        .map(category => `\`${category.id}\``)
        .join(', ')

function section(category: Category): string[] {
    const lines = ['', `### ${category.id}`, '', `${category.title}. ${category.about}`, '']
    const list = (title: string, items: readonly string[] | undefined) => {
        if (items !== undefined && items.length > 0)
            lines.push(`* ${title}: ${items.map(item => `\`${item}\``).join(' ')}`)
    }
    list('Paths', category.paths)
    list('Never', category.never)
    list('Expected', category.expected)
    list('Services', category.services)
    if (category.residual) lines.push('* Choosing it leaves what other categories own to them.')
    for (const { path, strategy } of category.except ?? []) lines.push(`* \`${path}\`: ${strategy}`)
    if (category.exportWhile)
        lines.push(`* Only exported while another cluster member is alive: ${category.exportWhile.why}.`)
    list(
        'Checked',
        category.validator?.map(({ path, kind }) => `${path} (${kind})`),
    )
    for (const { file, argv } of category.commands ?? [])
        lines.push(`* Captured in \`${file}\`: \`${argv.map(showWord).join(' ')}\``)
    return lines
}

const showWord = (word: string): string =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll('\n', '\\n')}'`
