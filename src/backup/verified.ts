/** Which backups were verified, and to which targets this installation ever published: one small file a fact. */
import { join } from 'node:path'
import type { Disk } from '../host/disk.ts'

export interface Verified {
    /** RFC 3339. */
    time: string
    deep: boolean
}

const backupIdShape = /^[0-9a-f]{12}$/
const targetShape = /^[a-z0-9][a-z0-9-]{0,31}$/

/** What is known about archives besides what they say themselves. */
export class Knowledge {
    readonly #disk: Disk
    readonly #state: string

    constructor(disk: Disk, state: string) {
        this.#disk = disk
        this.#state = state
    }

    /** A deep verification stays one when a shallow one follows. */
    markVerified(backup: string, found: Verified): void {
        if (!backupIdShape.test(backup)) return
        const before = this.verified(backup)
        const deep = found.deep || before?.deep === true
        this.#write('verified', backup, { ...found, deep })
    }

    /** It was found damaged: what was known is not true any more. */
    unmarkVerified(backup: string): void {
        if (backupIdShape.test(backup)) this.#disk.remove(this.#path('verified', backup))
    }

    verified(backup: string): Verified | undefined {
        if (!backupIdShape.test(backup)) return undefined
        return this.#read('verified', backup) as Verified | undefined
    }

    allVerified(): Set<string> {
        return new Set(
            this.#disk.list(join(this.#state, 'verified')).filter(name => backupIdShape.test(name)),
        )
    }

    markPublished(target: string): void {
        if (targetShape.test(target) && !this.hasPublished(target)) this.#write('published', target, {})
    }

    hasPublished(target: string): boolean {
        return targetShape.test(target) && this.#disk.exists(this.#path('published', target))
    }

    #write(kind: string, name: string, value: object): void {
        this.#disk.mkdir(join(this.#state, kind), 0o700)
        this.#disk.replace(this.#path(kind, name), Buffer.from(JSON.stringify(value)), 0o600)
    }

    #read(kind: string, name: string): unknown {
        const bytes = this.#disk.read(this.#path(kind, name))
        if (bytes === undefined) return undefined
        try {
            return JSON.parse(Buffer.from(bytes).toString('utf8'))
        } catch {
            return undefined
        }
    }

    #path(kind: string, name: string): string {
        return join(this.#state, kind, name)
    }
}
