/**
 * The simulated twin of src/host/disk.ts: a file system whose page cache and platter are two things.
 *
 * What was written is seen at once, and is on the platter only after a sync: the content of a file after fsync, a name
 * in a directory after a sync of that directory. A power loss keeps what was synced and, of the rest, whatever the
 * seed says: each write whole, torn, as zeros or not at all, each directory operation or not, in any combination.
 */
import { basename, dirname } from 'node:path'
import { type Disk, type DiskCalls, diskOn } from '../../src/host/disk.ts'
import type { Random } from './random.ts'

/** Thrown by every call from the crash on: the process is dead, whatever it still tries. */
export class Crash extends Error {}

type Write = { at: number; bytes: Uint8Array } | { cut: number }

class File {
    seen = new Uint8Array(0)
    platter = new Uint8Array(0)
    unsynced: Write[] = []
}

class Directory {
    seen = new Map<string, File | Directory>()
    platter = new Map<string, File | Directory>()
}

/** One atomic change of names, perhaps in two directories. */
interface NameChange {
    edits: { directory: Directory; name: string; to: File | Directory | undefined }[]
}

export interface Injection {
    /** Counted over mutating calls from the last `inject` on, the first is 1. */
    at: number
    /** `crash`, or the code of an error. */
    what: 'crash' | 'ENOSPC' | 'EIO'
    /** Errors only below this directory, as when it has a disk of its own. */
    below?: string
    /** The error stays for all calls behind it, but those that give room back. */
    forGood?: boolean
}

export class SimDisk {
    /** The disk as the engine gets it, on the same rules as the real one; a new one for each process. */
    disk: Disk
    /** Mutating calls so far since the last `inject`. */
    calls = 0
    /** Leaves out calls, to see a test fail. */
    sabotage: ((call: string, path: string, bytes?: Uint8Array) => boolean) | undefined
    #root = new Directory()
    #names: NameChange[] = []
    #handles = new Map<number, { file: File; path: string }>()
    #nextHandle = 3
    #injection: Injection | undefined
    #dead = false
    #process = 1
    readonly #random: Random

    constructor(random: Random) {
        this.#random = random
        this.disk = diskOn(this.#callsOfProcess())
    }

    inject(injection: Injection | undefined): void {
        this.#injection = injection
        this.calls = 0
    }

    get dead(): boolean {
        return this.#dead
    }

    /** The process died; the page cache lives on. */
    kill(): void {
        this.#handles.clear()
        this.#dead = false
        this.#injection = undefined
        this.#process++
        this.disk = diskOn(this.#callsOfProcess())
    }

    /** The machine died; what comes back is what was synced and some of the rest. */
    losePower(): void {
        const random = this.#random
        const mood = random.pick([0, 0.5, 0.5, 0.5, 0.9, 1])
        for (const change of this.#names) if (random.chance(mood)) applyNames(change)
        this.#names = []
        const reset = (node: File | Directory) => {
            if (node instanceof File) {
                for (const write of node.unsynced)
                    if (random.chance(mood)) node.platter = written(node.platter, torn(write, random))
                node.unsynced = []
                node.seen = node.platter
                return
            }
            node.seen = new Map(node.platter)
            for (const child of node.seen.values()) reset(child)
        }
        reset(this.#root)
        this.kill()
    }

    /** Every file below, by path, for a checker. */
    tree(path = '/'): Map<string, string> {
        const found = new Map<string, string>()
        const walk = (node: File | Directory, at: string) => {
            if (node instanceof File) found.set(at, Buffer.from(node.seen).toString('latin1'))
            else for (const [name, child] of node.seen) walk(child, `${at === '/' ? '' : at}/${name}`)
        }
        const start = this.#find(path)
        if (start !== undefined) walk(start, path)
        return found
    }

    /** The bytes of a file, to look at and to damage. */
    bytes(path: string): Uint8Array {
        const file = this.#find(path)
        if (!(file instanceof File)) throw new Error(`no file ${path}`)
        return file.seen
    }

    putBytes(path: string, bytes: Uint8Array): void {
        const file = this.#find(path)
        if (!(file instanceof File)) throw new Error(`no file ${path}`)
        file.seen = file.platter = bytes.slice()
        file.unsynced = []
    }

    /** What a dead process still tries must not reach the disk of the next one. */
    #callsOfProcess(): DiskCalls {
        const calls = this.#callsOf()
        const process = this.#process
        for (const [name, call] of Object.entries(calls) as [
            keyof DiskCalls,
            (...args: unknown[]) => unknown,
        ][])
            Object.assign(calls, {
                [name]: (...args: unknown[]) => {
                    if (process !== this.#process) throw new Crash('this process is dead')
                    return call(...args)
                },
            })
        return calls
    }

    #callsOf(): DiskCalls {
        return {
            open: (path, how, mode) => {
                void mode
                this.#alive()
                const found = this.#find(path)
                if (found instanceof Directory || (found && how === 'create')) throw osError('EEXIST', path)
                const file = found ?? new File()
                if (found === undefined) {
                    this.#step('open', path)
                    this.#setNames([{ path, to: file }])
                }
                const handle = this.#nextHandle++
                this.#handles.set(handle, { file, path })
                return handle
            },
            write: (handle, bytes) => {
                const { file, path } = this.#handle(handle)
                const write = (count: number) => {
                    const entry = { at: file.seen.length, bytes: bytes.slice(0, count) }
                    file.seen = written(file.seen, entry)
                    file.unsynced.push(entry)
                }
                const part = () => write(this.#random.int(bytes.length + 1))
                if (!this.#step('write', path, part, bytes)) return bytes.length
                const count = this.#random.chance(0.05) ? 1 + this.#random.int(bytes.length) : bytes.length
                write(count)
                return count
            },
            truncate: (handle, size) => {
                const { file, path } = this.#handle(handle)
                if (!this.#step('truncate', path)) return
                file.seen = written(file.seen, { cut: size })
                file.unsynced.push({ cut: size })
            },
            fsync: handle => {
                const { file, path } = this.#handle(handle)
                const flush = () => flushFile(file)
                // After a failed fsync the pages are clean and lost: a second fsync says nothing about them.
                const lose = () => {
                    for (const write of file.unsynced)
                        if (this.#random.chance(0.5))
                            file.platter = written(file.platter, torn(write, this.#random))
                    file.unsynced = []
                }
                if (this.#step('fsync', path, this.#injection?.what === 'crash' ? undefined : lose)) flush()
            },
            close: handle => {
                this.#handles.delete(handle)
            },
            syncDirectory: path => {
                this.#alive()
                const directory = this.#directory(path)
                if (this.#step('syncDirectory', path)) this.#syncNames(directory)
            },
            syncFileSystem: path => {
                this.#alive()
                const flush = (node: File | Directory) => {
                    if (node instanceof File) return flushFile(node)
                    this.#syncNames(node)
                    for (const child of node.seen.values()) flush(child)
                }
                const directory = this.#directory(path)
                if (this.#step('syncFileSystem', path)) flush(directory)
            },
            mkdir: path => {
                this.#alive()
                if (this.#find(path)) throw osError('EEXIST', path)
                this.#directory(dirname(path))
                if (this.#step('mkdir', path)) this.#setNames([{ path, to: new Directory() }])
            },
            rename: (from, to) => {
                this.#alive()
                const node = this.#find(from)
                if (node === undefined) throw osError('ENOENT', from)
                if (this.#step('rename', to))
                    this.#setNames([
                        { path: from, to: undefined },
                        { path: to, to: node },
                    ])
            },
            unlink: path => {
                this.#alive()
                if (!(this.#find(path) instanceof File)) throw osError('ENOENT', path)
                if (this.#step('unlink', path)) this.#setNames([{ path, to: undefined }])
            },
            removeTree: path => {
                this.#alive()
                const remove = (at: string) => {
                    const node = this.#find(at)
                    if (node instanceof Directory)
                        for (const name of [...node.seen.keys()]) remove(`${at}/${name}`)
                    if (this.#step('unlink', at)) this.#setNames([{ path: at, to: undefined }])
                }
                remove(path)
            },
            stat: path => {
                this.#alive()
                const node = this.#find(path)
                if (node === undefined) return undefined
                return {
                    directory: node instanceof Directory,
                    size: node instanceof File ? node.seen.length : 0,
                }
            },
            names: path => {
                this.#alive()
                const node = this.#find(path)
                return node instanceof Directory ? [...node.seen.keys()] : undefined
            },
            readAt: (path, offset, length) => {
                this.#alive()
                const node = this.#find(path)
                return node instanceof File ? node.seen.slice(offset, offset + length) : undefined
            },
        }
    }

    /** Counts a mutating call and fails it when it is its turn; `part` is what it had done by then. */
    #step(call: string, path: string, part?: () => void, bytes?: Uint8Array): boolean {
        this.#alive()
        this.calls++
        const injection = this.#injection
        if (injection !== undefined) {
            const elsewhere = injection.what !== 'crash' && !path.startsWith(injection.below ?? '/')
            const frees = call === 'unlink' || call === 'truncate'
            const turn = this.calls === injection.at || (injection.forGood && this.calls > injection.at)
            const hit = turn && !elsewhere
            if (hit && injection.what === 'crash') {
                part?.()
                this.#dead = true
                throw new Crash(`crash at ${call} ${path}`)
            }
            if (
                hit &&
                !(injection.what === 'ENOSPC' && (frees || call.startsWith('sync') || call === 'fsync'))
            ) {
                part?.()
                throw osError(injection.what, `${call} ${path}`)
            }
        }
        return !this.sabotage?.(call, path, bytes)
    }

    #alive(): void {
        if (this.#dead) throw new Crash('the process is dead')
    }

    #handle(handle: number): { file: File; path: string } {
        this.#alive()
        const found = this.#handles.get(handle)
        if (found === undefined) throw osError('EBADF', `fd ${handle}`)
        return found
    }

    #find(path: string): File | Directory | undefined {
        let node: File | Directory | undefined = this.#root
        for (const name of path.split('/').filter(part => part !== '')) {
            if (!(node instanceof Directory)) return undefined
            node = node.seen.get(name)
        }
        return node
    }

    #directory(path: string): Directory {
        const node = this.#find(path)
        if (!(node instanceof Directory)) throw osError('ENOENT', path)
        return node
    }

    #setNames(changes: { path: string; to: File | Directory | undefined }[]): void {
        const edits = changes.map(({ path, to }) => {
            return { directory: this.#directory(dirname(path)), name: basename(path), to }
        })
        for (const { directory, name, to } of edits) setName(directory.seen, name, to)
        this.#names.push({ edits })
    }

    /** All that happened to this directory, and before it to the directories that shared an operation with it. */
    #syncNames(directory: Directory): void {
        const reached = new Set([directory])
        const synced = new Set<NameChange>()
        for (const change of this.#names.toReversed()) {
            if (!change.edits.some(edit => reached.has(edit.directory))) continue
            for (const edit of change.edits) reached.add(edit.directory)
            synced.add(change)
        }
        for (const change of this.#names) if (synced.has(change)) applyNames(change)
        this.#names = this.#names.filter(change => !synced.has(change))
    }
}

function flushFile(file: File): void {
    for (const write of file.unsynced) file.platter = written(file.platter, write)
    file.unsynced = []
}

function applyNames(change: NameChange): void {
    for (const { directory, name, to } of change.edits) setName(directory.platter, name, to)
}

function setName(names: Map<string, File | Directory>, name: string, to: File | Directory | undefined): void {
    if (to === undefined) names.delete(name)
    else names.set(name, to)
}

function written(content: Uint8Array<ArrayBuffer>, write: Write): Uint8Array<ArrayBuffer> {
    if ('cut' in write) {
        const cut = new Uint8Array(write.cut)
        cut.set(content.subarray(0, write.cut))
        return cut
    }
    const grown = new Uint8Array(Math.max(content.length, write.at + write.bytes.length))
    grown.set(content)
    grown.set(write.bytes, write.at)
    return grown
}

/** What may be on the platter of a write that was not synced: all of it, its beginning, zeros, or its end alone. */
function torn(write: Write, random: Random): Write {
    if ('cut' in write || write.bytes.length === 0) return write
    const { at, bytes } = write
    const some = random.int(bytes.length)
    switch (random.int(4)) {
        case 0:
            return write
        case 1:
            return { at, bytes: bytes.slice(0, some) }
        case 2:
            return { at, bytes: new Uint8Array(bytes.length) }
        default:
            return { at: at + some, bytes: bytes.slice(some) }
    }
}

function osError(code: string, what: string): Error {
    return Object.assign(new Error(`${code}: ${what}`), { code })
}
