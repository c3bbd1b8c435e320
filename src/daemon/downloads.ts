/** Archives of sources while they are in use: brought into the state directory, checked, and removed afterwards. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { showSize } from '../core/units.ts'
import type { Json } from '../engine/change.ts'
import type { RemoteSource, StoredArchive } from '../engine/target.ts'
import type { RunWorker, WorkerOptions } from '../engine/worker.ts'
import { freeBytes } from '../host/archive-directory.ts'
import { discardDirectory, makePrivateDirectory } from '../host/data-file.ts'

export interface Lease {
    /** The archive under its own name. */
    path: string
    /** Removes the copy once nobody reads it: at once, or this long (ms) after. */
    release(keepMs?: number): void
}

interface Copy {
    path: string
    users: number
    timer: ReturnType<typeof setTimeout> | undefined
}

export class Downloads {
    readonly #base: string
    readonly #runWorker: RunWorker
    readonly #copies = new Map<string, Copy>()
    /** One after the other: the room for the next is seen when the last is here. */
    #last: Promise<unknown> = Promise.resolve()

    constructor(state: string, runWorker: RunWorker) {
        this.#base = join(state, 'downloads')
        this.#runWorker = runWorker
    }

    /** Whether the archive is here, so that opening it takes no time. */
    has(source: RemoteSource, archive: StoredArchive): boolean {
        return this.#copies.has(this.#directoryOf(source, archive))
    }

    /** The archive as a file of this host. Throws `refused` when interrupted, `damaged` when what arrived is not whole. */
    async open(source: RemoteSource, archive: StoredArchive, watch: WorkerOptions): Promise<Lease> {
        const directory = this.#directoryOf(source, archive)
        const before = this.#last
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#last = promise
        try {
            await before
            watch.signal?.throwIfAborted()
            const copy = this.#copies.get(directory) ?? (await this.#bring(source, archive, directory, watch))
            copy.users++
            clearTimeout(copy.timer)
            copy.timer = undefined
            return { path: copy.path, release: once(keepMs => this.#release(directory, copy, keepMs)) }
        } finally {
            resolve()
        }
    }

    /** Keeps the copy at this path, if it is one, until the returned function is called. */
    hold(path: string): () => void {
        for (const [directory, copy] of this.#copies) {
            if (copy.path !== path) continue
            copy.users++
            clearTimeout(copy.timer)
            return once(() => this.#release(directory, copy, 0))
        }
        return () => undefined
    }

    /** What an earlier daemon left; only while nothing is in use. */
    sweep(): void {
        if (this.#copies.size === 0) discardDirectory(this.#base)
    }

    async #bring(
        source: RemoteSource,
        archive: StoredArchive,
        directory: string,
        { signal, onEvent }: WorkerOptions,
    ): Promise<Copy> {
        const { name, size } = archive
        discardDirectory(directory)
        makePrivateDirectory(directory)
        const free = freeBytes(directory)
        if (free !== undefined && free < size + limits.downloadReserve) {
            discardDirectory(directory)
            throw new Fault(
                'failed',
                `cannot download ${name}: it has ${showSize(size)}, and ${this.#base} has only ${showSize(free)} free`,
                { hint: 'make room there' },
            )
        }
        try {
            const text = `downloading from ${source.name}`
            const path = await source.fetch(archive, directory, {
                signal,
                progress: done =>
                    void onEvent?.({ event: 'progress', done, total: size, unit: 'bytes', text }),
            })
            // Every stored byte against the digests that the archive has; who signed it is for those who open it.
            const params = { path, deep: false, trust: {} } as unknown as Json
            await this.#runWorker('archive.verify', params, { signal, onEvent })
            const copy: Copy = { path, users: 0, timer: undefined }
            this.#copies.set(directory, copy)
            return copy
        } catch (error) {
            discardDirectory(directory)
            if (error instanceof Fault && error.kind === 'damaged')
                throw new Fault('damaged', `${error.message} (downloaded from ${source.place})`, {
                    hint: error.hint ?? 'try again; when it stays so, the archive on the remote is damaged',
                    facts: error.facts,
                })
            throw error
        }
    }

    #release(directory: string, copy: Copy, keepMs: number): void {
        copy.users--
        if (copy.users > 0) return
        const remove = () => {
            this.#copies.delete(directory)
            discardDirectory(directory)
        }
        if (keepMs === 0) {
            remove()
            return
        }
        copy.timer = setTimeout(remove, keepMs)
        copy.timer.unref()
    }

    /** The same for the same archive: a plan names the path, and must not change between two looks. */
    #directoryOf(source: RemoteSource, { name, size, modifiedMs }: StoredArchive): string {
        const what = JSON.stringify([source.name, source.place, name, size, modifiedMs])
        return join(this.#base, createHash('sha256').update(what).digest('hex').slice(0, 16))
    }
}

function once(release: (keepMs: number) => void): (keepMs?: number) => void {
    let released = false
    return (keepMs = 0) => {
        if (released) return
        released = true
        release(keepMs)
    }
}
