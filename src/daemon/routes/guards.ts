/** Guards: what would revert by itself, confirming it, and rolling it back now. */
import { GuardInfo, GuardList } from '../../core/answers.ts'
import { originOf } from '../../host/origin.ts'
import { commitAsked, readGuards, rollbackAsked } from '../guards.ts'
import { route } from '../route.ts'

export const guardRoutes = [
    route({
        method: 'GET',
        path: '/v1/guards',
        summary: 'every guard that left a directory, newest first',
        access: 'root',
        answer: GuardList,
        handle: (_, daemon) => ({ guards: readGuards(daemon) }),
    }),
    route({
        method: 'POST',
        path: '/v1/guards/{id}/commit',
        summary:
            'keep what is guarded: a guard, a change, the beginning of one, or armed; refused over a connection that is older than the new state or was begun from one',
        access: 'root',
        answer: GuardInfo,
        handle: ({ params, peer, by }, daemon) => commitAsked(daemon, params.id!, originOf(peer.pid), by),
    }),
    route({
        method: 'POST',
        path: '/v1/guards/{id}/rollback',
        summary: 'bring back what was; answers as soon as that has begun',
        access: 'root',
        answer: GuardInfo,
        handle: ({ params, by }, daemon) => rollbackAsked(daemon, params.id!, by),
    }),
]
