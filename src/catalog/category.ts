/** The shape of one category: what belongs together on a host, how it is saved and how it comes back. */

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
    /** Only when this executable exists is it worth a word when it fails. Default: argv[0]. */
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
     * Absolute paths. A trailing slash means the whole tree; `*` matches within one name. An entry of the file system
     * belongs to the category with the most specific matching path.
     */
    paths: readonly string[]
    /** Never saved although below `paths`: locks, sockets, caches of the product. Same notation. */
    never?: readonly string[]
    /** Paths whose absence on a host of this product is worth a line in the manifest. */
    expected?: readonly string[]
    commands?: readonly CapturedCommand[]
    /** systemd units that read these files: stopped before, started after. */
    services?: readonly string[]
    strategy: Strategy
    /** When the category is only exported although its strategy says otherwise, and why. */
    exportWhile?: { condition: 'cluster-member-alive'; why: string }
    /** What a wrong restore of it can cost. */
    risk: 'low' | 'medium' | 'high' | 'lock-out'
    modes: readonly RestoreMode[]
    validator?: { path: string; kind: Validator }[]
    /** One sentence for the generated table: what the category is for. */
    about: string
}
