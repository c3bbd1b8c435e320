/** The outer tar of an archive: the names of its members and their headers. */
import { pack } from 'tar-stream'
import { Fault } from '../core/errors.ts'

export const memberNames = {
    readme: 'README.txt',
    manifest: 'manifest.json',
    signature: 'manifest.json.sig',
    identity: 'identity.age',
    blocks: 'blocks.sha256',
} as const

export const dataMemberName = (encrypted: boolean): string =>
    encrypted ? 'data.tar.zst.age' : 'data.tar.zst'

export const BLOCK = 512
export const roundUp = (size: number): number => Math.ceil(size / BLOCK) * BLOCK

/** The header block of one member; the content and its padding follow. Sizes above 8 GiB use base-256, as GNU tar does. */
export async function memberHeader(name: string, size: number, mtime: Date): Promise<Uint8Array> {
    const stream = pack()
    const entry = stream.entry({
        name,
        size,
        mode: 0o600,
        mtime,
        uid: 0,
        gid: 0,
        uname: 'root',
        gname: 'root',
    })
    entry.on('error', () => {})
    try {
        for await (const piece of stream) {
            const bytes = piece as Uint8Array
            if (bytes.length === BLOCK) return Uint8Array.from(bytes)
            break
        }
    } finally {
        stream.destroy()
    }
    throw new Fault('failed', `cannot write the archive: the header of ${name} does not fit into one block`)
}
