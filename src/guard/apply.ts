/** The task `guard.apply`: the candidate takes its places, and the tools of the area load it. Only while the guard is armed. */
import type { Json } from '../engine/change.ts'
import type { TaskKind } from '../engine/kinds.ts'
import { stage } from './candidate.ts'
import { loadGuarded, placeGuarded } from './place.ts'
import { guardFor, type GuardHost, paramsOf, plain, preparedOf } from './tasks.ts'
import { takeBackConfirmed } from './undo.ts'

export function guardApply(host: GuardHost): TaskKind<Json> {
    return {
        kind: 'guard.apply',
        async do(given, context) {
            const params = paramsOf(given)
            if (!preparedOf(params, context).apply) return undefined
            const guard = guardFor(host, params, context)
            await placeGuarded(host, guard, params.actions, { dir: context.dir, at: stage }, context)
            return plain(await loadGuarded(host, guard, context))
        },
        undo: (given, context) => takeBackConfirmed(host, paramsOf(given), context),
    }
}
