/**
 * The guard directory, STATE/guard/ID: all that a rollback needs, and the only truth about whether a guard is armed. What each
 * file in it means stands in `docs/design.md` section 6.
 */
import { dirname, join } from 'node:path'
import type { AreaId } from '../catalog/areas.ts'
import { Fault } from '../core/errors.ts'
import { type Lock, tryHold } from '../engine/lock.ts'
import type { PathAction } from '../host/put-in-place.ts'
import type { Disk } from '../host/disk.ts'

/** A command as argv; its program is looked up where systemd looks. */
export type Argv = [string, ...string[]]

/** One way to make the live system read its files again: all commands in order. The first way that works is enough. */
export interface Way {
    title: string
    commands: Argv[]
    /** A command of this way may take this long (ms). */
    timeoutMs: number
}

export interface Addresses {
    before: string[]
    /** What the new files say; undefined when they leave it to others, DHCP for one. */
    after?: string[]
    /** The address of this host that the one who asked came in by, when that was over SSH. */
    server?: string
    /** Where that connection came from. */
    client?: string
}

/** `guard.json`: written once, before the guard is armed. */
export interface GuardRecord {
    version: 1
    id: string
    change: string
    area: AreaId
    /** RFC 3339. */
    created: string
    /** Where the files live: those of pmxcfs are rolled back once it is mounted and can be written. */
    place: 'host' | 'pmxcfs'
    /** What apply does; paths are byte strings without a leading slash. */
    actions: PathAction[]
    /** Directories below which nothing may appear, with the names that were in them. */
    sweeps: { directory: string; names: string[] }[]
    /** How the old files are loaded again, the best way first. */
    ways: Way[]
    addresses: Addresses
    /** Directory for what is looked at before, after, and after a rollback. */
    diagnostics: string
    /** How long (ms) a person has from arming on. */
    timeoutMs: number
}

/** `armed`. */
export interface Armed {
    boot: string
    /** CLOCK_BOOTTIME (ms) of the deadline, in that boot. */
    deadlineMs: number
}

/** `applied`. */
export interface Applied {
    boot: string
    /** CLOCK_BOOTTIME (ms) when the new state was complete. */
    ms: number
}

/** `executed`. */
export interface Executed {
    /** RFC 3339; the wall clock, for people only. */
    time: string
    /** `deadline`, `boot`, `asked`. */
    why: string
    /** What could not be put back or loaded again; none: all is as it was. */
    problems: string[]
}

export interface Confirmed {
    time: string
    by: string
}

/** Files whose being there is all they say. The first two are for whoever sits at the console. */
export type Marker =
    | 'commit'
    | 'rollback'
    /** Files are being put in place, or were. */
    | 'placing'
    /** Old files are being put back, or were: what is there may be a mixture, and nobody can confirm it any more. */
    | 'returning'

export type GuardState = 'ARMED' | 'EXECUTED' | 'DISARMED'

export const guardIdShape = /^[a-z0-9][a-z0-9-]{0,80}$/

export const guardId = (change: string, area: string): string => `${change}-${area}`
/** The undo of a guarded change has a guard of its own. */
export const undoSuffix = '-undo'
export const guardsDirectory = (state: string): string => join(state, 'guard')

/** Reads and writes one guard directory; every write is durable when it returns. */
export class GuardDirectory {
    readonly id: string
    readonly path: string
    readonly #disk: Disk

    constructor(disk: Disk, state: string, id: string) {
        if (!guardIdShape.test(id))
            throw new Fault('usage', `cannot use the guard ${id}: that is no name of one`)
        this.#disk = disk
        this.id = id
        this.path = join(guardsDirectory(state), id)
    }

    file(name: string): string {
        return join(this.path, name)
    }

    exists(): boolean {
        return this.#disk.exists(this.file('guard.json'))
    }

    /** Throws when it is not there or not whole: a rollback must not guess. */
    record(): GuardRecord {
        const record = this.#json<GuardRecord>('guard.json')
        if (record === undefined)
            throw new Fault('stuck', `cannot read the guard ${this.id}: guard.json is not there`, {
                hint: `look into ${this.path}; its snapshot has the old files`,
            })
        if (record.version !== 1)
            throw new Fault(
                'stuck',
                `cannot read the guard ${this.id}: a later version of proxsave made it`,
                {
                    hint: `${this.file('proxsave')} rollback ${this.id}`,
                },
            )
        return record
    }

    /** Undefined when it is not armed. */
    armed(): Armed | undefined {
        if (!this.#disk.exists(this.file('armed'))) return undefined
        // Whatever it holds, its being there is what arms: one that cannot be read belongs to another boot.
        return this.#json<Armed>('armed') ?? { boot: '', deadlineMs: 0 }
    }

    applied(): Applied | undefined {
        return this.#json<Applied>('applied')
    }

    executed(): Executed | undefined {
        if (!this.#disk.exists(this.file('executed'))) return undefined
        // A full disk leaves no more of it than that it is there; see `end`.
        const known = this.#json<Partial<Executed>>('executed') ?? {}
        return { time: known.time ?? '', why: known.why ?? '', problems: known.problems ?? [] }
    }

    /** The outcome of a rollback, and then nothing is armed any more. Durable, also without room on the disk. */
    end(executed: Executed): void {
        try {
            this.write('executed', executed)
            this.remove('armed')
        } catch {
            this.#disk.rename(this.file('armed'), this.file('executed'))
        }
    }

    confirmed(): Confirmed | undefined {
        return this.#json<Confirmed>('confirmed')
    }

    /** ARMED as long as `armed` is there, whatever else is. */
    state(): GuardState {
        if (this.#disk.exists(this.file('armed'))) return 'ARMED'
        return this.executed() === undefined ? 'DISARMED' : 'EXECUTED'
    }

    marked(marker: Marker): boolean {
        return this.#disk.exists(this.file(marker))
    }

    /** Durable. */
    mark(marker: Marker): void {
        this.#disk.mkdir(this.path, 0o700)
        this.#disk.replace(this.file(marker), new Uint8Array(), 0o600)
    }

    /** Behind its end: what nobody needs any more. The program is 100 MB. */
    tidy(): void {
        for (const name of ['commit', 'rollback', 'placing', 'returning', 'after.json.new', 'proxsave'])
            try {
                this.remove(name)
            } catch {
                // It is over, whatever lies about: a disk that fails must not make it look otherwise.
            }
    }

    write(name: 'guard.json' | 'armed' | 'applied' | 'executed' | 'confirmed', value: object): void {
        this.#disk.mkdir(this.path, 0o700)
        this.#disk.replace(this.file(name), Buffer.from(`${JSON.stringify(value)}\n`), 0o600)
    }

    /** Durable. No error when it is gone. */
    remove(name: string): void {
        this.#disk.remove(this.file(name))
    }

    removeAll(): void {
        this.#disk.removeTree(this.path)
    }

    /** Undefined while another process changes files or decides. */
    tryLock(): Lock | undefined {
        this.#disk.mkdir(this.path, 0o700)
        return tryHold(this.file('lock'))
    }

    #json<T>(name: string): T | undefined {
        const bytes = this.#disk.read(this.file(name))
        if (bytes === undefined) return undefined
        try {
            return JSON.parse(Buffer.from(bytes).toString()) as T
        } catch {
            return undefined
        }
    }
}

/** All guards that left a directory, oldest first. */
export function listGuards(disk: Disk, state: string): GuardDirectory[] {
    return disk
        .list(guardsDirectory(state))
        .filter(
            name => guardIdShape.test(name) && disk.exists(join(guardsDirectory(state), name, 'guard.json')),
        )
        .map(name => new GuardDirectory(disk, state, name))
}

/** The state directory that a guard directory lies in. */
export const stateOf = (guard: GuardDirectory): string => dirname(dirname(guard.path))
