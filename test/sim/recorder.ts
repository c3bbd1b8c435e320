/**
 * The calls of the product on a real directory, with a list kept of everything they do; and the way back, a directory
 * made from an image. Nothing is really synced: what a sync is worth is the business of the platter.
 */
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { type Disk, type DiskCalls, diskOn } from '../../src/host/disk.ts'
import * as libc from '../../src/host/libc.ts'
import { type PlaceCalls, placeCalls } from '../../src/host/place.ts'
import { Image, type Metadata, type NameEdit, type Node, seenAfter, type Step } from './platter.ts'

const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW } = fs.constants

/** Leaves a sync out of the list: the product made it, and the disk did not care. */
export type Sabotage = (call: 'file' | 'directory' | 'disk', path: string) => boolean

export interface RecorderOptions {
    /** Each of the two directories has a file system of its own. */
    split: boolean
    sabotage?: Sabotage
}

/** A tree in a real directory, which has the children `root` and `state`, and what happens to it. */
export class Recorder {
    readonly base: string
    readonly start: Image
    readonly steps: Step[]
    readonly calls: PlaceCalls
    readonly disk: Disk
    /** What programs see, names and sizes only. */
    readonly #names = new Map<Node, Map<string, Node>>()
    readonly #sizes = new Map<Node, number>()
    readonly #byInode: Map<string, Node>
    readonly #options: RecorderOptions

    /** `start` and `steps` have led to what is in `base`, of which `inodes` tells what is what. */
    constructor(
        base: string,
        known: { start: Image; steps?: readonly Step[]; inodes: Map<string, Node> },
        options: RecorderOptions,
    ) {
        this.base = base
        this.start = known.start
        this.steps = [...(known.steps ?? [])]
        this.#byInode = known.inodes
        this.#options = options
        for (const [node, { names, content }] of seenAfter(this.start, this.steps).states) {
            if (names !== undefined) this.#names.set(node, new Map(names))
            if (content !== undefined) this.#sizes.set(node, content.length)
        }
        this.calls = this.#placeCalls()
        this.disk = diskOn(this.#diskCalls())
    }

    /** Something that cannot be taken back was told to somebody. */
    tell(what: string): void {
        this.steps.push({ step: 'told', what })
    }

    /** A process beside this one has written below `path`, an absolute one, and synced everything at its end. */
    adopt(path: string): void {
        const { directory, name } = this.#place(path)
        this.#adopt(directory, name, Buffer.from(path))
        this.#syncDisk(directory, path)
    }

    // --- the calls of the restore ------------------------------------------------------------------------------

    #placeCalls(): PlaceCalls {
        const real = placeCalls
        const at = (fd: number) => this.#ofFd(fd)
        const child = (directory: number, name: Uint8Array) => {
            const parent = at(directory)
            return text(name) === '.' ? parent : this.#childOf(parent, text(name))
        }
        const tellNames = (directory: number, edits: [name: Uint8Array, to: Node | undefined][]) => {
            const parent = at(directory)
            this.#setNames(edits.map(([name, to]) => ({ directory: parent, name: text(name), to })))
            this.#note(parent, directory, dot)
        }
        return {
            create: (directory, name) => {
                const fd = real.create(directory, name)
                tellNames(directory, [[name, this.#born('file', directory, name)]])
                return fd
            },
            write: (fd, bytes, offset) => {
                const node = at(fd)
                const count = real.write(fd, bytes, offset)
                this.steps.push({ step: 'data', node, at: offset, bytes: bytes.slice(0, count) })
                this.#note(node, fd)
                return count
            },
            truncate: (fd, size) => {
                const node = at(fd)
                real.truncate(fd, size)
                this.steps.push({ step: 'cut', node, size })
                this.#note(node, fd)
            },
            chownFd: (fd, uid, gid) => {
                real.chownFd(fd, uid, gid)
                this.#note(at(fd), fd)
            },
            chmodFd: (fd, mode) => {
                real.chmodFd(fd, mode)
                this.#note(at(fd), fd)
            },
            chown: (directory, name, uid, gid) => {
                real.chown(directory, name, uid, gid)
                this.#note(child(directory, name), directory, name)
            },
            chmod: (directory, name, mode) => {
                real.chmod(directory, name, mode)
                this.#note(child(directory, name), directory, name)
            },
            setXattr: (path, name, value) => {
                real.setXattr(path, name, value)
                const there = magic(path)
                this.#note(child(there.directory, there.name), there.directory, there.name)
            },
            removeXattr: (path, name) => {
                real.removeXattr(path, name)
                const there = magic(path)
                this.#note(child(there.directory, there.name), there.directory, there.name)
            },
            setTimes: (directory, name, atimeNs, mtimeNs) => {
                real.setTimes(directory, name, atimeNs, mtimeNs)
                this.#note(child(directory, name), directory, name)
            },
            mkdir: (directory, name) => {
                real.mkdir(directory, name)
                tellNames(directory, [[name, this.#born('directory', directory, name)]])
            },
            symlink: (target, directory, name) => {
                real.symlink(target, directory, name)
                tellNames(directory, [[name, this.#born('symlink', directory, name, text(target))]])
            },
            link: (fromDirectory, from, directory, name) => {
                const node = child(fromDirectory, from)
                if (this.#options.split && node.disk !== at(directory).disk) throw exdev()
                real.link(fromDirectory, from, directory, name)
                tellNames(directory, [[name, node]])
            },
            unlink: (directory, name) => {
                this.#forget(directory, name)
                real.unlink(directory, name)
                tellNames(directory, [[name, undefined]])
            },
            rmdir: (directory, name) => {
                this.#forget(directory, name)
                real.rmdir(directory, name)
                tellNames(directory, [[name, undefined]])
            },
            rename: (directory, from, to) => {
                const node = child(directory, from)
                const over = this.#names.get(at(directory))!.get(text(to))
                if (over !== undefined && over !== node) this.#forget(directory, to)
                real.rename(directory, from, to)
                // Two names of one file: nothing happens.
                if (over === node) return
                tellNames(directory, [
                    [from, undefined],
                    [to, node],
                ])
            },
            exchange: (directory, one, other) => {
                const nodes = [child(directory, one), child(directory, other)] as const
                real.exchange(directory, one, other)
                tellNames(directory, [
                    [one, nodes[1]],
                    [other, nodes[0]],
                ])
            },
            sync: fd => {
                const node = at(fd)
                this.#sync(node, fs.readlinkSync(`/proc/self/fd/${fd}`))
            },
            syncFileSystem: fd => this.#syncDisk(at(fd), fs.readlinkSync(`/proc/self/fd/${fd}`)),
        }
    }

    // --- the calls of the engine -------------------------------------------------------------------------------

    #diskCalls(): DiskCalls {
        const handles = new Map<number, { node: Node; path: string }>()
        const tellNames = (edits: { path: string; to: Node | undefined }[]) => {
            const places = edits.map(({ path, to }) => ({ ...this.#place(path), to }))
            this.#setNames(places)
            for (const [index, { directory }] of places.entries())
                this.#note(directory, libc.AT_FDCWD, libc.cPath(dirname(edits[index]!.path)))
        }
        const look = (path: string) => {
            try {
                return fs.lstatSync(path)
            } catch {
                return undefined
            }
        }
        const removeTree = (path: string) => {
            if (look(path)?.isDirectory()) {
                for (const name of fs.readdirSync(path, { encoding: 'latin1' }).sort())
                    removeTree(`${path}/${name}`)
                fs.rmdirSync(path)
            } else fs.unlinkSync(path)
            tellNames([{ path, to: undefined }])
        }
        return {
            open: (path, how, mode) => {
                const fresh = look(path) === undefined
                const flags = O_WRONLY | O_CREAT | O_NOFOLLOW | (how === 'create' ? O_EXCL : O_APPEND)
                const fd = fs.openSync(path, flags, mode)
                if (fresh) tellNames([{ path, to: this.#born('file', libc.AT_FDCWD, libc.cPath(path)) }])
                handles.set(fd, { node: this.#ofFd(fd), path })
                return fd
            },
            write: (fd, bytes) => {
                const { node } = handles.get(fd)!
                const count = fs.writeSync(fd, bytes)
                const at = this.#sizes.get(node) ?? 0
                this.steps.push({ step: 'data', node, at, bytes: bytes.slice(0, count) })
                this.#sizes.set(node, at + count)
                this.#note(node, fd)
                return count
            },
            truncate: (fd, size) => {
                const { node } = handles.get(fd)!
                fs.ftruncateSync(fd, size)
                this.steps.push({ step: 'cut', node, size })
                this.#sizes.set(node, size)
                this.#note(node, fd)
            },
            fsync: fd => {
                const { node, path } = handles.get(fd)!
                this.#sync(node, path)
            },
            close: fd => {
                handles.delete(fd)
                fs.closeSync(fd)
            },
            syncDirectory: path => {
                this.#sync(this.#place(`${path}/.`).directory, path)
            },
            mkdir: (path, mode) => {
                fs.mkdirSync(path, { mode })
                tellNames([{ path, to: this.#born('directory', libc.AT_FDCWD, libc.cPath(path)) }])
            },
            rename: (from, to) => {
                const { directory, name } = this.#place(from)
                const node = this.#childOf(directory, name)
                fs.renameSync(from, to)
                tellNames([
                    { path: from, to: undefined },
                    { path: to, to: node },
                ])
            },
            unlink: path => {
                fs.unlinkSync(path)
                tellNames([{ path, to: undefined }])
            },
            removeTree,
            syncFileSystem: path => this.#syncDisk(this.#place(`${path}/.`).directory, path),
            stat: path => {
                const found = look(path)
                return found && { directory: found.isDirectory(), size: found.size }
            },
            names: path => (look(path)?.isDirectory() ? fs.readdirSync(path) : undefined),
            readAt: (path, offset, length) =>
                look(path)?.isFile() ? fs.readFileSync(path).subarray(offset, offset + length) : undefined,
        }
    }

    // --- what is what ------------------------------------------------------------------------------------------

    #ofFd(fd: number): Node {
        const { dev, ino } = libc.statFd(fd)
        const known = this.#byInode.get(`${dev}:${ino}`)
        if (known !== undefined) return known
        // Made by code that has no calls to give, as a private directory of proxsave's own.
        const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
        const { directory, name } = this.#place(path)
        this.#adopt(directory, name, Buffer.from(path))
        return this.#childOf(directory, name)
    }

    #childOf(directory: Node, name: string): Node {
        const found = this.#names.get(directory)?.get(name)
        if (found === undefined) throw new Error(`nobody told of the entry ${name}`)
        return found
    }

    /** The directory that an absolute path lies in. */
    #place(path: string): { directory: Node; name: string } {
        const names = path.slice(this.base.length + 1).split('/')
        const name = Buffer.from(names.pop()!).toString('latin1')
        let directory = this.start.top
        let at = this.base
        for (const one of names) {
            const known = this.#names.get(directory)?.get(one)
            if (known === undefined) this.#adopt(directory, one, Buffer.from(`${at}/${one}`))
            at = `${at}/${one}`
            directory = this.#childOf(directory, one)
        }
        return { directory, name }
    }

    #adopt(directory: Node, name: string, path: Buffer): void {
        const whole = libc.cPath(path)
        const stat = libc.statAt(libc.AT_FDCWD, whole)
        const known = this.#names.get(directory)!.get(name)
        const type = typeOf(stat)
        const second =
            type === 'file' && stat.nlink > 1 ? this.#byInode.get(`${stat.dev}:${stat.ino}`) : undefined
        const target = type === 'symlink' ? text(libc.readLinkAt(libc.AT_FDCWD, whole), 0) : undefined
        const node = known ?? second ?? this.#born(type, libc.AT_FDCWD, whole, target)
        if (known === undefined) {
            this.#setNames([{ directory, name, to: node }])
            this.#note(directory, libc.AT_FDCWD, libc.cPath(path.subarray(0, path.lastIndexOf(0x2f))))
        }
        if (node === second) return
        if (type === 'directory')
            for (const child of fs.readdirSync(path, { encoding: 'buffer' }).sort(Buffer.compare))
                this.#adopt(node, child.toString('latin1'), Buffer.concat([path, slash, child]))
        if (type === 'file') {
            for (const [at, bytes] of dataOf(whole)) this.steps.push({ step: 'data', node, at, bytes })
            this.steps.push({ step: 'cut', node, size: stat.size })
            this.#sizes.set(node, stat.size)
        }
        this.#note(node, libc.AT_FDCWD, whole)
    }

    #born(type: Node['type'], directory: number, name: Uint8Array, link?: string): Node {
        const stat = libc.statAt(directory, name)
        const inode = `${stat.dev}:${stat.ino}`
        const { disk } =
            directory === libc.AT_FDCWD ? this.#place(text(name)).directory : this.#ofFd(directory)
        const node: Node = { type, disk, born: { ...metadataOf(stat), xattrs: [] }, inode }
        if (link !== undefined) node.link = link
        if (type === 'directory') this.#names.set(node, new Map())
        if (type === 'file') this.#sizes.set(node, 0)
        this.#byInode.set(inode, node)
        return node
    }

    /** Its number may be another file's soon. */
    #forget(directory: number, name: Uint8Array): void {
        const stat = libc.statAt(directory, name)
        if (stat.nlink === 1 || typeOf(stat) === 'directory') this.#byInode.delete(`${stat.dev}:${stat.ino}`)
    }

    #setNames(edits: NameEdit[]): void {
        for (const { directory, name, to } of edits)
            if (to === undefined) this.#names.get(directory)!.delete(name)
            else this.#names.get(directory)!.set(name, to)
        this.steps.push({ step: 'names', edits })
    }

    /** Its metadata as they are by now, whatever the kernel has changed along with the call. */
    #note(node: Node, fd: number, name?: Uint8Array): void {
        const stat = name === undefined ? libc.statFd(fd) : libc.statAt(fd, name)
        const xattrs =
            name === undefined
                ? libc.readXattrsFd(fd)
                : libc.readXattrs(fd === libc.AT_FDCWD ? name : through(fd, name))
        this.steps.push({ step: 'metadata', node, metadata: { ...metadataOf(stat), xattrs } })
    }

    #sync(node: Node, path: string): void {
        const call = node.type === 'directory' ? 'directory' : 'file'
        if (this.#options.sabotage?.(call, path.slice(this.base.length))) return
        this.steps.push({ step: 'sync', node })
    }

    #syncDisk(node: Node, path: string): void {
        if (this.#options.sabotage?.('disk', path.slice(this.base.length))) return
        for (const disk of this.#options.split ? [node.disk] : disks)
            this.steps.push({ step: 'syncDisk', disk })
    }
}

const disks = ['root', 'state']
const dot = libc.cPath('.')
const slash = Buffer.from('/')

const text = (bytes: Uint8Array, nul = 1): string =>
    Buffer.from(bytes.subarray(0, bytes.length - nul)).toString('latin1')

const through = (directory: number, name: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), name])

function magic(path: Uint8Array): { directory: number; name: Uint8Array } {
    const [whole, fd] = /^\/proc\/self\/fd\/(\d+)\//.exec(text(path))!
    return { directory: Number(fd), name: path.subarray(whole.length) }
}

const exdev = () => Object.assign(new Error('EXDEV: another file system'), { code: 'EXDEV' })

function typeOf({ mode }: libc.Stat): Node['type'] {
    const type = mode & libc.fileType.mask
    if (type === libc.fileType.directory) return 'directory'
    if (type === libc.fileType.symlink) return 'symlink'
    if (type === libc.fileType.file) return 'file'
    throw new Error('the simulated disk has no sockets, pipes and devices')
}

const metadataOf = ({ mode, uid, gid, atimeNs, mtimeNs }: libc.Stat): Omit<Metadata, 'xattrs'> => ({
    ...{ mode: mode & 0o7777, uid, gid, atimeNs, mtimeNs },
})

function dataOf(path: Uint8Array): [at: number, bytes: Uint8Array][] {
    const fd = libc.openAt(libc.AT_FDCWD, path, libc.open.RDONLY | libc.open.NOFOLLOW)
    try {
        return libc.dataExtents(fd, libc.statFd(fd).size, 1000).map(({ offset, length }) => {
            const bytes = new Uint8Array(length)
            for (let at = 0; at < length; ) {
                const got = libc.readAt(fd, bytes.subarray(at), offset + at)
                if (got === 0) break
                at += got
            }
            return [offset, bytes]
        })
    } finally {
        libc.close(fd)
    }
}

// --- from a directory to an image, and back --------------------------------------------------------------------

/** What is in two children of a directory; each is a file system of its own when the recorder says so. */
export function imageOf(base: string): Image {
    const byInode = new Map<string, Node>()
    const image = new Image(
        newNode('directory', 'top', libc.statAt(libc.AT_FDCWD, libc.cPath(base))),
        new Map(),
    )
    const walk = (directory: Node, path: Buffer) => {
        const { names } = image.state(directory)
        for (const child of fs.readdirSync(path, { encoding: 'buffer' }).sort(Buffer.compare)) {
            const name = child.toString('latin1')
            if (directory === image.top && !disks.includes(name)) continue
            const whole = Buffer.concat([path, slash, child])
            const stat = libc.statAt(libc.AT_FDCWD, libc.cPath(whole))
            const key = `${stat.dev}:${stat.ino}`
            const known = byInode.get(key)
            const node = known ?? newNode(typeOf(stat), directory === image.top ? name : directory.disk, stat)
            names!.set(name, node)
            if (known !== undefined) continue
            byInode.set(key, node)
            if (node.type === 'symlink')
                node.link = text(libc.readLinkAt(libc.AT_FDCWD, libc.cPath(whole)), 0)
            const state = image.state(node)
            state.metadata = { ...state.metadata, xattrs: libc.readXattrs(libc.cPath(whole)) }
            if (node.type === 'directory') walk(node, whole)
            if (node.type !== 'file') continue
            state.content = new Uint8Array(stat.size)
            for (const [at, bytes] of dataOf(libc.cPath(whole))) state.content.set(bytes, at)
        }
    }
    walk(image.top, Buffer.from(base))
    return image
}

const newNode = (type: Node['type'], disk: string, stat: libc.Stat): Node => ({
    ...{ type, disk, born: { ...metadataOf(stat), xattrs: [] } },
})

/** Makes the directory, which is not there. Returns which inode is which node. */
export function materialize(image: Image, base: string): Map<string, Node> {
    const inodes = new Map<string, Node>()
    const paths = new Map<Node, Uint8Array>()
    const later: (() => void)[] = []
    const dress = (node: Node, path: Uint8Array) => {
        const { mode, uid, gid, atimeNs, mtimeNs, xattrs } = image.state(node).metadata
        libc.chownAt(libc.AT_FDCWD, path, uid, gid)
        if (node.type !== 'symlink') libc.chmodAt(libc.AT_FDCWD, path, mode)
        for (const { name, value } of xattrs) libc.setXattr(path, name, value)
        libc.setTimesAt(libc.AT_FDCWD, path, atimeNs, mtimeNs)
    }
    const make = (node: Node, raw: Buffer) => {
        const path = libc.cPath(raw)
        const first = paths.get(node)
        if (first !== undefined) {
            libc.linkAt(libc.AT_FDCWD, first, libc.AT_FDCWD, path)
            return
        }
        paths.set(node, path)
        if (node.type === 'symlink')
            libc.symlinkAt(libc.cPath(Buffer.from(node.link!, 'latin1')), libc.AT_FDCWD, path)
        else if (node.type === 'directory') libc.mkdirAt(libc.AT_FDCWD, path, 0o700)
        else libc.close(libc.openAt(libc.AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0o600))
        const { dev, ino } = libc.statAt(libc.AT_FDCWD, path)
        inodes.set(`${dev}:${ino}`, node)
        if (node.type === 'directory')
            for (const [name, child] of image.state(node).names!)
                make(child, Buffer.concat([raw, slash, Buffer.from(name, 'latin1')]))
        // Behind all names: a snapshot tells inodes by their numbers, which only now are known.
        if (node.type === 'file')
            later.push(() => fill(path, withInodes(image.state(node).content!, numbers)))
        later.push(() => dress(node, path))
    }
    const numbers = new Map<string, string>()
    make(image.top, Buffer.from(base))
    for (const [inode, node] of inodes) {
        node.inode ??= inode
        numbers.set(node.inode, inode)
    }
    for (const act of later) act()
    return inodes
}

const block = 4096
const zeros = Buffer.alloc(block)

function fill(path: Uint8Array, content: Uint8Array): void {
    const fd = libc.openAt(libc.AT_FDCWD, path, O_WRONLY | O_NOFOLLOW)
    try {
        for (let at = 0; at < content.length; at += block) {
            const piece = content.subarray(at, at + block)
            if (zeros.compare(piece, 0, piece.length, 0, piece.length) !== 0)
                fs.writeSync(fd, piece, 0, piece.length, at)
        }
        fs.ftruncateSync(fd, content.length)
    } finally {
        libc.close(fd)
    }
}

/**
 * On a real disk an inode keeps its number through a power loss; in a directory that is made anew it gets another. So
 * the index of a snapshot that is whole is told the new ones.
 */
function withInodes(content: Uint8Array, numbers: ReadonlyMap<string, string>): Uint8Array {
    if (content.length < 66 || content[0] !== 0x7b || content.at(-1) !== 0x0a) return content
    const whole = Buffer.from(content).toString('latin1')
    const end = whole.lastIndexOf('\n', whole.length - 2) + 1
    const body = whole.slice(0, end)
    if (whole.length - end !== 65 || hashOf(body) !== whole.slice(end, -1)) return content
    const other = body.replaceAll(
        /"inode":"(\d+:\d+)"/g,
        (_, inode: string) => `"inode":"${numbers.get(inode) ?? `0:${inode.replace(':', '')}`}"`,
    )
    return Buffer.from(`${other}${hashOf(other)}\n`, 'latin1')
}

const hashOf = (body: string): string =>
    new Bun.CryptoHasher('sha256').update(Buffer.from(body, 'latin1')).digest('hex')
