/** What a change does to targets: publish an archive, remove an archive. */
import { Fault } from '../core/errors.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import type { Target } from '../engine/target.ts'

/** `type`, not `interface`: these are journaled as JSON. */
export type PublishParams = {
    target: string
    /** The finished local file. */
    source: string
    /** Its name on the target. */
    name: string
}

export type RemoveParams = { target: string; name: string }

/** Looks up a target when a task runs: the configuration may have changed since the change was planned. */
export type FindTarget = (name: string) => Target

/** Makes a finished archive visible. Undone only when this very change made it visible. */
export function targetPublish(find: FindTarget): TaskKind<PublishParams> {
    return {
        kind: 'target.publish',
        async do({ target: targetName, source, name }, context) {
            const target = find(targetName)
            const published = { target: targetName, name, place: target.place }
            const there = await isThere(target, name)
            // The daemon died between the publication and its record.
            if (there && isOurs(context)) return published
            if (there)
                throw new Fault('failed', `cannot publish ${name} to ${target.place}: it is there already`, {
                    facts: { exists: name },
                })
            context.remember({ ours: name })
            try {
                await target.publish(source, name, bytes => context.progress({ done: bytes, unit: 'bytes' }))
            } catch (error) {
                // Somebody else took the name meanwhile: then undo must not remove what is theirs.
                if (error instanceof Fault && error.facts.exists === name) context.remember(null)
                throw error
            }
            return published
        },
        async undo({ target, name }, context) {
            if (isOurs(context)) await find(target).remove(name)
        },
    }
}

/** Removes one archive; its plan said so beforehand, because nothing brings it back. */
export function archiveRemove(find: FindTarget): TaskKind<RemoveParams> {
    return {
        kind: 'archive.remove',
        irreversible: true,
        async do({ target, name }) {
            await find(target).remove(name)
            return undefined
        },
        async undo() {},
    }
}

function isOurs(context: TaskContext): boolean {
    const remembered = context.remembered()
    return remembered !== undefined && remembered !== null
}

async function isThere(target: Target, name: string): Promise<boolean> {
    return (await target.list()).some(archive => archive.name === name)
}
