/** Guards without the daemon: what `proxsavectl commit`, `rollback` and `status` do on their own when nobody answers. */
import type { GuardInfo } from '../core/answers.ts'
import { Fault } from '../core/errors.ts'
import type { Clock } from '../host/clock.ts'
import type { Disk } from '../host/disk.ts'
import type { Origin } from '../host/origin.ts'
import { mayConfirm } from './confirm-rights.ts'
import { chooseGuard, commitGuard, type RollbackHost, requestRollback, stopGuardTimer } from './decide.ts'
import { guardInfo, guardInfos, newAddress } from './status.ts'

export interface LocalHost extends RollbackHost {
    disk: Disk
    state: string
    clock: Clock
    /** Of the process that asks. */
    origin: () => Origin
    /** All that this host has now. */
    addresses: () => Iterable<string>
}

export function localGuards(host: LocalHost) {
    const { disk, state, clock, exec } = host
    return {
        /** Newest first. */
        list: (): GuardInfo[] => guardInfos(disk, state, clock),

        /** Confirms the guard that is meant, when the one who asks may; see `chooseGuard`, `mayConfirm`. */
        async commit(reference: string | undefined, by: string): Promise<GuardInfo> {
            const guard = chooseGuard(disk, state, 'commit', reference)
            const address = newAddress(guardInfo(guard, clock))
            const asked = { address, own: host.addresses(), marker: guard.file('commit') }
            const rights = mayConfirm(host.origin(), guard.applied(), clock.bootId(), asked)
            if (!rights.ok) throw new Fault('refused', `cannot commit: ${rights.why}`, { hint: rights.hint })
            await commitGuard(disk, state, guard.id, by, { clock })
            await stopGuardTimer(exec, guard.id)
            return guardInfo(guard, clock)
        },

        /** Has the guard that is meant rolled back; does not wait for that. */
        async rollback(reference: string | undefined): Promise<GuardInfo> {
            const guard = chooseGuard(disk, state, 'roll back', reference)
            await requestRollback(disk, guard, host)
            return guardInfo(guard, clock)
        },
    }
}
