/** The beginning of an archive: manifest, signature, and where the data lies. All that a listing reads. */
import { extract } from 'tar-stream'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type Manifest, readManifest } from '../format/manifest.ts'
import { BLOCK, dataMemberName, memberNames, type Room, roundUp } from './bundle.ts'

/** What stands in front of the data, and where the data lies. Nothing of it is trusted before the signature was checked. */
export interface Head {
    manifest: Manifest
    /** The manifest as it is stored: this is what is signed. */
    manifestBytes: Uint8Array
    signature?: string
    identity?: Uint8Array
    /** Offset and size of the data member's content in the file. */
    data: { member: string; at: number; size: number }
    /** Where the contents of the manifest and its signature lie: all else in front of the data is in `manifest.envelope`. */
    rooms: Room[]
}

/** Room for README, manifest, signature, identity and their headers: what a listing reads of a remote file. */
export const HEAD_BYTES = limits.manifestBytes + 128 * 1024

/** Reads what stands in front of the data. `read` gives `length` bytes from `offset`, fewer only at the end of the file. */
export async function readHead(source: {
    read(offset: number, length: number): Promise<Uint8Array> | Uint8Array
}): Promise<Head> {
    const bytes = await source.read(0, HEAD_BYTES)
    const found = await readMembers(bytes)
    const manifestBytes = found.members.get(memberNames.manifest)
    if (manifestBytes === undefined || found.data === undefined)
        throw new Fault(
            'damaged',
            'cannot read the backup: its beginning is not that of a proxsave archive',
            {
                hint: 'check that the file was copied completely and is a *.proxsave.tar',
            },
        )
    const manifest = readManifest(manifestBytes)
    if (manifest.data.member !== found.data.member || manifest.data.size !== found.data.size)
        throw new Fault(
            'damaged',
            'cannot read the backup: the manifest describes other data than the file holds',
        )
    const signature = found.members.get(memberNames.signature)
    return {
        manifest,
        manifestBytes,
        signature: signature === undefined ? undefined : new TextDecoder().decode(signature),
        identity: found.members.get(memberNames.identity),
        data: found.data,
        rooms: found.rooms,
    }
}

interface FoundMembers {
    members: Map<string, Uint8Array>
    data?: { member: string; at: number; size: number }
    rooms: Room[]
}

/** Walks the members up to the data. Offsets are counted here because the parser does not tell them. */
function readMembers(bytes: Uint8Array): Promise<FoundMembers> {
    const { promise, resolve, reject } = Promise.withResolvers<FoundMembers>()
    const found: FoundMembers = { members: new Map(), rooms: [] }
    const parser = extract()
    let at = 0
    const broken = (why: string) => new Fault('damaged', `cannot read the backup: ${why}`)
    parser.on('entry', (header, stream, next) => {
        const size = header.size ?? 0
        stream.on('error', () => {})
        if (header.type !== 'file' || header.pax != null) {
            parser.destroy(broken(`its member ${header.name} is not a plain file`))
            return
        }
        if (header.name === dataMemberName(true) || header.name === dataMemberName(false)) {
            found.data = { member: header.name, at: at + BLOCK, size }
            resolve(found)
            parser.destroy(broken('enough was read'))
            return
        }
        if (size > limits.smallMemberBytes || found.members.has(header.name)) {
            parser.destroy(broken(`its member ${header.name} is not one of proxsave's`))
            return
        }
        if (header.name === memberNames.manifest || header.name === memberNames.signature)
            found.rooms.push({ at: at + BLOCK, size })
        at += BLOCK + roundUp(size)
        const pieces: Uint8Array[] = []
        stream.on('data', piece => pieces.push(piece as Uint8Array))
        stream.on('end', () => {
            found.members.set(header.name, Buffer.concat(pieces))
            next()
        })
    })
    parser.on('error', error =>
        reject(error instanceof Fault ? error : broken('its outer tar is broken or the file is no tar')),
    )
    parser.on('finish', () => resolve(found))
    parser.on('close', () => reject(broken('it ends before its data begins')))
    parser.end(Buffer.from(bytes))
    return promise
}

/** Content of the member that must begin at `at`: `blocks.sha256` behind the data. */
export async function readMemberAt(
    source: { read(offset: number, length: number): Promise<Uint8Array> | Uint8Array },
    at: number,
    name: string,
    most: number,
): Promise<Uint8Array> {
    const bytes = await source.read(at, BLOCK + roundUp(most))
    const parser = extract()
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const broken = new Fault('damaged', `cannot read the backup: its member ${name} is missing or cut`)
    parser.on('entry', (header, stream) => {
        if (header.name !== name || (header.size ?? 0) > most) {
            parser.destroy(broken)
            return
        }
        const pieces: Uint8Array[] = []
        stream.on('data', piece => pieces.push(piece as Uint8Array))
        stream.on('end', () => {
            resolve(Buffer.concat(pieces))
            parser.destroy(broken)
        })
        stream.on('error', () => reject(broken))
    })
    parser.on('error', () => reject(broken))
    parser.on('close', () => reject(broken))
    parser.on('finish', () => reject(broken))
    parser.end(Buffer.from(bytes))
    return promise
}
