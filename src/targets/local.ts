/** The target that is a directory of this host: a local disk, or whatever is mounted there. */
import { join } from 'node:path'
import { Fault } from '../core/errors.ts'
import type { StoredArchive, Target } from '../engine/target.ts'
import { defaultTargetPath, type LocalTargetConfig } from '../format/config.ts'
import {
    freeBytes,
    listDirectory,
    partialPath,
    prepareDirectory,
    prepareLocalDirectory,
    publishFile,
    readPart,
    removeStored,
    sweepPartial,
} from '../host/archive-directory.ts'
import { isLocal } from '../host/mounts.ts'
import type { TargetHost } from './index.ts'

/** The names of archives of our own. */
export const archiveName = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.proxsave\.tar$/
/** On a shared file system an unfinished file may be another host's that is still being written. */
const abandonedMs = 24 * 3_600_000

export class LocalTarget implements Target {
    readonly type = 'local'
    readonly name: string
    readonly place: string
    readonly #path: string
    readonly #isDefault: boolean
    readonly #host: TargetHost

    constructor(config: LocalTargetConfig, host: TargetHost) {
        this.name = config.name
        this.#host = host
        this.#path = host.root === '/' ? config.path : join(host.root, config.path)
        this.#isDefault = config.path === defaultTargetPath
        this.place = this.#path
    }

    spool(): string | undefined {
        this.#refuseUnmounted()
        // Archives are written with seeks and in small pieces; over a network they are built at home and copied once.
        if (!this.#answersAlone()) return undefined
        prepareLocalDirectory(this.#path, this.#isDefault)
        return partialPath(this.#path)
    }

    freeBytes(): number | undefined {
        this.#refuseUnmounted()
        return this.#answersAlone() ? freeBytes(this.#path) : undefined
    }

    async list(): Promise<StoredArchive[]> {
        this.#refuseUnmounted()
        return await listDirectory(this.#path, name => archiveName.test(name))
    }

    async read(name: string, offset: number, length: number): Promise<Uint8Array> {
        return await readPart(this.#pathOf(name), offset, length)
    }

    localPath(name: string): string | undefined {
        return this.#pathOf(name)
    }

    async publish(source: string, name: string, progress?: (bytes: number) => void): Promise<void> {
        this.#pathOf(name)
        this.#refuseUnmounted()
        await prepareDirectory(this.#path)
        await publishFile(source, this.#path, name, progress)
    }

    async remove(name: string): Promise<void> {
        this.#pathOf(name)
        this.#refuseUnmounted()
        await removeStored(this.#path, name)
    }

    async sweep(): Promise<string[]> {
        this.#refuseUnmounted()
        const beforeMs = this.#answersAlone() ? Number.POSITIVE_INFINITY : this.#host.nowMs() - abandonedMs
        return await sweepPartial(this.#path, beforeMs)
    }

    #pathOf(name: string): string {
        if (!archiveName.test(name))
            throw new Fault('usage', `cannot use "${name}": archives are named HOST_TIME.proxsave.tar`)
        return join(this.#path, name)
    }

    /** The mount that the directory lies on, by the longest mount point above it. */
    #answersAlone(): boolean {
        const mount = [...this.#host.mounts().values()]
            .filter(({ point }) => isWithin(this.#path, point))
            .reduce((best, next) => (next.point.length > best.point.length ? next : best), {
                point: '',
                type: 'ext4',
            })
        return isLocal(mount.type)
    }

    /** A backup disk that is not plugged in must not be a directory that fills the root file system. */
    #refuseUnmounted(): void {
        const mounts = this.#host.mounts()
        for (const point of this.#host.configuredMounts())
            if (point !== '/' && isWithin(this.#path, point) && !mounts.has(point))
                throw new Fault('failed', `cannot use the target ${this.name}: ${point} is not mounted`, {
                    hint: `mount ${point}: the configuration of this host says that something belongs there`,
                })
    }
}

function isWithin(path: string, directory: string): boolean {
    return directory === '/' || path === directory || path.startsWith(`${directory}/`)
}
