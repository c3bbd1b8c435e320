/** Setting a host up: keys, target, schedule; what is there already stays. */
import { Type } from '@sinclair/typebox'
import { SetupAnswer, SetupState } from '../../core/answers.ts'
import { route } from '../route.ts'
import { planSetup, setupState } from '../setup.ts'
import { startChange, untilIdle } from '../backups.ts'
import { upstreamPlaces } from '../upstream.ts'

const Order = Type.Object(
    {
        adopt: Type.Optional(Type.String({ maxLength: 64, description: 'a host id, or new' })),
        keys: Type.Optional(Type.Boolean({ description: 'make an identity when there is no recipient' })),
        passphrase: Type.Optional(Type.String({ minLength: 8, maxLength: 1024 })),
        recipients: Type.Optional(Type.Array(Type.String({ maxLength: 8192 }), { maxItems: 32 })),
        configure: Type.Optional(
            Type.Boolean({ description: 'write a target and a job when there is none' }),
        ),
        targetPath: Type.Optional(Type.String({ pattern: '^/[^\\u0000-\\u001f\\u007f]*$', maxLength: 4096 })),
        schedule: Type.Optional(Type.String({ maxLength: 200 })),
        source: Type.Optional(
            Type.Boolean({
                description: 'with configure: false does not write the remote of the Go ProxSave as a source',
            }),
        ),
    },
    { additionalProperties: false },
)

export const setupRoutes = [
    route({
        method: 'GET',
        path: '/v1/setup',
        summary: 'what setup would find and keep, and whether it would take a schedule',
        access: 'root',
        query: Type.Object(
            { schedule: Type.Optional(Type.String({ maxLength: 200 })) },
            { additionalProperties: false },
        ),
        answer: SetupState,
        handle: ({ query }, daemon) => setupState(daemon, query.schedule),
    }),
    route({
        method: 'POST',
        path: '/v1/setup',
        summary: 'keys, target and schedule; starts a change unless there is nothing to do',
        access: 'root',
        body: Order,
        answer: SetupAnswer,
        async handle({ body, by, signal }, daemon) {
            await untilIdle(daemon, false, signal)
            const { plan, steps } = await planSetup(daemon, body, by)
            const notes = upstreamNotes(daemon.parts.root)
            if (plan === undefined) return { steps, ...notes }
            return { steps, ...notes, ...(await startChange(daemon, signal, () => plan)) }
        },
    }),
]

/** What setup tells beside what it does: where archives of the Go tool are. Its schedule and its targets are not taken over. */
function upstreamNotes(root: string): { notes?: string[] } {
    const places = upstreamPlaces(root)
    if (places === undefined) return {}
    const where = [...places.directories, ...(places.remote === undefined ? [] : [places.remote])].join(', ')
    return {
        notes: [
            `the Go ProxSave was used here (${places.file}), its archives are in ${where || 'no known place'}: proxsavectl list --all-hosts shows them`,
        ],
    }
}
