/** Files of /etc/pve out of the cluster database of a backup, where the backup has them nowhere else. */
import { Fault } from '../core/errors.ts'
import type { IndexEntry } from '../format/index.ts'
import type { ReadEntry } from '../format/tar-read.ts'
import type { ByteString } from '../format/tar-write.ts'
import { type EtcPveFile, etcPveFiles, readPmxcfsBytes } from '../host/pmxcfs-db.ts'
import { showPath, toByteString } from '../host/tree.ts'
import type { Unpacker } from '../host/unpack.ts'
import type { Contents } from './contents.ts'

export const databasePath: ByteString = 'var/lib/pve-cluster/config.db'

const within = (path: ByteString, root: ByteString) => path === root || path.startsWith(`${root}/`)

/** Of the wanted paths those that only the database of the backup can have: it was saved, /etc/pve itself was not. */
export function onlyInDatabase(entries: IndexEntry[], wanted: ByteString[]): ByteString[] {
    const has = (test: (entry: IndexEntry) => boolean) => entries.some(test)
    if (!has(({ path }) => path === databasePath)) return []
    if (has(({ path, type }) => type !== 'directory' && within(path, 'etc/pve'))) return []
    return wanted.filter(path => within(path, 'etc/pve'))
}

/** Unpacks what `wanted` names; every path has to be there. Tells the paths. */
export async function unpackEtcPve(
    opened: Contents,
    database: IndexEntry,
    wanted: ByteString[],
    unpacker: Unpacker,
): Promise<{ paths: ByteString[]; bytes: number }> {
    const pieces: Uint8Array[] = []
    await opened.reader.visit([database], () => ({
        entry() {},
        data: piece => void pieces.push(Uint8Array.from(piece)),
        end() {},
    }))
    const files = etcPveFiles(readPmxcfsBytes(Buffer.concat(pieces)))
    const paths: ByteString[] = []
    let bytes = 0
    for (const file of files) {
        const path = toByteString(file.path).slice(1)
        if (!wanted.some(root => within(path, root))) continue
        unpacker.begin(asEntry(file, path))
        unpacker.data(file.data)
        unpacker.end()
        paths.push(path)
        bytes += file.data.length
    }
    const missing = wanted.find(root => !paths.some(path => within(path, root)))
    if (missing !== undefined)
        throw new Fault(
            'usage',
            `cannot extract /${showPath(missing)}: it is not in the cluster database of the backup`,
        )
    return { paths, bytes }
}

/** As pmxcfs shows it: owner root, group www-data, and private where it lies below `priv`. */
function asEntry(file: EtcPveFile, path: ByteString): ReadEntry {
    const isPrivate = /(^|\/)priv\//.test(path)
    return {
        path,
        type: 'file',
        flag: '0',
        at: 0,
        stored: file.data.length,
        mode: isPrivate ? 0o600 : 0o640,
        uid: 0,
        gid: isPrivate ? 0 : WWW_DATA,
        uname: 'root',
        gname: '',
        size: file.data.length,
        mtimeNs: BigInt(file.mtime) * 1_000_000_000n,
    }
}

/** The number of www-data on every Debian (base-passwd). */
const WWW_DATA = 33
