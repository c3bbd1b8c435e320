/** The backups on all targets, from the first bytes of each archive; what cannot be read is listed with its reason. */
import { readHead } from '../archive/head.ts'
import { describeUpstream, isUpstream } from '../archive/upstream-head.ts'
import type { BackupInfo } from '../core/answers.ts'
import { asFault, Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Source, StoredArchive } from '../engine/target.ts'
import type { Manifest } from '../format/manifest.ts'
import { readStoredUpstream } from './stored-upstream.ts'
import type { Verified } from './verified.ts'

/** One archive: what its target says and, when it could be read, what it says itself. */
export interface FoundArchive {
    target: Source
    stored: StoredArchive
    manifest?: Manifest
    signed: boolean
    /** Carries an identity that a passphrase opens. */
    hasIdentity?: boolean
    /** Why there is no manifest. */
    problem?: string
}

export interface ListedTarget {
    target: Source
    archives: FoundArchive[]
    /** The target itself could not be listed. */
    problem?: Fault
}

interface Head {
    manifest?: Manifest
    signed: boolean
    hasIdentity?: boolean
    problem?: string
}

/** More heads than any target should have archives; the oldest go first. */
const cachedHeads = 20_000

/** Heads by target, name, size and time: an archive never changes under its name. */
export class HeadCache {
    readonly #heads = new Map<string, Head>()

    /** What was read before, if it was. */
    known(target: Source, stored: StoredArchive): Head | undefined {
        return this.#heads.get(keyOf(target, stored))
    }

    async read(target: Source, stored: StoredArchive): Promise<Head> {
        const key = keyOf(target, stored)
        const known = this.#heads.get(key)
        if (known !== undefined) return known
        const head = await readOne(target, stored)
        // A problem may be the network's and not the archive's.
        if (head.manifest === undefined) return head
        if (this.#heads.size >= cachedHeads) this.#heads.delete(this.#heads.keys().next().value!)
        this.#heads.set(key, head)
        return head
    }
}

const keyOf = (target: Source, stored: StoredArchive) =>
    `${target.name}\0${target.place}\0${stored.name}\0${stored.size}\0${stored.modifiedMs}`

async function readOne(target: Source, stored: StoredArchive): Promise<Head> {
    try {
        if (isUpstream(stored.name))
            return { manifest: describeUpstream(await readStoredUpstream(target, stored)), signed: false }
        const { manifest, signature, identity } = await readHead({
            read: (offset, length) => target.read(stored.name, offset, length),
        })
        return { manifest, signed: signature !== undefined, hasIdentity: identity !== undefined }
    } catch (error) {
        return { signed: false, problem: asFault(error).message }
    }
}

export async function listTargets(targets: Iterable<Source>, cache: HeadCache): Promise<ListedTarget[]> {
    const listed: ListedTarget[] = []
    for (const target of targets) {
        try {
            const stored = await target.list()
            const heads =
                target.patienceMs === undefined
                    ? await readInTurn(target, stored, cache)
                    : await readWithin(target.patienceMs, target, stored, cache)
            listed.push({
                target,
                archives: stored.map((one, at) => ({ target, stored: one, ...heads[at]! })),
            })
        } catch (error) {
            listed.push({ target, archives: [], problem: asFault(error) })
        }
    }
    return listed
}

async function readInTurn(target: Source, archives: StoredArchive[], cache: HeadCache): Promise<Head[]> {
    const heads: Head[] = []
    for (const stored of archives) heads.push(await cache.read(target, stored))
    return heads
}

/** Several at once, the newest first, as long as there is time: each is a way to another machine and back. */
async function readWithin(
    patienceMs: number,
    target: Source,
    archives: StoredArchive[],
    cache: HeadCache,
): Promise<Head[]> {
    const heads: Head[] = archives.map(
        stored => cache.known(target, stored) ?? { signed: false, problem: unread },
    )
    const waiting = archives
        .map(({ modifiedMs }, at) => ({ at, modifiedMs }))
        .filter(({ at }) => heads[at]!.manifest === undefined)
        .sort((a, b) => b.modifiedMs - a.modifiedMs)
    let over = false
    const timer = setTimeout(() => {
        over = true
    }, patienceMs)
    const reader = async () => {
        for (let next = waiting.shift(); next !== undefined && !over; next = waiting.shift())
            heads[next.at] = await cache.read(target, archives[next.at]!)
    }
    try {
        await Promise.all(Array.from({ length: limits.remoteReaders }, reader))
    } finally {
        clearTimeout(timer)
    }
    return heads
}

const unread = 'there was no time to read its beginning: list again, what was read is remembered'

export interface Judge {
    hostId: string | undefined
    verified(backup: string): Verified | undefined
    nowMs: number
}

/** More than an hour ahead: made with a wrong clock, or read with one. */
const aheadMs = 3_600_000

export function describeArchive(
    { target, stored, manifest, signed, problem }: FoundArchive,
    judge: Judge,
): BackupInfo {
    const place = {
        name: stored.name,
        target: target.name,
        size: stored.size,
        path: target.localPath(stored.name),
    }
    if (manifest === undefined)
        return {
            ...place,
            id: '',
            host: stored.name.split('_')[0] ?? '',
            hostId: '',
            created: new Date(stored.modifiedMs).toISOString(),
            sequence: 0,
            plainSize: 0,
            entries: 0,
            encrypted: false,
            signed: false,
            pinned: false,
            own: false,
            product: '',
            cluster: false,
            reason: '',
            problem: problem ?? 'cannot be read',
        }
    const ahead = Date.parse(manifest.created) > judge.nowMs + aheadMs
    return {
        ...place,
        id: manifest.id,
        host: manifest.host.name,
        hostId: manifest.host.id,
        created: manifest.created,
        sequence: manifest.sequence,
        plainSize: manifest.plain.size,
        entries: manifest.plain.entries,
        encrypted: manifest.encryption.kind === 'age' && manifest.decryptedFrom === undefined,
        signed,
        pinned: manifest.pinned === true,
        own: manifest.host.id === judge.hostId,
        product: manifest.product.kind,
        cluster: manifest.cluster === 'cluster',
        reason: manifest.reason,
        ...(manifest.job === undefined ? {} : { job: manifest.job }),
        ...(manifest.note === undefined ? {} : { note: manifest.note }),
        ...optional('verified', judge.verified(manifest.id)),
        ...(ahead ? { problem: 'dated in the future' } : {}),
    }
}

function optional<K extends string, V>(key: K, value: V | undefined): { [key in K]?: V } {
    return value === undefined ? {} : ({ [key]: value } as { [key in K]: V })
}

/** Newest first: by time, then by number, so that two of one second keep their order. */
export function newestFirst(a: BackupInfo, b: BackupInfo): number {
    return (
        Date.parse(b.created) - Date.parse(a.created) || b.sequence - a.sequence || (a.name < b.name ? 1 : -1)
    )
}

/**
 * The archive that a person means by an id, a unique beginning of one, or `latest`. `listed` is newest first and own
 * backups only for `latest`; of copies on several targets the first target's is taken.
 */
export function findBackup(listed: readonly BackupInfo[], text: string): BackupInfo {
    const readable = listed.filter(backup => backup.id !== '')
    if (text === 'latest') {
        const latest = readable.find(backup => backup.own)
        if (latest !== undefined) return latest
        throw new Fault('failed', 'cannot find the latest backup: there is none of this host yet', {
            hint: 'proxsavectl backup makes one; proxsavectl list --all-hosts shows those of other hosts',
            facts: { missing: 'backup' },
        })
    }
    const byName = listed.find(backup => backup.name === text)
    if (byName !== undefined) return byName
    const found = text.length < 2 ? [] : readable.filter(backup => backup.id.startsWith(text.toLowerCase()))
    const ids = [...new Set(found.map(backup => backup.id))]
    if (ids.length === 1) return found[0]!
    if (ids.length === 0)
        throw new Fault('failed', `cannot find the backup ${text}: there is none of that id`, {
            hint: 'proxsavectl list --all-hosts shows all; a file is named by its path',
            facts: { missing: 'backup' },
        })
    throw new Fault('usage', `cannot tell which backup is meant: ${text} begins ${ids.length} ids`, {
        hint: `type more of it: ${ids.slice(0, 5).join(', ')}`,
    })
}
