/** proxsaved: puts the daemon together, and the order in which it starts and stops. */
import { randomBytes } from 'node:crypto'
import { dirname, isAbsolute, join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Identity } from '../archive/unlock.ts'
import { archiveDiscard, archiveWrite } from '../backup/write-task.ts'
import { asFault, Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { TaskKinds } from '../engine/kinds.ts'
import { lockState } from '../engine/lock.ts'
import { Runner } from '../engine/runner.ts'
import { Store } from '../engine/store.ts'
import { guardAreas } from '../guard/areas/index.ts'
import { registerGuardTasks } from '../guard/index.ts'
import type { GuardHost } from '../guard/tasks.ts'
import { tendArmed } from '../guard/tend.ts'
import { listGuards } from '../guard/record.ts'
import { sweepEnded } from '../guard/sweep.ts'
import { systemClock } from '../host/clock.ts'
import { realDisk } from '../host/disk.ts'
import { exec } from '../host/exec.ts'
import { launch } from '../host/launch.ts'
import { type Notifier, notifierOf } from '../host/notify.ts'
import { keepProgram } from '../host/program.ts'
import { DbusSystemd } from '../host/systemd.ts'
import { withTimers } from '../host/timer.ts'
import { watchDirectory } from '../host/watch.ts'
import { workerRunner } from '../host/worker.ts'
import { adoptHost, loadHost } from '../keys/host-identity.ts'
import { registerKeyTasks } from '../keys/index.ts'
import { keyPaths } from '../keys/paths.ts'
import { readSchedule } from '../schedule/apply.ts'
import { registerDatabaseTasks } from '../restore/database.ts'
import { registerHostTasks } from '../restore/host-tasks.ts'
import { peerProbe } from '../restore/isolation.ts'
import { registerFileTasks } from '../restore/tasks.ts'
import { registerSetupTasks } from '../setup/index.ts'
import { archiveRemove, targetPublish } from '../targets/tasks.ts'
import { writeChangeLog } from './change-log.ts'
import { Daemon } from './daemon.ts'
import { type Log, logTo } from './log.ts'
import { Router } from './router.ts'
import { routes } from './routes/index.ts'
import { listen } from './server.ts'
import { skippedHere } from './status.ts'
import { waitForLock, workerLock } from './worker.ts'

export interface DaemonOptions {
    version: string
    /** How this program is started again as another role. */
    command: [string, ...string[]]
}

const help = `Usage: proxsaved [--root DIR] [--state DIR] [--socket PATH]

The daemon of proxsave: serves proxsavectl, runs backups and restores.

  --root DIR     serve the tree DIR as if it were / (default /)
  --state DIR    keys, journal, cache (default /var/lib/proxsave below the root)
  --socket PATH  where to listen (default /run/proxsave/proxsave.sock below the root)
  --version      print the version
  --help         show this

SIGHUP reads the configuration again, SIGTERM stops cleanly.

Exit status:
  0  stopped as asked
  1  cannot serve
  2  wrong usage
  8  another daemon serves this state directory or socket

Example:
  proxsaved --root /mnt --state /tmp/state --socket /tmp/proxsave.sock
`

export async function runDaemon(args: readonly string[], options: DaemonOptions): Promise<number> {
    const log = logTo(text => void process.stderr.write(text), process.env.JOURNAL_STREAM !== undefined)
    try {
        const places = readArguments(args)
        if (places === undefined) {
            process.stdout.write(help)
            return 0
        }
        return await serve(places, options, log)
    } catch (error) {
        const fault = asFault(error)
        process.stderr.write(`proxsaved: ${fault.message}\n`)
        if (fault.hint !== undefined) process.stderr.write(`hint: ${fault.hint}\n`)
        return fault.exitStatus
    }
}

interface Places {
    root: string
    state: string
    socket: string
}

function readArguments(args: readonly string[]): Places | undefined {
    let values: { root?: string; state?: string; socket?: string; help?: boolean }
    try {
        values = parseArgs({
            args: [...args],
            options: {
                root: { type: 'string' },
                state: { type: 'string' },
                socket: { type: 'string' },
                help: { type: 'boolean', short: 'h' },
            },
        }).values
    } catch (error) {
        const why = error instanceof Error ? error.message.split('\n')[0] : String(error)
        throw new Fault('usage', `cannot understand the command line: ${why}`, {
            hint: 'see proxsaved --help',
        })
    }
    if (values.help === true) return undefined
    const root = absolute(values.root ?? '/')
    return {
        root,
        state: absolute(values.state ?? join(root, 'var/lib/proxsave')),
        socket: absolute(values.socket ?? join(root, 'run/proxsave/proxsave.sock')),
    }
}

function absolute(path: string): string {
    const full = isAbsolute(path) ? path : join(process.cwd(), path)
    return full.length > 1 ? full.replace(/\/+$/, '') || '/' : full
}

/** Serves until it is told to stop. */
async function serve({ root, state, socket }: Places, options: DaemonOptions, log: Log): Promise<number> {
    process.umask(0o077)
    const disk = realDisk()
    const lock = lockState(disk, state)
    const notifier = notifierOf(process.env)
    // Nothing that is asked for here is a reason to end the only process that can finish a change.
    process.on('unhandledRejection', error => log.error(`unexpected: ${asFault(error).message}`))
    process.on('SIGPIPE', () => undefined)

    const { daemon, guards } = assemble({ root, state }, options, log)
    // Before anybody can know that we are here, so that no signal ends us unprepared.
    const stopped = Promise.withResolvers<void>()
    const stop = listenToSignals(daemon, notifier, stopped.resolve)
    const server = await listen({
        path: socket,
        router: new Router(routes),
        daemon,
        log,
        uid: process.getuid?.() ?? 0,
    })
    notifier.ready('ready')
    log.notice(`proxsaved ${options.version} serves ${root} at ${socket}, state in ${state}`)
    for (const text of skippedHere(daemon)) log.info(`skipped: ${text}`)

    const pulse = beat(notifier)
    const rest = restBetweenRequests(daemon)
    const watch = watchDirectory(
        daemon.keys.config,
        1,
        () => {
            if (daemon.configChanged()) void reload(daemon, notifier)
        },
        error => log.warning(`cannot watch ${daemon.keys.config}: ${asFault(error).message}`),
    )
    const restart = watchForRestart(daemon, join(dirname(socket), 'restart-when-idle'), stopped.resolve)
    await recover(daemon, guards)
    await followSchedule(daemon)

    await stopped.promise
    // An undo takes as long as it takes, within our own bound; the unit's limit is for what is left of a dead daemon.
    notifier.stopping('stopping', limits.stopMs + 30_000)
    stop()
    clearInterval(restart)
    await within(daemon.parts.runner.stop(), limits.stopMs)
    await server.close()
    await watch.close()
    daemon.parts.systemd?.close()
    clearInterval(pulse)
    clearInterval(rest)
    lock.release()
    log.notice('stopped')
    return 0
}

/** Waits for the promise, but no longer than this. */
async function within(promise: Promise<unknown>, mostMs: number): Promise<void> {
    const { promise: over, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, mostMs)
    await Promise.race([promise, over])
    clearTimeout(timer)
}

interface Assembled {
    daemon: Daemon
    /** Undefined where nothing can be guarded. */
    guards: GuardHost | undefined
}

function assemble({ root, state }: Omit<Places, 'socket'>, options: DaemonOptions, log: Log): Assembled {
    const disk = realDisk()
    const random = (bytes: number) => new Uint8Array(randomBytes(bytes))
    const clock = systemClock
    const kinds = new TaskKinds()
    // What an armed guard belongs to is kept whatever its age.
    const held = (change: string) =>
        listGuards(disk, state).some(guard => guard.id.startsWith(change) && guard.state() === 'ARMED')
    const store = new Store(disk, state, held)
    const runner = new Runner({
        store,
        kinds,
        clock: withTimers(clock),
        random,
        armed: () => listGuards(disk, state).find(guard => guard.state() === 'ARMED')?.id,
        workersGone: async () => {
            const gone = await waitForLock(workerLock(state), limits.workerSilenceMs)
            if (gone === undefined)
                throw new Fault('conflict', 'cannot recover: a worker of an earlier daemon does not end', {
                    hint: `fuser -v ${workerLock(state)} names it`,
                })
            gone.release()
        },
        // A configuration that cannot be read may have asked for more than the default keeps.
        history: () => (daemon.config.fault === undefined ? daemon.config.config.history : undefined),
    })
    const [program, ...args] = options.command
    const runWorker = workerRunner({ argv: [program, ...args, 'worker'], state })
    const live = root === '/' && disk.exists('/run/systemd/system')
    const daemon = new Daemon({
        version: options.version,
        root,
        state,
        log,
        clock,
        random,
        disk,
        store,
        runner,
        runWorker,
        exec,
        probe: peerProbe(exec),
        systemd: live ? new DbusSystemd() : undefined,
    })
    kinds
        .register(archiveWrite(runWorker, disk))
        .register(archiveDiscard(disk))
        .register(targetPublish(name => daemon.target(name)))
        .register(archiveRemove(name => daemon.target(name)))
    registerKeyTasks(kinds, {
        paths: keyPaths(root, state),
        random,
        nowMs: () => clock.nowMs(),
        passphrase: reference => daemon.secrets.get(reference),
    })
    registerFileTasks(kinds, {
        root,
        state,
        runWorker,
        identity: reference => {
            const kept = daemon.secrets.get(reference)
            return kept === undefined ? undefined : (JSON.parse(kept) as Identity)
        },
        finished: change => store.summary(change).state === 'done',
    })
    registerDatabaseTasks(kinds, {
        root,
        state,
        exec,
        systemd: daemon.parts.systemd,
        clock: withTimers(clock),
        runWorker,
        probe: daemon.parts.probe,
        finished: change => store.summary(change).state === 'done',
    })
    registerHostTasks(kinds, { root, exec, systemd: daemon.parts.systemd, clock: withTimers(clock) })
    const { systemd } = daemon.parts
    const guards: GuardHost | undefined =
        systemd === undefined
            ? undefined
            : {
                  root,
                  state,
                  disk,
                  clock: { ...clock, ...withTimers(clock) },
                  exec,
                  areas: guardAreas,
                  systemd,
                  keepProgram,
                  answer: (change, question, value, by) =>
                      runner.answer(runningOf(runner, change), question, value, by),
                  watch: (directory, onChange) =>
                      watchDirectory(directory, 0, onChange, error =>
                          log.warning(`cannot watch ${directory}: ${asFault(error).message}`),
                      ),
                  launch,
              }
    if (guards !== undefined) registerGuardTasks(kinds, guards)
    registerSetupTasks(kinds, {
        root,
        ids: {
            current: () => loadHost(state, root, random).id,
            adopt: (hostId, sequence) => void adoptHost(state, root, hostId, sequence),
        },
        follow: async () => (await daemon.reload()).problems,
    })
    return { daemon, guards }
}

/** An undo works in the name of the change that it undoes; the question is its own. */
function runningOf(runner: Runner, change: string): string {
    const running = runner.running()?.summary
    return running !== undefined && running.facts.undoes === change ? running.id : change
}

/** First of all: what a crash interrupted is finished, and what it left in the spools is swept. */
async function recover(daemon: Daemon, guards: GuardHost | undefined): Promise<void> {
    const { runner, log } = daemon.parts
    try {
        for (const end of await runner.recover()) {
            writeChangeLog(daemon.parts, end.change)
            const text = `change ${end.change} was interrupted and is finished now: ${end.result}`
            if (end.left?.length) log.error(`${text}; left: ${end.left.join('; ')}`)
            else log.warning(text)
        }
        if (guards !== undefined) for (const text of await tendArmed(guards)) log.warning(text)
        sweepGuards(daemon)
        // An unfinished restore may still be reading one.
        if (runner.unfinished().length === 0) daemon.downloads.sweep()
        for (const target of daemon.targets().values())
            for (const name of await target.sweep())
                log.warning(`removed the unfinished ${name} from ${target.place}`)
    } catch (error) {
        log.error(asFault(error).message)
    }
}

/** The snapshot of a guard lives as long as the undo material of its change. */
function sweepGuards({ parts: { disk, state, store, runner, log } }: Daemon): void {
    if (runner.unfinished().length === 0) sweepEnded(disk, state)
    for (const guard of listGuards(disk, state)) {
        if (guard.state() === 'ARMED') continue
        try {
            const { change } = guard.record()
            const ended = !store.exists(change) || store.summary(change).state === 'done'
            if (ended && !store.hasMaterial(change)) guard.removeAll()
        } catch (error) {
            log.warning(asFault(error).message)
        }
    }
}

/** systemd is only asked to read its units again when its timers are not those of the configuration. */
async function followSchedule(daemon: Daemon): Promise<void> {
    const { systemd, log } = daemon.parts
    if (daemon.config.fault !== undefined) {
        log.warning(daemon.config.fault.message)
        return
    }
    if (systemd === undefined) return
    try {
        const jobs = await readSchedule(daemon.config.config, systemd)
        if (jobs.some(job => !job.active || job.nextMs === undefined)) await daemon.reload()
    } catch (error) {
        log.warning(asFault(error).message)
    }
}

async function reload(daemon: Daemon, notifier: Notifier): Promise<void> {
    notifier.reloading()
    try {
        const { problems } = await daemon.reload()
        if (problems.length === 0) daemon.parts.log.info('configuration read again')
    } catch (error) {
        daemon.parts.log.error(asFault(error).message)
    } finally {
        notifier.ready('ready')
    }
}

function beat(notifier: Notifier): ReturnType<typeof setInterval> {
    const everyMs = notifier.watchdogMs === undefined ? 60_000 : Math.max(100, notifier.watchdogMs / 3)
    return setInterval(() => notifier.alive(), everyMs)
}

/** How often (ms) to look whether there is something to tidy up in memory. */
const restMs = 5_000

/** A daemon that rests for a day should not hold what its last answer needed. */
function restBetweenRequests(daemon: Daemon): ReturnType<typeof setInterval> {
    let seen = 0
    let tidied = 0
    return setInterval(() => {
        const quiet = daemon.served === seen && daemon.parts.runner.running() === undefined
        seen = daemon.served
        if (!quiet || tidied === seen) return
        tidied = seen
        Bun.gc(true)
    }, restMs)
}

/** The returned function takes the handlers off again. A second SIGTERM does not wait for an undo. */
function listenToSignals(daemon: Daemon, notifier: Notifier, stop: () => void): () => void {
    let asked = 0
    const onTerm = () => {
        if (asked++ === 0) stop()
        else process.exit(1)
    }
    const onHup = () => void reload(daemon, notifier)
    process.on('SIGTERM', onTerm)
    process.on('SIGINT', onTerm)
    process.on('SIGHUP', onHup)
    return () => void process.off('SIGHUP', onHup)
}

/** How often (ms) to look whether the package was upgraded and nothing runs. */
const lookMs = 2_000

/** An upgrade leaves a mark instead of a restart: the service manager starts the new program once nothing runs. */
function watchForRestart(daemon: Daemon, mark: string, stop: () => void): ReturnType<typeof setInterval> {
    const { disk, runner, log } = daemon.parts
    return setInterval(() => {
        try {
            if (!disk.exists(mark) || runner.running() !== undefined || runner.unfinished().length > 0) return
            disk.remove(mark)
            log.notice('restarting with the new program')
            stop()
        } catch (error) {
            log.warning(`cannot restart: ${asFault(error).message}`)
        }
    }, lookMs)
}
