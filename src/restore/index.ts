/** What a worker does for a restore, by operation name. */
import type { Operation } from '../engine/operation.ts'
import { restoreCompareDatabase, restoreExamineDatabase } from './cluster.ts'
import { restoreExamine } from './open.ts'
import { restoreSurvey } from './survey.ts'
import { archiveStage } from './unpack.ts'

export const operations: Record<string, Operation> = {
    'archive.stage': archiveStage,
    'restore.compare-database': restoreCompareDatabase,
    'restore.examine': restoreExamine,
    'restore.examine-database': restoreExamineDatabase,
    'restore.survey': restoreSurvey,
}
