/** What stands beside an archive of the Go ProxSave: names of files, manifests of both eras, digests, deduplication. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

/** What a file's name says; nothing of it is trusted. */
export interface UpstreamName {
    host: string
    /** `YYYYMMDD-HHMMSS` of the host's own zone. */
    time: string
    encrypted: boolean
    bundle: boolean
}

const suffix = /\.(?:tar(?:\.(?:gz|xz|bz2|lzma|zst|zstd))?|tgz|txz|tbz2)(\.age)?$/
const product = /^(?:pve|pbs|proxmox)-backup-(.+)-(\d{8}-\d{6})$/
const named = /^(.+)-backup-(\d{8}-\d{6})$/

/** Undefined when no version of the Go tool or of the scripts before it names archives so. */
export function parseUpstreamName(name: string): UpstreamName | undefined {
    if (name.includes('/') || name.endsWith('.proxsave.tar')) return undefined
    let stem = name
    const bundle = stem.endsWith('.bundle.tar')
    if (bundle) stem = stem.slice(0, -'.bundle.tar'.length)
    if (stem.endsWith('.decrypted')) stem = stem.slice(0, -'.decrypted'.length)
    const kind = suffix.exec(stem)
    if (kind === null) return undefined
    stem = stem.slice(0, kind.index)
    const found = product.exec(stem) ?? named.exec(stem)
    if (found === null) return undefined
    return { host: found[1]!, time: found[2]!, encrypted: kind[1] !== undefined, bundle }
}

/** The moment a name speaks of, in the zone of this process: the name tells none. */
export function timeOfName(time: string): Date | undefined {
    const [, year, month, day, hour, minute, second] =
        /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)$/.exec(time) ?? []
    if (year === undefined) return undefined
    const date = new Date(
        Number(year),
        Number(month) - 1,
        Number(day),
        Number(hour),
        Number(minute),
        Number(second),
    )
    return Number.isNaN(date.getTime()) || date.getMonth() !== Number(month) - 1 ? undefined : date
}

export interface UpstreamManifest {
    /** Lower-case hex. */
    sha256?: string
    size?: number
    /** RFC 3339, UTC. */
    created?: string
    hostname?: string
    products: ('pve' | 'pbs')[]
    pve?: string
    pbs?: string
    /** Version of the tool that made it. */
    tool?: string
    encryption?: string
    cluster?: 'cluster' | 'standalone'
    salt?: string
}

type Values = Record<string, unknown>

/** Reads a manifest: JSON, or the `KEY=VALUE` lines of the scripts. What it does not say stays undefined. */
export function readUpstreamManifest(bytes: Uint8Array): UpstreamManifest {
    const cannot = (why: string) => new Fault('damaged', `cannot read the manifest: ${why}`)
    if (bytes.length > limits.manifestBytes) throw cannot(`it is larger than ${limits.manifestBytes} bytes`)
    const text = Buffer.from(bytes).toString('utf8').trim()
    let values: Values
    if (text.startsWith('{')) {
        let value: unknown
        try {
            value = JSON.parse(text)
        } catch {
            throw cannot('it is not valid JSON')
        }
        values = value as Values
    } else {
        values = readLines(text)
        if (Object.keys(values).length === 0) throw cannot('it is neither JSON nor lines of KEY=VALUE')
    }
    const word = (key: string) => {
        const value = values[key]
        if (value === undefined || value === null || value === '') return undefined
        if (typeof value !== 'string') throw cannot(`${key} is no text`)
        return value
    }
    const sha256 = word('sha256')?.toLowerCase()
    if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256)) throw cannot('sha256 is no digest')
    const size = values.archive_size
    if (size !== undefined && !(Number.isSafeInteger(size) && (size as number) >= 0))
        throw cannot('archive_size is no size')
    const created = word('created_at')
    const time = created === undefined ? Number.NaN : Date.parse(created)
    const cluster = word('cluster_mode')?.toLowerCase()
    return {
        sha256,
        size: size as number | undefined,
        created: Number.isNaN(time) ? undefined : new Date(time).toISOString(),
        hostname: word('hostname'),
        products: productsOf(values),
        pve: word('pve_version'),
        pbs: word('pbs_version'),
        tool: word('script_version'),
        encryption: word('encryption_mode')?.toLowerCase(),
        cluster: cluster === 'cluster' || cluster === 'standalone' ? cluster : undefined,
        salt: word('passphrase_salt'),
    }
}

/** The lines as the JSON manifest would name them. */
function readLines(text: string): Values {
    const values: Values = {}
    for (const line of text.split('\n')) {
        const [, key, value] = /^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? []
        if (key !== undefined) values[key.toLowerCase()] = unquote(value!.trim())
    }
    // Its size and time are those of the file.
    delete values.archive_size
    delete values.created_at
    if (values.backup_targets !== undefined) values.proxmox_targets ??= values.backup_targets
    return values
}

function productsOf(values: Values): ('pve' | 'pbs')[] {
    const { proxmox_targets: targets, proxmox_type: type } = values
    const list = Array.isArray(targets) ? targets : typeof targets === 'string' ? targets.split(/[\s,]+/) : []
    const words = [...list, ...(type === 'dual' ? ['pve', 'pbs'] : [type])].map(word =>
        String(word).toLowerCase(),
    )
    return (['pve', 'pbs'] as const).filter(one => words.includes(one))
}

/** The digest in a `.sha256` file: its first word. */
export function readDigestFile(bytes: Uint8Array): string {
    const found = /^\\?([0-9a-fA-F]{64})(?:\s|$)/.exec(
        Buffer.from(bytes.subarray(0, 8192)).toString('latin1').trimStart(),
    )
    if (found === null)
        throw new Fault('damaged', 'cannot read the checksum of the backup: its file holds no SHA-256')
    return found[1]!.toLowerCase()
}

/** A file that was stored as a link to an equal one, and what it was. */
export interface DedupEntry {
    path: string
    mode: number
    uid?: number
    gid?: number
}

/** Reads the list of deduplicated files; paths as bytes (latin1), relative. */
export function readDedupManifest(bytes: Uint8Array): Map<string, DedupEntry> {
    const broken = () =>
        new Fault('damaged', 'cannot read the backup: its list of deduplicated files is broken')
    let value: unknown
    try {
        value = JSON.parse(Buffer.from(bytes).toString('utf8'))
    } catch {
        throw broken()
    }
    // Go writes an empty list as null.
    if (value === null) return new Map()
    if (!Array.isArray(value)) throw broken()
    const found = new Map<string, DedupEntry>()
    const id = (number: unknown) =>
        number === undefined ||
        (Number.isInteger(number) && (number as number) >= 0 && (number as number) < 2 ** 32)
    for (const one of value as { path?: unknown; mode?: unknown; uid?: unknown; gid?: unknown }[]) {
        const { path, mode, uid, gid } = one ?? {}
        if (typeof path !== 'string' || !Number.isInteger(mode) || !id(uid) || !id(gid)) throw broken()
        const bytesOfPath = Buffer.from(path.replace(/^(?:\.?\/)+/, '')).toString('latin1')
        // Permission bits alone were recorded; anything above them was not written by the tool.
        found.set(bytesOfPath, {
            path: bytesOfPath,
            mode: (mode as number) & 0o777,
            uid: uid as number | undefined,
            gid: gid as number | undefined,
        })
    }
    return found
}

/** Directories that a `backup.env` names; it is read as text, never run. */
export interface UpstreamPlaces {
    /** `BACKUP_PATH` and, when it is in use, `SECONDARY_PATH`; absolute. */
    directories: string[]
    /** `remote:path` of rclone, when the cloud is in use. */
    remote?: string
}

/** `base` is what `${BASE_DIR}` means when the file does not say so itself. */
export function readUpstreamEnvironment(text: string, base: string): UpstreamPlaces {
    const values = new Map([['BASE_DIR', base]])
    for (const line of text.split('\n')) {
        const [, key, raw] = /^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? []
        if (key === undefined) continue
        // A default for what is set already, as shells write it.
        const value = unquote(raw!.trim()).replace(
            /\$\{([A-Z][A-Z0-9_]*)(?::?-([^{}]*))?\}|\$([A-Z][A-Z0-9_]*)/g,
            (_all, braced?: string, otherwise?: string, plain?: string) =>
                values.get(braced ?? plain ?? '') ?? otherwise ?? '',
        )
        values.set(key, value)
    }
    const on = (key: string) => /^(?:true|1|yes|on)$/i.test(values.get(key) ?? '')
    const usable = (path: string | undefined): path is string =>
        path?.startsWith('/') === true && !path.includes('\0') && path.length < limits.pathBytes
    const directories = [
        values.get('BACKUP_PATH'),
        on('SECONDARY_ENABLED') ? values.get('SECONDARY_PATH') : undefined,
    ]
        .filter(usable)
        .map(path => path.replace(/(?<=.)\/+$/, ''))
    const remote = on('CLOUD_ENABLED') ? values.get('CLOUD_REMOTE') : undefined
    const below = values.get('CLOUD_REMOTE_PATH') ?? ''
    return {
        directories: [...new Set(directories)],
        remote: remote === undefined || remote === '' ? undefined : joinRemote(remote, below),
    }
}

function joinRemote(remote: string, below: string): string {
    const whole = remote.includes(':') ? remote : `${remote}:`
    const path = below.replace(/^\/+|\/+$/g, '')
    if (path === '') return whole
    return whole.endsWith(':') || whole.endsWith('/') ? `${whole}${path}` : `${whole}/${path}`
}

function unquote(value: string): string {
    const quoted = /^(["'])(.*?)\1\s*(?:#.*)?$/.exec(value)
    return quoted === null ? value.replace(/\s+#.*$/, '').trim() : quoted[2]!
}
