/** Decides for each entry how it comes back, and why not the way its category would have it. */
import { categoryById } from '../catalog/index.ts'
import type { Category, Strategy } from '../catalog/category.ts'
import { strategyOf } from '../catalog/match.ts'
import type { SavedEntry } from '../archive/saved.ts'
import { type HostFacts, hasProduct, productName } from './compatibility.ts'
import type { ClusterMode } from './types.ts'

export interface Circumstances {
    host: HostFacts
    /** Strategies that this version has. */
    available: readonly Strategy[]
    cluster: ClusterMode | undefined
    /** Why nothing can be guarded here; undefined when it can. */
    noGuard?: string
    /** The cluster database is among what is chosen. */
    database: boolean
}

export interface Decision {
    strategy: Strategy
    action: Strategy | 'skip'
    why?: string
}

/** The decision for entries of one category; asked for every entry, so what can be known before is. */
export function decider(id: string, circumstances: Circumstances): (entry: SavedEntry) => Decision {
    const category = categoryById(id)
    if (category === undefined)
        return () => ({
            strategy: 'export',
            action: 'export',
            why: 'this version of proxsave does not know the category',
        })
    const strategyAt = strategyOf(category)
    const whole = forAll(category, circumstances)
    const restoresDatabase = circumstances.database && databaseComesBack(circumstances)
    return entry => {
        const path = `/${entry.path}`
        const strategy = strategyAt(path)
        if (restoresDatabase && isPmxcfs(path))
            return { strategy, action: 'skip', why: 'it is inside the cluster database, which is restored' }
        if (strategy === 'export') return { strategy, action: 'export' }
        if (whole !== undefined) return { strategy, action: 'export', why: whole }
        if (strategy === 'database' && !databaseComesBack(circumstances))
            return {
                strategy,
                action: 'export',
                why:
                    circumstances.cluster === 'safe'
                        ? 'SAFE leaves the cluster database alone'
                        : 'this version cannot put the cluster database back',
            }
        if (!circumstances.available.includes(strategy))
            return {
                strategy,
                action: 'export',
                why: `this version cannot apply ${laterNames[strategy]} yet`,
            }
        if (strategy === 'guarded' && circumstances.noGuard !== undefined)
            return { strategy, action: 'export', why: circumstances.noGuard }
        if (strategy === 'guarded' && (category.area === undefined || isPmxcfs(path)))
            return { strategy, action: 'export', why: `this version cannot apply ${laterNames.objects} yet` }
        // The hard rule: without the file system of the cluster these would be files in the way of its mount point.
        if (isPmxcfs(path) && (strategy === 'replace' || strategy === 'merge'))
            return { strategy, action: 'export', why: 'nothing is written below /etc/pve as a file' }
        return { strategy, action: strategy }
    }
}

/** Whether the cluster database itself is put back. */
export function databaseComesBack({ cluster, available, host }: Circumstances): boolean {
    return cluster !== 'safe' && available.includes('database') && ['pve', 'both'].includes(host.product.kind)
}

function forAll(category: Category, { host }: Circumstances): string | undefined {
    if (!hasProduct(category, host)) return `${productName(category)} is not installed on this host`
    if (category.exportWhile?.condition === 'cluster-member-alive' && host.cluster === 'cluster')
        return category.exportWhile.why
    return undefined
}

export const isPmxcfs = (path: string): boolean => path === '/etc/pve' || path.startsWith('/etc/pve/')

const laterNames: Record<Strategy, string> = {
    replace: 'files',
    merge: 'merged files',
    guarded: 'what could lock you out',
    database: 'the cluster database',
    objects: 'objects through the API',
    export: 'exports',
}
