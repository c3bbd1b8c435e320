/** The task kinds of a restore that work on files. */
import type { TaskKinds } from '../engine/kinds.ts'
import { restoreExport } from './export.ts'
import { exportsRemove } from './exports.ts'
import { restoreFiles } from './files.ts'
import type { RestoreHost } from './host.ts'
import { restoreSnapshot } from './snapshot.ts'
import { restoreStage, restoreUnstage } from './stage.ts'

export function registerFileTasks(kinds: TaskKinds, host: RestoreHost): TaskKinds {
    return kinds
        .register(restoreStage(host))
        .register(restoreUnstage(host))
        .register(restoreSnapshot(host))
        .register(restoreFiles(host))
        .register(restoreExport(host))
        .register(exportsRemove(host))
}
