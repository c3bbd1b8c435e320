/** What a worker does for a restore, by operation name. */
import type { Operation } from '../engine/operation.ts'
import { restoreExamine } from './open.ts'
import { restoreSurvey } from './survey.ts'
import { archiveStage } from './unpack.ts'

export const operations: Record<string, Operation> = {
    'archive.stage': archiveStage,
    'restore.examine': restoreExamine,
    'restore.survey': restoreSurvey,
}
