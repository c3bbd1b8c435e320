/** Compares what was chosen of an archive with the tree as it is: what would be created, replaced, removed. */
import { type Collected, type CollectedEntry, collect } from '../archive/collect.ts'
import { HoleDigest, xattrsDigest } from '../archive/digest.ts'
import { entriesOf } from '../archive/own.ts'
import type { SavedArchive, SavedEntry } from '../archive/saved.ts'
import type { Identity } from '../archive/unlock.ts'
import { categories, categoryById } from '../catalog/index.ts'
import type { Strategy } from '../catalog/category.ts'
import { network } from '../catalog/categories/network.ts'
import { buildMatcher, type Matcher } from '../catalog/match.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json } from '../engine/change.ts'
import type { OperationIo } from '../engine/operation.ts'
import { nicInventoryPath, upstreamInventoryPaths } from '../format/nic-inventory.ts'
import type { ByteString } from '../format/tar-write.ts'
import * as libc from '../host/libc.ts'
import { Sha256 } from '../host/libcrypto.ts'
import { isLocal } from '../host/mounts.ts'
import { PlaceTree } from '../host/place.ts'
import { showPath, toByteString, Tree } from '../host/tree.ts'
import { type Circumstances, type Decision, decider } from './decide.ts'
import { Hazards, mayRunCommands } from './hazards.ts'
import { interfacesToRemove, pendingInterfaces } from './interfaces.ts'
import { resolverFile } from './merge.ts'
import { openSaved } from './open.ts'
import { planResolver, stubFile } from './resolv.ts'
import { checkTargets, type Sizes, stateNeeds, type Written } from './space.ts'
import { poolsOf } from './zfs.ts'
import type { CategoryPlan, FileAction } from './types.ts'

export interface SurveyParams {
    path: string
    identities?: Identity
    root: string
    /** Category ids, in catalogue order. */
    chosen: string[]
    circumstances: Circumstances
    exact: boolean
    /** Globs that backups leave out, absolute paths that are never touched: the state directory, the targets. */
    exclude: string[]
    never: string[]
    /** Paths that the backup left out although the host had them; `exact` keeps them. */
    leftOut: string[]
    /** The state directory, where the restore unpacks and keeps. */
    state?: string
}

/** One category as far as one action goes: a category with exceptions has several. */
export interface SurveyRow extends CategoryPlan {
    /** What is put in place, for all but `export` and `skip`. */
    actions: FileAction[]
    /** Archive paths (byte strings) of what is exported. */
    exported: ByteString[]
    /** Archive paths of all that is merged, alike or not. */
    saved?: ByteString[]
}

export interface Survey {
    rows: SurveyRow[]
    unchanged: number
    commands: string[]
    warnings: string[]
    /** Pools that the backup knows, when its ZFS or its storages are restored. */
    pools: string[]
    /** Files of the network that would change, with their content: what a plan says about addresses comes from them. */
    network?: { path: ByteString /** One character a byte; none: it is removed. */; text?: string }[]
    /** Archive path of what tells the network cards of the saved host apart. */
    inventory?: ByteString
    /** Archive paths of the tables whose directories are made where that is safe. */
    directories: ByteString[]
    sizes: Sizes
}

/** The operation `restore.survey`. Reads only. */
export async function restoreSurvey(
    params: SurveyParams,
    io: OperationIo,
    open: typeof openSaved = openSaved,
): Promise<Json> {
    const archive = await open(params.path, params.identities)
    const tree = new Tree(params.root, { trusted: ['etc/pve'] })
    try {
        return JSON.parse(JSON.stringify(await new Surveyor(archive, tree, params, io).run())) as Json
    } finally {
        tree.close()
        archive.close()
    }
}

/** Where addresses of interfaces stand, whoever manages them. */
const namesAddresses =
    /^(etc\/(network|netplan|systemd\/network|NetworkManager)|usr\/local\/lib\/systemd\/network)\//

/** Files above this are not read for commands: nobody writes such ones by hand. */
const readForCommands = 256 * 1024
/** Warnings that say the same of many paths; the rest is a number. */
const mostSkipped = 20

class Surveyor {
    readonly #archive: SavedArchive
    readonly #tree: Tree
    readonly #params: SurveyParams
    readonly #io: OperationIo
    readonly #byPath = new Map<ByteString, SavedEntry>()
    readonly #ways = new Map<ByteString, string | undefined>()
    readonly #rows = new Map<string, SurveyRow>()
    readonly #skipped: string[] = []
    readonly #masks: string[] = []
    /** Files that are put in place, by the entry with their content: the names of a hard link have one. */
    readonly #wouldRun = new Map<SavedEntry, ByteString[]>()
    readonly #sizes = { staged: 0, kept: 0, exported: 0, entries: 0 }
    #unchanged = 0
    #leftOut: ByteString[] | undefined
    readonly #removed = new Set<ByteString>()

    constructor(archive: SavedArchive, tree: Tree, params: SurveyParams, io: OperationIo) {
        this.#archive = archive
        this.#tree = tree
        this.#params = params
        this.#io = io
    }

    async run(): Promise<Survey> {
        const { chosen, circumstances, exact } = this.#params
        const all = await this.#archive.entries()
        for (const entry of all) this.#byPath.set(entry.path, entry)
        const wanted = entriesOf(all, chosen)
        const total = [...wanted.values()].reduce((sum, list) => sum + list.length, 0)
        /** Entries whose content only reading tells: foreign archives have no digests. */
        const unknown: { entry: SavedEntry; row: SurveyRow }[] = []
        let done = 0
        for (const [id, entries] of wanted) {
            const decide = decisions(id, circumstances)
            for (const entry of entries) {
                if (this.#io.signal?.aborted)
                    throw new Fault('refused', 'cannot finish the plan: it was stopped')
                this.#io.progress({ done: ++done, total, unit: 'entries', text: 'comparing' })
                const { strategy, action, why } = decide(entry.path)
                const row = this.#row(id, strategy, action, why)
                row.entries++
                row.bytes += entry.size
                if (action === 'skip') continue
                this.#checkLink(entry)
                row.saved?.push(entry.path)
                if (action === 'export') this.#export(row, entry)
                else if (action === 'database') this.#database(row, entry)
                else if (this.#compare(row, entry) === 'unknown') unknown.push({ entry, row })
            }
        }
        await this.#readUnknown(unknown)
        this.#findInterfaces(all)
        if (exact) this.#findRemovals(all)
        this.#checkRoom()
        const commands = await this.#readCommands()
        const inventory = [nicInventoryPath, ...upstreamInventoryPaths].find(path => this.#byPath.has(path))
        return {
            rows: [...this.#rows.values()].filter(({ entries }) => entries > 0),
            unchanged: this.#unchanged,
            commands,
            warnings: this.#warnings(),
            pools: await this.#readPools(),
            ...(inventory === undefined ? {} : { inventory }),
            ...(await this.#readNetwork()),
            directories: tablesOfDirectories
                .filter(({ id, path, product }) => {
                    const { kind } = circumstances.host.product
                    return (
                        chosen.includes(id) && this.#byPath.has(path) && (kind === product || kind === 'both')
                    )
                })
                .map(({ path }) => path),
            sizes: this.#sizes,
        }
    }

    #row(id: string, strategy: Strategy, action: CategoryPlan['action'], why: string | undefined): SurveyRow {
        const key = `${id}\0${action}\0${why ?? ''}`
        const known = this.#rows.get(key)
        if (known !== undefined) return known
        const title = categoryById(id)?.title ?? id
        const row: SurveyRow = {
            id,
            title,
            strategy,
            action,
            ...(why === undefined ? {} : { why }),
            entries: 0,
            bytes: 0,
            actions: [],
            exported: [],
            ...(action === 'merge' ? { saved: [] } : {}),
        }
        this.#rows.set(key, row)
        return row
    }

    /** Equal bytes prove nothing: what counts may be in the log beside the live one. So it is always put in place. */
    #database(row: SurveyRow, entry: SavedEntry): void {
        if (entry.type !== 'file') {
            this.#unchanged++
            return
        }
        const live = this.#tree.stat(entry.path)
        this.#act(row, entry, live === undefined ? 'create' : 'replace', diskSize(live))
        for (const suffix of ['-wal', '-shm']) {
            const beside = `${entry.path}${suffix}`
            if (this.#tree.stat(beside) === undefined) continue
            const path = `/${showPath(beside)}`
            row.actions.push({ path, bytes: beside, action: 'remove', type: 'file', category: row.id })
        }
    }

    #export(row: SurveyRow, entry: SavedEntry): void {
        row.exported.push(entry.path)
        this.#sizes.exported += this.#sizeOf(entry)
        this.#sizes.staged += this.#sizeOf(entry)
        this.#sizes.entries++
    }

    #act(row: SurveyRow, entry: SavedEntry, action: FileAction['action'], liveSize: number): void {
        row.actions.push({
            path: `/${showPath(entry.path)}`,
            bytes: entry.path,
            action,
            type: entry.type,
            category: row.id,
        })
        this.#sizes.entries++
        // Other metadata are a new file too, which takes the place of the old one.
        this.#sizes.staged += this.#sizeOf(entry)
        this.#sizes.kept += liveSize
        const content = this.#contentOf(entry)
        if (action !== 'metadata' && waysIn.has(entry.path) && isMask(content)) {
            const unit = entry.path.slice(entry.path.lastIndexOf('/') + 1)
            this.#masks.push(
                `the restore masks ${unit}: nothing starts it at the next boot, where no guard is`,
            )
        }
        if (action === 'metadata' || content.type !== 'file') return
        const names = this.#wouldRun.get(content)
        if (names === undefined) this.#wouldRun.set(content, [entry.path])
        else names.push(entry.path)
    }

    /** The content of a hard link comes from its first name, chosen or not; without that there is none. */
    #checkLink(entry: SavedEntry): void {
        if (entry.type !== 'hardlink' || this.#contentOf(entry).type === 'file') return
        const [path, first] = [showPath(entry.path), showPath(entry.link ?? '')]
        throw new Fault(
            'damaged',
            `cannot restore /${path}: it is another name of /${first}, which the backup does not hold`,
            { hint: 'use another backup, or leave out the category that it belongs to' },
        )
    }

    /** What its content takes on a disk; what another name of a file takes is what the file does. */
    #sizeOf(entry: SavedEntry): number {
        const { stored, size } = this.#contentOf(entry)
        return stored ?? size
    }

    /** Lack of room is told now, not when half of it is done. */
    #checkRoom(): void {
        const written = [...this.#rows.values()].flatMap(({ actions }) =>
            actions.map(({ bytes: path, action, type }): Written => {
                const entry = this.#byPath.get(path)
                return { path, action, type, size: entry === undefined ? 0 : this.#sizeOf(entry) }
            }),
        )
        const { root, state } = this.#params
        const own = state === undefined ? undefined : { directory: state, needs: stateNeeds(this.#sizes) }
        const live = new PlaceTree(root)
        try {
            checkTargets(root, written, live, own)
        } finally {
            live.close()
        }
    }

    #compare(row: SurveyRow, entry: SavedEntry): 'unknown' | undefined {
        // Every backup has the links that enable proxsave: worth telling only where they are others.
        if (isOwnUnit(entry.path) && this.#tree.stat(entry.path) !== undefined && this.#sameLink(entry)) {
            this.#unchanged++
            return undefined
        }
        const obstacle = this.#forbidden(entry.path) ?? this.#obstacle(parentOf(entry.path))
        if (obstacle !== undefined) {
            this.#skipped.push(`/${showPath(entry.path)}: ${obstacle}`)
            return undefined
        }
        const live = this.#tree.stat(entry.path)
        if (live === undefined) {
            this.#act(row, entry, 'create', 0)
            return undefined
        }
        const type = live.mode & libc.fileType.mask
        // The name of a hard link is a file like the first name.
        const first = entry.type === 'hardlink' ? this.#byPath.get(entry.link ?? '') : entry
        if (first === undefined || typeBits[first.type] !== type) {
            const kept = this.#standsInTheWay(entry, type)
            if (kept === undefined) this.#act(row, entry, 'replace', diskSize(live))
            else this.#skipped.push(`/${showPath(entry.path)}: ${kept}`)
            return undefined
        }
        const dressed =
            live.uid === entry.uid &&
            live.gid === entry.gid &&
            (entry.type === 'symlink' || (live.mode & 0o7777) === entry.mode) &&
            // Names of one file share what the archive has with the first.
            (first.xattrs === undefined || first.xattrs === xattrsDigest(this.#tree.xattrs(entry.path)))
        if (first.type === 'symlink' && this.#tree.readLink(entry.path) !== (entry.link ?? '')) {
            this.#act(row, entry, 'replace', 0)
            return undefined
        }
        if (first.type === 'file') {
            if (live.size !== first.size) {
                this.#act(row, entry, 'replace', diskSize(live))
                return undefined
            }
            if (first.sha256 === undefined) return 'unknown'
            if (Buffer.compare(this.#liveDigest(entry.path, first.holes === true), first.sha256) !== 0) {
                this.#act(row, entry, 'replace', diskSize(live))
                return undefined
            }
        }
        if (dressed && !this.#needsMending(row, entry)) this.#unchanged++
        else this.#act(row, entry, 'metadata', diskSize(live))
        return undefined
    }

    #sameLink({ path, type, link = '' }: SavedEntry): boolean {
        const mode = this.#tree.stat(path)?.mode ?? 0
        const isLink = (mode & libc.fileType.mask) === libc.fileType.symlink
        return isLink === (type === 'symlink') && (!isLink || this.#tree.readLink(path) === link)
    }

    /** As it was saved, and yet of no use: a link that leads nowhere on this host, a name server that is not here. */
    #needsMending(row: SurveyRow, { path }: SavedEntry): boolean {
        if (row.action !== 'merge' || path !== 'etc/resolv.conf') return false
        const live = new PlaceTree(this.#params.root)
        try {
            const resolved = this.#tree.stat(stubFile.slice(1)) !== undefined
            const plan = planResolver({ live: resolverFile(live), backup: { kind: 'absent' }, resolved })
            return plan.action !== 'keep'
        } finally {
            live.close()
        }
    }

    /** What of another type is on the host and is worth more than the order of the backup. */
    #standsInTheWay(entry: SavedEntry, type: number): string | undefined {
        // Somebody moved the directory and left a link: what lies behind it stays.
        if (entry.type === 'directory' && type === libc.fileType.symlink)
            return 'it is a symbolic link on this host and was a directory'
        if (entry.type !== 'directory' && type === libc.fileType.directory) {
            if (this.#namesIn(entry.path).length > 0)
                return `a directory that is not empty stands where a ${entry.type} was`
        }
        return undefined
    }

    /** What no restore writes; the tasks refuse it too. */
    #forbidden(path: ByteString): string | undefined {
        const within = (at: string) => path === at || path.startsWith(`${at}/`)
        if (ofKernel.some(within)) return 'it is not kept on disk'
        if (isOwnUnit(path)) return 'it belongs to proxsave itself'
        if (ofProxsave.some(within) || this.#params.never.some(at => within(toByteString(at).slice(1))))
            return 'it belongs to proxsave itself'
        return undefined
    }

    /** Why nothing can be put below a directory: a link or a network stands in its way. */
    #obstacle(directory: ByteString): string | undefined {
        if (directory === '') return undefined
        if (this.#ways.has(directory)) return this.#ways.get(directory)
        let why = this.#obstacle(parentOf(directory))
        const mount = this.#tree.mountAt(directory)
        if (why === undefined && mount !== undefined && !isLocal(mount.type) && directory !== 'etc/pve')
            why = `it lies on the ${mount.type} file system mounted on /${showPath(directory)}`
        if (why === undefined) {
            const live = this.#tree.stat(directory)
            const saved = this.#byPath.get(directory)
            const isLink = live !== undefined && (live.mode & libc.fileType.mask) === libc.fileType.symlink
            if (isLink && saved?.type !== 'directory')
                why = `/${showPath(directory)} is a symbolic link on this host`
            else if (isLink)
                why = `/${showPath(directory)} is a symbolic link on this host and was a directory`
        }
        this.#ways.set(directory, why)
        return why
    }

    #liveDigest(path: ByteString, holes: boolean): Uint8Array {
        const fd = this.#tree.openFile(path)
        try {
            const buffer = new Uint8Array(limits.writeBytes)
            if (holes) return holeDigest(fd, buffer)
            const sha = new Sha256()
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

    async #readUnknown(unknown: { entry: SavedEntry; row: SurveyRow }[]): Promise<void> {
        if (unknown.length === 0) return
        const digests = new Map<SavedEntry, Uint8Array>()
        const files = new Set(unknown.map(({ entry }) => this.#contentOf(entry)))
        await this.#archive.visit([...files], entry => {
            const sha = new Sha256()
            return {
                entry() {},
                data: piece => void sha.update(piece),
                end: () => void digests.set(entry, sha.digest()),
            }
        })
        for (const { entry, row } of unknown) {
            const live = this.#tree.stat(entry.path)!
            const saved = digests.get(this.#contentOf(entry)) ?? new Uint8Array()
            const dressed =
                live.uid === entry.uid && live.gid === entry.gid && (live.mode & 0o7777) === entry.mode
            if (Buffer.compare(this.#liveDigest(entry.path, false), saved) !== 0)
                this.#act(row, entry, 'replace', diskSize(live))
            else if (dressed && !this.#needsMending(row, entry)) this.#unchanged++
            else this.#act(row, entry, 'metadata', diskSize(live))
        }
    }

    #contentOf(entry: SavedEntry): SavedEntry {
        return entry.type === 'hardlink' ? (this.#byPath.get(entry.link ?? '') ?? entry) : entry
    }

    /** Interfaces that the backup does not know would come up beside its own, or instead of them. */
    #findInterfaces(all: readonly SavedEntry[]): void {
        const row = [...this.#rows.values()].find(
            ({ id, action }) => id === network.id && asFiles.has(action),
        )
        if (row === undefined) return
        const saved = new Set(all.filter(({ type }) => type !== 'directory').map(({ path }) => path))
        const goes = interfacesToRemove(saved)
        const collected = this.#collect(buildMatcher([network]))
        for (const found of collected.entries.get(network.id) ?? [])
            if (found.type !== 'directory' && goes(found.path) && !this.#isLeftOut(found.path))
                this.#remove(row, found)
    }

    /** What the host has of the categories that are applied as files and the backup has not. */
    #findRemovals(all: readonly SavedEntry[]): void {
        const { chosen, circumstances } = this.#params
        const saved = new Set(all.map(({ path }) => path))
        const parents = new Set<ByteString>()
        for (const { path } of all)
            for (let up = parentOf(path); up !== '' && !parents.has(up); up = parentOf(up)) parents.add(up)
        // All categories take part, so that a file belongs to the same one as when it is backed up.
        const collected = this.#collect(buildMatcher(categories))
        for (const id of chosen) {
            const rows = new Map(
                [...this.#rows.values()].filter(row => row.id === id).map(row => [row.action, row]),
            )
            const decide = decisions(id, circumstances)
            // Deepest first, so that a directory is empty when its turn comes.
            const found = (collected.entries.get(id) ?? []).toSorted((a, b) => (a.path < b.path ? 1 : -1))
            for (const one of found) {
                const { path } = one
                if (saved.has(path) || parents.has(path) || this.#isLeftOut(path)) continue
                const { action } = decide(path)
                const row = asFiles.has(action) ? rows.get(action) : undefined
                if (row === undefined || this.#forbidden(path) !== undefined) continue
                if (one.type !== 'directory' || this.#isEmptied(path)) this.#remove(row, one)
            }
        }
    }

    #collect(matcher: Matcher): Collected {
        const { exclude, never } = this.#params
        return collect(this.#tree, { matcher, exclude, never, warn: () => undefined })
    }

    /** The host had it and the backup did not want it, or could not read it. */
    #isLeftOut(path: ByteString): boolean {
        this.#leftOut ??= this.#params.leftOut.map(one => toByteString(one).replace(/^\/+/, ''))
        return this.#leftOut.some(
            one => path === one || path.startsWith(`${one}/`) || one.startsWith(`${path}/`),
        )
    }

    /** Whether all that lies in a directory goes: sockets and what is excluded stay, and so does what they lie in. */
    #isEmptied(path: ByteString): boolean {
        return this.#namesIn(path).every(name => this.#removed.has(`${path}/${name}`))
    }

    #namesIn(path: ByteString): ByteString[] {
        const fd = this.#tree.openDirectory(path)
        try {
            return libc.readDirectory(fd).map(bytes => Buffer.from(bytes.subarray(0, -1)).toString('latin1'))
        } finally {
            libc.close(fd)
        }
    }

    #remove(row: SurveyRow, { path: bytes, type, stat }: CollectedEntry): void {
        if (this.#removed.has(bytes)) return
        this.#removed.add(bytes)
        const path = `/${showPath(bytes)}`
        row.actions.push({ path, bytes, action: 'remove', type, category: row.id })
        this.#sizes.kept += diskSize(stat)
        this.#sizes.entries++
    }

    async #readPools(): Promise<string[]> {
        if (!this.#params.chosen.some(id => id === 'zfs' || id === 'storage_pve')) return []
        const texts = new Map<ByteString, string>()
        const wanted = ['etc/pve/storage.cfg', zpoolList].flatMap(path => this.#byPath.get(path) ?? [])
        await this.#archive.visit(
            wanted.filter(({ type, size }) => type === 'file' && size <= readForCommands),
            entry => {
                const pieces: Buffer[] = []
                return {
                    entry() {},
                    data: piece => void pieces.push(Buffer.from(piece)),
                    end: () => void texts.set(entry.path, Buffer.concat(pieces).toString('utf8')),
                }
            },
        )
        return poolsOf(texts.get('etc/pve/storage.cfg'), texts.get(zpoolList))
    }

    async #readNetwork(): Promise<Pick<Survey, 'network'>> {
        const actions = [...this.#rows.values()]
            .filter(({ id, action }) => id === 'network' && action === 'guarded')
            .flatMap(row => row.actions)
        if (actions.length === 0) return {}
        const network: NonNullable<Survey['network']> = []
        const wanted: SavedEntry[] = []
        for (const { bytes: path, action } of actions) {
            const entry = this.#byPath.get(path)
            if (action === 'remove') network.push({ path })
            else if (entry?.type === 'file' && entry.size <= readForCommands && namesAddresses.test(path))
                wanted.push(entry)
        }
        await this.#archive.visit(wanted, entry => {
            const pieces: Buffer[] = []
            return {
                entry() {},
                data: piece => void pieces.push(Buffer.from(piece)),
                end: () =>
                    void network.push({ path: entry.path, text: Buffer.concat(pieces).toString('latin1') }),
            }
        })
        return { network }
    }

    async #readCommands(): Promise<string[]> {
        const hazards = new Hazards()
        const wanted = [...this.#wouldRun].filter(
            ([{ size }, names]) => size <= readForCommands && names.some(mayRunCommands),
        )
        const files = wanted.map(([entry]) => entry)
        await this.#archive.visit(files, entry => {
            const pieces: Buffer[] = []
            return {
                entry() {},
                data: piece => void pieces.push(Buffer.from(piece)),
                end: () => {
                    for (const path of this.#wouldRun.get(entry)!) hazards.add(path, Buffer.concat(pieces))
                },
            }
        })
        return hazards.lines
    }

    #warnings(): string[] {
        const shown = this.#skipped.slice(0, mostSkipped).map(text => `is not restored: ${text}`)
        const more = this.#skipped.length - shown.length
        return [...this.#masks, ...shown, ...(more > 0 ? [`and ${more} entries more are not restored`] : [])]
    }
}

const tablesOfDirectories = [
    { id: 'storage_pve', path: 'etc/pve/storage.cfg', product: 'pve' },
    { id: 'datastore_pbs', path: 'etc/proxmox-backup/datastore.cfg', product: 'pbs' },
] as const

const zpoolList = 'var/lib/proxsave/captured/zfs/zpool-list.txt'

/** Bytes of content that a copy takes: holes take none. */
function diskSize(stat: libc.Stat | undefined): number {
    if (stat === undefined) return 0
    const { mode, size, blocks } = stat
    return (mode & libc.fileType.mask) === libc.fileType.file ? Math.min(size, blocks * 512) : 0
}

const ofKernel = ['proc', 'sys', 'dev', 'run']
/** Units, their drop-ins and links of enabling: an old backup must not mask or start what does the restore, or undoes it. */
const isOwnUnit = (path: ByteString): boolean => /^etc\/systemd\/system\/(.*\/)?proxsave/.test(path)

/** Without these nobody comes in any more after the next boot. */
const waysIn = new Set(
    [
        'ssh.service',
        'ssh.socket',
        'networking.service',
        'systemd-networkd.service',
        'NetworkManager.service',
    ].map(unit => `etc/systemd/system/${unit}`),
)

/** systemd takes a link to /dev/null, and an empty file, for a mask. */
const isMask = ({ type, size, link = '' }: SavedEntry): boolean =>
    type === 'symlink' ? /(^|\/)dev\/null$/.test(link) : type === 'file' && size === 0

const ofProxsave = ['var/lib/proxsave', 'etc/proxsave/identity.txt', 'etc/proxsave/identity.age']

const typeBits: Record<SavedEntry['type'], number> = {
    file: libc.fileType.file,
    directory: libc.fileType.directory,
    symlink: libc.fileType.symlink,
    hardlink: libc.fileType.file,
}

/** Strategies that put the entries themselves in place. */
const asFiles: ReadonlySet<string> = new Set<CategoryPlan['action']>(['replace', 'guarded'])

/** The rule of the category, and what is never put in place whatever that says. */
function decisions(id: string, circumstances: Circumstances): (path: ByteString) => Decision {
    const decide = decider(id, circumstances)
    return path => {
        const decision = decide({ ...anyEntry, path })
        if (path !== pendingInterfaces || !asFiles.has(decision.action)) return decision
        const why = 'these changes of the network were pending when it was saved, and never applied'
        return { ...decision, action: 'export', why }
    }
}

/** The rules look at the path only. */
const anyEntry: Omit<SavedEntry, 'path'> = {
    type: 'file',
    category: '',
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeNs: 0n,
}

const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(0, path.lastIndexOf('/')))

function holeDigest(fd: number, buffer: Uint8Array): Uint8Array {
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
