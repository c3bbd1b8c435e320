import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import {
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    statSync,
    writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import { limits } from '../../src/core/limits.ts'
import type { Json, Plan } from '../../src/engine/change.ts'
import { type TaskContext, TaskKinds } from '../../src/engine/kinds.ts'
import { openProtectedIdentity } from '../../src/format/age.ts'
import { identityFrom, parseIdentities, recipientOf } from '../../src/format/age-keys.ts'
import {
    type KeyDependencies,
    listKeys,
    loadIdentity,
    planGenerate,
    planRemoveIdentity,
} from '../../src/keys/identity.ts'
import { registerKeyTasks } from '../../src/keys/index.ts'
import { keyPaths } from '../../src/keys/paths.ts'
import {
    addToText,
    loadRecipients,
    planAddRecipient,
    planRemoveRecipient,
    removeFromText,
} from '../../src/keys/recipients.ts'
import { markSheetPrinted } from '../../src/keys/record.ts'

const random = (bytes: number) => new Uint8Array(randomBytes(bytes))
const ssh = `ssh-ed25519 ${Buffer.concat([Buffer.from('\0\0\0\x0bssh-ed25519\0\0\0\x20', 'latin1'), Buffer.alloc(32, 88)]).toString('base64')}`

let dir: string
let dependencies: KeyDependencies
let kinds: TaskKinds
beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'proxsave-keys-'))
    mkdirSync(join(dir, 'state'))
    dependencies = {
        paths: keyPaths(join(dir, 'root'), join(dir, 'state')),
        random,
        nowMs: () => Date.UTC(2026, 10, 20, 2, 30),
        passphrase: reference => (reference === 'r1' ? 'correct horse' : undefined),
    }
    kinds = new TaskKinds()
    registerKeyTasks(kinds, dependencies)
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** A change in small: remembers as the journal does, by value, and can forget that a task was ever begun. */
function context(
    memory: { value?: Json } = {},
): TaskContext & { memory: { value?: Json }; warnings: string[] } {
    const warnings: string[] = []
    return {
        memory,
        warnings,
        change: 'c',
        task: 't1',
        results: new Map(),
        dir,
        signal: new AbortController().signal,
        progress() {},
        log() {},
        warn: text => warnings.push(text),
        fact() {},
        remember: value => {
            memory.value = structuredClone(value)
        },
        remembered: () => memory.value,
        ask: async question => question.safe,
    }
}

async function run(plan: Plan, memory = context()): Promise<Json | undefined> {
    const task = plan.tasks[0]!
    return kinds.get(task.kind).do(JSON.parse(JSON.stringify(task.params)), memory)
}

async function undo(plan: Plan, memory: TaskContext): Promise<void> {
    const task = plan.tasks[0]!
    await kinds.get(task.kind).undo(JSON.parse(JSON.stringify(task.params)), memory)
}

async function fault(work: () => unknown): Promise<Fault> {
    try {
        await work()
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error('nothing was thrown')
}

const recipientNumber = async (n: number) =>
    recipientOf(parseIdentities(identityFrom(new Uint8Array(32).fill(n)))[0]!)

describe('making an identity', () => {
    test('leaves a private file and its recipient in the list', async () => {
        const { paths } = dependencies
        const plan = planGenerate(paths, 'root@tty1', { comment: 'pve1' })
        const result = await run(plan)
        expect(statSync(paths.identity).mode & 0o777).toBe(0o600)
        const [identity] = parseIdentities(readFileSync(paths.identity, 'utf8'))
        const recipient = await recipientOf(identity!)
        expect(result).toEqual({ recipient, path: paths.identity, protected: false })
        expect(readFileSync(paths.recipients, 'utf8')).toBe(`# pve1\n${recipient}\n`)
        expect(statSync(paths.recipients).mode & 0o777).toBe(0o644)
        expect(readdirSync(paths.config).sort()).toEqual(['identity.txt', 'recipients'])
    })

    test('with a passphrase leaves only the protected one', async () => {
        const { paths } = dependencies
        const memory = context()
        const plan = planGenerate(paths, 'root', { comment: 'pve1', passphrase: 'r1' })
        const result = await run(plan, memory)
        expect(existsSync(paths.identity)).toBe(false)
        expect(statSync(paths.protectedIdentity).mode & 0o777).toBe(0o600)
        const text = await openProtectedIdentity(readFileSync(paths.protectedIdentity), 'correct horse')
        expect((result as { recipient: string }).recipient).toBe(await recipientOf(parseIdentities(text)[0]!))
        const list = await listKeys(paths)
        expect(list.recipients[0]).toMatchObject({ identity: 'protected' })
        expect(list.plainIdentity).toBe(false)
        expect(loadIdentity(paths)?.kind).toBe('protected')
        // What the journal would hold has neither the passphrase nor the key.
        const journal = JSON.stringify([plan, memory.memory.value, result])
        expect(journal).not.toContain('correct horse')
        expect(journal).not.toContain('SECRET')
    }, 20_000)

    test('puts no secret into plan, memory or result', async () => {
        const memory = context()
        const plan = planGenerate(dependencies.paths, 'root', { comment: '' })
        const result = await run(plan, memory)
        const secret = readFileSync(dependencies.paths.identity, 'utf8').trim().split('\n').at(-1)!
        expect(secret).toStartWith('AGE-SECRET-KEY-1')
        expect(JSON.stringify([plan, memory.memory.value, result])).not.toContain(secret.slice(17, 40))
    })

    test('never overwrites one', async () => {
        const { paths } = dependencies
        const plan = planGenerate(paths, 'root', { comment: '' })
        mkdirSync(paths.config, { recursive: true })
        for (const path of [paths.identity, paths.protectedIdentity]) {
            writeFileSync(path, 'a treasure')
            expect((await fault(() => planGenerate(paths, 'root', { comment: '' }))).message).toContain(
                'never overwritten',
            )
            const memory = context()
            expect((await fault(() => run(plan, memory))).message).toContain('never overwritten')
            await undo(plan, memory)
            expect(readFileSync(path, 'utf8')).toBe('a treasure')
            expect(existsSync(paths.recipients)).toBe(false)
            rmSync(path)
        }
    })

    test('run again after a crash ends as one run would, whatever was done by then', async () => {
        const { paths } = dependencies
        const plan = planGenerate(paths, 'root', { comment: 'pve1' })
        const memory = context()
        const result = await run(plan, memory)
        const whole = [readFileSync(paths.identity, 'utf8'), readFileSync(paths.recipients, 'utf8')]
        expect(await run(plan, context(memory.memory))).toEqual(result)
        expect([readFileSync(paths.identity, 'utf8'), readFileSync(paths.recipients, 'utf8')]).toEqual(whole)
        // Killed between the identity and the list.
        rmSync(paths.recipients)
        expect(await run(plan, context({ value: memory.memory.value! }))).toEqual(result)
        expect([readFileSync(paths.identity, 'utf8'), readFileSync(paths.recipients, 'utf8')]).toEqual(whole)
        // Killed after remembering, before anything was written.
        rmSync(paths.recipients)
        rmSync(paths.identity)
        await run(plan, context({ value: memory.memory.value! }))
        expect(loadRecipients(paths).length).toBe(1)
    })

    test('that fails half-way leaves nothing', async () => {
        const { paths } = dependencies
        mkdirSync(paths.config, { recursive: true })
        const before = `${(await Promise.all(Array.from({ length: limits.recipients }, (_, n) => recipientNumber(n + 1)))).join('\n')}\n`
        const plan = planGenerate(paths, 'root', { comment: '' })
        writeFileSync(paths.recipients, before)
        expect((await fault(() => run(plan))).message).toContain('more than 32')
        expect(readdirSync(paths.config)).toEqual(['recipients'])
        expect(readFileSync(paths.recipients, 'utf8')).toBe(before)
        expect((await fault(() => planGenerate(paths, 'root', { comment: '' }))).message).toContain('already')
    })

    test('with a passphrase that is no longer known fails and leaves nothing', async () => {
        const plan = planGenerate(dependencies.paths, 'root', { comment: '', passphrase: 'gone' })
        expect((await fault(() => run(plan))).message).toContain('no longer known')
        expect(existsSync(dependencies.paths.config)).toBe(false)
    })
})

describe('recipients', () => {
    test('are added and removed, and undo restores the file to the byte', async () => {
        const { paths } = dependencies
        const one = await recipientNumber(1)
        const two = await recipientNumber(2)
        mkdirSync(paths.config, { recursive: true })
        const original = `# by hand, no newline at the end\n${one}   # the safe`
        writeFileSync(paths.recipients, original)
        const adding = planAddRecipient(paths, 'root', `${ssh} root@laptop`)
        const added = context()
        await run(adding, added)
        expect(loadRecipients(paths).map(({ text, comment }) => [text, comment])).toEqual([
            [one, 'the safe'],
            [ssh, 'root@laptop'],
        ])
        expect((await fault(() => planAddRecipient(paths, 'root', ssh))).message).toContain('already')
        const removing = planRemoveRecipient(paths, 'root', 'the safe')
        const removed = context()
        await run(removing, removed)
        expect(loadRecipients(paths).map(({ text }) => text)).toEqual([ssh])
        await undo(removing, removed)
        await undo(removing, removed)
        await undo(adding, added)
        await undo(adding, added)
        expect(readFileSync(paths.recipients, 'utf8')).toBe(original)

        // Edited by a person in between: only this change is taken back.
        const memory = context()
        await run(adding, memory)
        writeFileSync(paths.recipients, addToText(readFileSync(paths.recipients, 'utf8'), two, 'by a person'))
        await undo(adding, memory)
        expect(loadRecipients(paths).map(({ text }) => text)).toEqual([one, two])
    })

    test('undo before the do, and undo of the first one', async () => {
        const { paths } = dependencies
        const plan = planAddRecipient(paths, 'root', ssh)
        await undo(plan, context())
        const memory = context()
        await run(plan, memory)
        await run(plan, memory)
        expect(loadRecipients(paths).length).toBe(1)
        await undo(plan, memory)
        expect(existsSync(paths.recipients)).toBe(false)
    })

    test('the last one stays, and a name must fit exactly one', async () => {
        const { paths } = dependencies
        await run(planAddRecipient(paths, 'root', ssh))
        const found = await fault(() => planRemoveRecipient(paths, 'root', ssh))
        expect(found.kind).toBe('refused')
        await run(planAddRecipient(paths, 'root', await recipientNumber(1), 'twin'))
        await run(planAddRecipient(paths, 'root', await recipientNumber(2), 'twin'))
        expect((await fault(() => planRemoveRecipient(paths, 'root', 'twin'))).message).toContain(
            'more than one',
        )
        expect((await fault(() => planRemoveRecipient(paths, 'root', 'nobody'))).message).toContain('none')
        const prefix = (await recipientNumber(2)).slice(0, 20)
        expect(planRemoveRecipient(paths, 'root', prefix).tasks[0]!.params).toMatchObject({
            recipient: await recipientNumber(2),
        })
    })

    test('a private identity is never added', async () => {
        const found = await fault(() =>
            planAddRecipient(dependencies.paths, 'root', identityFrom(new Uint8Array(32))),
        )
        expect(found.message).not.toContain('AGE-SECRET-KEY-1Q')
    })

    test('a malformed list is reported with its line and left alone', async () => {
        const { paths } = dependencies
        mkdirSync(paths.config, { recursive: true })
        writeFileSync(paths.recipients, '# mine\nage1oops\n')
        for (const work of [
            () => planAddRecipient(paths, 'root', ssh),
            () => planGenerate(paths, 'root', { comment: '' }),
            () => listKeys(paths),
        ])
            expect((await fault(work)).message).toContain('line 2')
        expect(readFileSync(paths.recipients, 'utf8')).toBe('# mine\nage1oops\n')
    })

    test('editing keeps every other line', async () => {
        const one = await recipientNumber(1)
        expect(removeFromText(`# head\n\n# a\n${one}\n# b\n${ssh} who\n`, one)).toBe(
            `# head\n\n# b\n${ssh} who\n`,
        )
        expect(removeFromText(`${one}\n${ssh} who\n${one}`, one)).toBe(`${ssh} who\n`)
        expect(addToText('# x', one, 'two\nlines')).toBe(`# x\n# two lines\n${one}\n`)
    })
})

describe('taking the identity off the host', () => {
    test('is refused until its sheet was printed, unless forced', async () => {
        const { paths } = dependencies
        await run(planGenerate(paths, 'root', { comment: '' }))
        const [{ recipient }] = loadRecipients(paths).map(({ text }) => ({ recipient: text })) as [
            { recipient: string },
        ]
        expect((await listKeys(paths)).unprinted).toEqual([recipient])
        const found = await fault(() => planRemoveIdentity(paths, 'root'))
        expect([found.kind, found.exitStatus]).toEqual(['refused', 4])
        expect(found.hint).toContain('keys sheet')
        expect((await planRemoveIdentity(paths, 'root', true)).tasks.length).toBe(1)

        markSheetPrinted(paths, [recipient], Date.UTC(2026, 0, 1))
        expect(await listKeys(paths)).toMatchObject({
            unprinted: [],
            plainIdentity: true,
            recipients: [{ identity: 'plain', sheetPrinted: '2026-01-01T00:00:00.000Z' }],
        })
        const plan = await planRemoveIdentity(paths, 'root')
        await run(plan)
        expect(existsSync(paths.identity)).toBe(false)
        expect(loadRecipients(paths).length).toBe(1)
        expect(loadIdentity(paths)).toBeUndefined()
        expect(await listKeys(paths)).toMatchObject({ identities: [], recipients: [{ identity: 'none' }] })
        // A crash right behind the removal: it runs again, and finds nothing to do.
        await run(plan)
        expect((await fault(() => planRemoveIdentity(paths, 'root'))).message).toContain('none on this host')
    })

    test('takes no other identity than the planned one, and no other file', async () => {
        const { paths } = dependencies
        await run(planGenerate(paths, 'root', { comment: '' }))
        const plan = await planRemoveIdentity(paths, 'root', true)
        writeFileSync(paths.identity, identityFrom(new Uint8Array(32).fill(1)))
        expect((await fault(() => run(plan))).message).toContain('another identity')
        expect(existsSync(paths.identity)).toBe(true)
        const evil = { ...plan, tasks: [{ ...plan.tasks[0]!, params: { path: join(dir, 'x'), sha256: '' } }] }
        expect((await fault(() => run(evil))).message).toContain('not the identity')
    })

    test('behind a passphrase needs force, printed or not: later archives would carry no copy', async () => {
        const { paths } = dependencies
        const plan = planGenerate(paths, 'root', { comment: '', passphrase: 'r1' })
        await run(plan)
        markSheetPrinted(paths, [loadRecipients(paths)[0]!.text], Date.UTC(2026, 0, 1))
        const found = await fault(() => planRemoveIdentity(paths, 'root'))
        expect([found.kind, found.hint]).toEqual(['refused', expect.stringContaining('it may stay')])
        expect((await planRemoveIdentity(paths, 'root', true)).tasks.length).toBe(1)
    })

    test('of unknown recipients needs force', async () => {
        const { paths } = dependencies
        mkdirSync(paths.config, { recursive: true })
        writeFileSync(paths.protectedIdentity, 'age-encryption.org/v1\n', { mode: 0o600 })
        expect((await fault(() => planRemoveIdentity(paths, 'root'))).kind).toBe('refused')
        expect(await listKeys(paths)).toMatchObject({
            identities: [{ protected: true, recipients: [], listed: false }],
        })
    })
})

test('a list that cannot be read or written leaves no identity behind', async () => {
    const { paths } = dependencies
    const plan = planGenerate(paths, 'root', { comment: '' })
    mkdirSync(paths.recipients, { recursive: true })
    const memory = context()
    expect((await fault(() => run(plan, memory))).message).toContain('not a regular file')
    // It had been there, and was taken back.
    expect(memory.memory.value).toMatchObject({ path: paths.identity })
    expect(readdirSync(paths.config)).toEqual(['recipients'])
})

test('a file in the place of the directory is said to be in the way', async () => {
    mkdirSync(join(dir, 'root/etc'), { recursive: true })
    const plan = planGenerate(dependencies.paths, 'root', { comment: '' })
    writeFileSync(dependencies.paths.config, '')
    expect((await fault(() => run(plan))).message).toStartWith('cannot ')
    expect(readFileSync(dependencies.paths.config, 'utf8')).toBe('')
})
