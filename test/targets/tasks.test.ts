/** The tasks on targets: what a crash at each point leads to, and that undo never removes what is someone else's. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import type { Json } from '../../src/engine/change.ts'
import type { TaskContext } from '../../src/engine/kinds.ts'
import type { Target } from '../../src/engine/target.ts'
import { archiveRemove, targetPublish } from '../../src/targets/tasks.ts'
import { faultOf } from './conformance.ts'

const name = 'pve1_20261120T023000Z.proxsave.tar'
const params = { target: 'local', source: '/spool/x', name }

/** A target in memory: a set of names, and what happens when one is published. */
function memoryTarget(names: Set<string>, onPublish: () => void = () => undefined): Target {
    return {
        name: 'local',
        type: 'memory',
        place: 'memory',
        spool: () => undefined,
        freeBytes: () => undefined,
        list: async () => [...names].map(name => ({ name, size: 1, modifiedMs: 0 })),
        read: async () => new Uint8Array(),
        localPath: () => undefined,
        publish: async (_source, name, progress) => {
            onPublish()
            names.add(name)
            progress?.(1)
        },
        remove: async name => void names.delete(name),
        sweep: async () => [],
    }
}

function contextOf(stored?: Json): TaskContext {
    let memory = stored
    return {
        change: 'c',
        task: 't',
        results: new Map(),
        dir: '/nowhere',
        signal: new AbortController().signal,
        progress: () => undefined,
        log: () => undefined,
        warn: () => undefined,
        fact: () => undefined,
        remember: value => {
            memory = value
        },
        remembered: () => memory,
        ask: async question => question.safe,
    }
}

describe('target.publish', () => {
    test('publishes, and its undo removes it again, twice without complaint', async () => {
        const names = new Set(['other'])
        const task = targetPublish(() => memoryTarget(names))
        const context = contextOf()
        expect(await task.do(params, context)).toEqual({ target: 'local', name, place: 'memory' })
        expect([...names]).toEqual(['other', name])
        await task.undo(params, context)
        await task.undo(params, context)
        expect([...names]).toEqual(['other'])
    })

    test('refuses a name that is taken, and its undo leaves that archive alone', async () => {
        const names = new Set([name])
        const task = targetPublish(() => memoryTarget(names))
        const context = contextOf()
        expect((await faultOf(task.do(params, context))).facts.exists).toBe(name)
        await task.undo(params, context)
        expect([...names]).toEqual([name])
    })

    test('whose name was taken in the last moment leaves that archive alone too', async () => {
        const names = new Set<string>()
        const task = targetPublish(() =>
            memoryTarget(names, () => {
                names.add(name)
                throw new Fault('failed', 'cannot publish', { facts: { exists: name } })
            }),
        )
        const context = contextOf()
        await faultOf(task.do(params, context))
        await task.undo(params, context)
        expect([...names]).toEqual([name])
    })

    test('that never began is undone by doing nothing', async () => {
        const names = new Set([name])
        await targetPublish(() => memoryTarget(names)).undo(params, contextOf())
        expect([...names]).toEqual([name])
    })

    test('that was done before a crash is done when it runs again', async () => {
        const names = new Set<string>()
        let published = 0
        const task = targetPublish(() => memoryTarget(names, () => published++))
        const context = contextOf()
        await task.do(params, context)
        expect(await task.do(params, context)).toEqual({ target: 'local', name, place: 'memory' })
        expect(published).toBe(1)
    })

    test('whose attempt failed publishes when it runs again', async () => {
        const names = new Set<string>()
        let attempts = 0
        const task = targetPublish(() =>
            memoryTarget(names, () => {
                if (attempts++ === 0) throw new Fault('failed', 'cannot publish: the disk is gone')
            }),
        )
        const context = contextOf()
        await faultOf(task.do(params, context))
        await task.do(params, context)
        expect([...names]).toEqual([name])
    })
})

test('archive.remove removes, again without complaint, and says that it cannot be undone', async () => {
    const names = new Set([name])
    const task = archiveRemove(() => memoryTarget(names))
    await task.do({ target: 'local', name }, contextOf())
    await task.do({ target: 'local', name }, contextOf())
    expect([...names]).toEqual([])
    expect(task.irreversible).toBe(true)
})
