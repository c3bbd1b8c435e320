/** What proxsave remembers about keys that the keys themselves do not tell: `STATE/keys.json`. Nothing secret. */
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Fault } from '../core/errors.ts'
import { readSmallFile, replaceFile } from '../host/atomic.ts'
import type { KeyPaths } from './paths.ts'

const KeyRecord = Type.Object({
    version: Type.Literal(1),
    /** Recipients whose identity was printed on a sheet, with the time (RFC 3339). */
    sheets: Type.Record(Type.String(), Type.String()),
    /** Which recipient the protected identity belongs to: the file itself tells only with its passphrase. */
    protected: Type.Optional(Type.Object({ recipient: Type.String(), sha256: Type.String() })),
})
export type KeyRecord = Static<typeof KeyRecord>

const mostBytes = 256 * 1024

export function readKeyRecord(paths: KeyPaths): KeyRecord {
    const bytes = readSmallFile(paths.record, mostBytes)
    if (bytes === undefined) return { version: 1, sheets: {} }
    let value: unknown
    try {
        value = JSON.parse(Buffer.from(bytes).toString())
    } catch {
        value = undefined
    }
    if (Value.Check(KeyRecord, value)) return value
    throw new Fault('failed', `cannot read ${paths.record}: it is damaged`, {
        hint: 'remove it: proxsave then asks again to print the recovery sheet',
    })
}

export function writeKeyRecord(paths: KeyPaths, record: KeyRecord): void {
    replaceFile(paths.record, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 })
}

/** Notes that the identity of these recipients was printed; from then on it may leave the host. */
export function markSheetPrinted(paths: KeyPaths, recipients: string[], nowMs: number): void {
    const record = readKeyRecord(paths)
    const time = new Date(nowMs).toISOString()
    for (const recipient of recipients) record.sheets[recipient] = time
    writeKeyRecord(paths, record)
}
