/** The beginning of an archive of the Go ProxSave: where its data lies, and what the files beside it say of it. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import {
    parseUpstreamName,
    readDigestFile,
    readUpstreamManifest,
    timeOfName,
    type UpstreamManifest,
} from '../format/upstream-manifest.ts'
import type { Manifest } from '../format/manifest.ts'
import { type ReadEntry, TarParser } from '../format/tar-read.ts'
import { readSmallFile } from '../host/atomic.ts'
import { DataFile } from '../host/data-file.ts'
import { BLOCK, roundUp } from './bundle.ts'
import type { SavedSummary } from './saved.ts'

export interface UpstreamHead {
    summary: SavedSummary
    manifest?: UpstreamManifest
    /** The manifest as it is stored. */
    manifestBytes?: Uint8Array
    /** Hex, from the manifest and from the `.sha256` file. */
    digests: { manifest?: string; file?: string }
    /** The archive itself: its own name, and where it lies in the file. */
    data: { name: string; at: number; size: number }
    /** The file that holds it. */
    file: { name: string; size: number; bundle: boolean }
}

/** Reads `length` bytes from `offset`, fewer only at the end. */
export interface Readable {
    size: number
    read(offset: number, length: number): Promise<Uint8Array> | Uint8Array
}

/** Whether a file's name is that of an archive of the Go tool. */
export function isUpstream(path: string): boolean {
    return parseUpstreamName(path.slice(path.lastIndexOf('/') + 1)) !== undefined
}

/** What a listing needs; the data is not touched but for its first bytes. Throws `usage` and `damaged` faults. */
export async function readUpstreamHead(path: string): Promise<UpstreamHead> {
    const file = openFile(path)
    try {
        return await headOf(file, path)
    } finally {
        file.close()
    }
}

export function openFile(path: string): DataFile {
    try {
        return DataFile.openForReading(path)
    } catch (error) {
        const absent = (error as { code?: string }).code === 'ENOENT'
        throw new Fault('usage', `cannot open ${path}: ${absent ? 'there is no such file' : String(error)}`)
    }
}

/** The head of a file that is open already. */
export async function headOf(file: DataFile, path: string): Promise<UpstreamHead> {
    const name = path.slice(path.lastIndexOf('/') + 1)
    try {
        const parsed = parseUpstreamName(name)
        if (parsed === undefined)
            throw new Fault(
                'usage',
                `cannot read ${path}: its name is not that of an archive of the Go ProxSave`,
                {
                    hint: 'they are named HOST-backup-YYYYMMDD-HHMMSS.tar…',
                },
            )
        const size = file.size
        const source = { size, read: (offset: number, length: number) => file.read(offset, length) }
        const members = parsed.bundle ? await readBundle(source) : readBeside(path, name, size)
        const beginning = file.read(members.data.at, ageMagic.length)
        const encrypted = Buffer.from(beginning).toString('latin1') === ageMagic
        return makeHead(members, { path, name, size, bundle: parsed.bundle, encrypted })
    } catch (error) {
        if (!(error instanceof Fault) || error.message.includes(path)) throw error
        throw new Fault(error.kind, error.message.replace(/the backup|the manifest/, `$& of ${path}`), {
            hint: error.hint,
            cause: error,
        })
    }
}

/**
 * The head of a bundle that lies elsewhere: its members' headers and small members are all that is read, which are its
 * first few KiB unless another tool packed it again. Whether it is encrypted is what its names say.
 */
export async function readBundleHead(source: Readable, name: string, path = name): Promise<UpstreamHead> {
    const members = await readBundle(source)
    const encrypted = members.data.name.endsWith('.age')
    return makeHead(members, { path, name, size: source.size, bundle: true, encrypted })
}

/** Likewise for an archive that lies elsewhere by itself: `beside` reads the file of its name with this suffix, if there is one. */
export async function readLooseHead(
    name: string,
    size: number,
    beside: (suffix: string) => Promise<Uint8Array | undefined>,
    path = name,
): Promise<UpstreamHead> {
    const manifestBytes = (await beside('.manifest.json')) ?? (await beside('.metadata'))
    const members = { manifestBytes, digestBytes: await beside('.sha256'), data: { name, at: 0, size } }
    return makeHead(members, { path, name, size, bundle: false, encrypted: name.endsWith('.age') })
}

/**
 * What `show` and `verify` print, in the shape of a manifest of ours. Its `format` is `upstream`; what only reading all
 * of the archive would tell is empty.
 */
export function describeUpstream({ summary, manifest, data, digests, file }: UpstreamHead): Manifest {
    const described: Omit<Manifest, 'format'> & { format: string } = {
        format: 'upstream',
        id: file.name,
        created: summary.created,
        sequence: 0,
        host: { id: '', name: summary.host.name, fqdn: summary.host.fqdn },
        product: summary.product,
        cluster: summary.cluster,
        tool: `Go ProxSave${manifest?.tool === undefined ? '' : ` ${manifest.tool}`}`,
        reason: 'upstream',
        encryption: { kind: summary.encrypted ? 'age' : 'none', recipients: [] },
        data: {
            member: data.name,
            size: data.size,
            sha256: digests.manifest ?? digests.file ?? '',
            blocksSha256: '',
        },
        plain: { size: 0, entries: 0 },
        categories: [],
    }
    return described as Manifest
}

const ageMagic = 'age-encryption.org/v1\n'

interface Members {
    manifestBytes?: Uint8Array
    digestBytes?: Uint8Array
    data: { name: string; at: number; size: number }
}

function makeHead(
    { manifestBytes, digestBytes, data }: Members,
    file: { path: string; name: string; size: number; bundle: boolean; encrypted: boolean },
): UpstreamHead {
    const manifest = manifestBytes === undefined ? undefined : readUpstreamManifest(manifestBytes)
    const said = parseUpstreamName(file.name)
    const fqdn = manifest?.hostname ?? said?.host ?? ''
    const time = said === undefined ? undefined : timeOfName(said.time)
    const products = manifest?.products ?? []
    const summary: SavedSummary = {
        maker: 'upstream',
        id: file.name,
        path: file.path,
        created: manifest?.created ?? time?.toISOString() ?? new Date(0).toISOString(),
        host: { name: fqdn.split('.')[0]!, fqdn: fqdn.includes('.') ? fqdn : undefined },
        product: {
            kind: products.length === 2 ? 'both' : (products[0] ?? 'debian'),
            pve: manifest?.pve,
            pbs: manifest?.pbs,
        },
        cluster: manifest?.cluster ?? 'standalone',
        encrypted: file.encrypted,
    }
    const digest = digestBytes === undefined ? undefined : readDigestFile(digestBytes)
    return {
        summary,
        manifest,
        manifestBytes,
        digests: { manifest: manifest?.sha256, file: digest },
        data,
        file: { name: file.name, size: file.size, bundle: file.bundle },
    }
}

function readBeside(path: string, name: string, size: number): Members {
    const beside = (suffix: string) => readSmallFile(`${path}${suffix}`, limits.manifestBytes)
    const manifestBytes = beside('.manifest.json') ?? beside('.metadata')
    return { manifestBytes, digestBytes: beside('.sha256'), data: { name, at: 0, size } }
}

interface Member {
    name: string
    at: number
    size: number
}

/** The members of a bundle, in any order; only their headers are read, the content in between is stepped over. */
async function readBundle(source: Readable): Promise<Members> {
    const members = await listMembers(source)
    const isManifest = ({ name }: Member) => name.endsWith('.metadata') || name.endsWith('.manifest.json')
    const isDigest = ({ name }: Member) => name.endsWith('.sha256')
    const archives = members.filter(member => !isManifest(member) && !isDigest(member))
    const [data] = archives
    if (data === undefined || archives.length > 1)
        throw broken(data === undefined ? 'there is no archive in it' : 'there are several archives in it')
    // The digest of the metadata ends the same way: only the one named after the archive counts.
    const digest =
        members.find(({ name }) => name === `${data.name}.sha256`) ??
        members.find(
            member => isDigest(member) && !/\.(?:metadata|manifest\.json)\.sha256$/.test(member.name),
        )
    const manifest =
        members.find(
            ({ name }) => name === `${data.name}.metadata` || name === `${data.name}.manifest.json`,
        ) ?? members.find(isManifest)
    const content = async (member: Member | undefined) => {
        if (member === undefined) return undefined
        if (member.size > limits.manifestBytes) throw broken(`its member ${member.name} is too large`)
        return await source.read(member.at, member.size)
    }
    return { manifestBytes: await content(manifest), digestBytes: await content(digest), data }
}

const broken = (why: string) => new Fault('damaged', `cannot read the backup: ${why}`)

async function listMembers(source: Readable): Promise<Member[]> {
    const members: Member[] = []
    let window: { at: number; bytes: Uint8Array } = { at: 0, bytes: new Uint8Array() }
    const block = async (at: number): Promise<Uint8Array> => {
        if (at < window.at || at + BLOCK > window.at + window.bytes.length)
            window = { at, bytes: await source.read(at, 16 * BLOCK) }
        return window.bytes.subarray(at - window.at, at - window.at + BLOCK)
    }
    let at = 0
    for (;;) {
        let read = await block(at)
        if (read.length === BLOCK && read.every(byte => byte === 0)) return members
        let entry: ReadEntry | undefined
        const parser = new TarParser({
            entry(found) {
                entry = found
            },
            data() {},
            end() {},
        })
        for (const most = at + 2 * limits.paxBytes; entry === undefined; read = await block(at)) {
            if (read.length < BLOCK || at > most) throw broken('its outer tar is cut or broken')
            try {
                parser.push(read)
            } catch {
                throw broken('its outer tar is broken')
            }
            at += BLOCK
        }
        const { path, type, stored } = entry as ReadEntry
        const name = path.replace(/^\.\//, '')
        if (type === 'directory' && (name === '.' || name === '')) continue
        if (type !== 'file' || name.includes('/') || members.some(member => member.name === name))
            throw broken(`its member ${JSON.stringify(name)} does not belong there`)
        if (at + stored > source.size) throw broken(`it is cut: its member ${name} is not complete`)
        members.push({ name, at, size: stored })
        if (members.length > limits.bundleMembers) throw broken('it has too many members')
        at += roundUp(stored)
        // An end without its zeros is no loss: the digest of the archive decides.
        if (at >= source.size) return members
    }
}
