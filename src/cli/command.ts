/** The shape of one command: data that help, completion and man pages are made from, and the function that runs it. */
import type { Client, GuardInfo, LocalFiles, Terminal } from '../client/types.ts'
import type { Output } from './output.ts'

export const defaultSocket = '/run/proxsave/proxsave.sock'

/** Guards of this very host, decided without the daemon. Throws what the daemon would answer. */
export interface LocalGuards {
    list(): GuardInfo[]
    commit(reference: string | undefined, by: string): Promise<GuardInfo>
    /** Does not wait until it is done. */
    rollback(reference: string | undefined, by: string): Promise<GuardInfo>
}

/** What every command is given; nothing else reaches the outside. */
export interface Cli {
    client: Client
    /** Path of the socket, for messages. */
    socket: string
    output: Output
    terminal: Terminal
    files: LocalFiles
    /** Loaded when the daemon cannot be reached. */
    guards: (() => Promise<LocalGuards>) | undefined
    version: string
    /** `--json` was given. */
    json: boolean
}

export interface Argument {
    /** As commander has it: `<path>` required, `[backup]` optional, `...` for several. */
    usage: string
    about: string
}

export interface Option {
    /** As commander has it: `--output <path>`. */
    flags: string
    about: string
    /** May be given more than once; the value is then a list. */
    repeat?: true
    /** Works, but is for units and hooks: not in help or completion. */
    hidden?: true
}

/** Values of the options by their camel-case names. */
export type Options = Record<string, string | string[] | boolean | undefined>

export interface Command {
    summary: string
    /** A few sentences more, for the command's own help. */
    about?: string
    arguments?: Argument[]
    options?: Option[]
    /** Statuses that it can end with, besides 2 and 3 which every command has. */
    statuses: readonly number[]
    example: string
    hidden?: true
    /** Resolves to the exit status. */
    run(cli: Cli, args: (string | string[] | undefined)[], options: Options): Promise<number>
}

/** A command that only leads to others: `keys generate`. */
export interface CommandGroup {
    summary: string
    commands: Record<string, Command>
}

/** What each exit status means, as every command's help says it. */
export const statusMeanings: Readonly<Record<number, string>> = {
    0: 'done',
    1: 'failed, nothing changed or all undone',
    2: 'wrong usage',
    3: 'the daemon cannot be reached',
    4: 'cancelled or refused by a person',
    5: 'backup damaged, unsigned by a known key, or wrong key',
    6: 'done with warnings, or done in part',
    7: 'rolled back',
    8: 'another change is running, or an armed guard waits',
    9: 'failed and could not be fully undone; the report says what is left',
}
