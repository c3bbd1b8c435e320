/**
 * Copies of live entries before they change, below one private directory:
 *
 *     index     a line for each path: what stood there, or that nothing did; the last line is the hash of all others
 *     data/N    the content of file N
 *     keep/N    one more name of the very inode, where the file system allows that: putting it back then needs no room
 */
import { Fault } from '../core/errors.ts'
import type { ByteString } from '../format/tar-write.ts'
import { close, codeOf } from './libc.ts'
import { sha256 } from './libcrypto.ts'
import { breathing, type Live, type Meta, type PlaceTree } from './place.ts'
import { showPath } from './tree.ts'

/** What stood at a path. Times and inodes are those of before; `digest` is that of `PlaceTree.digest`. */
export interface Before extends Meta {
    path: ByteString
    type: 'file' | 'directory' | 'symlink'
    nlink: number
    inode: string
    link?: ByteString
    digest?: string
    /** Number of its copy below `data`. */
    data?: number
    /** Number of its own inode below `keep`. */
    keep?: number
    /** Only its times are kept: something in it changes, it does not. */
    around?: boolean
}

export class Snapshot {
    /** The directory that holds `snapshot`. */
    readonly tree: PlaceTree
    readonly entries: ReadonlyMap<ByteString, Before | undefined>
    readonly #at: string

    private constructor(tree: PlaceTree, at: string, entries: Map<ByteString, Before | undefined>) {
        this.tree = tree
        this.#at = at
        this.entries = entries
    }

    /** Whether something is known of the path: what stood there, or that nothing did. */
    has(path: ByteString): boolean {
        return this.entries.has(path)
    }

    /** The paths that were to change, sorted; not those of which only the times were. */
    get paths(): ByteString[] {
        return [...this.entries].filter(([, before]) => !before?.around).map(([path]) => path)
    }

    /** What stood there; undefined when nothing did. */
    before(path: ByteString): Before | undefined {
        return this.entries.get(path)
    }

    dataOf(entry: Before): ByteString {
        return `${this.#at}/data/${entry.data}`
    }

    keepOf(entry: Before): ByteString | undefined {
        return entry.keep === undefined ? undefined : `${this.#at}/keep/${entry.keep}`
    }

    /** Reads the index of `at` below the tree; undefined when none was finished there. Throws when it is damaged. */
    static read(tree: PlaceTree, at: string): Snapshot | undefined {
        if (tree.look(`${at}/index`) === undefined) return undefined
        return new Snapshot(tree, at, parse(tree.readWhole(`${at}/index`)))
    }

    /**
     * Takes a new one in the place of an unfinished one. `paths` are those that will change, `around` directories of
     * which only the times will. Durable when it returns.
     */
    static async take(
        live: PlaceTree,
        tree: PlaceTree,
        at: string,
        wanted: { paths: readonly ByteString[]; around: readonly ByteString[] },
        options: { signal?: AbortSignal; progress?: (done: number, bytes: number) => void } = {},
    ): Promise<Snapshot> {
        tree.removeTree(at)
        for (const directory of [at, `${at}/data`, `${at}/keep`]) tree.makeDirectory(directory)
        const entries = new Map<ByteString, Before | undefined>()
        /** The first entry of each inode that has several names. */
        const firsts = new Map<string, Before>()
        const breathe = breathing()
        let number = 0
        let bytes = 0
        for (const path of [...new Set(wanted.paths)].sort()) {
            await breathe(options.signal)
            // Below what is no directory yet there is nothing; looking would meet a link that is about to be replaced.
            const found = leadsNowhere(path, entries) ? undefined : live.look(path)
            if (found === undefined) {
                entries.set(path, undefined)
                continue
            }
            const before = describe(path, found)
            const first = found.nlink > 1 && found.type !== 'directory' ? firsts.get(found.inode) : undefined
            if (first !== undefined) {
                before.digest = first.digest
                before.data = first.data
                before.keep = first.keep
            } else if (before.type !== 'directory') {
                number++
                if (before.type === 'file') {
                    const source = live.openFile(path)
                    try {
                        before.digest = tree.writeFile(`${at}/data/${number}`, source)
                    } finally {
                        close(source)
                    }
                    before.data = number
                    bytes += found.stored
                }
                if (keep(live, path, tree, `${at}/keep/${number}`)) before.keep = number
                if (found.nlink > 1) firsts.set(found.inode, before)
            }
            entries.set(path, before)
            options.progress?.(entries.size, bytes)
        }
        for (const path of [...new Set(wanted.around)].sort()) {
            if (entries.has(path)) continue
            const found = live.look(path)
            if (found !== undefined) entries.set(path, { ...describe(path, found), around: true })
        }
        // The copies are durable before the index says that they are there.
        tree.syncAll(at)
        tree.writeWhole(`${at}/index.new`, print(entries))
        tree.publish(`${at}/index.new`, `${at}/index`)
        tree.settle()
        return new Snapshot(tree, at, entries)
    }
}

/**
 * Takes a snapshot of paths that will be put in place or removed, of the directories that will be made for them, and of
 * the times of those that they lie in. Durable when it returns.
 */
export function saveBefore(
    paths: readonly ByteString[],
    live: PlaceTree,
    tree: PlaceTree,
    at: string,
    { signal, progress }: { signal?: AbortSignal; progress?: (done: number, total: number) => void } = {},
): Promise<Snapshot> {
    const wanted = withMissingParents(paths, live)
    const around = [...new Set(wanted.flatMap(path => above(path).slice(-1)))]
    return Snapshot.take(
        live,
        tree,
        at,
        { paths: wanted, around },
        { signal, progress: done => progress?.(done, wanted.length) },
    )
}

/** Directories above the path, the nearest last; the root is the empty one. */
export function above(path: ByteString): ByteString[] {
    const found: ByteString[] = ['']
    for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1))
        found.push(path.slice(0, end))
    return found
}

/** A directory above a path that is not there will be made with it. Throws when a link stands in the way. */
export function withMissingParents(paths: readonly ByteString[], live: PlaceTree): ByteString[] {
    const known = new Set(paths)
    const standing = new Set<ByteString>([''])
    for (const path of [...known]) {
        let nothingBelow = false
        for (const parent of above(path)) {
            if (standing.has(parent)) continue
            const found = nothingBelow ? undefined : live.look(parent)
            if (found?.type === 'directory') standing.add(parent)
            else if (found === undefined || known.has(parent)) {
                // Whatever an action replaces by a directory has nothing of the present tree below it.
                nothingBelow = true
                known.add(parent)
            } else throw inTheWay(path, parent, found)
        }
    }
    return [...known]
}

function inTheWay(path: ByteString, parent: ByteString, found: Live): Fault {
    const what = found.type === 'symlink' ? `a link to ${showPath(found.link ?? '')}` : 'no directory'
    return new Fault('failed', `cannot restore /${showPath(path)}: /${showPath(parent)} is ${what} here`, {
        hint: 'make it a directory as it was when the backup was made, or leave the category out',
    })
}

/** When all is back in its place: each file has the number of names again that it had. The copies stay. */
export function dropSecondNames(snapshot: Snapshot, live: PlaceTree): void {
    for (const [path, before] of snapshot.entries) {
        const keep = before && snapshot.keepOf(before)
        if (keep === undefined) continue
        const kept = snapshot.tree.look(keep)
        if (kept === undefined) continue
        let now: ReturnType<PlaceTree['look']>
        try {
            now = live.look(path)
        } catch {
            // Something else stands in its way by now: the old one is not in its place.
            continue
        }
        if (now?.inode === kept.inode) snapshot.tree.remove(keep)
    }
}

function leadsNowhere(path: ByteString, entries: ReadonlyMap<ByteString, Before | undefined>): boolean {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
        const above = path.slice(0, end)
        if (entries.has(above) && entries.get(above)?.type !== 'directory') return true
    }
    return false
}

function describe(path: ByteString, found: Live): Before {
    const { type, mode, uid, gid, atimeNs, mtimeNs, xattrs, nlink, inode, link } = found
    if (type === 'other')
        throw new Fault('failed', `cannot save /${showPath(path)}: a socket, pipe or device stands there`, {
            hint: 'remove it, or leave the category out',
        })
    return { path, type, mode, uid, gid, atimeNs, mtimeNs, xattrs, nlink, inode, link }
}

/** Not every file system or file takes another name; the copy serves as well. */
function keep(live: PlaceTree, path: ByteString, tree: PlaceTree, to: ByteString): boolean {
    try {
        tree.linkFrom(live, path, to)
        return true
    } catch (error) {
        if (noLink.has(codeOf(error) ?? '')) return false
        throw error
    }
}

const noLink = new Set(['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES'])

// --- the index -------------------------------------------------------------------------------------------------

type Line = {
    path: string
    absent?: true
    around?: true
    type?: Before['type']
    mode?: number
    owner?: [number, number]
    times?: [string, string]
    xattrs?: [string, string][]
    nlink?: number
    inode?: string
    link?: string
    digest?: string
    data?: number
    keep?: number
}

function print(entries: ReadonlyMap<ByteString, Before | undefined>): Uint8Array {
    const lines: string[] = []
    for (const [path, before] of entries) {
        if (before === undefined) {
            lines.push(JSON.stringify({ path, absent: true } satisfies Line))
            continue
        }
        const { type, mode, uid, gid, atimeNs, mtimeNs, xattrs, nlink, inode, link, digest, data } = before
        const line: Line = {
            path,
            type,
            mode,
            owner: [uid, gid],
            times: [String(atimeNs), String(mtimeNs)],
            nlink,
            inode,
            link,
            digest,
            data,
            keep: before.keep,
        }
        if (before.around) line.around = true
        if (xattrs.length > 0)
            line.xattrs = xattrs.map(({ name, value }) => [name, Buffer.from(value).toString('base64')])
        lines.push(JSON.stringify(line))
    }
    const text = lines.map(line => `${line}\n`).join('')
    return Buffer.from(`${text}${hashOf(text)}\n`)
}

function parse(bytes: Uint8Array): Map<ByteString, Before | undefined> {
    const whole = Buffer.from(bytes).toString()
    const end = whole.lastIndexOf('\n', whole.length - 2) + 1
    const text = whole.slice(0, end)
    if (whole.slice(end).trimEnd() !== hashOf(text))
        throw new Fault('stuck', 'cannot read the snapshot of this change: its index is damaged', {
            hint: 'the backup that `proxsavectl list` shows before it has the old files',
        })
    const entries = new Map<ByteString, Before | undefined>()
    for (const one of text.split('\n')) {
        if (one === '') continue
        const line = JSON.parse(one) as Line
        if (line.absent) {
            entries.set(line.path, undefined)
            continue
        }
        const before: Before = {
            path: line.path,
            type: line.type!,
            mode: line.mode!,
            uid: line.owner![0],
            gid: line.owner![1],
            atimeNs: BigInt(line.times![0]),
            mtimeNs: BigInt(line.times![1]),
            xattrs: (line.xattrs ?? []).map(([name, value]) => ({
                name,
                value: Buffer.from(value, 'base64'),
            })),
            nlink: line.nlink!,
            inode: line.inode!,
            link: line.link,
            digest: line.digest,
            data: line.data,
            keep: line.keep,
        }
        if (line.around) before.around = true
        entries.set(line.path, before)
    }
    return entries
}

const hashOf = (text: string): string => Buffer.from(sha256(Buffer.from(text))).toString('hex')
