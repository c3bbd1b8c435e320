/** zstd frames: what their headers promise, checked before anything is decompressed. */
import { Fault } from '../core/errors.ts'

const ZSTD_MAGIC = 0xfd2fb528

/**
 * The plain size that a zstd frame's header declares (RFC 8878, 3.1.1.1); undefined when it declares none or is no
 * frame. A reader compares it with what it expects, so that a small file cannot unfold into a large one.
 */
export function declaredSize(frame: Uint8Array): number | undefined {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
    if (frame.length < 6 || view.getUint32(0, true) !== ZSTD_MAGIC) return undefined
    const descriptor = frame[4]!
    const singleSegment = (descriptor & 0x20) !== 0
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!
    const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!
    const at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes
    if (sizeBytes === 0 || frame.length < at + sizeBytes) return undefined
    if (sizeBytes === 1) return view.getUint8(at)
    if (sizeBytes === 2) return view.getUint16(at, true) + 256
    if (sizeBytes === 4) return view.getUint32(at, true)
    return Number(view.getBigUint64(at, true))
}

/** Decompresses one frame that must hold exactly `plain` bytes. */
export function decompressFrame(frame: Uint8Array, plain: number): Uint8Array {
    const declared = declaredSize(frame)
    if (declared !== plain)
        throw new Fault(
            'damaged',
            `cannot decompress a frame: it declares ${declared ?? 'no'} bytes, not ${plain}`,
        )
    let bytes: Uint8Array
    try {
        bytes = Bun.zstdDecompressSync(frame as Uint8Array<ArrayBuffer>)
    } catch (error) {
        throw new Fault('damaged', 'cannot decompress a frame: its data is broken', { cause: error })
    }
    // The synchronous decompressor takes truncated input without a word.
    if (bytes.length !== plain) throw new Fault('damaged', 'cannot decompress a frame: its data is cut')
    return bytes
}
