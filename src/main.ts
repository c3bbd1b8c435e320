/** The one binary: the name it is called by, or its first argument, decides which of its programs it is. */
import { version } from '../package.json'

const roles = ['proxsavectl', 'proxsaved', 'worker', 'generator', 'rollback'] as const
type Role = (typeof roles)[number]

const help = `Usage: proxsave ROLE [arguments]

  proxsavectl   the command line: asks the daemon and prints
  proxsaved     the daemon
  worker        reads or writes one archive for the daemon
  generator     turns the jobs of the configuration into systemd timers
  rollback      returns to the state before a guarded change; needs no daemon

Called by one of these names, it plays that role. See proxsavectl --help.
`

/** A link's name wins; the plain binary takes the role as its first argument. */
function chooseRole(name: string, args: string[]): { role: Role | undefined; args: string[] } {
    const known = (word: string | undefined) => roles.find(role => role === word)
    if (name === 'proxsave-generator') return { role: 'generator', args }
    const byName = known(name)
    if (byName !== undefined) return { role: byName, args }
    return { role: known(args[0]), args: args.slice(1) }
}

/** How this very program is started again as another role; `/proc/self/exe` stays the same through an upgrade. */
function ownCommand(): [string, ...string[]] {
    return Bun.main.startsWith('/$bunfs/') ? ['/proc/self/exe'] : ['/proc/self/exe', Bun.main]
}

/** Guards of this host, for when no daemon answers. */
async function guardsHere() {
    const { localGuards } = await import('./guard/local.ts')
    const { defaultState } = await import('./guard/decide.ts')
    const { realDisk } = await import('./host/disk.ts')
    const { systemClock } = await import('./host/clock.ts')
    const { exec } = await import('./host/exec.ts')
    const { launch } = await import('./host/launch.ts')
    const { originOf } = await import('./host/origin.ts')
    const { ownAddresses } = await import('./host/reach.ts')
    return localGuards({
        disk: realDisk(),
        state: defaultState,
        clock: systemClock,
        exec,
        launch,
        origin: () => originOf(process.pid),
        addresses: ownAddresses,
    })
}

async function run(): Promise<number> {
    const name = process.argv0.slice(process.argv0.lastIndexOf('/') + 1)
    const { role, args } = chooseRole(name, process.argv.slice(2))
    // Answered before anything is loaded: completion and monitoring ask often.
    if (args.length === 1 && (args[0] === '--version' || args[0] === '-V') && role !== 'worker') {
        process.stdout.write(`${role ?? 'proxsave'} ${version}\n`)
        return 0
    }
    switch (role) {
        case 'proxsavectl': {
            const { runCli } = await import('./cli/main.ts')
            const { systemTerminal } = await import('./client/terminal.ts')
            const { connect } = await import('./client/client.ts')
            const { localFiles } = await import('./client/files.ts')
            return runCli(args, {
                terminal: systemTerminal(),
                connect,
                files: localFiles(),
                guards: guardsHere,
                version,
            })
        }
        case 'proxsaved': {
            const { runDaemon } = await import('./daemon/start.ts')
            return runDaemon(args, { version, command: ownCommand() })
        }
        case 'worker': {
            const { work } = await import('./daemon/worker.ts')
            const { operations } = await import('./backup/index.ts')
            const { operations: restoring } = await import('./restore/index.ts')
            const stop = new AbortController()
            process.on('SIGTERM', () => stop.abort())
            const status = await work(
                await Bun.stdin.text(),
                { ...operations, ...restoring },
                writeOut,
                stop.signal,
            )
            process.exit(status)
            break
        }
        case 'generator': {
            const { runGenerator } = await import('./schedule/generator.ts')
            return runGenerator(args)
        }
        case 'rollback': {
            const { runRollback } = await import('./guard/rollback.ts')
            const { rollbackHost } = await import('./guard/standalone.ts')
            return runRollback(args, rollbackHost)
        }
        default: {
            const asked = process.argv.slice(2)
            if (asked.length === 0 || asked[0] === '--help' || asked[0] === '-h') {
                process.stdout.write(help)
                return asked.length === 0 ? 2 : 0
            }
            if (asked[0] === '--version' || asked[0] === '-V') {
                process.stdout.write(`proxsave ${version}\n`)
                return 0
            }
            process.stderr.write(`proxsave: cannot play the role ${asked[0]}: there is none of that name\n`)
            process.stderr.write('hint: see proxsave --help\n')
            return 2
        }
    }
}

/** Resolves when the reader took it: a worker must not fill its memory with lines that nobody reads. */
function writeOut(line: string): Promise<void> {
    return new Promise(resolve => {
        process.stdout.write(line, () => resolve())
    })
}

try {
    process.exitCode = await run()
} catch (error) {
    // Whatever was not foreseen is told in one line; a stack trace helps nobody at a terminal.
    process.stderr.write(
        `proxsave: cannot go on: ${error instanceof Error ? error.message : String(error)}\n`,
    )
    process.exitCode = 1
}
