/** The operation `archive.diff`: what differs between a backup and another one, or the host as it is. */
import { createTwoFilesPatch } from 'diff'
import { categories as catalogue } from '../catalog/index.ts'
import { buildMatcher } from '../catalog/match.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json } from '../engine/change.ts'
import type { IndexEntry } from '../format/index.ts'
import type { ByteString, TarType } from '../format/tar-write.ts'
import { discardFile } from '../host/data-file.ts'
import * as libc from '../host/libc.ts'
import { Sha256 } from '../host/libcrypto.ts'
import { copyDatabase } from '../host/sqlite.ts'
import { failure, showPath, Tree } from '../host/tree.ts'
import { type CollectedEntry, collect } from '../archive/collect.ts'
import { HoleDigest, xattrsDigest } from '../archive/digest.ts'
import { selector } from './files.ts'
import type { OperationIo } from '../engine/operation.ts'
import { isSecretPath, maskLine } from './secrets.ts'
import { type Contents, openContents } from './contents.ts'
import type { Identity } from '../archive/unlock.ts'

export interface DiffParams {
    left: { path: string; identities?: Identity }
    right:
        | { path: string; identities?: Identity }
        | { root: string; exclude?: string[]; never?: string[]; scratch?: string }
    /** Only these; default all that the left side has. */
    categories?: string[]
}

/** One entry as either side has it. */
interface Side {
    path: ByteString
    type: TarType
    category: string
    mode: number
    uid: number
    gid: number
    size: number
    link?: ByteString
    /** Its digest leaves out what is zeros: it was saved as a sparse file. */
    holes?: boolean
    /** Of its extended attributes; undefined where nobody noted them. */
    xattrs?(): string | undefined
    /** Digest of the content, of the kind that `holes` names; undefined where there is only the other one. Throws what reading throws. */
    digest(holes: boolean): Uint8Array | undefined
}

interface Difference {
    path: string
    change: 'added' | 'removed' | 'changed'
    category: string
    what?: string[]
    diff?: string
}

/** Above this, text is called changed without showing how. */
const shownBytes = 256 * 1024

export async function archiveDiff(params: DiffParams, io: OperationIo): Promise<Json> {
    const left = await openContents(params.left.path, params.left.identities, io, true)
    const right =
        'path' in params.right
            ? await openContents(params.right.path, params.right.identities, io, true)
            : undefined
    const tree = 'root' in params.right ? new Tree(params.right.root, { trusted: ['etc/pve'] }) : undefined
    try {
        const wanted = anySelector(params.categories)
        const leftSides = archiveSides(left, wanted)
        const rightSides =
            right !== undefined
                ? archiveSides(right, wanted)
                : liveSides(tree!, left, params.right as LiveParams, wanted, io)
        const differences = compareSides(leftSides, rightSides, io)
        await addTexts(differences, { left, right, tree, io })
        const counts = { added: 0, removed: 0, changed: 0 }
        for (const difference of differences) {
            counts[difference.change]++
            await io.item({ ...difference, path: `/${showPath(difference.path)}` } as unknown as Json)
        }
        return counts
    } finally {
        left.close()
        right?.close()
        if (tree !== undefined) discardDatabaseCopy(params.right as LiveParams)
        tree?.close()
    }
}

type LiveParams = Extract<DiffParams['right'], { root: string }>

function anySelector(ids: string[] | undefined): (entry: IndexEntry) => boolean {
    if (ids === undefined || ids.length === 0) return () => true
    const selectors = ids.map(selector)
    return entry => selectors.some(select => select(entry))
}

function archiveSides(opened: Contents, wanted: (entry: IndexEntry) => boolean): Map<ByteString, Side> {
    const sides = new Map<ByteString, Side>()
    for (const entry of opened.reader.index(true).entries) {
        // What commands printed is of its moment.
        if (entry.superseded === true || entry.category === 'captured' || !wanted(entry)) continue
        sides.set(entry.path, {
            ...entry,
            xattrs: () => entry.xattrs,
            digest: holes => ((entry.holes === true) === holes ? entry.sha256 : undefined),
        })
    }
    // The name of a hard link is a file like the first name.
    for (const side of sides.values()) {
        const first = side.type === 'hardlink' ? sides.get(side.link ?? '') : undefined
        if (first !== undefined)
            Object.assign(side, {
                type: 'file',
                size: first.size,
                link: undefined,
                holes: first.holes,
                xattrs: first.xattrs,
                digest: first.digest,
            })
    }
    return sides
}

function liveSides(
    tree: Tree,
    left: Contents,
    live: LiveParams,
    wanted: (entry: IndexEntry) => boolean,
    io: OperationIo,
): Map<ByteString, Side> {
    const saved = new Set(left.archive.head.manifest.categories.map(({ id }) => id))
    const chosen = catalogue.filter(({ id, virtual }) => saved.has(id) && virtual !== true)
    const included = left.reader.index().entries.filter(({ category }) => category === 'included')
    const names = new Set(included.map(({ path }) => path))
    const roots = included.filter(({ path }) => !names.has(path.slice(0, Math.max(0, path.lastIndexOf('/')))))
    const matcher = buildMatcher(
        chosen,
        roots.map(({ path }) => `/${path}`),
    )
    const warn = (text: string) => io.warn(text)
    const collected = collect(tree, { matcher, exclude: live.exclude ?? [], never: live.never ?? [], warn })
    const sides = new Map<ByteString, Side>()
    for (const entries of collected.entries.values())
        for (const entry of entries) {
            const side = liveSide(tree, entry, live)
            if (wanted(side as unknown as IndexEntry)) sides.set(entry.path, side)
        }
    // Directories that only lead somewhere are in the backup, but no category walks them.
    for (const entry of left.reader.index().entries) {
        const { path, type, category } = entry
        if (type !== 'directory' || category === 'captured' || sides.has(path) || !wanted(entry)) continue
        const stat = tree.stat(path)
        if (stat === undefined || (stat.mode & libc.fileType.mask) !== libc.fileType.directory) continue
        sides.set(path, {
            path,
            type,
            category,
            mode: stat.mode & 0o7777,
            uid: stat.uid,
            gid: stat.gid,
            size: 0,
            xattrs: () => xattrsDigest(tree.xattrs(path)),
            digest: () => undefined,
        })
    }
    return sides
}

const DATABASE = 'var/lib/pve-cluster/config.db'

function liveSide(tree: Tree, entry: CollectedEntry, live: LiveParams): Side {
    const { stat } = entry
    const side: Side = {
        path: entry.path,
        type: entry.type,
        category: entry.category.id,
        mode: stat.mode & 0o7777,
        uid: stat.uid,
        gid: stat.gid,
        size: entry.type === 'file' ? stat.size : 0,
        link: entry.link,
        xattrs: () => xattrsDigest(tree.xattrs(entry.path)),
        digest: holes => (entry.type === 'file' ? digestOf(tree.openFile(entry.path), holes) : undefined),
    }
    if (entry.path === DATABASE && live.scratch !== undefined) {
        const copy = `${live.scratch}/diff-${process.pid}.db`
        copyDatabase(`${tree.root}/${DATABASE}`, copy, live.scratch)
        const open = () => libc.openAt(libc.AT_FDCWD, libc.cPath(copy), libc.open.RDONLY)
        const fd = open()
        side.size = libc.statFd(fd).size
        libc.close(fd)
        side.digest = holes => digestOf(open(), holes)
    }
    return side
}

function discardDatabaseCopy(live: LiveParams): void {
    if (live.scratch !== undefined) discardFile(`${live.scratch}/diff-${process.pid}.db`)
}

function digestOf(fd: number, holes: boolean): Uint8Array {
    try {
        const sha = new Sha256()
        const buffer = new Uint8Array(limits.writeBytes)
        if (holes) return holeDigestOf(fd, buffer)
        for (let at = 0; ; ) {
            const got = libc.readAt(fd, buffer, at)
            if (got === 0) return sha.digest()
            sha.update(buffer.subarray(0, got))
            at += got
        }
    } finally {
        libc.close(fd)
    }
}

function holeDigestOf(fd: number, buffer: Uint8Array): Uint8Array {
    const { size } = libc.statFd(fd)
    const digest = new HoleDigest()
    for (const { offset, length } of libc.dataExtents(fd, size, limits.sparseExtents))
        for (let at = offset; at < offset + length; ) {
            const got = libc.readAt(fd, buffer.subarray(0, offset + length - at), at)
            if (got === 0) break
            digest.update(at, buffer.subarray(0, got))
            at += got
        }
    return digest.digest(size)
}

function compareSides(
    left: Map<ByteString, Side>,
    right: Map<ByteString, Side>,
    io: OperationIo,
): Difference[] {
    const differences: Difference[] = []
    let done = 0
    for (const [path, a] of left) {
        if (io.signal?.aborted) throw new Fault('refused', 'cannot finish the comparison: it was stopped')
        io.progress({ done: ++done, total: left.size, unit: 'entries', text: 'comparing' })
        const b = right.get(path)
        if (b === undefined) {
            // A directory that only leads to removed things is not worth a line of its own.
            differences.push({ path, change: 'removed', category: a.category })
            continue
        }
        const what = whatDiffers(a, b)
        if (what.length > 0) differences.push({ path, change: 'changed', category: a.category, what })
    }
    for (const [path, b] of right)
        if (!left.has(path)) differences.push({ path, change: 'added', category: b.category })
    return differences.sort((a, b) => (a.path < b.path ? -1 : 1))
}

function whatDiffers(a: Side, b: Side): string[] {
    if (a.type !== b.type) return [`${a.type} became ${b.type}`]
    const what: string[] = []
    if (a.type === 'symlink') return (a.link ?? '') === (b.link ?? '') ? [] : ['link target']
    if (a.mode !== b.mode) what.push(`mode ${a.mode.toString(8)} became ${b.mode.toString(8)}`)
    if (a.uid !== b.uid || a.gid !== b.gid) what.push(`owner ${a.uid}:${a.gid} became ${b.uid}:${b.gid}`)
    try {
        const [before, after] = [a.xattrs?.(), b.xattrs?.()]
        if (before !== undefined && after !== undefined && before !== after)
            what.push('extended attributes or ACL')
        if (a.type === 'file' && (a.size !== b.size || !sameContent(a, b))) what.push('content')
    } catch (error) {
        what.push(`not readable: ${error instanceof Fault ? error.message : failure(error).why}`)
    }
    return what
}

function sameContent(a: Side, b: Side): boolean {
    const holes = a.holes === true
    const [before, after] = [a.digest(holes), b.digest(holes)]
    return before !== undefined && after !== undefined && Buffer.compare(before, after) === 0
}

/** Adds unified diffs for small text files; secrets are masked, files of secrets are not shown at all. */
async function addTexts(
    differences: Difference[],
    sides: { left: Contents; right?: Contents; tree?: Tree; io: OperationIo },
): Promise<void> {
    const shown = differences.filter(
        ({ change, what, path }) => change === 'changed' && what?.includes('content') && !isSecretPath(path),
    )
    const paths = new Set(shown.map(({ path }) => path))
    const before = await textsOf(sides.left, paths)
    const after =
        sides.right === undefined ? liveTexts(sides.tree!, paths) : await textsOf(sides.right, paths)
    for (const difference of differences) {
        const { path, what } = difference
        if (what?.includes('content') && isSecretPath(path)) what.push('not shown: it holds secrets')
        const a = before.get(path)
        const b = after.get(path)
        if (!paths.has(path) || a === undefined || b === undefined) continue
        const mask = (text: string) => text.split('\n').map(maskLine).join('\n')
        const patch = createTwoFilesPatch('saved', 'now', mask(a), mask(b), '', '', { context: 2 })
        const lines = patch.split('\n').slice(3).join('\n').trimEnd()
        // Only masked values differ: say so, do not show an empty diff.
        if (lines === '') what!.push('not shown: only secret values differ')
        else difference.diff = lines
    }
}

function asText(bytes: Uint8Array): string | undefined {
    if (bytes.includes(0)) return undefined
    try {
        return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch {
        return undefined
    }
}

async function textsOf(opened: Contents, paths: Set<ByteString>): Promise<Map<ByteString, string>> {
    const texts = new Map<ByteString, string>()
    const wanted = opened.reader
        .index()
        .entries.filter(
            entry =>
                paths.has(entry.path) &&
                entry.type === 'file' &&
                entry.superseded !== true &&
                entry.size <= shownBytes,
        )
    await opened.reader.visit(wanted, entry => {
        const pieces: Buffer[] = []
        return {
            entry() {},
            data: piece => void pieces.push(Buffer.from(piece)),
            end() {
                const text = asText(Buffer.concat(pieces))
                if (text !== undefined) texts.set(entry.path, text)
            },
        }
    })
    return texts
}

function liveTexts(tree: Tree, paths: Set<ByteString>): Map<ByteString, string> {
    const texts = new Map<ByteString, string>()
    for (const path of paths) {
        const stat = tree.stat(path)
        if (stat === undefined || stat.size > shownBytes) continue
        const bytes = tree.readFile(path, shownBytes)
        const text = bytes === undefined ? undefined : asText(bytes)
        if (text !== undefined) texts.set(path, text)
    }
    return texts
}
