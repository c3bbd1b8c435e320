/**
 * Who this host is to its archives: a random id, bound to the machine that it was made on.
 *
 * A cloned machine has its original's id and another machine-id or DMI UUID. It must not prune the original's archives,
 * so the difference is noticed at each load. Only hashes of the two are stored.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Fault } from '../core/errors.ts'
import { createFile, readSmallFile, replaceFile } from '../host/atomic.ts'

type Random = (bytes: number) => Uint8Array

const Bound = Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' }))
const Record = Type.Object({
    version: Type.Literal(1),
    id: Type.String({ pattern: '^[0-9a-hjkmnp-tv-z]{26}$' }),
    machineId: Bound,
    dmiUuid: Bound,
    /** The sequence number of the last archive. */
    sequence: Type.Integer({ minimum: 0 }),
})
type Record = Static<typeof Record>

export interface HostIdentity {
    id: string
    /** The machine is another one than the id was made on: prune is refused until a person decides. */
    cloned: boolean
    /** What differs: `machine-id`, `DMI UUID`. */
    differs: string[]
    /** Made by this call. */
    created: boolean
}

const file = (state: string) => join(state, 'host.json')
const mostBytes = 64 * 1024

/** The host's id; made, durably, on first use. `root` is where `etc/machine-id` is looked for. */
export function loadHost(state: string, root: string, random: Random): HostIdentity {
    const machine = describeMachine(root)
    let record = read(state)
    let created = false
    if (record === undefined) {
        const fresh: Record = { version: 1, id: newHostId(random), ...machine, sequence: 0 }
        created = createFile(file(state), text(fresh), { mode: 0o600 })
        // Somebody else may have been first; then theirs counts.
        record = created ? fresh : read(state)!
    }
    const differs: string[] = []
    if (changed(record.machineId, machine.machineId)) differs.push('machine-id')
    if (changed(record.dmiUuid, machine.dmiUuid)) differs.push('DMI UUID')
    if (
        differs.length === 0 &&
        (lacks(record.machineId, machine.machineId) || lacks(record.dmiUuid, machine.dmiUuid))
    )
        replaceFile(file(state), text({ ...record, ...machine }), { mode: 0o600 })
    return { id: record.id, cloned: differs.length > 0, differs, created }
}

/** A new random id of 26 characters: 130 bits in Crockford's base32, which has no letters that look like digits. */
export function newHostId(random: Random): string {
    return Array.from(random(26), byte => alphabet[byte & 31]).join('')
}

/** A host id as a person typed it; `Fault('usage')` when it cannot be one. */
export function parseHostId(typed: string): string {
    const id = typed.trim().toLowerCase().replaceAll(/[il]/g, '1').replaceAll('o', '0').replaceAll('-', '')
    if (!/^[0-9a-hjkmnp-tv-z]{26}$/.test(id))
        throw new Fault('usage', 'cannot use this host id: it has 26 letters and digits', {
            hint: 'it stands on the recovery sheet, and `proxsavectl list --all-hosts --json` shows those of the archives',
        })
    return id
}

/**
 * Takes over an id (of a machine that was reinstalled, or a new one for a clone) and binds it to this machine.
 * `sequence` is the highest one among that host's archives, so that counting goes on. Returns the id before.
 */
export function adoptHost(state: string, root: string, hostId: string, sequence = 0): string | undefined {
    const id = parseHostId(hostId)
    const before = read(state)
    const counted = before?.id === id ? Math.max(before.sequence, sequence) : sequence
    replaceFile(file(state), text({ version: 1, id, ...describeMachine(root), sequence: counted }), {
        mode: 0o600,
    })
    return before?.id
}

/**
 * The sequence number of the next archive: above the last one given and above `atLeast` (the highest one seen among
 * this host's archives). Durable before it returns, so none is given twice; a failed backup leaves a gap.
 */
export function nextSequence(state: string, atLeast = 0): number {
    const record = read(state)
    if (record === undefined) throw new Fault('failed', 'cannot count the archive: this host has no id yet')
    const sequence = Math.max(record.sequence, atLeast) + 1
    replaceFile(file(state), text({ ...record, sequence }), { mode: 0o600 })
    return sequence
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

function read(state: string): Record | undefined {
    const bytes = readSmallFile(file(state), mostBytes)
    if (bytes === undefined) return undefined
    let value: unknown
    try {
        value = JSON.parse(Buffer.from(bytes).toString())
    } catch {
        value = undefined
    }
    if (Value.Check(Record, value)) return value
    throw new Fault('failed', `cannot read ${file(state)}: it is damaged`, {
        hint: 'move it away and run `proxsavectl setup --adopt HOSTID` with the id from the recovery sheet or from `list --all-hosts`',
    })
}

function text(record: Record): string {
    return `${JSON.stringify(record, null, 2)}\n`
}

function changed(recorded: string | undefined, current: string | undefined): boolean {
    return recorded !== undefined && current !== undefined && recorded !== current
}

function lacks(recorded: string | undefined, current: string | undefined): boolean {
    return recorded === undefined && current !== undefined
}

function describeMachine(root: string): { machineId?: string; dmiUuid?: string } {
    const machineId = digest('machine-id', line(join(root, 'etc/machine-id')))
    const dmiUuid = digest('dmi', line(join(root, 'sys/class/dmi/id/product_uuid')))
    return { ...(machineId && { machineId }), ...(dmiUuid && { dmiUuid }) }
}

function digest(kind: string, value: string | undefined): string | undefined {
    if (value === undefined || isPlaceholder(value)) return undefined
    return createHash('sha256').update(`proxsave ${kind} ${value}`).digest('hex')
}

/** systemd writes `uninitialized`; boards without a UUID have one digit throughout, or the well-known fill pattern. */
function isPlaceholder(value: string): boolean {
    const digits = value.replaceAll('-', '')
    return (
        !/^[0-9a-f]{32}$/.test(digits) ||
        /^(.)\1*$/.test(digits) ||
        digits === '03000200040005000006000700080009'
    )
}

function line(path: string): string | undefined {
    try {
        const bytes = readSmallFile(path, 4096)
        return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1').trim().toLowerCase()
    } catch {
        // Only root may read the UUID, and a container may hide it: then this host is bound by the other one.
        return undefined
    }
}
