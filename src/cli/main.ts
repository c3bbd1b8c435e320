/** proxsavectl: finds the command, reads its options, runs it, and says in one line what went wrong. */
import type { Command as Commander } from 'commander'
import { asFault, exitStatusOf, Fault, toRecord } from '../core/errors.ts'
import type { Client, LocalFiles, Terminal } from '../client/types.ts'
import {
    type Cli,
    type Command,
    type CommandGroup,
    defaultSocket,
    type LocalGuards,
    type Options,
    statusMeanings,
} from './command.ts'
import { commands } from './commands/index.ts'
import { createOutput } from './output.ts'

export interface Outside {
    terminal: Terminal
    connect(socket: string, by: string): Client
    files: LocalFiles
    /** For when the daemon cannot be reached; none in tests. */
    guards?: () => Promise<LocalGuards>
    version: string
}

/** Runs one command line; resolves to the exit status and never throws. */
export async function runCli(args: readonly string[], outside: Outside): Promise<number> {
    const { terminal } = outside
    // Known before the options are parsed, because a wrong option is an error document too.
    const json = args.includes('--json')
    try {
        return await dispatch(args, outside)
    } catch (error) {
        const fault = asFault(error)
        if (json) terminal.out(`${JSON.stringify({ error: toRecord(fault) })}\n`)
        else {
            const message = fault.message.startsWith('cannot ')
                ? fault.message
                : `cannot go on: ${fault.message}`
            terminal.err(`proxsavectl: ${message}\n`)
            if (fault.hint !== undefined) terminal.err(`hint: ${fault.hint}\n`)
        }
        return fault.exitStatus
    }
}

async function dispatch(args: readonly string[], outside: Outside): Promise<number> {
    const { terminal, version } = outside
    const at = commandPosition(args)
    const name = at < 0 ? undefined : args[at]
    const before = at < 0 ? args : args.slice(0, at)
    if (before.includes('--version') || before.includes('-V')) {
        terminal.out(`proxsavectl ${version}\n`)
        return 0
    }
    if (name === undefined || name === 'help' || before.includes('--help') || before.includes('-h')) {
        const topic = name === 'help' ? args[at + 1] : undefined
        if (topic !== undefined) return dispatch([...args.slice(at + 1), '--help'], outside)
        const stranger = before.find(word => word.startsWith('-') && !globalFlags.has(word.split('=')[0]!))
        if (stranger !== undefined)
            throw new Fault('usage', `cannot understand ${stranger}: there is no such option`, {
                hint: 'see proxsavectl --help',
            })
        const wanted = name !== undefined || before.length > 0
        await printHelp(terminal, wanted)
        return wanted ? 0 : exitStatusOf.usage
    }
    const load = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (load === undefined) throw await unknownCommand(name, Object.keys(commands), 'proxsavectl')
    const { command } = await load()
    return runParsed(name, command, [...before, ...args.slice(at + 1)], outside)
}

const globalFlags = new Set(['--json', '--socket', '--help', '-h', '--version', '-V'])

/** The first word that is neither an option nor the value of `--socket`. */
function commandPosition(args: readonly string[]): number {
    for (let at = 0; at < args.length; at++) {
        if (args[at] === '--socket') at++
        else if (!args[at]!.startsWith('-')) return at
    }
    return -1
}

async function unknownCommand(name: string, known: string[], parent: string): Promise<Fault> {
    const { closest, distance } = await import('fastest-levenshtein')
    const nearest = closest(name, known)
    const changes = distance(name, nearest)
    const near = changes <= 2 && changes * 2 < name.length
    return new Fault('usage', `cannot understand "${name}": ${parent} has no such command`, {
        hint: near ? `did you mean ${parent} ${nearest}?` : `see ${parent} --help`,
    })
}

async function runParsed(
    name: string,
    command: Command | CommandGroup,
    args: string[],
    outside: Outside,
): Promise<number> {
    const { Command: CommanderClass, CommanderError, Option: CommanderOption } = await import('commander')
    let status = 0

    const build = (parsed: Commander, path: string, spec: Command) => {
        // Broken into lines by commander, for the width of the terminal.
        const about = spec.about?.replaceAll('\n', ' ')
        parsed.summary(spec.summary)
        parsed.description(about === undefined ? spec.summary : `${spec.summary}\n\n${about}`)
        for (const { usage, about } of spec.arguments ?? []) parsed.argument(usage, about)
        for (const { flags, about, repeat, hidden } of spec.options ?? []) {
            const option = new CommanderOption(flags, about)
            if (repeat)
                option.argParser((value: string, old: string[] | undefined) => [...(old ?? []), value])
            parsed.addOption(hidden ? option.hideHelp() : option)
        }
        addGlobalOptions(parsed)
        parsed.addHelpText('after', () => helpEnd(spec))
        parsed.allowExcessArguments(false)
        parsed.action(async (...given: unknown[]) => {
            const options = parsed.optsWithGlobals() as Options
            const positional = given.slice(0, (spec.arguments ?? []).length) as (
                | string
                | string[]
                | undefined
            )[]
            status = await spec.run(cliFor(options, outside), positional, options)
        })
        return path
    }

    const harden = (parsed: Commander, path: string) => {
        parsed.exitOverride()
        parsed.configureOutput({
            writeOut: text => outside.terminal.out(text),
            writeErr: () => undefined,
            getOutHelpWidth: () => outside.terminal.columns || 100,
        })
        parsed.name(path)
    }

    const top = new CommanderClass()
    harden(top, `proxsavectl ${name}`)
    let help = `proxsavectl ${name} --help`
    if ('commands' in command) {
        const verb = args.find((word, at) => !word.startsWith('-') && args[at - 1] !== '--socket')
        if (verb !== undefined && !Object.hasOwn(command.commands, verb))
            throw await unknownCommand(verb, Object.keys(command.commands), `proxsavectl ${name}`)
        top.description(command.summary)
        addGlobalOptions(top)
        top.addHelpText('after', () => groupHelpEnd(name, command))
        for (const [verbName, spec] of Object.entries(command.commands)) {
            const child = top.command(verbName, { hidden: spec.hidden === true })
            harden(child, verbName)
            build(child, `proxsavectl ${name} ${verbName}`, spec)
        }
        top.helpCommand(false)
        if (verb !== undefined) help = `proxsavectl ${name} ${verb} --help`
        else if (!args.includes('--help') && !args.includes('-h'))
            throw new Fault(
                'usage',
                `cannot run ${name} alone: say which of ${Object.keys(command.commands).join(', ')}`,
                {
                    hint: `see ${help}`,
                },
            )
    } else build(top, help, command)

    try {
        await top.parseAsync(args, { from: 'user' })
    } catch (error) {
        if (!(error instanceof CommanderError)) throw error
        if (error.code === 'commander.helpDisplayed' || error.code === 'commander.help') return 0
        throw usageFault(error.message, help)
    }
    return status
}

function addGlobalOptions(parsed: Commander): void {
    parsed.option('--json', 'print one JSON document (NDJSON for a change)')
    parsed.option('--socket <path>', 'socket of the daemon (or PROXSAVE_SOCKET)')
    parsed.helpOption('-h, --help', 'show this help')
}

/** commander's "error: unknown option '--dep'\n(Did you mean --deep?)" in our own form. */
function usageFault(message: string, help: string): Fault {
    const [first = '', meant] = message.split('\n')
    const why = first.replace(/^error: /, '')
    const suggestion = meant?.replace(/^\(Did you mean (one of )?/, 'did you mean ').replace(/\)$/, '')
    return new Fault('usage', `cannot understand the command line: ${why}`, {
        hint: suggestion ?? `see ${help}`,
    })
}

function cliFor(options: Options, { terminal, connect, files, guards, version }: Outside): Cli {
    const socket = String(options.socket ?? (terminal.env.PROXSAVE_SOCKET || defaultSocket))
    return {
        client: connect(socket, terminal.user),
        socket,
        output: createOutput(terminal),
        terminal,
        files,
        guards,
        version,
        json: options.json === true,
    }
}

function helpEnd(spec: Command): string {
    return `\n${statusHelp(spec.statuses)}\n\nExample:\n  ${spec.example}`
}

function groupHelpEnd(name: string, group: CommandGroup): string {
    const verbs = Object.values(group.commands).filter(({ hidden }) => hidden !== true)
    const statuses = statusHelp(verbs.flatMap(verb => verb.statuses))
    return `\n  proxsavectl ${name} COMMAND --help says more.\n\n${statuses}\n\nExample:\n  ${verbs[0]!.example}`
}

function statusHelp(own: readonly number[]): string {
    const statuses = [...new Set([...own, 2, 3])].sort((a, b) => a - b)
    return `Exit status:\n${statuses.map(status => `  ${status}  ${statusMeanings[status]}`).join('\n')}`
}

async function printHelp(terminal: Terminal, wanted: boolean): Promise<void> {
    const rows: string[] = []
    for (const [name, load] of Object.entries(commands)) {
        const { command } = await load()
        if ('hidden' in command && command.hidden) continue
        rows.push(`  ${name.padEnd(9)} ${command.summary}`)
    }
    const text = `Usage: proxsavectl COMMAND [arguments] [--json] [--socket PATH]

Saves the configuration of a Proxmox host and gives it back.

${rows.join('\n')}

  proxsavectl COMMAND --help says more; --version prints the version.
  BACKUP is an id, the beginning of one, latest, or the path of a file.

Exit status:
${Object.entries(statusMeanings)
    .map(([status, meaning]) => `  ${status}  ${meaning}`)
    .join('\n')}

Example:
  proxsavectl backup && proxsavectl list
`
    if (wanted) terminal.out(text)
    else terminal.err(text)
}
