/** Registers the task kinds around the files of a restore: services, mergers, directories, the check afterwards. */
import type { TaskKinds } from '../engine/kinds.ts'
import { type CheckHost, restoreCheck } from './check.ts'
import { restoreDirectories } from './directories.ts'
import { type MergeHost, restoreMerge } from './merge.ts'
import { type ServicesHost, servicesStart, servicesStop } from './services.ts'

export type HostTasksHost = ServicesHost & MergeHost & CheckHost

export function registerHostTasks(kinds: TaskKinds, host: HostTasksHost): void {
    kinds
        .register(servicesStop(host))
        .register(servicesStart(host))
        .register(restoreMerge(host))
        .register(restoreDirectories(host))
        .register(restoreCheck(host))
}
