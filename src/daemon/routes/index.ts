/** Every route of the API, one group a file. */
import type { AnyRoute } from '../route.ts'
import { archiveRoutes } from './archives.ts'
import { backupRoutes } from './backups.ts'
import { changeRoutes } from './changes.ts'
import { guardRoutes } from './guards.ts'
import { jobRoutes } from './jobs.ts'
import { keyRoutes } from './keys.ts'
import { pruneRoutes } from './prune.ts'
import { reloadRoutes } from './reload.ts'
import { restoreRoutes } from './restores.ts'
import { setupRoutes } from './setup.ts'
import { statusRoutes } from './status.ts'

export const routes: readonly AnyRoute[] = [
    ...statusRoutes,
    ...backupRoutes,
    ...archiveRoutes,
    ...pruneRoutes,
    ...restoreRoutes,
    ...changeRoutes,
    ...guardRoutes,
    ...jobRoutes,
    ...keyRoutes,
    ...setupRoutes,
    ...reloadRoutes,
]
