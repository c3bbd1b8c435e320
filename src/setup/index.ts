/** The task kinds of setup, for the registry that recovery finds them in. */
import type { TaskKinds } from '../engine/kinds.ts'
import { adoptTask, type HostIds } from './adopt.ts'
import { writeConfigTask } from './config-file.ts'

export interface SetupHost {
    root: string
    ids: HostIds
    /** Reads the configuration again and has systemd follow it; what did not work, a sentence each. */
    follow(): Promise<string[]>
}

export function registerSetupTasks(kinds: TaskKinds, host: SetupHost): void {
    kinds.register(writeConfigTask(host.root, () => host.follow())).register(adoptTask(host.ids))
}
