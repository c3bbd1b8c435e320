/** The operation `archive.verify`: who signed it, whether its stored bytes are whole, and with a key every entry. */
import { ArchiveFile, type ArchiveReader, agrees } from '../archive/reader.ts'
import { describeUpstream, isUpstream } from '../archive/upstream-head.ts'
import { categories } from '../catalog/index.ts'
import { PathTrie } from '../catalog/match.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json } from '../engine/change.ts'
import { checks } from '../format/check/index.ts'
import type { IndexEntry } from '../format/index.ts'
import type { Manifest } from '../format/manifest.ts'
import { checkPmxcfsTree } from '../format/pmxcfs-db.ts'
import { type ReadEntry, TarParser, type TarVisitor } from '../format/tar-read.ts'
import { DataFile, discardFile, makePrivateDirectory } from '../host/data-file.ts'
import { readPmxcfsDatabase } from '../host/pmxcfs-db.ts'
import { checkDatabase } from '../host/sqlite.ts'
import { showPath } from '../host/tree.ts'
import { ContentDigest } from '../archive/digest.ts'
import type { OperationIo } from '../engine/operation.ts'
import { type SignatureState, signatureOf, type Trust } from '../archive/trust.ts'
import { type Identity, unlock } from '../archive/unlock.ts'

export interface VerifyParams {
    path: string
    deep: boolean
    identities?: Identity
    trust: Trust
    /** A private directory for the copy of a database that is checked; without one it is not opened. */
    scratch?: string
}

export interface VerifyResult {
    manifest: Manifest
    signature: SignatureState
    blocks: { checked: number }
    deep?: { entries: number; bytes: number; parsed: number }
    /** What is saved faithfully and yet not as it should be on the host. */
    problems: string[]
}

export async function archiveVerify(params: VerifyParams, io: OperationIo): Promise<Json> {
    if (isUpstream(params.path)) return (await verifyForeign(params, io)) as unknown as Json
    const archive = await ArchiveFile.open(params.path)
    try {
        const signature = signatureOf(archive, params.trust)
        const checked = await archive.verifyStored(
            (done, total) => io.progress({ done, total, unit: 'bytes', text: 'checking the stored bytes' }),
            io.signal,
        )
        const result: VerifyResult = {
            manifest: archive.head.manifest,
            signature,
            blocks: { checked },
            problems: [],
        }
        if (params.deep) {
            const opened = await unlock(params.path, params.identities)
            try {
                result.deep = await verifyContent(opened.reader, params, result.problems, io)
            } finally {
                opened.close()
            }
        }
        return result as unknown as Json
    } finally {
        archive.close()
    }
}

/** An archive of the Go tool: nobody signed it, and one digest speaks of all of it. */
async function verifyForeign(params: VerifyParams, io: OperationIo): Promise<VerifyResult> {
    const { verifyUpstream } = await import('./upstream.ts')
    const figures = { entries: 0, bytes: 0, parsed: 0 }
    const problems: string[] = []
    const validators = validatorTrie()
    let current: CheckedEntry | undefined
    const look = (entry: IndexEntry): TarVisitor => ({
        entry(read) {
            current = new CheckedEntry(entry, read, validators, params, problems, figures, false)
        },
        data: piece => current?.data(piece),
        end() {
            current?.end()
            current = undefined
        },
    })
    try {
        const head = await verifyUpstream({ ...params, look }, io)
        return {
            manifest: describeUpstream(head),
            signature: { state: 'unsigned' },
            blocks: { checked: 1 },
            ...(params.deep ? { deep: figures } : {}),
            problems,
        }
    } finally {
        current?.abandon()
    }
}

/** Files that are kept in memory for parsing; configuration is smaller. */
const parsedBytes = limits.configBytes * 4

/** Reads every entry, compares it with the index, and parses what the catalogue has a parser for. */
async function verifyContent(
    reader: ArchiveReader,
    params: VerifyParams,
    problems: string[],
    io: OperationIo,
): Promise<{ entries: number; bytes: number; parsed: number }> {
    const { entries } = reader.index(true)
    const byOffset = new Map(entries.map(entry => [entry.at, entry]))
    const validators = validatorTrie()
    const seen = new Set<number>()
    const total = entries.reduce((sum, entry) => sum + entry.size, 0)
    const figures = { entries: 0, bytes: 0, parsed: 0 }
    let current: CheckedEntry | undefined
    const directories = new Set<string>()
    const parser = new TarParser({
        entry(read) {
            const entry = byOffset.get(read.at)
            if (entry === undefined) {
                // Directories are written again at the end; nothing else may stand outside the index.
                if (read.type === 'directory' && directories.has(read.path)) return
                throw new Fault(
                    'damaged',
                    `cannot trust ${params.path}: /${showPath(read.path)} is not in its index`,
                )
            }
            if (!agrees(entry, read))
                throw new Fault(
                    'damaged',
                    `cannot trust ${params.path}: its index and its data disagree about /${showPath(read.path)}`,
                )
            if (entry.type === 'directory') directories.add(entry.path)
            seen.add(entry.at)
            current = new CheckedEntry(entry, read, validators, params, problems, figures)
        },
        data: piece => current?.data(piece),
        end() {
            current?.end()
            current = undefined
            io.progress({ done: figures.bytes, total, unit: 'bytes', text: 'reading every entry' })
        },
    })
    try {
        for await (const piece of reader.plain()) {
            if (io.signal?.aborted) throw new Fault('refused', 'cannot finish the check: it was stopped')
            parser.push(piece)
        }
        parser.finish()
    } finally {
        current?.abandon()
    }
    if (seen.size !== entries.length)
        throw new Fault(
            'damaged',
            `cannot trust ${params.path}: its index names entries that its data has not`,
        )
    return figures
}

type ValidatorKind = keyof typeof checks | 'config-db'

function validatorTrie(): PathTrie<ValidatorKind> {
    return new PathTrie(
        categories.flatMap(({ validator }) =>
            (validator ?? []).map(({ path, kind }) => ({ pattern: path, owner: kind as ValidatorKind })),
        ),
    )
}

/** One entry on its way through the check: hashed, and kept where a parser wants it. */
class CheckedEntry {
    readonly #entry: IndexEntry
    /** The entries of a foreign archive have none. */
    readonly #digest: ContentDigest | undefined
    readonly #kind: ValidatorKind | undefined
    readonly #problems: string[]
    readonly #figures: { entries: number; bytes: number; parsed: number }
    readonly #kept: Buffer[] = []
    readonly #copy: DataFile | undefined
    #copied = 0

    constructor(
        entry: IndexEntry,
        read: ReadEntry,
        validators: PathTrie<ValidatorKind>,
        params: VerifyParams,
        problems: string[],
        figures: { entries: number; bytes: number; parsed: number },
        hashed = true,
    ) {
        this.#entry = entry
        this.#problems = problems
        this.#figures = figures
        this.#digest = hashed ? new ContentDigest(entry) : undefined
        this.#digest?.begin(read)
        const wanted = entry.type === 'file' && entry.superseded !== true && read.sparse === undefined
        const kind = wanted ? validators.find(`/${entry.path}`)?.owner : undefined
        if (kind === 'config-db') {
            if (params.scratch === undefined) return
            makePrivateDirectory(params.scratch)
            discardFile(`${params.scratch}/verify-${process.pid}.db`)
            this.#copy = DataFile.create(`${params.scratch}/verify-${process.pid}.db`)
        }
        if (kind !== undefined && kind !== 'config-db' && entry.size > parsedBytes) return
        this.#kind = kind
    }

    data(piece: Uint8Array): void {
        this.#digest?.update(piece)
        if (this.#copy !== undefined) {
            this.#copy.writeAt(piece, this.#copied)
            this.#copied += piece.length
        } else if (this.#kind !== undefined) this.#kept.push(Buffer.from(piece))
    }

    end(): void {
        this.#digest?.check()
        this.#figures.entries++
        this.#figures.bytes += this.#entry.size
        if (this.#kind === undefined) return
        this.#figures.parsed++
        const shown = `/${showPath(this.#entry.path)}`
        if (this.#kind !== 'config-db') {
            const problem = checks[this.#kind](Buffer.concat(this.#kept), shown)
            if (problem !== undefined) this.#problems.push(`${shown}: ${problem}`)
            return
        }
        try {
            checkDatabase(this.#copy!.path)
            this.#noteTree(this.#copy!.path, shown)
        } catch (error) {
            throw new Fault(
                'damaged',
                `cannot trust ${shown} in the backup: ${error instanceof Error ? error.message : error}`,
                {
                    hint: 'the database was broken when it was saved: compare with an older backup',
                },
            )
        } finally {
            this.abandon()
        }
    }

    /** SQLite finds it whole; whether pmxcfs would start with it is another question, and a note. */
    #noteTree(path: string, shown: string): void {
        try {
            checkPmxcfsTree(readPmxcfsDatabase(path))
        } catch (error) {
            if (!(error instanceof Fault)) throw error
            this.#problems.push(`${shown}: ${error.message}`)
        }
    }

    abandon(): void {
        if (this.#copy === undefined) return
        discardFile(this.#copy.path)
        try {
            this.#copy.close()
        } catch {
            // It was closed before.
        }
    }
}
