/** One process of the product on the real file system of a test: it counts its calls, tells them, and dies or fails at one. */
import { readdirSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Disk, type DiskCalls, diskCalls, diskOn } from '../../src/host/disk.ts'
import { AT_FDCWD } from '../../src/host/libc.ts'
import { type PlaceCalls, placeCalls } from '../../src/host/place.ts'

/** At the n-th call that changes something: the process is gone, or the call fails, once or from then on. */
export type Trouble =
    | { kind: 'crash'; at: number }
    | { kind: 'fail'; at: number; code: 'ENOSPC' | 'EIO'; forGood?: boolean }

/** One call that changes something or makes it durable, once it is done. */
export interface Call {
    process: string
    call: string
    /** Absolute; of a rename the new name. */
    path: string
    from?: string
}

export class Crash extends Error {}

/** What a disk without room refuses. */
const needsRoom = new Set(['create', 'open', 'write', 'mkdir', 'symlink', 'link', 'setXattr'])

export class Process {
    readonly name: string
    readonly disk: Disk
    readonly calls: PlaceCalls
    count = 0
    /** The call that the trouble met. */
    met = ''
    readonly died: Promise<void>
    readonly #tell: ((call: Call) => void) | undefined
    #trouble: Trouble | undefined
    #dead = false
    #die = () => {}

    /** `tell` hears of every call that was made; without, syncs cost nothing. */
    constructor(name: string, trouble?: Trouble, tell?: (call: Call) => void) {
        this.name = name
        this.#trouble = trouble
        this.#tell = tell
        this.died = new Promise(resolve => (this.#die = resolve))
        this.disk = diskOn(this.#diskCalls())
        this.calls = this.#placeCalls()
    }

    get dead(): boolean {
        return this.#dead
    }

    kill(): void {
        this.#dead = true
        this.#die()
    }

    /** The n-th call from now fails, once. */
    failIn(calls: number): void {
        this.#trouble = { kind: 'fail', at: this.count + calls, code: 'EIO' }
    }

    /** `at` counts from the first call of the process. */
    meet(trouble: Trouble): void {
        this.#trouble = trouble
    }

    /** The disk works again. */
    mend(): void {
        this.#trouble = undefined
    }

    /** It dies at the n-th call from now. */
    crashIn(calls: number): void {
        this.#trouble = { kind: 'crash', at: this.count + calls }
    }

    /** What a dead process waits for never comes; its locks are free again. */
    alive<T>(promise: Promise<T>): Promise<T> {
        const gone = () => {
            throw new Crash('dead')
        }
        return Promise.race([promise.finally(() => this.#dead && gone()), this.died.then(gone)])
    }

    #meet<T>(call: string, path: () => string, act: () => T, half?: () => void): T {
        if (this.#dead) throw new Crash('dead')
        this.count++
        const trouble = this.#trouble
        if (trouble !== undefined && this.count >= trouble.at) {
            if (trouble.kind === 'crash') {
                this.met = call
                if (trouble.at % 2 === 0) half?.()
                this.kill()
                throw new Crash('crash')
            }
            const applies = trouble.code === 'EIO' || !trouble.forGood || needsRoom.has(call)
            if (applies && (trouble.forGood || this.count === trouble.at)) {
                this.met ||= call
                throw Object.assign(new Error(`${trouble.code}: ${call}`), { code: trouble.code })
            }
        }
        const where = this.#tell && path()
        const value = act()
        if (where !== undefined) this.#tell!({ process: this.name, call, path: where })
        return value
    }

    #diskCalls(): DiskCalls {
        const paths = new Map<number, string>()
        const meet = this.#meet.bind(this)
        const of = (fd: number) => () => paths.get(fd)!
        return {
            ...diskCalls,
            open: (path, how, mode) => {
                const fd = meet(
                    'open',
                    () => path,
                    () => diskCalls.open(path, how, mode),
                )
                paths.set(fd, path)
                return fd
            },
            write: (fd, bytes) =>
                meet(
                    'write',
                    of(fd),
                    () => diskCalls.write(fd, bytes),
                    () => {
                        if (bytes.length > 1) diskCalls.write(fd, bytes.subarray(0, bytes.length >> 1))
                    },
                ),
            truncate: (fd, size) => meet('truncate', of(fd), () => diskCalls.truncate(fd, size)),
            fsync: fd => meet('fsync', of(fd), () => undefined),
            syncDirectory: path =>
                meet(
                    'syncDirectory',
                    () => path,
                    () => undefined,
                ),
            mkdir: (path, mode) =>
                meet(
                    'mkdir',
                    () => path,
                    () => diskCalls.mkdir(path, mode),
                ),
            rename: (from, to) =>
                meet(
                    'rename',
                    () => to,
                    () => diskCalls.rename(from, to),
                ),
            unlink: path =>
                meet(
                    'unlink',
                    () => path,
                    () => diskCalls.unlink(path),
                ),
            removeTree: path =>
                meet(
                    'removeTree',
                    () => path,
                    () => diskCalls.removeTree(path),
                    () => {
                        // Nobody says in which order they go.
                        const names = readdirSync(path)
                        for (const name of names.slice(0, Math.ceil(names.length / 2)))
                            rmSync(join(path, name), { recursive: true, force: true })
                    },
                ),
            syncFileSystem: path =>
                meet(
                    'syncFileSystem',
                    () => path,
                    () => undefined,
                ),
        }
    }

    #placeCalls(): PlaceCalls {
        const meet = this.#meet.bind(this)
        const real = placeCalls
        const of = (fd: number) => () => (fd === AT_FDCWD ? '' : readlinkSync(`/proc/self/fd/${fd}`))
        const at = (directory: number, name: Uint8Array) => () => join(of(directory)(), text(name))
        /** `/proc/self/fd/N/name`. */
        const through = (path: Uint8Array) => () => {
            const [, fd, name] = /^\/proc\/self\/fd\/(\d+)\/(.*)$/.exec(text(path))!
            return join(of(Number(fd))(), name!)
        }
        return {
            create: (d, n) => meet('create', at(d, n), () => real.create(d, n)),
            write: (fd, bytes, offset) =>
                meet(
                    'write',
                    of(fd),
                    () => real.write(fd, bytes, offset),
                    () => {
                        if (bytes.length > 1) real.write(fd, bytes.subarray(0, bytes.length >> 1), offset)
                    },
                ),
            truncate: (fd, size) => meet('truncate', of(fd), () => real.truncate(fd, size)),
            chownFd: (fd, u, g) => meet('chown', of(fd), () => real.chownFd(fd, u, g)),
            chmodFd: (fd, mode) => meet('chmod', of(fd), () => real.chmodFd(fd, mode)),
            chown: (d, n, u, g) => meet('chown', at(d, n), () => real.chown(d, n, u, g)),
            chmod: (d, n, mode) => meet('chmod', at(d, n), () => real.chmod(d, n, mode)),
            setXattr: (p, n, v) => meet('setXattr', through(p), () => real.setXattr(p, n, v)),
            removeXattr: (p, n) => meet('removeXattr', through(p), () => real.removeXattr(p, n)),
            setTimes: (d, n, a, m) => meet('setTimes', at(d, n), () => real.setTimes(d, n, a, m)),
            mkdir: (d, n) => meet('mkdir', at(d, n), () => real.mkdir(d, n)),
            symlink: (t, d, n) => meet('symlink', at(d, n), () => real.symlink(t, d, n)),
            link: (fd, f, d, n) => meet('link', at(d, n), () => real.link(fd, f, d, n)),
            unlink: (d, n) => meet('unlink', at(d, n), () => real.unlink(d, n)),
            rmdir: (d, n) => meet('rmdir', at(d, n), () => real.rmdir(d, n)),
            rename: (d, f, t) => meet('rename', at(d, t), () => real.rename(d, f, t)),
            exchange: (d, o, t) => meet('exchange', at(d, t), () => real.exchange(d, o, t)),
            sync: fd => meet('fsync', of(fd), () => undefined),
            syncFileSystem: fd => meet('syncFileSystem', of(fd), () => undefined),
        }
    }
}

/** Without the NUL at its end. */
const text = (name: Uint8Array): string => Buffer.from(name.subarray(0, -1)).toString('latin1')
