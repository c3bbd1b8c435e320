/** Recipients and the private identity. */
import { Type } from '@sinclair/typebox'
import { Keys, Sheet, StartedChange } from '../../core/answers.ts'
import { listKeys, planGenerate, planRemoveIdentity } from '../../keys/identity.ts'
import { planAddRecipient, planRemoveRecipient } from '../../keys/recipients.ts'
import { readSigningKey } from '../../keys/signing-key.ts'
import { makeSheet, notePrinted } from '../keys.ts'
import { startChange } from '../backups.ts'
import { keepSecret } from '../secrets.ts'
import { route } from '../route.ts'

const Passphrase = Type.String({ minLength: 8, maxLength: 1024 })
const Comment = Type.String({ maxLength: 200, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })
const closed = { additionalProperties: false } as const

export const keyRoutes = [
    route({
        method: 'GET',
        path: '/v1/keys',
        summary: 'recipients, identities on the host, the signing key; no secret',
        access: 'root',
        answer: Keys,
        async handle(_, daemon) {
            const signing = readSigningKey(daemon.parts.state)
            return {
                ...(await listKeys(daemon.keys)),
                signing:
                    signing === undefined
                        ? null
                        : { fingerprint: signing.fingerprint, publicKey: signing.publicKey },
            }
        },
    }),
    route({
        method: 'POST',
        path: '/v1/keys',
        summary: 'make an identity, in the plain or behind a passphrase',
        access: 'root',
        body: Type.Object({ comment: Type.Optional(Comment), passphrase: Type.Optional(Passphrase) }, closed),
        answer: StartedChange,
        handle: ({ body, by, signal }, daemon) =>
            startChange(daemon, signal, () =>
                planGenerate(daemon.keys, by, {
                    comment: body.comment ?? daemon.product().hostname,
                    passphrase:
                        body.passphrase === undefined ? undefined : keepSecret(daemon, body.passphrase),
                }),
            ),
    }),
    route({
        method: 'POST',
        path: '/v1/keys/recipients',
        summary: 'add a recipient: an age or an ssh public key',
        access: 'root',
        body: Type.Object(
            { recipient: Type.String({ maxLength: 8192 }), comment: Type.Optional(Comment) },
            closed,
        ),
        answer: StartedChange,
        handle: ({ body, by, signal }, daemon) =>
            startChange(daemon, signal, () =>
                planAddRecipient(daemon.keys, by, body.recipient, body.comment),
            ),
    }),
    route({
        method: 'DELETE',
        path: '/v1/keys/recipients/{recipient}',
        summary: 'remove a recipient, named by its text, the beginning of it, or its comment',
        access: 'root',
        answer: StartedChange,
        handle: ({ params, by, signal }, daemon) =>
            startChange(daemon, signal, () => planRemoveRecipient(daemon.keys, by, params.recipient!)),
    }),
    route({
        method: 'DELETE',
        path: '/v1/keys/identity',
        summary: 'take the private identity off the host, for good',
        access: 'root',
        query: Type.Object(
            { force: Type.Optional(Type.Boolean({ description: 'although it was never printed' })) },
            closed,
        ),
        answer: StartedChange,
        handle: ({ query, by, signal }, daemon) =>
            startChange(daemon, signal, () => planRemoveIdentity(daemon.keys, by, query.force === true)),
    }),
    route({
        method: 'POST',
        path: '/v1/keys/sheet',
        summary: 'the recovery sheet, as text and as a page',
        access: 'root',
        body: Type.Object(
            {
                secrets: Type.Optional(
                    Type.Boolean({ description: 'with the private identity; for a terminal or paper' }),
                ),
                colour: Type.Optional(Type.Boolean()),
            },
            closed,
        ),
        answer: Sheet,
        handle: ({ body }, daemon) => makeSheet(daemon, body),
    }),
    route({
        method: 'POST',
        path: '/v1/keys/sheet/printed',
        summary: 'note that the sheet was printed: the identity may leave the host',
        access: 'root',
        handle: (_, daemon) => notePrinted(daemon),
    }),
]
