/** The shapes that the parts of a restore share: what is asked for, what will be done, and what its tasks are given. */
import type { Strategy } from '../catalog/category.ts'
import type { PlannedTask, Question } from '../engine/change.ts'

export type Mode = 'full' | 'storage' | 'base' | 'custom'
export type ClusterMode = 'safe' | 'recovery'

/** What a person asks for. Everything that is not given becomes a question, in the order of the workflow. */
export interface RestoreRequest {
    /** Id, prefix, `latest` or absolute path. */
    backup?: string
    mode?: Mode
    /** For `custom`; category ids. */
    categories?: string[]
    cluster?: ClusterMode
    /** Backups of other hosts are offered too. */
    allHosts?: boolean
    /** Also remove what the backup does not have. */
    exact?: boolean
    /** Answers by question id: given ahead, or to what an earlier round asked. */
    answers: Record<string, string>
    /** Nobody can be asked: questions take their safe default, and what has none refuses. */
    interactive: boolean
}

/** One path that a task of kind `restore.files` puts in place, replaces or removes. */
export interface FileAction {
    /** Absolute path on the host, UTF-8 or with escaped bytes for display; `bytes` (latin1) is what is used. */
    path: string
    bytes: string
    action: 'create' | 'replace' | 'metadata' | 'remove'
    type: 'file' | 'directory' | 'symlink' | 'hardlink'
    category: string
}

export interface CategoryPlan {
    id: string
    title: string
    strategy: Strategy
    /** What really happens: a strategy that is not available on this host or in this version becomes `export`. */
    action: Strategy | 'skip'
    /** Why it is exported or skipped although its strategy says otherwise. */
    why?: string
    entries: number
    bytes: number
}

/** The plan as it is shown and as it is executed: `restore --plan` prints exactly this. */
export interface RestorePlan {
    backup: {
        id: string
        path: string
        created: string
        host: string
        maker: 'proxsave' | 'upstream'
        signature: string
    }
    mode: Mode
    cluster?: ClusterMode
    exact: boolean
    categories: CategoryPlan[]
    files: {
        create: string[]
        replace: string[]
        metadata: string[]
        remove: string[]
        /** Made one of what the host and the backup have, by the rule of the file. */
        merge: string[]
        unchanged: number
    }
    /** Directory of the exports, when there are any. */
    exports?: { directory: string; categories: string[] }
    /** Units that are stopped before and started after, in the order of stopping. */
    services: { unit: string; state: string }[]
    /** For somebody who came in over SSH to an address that would go: to be read before anything else. */
    console?: string
    /** What is applied under a guard, behind everything else, in this order. */
    guards: {
        area: string
        title: string
        apply?: string
        commit: string
        timeoutMs: number
        files: number
    }[]
    /** Commands that will run as root, and lines of restored files that would. */
    commands: string[]
    warnings: string[]
    /** Bytes that staging and snapshot need below the state directory. */
    needs: { bytes: number; inodes: number }
    /** What `undo` cannot take back afterwards. */
    irreversible: string[]
    tasks: PlannedTask[]
}

/** The answer to a request for a plan: the next question, or the plan itself. */
export type Planned =
    | { question: Question & { error?: string } }
    /** `digest` names what the plan would do; a start with it is refused when the host has changed since. */
    | { plan: RestorePlan; digest: string }
