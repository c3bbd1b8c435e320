/** Work on one archive, done by a worker and streamed as it goes; a client that leaves ends the worker. */
import { type TSchema, Type } from '@sinclair/typebox'
import type { VerifyResult } from '../../backup/verify.ts'
import { Fault } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import type { Json } from '../../engine/change.ts'
import type { Identity as Key } from '../../archive/unlock.ts'
import { readSmallFile } from '../../host/atomic.ts'
import { readSigningKey } from '../../keys/signing-key.ts'
import { bringHere, type Here, identityFor, type Located, locate } from '../backups.ts'
import type { Daemon } from '../daemon.ts'
import { type Call, route } from '../route.ts'

const may = <S extends TSchema>(schema: S) => Type.Optional(schema)
const Backup = Type.String({
    minLength: 1,
    maxLength: 4096,
    description: 'an id, the beginning of one, latest, or an absolute path',
})
const AbsolutePath = Type.String({ pattern: '^/[^\\u0000]*$', maxLength: 4096 })
const Category = Type.String({ pattern: '^[a-z0-9_]{1,64}$' })
const Identity = Type.Union(
    [
        Type.Object({ texts: Type.Array(Type.String(), { maxItems: 16 }) }, { additionalProperties: false }),
        Type.Object(
            {
                passphrase: Type.String(),
                file: may(Type.String({ description: 'a protected identity, base64' })),
            },
            { additionalProperties: false },
        ),
    ],
    { description: 'texts of identity files, or a passphrase; without it the identity of this host' },
)
const closed = { additionalProperties: false } as const

const Fetch = Type.Object({ backup: Backup }, closed)
const Verify = Type.Object({ backup: Backup, deep: may(Type.Boolean()), identity: may(Identity) }, closed)
const Files = Type.Object({ backup: Backup, category: may(Category), identity: may(Identity) }, closed)
const Decrypt = Type.Object({ backup: Backup, output: AbsolutePath, identity: may(Identity) }, closed)
const Extract = Type.Object(
    {
        backup: Backup,
        output: AbsolutePath,
        paths: may(Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 10_000 })),
        category: may(Category),
        identity: may(Identity),
    },
    closed,
)
const Diff = Type.Object(
    {
        left: Backup,
        right: Type.String({ minLength: 1, maxLength: 4096, description: 'another backup, or live' }),
        categories: may(Type.Array(Category, { maxItems: 256 })),
        identity: may(Identity),
    },
    closed,
)

const Event = Type.Record(Type.String(), Type.Unknown(), {
    description: 'progress, warning, item, and last result or error',
})

/** Runs the operation; its events and then its result go to the client. */
async function stream(
    operation: string,
    params: unknown,
    call: Call<unknown, unknown>,
    daemon: Daemon,
): Promise<Json> {
    const value = await daemon.parts.runWorker(operation, JSON.parse(JSON.stringify(params)) as Json, {
        signal: call.signal,
        onEvent: event => call.send(event),
    })
    await call.send({ event: 'result', value })
    return value
}

/**
 * Hands out the archive as a file of this host, and what opens it; the progress of its download goes to the client too.
 * A passphrase that is missing is told before anything is downloaded.
 */
async function withArchive(
    { backup, identity, locked = true }: { backup: string; identity?: Key; locked?: boolean },
    call: Call<unknown, unknown>,
    daemon: Daemon,
    use: (here: Here, identities: Key | undefined) => Promise<void>,
): Promise<void> {
    const located = await locate(daemon, backup)
    const identities = locked ? identityFor(daemon, located, identity) : undefined
    const here = await bringHere(daemon, located, { signal: call.signal, onEvent: event => call.send(event) })
    try {
        await use(here, identities)
        here.release()
    } catch (error) {
        here.release(limits.downloadRetryMs)
        throw error
    }
}

/** Text of the file that says whose archives are trusted besides one's own. */
function allowedSigners(daemon: Daemon): string | undefined {
    const bytes = readSmallFile(`${daemon.keys.config}/allowed_signers`, limits.configBytes)
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8')
}

/** A verification that finds damage is remembered too: what was known is not true any more. */
async function verify(
    located: Located,
    deep: boolean,
    run: () => Promise<Json>,
    daemon: Daemon,
): Promise<void> {
    const { knowledge, parts } = daemon
    const { id } = located.manifest
    try {
        const { signature } = (await run()) as unknown as VerifyResult
        if (signature.state === 'own' || signature.state === 'trusted')
            knowledge.markVerified(id, { time: new Date(parts.clock.nowMs()).toISOString(), deep })
    } catch (error) {
        // With --deep a wrong key looks like damage; without, there is no key.
        if (!deep && error instanceof Fault && error.kind === 'damaged') knowledge.unmarkVerified(id)
        throw error
    }
}

export const archiveRoutes = [
    route({
        method: 'POST',
        path: '/v1/archives/fetch',
        summary: 'bring an archive of a source here for a restore; one that is here already ends at once',
        access: 'root',
        body: Fetch,
        answer: Event,
        stream: true,
        async handle(call, daemon) {
            const located = await locate(daemon, call.body.backup)
            const here = await bringHere(daemon, located, {
                signal: call.signal,
                onEvent: event => call.send(event),
            })
            here.release(limits.downloadKeptMs)
            await call.send({ event: 'result', value: { path: here.path } })
        },
    }),
    route({
        method: 'POST',
        path: '/v1/archives/verify',
        summary: 'is an archive whole, and who signed it',
        access: 'root',
        body: Verify,
        answer: Event,
        stream: true,
        async handle(call, daemon) {
            const { backup, deep = false, identity } = call.body
            const { state } = daemon.parts
            const allowed = allowedSigners(daemon)
            await withArchive({ backup, identity, locked: deep }, call, daemon, (here, identities) => {
                const params = {
                    path: here.path,
                    deep,
                    identities,
                    trust: {
                        own: readSigningKey(state)?.publicKey,
                        allowedSigners: allowed,
                    },
                    scratch: `${state}/scratch`,
                }
                return verify(here, deep, () => stream('archive.verify', params, call, daemon), daemon)
            })
        },
    }),
    route({
        method: 'POST',
        path: '/v1/archives/files',
        summary: 'the entries of an archive, one record each',
        access: 'root',
        body: Files,
        answer: Event,
        stream: true,
        async handle(call, daemon) {
            const { backup, category, identity } = call.body
            await withArchive({ backup, identity }, call, daemon, async ({ path }, identities) => {
                await stream('archive.files', { path, identities, category }, call, daemon)
            })
        },
    }),
    route({
        method: 'POST',
        path: '/v1/archives/decrypt',
        summary: 'a decrypted copy of an archive',
        access: 'root',
        body: Decrypt,
        answer: Event,
        stream: true,
        async handle(call, daemon) {
            const { backup, output, identity } = call.body
            const signingKey =
                readSigningKey(daemon.parts.state) === undefined
                    ? undefined
                    : `${daemon.parts.state}/signing_key`
            const rest = { output, signingKey, allowedSigners: allowedSigners(daemon) }
            await withArchive({ backup, identity }, call, daemon, async ({ path }, identities) => {
                await stream('archive.decrypt', { path, identities, ...rest }, call, daemon)
            })
        },
    }),
    route({
        method: 'POST',
        path: '/v1/archives/extract',
        summary: 'files, trees or a category out of an archive into a directory',
        access: 'root',
        body: Extract,
        answer: Event,
        stream: true,
        async handle(call, daemon) {
            const { backup, output, paths = [], category, identity } = call.body
            await withArchive({ backup, identity }, call, daemon, async ({ path }, identities) => {
                await stream('archive.extract', { path, identities, output, paths, category }, call, daemon)
            })
        },
    }),
    route({
        method: 'POST',
        path: '/v1/archives/diff',
        summary: 'what differs between an archive and another one, or the host as it is',
        access: 'root',
        body: Diff,
        answer: Event,
        stream: true,
        async handle(call, daemon) {
            const { left, right, categories, identity } = call.body
            const { root, state } = daemon.parts
            const never = [state, ...[...daemon.targets().values()].map(target => target.place)]
            const exclude = daemon.config.config.backup.exclude
            const live = { root, exclude, never, scratch: `${state}/scratch` }
            const compare = async (params: { left: object; right: object }) => {
                await stream('archive.diff', { ...params, categories }, call, daemon)
            }
            await withArchive({ backup: left, identity }, call, daemon, (here, identities) => {
                const one = { path: here.path, identities }
                if (right === 'live') return compare({ left: one, right: live })
                return withArchive({ backup: right, identity }, call, daemon, (other, keys) =>
                    compare({ left: one, right: { path: other.path, identities: keys } }),
                )
            })
        },
    }),
]
