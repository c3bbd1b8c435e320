/** The manifest of an archive: the only part that is read before anything is trusted, and the part that is signed. */
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

const Count = Type.Integer({ minimum: 0 })
const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' })

const MissingPath = Type.Object({
    path: Type.String(),
    /** `absent` the host has it not, `excluded` the configuration says so, `skipped` not a file, `failed` could not be read. */
    state: Type.Union([
        Type.Literal('absent'),
        Type.Literal('excluded'),
        Type.Literal('skipped'),
        Type.Literal('failed'),
        Type.Literal('changed'),
    ]),
    why: Type.Optional(Type.String()),
})
export type MissingPath = Static<typeof MissingPath>

export const Manifest = Type.Object({
    format: Type.Literal('proxsave/1'),
    id: Type.String({ pattern: '^[0-9a-f]{12}$' }),
    /** RFC 3339, UTC. */
    created: Type.String(),
    /** Counts the archives of one host, so that order survives a wrong clock. */
    sequence: Count,
    host: Type.Object({
        id: Type.String(),
        name: Type.String(),
        /** Fully qualified, when it is known. */
        fqdn: Type.Optional(Type.String()),
    }),
    product: Type.Object({
        kind: Type.Union([
            Type.Literal('pve'),
            Type.Literal('pbs'),
            Type.Literal('both'),
            Type.Literal('debian'),
        ]),
        pve: Type.Optional(Type.String()),
        pbs: Type.Optional(Type.String()),
        debian: Type.Optional(Type.String()),
        kernel: Type.Optional(Type.String()),
    }),
    cluster: Type.Union([Type.Literal('standalone'), Type.Literal('cluster')]),
    tool: Type.String(),
    job: Type.Optional(Type.String()),
    reason: Type.String(),
    note: Type.Optional(Type.String()),
    pinned: Type.Optional(Type.Boolean()),
    encryption: Type.Object({
        kind: Type.Union([Type.Literal('age'), Type.Literal('none')]),
        recipients: Type.Array(Type.String()),
    }),
    /** The stored data member: its name, size and digest, and the digest of `blocks.sha256`. */
    data: Type.Object({ member: Type.String(), size: Count, sha256: Digest, blocksSha256: Digest }),
    /** SHA-256 of all other bytes: in front of the data (README, identity, headers; not this manifest and its signature), and behind. */
    envelope: Type.Optional(Type.Object({ front: Digest, back: Digest })),
    plain: Type.Object({ size: Count, entries: Count }),
    categories: Type.Array(
        Type.Object({
            id: Type.String(),
            entries: Count,
            bytes: Count,
            missing: Type.Optional(Type.Array(MissingPath)),
            /** How many more there were than `missing` lists. */
            missingMore: Type.Optional(Count),
        }),
    ),
    /** Why a later reader finds another digest than the host that made it: set by `decrypt`. */
    decryptedFrom: Type.Optional(Type.Object({ sha256: Digest })),
})
export type Manifest = Static<typeof Manifest>

const textOf = (manifest: Manifest) => Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`)

/** The manifest with as many missing paths as there is room for: long names must not keep a backup from being made. */
function fitted(manifest: Manifest): Buffer {
    const text = textOf(manifest)
    const longest = Math.max(...manifest.categories.map(({ missing }) => missing?.length ?? 0))
    if (text.length <= limits.manifestBytes || !(longest > 0)) return text
    const most = Math.floor(longest / 2)
    const categories = manifest.categories.map(category => {
        const { missing, missingMore } = category
        if (missing === undefined || missing.length <= most) return category
        return {
            ...category,
            missing: missing.slice(0, most),
            missingMore: (missingMore ?? 0) + missing.length - most,
        }
    })
    return fitted({ ...manifest, categories })
}

/** The manifest padded with spaces to its fixed room; this is what is signed. */
export function writeManifest(manifest: Manifest): Uint8Array {
    const text = fitted(manifest)
    if (text.length > limits.manifestBytes)
        throw new Fault('failed', 'cannot write the manifest: it does not fit into its 256 KiB', {
            hint: 'shorten the note',
        })
    const padded = Buffer.alloc(limits.manifestBytes, 0x20)
    text.copy(padded)
    return padded
}

/** Reads a manifest; unknown fields are a newer minor version and are kept out, wrong ones are damage. */
export function readManifest(bytes: Uint8Array): Manifest {
    let value: unknown
    try {
        value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    } catch (error) {
        throw new Fault('damaged', 'cannot read the manifest: it is not valid JSON', { cause: error })
    }
    const format = (value as { format?: unknown } | null)?.format
    if (typeof format === 'string' && format.startsWith('proxsave/') && format !== 'proxsave/1')
        throw new Fault(
            'damaged',
            `cannot read the manifest: its format is ${format}, this version reads proxsave/1`,
            {
                hint: 'use the version of proxsave that made it, or open the file by hand as its README.txt says',
            },
        )
    if (!Value.Check(Manifest, value)) {
        const first = Value.Errors(Manifest, value).First()
        throw new Fault(
            'damaged',
            `cannot read the manifest: ${first?.path || '/'} ${first?.message ?? 'is wrong'}`,
        )
    }
    return value
}
