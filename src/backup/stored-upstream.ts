/** The head of an archive of the Go ProxSave that lies on a source: read in as few looks as possible. */
import { isUpstream, readBundleHead, readLooseHead, type UpstreamHead } from '../archive/upstream-head.ts'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Source, StoredArchive } from '../engine/target.ts'

/** Headers and manifest together, on either side of the archive. */
const windowBytes = 64 * 1024

/** Throws `usage` and `damaged` faults, and those of the source. */
export async function readStoredUpstream(source: Source, stored: StoredArchive): Promise<UpstreamHead> {
    const path = `${source.place}: ${stored.name}`
    if (!isUpstream(stored.name)) throw new Fault('usage', `cannot read ${path}: it has another name`)
    if (stored.name.endsWith('.bundle.tar')) {
        let window = { at: 0, bytes: new Uint8Array() as Uint8Array }
        const read = async (offset: number, length: number) => {
            const end = Math.min(offset + length, stored.size)
            if (offset < window.at || end > window.at + window.bytes.length)
                window = {
                    at: offset,
                    bytes: await source.read(stored.name, offset, Math.max(length, windowBytes)),
                }
            return window.bytes.subarray(offset - window.at, offset - window.at + length)
        }
        return readBundleHead({ size: stored.size, read }, stored.name, path)
    }
    const beside = async (suffix: string) => {
        const file = stored.beside?.find(({ name }) => name === `${stored.name}${suffix}`)
        if (file === undefined) return undefined
        if (file.size > limits.manifestBytes)
            throw new Fault('damaged', `cannot read ${path}: ${file.name} is too large`)
        return source.read(file.name, 0, file.size)
    }
    return readLooseHead(stored.name, stored.size, beside, path)
}
