/** The operations that a worker runs. Each is loaded when it is asked for: a listing needs no database and no globs. */
import type { Operation } from '../engine/operation.ts'

export const operations: Record<string, Operation> = {
    'archive.write': async (params, io) => (await import('./write.ts')).writeArchive(params, io),
    'archive.verify': async (params, io) => (await import('./verify.ts')).archiveVerify(params, io),
    'archive.files': async (params, io) => (await import('./files.ts')).archiveFiles(params, io),
    'archive.decrypt': async (params, io) => (await import('./decrypt.ts')).archiveDecrypt(params, io),
    'archive.extract': async (params, io) => (await import('./extract.ts')).archiveExtract(params, io),
    'archive.diff': async (params, io) => (await import('./diff.ts')).archiveDiff(params, io),
}
