/** Restores and undos: a conversation that ends in a plan, then the change. */
import { Type } from '@sinclair/typebox'
import { StartedChange } from '../../core/answers.ts'
import { Fault } from '../../core/errors.ts'
import { sshEndsOf } from '../../host/origin.ts'
import { startChange, untilIdle } from '../backups.ts'
import { keepLog } from '../change-log.ts'
import { planRestore, startRestore } from '../restore.ts'
import { route } from '../route.ts'
import { planUndo } from '../undo.ts'

const may = Type.Optional
const closed = { additionalProperties: false } as const

const Answers = Type.Record(
    Type.String({ pattern: '^[a-z][a-z0-9._-]{0,127}$' }),
    Type.String({ maxLength: 65_536 }),
    {
        description: 'answers by question id: to what was asked so far, and ahead',
        maxProperties: 64,
    },
)
const request = {
    backup: may(
        Type.String({
            minLength: 1,
            maxLength: 4096,
            description: 'an id, the beginning of one, latest, or an absolute path',
        }),
    ),
    mode: may(
        Type.Union([
            Type.Literal('full'),
            Type.Literal('storage'),
            Type.Literal('base'),
            Type.Literal('custom'),
        ]),
    ),
    categories: may(Type.Array(Type.String({ pattern: '^[a-z0-9_]{1,64}$' }), { maxItems: 256 })),
    cluster: may(Type.Union([Type.Literal('safe'), Type.Literal('recovery')])),
    allHosts: may(Type.Boolean({ description: 'offer backups of other hosts too' })),
    exact: may(Type.Boolean({ description: 'also remove what the backup does not have' })),
    answers: Answers,
    interactive: Type.Boolean({ description: 'somebody can be asked; without, safe defaults are taken' }),
}
const Request = Type.Object(request, closed)
const Start = Type.Object(
    {
        ...request,
        digest: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'of the plan that was shown' }),
    },
    closed,
)
const Planned = Type.Union([
    Type.Object({ question: Type.Record(Type.String(), Type.Unknown()) }),
    Type.Object({
        fetch: Type.Object(
            { backup: Type.String(), from: Type.String(), size: Type.Integer() },
            { description: 'it lies on a source: POST /v1/archives/fetch first, then ask again' },
        ),
    }),
    Type.Object({ plan: Type.Record(Type.String(), Type.Unknown()), digest: Type.String() }),
])

const Undo = Type.Object(
    {
        answers: Answers,
        interactive: Type.Boolean(),
    },
    closed,
)

export const restoreRoutes = [
    route({
        method: 'POST',
        path: '/v1/restores/plan',
        summary: 'the next question, or the plan; nothing is changed or remembered',
        access: 'root',
        body: Request,
        answer: Planned,
        handle: ({ body, signal, peer }, daemon) => planRestore(daemon, body, signal, sshEndsOf(peer.pid)),
    }),
    route({
        method: 'POST',
        path: '/v1/restores',
        summary: 'start the restore that was planned; refused when the plan is another one now',
        access: 'root',
        body: Start,
        answer: StartedChange,
        async handle({ body: { digest, ...request }, by, peer, signal }, daemon) {
            const session = sshEndsOf(peer.pid)
            return { change: await startRestore(daemon, request, digest, by, signal, session) }
        },
    }),
    route({
        method: 'GET',
        path: '/v1/changes/{id}/undo',
        summary: 'what an undo of the change would do, and what it cannot',
        access: 'root',
        answer: Type.Object({
            summary: Type.String(),
            steps: Type.Array(Type.String()),
            cannot: Type.Array(Type.String()),
        }),
        handle: ({ params, by }, daemon) => planUndo(daemon, params.id!, by).answer,
    }),
    route({
        method: 'POST',
        path: '/v1/changes/{id}/undo',
        summary: 'back to the state before the change',
        access: 'root',
        body: Undo,
        answer: StartedChange,
        async handle({ params, body, by, signal }, daemon) {
            const { confirm, ...answers } = body.answers
            if (confirm !== 'UNDO')
                throw new Fault('refused', 'cannot undo: it was not confirmed; nothing was changed', {
                    hint: 'type UNDO when asked, or give --answer confirm=UNDO',
                })
            await untilIdle(daemon, false, signal)
            const { plan } = planUndo(daemon, params.id!, by)
            const options = { answers, interactive: body.interactive }
            const started = await startChange(daemon, signal, () => plan, options)
            // A daemon that stops before leaves it to the next start.
            void keepLog(daemon.parts, started.change).catch(() => undefined)
            return started
        },
    }),
]
