/** The shape of one category: what belongs together on a host, how it is saved and how it comes back. */
import type { AreaId } from './areas.ts'

export type Product = 'pve' | 'pbs' | 'common'

/** How a restore puts a category back; the strategies are those of the architecture page. */
export type Strategy = 'replace' | 'merge' | 'guarded' | 'database' | 'objects' | 'export'

export type RestoreMode = 'full' | 'storage' | 'base'

/** A command whose output is saved with a category. Never a shell: argv only. */
export interface CapturedCommand {
    /** File name below `var/lib/proxsave/captured/<category>/`. */
    file: string
    argv: readonly [string, ...string[]]
    /** Exit statuses that are an answer, not a failure; default [0]. */
    okStatuses?: readonly number[]
    /** Milliseconds; default `limits.commandMs`. A command whose program the host has not is left out in silence. */
    timeoutMs?: number
}

/** Checks one restored or saved file before it is trusted. */
export type Validator =
    | 'config-db'
    | 'pve-section-config'
    | 'pbs-section-config'
    | 'interfaces'
    | 'fstab'
    | 'sshd-config'
    | 'sudoers'
    | 'passwd'
    | 'crontab'
    | 'json'
    | 'pem'
    | 'systemd-unit'

export interface Category {
    id: string
    title: string
    product: Product
    /**
     * Absolute paths. A trailing slash means the whole tree, the directory itself included; `*` matches within one
     * name. An entry of the file system belongs to the category with the most specific matching path (`match.ts`).
     */
    paths: readonly string[]
    /** Nothing of it lies on the host: its entries are made while a backup is written. */
    virtual?: true
    /**
     * Its trees reach around files of other categories, which come back only when those are chosen. Without it, choosing
     * the category chooses everything below its paths.
     */
    residual?: true
    /** Never saved although below `paths`: locks, sockets, caches of the product. Same notation. */
    never?: readonly string[]
    /** Paths whose absence on a host of this product is worth a line in the manifest. */
    expected?: readonly string[]
    commands?: readonly CapturedCommand[]
    /**
     * systemd units concerned, in the order of stopping. `replace`, `merge` and `database` stop them before and start them
     * after; `objects` needs them running; `guarded` tells them to read again.
     */
    services?: readonly string[]
    /** The order of starting, where it is not the reverse of `services`. */
    startOrder?: readonly string[]
    strategy: Strategy
    /** With `guarded`: what a wrong restore of it would take away. Without it the strategy is not applied yet. */
    area?: AreaId
    /** Paths of this category that come back another way; the most specific one counts. */
    except?: readonly { path: string; strategy: Strategy }[]
    /** When the category is only exported although its strategy says otherwise, and why. */
    exportWhile?: { condition: 'cluster-member-alive'; why: string }
    /** What a wrong restore of it can cost. */
    risk: 'low' | 'medium' | 'high' | 'lock-out'
    modes: readonly RestoreMode[]
    validator?: { path: string; kind: Validator }[]
    /** One sentence for the generated table: what the category is for. */
    about: string
}
