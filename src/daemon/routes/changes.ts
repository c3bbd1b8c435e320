/** Changes: history, one in full, its events as they come, answers, cancelling. */
import { Type } from '@sinclair/typebox'
import { ChangeInfo, ChangeList } from '../../core/answers.ts'
import type { ChangeEvent } from '../../engine/change.ts'
import type { JournalRecord } from '../../engine/ledger.ts'
import { originOf } from '../../host/origin.ts'
import { checkAnswer } from '../guards.ts'
import { route } from '../route.ts'
import { changeInfo } from '../status.ts'

const Answer = Type.Object(
    { id: Type.String({ maxLength: 128 }), value: Type.String({ maxLength: 65_536 }) },
    { additionalProperties: false },
)
const After = Type.Object(
    { after: Type.Optional(Type.Integer({ minimum: 0, description: 'only events behind this number' })) },
    { additionalProperties: false },
)
const Event = Type.Record(Type.String(), Type.Unknown(), { description: 'one event; the last is "end"' })

export const changeRoutes = [
    route({
        method: 'GET',
        path: '/v1/changes',
        summary: 'every change, newest first',
        access: 'root',
        answer: ChangeList,
        handle: (_, { parts: { store } }) => ({ changes: store.list().map(changeInfo) }),
    }),
    route({
        method: 'GET',
        path: '/v1/changes/{id}',
        summary: 'one change with its events so far',
        access: 'root',
        answer: Type.Intersect([ChangeInfo, Type.Object({ events: Type.Array(Event) })]),
        handle({ params }, { parts: { store } }) {
            const id = store.find(params.id!)
            const reader = store.reader(id)
            const events: ChangeEvent[] = []
            for (let record = reader.next(); record !== undefined; record = reader.next())
                events.push((record as unknown as JournalRecord).event)
            return { ...changeInfo(store.summary(id)), events }
        },
    }),
    route({
        method: 'GET',
        path: '/v1/changes/{id}/events',
        summary: 'the events of a change, those to come included, up to its end',
        access: 'root',
        query: After,
        answer: Event,
        stream: true,
        async handle({ params, query, signal, send }, { parts: { store, runner } }) {
            const events = runner.events(store.find(params.id!), query.after ?? 0)
            const leave = () => void events.return?.()
            signal.addEventListener('abort', leave, { once: true })
            try {
                for await (const event of events) await send(event)
            } finally {
                signal.removeEventListener('abort', leave)
            }
        },
    }),
    route({
        method: 'POST',
        path: '/v1/changes/{id}/answers',
        summary:
            'answer a question of a running change; one that confirms a guard needs a connection younger than the new state',
        access: 'root',
        body: Answer,
        handle({ params, body, by, peer }, daemon) {
            const { store, runner } = daemon.parts
            const change = store.find(params.id!)
            checkAnswer(daemon, change, body, originOf(peer.pid))
            runner.answer(change, body.id, body.value, by)
            return {}
        },
    }),
    route({
        method: 'POST',
        path: '/v1/changes/{id}/cancel',
        summary: 'stop at the next task boundary and undo',
        access: 'root',
        handle({ params, by }, { parts: { store, runner } }) {
            const change = store.find(params.id!)
            runner.cancel(change, by)
            return { change }
        },
    }),
]
