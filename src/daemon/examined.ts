/** What was found out about archives, for the next rounds of the same conversation: checking every byte takes time. */
import { createHash, createHmac } from 'node:crypto'
import { fileStamp } from '../host/data-file.ts'
import type { Identity } from '../archive/unlock.ts'
import type { Trust } from '../archive/trust.ts'
import type { Examined } from '../restore/open.ts'

/** One conversation needs one or two; nobody holds more at the same time. */
const kept = 8

export interface Key {
    path: string
    identity: Identity | undefined
    trust: Trust
}

export class ExaminedArchives {
    readonly #known = new Map<string, Examined>()
    #salt: Uint8Array | undefined

    /** What is known of the file as it is now, or what `look` finds. A failure is not kept. */
    async get(
        { path, identity, trust }: Key,
        look: () => Promise<Examined>,
        random: (bytes: number) => Uint8Array,
    ): Promise<Examined> {
        // Secrets are not kept, not even as something that can be tried against a dictionary.
        this.#salt ??= random(32)
        const secret = createHmac('sha256', this.#salt)
            .update(JSON.stringify(identity ?? null))
            .digest('hex')
        const trusted = createHash('sha256').update(JSON.stringify(trust)).digest('hex')
        const key = () => `${path}\0${fileStamp(path)}\0${secret}\0${trusted}`
        const before = key()
        const known = this.#known.get(before)
        if (known !== undefined) return known
        const found = await look()
        if (key() === before) {
            if (this.#known.size >= kept) this.#known.delete(this.#known.keys().next().value!)
            this.#known.set(before, found)
        }
        return found
    }
}
