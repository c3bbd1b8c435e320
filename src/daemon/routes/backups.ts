/** Backups: listing, one in full, making one. */
import { Type } from '@sinclair/typebox'
import { BackupDetail, BackupList, StartedChange } from '../../core/answers.ts'
import { asFault, Fault } from '../../core/errors.ts'
import { newestFirst } from '../../backup/list.ts'
import { listAll, listSources, locate, ownOnly, startBackup, upstreamDirectories } from '../backups.ts'
import type { Daemon } from '../daemon.ts'
import { route } from '../route.ts'
import { listUpstream } from '../upstream.ts'

const Query = Type.Object(
    {
        target: Type.Optional(Type.String({ maxLength: 64 })),
        all: Type.Optional(
            Type.Boolean({ description: 'those of other hosts too, and those of the Go ProxSave' }),
        ),
        directory: Type.Optional(
            Type.String({
                pattern: '^/[^\\u0000]*$',
                maxLength: 4096,
                description: 'instead: the archives of the Go ProxSave in this directory',
            }),
        ),
    },
    { additionalProperties: false },
)

const Order = Type.Object(
    {
        job: Type.Optional(Type.String({ maxLength: 64 })),
        target: Type.Optional(Type.String({ maxLength: 64 })),
        note: Type.Optional(Type.String({ maxLength: 1000, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })),
        pin: Type.Optional(Type.Boolean({ description: 'never remove it by prune' })),
        reason: Type.Optional(Type.String({ pattern: '^[a-z][a-z-]{0,31}$' })),
        wait: Type.Optional(Type.Boolean({ description: 'wait up to an hour while another change runs' })),
    },
    { additionalProperties: false },
)

export const backupRoutes = [
    route({
        method: 'GET',
        path: '/v1/backups',
        summary: 'the archives on the targets, newest first',
        access: 'root',
        query: Query,
        answer: BackupList,
        async handle({ query: { target, all, directory } }, daemon) {
            if (directory !== undefined) {
                const { backups, problems } = await listUpstream([directory.replace(/(?<=.)\/+$/, '')])
                if (problems[0] !== undefined) throw new Fault('failed', problems[0].message)
                return { backups: backups.sort(newestFirst) }
            }
            const { backups, targets } = await listAll(daemon, target)
            const silent = targets.filter(listed => listed.problem !== undefined)
            if (target !== undefined && silent[0] !== undefined) throw silent[0].problem
            const problems = silent.map(({ target: { name }, problem }) => ({
                target: name,
                message: problem!.message,
                hint: problem!.hint,
            }))
            if (all === true && target === undefined) {
                const remote = await listSources(daemon)
                backups.push(...remote.backups)
                for (const { target, problem } of remote.targets)
                    if (problem !== undefined)
                        problems.push({ target: target.name, message: problem.message, hint: problem.hint })
                const foreign = await listUpstream(upstreamDirectories(daemon))
                backups.push(...foreign.backups)
                backups.sort(newestFirst)
                const listed = new Set([...daemon.targets().values()].map(({ place }) => place))
                // A target that cannot be listed has said so already.
                for (const problem of foreign.problems)
                    if (!listed.has(problem.target)) problems.push({ hint: undefined, ...problem })
            }
            return {
                // Who names a source wants to see what is there.
                backups: all === true || daemon.sources().has(target ?? '') ? backups : ownOnly(backups),
                ...(problems.length > 0 ? { problems } : {}),
            }
        },
    }),
    route({
        method: 'GET',
        path: '/v1/backups/{id}',
        summary: 'one archive in full: an id, the beginning of one, latest, or an absolute path',
        access: 'root',
        answer: BackupDetail,
        async handle({ params }, daemon) {
            const { backup, manifest } = await locate(daemon, params.id!)
            return { backup, manifest }
        },
    }),
    route({
        method: 'POST',
        path: '/v1/backups',
        summary: 'start a backup; follow the events of its change',
        access: 'root',
        body: Order,
        answer: Type.Intersect([StartedChange, Type.Object({ strict: Type.Boolean() })]),
        async handle({ body, by, signal }, daemon) {
            const { hook } = daemon.config.config.apt
            if (body.reason === 'apt') refuseQuietly(daemon, hook)
            try {
                return { change: await startBackup(daemon, body, by, signal), strict: hook === 'strict' }
            } catch (error) {
                throw body.reason === 'apt' ? markStrict(error, hook) : error
            }
        },
    }),
]

/** What apt need not hear about: the hook is off, or a change runs. */
function refuseQuietly({ parts: { runner } }: Daemon, hook: 'on' | 'off' | 'strict'): void {
    const quiet = { facts: { quiet: 1 } }
    if (hook === 'off') throw new Fault('refused', 'cannot back up: the hook is off', quiet)
    if (runner.running() !== undefined)
        throw new Fault('conflict', 'cannot back up: a change is running', quiet)
}

function markStrict(error: unknown, hook: string): Fault {
    const fault = asFault(error)
    if (hook !== 'strict') return fault
    return new Fault(fault.kind, fault.message, { hint: fault.hint, facts: { ...fault.facts, strict: 1 } })
}
