/** The shapes that travel over the socket, for those who only print them. */
export type {
    BackupDetail,
    BackupInfo,
    BackupList,
    ChangeInfo,
    ChangeList,
    Check,
    Doctor,
    ExportsAnswer,
    GuardInfo,
    GuardList,
    JobInfo,
    JobList,
    KeyInfo,
    Keys,
    PruneAnswer,
    PruneDecision,
    SetupAnswer,
    SetupState,
    Sheet,
    StartedChange,
    Status,
} from '../core/answers.ts'
export type { ChangeEvent, ProgressEvent, Question, Result } from '../engine/change.ts'
export type { WorkerEvent } from '../engine/worker.ts'
export type { CallOptions, Client } from './client.ts'
export type { LocalFiles } from './files.ts'
export type { Terminal } from './terminal.ts'
