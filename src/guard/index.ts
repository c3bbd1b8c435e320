/** The task kinds of the guard. */
import type { TaskKinds } from '../engine/kinds.ts'
import { guardApply } from './apply.ts'
import { guardArm } from './arm.ts'
import { guardConfirm } from './confirm.ts'
import { guardPrepare } from './prepare.ts'
import type { GuardHost } from './tasks.ts'

export function registerGuardTasks(kinds: TaskKinds, host: GuardHost): TaskKinds {
    return kinds
        .register(guardPrepare(host))
        .register(guardArm(host))
        .register(guardApply(host))
        .register(guardConfirm(host))
}
