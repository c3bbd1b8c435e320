/** Whether a backup fits the host that it is to be restored on, and what that means for what is applied. */
import type { Category } from '../catalog/category.ts'
import type { SavedSummary } from '../archive/saved.ts'

/** What is known of the host itself. */
export interface HostFacts {
    name: string
    product: SavedSummary['product']
    cluster: 'standalone' | 'cluster'
}

export interface Compatibility {
    /** Each difference as a sentence; none when all fits. */
    mismatches: string[]
    /** The products differ: only common categories and those of installed products are applied. */
    product: boolean
}

export function compare(saved: SavedSummary, host: HostFacts): Compatibility {
    const mismatches: string[] = []
    const product = saved.product.kind !== host.product.kind
    if (product)
        mismatches.push(
            `the backup is of ${productNames[saved.product.kind]}, this host is ${productNames[host.product.kind]}`,
        )
    for (const id of ['pve', 'pbs', 'debian'] as const) {
        const [then, now] = [majorOf(saved.product[id]), majorOf(host.product[id])]
        if (then !== undefined && now !== undefined && then !== now)
            mismatches.push(`the backup is of ${versionNames[id]} ${then}, this host has ${now}`)
    }
    if (shortName(saved.host.name) !== shortName(host.name))
        mismatches.push(
            `the backup is of the host ${saved.host.name}, this host is ${host.name}${
                saved.product.kind === 'pve' || saved.product.kind === 'both'
                    ? '; Proxmox VE keeps guests below the name of their node'
                    : ''
            }`,
        )
    return { mismatches, product }
}

/** Whether this host has the product that a category belongs to. */
export function hasProduct(category: Category, host: HostFacts): boolean {
    if (category.product === 'common') return true
    return host.product.kind === 'both' || host.product.kind === category.product
}

const productNames: Record<SavedSummary['product']['kind'], string> = {
    pve: 'Proxmox VE',
    pbs: 'Proxmox Backup Server',
    both: 'Proxmox VE with Proxmox Backup Server',
    debian: 'plain Debian',
}

const versionNames = { pve: 'Proxmox VE', pbs: 'Proxmox Backup Server', debian: 'Debian' } as const

export const productName = (category: Category): string =>
    category.product === 'pbs' ? productNames.pbs : productNames.pve

function majorOf(version: string | undefined): string | undefined {
    return version === undefined ? undefined : /^\d+/.exec(version)?.[0]
}

const shortName = (name: string) => name.split('.')[0]!.toLowerCase()
