/** Where archives live, as backup, prune and restore see it: one interface, one implementation a kind in src/targets. */

/** One archive as its target lists it; nothing in it is trusted before the manifest was read. */
export interface StoredArchive {
    /** File name on the target; unique there. */
    name: string
    /** Bytes. */
    size: number
    /** Milliseconds since the epoch, from the target's clock; display and cache key only. */
    modifiedMs: number
    /** Small files that belong to it and have names of their own, as the Go ProxSave leaves them. */
    beside?: readonly StoredArchive[]
}

/** A place that archives are read from. */
export interface Source {
    /** Name in the configuration: `[target.NAME]` or `[source.NAME]`. */
    readonly name: string
    readonly type: string
    /** What `doctor` and error messages call the place. */
    readonly place: string
    /** Only where reading is slow: a listing reads beginnings for this long (ms), the rest is listed unread. */
    readonly patienceMs?: number

    /** All finished archives; partial ones never show. */
    list(): Promise<StoredArchive[]>
    /** `length` bytes from `offset`; short only at the end of the file. */
    read(name: string, offset: number, length: number): Promise<Uint8Array>
    /** Local path of an archive, when it has one: the reader then seeks by itself. */
    localPath(name: string): string | undefined
}

/** A source whose archives have to be brought here before they are opened. */
export interface RemoteSource extends Source {
    /** Brings the archive and what lies beside it into an empty directory, under its own name; its path, checked for its size. */
    fetch(archive: StoredArchive, directory: string, watch?: FetchWatch): Promise<string>
}

export interface FetchWatch {
    progress?: (bytes: number) => void
    /** Aborting ends the download with `Fault('refused')`. */
    signal?: AbortSignal
}

export interface Target extends Source {
    /** Directory (absolute) in which an archive may be built so that `publish` is a rename; undefined for remote ones. */
    spool(): string | undefined
    /** Bytes free for one more archive, or undefined when the target does not say. */
    freeBytes(): number | undefined
    /** Makes the finished local file `source` visible under `name`; durable when it returns. Never replaces. */
    publish(source: string, name: string, progress?: (bytes: number) => void): Promise<void>
    /** Removes one archive; no error when it is gone already. */
    remove(name: string): Promise<void>
    /** Removes what interrupted publications left; returns the names it removed. */
    sweep(): Promise<string[]>
}
