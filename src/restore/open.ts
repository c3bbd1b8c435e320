/** Opens the archive that a restore is from, and says whether it can be trusted and what it holds. */
import { ArchiveFile } from '../archive/reader.ts'
import { openSaved as openAny } from '../archive/open.ts'
import { summaryOf } from '../archive/own.ts'
import type { SavedArchive, SavedSummary } from '../archive/saved.ts'
import { type SignatureState, signatureOf, type Trust } from '../archive/trust.ts'
import type { Identity } from '../archive/unlock.ts'
import { isUpstream, readUpstreamHead } from '../archive/upstream-head.ts'
import { categories } from '../catalog/index.ts'
import { memberOf } from '../catalog/match.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { OperationIo } from '../engine/operation.ts'
import type { Held } from './modes.ts'

export interface ExamineParams {
    path: string
    identities?: Identity
    trust: Trust
    /** Read every stored byte and compare it with what was signed. */
    check: boolean
}

export interface Examined {
    summary: SavedSummary
    signature: SignatureState
    /** Set when the archive could be opened. */
    held?: Held[]
    /** Why it could not, with what would open it. */
    locked?: { why: string; passphrase: boolean }
}

/** Opens either kind of archive. Throws `damaged` with the fact `locked` when the key does not fit. */
export async function openSaved(path: string, identity: Identity | undefined): Promise<SavedArchive> {
    return openAny(path, identity)
}

/**
 * The operation `restore.examine`. Damage is thrown; a wrong key is an answer, because the person can be asked for
 * another one. The signature and the stored bytes need no key, so they are looked at first.
 */
export async function restoreExamine(params: ExamineParams, io: OperationIo): Promise<Json> {
    const examined = await examine(params, io)
    return JSON.parse(JSON.stringify(examined)) as Json
}

async function examine(
    { path, identities, trust, check }: ExamineParams,
    io: OperationIo,
): Promise<Examined> {
    const { summary, signature } = await trusted(path, trust, check, io)
    let archive: SavedArchive
    try {
        archive = await openSaved(path, identities)
    } catch (error) {
        if (!(error instanceof Fault) || error.kind !== 'damaged' || !summary.encrypted) throw error
        return {
            summary,
            signature,
            locked: { why: error.message, passphrase: error.facts.need === 'passphrase' },
        }
    }
    try {
        return { summary, signature, held: await holdings(archive) }
    } finally {
        archive.close()
    }
}

async function trusted(
    path: string,
    trust: Trust,
    check: boolean,
    io: OperationIo,
): Promise<{ summary: SavedSummary; signature: SignatureState }> {
    if (isUpstream(path)) {
        const progress = (done: number, total: number) =>
            io.progress({ done, total, unit: 'bytes', text: 'checking the stored bytes' })
        const { checkUpstream } = await import('../archive/upstream.ts')
        const head = check
            ? await checkUpstream(path, { progress, signal: io.signal })
            : await readUpstreamHead(path)
        return { summary: head.summary, signature: { state: 'unsigned' } }
    }
    const file = await ArchiveFile.open(path)
    try {
        const signature = signatureOf(file, trust)
        if (check)
            await file.verifyStored(
                (done, total) =>
                    io.progress({ done, total, unit: 'bytes', text: 'checking the stored bytes' }),
                io.signal,
            )
        return { summary: summaryOf(file.head.manifest, path), signature }
    } finally {
        file.close()
    }
}

/** What the archive has of each category, in catalogue order; one that only chooses what others own counts those. */
async function holdings(archive: SavedArchive): Promise<Held[]> {
    const entries = await archive.entries()
    const counted = new Map<string, { entries: number; bytes: number }>()
    for (const { category, size } of entries) {
        const sum = counted.get(category) ?? { entries: 0, bytes: 0 }
        counted.set(category, { entries: sum.entries + 1, bytes: sum.bytes + size })
    }
    return categories.flatMap(category => {
        const own = counted.get(category.id)
        if (own === undefined) return []
        if (category.strategy !== 'export' || category.residual === true)
            return [{ id: category.id, title: category.title, ...own }]
        const member = memberOf(category)
        const all = entries.filter(entry => member(`/${entry.path}`, entry.category))
        const bytes = all.reduce((sum, { size }) => sum + size, 0)
        return [{ id: category.id, title: category.title, entries: all.length, bytes }]
    })
}
