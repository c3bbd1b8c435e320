/** Removing what the retention no longer keeps, and what restores exported. */
import { Type } from '@sinclair/typebox'
import { type PruneResult, pruneChange, refuseBlocked } from '../../backup/prune.ts'
import { ExportsAnswer, PruneAnswer } from '../../core/answers.ts'
import { parseDuration } from '../../core/units.ts'
import { exportsChange, type ExportsDecision, planExports } from '../../restore/exports.ts'
import { planPruneOf, untilIdle } from '../backups.ts'
import type { Daemon } from '../daemon.ts'
import { route } from '../route.ts'

const Order = Type.Object(
    {
        target: Type.Optional(Type.String({ maxLength: 64 })),
        dryRun: Type.Optional(Type.Boolean({ description: 'plan only' })),
    },
    { additionalProperties: false },
)

const ExportsOrder = Type.Object(
    {
        olderThan: Type.Optional(
            Type.String({ maxLength: 64, description: 'a duration such as 30d; without it all go' }),
        ),
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
    route({
        method: 'POST',
        path: '/v1/exports/prune',
        summary:
            'plan which exports of restores go, and unless it is a dry run start the change that removes them',
        access: 'root',
        body: ExportsOrder,
        answer: ExportsAnswer,
        async handle({ body: { olderThan, dryRun }, by, signal }, daemon): Promise<ExportsAnswer> {
            const { state, clock, runner } = daemon.parts
            const olderThanMs = olderThan === undefined ? undefined : parseDuration(olderThan)
            if (dryRun !== true) await untilIdle(daemon, false, signal)
            const nowMs = clock.nowMs()
            const decisions = await planExports({ state, olderThanMs, neededBy: neededBy(daemon), nowMs })
            const answer = describeExports(decisions)
            const plan = dryRun === true ? undefined : exportsChange(decisions, by, nowMs)
            return plan === undefined ? answer : { ...answer, change: runner.start(plan) }
        },
    }),
]

/** Whatever its plan names may still be written, or taken away, by a change that is not finished. */
function neededBy({ parts: { store } }: Daemon): (name: string) => string | undefined {
    const plans = store.unended().map(id => ({ id, text: JSON.stringify(store.replay(id)?.plan ?? null) }))
    return name => plans.find(({ text }) => text.includes(name))?.id
}

function describeExports(decisions: readonly ExportsDecision[]): ExportsAnswer {
    return {
        plan: decisions.map(({ name, path, createdMs, bytes, entries, verdict, why }) => ({
            name,
            path,
            created: new Date(createdMs).toISOString(),
            size: bytes,
            entries,
            verdict,
            why,
        })),
    }
}

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
