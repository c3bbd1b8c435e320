/** Which categories a mode chooses of those that a backup has. */
import { categories, categoryById } from '../catalog/index.ts'
import { Fault } from '../core/errors.ts'
import type { Mode } from './types.ts'

/** What an archive holds of one category. */
export interface Held {
    id: string
    title: string
    entries: number
    bytes: number
}

export const modes: readonly { value: Mode; text: string }[] = [
    { value: 'full', text: 'FULL: everything in the backup; what is export-only is written beside' },
    { value: 'storage', text: 'STORAGE: cluster, storages, datastores, jobs, ZFS' },
    { value: 'base', text: 'BASE: network, TLS certificates, SSH, services' },
    { value: 'custom', text: 'CUSTOM: choose the categories' },
]

/** Ids in catalogue order. Throws a usage fault for a category that does not exist or is not in the backup. */
export function chooseCategories(
    mode: Mode,
    held: readonly Held[],
    custom: readonly string[] = [],
): string[] {
    const present = new Set(held.map(({ id }) => id))
    if (mode !== 'custom')
        return categories
            .filter(({ id, modes }) => present.has(id) && (mode === 'full' || modes.includes(mode)))
            .map(({ id }) => id)
    for (const id of custom) {
        if (categoryById(id) === undefined)
            throw new Fault('usage', `cannot restore the category ${id}: there is none of that name`, {
                hint: `the backup has ${[...present].join(', ')}`,
            })
        if (!present.has(id) && !reaches(id, held))
            throw new Fault('usage', `cannot restore the category ${id}: the backup has nothing of it`, {
                hint: `the backup has ${[...present].join(', ')}`,
            })
    }
    const wanted = new Set(custom)
    return categories.filter(({ id }) => wanted.has(id)).map(({ id }) => id)
}

/** A wider category may own nothing itself and yet choose what finer ones own: all of /etc/pve. */
function reaches(id: string, held: readonly Held[]): boolean {
    const tree = categoryById(id)?.paths.find(path => path.endsWith('/'))
    if (tree === undefined || categoryById(id)?.residual === true) return false
    return held.some(one => categoryById(one.id)?.paths.some(path => path.startsWith(tree)))
}

/** The answer to the question `categories`: ids with commas or blanks between, or `all`. */
export function readCategories(text: string, held: readonly Held[]): string[] {
    const words = text.split(/[\s,]+/).filter(word => word !== '')
    return words.includes('all') ? held.map(({ id }) => id) : words
}
