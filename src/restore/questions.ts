/** The questions of the conversation that makes a plan: their ids are part of the contract, their words are not. */
import type { BackupInfo } from '../core/answers.ts'
import { showSize } from '../core/units.ts'
import type { Question } from '../engine/change.ts'
import { type Held, modes } from './modes.ts'

/** A question of the conversation, with what was wrong with the answer before. */
export type Ask = Question & { error?: string }

export function askSource(targets: readonly { name: string; place: string; count?: number }[]): Ask {
    return {
        id: 'source',
        text: 'Where is the backup?',
        choices: [
            ...targets.map(({ name, place, count }) => ({
                value: name,
                text: `${name} (${place})${count === undefined ? '' : `: ${count === 1 ? '1 backup' : `${count} backups`}`}`,
            })),
            { value: 'path', text: 'a file: name it by its path' },
        ],
        safe: targets[0]?.name ?? 'path',
    }
}

export function askBackup(backups: readonly BackupInfo[], foreign: boolean): Ask {
    return {
        id: 'backup',
        text: foreign ? 'Which backup? None is of this host; these are of others' : 'Which backup?',
        choices: backups.map(backup => ({
            value: backup.id,
            text: [
                `${backup.created.slice(0, 16).replace('T', ' ')} UTC`,
                backup.host,
                showSize(backup.size),
                backup.encrypted ? 'encrypted' : 'plain',
                backup.note ?? '',
            ]
                .filter(part => part !== '')
                .join('  '),
        })),
        safe: '',
    }
}

export const askPath = (error?: string): Ask => ({
    id: 'backup',
    text: 'Path of the backup file',
    choices: [],
    safe: '',
    error,
})

export function askMethod(methods: { host: boolean; passphrase: boolean }, error?: string): Ask {
    return {
        id: 'decrypt.method',
        text: 'The backup is encrypted. What opens it?',
        choices: [
            ...(methods.passphrase ? [{ value: 'passphrase', text: 'the passphrase' }] : []),
            { value: 'identity', text: 'a private identity: AGE-SECRET-KEY-1… or an ssh key' },
            ...(methods.host ? [{ value: 'host', text: 'the identity of this host' }] : []),
        ],
        safe: '',
        error,
    }
}

export const askPassphrase = (error?: string): Ask => ({
    id: 'decrypt.passphrase',
    text: 'Passphrase of the backup',
    choices: [],
    safe: '',
    secret: true,
    error,
})

export const askIdentity = (error?: string): Ask => ({
    id: 'decrypt.identity',
    text: 'Private identity (one line)',
    choices: [],
    safe: '',
    secret: true,
    error,
})

export function askUntrusted(who: string): Ask {
    return {
        id: 'signature.untrusted',
        text: `${who}. Its content would be written as root. Restore it all the same?`,
        choices: [
            { value: 'no', text: 'no, stop here' },
            { value: 'yes', text: 'yes, I know where this file comes from' },
        ],
        safe: 'no',
    }
}

export function askMismatch(mismatches: readonly string[], consequence?: string): Ask {
    return {
        id: 'compat.mismatch',
        text: `${mismatches.map(line => `- ${line}`).join('\n')}\n${
            consequence === undefined ? '' : `${consequence}\n`
        }Type yes to go on`,
        choices: [],
        safe: 'no',
    }
}

export const askMode = (): Ask => ({
    id: 'mode',
    text: 'What shall be restored?',
    choices: [...modes],
    safe: '',
})

/** The answer is a list of ids with commas between. */
export function askCategories(held: readonly Held[], chosen: readonly string[], error?: string): Ask {
    return {
        id: 'categories',
        text: 'Which categories?',
        choices: held.map(({ id, title, entries, bytes }) => ({
            value: id,
            text: `${title} (${entries === 1 ? '1 entry' : `${entries} entries`}, ${showSize(bytes)})`,
        })),
        safe: chosen.join(','),
        error,
    }
}

export const askCluster = (): Ask => ({
    id: 'cluster.mode',
    text: 'The backup is of a node of a cluster. What shall happen with the cluster database?',
    choices: [
        { value: 'safe', text: 'SAFE: leave the database alone, export what was in it' },
        {
            value: 'recovery',
            text: 'RECOVERY: replace the database; only for a node that is isolated, when the cluster is lost',
        },
    ],
    safe: 'safe',
})

export const askConfirm = (text: string): Ask => ({
    id: 'confirm',
    text,
    choices: [],
    safe: '',
})

export const askIsolated = (): Ask => ({
    id: 'cluster.isolated',
    text: 'RECOVERY puts the old database of the cluster back. Other members that are reachable would be drawn into two histories at once. Are they off or disconnected, and are the guests of this node stopped?',
    choices: [
        { value: 'no', text: 'no, stop here' },
        { value: 'yes', text: 'yes, this node is isolated' },
    ],
    safe: 'no',
})
