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

/** A stretch of the file. */
export interface Room {
    at: number
    size: number
}

/**
 * Digests of everything around the data: in front of it without the `rooms` of the manifest and its signature, and
 * behind it. What a person reads first, the README with its commands, is signed this way, and so is every header.
 */
export function envelopeOf(
    file: { size: number; read(offset: number, length: number): Uint8Array },
    rooms: readonly Room[],
    data: Room,
): { front: string; back: string } {
    const front = new Bun.CryptoHasher('sha256')
    let at = 0
    for (const room of [...rooms, { at: data.at, size: 0 }]) {
        front.update(file.read(at, room.at - at))
        at = room.at + room.size
    }
    const end = data.at + data.size
    const back = Bun.CryptoHasher.hash('sha256', file.read(end, file.size - end))
    return { front: front.digest('hex'), back: Buffer.from(back).toString('hex') }
}

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
