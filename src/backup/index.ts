/** The operations that a worker runs. */
import { archiveDecrypt } from './decrypt.ts'
import { archiveDiff } from './diff.ts'
import { archiveExtract } from './extract.ts'
import { archiveFiles } from './files.ts'
import type { Operation } from './operation.ts'
import { archiveVerify } from './verify.ts'
import { writeArchive } from './write.ts'

export const operations: Record<string, Operation> = {
    'archive.write': writeArchive,
    'archive.verify': archiveVerify,
    'archive.files': archiveFiles,
    'archive.decrypt': archiveDecrypt,
    'archive.extract': archiveExtract,
    'archive.diff': archiveDiff,
}
