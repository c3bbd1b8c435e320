/** Removing what the retention no longer keeps. */
import { Type } from '@sinclair/typebox'
import { type PruneResult, pruneChange, refuseBlocked } from '../../backup/prune.ts'
import { PruneAnswer } from '../../core/answers.ts'
import { planPruneOf, untilIdle } from '../backups.ts'
import { route } from '../route.ts'

const Order = Type.Object(
    {
        target: Type.Optional(Type.String({ maxLength: 64 })),
        dryRun: Type.Optional(Type.Boolean({ description: 'plan only' })),
    },
    { additionalProperties: false },
)

export const pruneRoutes = [
    route({
        method: 'POST',
        path: '/v1/prune',
        summary: 'plan what goes, and unless it is a dry run start the change that removes it',
        access: 'root',
        body: Order,
        answer: PruneAnswer,
        async handle({ body: { target, dryRun }, by, signal }, daemon): Promise<PruneAnswer> {
            if (dryRun !== true) await untilIdle(daemon, false, signal)
            if (target !== undefined) daemon.target(target)
            const results = await planPruneOf(daemon, target === undefined ? undefined : [target])
            const answer = describe(results)
            if (dryRun === true) return answer
            refuseBlocked(results)
            const plan = pruneChange(results, by, daemon.parts.clock.nowMs())
            return plan === undefined ? answer : { ...answer, change: daemon.parts.runner.start(plan) }
        },
    }),
]

function describe(results: readonly PruneResult[]): PruneAnswer {
    return {
        plan: results.flatMap(({ target, decisions }) =>
            decisions.map(({ name, size, verdict, reason, backup, createdMs }) => ({
                target,
                name,
                size,
                verdict,
                why: reason,
                ...(backup === undefined ? {} : { id: backup }),
                ...(createdMs === undefined ? {} : { created: new Date(createdMs).toISOString() }),
            })),
        ),
        blocked: results.flatMap(({ target, blocked }) =>
            blocked === undefined ? [] : [{ target, ...blocked }],
        ),
    }
}
