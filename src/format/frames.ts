/** zstd frames: what their headers promise, checked before anything is decompressed. */
import { Fault } from '../core/errors.ts'

const ZSTD_MAGIC = 0xfd2fb528

/**
 * The plain size that a zstd frame's header declares (RFC 8878, 3.1.1.1); undefined when it declares none or when the
 * bytes are not exactly one frame. A reader compares it with what it expects, so that a small file cannot unfold into a
 * large one: the decompressor never goes beyond what a frame declares, but it would go on with a frame behind it.
 */
export function declaredSize(frame: Uint8Array): number | undefined {
    const header = readFrameHeader(frame)
    return header !== undefined && endsExactly(frame, header) ? header.plain : undefined
}

interface FrameHeader {
    plain: number
    length: number
    checksum: boolean
}

function readFrameHeader(frame: Uint8Array): FrameHeader | undefined {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
    if (frame.length < 6 || view.getUint32(0, true) !== ZSTD_MAGIC) return undefined
    const descriptor = frame[4]!
    const singleSegment = (descriptor & 0x20) !== 0
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!
    const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!
    const at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes
    if (sizeBytes === 0 || frame.length < at + sizeBytes) return undefined
    const plain =
        sizeBytes === 1
            ? view.getUint8(at)
            : sizeBytes === 2
              ? view.getUint16(at, true) + 256
              : sizeBytes === 4
                ? view.getUint32(at, true)
                : Number(view.getBigUint64(at, true))
    return { plain, length: at + sizeBytes, checksum: (descriptor & 0x04) !== 0 }
}

/** Walks the blocks (RFC 8878, 3.1.1.2): whether the last one ends where the bytes do. */
function endsExactly(frame: Uint8Array, header: FrameHeader): boolean {
    for (let at = header.length; at + 3 <= frame.length; ) {
        const block = frame[at]! | (frame[at + 1]! << 8) | (frame[at + 2]! << 16)
        const repeated = ((block >> 1) & 3) === 1
        at += 3 + (repeated ? 1 : block >> 3)
        if ((block & 1) !== 0) return at + (header.checksum ? 4 : 0) === frame.length
    }
    return false
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
