/** A directory that holds finished archives: only whole files appear in it, under names that nothing replaces. */
import { createHash, randomBytes } from 'node:crypto'
import { constants, mkdirSync, statfsSync } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { AT_FDCWD, codeOf, cPath, linkAt, RENAME_NOREPLACE, renameAt, unlinkAt } from './libc.ts'

/** Where unfinished files lie; on the same file system, so that finishing is a rename. */
const partialDirectory = '.partial'

export interface StoredFile {
    name: string
    size: number
    modifiedMs: number
}

export function partialPath(path: string): string {
    return join(path, partialDirectory)
}

/** Creates the directory and its room for unfinished files, both 0700, unless they are there. Its parent must be. */
export async function prepareDirectory(path: string): Promise<void> {
    for (const directory of [path, partialPath(path)])
        await bounded(mkdir(directory, { mode: 0o700 }), directory).catch(error => explainMkdir(path, error))
}

/**
 * As `prepareDirectory`, at once; only for file systems that answer without a network. `withParent` also makes the directory
 * above: of a path that nobody chose, nobody expects a disk to be mounted there.
 */
export function prepareLocalDirectory(path: string, withParent = false): void {
    if (withParent) mkdirSync(dirname(path), { recursive: true })
    for (const directory of [path, partialPath(path)]) {
        try {
            mkdirSync(directory, { mode: 0o700 })
        } catch (error) {
            explainMkdir(path, error)
        }
    }
}

function explainMkdir(path: string, error: unknown): void {
    const code = codeOf(error)
    if (code === 'EEXIST') return
    if (error instanceof Fault) throw error
    if (code === 'ENOENT')
        throw new Fault('failed', `cannot use the directory ${path}: ${dirname(path)} does not exist`, {
            hint: `create it, or mount what belongs there: only ${path} itself is created by proxsave`,
        })
    throw new Fault('failed', `cannot use the directory ${path}: ${why(error)}`, { cause: error })
}

/** Bytes that are free for root in the directory, or in the one above it while it is not there yet. */
export function freeBytes(path: string): number | undefined {
    for (const directory of [path, dirname(path)]) {
        try {
            const { bavail, bsize } = statfsSync(directory)
            return bavail * bsize
        } catch (error) {
            if (codeOf(error) !== 'ENOENT') return undefined
        }
    }
    return undefined
}

/** Regular files whose names `wanted` accepts; none when the directory is not there. */
export async function listDirectory(path: string, wanted: (name: string) => boolean): Promise<StoredFile[]> {
    let names: string[]
    try {
        names = await bounded(readdir(path), path)
    } catch (error) {
        if (codeOf(error) === 'ENOENT') return []
        if (error instanceof Fault) throw error
        throw new Fault('failed', `cannot list ${path}: ${why(error)}`, { cause: error })
    }
    if (names.length > limits.targetNames)
        throw new Fault('failed', `cannot list ${path}: it has ${names.length} entries`, {
            hint: 'give proxsave a directory of its own',
        })
    const files: StoredFile[] = []
    for (const name of names.filter(wanted).sort()) {
        try {
            const found = await bounded(lstat(join(path, name)), path)
            if (found.isFile()) files.push({ name, size: found.size, modifiedMs: found.mtimeMs })
        } catch (error) {
            // Another run's prune may have taken it since.
            if (codeOf(error) !== 'ENOENT') throw error
        }
    }
    return files
}

/** `length` bytes from `offset`, fewer only at the end of the file. Links and devices are no archives. */
export async function readPart(path: string, offset: number, length: number): Promise<Uint8Array> {
    const handle = await openForReading(path)
    try {
        const buffer = new Uint8Array(length)
        let at = 0
        while (at < length) {
            const { bytesRead } = await bounded(handle.read(buffer, at, length - at, offset + at), path)
            if (bytesRead === 0) break
            at += bytesRead
        }
        return buffer.subarray(0, at)
    } finally {
        await handle.close()
    }
}

/**
 * Makes the finished file `source` appear as `path/name`, whole and durable, mode 0600. From this directory's own room
 * for unfinished files it is renamed and gone afterwards; from elsewhere it is copied, compared by SHA-256 and left. An existing
 * `name` is never replaced, and any failure leaves nothing behind. The directory was prepared before.
 */
export async function publishFile(
    source: string,
    path: string,
    name: string,
    progress: (bytes: number) => void = () => undefined,
): Promise<'renamed' | 'copied'> {
    const destination = join(path, name)
    if (await exists(destination)) throw taken(path, name)
    const from = await openForReading(source)
    try {
        const size = (await from.stat()).size
        // Only out of our own room for unfinished files: elsewhere it may be another target's finished archive.
        if (dirname(source) === partialPath(path) && (await sameFileSystem(source, path))) {
            await from.chmod(0o600)
            await from.sync()
            if (renameNew(source, destination, path, name)) {
                await syncDirectories(path, dirname(source))
                progress(size)
                return 'renamed'
            }
        }
        await copy(from, path, name, progress)
        return 'copied'
    } finally {
        await from.close()
    }
}

/** Removes a file durably; no error when it is gone already. */
export async function removeStored(path: string, name: string): Promise<void> {
    try {
        await bounded(rm(join(path, name)), path)
        await syncDirectories(path)
    } catch (error) {
        if (codeOf(error) === 'ENOENT') return
        if (error instanceof Fault) throw error
        throw new Fault('failed', `cannot remove ${join(path, name)}: ${why(error)}`, {
            ...hintFor(error),
            cause: error,
        })
    }
}

/** Removes unfinished files that were last written before `beforeMs`, and tells their names. */
export async function sweepPartial(path: string, beforeMs: number): Promise<string[]> {
    const partial = partialPath(path)
    const left = (await listDirectory(partial, () => true)).filter(file => file.modifiedMs < beforeMs)
    for (const { name } of left) await removeStored(partial, name)
    return left.map(file => file.name)
}

async function copy(
    from: FileHandle,
    path: string,
    name: string,
    progress: (bytes: number) => void,
): Promise<void> {
    const temporary = join(partialPath(path), `${name}.${randomBytes(6).toString('hex')}`)
    let to: FileHandle | undefined
    let made = false
    try {
        to = await bounded(
            open(
                temporary,
                constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
                0o600,
            ),
            path,
        )
        made = true
        const wanted = createHash('sha256')
        const size = await pump(from, async (piece, at) => {
            wanted.update(piece)
            for (let done = 0; done < piece.length; ) {
                const rest = piece.length - done
                const { bytesWritten } = await bounded(to!.write(piece, done, rest, at + done), path)
                done += bytesWritten
            }
            progress(at + piece.length)
        })
        await bounded(to.sync(), path)
        const found = createHash('sha256')
        const stored = await pump(to, piece => Promise.resolve(void found.update(piece)))
        if (stored !== size || found.digest('hex') !== wanted.digest('hex'))
            throw new Fault('failed', `cannot publish ${name} to ${path}: the copy differs from its source`, {
                hint: 'test the memory and the disk of this machine, and the way to the target',
            })
        if (!renameNew(temporary, join(path, name), path, name))
            throw new Fault(
                'failed',
                `cannot publish ${name} to ${path}: it changed its file system meanwhile`,
            )
        made = false
        await syncDirectories(path, partialPath(path))
    } catch (error) {
        if (error instanceof Fault) throw error
        throw new Fault('failed', `cannot publish ${name} to ${path}: ${why(error)}`, {
            ...hintFor(error),
            cause: error,
        })
    } finally {
        await to?.close().catch(() => undefined)
        if (made) await rm(temporary, { force: true }).catch(() => undefined)
    }
}

async function pump(
    from: FileHandle,
    take: (piece: Uint8Array, offset: number) => Promise<unknown>,
): Promise<number> {
    const buffer = new Uint8Array(limits.writeBytes)
    for (let at = 0; ; ) {
        const { bytesRead } = await bounded(from.read(buffer, 0, buffer.length, at), 'the file')
        if (bytesRead === 0) return at
        await take(buffer.subarray(0, bytesRead), at)
        at += bytesRead
    }
}

/** Renames where nothing has the name yet; false when the two are not on one file system after all. */
function renameNew(source: string, destination: string, path: string, name: string): boolean {
    try {
        renameAt(AT_FDCWD, cPath(source), AT_FDCWD, cPath(destination), RENAME_NOREPLACE)
        return true
    } catch (error) {
        const code = codeOf(error)
        if (code === 'EXDEV') return false
        if (code === 'EEXIST') throw taken(path, name)
        // NFS and some FUSE file systems know no RENAME_NOREPLACE; a hard link does not replace either.
        if (code !== 'EINVAL' && code !== 'ENOSYS') throw error
    }
    try {
        linkAt(AT_FDCWD, cPath(source), AT_FDCWD, cPath(destination))
    } catch (error) {
        if (codeOf(error) === 'EEXIST') throw taken(path, name)
        throw error
    }
    unlinkAt(AT_FDCWD, cPath(source))
    return true
}

async function sameFileSystem(source: string, path: string): Promise<boolean> {
    const [one, other] = await bounded(Promise.all([stat(source), stat(path)]), path)
    return one.dev === other.dev
}

async function openForReading(path: string): Promise<FileHandle> {
    let handle: FileHandle
    try {
        // A FIFO would block the open for ever, a link could lead anywhere.
        handle = await bounded(
            open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
            path,
        )
    } catch (error) {
        if (error instanceof Fault) throw error
        const gone = codeOf(error) === 'ENOENT'
        throw new Fault('failed', `cannot read ${path}: ${gone ? 'there is no such file' : why(error)}`, {
            cause: error,
        })
    }
    if ((await handle.stat()).isFile()) return handle
    await handle.close()
    throw new Fault('failed', `cannot read ${path}: it is not a regular file`)
}

async function exists(path: string): Promise<boolean> {
    return bounded(lstat(path), path).then(
        () => true,
        error => {
            if (codeOf(error) === 'ENOENT') return false
            throw error
        },
    )
}

async function syncDirectories(...paths: string[]): Promise<void> {
    for (const path of paths) {
        const handle = await bounded(open(path, constants.O_RDONLY | constants.O_DIRECTORY), path)
        try {
            await bounded(handle.sync(), path)
        } finally {
            await handle.close()
        }
    }
}

/** Rejects when the file system does not answer; the call itself sleeps on in its own thread. */
function bounded<T>(work: Promise<T>, path: string): Promise<T> {
    let timer: ReturnType<typeof setTimeout>
    const limit = new Promise<never>((_, reject) => {
        timer = setTimeout(
            () =>
                reject(
                    new Fault('failed', `cannot use ${path}: the file system does not answer`, {
                        hint: 'is the server behind it reachable? `findmnt` shows which one it is',
                    }),
                ),
            limits.targetMs,
        )
    })
    return Promise.race([work, limit]).finally(() => clearTimeout(timer))
}

function taken(path: string, name: string): Fault {
    return new Fault('failed', `cannot publish ${name} to ${path}: there is a file of that name already`, {
        facts: { exists: name },
    })
}

function why(error: unknown): string {
    const code = codeOf(error)
    if (code === 'ENOSPC') return 'no space is left'
    if (code === 'EDQUOT') return 'the quota is used up'
    if (code === 'EROFS') return 'the file system is read-only'
    if (code === 'ENOTDIR') return 'it is not a directory'
    if (code === 'ELOOP') return 'it is a symbolic link'
    return error instanceof Error ? error.message : String(error)
}

function hintFor(error: unknown): { hint?: string } {
    const code = codeOf(error)
    if (code === 'ENOSPC' || code === 'EDQUOT')
        return { hint: 'free some space there, or let `proxsavectl prune` remove old backups' }
    return {}
}
