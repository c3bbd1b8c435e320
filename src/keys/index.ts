/** The task kinds of this folder, for the registry that recovery finds them in. */
import type { TaskKinds } from '../engine/kinds.ts'
import { generateTask, type KeyDependencies, removeIdentityTask } from './identity.ts'
import { addRecipientTask, removeRecipientTask } from './recipients.ts'

export function registerKeyTasks(kinds: TaskKinds, dependencies: KeyDependencies): void {
    kinds
        .register(generateTask(dependencies))
        .register(addRecipientTask(dependencies.paths))
        .register(removeRecipientTask(dependencies.paths))
        .register(removeIdentityTask(dependencies.paths))
}
