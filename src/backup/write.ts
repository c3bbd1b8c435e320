/** The operation `archive.write`: collects, captures, packs, encrypts and signs one archive. */
import { createPrivateKey, randomBytes } from 'node:crypto'
import { FrameCache } from '../archive/frame-cache.ts'
import { ArchiveWriter, type WrittenArchive } from '../archive/writer.ts'
import type { Category } from '../catalog/category.ts'
import { categories as catalogue } from '../catalog/index.ts'
import { buildMatcher } from '../catalog/match.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json } from '../engine/change.ts'
import { parseRecipient } from '../format/age.ts'
import type { Manifest } from '../format/manifest.ts'
import { type Nic, nicInventoryPath, writeNicInventory } from '../format/nic-inventory.ts'
import { sign } from '../format/signature.ts'
import { readSmallFile } from '../host/atomic.ts'
import { discardFile } from '../host/data-file.ts'
import { type Exec, exec } from '../host/exec.ts'
import * as libc from '../host/libc.ts'
import { readNics } from '../host/nics.ts'
import { copyDatabase } from '../host/sqlite.ts'
import { Tree } from '../host/tree.ts'
import { type Capture, capture } from './capture.ts'
import { type Collected, type CollectedEntry, collect, missingOf } from '../archive/collect.ts'
import { Emitter } from './emit.ts'
import type { OperationIo } from '../engine/operation.ts'
import { readNames } from './pack.ts'
import { readme } from './readme.ts'

export interface WriteParams {
    /** The tree to save; `/` is the running host. */
    root: string
    /** Holds the signing key, the cache and scratch files. */
    state: string
    /** The archive to make; must not exist. */
    output: string
    /** Everything of the manifest that is known beforehand. */
    manifest: Omit<Manifest, 'data' | 'plain' | 'categories'>
    categories: string[] | 'all'
    exclude: string[]
    include: string[]
    /** Absolute paths that are never saved: targets, another state directory. */
    never?: string[]
    /** age recipients; empty only with `manifest.encryption.kind` `none`. */
    recipients: string[]
    /** Run the commands of the catalogue; false for another root. */
    capture: boolean
    /** Use and fill the frame cache. */
    cache: boolean
    /** Path of the passphrase-protected identity that travels along. */
    identityAge?: string
}

export interface WriteResult {
    size: number
    sha256: string
    entries: number
    bytes: number
    warnings: number
    missing: number
    reusedFrames: number
    frames: number
}

const DATABASE = 'var/lib/pve-cluster/config.db'

export async function writeArchive(
    params: WriteParams,
    io: OperationIo,
    run: Exec = exec,
    now: () => number = Date.now,
    nics: () => Nic[] = readNics,
): Promise<Json> {
    const began = now()
    let warnings = 0
    const warn = (text: string) => {
        warnings++
        io.warn(text)
    }
    const tree = new Tree(params.root, { trusted: ['etc/pve'] })
    const scratch = `${params.state}/scratch`
    try {
        const chosen = chosenCategories(params)
        io.progress({ done: 0, unit: 'entries', text: 'looking at the host' })
        const captured = params.capture ? await capture(chosen, run, io.signal) : { outputs: [], failed: [] }
        if (params.capture && chosen.some(({ id }) => id === 'network')) captureNics(captured, nics)
        const matcher = buildMatcher(chosen, params.include)
        const never = [params.state, ...(params.never ?? [])].map(path => insideRoot(params.root, path))
        const collected = collect(tree, { matcher, exclude: params.exclude, never, warn })
        for (const { category, file, why } of captured.failed)
            missingOf(collected, category).add(`var/lib/proxsave/captured/${category}/${file}`, 'failed', why)
        addCaptured(collected, captured.outputs, chosen, BigInt(began) * 1_000_000n)
        copyClusterDatabase(tree, collected, scratch, warn)
        return await write(params, io, { tree, collected, chosen, began, warn, warnings: () => warnings })
    } catch (error) {
        throw explain(error, params.output)
    } finally {
        discardFile(`${scratch}/config.db`)
        tree.close()
    }
}

interface Run {
    tree: Tree
    collected: Collected
    chosen: readonly Category[]
    /** Milliseconds since the epoch. */
    began: number
    warn(text: string): void
    warnings(): number
}

async function write(params: WriteParams, io: OperationIo, run: Run): Promise<Json> {
    const { tree, collected } = run
    const key = signingKey(params.state)
    const cache = params.cache ? openCache(params.state, run.warn) : undefined
    const identity = params.identityAge === undefined ? undefined : readIdentity(params.identityAge)
    const writer = await ArchiveWriter.create({
        output: params.output,
        readme: readme({
            host: params.manifest.host.fqdn ?? params.manifest.host.name,
            hostId: params.manifest.host.id,
            created: params.manifest.created,
            tool: params.manifest.tool,
            encrypted: params.recipients.length > 0,
            protectedIdentity: identity !== undefined,
        }),
        identity,
        recipients: params.recipients.map(parseRecipient),
        now: new Date(run.began),
        random: bytes => Uint8Array.from(randomBytes(bytes)),
        sign: message => sign(message, key),
    })
    try {
        const total = totalBytes(collected)
        const report = atMostEvery(200, (done: number) =>
            io.progress({ done, total, unit: 'bytes', text: 'saving' }),
        )
        const emitter = new Emitter({
            tree,
            names: readNames(tree),
            writer,
            cache,
            collected,
            beganNs: BigInt(run.began) * 1_000_000n,
            signal: io.signal,
            progress: report,
            warn: run.warn,
        })
        for (const category of run.chosen) await emitter.category(collected.entries.get(category.id) ?? [])
        const emitted = await emitter.finish()
        const written = await writer.finish(emitted.entries, figures => ({
            ...params.manifest,
            ...figures,
            categories: categoryFigures(run.chosen, collected, emitted.entries),
        }))
        cache?.commit()
        io.progress({ done: total, total, unit: 'bytes', text: 'saved' })
        return result(written, run, emitted) as unknown as Json
    } catch (error) {
        writer.abort()
        throw error
    } finally {
        cache?.close()
    }
}

function result(
    written: WrittenArchive,
    run: Run,
    emitted: { reusedFrames: number; frames: number },
): WriteResult {
    const { manifest } = written
    return {
        size: written.size,
        sha256: manifest.data.sha256,
        entries: manifest.plain.entries,
        bytes: manifest.categories.reduce((sum, category) => sum + category.bytes, 0),
        warnings: run.warnings(),
        missing: [...run.collected.missing.values()].reduce(
            (sum, list) => sum + list.listed.length + list.more,
            0,
        ),
        reusedFrames: emitted.reusedFrames,
        frames: emitted.frames,
    }
}

/** The categories of this host's products that the configuration wants, in catalogue order. */
export function chosenCategories(params: Pick<WriteParams, 'categories' | 'manifest'>): Category[] {
    const { kind } = params.manifest.product
    const products = new Set<string>(kind === 'both' ? ['pve', 'pbs'] : [kind])
    const wanted = params.categories === 'all' ? undefined : new Set(params.categories)
    const unknown = [...(wanted ?? [])].find(id => !catalogue.some(category => category.id === id))
    if (unknown !== undefined)
        throw new Fault('usage', `cannot back up: there is no category ${unknown}`, {
            hint: 'see the table of categories in proxsave.toml(5)',
        })
    return catalogue.filter(
        category =>
            (category.product === 'common' || products.has(category.product)) &&
            (wanted === undefined ||
                wanted.has(category.id) ||
                category.id === 'captured' ||
                category.id === 'included'),
    )
}

/** A path of the host as the tree under its root has it. */
function insideRoot(root: string, path: string): string {
    const clean = root.replace(/\/+$/, '')
    return clean !== '' && path.startsWith(`${clean}/`) ? path.slice(clean.length) : path
}

/** What a restore needs to know each card again when it has another name, here or on the next machine. */
function captureNics(captured: Capture, nics: () => Nic[]): void {
    const [category, file] = nicInventoryPath.split('/').slice(-2) as [string, string]
    try {
        captured.outputs.push({ path: `${category}/${file}`, content: writeNicInventory(nics()) })
    } catch (error) {
        // The files matter more: without it a restore leaves the names as they are.
        const why = error instanceof Error ? error.message : String(error)
        captured.failed.push({ category, file, why })
    }
}

function addCaptured(
    collected: Collected,
    outputs: { path: string; content: Uint8Array }[],
    chosen: readonly Category[],
    nowNs: bigint,
): void {
    const category = chosen.find(({ id }) => id === 'captured')
    if (category === undefined) return
    const stat = (size: number, mode: number): libc.Stat => ({
        mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        size,
        blocks: Math.ceil(size / 512),
        ino: 0n,
        dev: 0,
        mountId: 0n,
        atimeNs: nowNs,
        mtimeNs: nowNs,
        ctimeNs: nowNs,
    })
    const entries: CollectedEntry[] = []
    for (const { path, content } of outputs)
        entries.push({
            path: `var/lib/proxsave/captured/${path}`,
            type: 'file',
            stat: stat(content.length, libc.fileType.file | 0o600),
            category,
            content,
        })
    collected.entries.set(
        category.id,
        entries.sort((a, b) => (a.path < b.path ? -1 : 1)),
    )
}

/** The database behind /etc/pve is saved as SQLite copies it: a copy of the file would miss what its log holds. */
function copyClusterDatabase(
    tree: Tree,
    collected: Collected,
    scratch: string,
    warn: (text: string) => void,
): void {
    for (const [id, entries] of collected.entries) {
        const entry = entries.find(({ path }) => path === DATABASE)
        if (entry === undefined || entry.type !== 'file') continue
        const copy = `${scratch}/config.db`
        try {
            copyDatabase(`${tree.root}/${DATABASE}`, copy, scratch)
            entry.copy = copy
        } catch (error) {
            const why = error instanceof Error ? error.message : String(error)
            collected.entries.set(
                id,
                entries.filter(other => other !== entry),
            )
            missingOf(collected, id).add(entry.path, 'failed', why)
            warn(`cannot save /${DATABASE}: ${why}`)
        }
    }
}

function signingKey(state: string) {
    const pem = readSmallFile(`${state}/signing_key`, limits.configBytes)
    if (pem === undefined)
        throw new Fault('failed', `cannot sign the backup: ${state}/signing_key is missing`, {
            hint: 'restart the daemon: it makes a new key; archives signed with the old one will count as foreign',
        })
    return createPrivateKey(Buffer.from(pem).toString())
}

function openCache(state: string, warn: (text: string) => void): FrameCache | undefined {
    try {
        return new FrameCache(`${state}/cache`)
    } catch (error) {
        // Without it everything is read and compressed again: slower, and as good.
        warn(`cannot use the frame cache: ${error instanceof Error ? error.message : String(error)}`)
        return undefined
    }
}

function readIdentity(path: string): Uint8Array {
    const bytes = readSmallFile(path, limits.configBytes)
    if (bytes === undefined)
        throw new Fault('failed', `cannot put the protected identity into the backup: ${path} is missing`)
    if (bytes.length > limits.identityBytes)
        throw new Fault(
            'failed',
            `cannot put the protected identity into the backup: ${path} has ${bytes.length} bytes`,
            {
                hint: 'an identity file protected by a passphrase has a few hundred bytes: check what it is',
            },
        )
    return bytes
}

function totalBytes(collected: Collected): number {
    let total = 0
    for (const entries of collected.entries.values())
        for (const { type, stat, content } of entries)
            if (type === 'file') total += content?.length ?? stat.size
    return total
}

function categoryFigures(
    chosen: readonly Category[],
    collected: Collected,
    entries: { category: string; size: number; superseded?: boolean }[],
): Manifest['categories'] {
    const figures = new Map(
        chosen.map(({ id }) => [id, { id, entries: 0, bytes: 0 } as Manifest['categories'][number]]),
    )
    for (const entry of entries) {
        const figure = figures.get(entry.category)
        if (figure === undefined || entry.superseded === true) continue
        figure.entries++
        figure.bytes += entry.size
    }
    for (const [id, missing] of collected.missing) {
        const figure = figures.get(id)
        if (figure === undefined) continue
        figure.missing = missing.listed
        if (missing.more > 0) figure.missingMore = missing.more
    }
    return [...figures.values()].filter(figure => figure.entries > 0 || figure.missing !== undefined)
}

function atMostEvery<T>(ms: number, call: (value: T) => void): (value: T) => void {
    let last = 0
    return value => {
        const now = performance.now()
        if (now - last < ms) return
        last = now
        call(value)
    }
}

/** What the file system refuses, in words. */
function explain(error: unknown, output: string): unknown {
    const code = libc.codeOf(error)
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    if (full)
        return new Fault('failed', `cannot write the backup: no space left for ${output}`, {
            hint: 'make room on the target, or let `proxsavectl prune` remove old backups; nothing was changed',
            cause: error,
        })
    if (code === 'EROFS' || code === 'EIO' || code === 'EACCES')
        return new Fault('failed', `cannot write the backup to ${output}: ${failureText[code]}`, {
            cause: error,
        })
    return error
}

const failureText: Record<string, string> = {
    EROFS: 'its file system is read-only',
    EIO: 'its disk reports errors',
    EACCES: 'permission denied',
}
