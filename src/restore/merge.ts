/** Writes what the mergers make of a saved file and the live one, and puts back what stood there. */
import { Fault } from '../core/errors.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import type { ByteString } from '../format/tar-write.ts'
import { temporaryOf } from '../host/disk.ts'
import { type Exec, outputOf } from '../host/exec.ts'
import { readConfiguredMounts } from '../host/fstab.ts'
import { close } from '../host/libc.ts'
import { readMounts } from '../host/mounts.ts'
import { type Live, type Meta, type PlaceCalls, PlaceTree } from '../host/place.ts'
import { type Before, Snapshot } from '../host/snapshot.ts'
import type { Systemd } from '../host/systemd.ts'
import type { TimedClock } from '../host/timer.ts'
import {
    type AccountFiles,
    type AccountTable,
    accountTables,
    checkWithTools,
    mergeAccounts,
} from './accounts.ts'
import { addToFstab, deviceLink, planFstab, verifyFstab } from './fstab.ts'
import { planResolver, type ResolverFile, stubFile } from './resolv.ts'

export interface MergeHost {
    /** The tree that is served: `/`, or another one, where no command of this host is run. */
    root: string
    exec: Exec
    systemd: Systemd | undefined
    clock: TimedClock
    /** The calls that change files; a test gives its own. */
    calls?: PlaceCalls
}

export type MergeParams = {
    which: 'fstab' | 'accounts' | 'resolv'
    /** Directory with all files of the backup that the merger knows, as a tree; relative to that of the change. */
    stage: string
    /** What people call the backup, for the remark in fstab. */
    backup: string
    /** The task in which a person confirms what this belongs to; without the confirmation nothing is merged. */
    behind?: string
}

/** What a merger wants at a path: content, or a link. */
interface Wanted {
    path: ByteString
    content: Uint8Array | { link: ByteString }
    /** Of a file that is new; one that is there keeps its owner, mode and attributes. */
    mode: number
    gid?: number
}

type Memory = {
    paths: string[]
    /** What was written, by path: a digest, or the target of a link. */
    wrote: Record<string, string>
}

/** A table that people write; larger is something else. */
const tableBytes = 16 * 1024 * 1024

export function restoreMerge(host: MergeHost): TaskKind<MergeParams> {
    return {
        kind: 'restore.merge',
        async do(params, context) {
            // An earlier attempt was interrupted: its writes must not be taken for what stood there before.
            if (context.remembered() !== undefined) await putBack(host, context, false)
            if (!isConfirmed(params, context)) {
                context.warn(
                    `${titles[params.which]} stays as it is, because what it belongs to was not confirmed`,
                )
                return { changed: [] }
            }
            const stage = openStage(context.dir, params.stage)
            const live = new PlaceTree(host.root, host.calls)
            try {
                const wanted =
                    stage === undefined
                        ? []
                        : await mergers[params.which]({ host, params, context, live, stage })
                if (wanted.length > 0) await place(host, context, live, wanted)
                if (params.which === 'fstab' && wanted.length > 0) await host.systemd?.reload()
                return { changed: wanted.map(({ path }) => `/${path}`) }
            } finally {
                live.close()
                stage?.close()
                removeCopies(context)
            }
        },
        async undo(params, context) {
            const changed = await putBack(host, context, true)
            if (params.which === 'fstab' && changed) await host.systemd?.reload()
        },
    }
}

/** That task leaves nothing when there was nothing to confirm, and is undone when nobody did. */
const isConfirmed = ({ behind }: MergeParams, { results }: TaskContext): boolean =>
    behind === undefined ||
    (results.get(behind) as { confirmed?: unknown } | undefined)?.confirmed !== undefined

const titles: Record<MergeParams['which'], string> = {
    fstab: '/etc/fstab',
    accounts: 'the table of accounts',
    resolv: '/etc/resolv.conf',
}

interface Work {
    host: MergeHost
    params: MergeParams
    context: TaskContext
    live: PlaceTree
    stage: PlaceTree
}

const mergers: Record<MergeParams['which'], (work: Work) => Promise<Wanted[]>> = {
    fstab: mergeFstab,
    accounts: mergeAccountTables,
    resolv: mendResolver,
}

async function mergeFstab({ host, params, context, live, stage }: Work): Promise<Wanted[]> {
    const backup = textOf(stage, 'etc/fstab')
    if (backup === undefined) return []
    const found = live.look('etc/fstab')
    if (found !== undefined && found.type !== 'file') {
        context.warn('/etc/fstab is left alone: it is no regular file')
        return []
    }
    const text = textOf(live, 'etc/fstab')
    const onHost = isThisHost(host)
    const devices = onHost ? new Devices() : undefined
    const mounts = onHost ? [...readMounts().values()] : []
    try {
        const merge = planFstab({
            live: text,
            backup,
            mounted: new Set(mounts.map(({ point }) => point)),
            units: new Set(readConfiguredMounts(host.root)),
            device: source => devices?.find(source),
            used: new Set([
                ...mounts.map(({ source }) => devices?.find(source) ?? source),
                ...liveSources(text ?? '').flatMap(source => devices?.find(source) ?? []),
            ]),
        })
        for (const { shown, why } of merge.others) context.log(`not added to /etc/fstab: ${shown}: ${why}`)
        if (merge.proposals.length === 0) return []
        const answer = await context.ask({
            id: 'fstab.merge',
            text: [
                'These entries of the backup are not in /etc/fstab, and can be added so that a boot never waits for them:',
                ...merge.proposals.map(({ shown }) => `  ${shown}`),
                'Add them? Nothing is mounted now, and what is there stays as it is.',
            ].join('\n'),
            choices: [
                { value: 'skip', text: 'leave /etc/fstab as it is' },
                { value: 'add', text: 'add them' },
            ],
            safe: 'skip',
            timeoutMs: 90_000,
        })
        if (answer !== 'add') {
            context.log('/etc/fstab stays as it is')
            return []
        }
        const lines = merge.proposals.map(({ line }) => line)
        const merged = Buffer.from(
            addToFstab(text, lines, `added from the backup ${params.backup}`),
            'latin1',
        )
        if (onHost) {
            const own = privateCopy(context, {
                'fstab.live': text ?? '',
                'fstab.merged': merged.toString('latin1'),
            })
            const why = await verifyFstab(host.exec, own('fstab.live'), own('fstab.merged'))
            if (why !== undefined) {
                context.warn(`/etc/fstab stays as it is: ${why}`)
                return []
            }
        }
        for (const { target } of merge.proposals)
            context.log(
                `added to /etc/fstab: ${Buffer.from(target, 'latin1')}; mount it with: mount ${JSON.stringify(Buffer.from(target, 'latin1').toString())}`,
            )
        return [{ path: 'etc/fstab', content: merged, mode: 0o644 }]
    } finally {
        devices?.close()
    }
}

async function mergeAccountTables({ host, context, live, stage }: Work): Promise<Wanted[]> {
    const tables = (tree: PlaceTree) =>
        Object.fromEntries(accountTables.map(table => [table, textOf(tree, `etc/${table}`)])) as AccountFiles
    const odd = accountTables.find(table => !['file', undefined].includes(live.look(`etc/${table}`)?.type))
    if (odd !== undefined) {
        context.warn(`the accounts are left alone: /etc/${odd} is no regular file`)
        return []
    }
    const before = tables(live)
    const merge = mergeAccounts(before, tables(stage))
    for (const { name, why } of merge.left) context.warn(`not restored: ${name}: ${why}`)
    if (merge.changed.length === 0) return []
    if (isThisHost(host)) {
        const after = { ...before }
        for (const { table, text } of merge.changed) after[table] = text
        const named = (kind: string, files: AccountFiles) =>
            accountTables.map(table => [`${table}.${kind}`, files[table] ?? ''] as const)
        const own = privateCopy(
            context,
            Object.fromEntries([...named('live', before), ...named('merged', after)]),
        )
        const path = (kind: string) => (table: AccountTable) => own(`${table}.${kind}`)
        const why = await checkWithTools(host.exec, path('live'), path('merged'))
        if (why !== undefined) {
            context.warn(`the accounts stay as they are: ${why}`)
            return []
        }
        // The tools took a moment, and a password may have been changed in it.
        if (accountTables.some(table => textOf(live, `etc/${table}`) !== before[table]))
            throw new Fault('failed', 'cannot merge the accounts: they were changed meanwhile', {
                hint: 'try again when nobody changes users or passwords',
            })
    }
    for (const text of merge.notes) context.warn(text)
    if (merge.users.length > 0) context.log(`users added: ${merge.users.join(', ')}`)
    if (merge.groups.length > 0) context.log(`groups added: ${merge.groups.join(', ')}`)
    for (const text of merge.joined) context.log(`new members of ${text}`)
    const shadowGroup = /^shadow:[^:]*:([0-9]+):/m.exec(before.group ?? '')?.[1]
    return merge.changed.map(({ table, text }) => ({
        path: `etc/${table}`,
        content: Buffer.from(text, 'latin1'),
        mode: table.endsWith('shadow') ? 0o640 : 0o644,
        ...(table.endsWith('shadow') && shadowGroup !== undefined ? { gid: Number(shadowGroup) } : {}),
    }))
}

async function mendResolver({ host, context, live, stage }: Work): Promise<Wanted[]> {
    const onHost = isThisHost(host)
    const stub = onHost && live.look(stubFile.slice(1))?.type === 'file'
    const state = stub ? await host.systemd?.unitState('systemd-resolved.service') : undefined
    const gateway = onHost ? await defaultGateway(host.exec) : undefined
    const plan = planResolver({
        live: resolverFile(live),
        backup: resolverFile(stage),
        resolved: state?.active === 'active',
        ...(gateway === undefined ? {} : { gateway }),
    })
    switch (plan.action) {
        case 'keep':
            context.log(`/etc/resolv.conf stays as it is: ${plan.why}`)
            return []
        case 'none':
            context.warn(`/etc/resolv.conf: ${plan.why}`)
            return []
        case 'link':
            context.log(`/etc/resolv.conf becomes a link to ${plan.target}: ${plan.why}`)
            return [{ path: 'etc/resolv.conf', content: { link: plan.target }, mode: 0o777 }]
        case 'write':
            context.warn(`/etc/resolv.conf is written anew: ${plan.why}`)
            return [{ path: 'etc/resolv.conf', content: Buffer.from(plan.text, 'latin1'), mode: 0o644 }]
    }
}

/** The file, or the link and what it leads to within the tree. */
export function resolverFile(tree: PlaceTree): ResolverFile {
    const found = tree.look('etc/resolv.conf')
    if (found === undefined) return { kind: 'absent' }
    if (found.type === 'file') return { kind: 'file', text: textOf(tree, 'etc/resolv.conf') ?? '' }
    if (found.type !== 'symlink') return { kind: 'other' }
    const target = found.link ?? ''
    const names = target.startsWith('/') ? [] : ['etc']
    for (const name of target.split('/'))
        if (name === '..') names.pop()
        else if (name !== '' && name !== '.') names.push(name)
    let text: string | undefined
    try {
        text = textOf(tree, names.join('/'))
    } catch (error) {
        // A second link on the way: where it leads is not worth following for this.
        if (!(error instanceof Fault)) throw error
    }
    return { kind: 'link', target, text }
}

async function defaultGateway(exec: Exec): Promise<string | undefined> {
    for (const family of ['-4', '-6']) {
        const output = outputOf(await exec(['ip', family, 'route', 'show', 'default'], { timeoutMs: 5000 }))
        if (!output.ok) continue
        const [, gateway, device] = /^default via (\S+) dev (\S+)/m.exec(output.text) ?? []
        if (gateway !== undefined) return gateway.startsWith('fe80:') ? `${gateway}%${device}` : gateway
    }
    return undefined
}

// --- placing ---------------------------------------------------------------------------------------------------

const snapshotOf = (context: TaskContext) => `merge-${context.task}`

async function place(
    host: MergeHost,
    context: TaskContext,
    live: PlaceTree,
    wanted: readonly Wanted[],
): Promise<void> {
    const own = new PlaceTree(context.dir, host.calls)
    try {
        const at = snapshotOf(context)
        const paths = wanted.map(({ path }) => path)
        await Snapshot.take(live, own, at, { paths, around: paths.map(parentOf) })
        const fresh = `${at}-new`
        own.removeTree(fresh)
        own.makeDirectory(fresh)
        const wrote: Record<string, string> = {}
        for (const [number, { path, content }] of wanted.entries()) {
            if (!(content instanceof Uint8Array)) wrote[path] = content.link
            else {
                own.writeWhole(`${fresh}/${number}`, content)
                wrote[path] = own.digest(`${fresh}/${number}`)
            }
        }
        own.settle()
        context.remember({ paths, wrote } satisfies Memory)
        const now = BigInt(host.clock.nowMs()) * 1_000_000n
        for (const [number, { path, content, mode, gid }] of wanted.entries()) {
            const found = live.look(path)
            const same = content instanceof Uint8Array ? found?.type === 'file' : found?.type === 'symlink'
            const meta: Meta =
                found !== undefined && same
                    ? { ...metaOf(found), atimeNs: now, mtimeNs: now }
                    : { mode, uid: 0, gid: gid ?? 0, atimeNs: now, mtimeNs: now, xattrs: [] }
            if (process.getuid?.() !== 0 && !same) Object.assign(meta, ownIds())
            const temporary = besides(path)
            live.remove(temporary)
            if (content instanceof Uint8Array) copy(own, `${fresh}/${number}`, live, temporary, meta)
            else live.makeSymlink(temporary, content.link, meta)
            live.publish(temporary, path)
            live.settle()
        }
        own.removeTree(fresh)
        own.settle()
    } finally {
        own.close()
    }
}

/** Puts back what stood there; true when there was something to put back. */
async function putBack(host: MergeHost, context: TaskContext, mayAsk: boolean): Promise<boolean> {
    const memory = context.remembered() as Memory | undefined
    const own = new PlaceTree(context.dir, host.calls)
    const live = new PlaceTree(host.root, host.calls)
    try {
        own.removeTree(`${snapshotOf(context)}-new`)
        if (memory === undefined) {
            // Nothing was written; a snapshot that was begun would leave second names of what stands.
            own.removeTree(snapshotOf(context))
            own.settle()
            return false
        }
        const snapshot = Snapshot.read(own, snapshotOf(context))
        if (snapshot === undefined) return false
        const problems: string[] = []
        for (const path of memory.paths.toReversed()) {
            const before = snapshot.before(path)
            live.remove(besides(path))
            const found = contentOf(live, path)
            const then = before?.link ?? before?.digest
            if (found !== memory.wrote[path] && found !== then && mayAsk && !(await overwrite(context, path)))
                continue
            // One that cannot be put back must not keep the others from it.
            try {
                restore(own, live, snapshot, path, before)
            } catch (error) {
                if (!(error instanceof Fault)) throw error
                problems.push(error.message)
            }
        }
        for (const [path, before] of snapshot.entries)
            if (before?.around && live.look(path)?.type === 'directory') live.setTimes(path, before)
        live.settle()
        // What is back in its place needs no second name, through which it would be seen to have two.
        for (const path of memory.paths) {
            const before = snapshot.before(path)
            const keep = before && snapshot.keepOf(before)
            if (keep !== undefined && own.look(keep)?.inode === live.look(path)?.inode) own.remove(keep)
        }
        own.settle()
        if (problems.length > 0)
            throw new Fault('stuck', problems.join('; '), { hint: 'the backup before this change has it' })
        return true
    } finally {
        live.close()
        own.close()
    }
}

async function overwrite(context: TaskContext, path: ByteString): Promise<boolean> {
    const answer = await context.ask({
        id: 'undo.conflict',
        text: `/${path} was changed after the restore. Put back what stood there before the restore all the same?`,
        choices: [
            { value: 'keep', text: 'keep it as it is now' },
            { value: 'restore', text: 'put back the state before; the edits are lost' },
        ],
        safe: 'keep',
        timeoutMs: 600_000,
    })
    if (answer === 'restore') return true
    context.warn(`/${path} is not put back: it was changed since`)
    return false
}

function restore(
    own: PlaceTree,
    live: PlaceTree,
    snapshot: Snapshot,
    path: ByteString,
    before: Before | undefined,
): void {
    if (before === undefined) {
        live.remove(path)
        return
    }
    const temporary = besides(path)
    const keep = snapshot.keepOf(before)
    if (before.type === 'symlink' && before.link !== undefined)
        live.makeSymlink(temporary, before.link, before)
    else if (live.look(path)?.inode === before.inode && contentOf(live, path) === before.digest) return
    // Whoever had it open may have written to it since.
    else if (keep !== undefined && contentOf(own, keep) === before.digest) live.linkFrom(own, keep, temporary)
    else if (own.digest(snapshot.dataOf(before)) === before.digest)
        copy(own, snapshot.dataOf(before), live, temporary, before)
    else throw new Fault('failed', `cannot put /${path} back: its copy is damaged`)
    live.publish(temporary, path)
}

function copy(from: PlaceTree, source: ByteString, to: PlaceTree, temporary: ByteString, meta: Meta): void {
    const fd = from.openFile(source)
    try {
        to.writeFile(temporary, fd, meta)
    } finally {
        close(fd)
    }
}

/** A digest, the target of a link, or undefined where nothing of either kind stands. */
function contentOf(live: PlaceTree, path: ByteString): string | undefined {
    const found = live.look(path)
    if (found?.type === 'symlink') return found.link
    return found?.type === 'file' ? live.digest(path) : undefined
}

const metaOf = ({ mode, uid, gid, atimeNs, mtimeNs, xattrs }: Live): Meta => ({
    ...{ mode, uid, gid, atimeNs, mtimeNs, xattrs },
})

const ownIds = () => ({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 })

const parentOf = (path: ByteString) => path.slice(0, Math.max(0, path.lastIndexOf('/')))
const besides = (path: ByteString) =>
    `${parentOf(path)}/${temporaryOf(path.slice(path.lastIndexOf('/') + 1))}`

// --- looking ---------------------------------------------------------------------------------------------------

const isThisHost = (host: MergeHost) => host.root === '/' && host.systemd !== undefined

function openStage(dir: string, stage: string): PlaceTree | undefined {
    const own = new PlaceTree(dir)
    try {
        return own.look(stage)?.type === 'directory' ? new PlaceTree(`${dir}/${stage}`) : undefined
    } finally {
        own.close()
    }
}

/** One character for a byte; undefined where no regular file stands. */
function textOf(tree: PlaceTree, path: ByteString): string | undefined {
    const found = tree.look(path)
    if (found?.type !== 'file') return undefined
    if (found.size > tableBytes)
        throw new Fault('failed', `cannot merge /${path}: it is larger than ${tableBytes} bytes`)
    return Buffer.from(tree.readWhole(path)).toString('latin1')
}

/** Copies that the tools of the host may look at, in the private directory of the change. */
function privateCopy(context: TaskContext, files: Record<string, string>): (name: string) => string {
    const own = new PlaceTree(context.dir)
    try {
        const at = `${snapshotOf(context)}-check`
        own.removeTree(at)
        own.makeDirectory(at)
        for (const [name, text] of Object.entries(files))
            own.writeWhole(`${at}/${name}`, Buffer.from(text, 'latin1'))
        return name => `${context.dir}/${at}/${name}`
    } finally {
        own.close()
    }
}

/** They hold passwords, and the snapshot has what an undo needs. */
function removeCopies(context: TaskContext): void {
    const own = new PlaceTree(context.dir)
    try {
        own.removeTree(`${snapshotOf(context)}-check`)
    } finally {
        own.close()
    }
}

const liveSources = (fstab: string) =>
    fstab.split('\n').flatMap(line => /^[ \t]*([^#\s]\S*)/.exec(line)?.[1] ?? [])

/** Device nodes by the names that udev gives them. */
class Devices {
    readonly #dev = new PlaceTree('/dev')

    find(source: string): string | undefined {
        const link = deviceLink(source)
        if (link === undefined) return undefined
        for (const path of [link, link.toLowerCase()]) {
            const found = this.#dev.look(path)
            if (found?.type === 'other') return `/dev/${path}`
            if (found?.type !== 'symlink') continue
            const names = parentOf(path).split('/')
            for (const name of (found.link ?? '').split('/')) {
                if (name === '..') names.pop()
                else if (name !== '' && name !== '.') names.push(name)
            }
            return `/dev/${names.filter(name => name !== '').join('/')}`
        }
        return undefined
    }

    close(): void {
        this.#dev.close()
    }
}
