/** The strategy `merge`: which mergers run for the changed paths of a category. */
import { accountTables } from './accounts.ts'
import { places } from './host.ts'
import type { PlanStrategy, StrategyTask } from './strategies.ts'

export type MergeParams = {
    which: 'fstab' | 'accounts' | 'resolv'
    /** Directory that holds the files of the backup as a tree (`etc/fstab`, …); relative to that of the change. */
    stage: string
    /** How many of the files are in the backup: what is not staged of them is the same on the host. */
    entries: number
}

/** One task a merger, whatever number of its files differ. */
export const planMerge: PlanStrategy = row => {
    const actions = row.actions.filter(({ action }) => action !== 'remove')
    const paths = new Set(actions.map(({ bytes }) => bytes.replace(/^\/+/, '')))
    const tasks: StrategyTask[] = []
    for (const which of Object.keys(mergedPaths) as MergeParams['which'][])
        if (mergedPaths[which].some(path => paths.has(path)))
            tasks.push({
                kind: 'restore.merge',
                title: `merge ${mergeTitles[which]}`,
                params: { which, stage: places.stage, entries: row.entries } satisfies MergeParams,
                // Names that are not resolved are no reason to take everything else back.
                ...(which === 'resolv' ? { optional: true } : {}),
            })
    return { tasks, staged: [...paths], changes: actions }
}

/** Paths of the catalogue that come back by merging. */
export const mergedPaths: Readonly<Record<MergeParams['which'], readonly string[]>> = {
    fstab: ['etc/fstab'],
    accounts: accountTables.map(table => `etc/${table}`),
    resolv: ['etc/resolv.conf'],
}

const mergeTitles = { fstab: '/etc/fstab', accounts: 'the accounts', resolv: '/etc/resolv.conf' }
