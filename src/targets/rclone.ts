/** The source that is a remote of rclone: listed, read in parts and downloaded from, never written to. */
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { FetchWatch, RemoteSource, StoredArchive } from '../engine/target.ts'
import type { RcloneSourceConfig } from '../format/config.ts'
import { parseUpstreamName } from '../format/upstream-manifest.ts'
import { bytesIn } from '../host/data-file.ts'
import { type Exec, type ExecOptions, type ExecResult, systemPath } from '../host/exec.ts'
import { archiveName } from './local.ts'

/** What a source needs to know of the host it is read from. */
export interface SourceHost {
    /** `/`, or the tree that is served instead of it. */
    root: string
    exec: Exec
}

/** What the Go ProxSave leaves beside an archive that it did not bundle. */
const besideSuffixes = ['.sha256', '.metadata', '.manifest.json']
/** How often (ms) a download is looked at. */
const lookMs = 250

export class RcloneSource implements RemoteSource {
    readonly type = 'rclone'
    readonly name: string
    readonly place: string
    readonly patienceMs: number
    readonly #config: string
    readonly #exec: Exec

    constructor({ name, remote, timeoutMs, config }: RcloneSourceConfig, { root, exec }: SourceHost) {
        this.name = name
        this.place = remote
        this.patienceMs = timeoutMs
        this.#config = root === '/' ? config : join(root, config)
        this.#exec = exec
    }

    async list(): Promise<StoredArchive[]> {
        const result = await this.#run('list', ['lsjson', '--files-only', '--no-mimetype', this.place])
        const files = readListing(result.stdout)
        if (files === undefined || result.truncated)
            throw new Fault('failed', `cannot list ${this.place}: what rclone says is no listing`, {
                hint: this.#tryIt(),
            })
        if (files.length > limits.targetNames)
            throw new Fault('failed', `cannot list ${this.place}: it has ${files.length} entries`, {
                hint: 'name the directory of the archives in the remote: "name:path"',
            })
        const byName = new Map(files.map(file => [file.name, file]))
        return files
            .filter(({ name }) => isArchive(name))
            .map(file => {
                if (parseUpstreamName(file.name)?.bundle !== false) return file
                const beside = besideSuffixes
                    .map(suffix => byName.get(`${file.name}${suffix}`))
                    .filter(found => found !== undefined)
                return { ...file, beside }
            })
    }

    async read(name: string, offset: number, length: number): Promise<Uint8Array> {
        const range = ['--offset', String(offset), '--count', String(length)]
        const { stdout } = await this.#run('read', ['cat', ...range, this.#pathOf(name)], {
            maxBytes: Math.max(length, limits.smallMemberBytes),
        })
        if (stdout.length <= length) return stdout
        // A directory of that name is read as all of its files; a range that was not understood, from the beginning.
        throw new Fault('failed', `cannot read ${this.#pathOf(name)}: rclone gave more than was asked for`)
    }

    localPath(): undefined {
        return undefined
    }

    async fetch(
        archive: StoredArchive,
        directory: string,
        { progress = () => undefined, signal }: FetchWatch = {},
    ): Promise<string> {
        let arrivedBefore = 0
        for (const { name, size } of [...(archive.beside ?? []), archive]) {
            const path = join(directory, name)
            await this.#copy(name, path, {
                arrived: () => bytesIn(directory) - arrivedBefore,
                size,
                progress: name === archive.name ? progress : () => undefined,
                signal,
            })
            const arrived = bytesIn(directory) - arrivedBefore
            if (arrived !== size)
                throw new Fault(
                    'failed',
                    `cannot download ${this.#pathOf(name)}: ${arrived} of ${size} bytes arrived`,
                    { hint: 'try again; when it stays so, the archive on the remote is not complete' },
                )
            arrivedBefore += arrived
        }
        return join(directory, archive.name)
    }

    /** One file; a copy that stands still for the timeout is ended, however long it may take as a whole. */
    async #copy(
        name: string,
        path: string,
        watch: Required<Pick<FetchWatch, 'progress'>> & {
            arrived(): number
            size: number
            signal: AbortSignal | undefined
        },
    ): Promise<void> {
        const halt = new AbortController()
        let before = 0
        let quietMs = 0
        const look = setInterval(() => {
            const arrived = watch.arrived()
            quietMs = arrived > before ? 0 : quietMs + lookMs
            if (arrived > before) watch.progress(arrived)
            before = Math.max(before, arrived)
            const most = arrived >= watch.size ? limits.downloadCheckMs : this.patienceMs
            if (quietMs > Math.max(most, this.patienceMs)) halt.abort()
        }, lookMs)
        try {
            // One stream: several write to the whole length at once, and nothing could be told from the size.
            const argv = ['copyto', '--multi-thread-streams', '0', this.#pathOf(name), path]
            await this.#run('download', argv, {
                timeoutMs: limits.downloadMs,
                signal:
                    watch.signal === undefined ? halt.signal : AbortSignal.any([halt.signal, watch.signal]),
            })
        } catch (error) {
            if (watch.signal?.aborted === true)
                throw new Fault('refused', `cannot download ${this.#pathOf(name)}: interrupted`)
            if (halt.signal.aborted) throw this.#silent('download')
            throw error
        } finally {
            clearInterval(look)
        }
        watch.progress(watch.size)
    }

    async #run(
        verb: 'list' | 'read' | 'download',
        argv: string[],
        options: ExecOptions = {},
    ): Promise<Extract<ExecResult, { found: true }>> {
        const seconds = `${Math.ceil(this.patienceMs / 1000)}s`
        const result = await this.#exec(
            [
                'rclone',
                ...['--config', this.#config],
                // Nobody is there to ask for the password of an encrypted configuration.
                '--ask-password=false',
                // Object stores need one more request an archive for any other time.
                '--use-server-modtime',
                ...['--contimeout', seconds, '--timeout', seconds],
                ...['--retries', '1', '--low-level-retries', '3'],
                ...argv,
            ],
            {
                timeoutMs: this.patienceMs,
                env: { LC_ALL: 'C', PATH: systemPath, HOME: '/root' },
                ...options,
            },
        )
        if (!result.found)
            throw new Fault('failed', `cannot ${verb} ${this.place}: rclone is not installed`, {
                hint: 'apt install rclone',
            })
        if (result.timedOut) throw this.#silent(verb)
        if (result.status === 0) return result
        const why =
            result.status === null ? `rclone was ended by ${result.endedBy}` : lastWords(result.stderr)
        throw new Fault('failed', `cannot ${verb} ${this.place}: ${why || `exit status ${result.status}`}`, {
            hint: why.includes("didn't find section")
                ? `rclone config --config ${this.#config} makes the remote`
                : this.#tryIt(),
        })
    }

    #silent(verb: string): Fault {
        const seconds = Math.ceil(this.patienceMs / 1000)
        return new Fault('failed', `cannot ${verb} ${this.place}: rclone was silent for ${seconds} s`, {
            hint: `is it reachable? A slow one needs a longer "timeout" in [source.${this.name}]`,
        })
    }

    #tryIt(): string {
        return `see what it does by hand: rclone --config ${this.#config} lsf "${this.place}"`
    }

    #pathOf(name: string): string {
        return /[:/]$/.test(this.place) ? `${this.place}${name}` : `${this.place}/${name}`
    }
}

function isArchive(name: string): boolean {
    if (archiveName.test(name)) return true
    // A remote may hold any name; only such ones become names of files here.
    return /^[A-Za-z0-9_][A-Za-z0-9._-]{0,250}$/.test(name) && parseUpstreamName(name) !== undefined
}

/** Undefined when it is none; files whose size the remote does not know cannot be archives. */
function readListing(bytes: Uint8Array): StoredArchive[] | undefined {
    let listed: unknown
    try {
        listed = JSON.parse(Buffer.from(bytes).toString('utf8'))
    } catch {
        return undefined
    }
    if (!Array.isArray(listed)) return undefined
    const files: StoredArchive[] = []
    for (const entry of listed as unknown[]) {
        const { Name, Size, ModTime, IsDir } = (entry ?? {}) as Record<string, unknown>
        if (typeof Name !== 'string' || typeof Size !== 'number') return undefined
        if (IsDir === true || !Number.isSafeInteger(Size) || Size < 0) continue
        const modifiedMs = typeof ModTime === 'string' ? Date.parse(ModTime) : Number.NaN
        files.push({ name: Name, size: Size, modifiedMs: Number.isFinite(modifiedMs) ? modifiedMs : 0 })
    }
    return files
}

/** The last line that rclone wrote, without its time: the ones before are attempts. */
function lastWords(stderr: Uint8Array): string {
    const lines = Buffer.from(stderr.subarray(-4096)).toString('utf8').trim().split('\n')
    return (lines.at(-1) ?? '')
        .replace(/^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d /, '')
        .replaceAll(/[^\x20-\x7e]/g, '?')
        .slice(0, 300)
}
