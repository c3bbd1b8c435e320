/** An archive as a restore sees it, whoever made it: what it says of its host, what it holds, and the content on demand. */
import type { TarVisitor } from '../format/tar-read.ts'
import type { ByteString, TarType } from '../format/tar-write.ts'

export interface SavedSummary {
    maker: 'proxsave' | 'upstream'
    /** Id of a backup; for foreign archives the file's name. */
    id: string
    path: string
    /** RFC 3339. */
    created: string
    /** Short and, when known, full name of the host. */
    host: { id?: string; name: string; fqdn?: string }
    product: { kind: 'pve' | 'pbs' | 'both' | 'debian'; pve?: string; pbs?: string; debian?: string }
    cluster: 'standalone' | 'cluster'
    encrypted: boolean
}

export interface SavedEntry {
    path: ByteString
    type: TarType
    /** Category id; for foreign archives what the catalogue says of the path. */
    category: string
    mode: number
    uid: number
    gid: number
    size: number
    mtimeNs: bigint
    link?: ByteString
    /** SHA-256 of the content; foreign archives have none. */
    sha256?: Uint8Array
    /** Stored as a sparse file: its digest is that of `HoleDigest`. */
    holes?: boolean
    /** `xattrsDigest` of its extended attributes; with the first name of a hard link. Undefined when nobody noted them. */
    xattrs?: string
    /** Bytes of a sparse file that are no holes, about. */
    stored?: number
}

export interface SavedArchive {
    readonly summary: SavedSummary
    /** Live entries only, in archive order; parents before children. Foreign metadata files are left out. */
    entries(): Promise<SavedEntry[]>
    /** Hands entries with their content to a visitor. What the visitor sees is checked against the entry. */
    visit(wanted: SavedEntry[], visitor: (entry: SavedEntry) => TarVisitor): Promise<void>
    close(): void
}
