/** The daemon's parts in one place, as routes see them, and the configuration that they follow. */
import { categories } from '../catalog/index.ts'
import { asFault, Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { HeadCache } from '../backup/list.ts'
import { Knowledge } from '../backup/verified.ts'
import type { Runner } from '../engine/runner.ts'
import type { Store } from '../engine/store.ts'
import type { RemoteSource, Target } from '../engine/target.ts'
import type { RunWorker } from '../engine/worker.ts'
import {
    type Config,
    type ConfigProblem,
    checkConfigText,
    configFault,
    defaultConfig,
} from '../format/config.ts'
import type { Clock } from '../host/clock.ts'
import { readSmallFile } from '../host/atomic.ts'
import { readConfigFiles } from '../host/config-files.ts'
import type { Disk } from '../host/disk.ts'
import type { Exec } from '../host/exec.ts'
import { readConfiguredMounts } from '../host/fstab.ts'
import { readMounts } from '../host/mounts.ts'
import { detectProduct, type Product } from '../host/product.ts'
import type { Systemd } from '../host/systemd.ts'
import { type KeyPaths, keyPaths } from '../keys/paths.ts'
import { Downloads } from './downloads.ts'
import { ExaminedArchives } from './examined.ts'
import type { PeerProbe } from '../restore/isolation.ts'
import { applySchedule } from '../schedule/apply.ts'
import { openSources, openTargets } from '../targets/index.ts'
import { storageMounts } from '../targets/storage-mounts.ts'
import type { Log } from './log.ts'
import { upstreamOffers } from './upstream.ts'

export interface DaemonParts {
    version: string
    /** `/`, or the tree that is served instead of it. */
    root: string
    state: string
    log: Log
    clock: Clock
    random: (bytes: number) => Uint8Array
    disk: Disk
    store: Store
    runner: Runner
    runWorker: RunWorker
    exec: Exec
    /** Asks other machines whether they are there. */
    probe: PeerProbe
    /** None with another root, or where systemd does not run. */
    systemd: Systemd | undefined
}

/** The configuration as it was read last; a broken one leaves the one before in place for what only reads. */
export interface ConfigState {
    config: Config
    problems: ConfigProblem[]
    /** Set while the files cannot be used: what writes refuses with it. */
    fault?: Fault
    /** The files as they were read, or why they could not be; to see whether they changed. */
    source: string
}

/** A product is not installed every second. */
const productMs = 60_000

export class Daemon {
    readonly parts: DaemonParts
    readonly since: string
    readonly heads = new HeadCache()
    readonly examined = new ExaminedArchives()
    readonly downloads: Downloads
    readonly knowledge: Knowledge
    readonly keys: KeyPaths
    /** Passphrases between a request and the task that needs them, by reference; never on disk. */
    readonly secrets = new Map<string, string>()
    /** What is still to be done behind the last backup; the next change waits for it. */
    duties: Promise<void> | undefined
    /** Requests answered so far. */
    served = 0
    #config: ConfigState
    #product: { product: Product; readMs: number } | undefined

    constructor(parts: DaemonParts) {
        this.parts = parts
        this.since = new Date(parts.clock.nowMs()).toISOString()
        this.downloads = new Downloads(parts.state, parts.runWorker)
        this.knowledge = new Knowledge(parts.disk, parts.state)
        this.keys = keyPaths(parts.root, parts.state)
        this.#config = readConfig(parts.root, undefined)
    }

    get config(): ConfigState {
        return this.#config
    }

    /** The configuration for what writes; throws while it is broken. */
    usableConfig(): Config {
        if (this.#config.fault !== undefined) throw this.#config.fault
        return this.#config.config
    }

    /** Reads the configuration again and has systemd follow it. What does not work is told, not thrown. */
    async reload(): Promise<{ problems: string[] }> {
        const { log, systemd, root } = this.parts
        this.#config = readConfig(root, this.#config.config)
        this.#product = undefined
        if (this.#config.fault !== undefined) {
            log.warning(this.#config.fault.message)
            return { problems: [this.#config.fault.message] }
        }
        if (systemd === undefined) return { problems: [] }
        try {
            const { problems } = await applySchedule(this.#config.config, systemd)
            for (const problem of problems) log.warning(problem)
            return { problems }
        } catch (error) {
            const { message } = asFault(error)
            log.warning(message)
            return { problems: [message] }
        }
    }

    /** Whether the files are other ones than those that were read last. */
    configChanged(): boolean {
        return readConfig(this.parts.root, undefined).source !== this.#config.source
    }

    product(): Product {
        const nowMs = this.parts.clock.bootMs()
        if (this.#product === undefined || nowMs - this.#product.readMs > productMs)
            this.#product = { product: detectProduct(this.parts.root), readMs: nowMs }
        return this.#product.product
    }

    /** The targets of the configuration by name; opened anew, because what is mounted changes. */
    targets(): Map<string, Target> {
        const { root, clock } = this.parts
        const mounts = readMounts()
        const configured = root === '/' ? [...readConfiguredMounts('/'), ...readStorageMounts()] : []
        return openTargets(this.#config.config.targets, {
            root,
            nowMs: () => clock.nowMs(),
            mounts: () => mounts,
            configuredMounts: () => configured,
        })
    }

    /** The sources of the configuration by name, and the remote that the Go ProxSave used on this host. */
    sources(): Map<string, RemoteSource> {
        const { root, exec } = this.parts
        const { config } = this.#config
        const { source } = upstreamOffers(root, config)
        return openSources(source === undefined ? config.sources : [...config.sources, source], {
            root,
            exec,
        })
    }

    target(name: string): Target {
        const targets = this.targets()
        const target = targets.get(name)
        if (target !== undefined) return target
        throw new Fault('usage', `cannot use the target ${name}: the configuration has none of that name`, {
            hint: `it has ${[...targets.keys()].join(', ')}`,
        })
    }
}

function readConfig(root: string, before: Config | undefined): ConfigState {
    const fallback = before ?? defaultConfig()
    let source = ''
    try {
        const files = readConfigFiles(root)
        source = JSON.stringify(files)
        const { config, problems } = checkConfigText(files, { categories: categories.map(({ id }) => id) })
        if (config !== undefined) return { config, problems: [], source }
        return { config: fallback, problems, fault: configFault(problems), source }
    } catch (error) {
        const fault = asFault(error)
        return { config: fallback, problems: [], fault, source: source === '' ? fault.message : source }
    }
}

const storageConfig = '/etc/pve/storage.cfg'

function readStorageMounts(): string[] {
    const text = readSmallFile(storageConfig, limits.configBytes)
    return text === undefined ? [] : storageMounts(Buffer.from(text).toString('latin1'))
}
