/** Stops the services whose files change and starts them again: bounded, remembered before the first, and taken back. */
import type { Category } from '../catalog/category.ts'
import { Fault } from '../core/errors.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import type { Systemd, UnitState } from '../host/systemd.ts'
import type { TimedClock } from '../host/timer.ts'

export interface ServicesHost {
    /** Undefined where another root is served, or where no systemd runs: then no service is touched. */
    systemd: Systemd | undefined
    clock: TimedClock
}

export type StopParams = {
    /** In the order of stopping; see `orderServices`. */
    units: string[]
    /** The order of starting; default: the reverse. */
    startOrder?: string[]
    /** Unit files are among what is restored: systemd reads them again before anything is started. */
    reload?: boolean
}

export type StartParams = {
    /** Id of the `services.stop` task of this change. */
    stop: string
    reload?: boolean
}

/** What `services.stop` remembers, and returns to `services.start`. */
export type Stopped = {
    /** Units that ran, in the order of stopping. */
    stopped: string[]
    /** The same units in the order of starting. */
    start: string[]
    /** Those of them that were not up but coming up: they need not be up afterwards. */
    shaky: string[]
}

const bounds = {
    /** A unit's own limit is 90 s as a rule; behind it systemd kills by itself, so longer means that it does not. */
    stopMs: 120_000,
    /** From the end of a job to the state that it leads to. */
    settleMs: 5_000,
    /** A process that was sent a signal is gone after this, or sleeps in the kernel. */
    killMs: 15_000,
    /** pveproxy renews certificates before it starts, which alone may take 80 s. */
    startMs: 180_000,
    /** Between two looks, and between two attempts to start. */
    lookMs: 250,
    againMs: 2_000,
    starts: 3,
    /** A unit that others start again and again is stopped this often. */
    rounds: 3,
    /** Services stand still while the question waits. */
    askMs: 300_000,
} as const

/** Whoever runs the restore may be connected through these, and the restore itself runs in one of them. */
const keptRunning =
    /^(ssh|sshd|ssh@.*|networking|systemd-networkd|NetworkManager|wpa_supplicant.*|dbus|dbus-broker|systemd-logind|systemd-journald|proxsave.*)\.(service|socket)$/

/** An HA manager that dies without letting go of the watchdog costs the whole node: these are asked, never killed. */
const neverKilled = new Set(['pve-ha-lrm.service', 'pve-ha-crm.service', 'watchdog-mux.service'])

/** Stops what runs, in order; any failure leaves everything running as before. */
export function servicesStop(host: ServicesHost): TaskKind<StopParams> {
    return {
        kind: 'services.stop',
        async do(params, context) {
            const { systemd } = host
            if (systemd === undefined) {
                context.log(`no service is stopped: ${noSystemd}`)
                return undefined
            }
            for (;;) {
                const why = await stopAll(systemd, params, host.clock, context)
                if (why === undefined) break
                const answer = await context.ask({
                    id: 'services.stop-failed',
                    text: `${why}. Nothing was written so far. Try again, or abort and start what was stopped?`,
                    choices: [
                        { value: 'retry', text: 'try again' },
                        { value: 'abort', text: 'abort; everything runs on as before' },
                    ],
                    safe: 'abort',
                    timeoutMs: bounds.askMs,
                })
                if (answer !== 'retry')
                    throw new Fault('failed', `cannot stop the services: ${why}`, {
                        hint: 'systemctl status and journalctl -u tell more about the unit',
                    })
            }
            return context.remembered()
        },
        async undo({ reload }, context) {
            const remembered = context.remembered() as Memory | undefined
            if (host.systemd === undefined || remembered === undefined) return
            const { start, all } = remembered
            if (reload) await reloadUnits(host.systemd, context)
            // Complete, and yet active: the host was booted meanwhile, on files that are put back only now.
            const failed = await startAll(host.systemd, start, host.clock, context, all === true)
            if (failed.length > 0)
                throw new Fault('failed', `cannot start ${failed.map(show).join(', ')}`, {
                    hint: `systemctl start ${failed.map(({ unit }) => unit).join(' ')}`,
                })
        },
    }
}

/** Starts what `services.stop` of the same change stopped, and nothing else. */
export function servicesStart(host: ServicesHost): TaskKind<StartParams> {
    return {
        kind: 'services.start',
        async do({ stop, reload }, context) {
            const stopped = context.results.get(stop) as Stopped | null | undefined
            const { systemd } = host
            if (systemd === undefined) {
                context.log(`no service is started: ${noSystemd}`)
                return undefined
            }
            if (reload) await systemd.reload()
            if (stopped === undefined || stopped === null) return undefined
            context.remember({ stopped: stopped.stopped })
            const failed = await startAll(systemd, stopped.start, host.clock, context, false)
            const fatal = failed.filter(({ unit, gone }) => !gone && !stopped.shaky.includes(unit))
            for (const one of failed) if (!fatal.includes(one)) context.warn(`${show(one)} does not run now`)
            if (fatal.length > 0)
                throw new Fault('failed', `cannot start ${fatal.map(show).join(', ')}`, {
                    hint: `journalctl -b -u ${fatal[0]!.unit} says why it does not like the restored files`,
                })
            return { started: stopped.start }
        },
        async undo(_, context) {
            const remembered = context.remembered() as { stopped: string[] } | undefined
            const { systemd, clock } = host
            if (systemd === undefined || remembered === undefined) return
            const problems: string[] = []
            for (const unit of remembered.stopped) {
                const why = await bringDown(systemd, unit, clock, context)
                if (why !== undefined) problems.push(why)
            }
            if (problems.length > 0) throw new Fault('failed', `cannot stop services: ${problems.join('; ')}`)
        },
    }
}

const noSystemd = 'this daemon serves another root, or systemd does not run here'

/**
 * The units of several categories in one order of stopping and one of starting. The longest list of the whole catalogue
 * decides where two disagree: it is the one that was thought through.
 */
export function orderServices(
    chosen: readonly Category[],
    catalogue: readonly Category[],
): { units: string[]; startOrder: string[] } {
    const wanted = new Set(chosen.flatMap(category => category.services ?? []))
    const lists = (pick: (category: Category) => readonly string[]) =>
        [...catalogue, ...chosen].map(pick).toSorted((a, b) => b.length - a.length)
    const order = (sorted: (readonly string[])[]) => [
        ...new Set(sorted.flat().filter(unit => wanted.has(unit))),
    ]
    return {
        units: order(lists(category => category.services ?? [])),
        startOrder: order(lists(category => category.startOrder ?? (category.services ?? []).toReversed())),
    }
}

/** `all`: everything was down, so files may have been written. */
type Memory = Stopped & { all?: boolean }

/** Why it could not be done, or undefined when everything is down. */
async function stopAll(
    systemd: Systemd,
    params: StopParams,
    clock: TimedClock,
    context: TaskContext,
): Promise<string | undefined> {
    try {
        const memory = (context.remembered() as Memory | undefined) ?? (await look(systemd, params, context))
        const { stopped } = memory
        context.remember(memory)
        for (let round = 0; round < bounds.rounds; round++) {
            for (const [done, unit] of stopped.entries()) {
                context.progress({ done, total: stopped.length, unit: 'entries', text: `stopping ${unit}` })
                const why = await bringDown(systemd, unit, clock, context)
                if (why !== undefined) return why
            }
            const back = await risen(systemd, stopped)
            if (back.length === 0) {
                context.remember({ ...memory, all: true })
                return undefined
            }
            context.log(`${back.join(', ')} came back after it was stopped`)
        }
        return `${(await risen(systemd, stopped)).join(', ')} comes back each time it is stopped`
    } catch (error) {
        if (error instanceof Fault && !context.signal.aborted) return error.message
        throw error
    }
}

/** What runs, before the first unit is touched. */
async function look(systemd: Systemd, params: StopParams, context: TaskContext): Promise<Memory> {
    const stopped: string[] = []
    const shaky: string[] = []
    for (const unit of new Set(params.units)) {
        if (keptRunning.test(unit)) {
            context.log(`${unit} keeps running: whoever restores may be connected through it`)
            continue
        }
        const state = await systemd.unitState(unit)
        if (isDown(state) || state.active === 'deactivating') continue
        if (state.load === 'masked')
            throw new Fault('failed', `cannot stop ${unit}: it is masked and could not be started again`)
        stopped.push(unit)
        if (state.active === 'activating') shaky.push(unit)
    }
    const order = params.startOrder ?? stopped.toReversed()
    const start = [
        ...order.filter(unit => stopped.includes(unit)),
        ...stopped.filter(unit => !order.includes(unit)),
    ]
    return { stopped, start: [...new Set(start)], shaky }
}

async function risen(systemd: Systemd, units: readonly string[]): Promise<string[]> {
    const up: string[] = []
    for (const unit of units) if (!isDown(await systemd.unitState(unit))) up.push(unit)
    return up
}

/** Stop, then SIGTERM to its main process, then SIGKILL to all; undefined when it is down, else why it is not. */
async function bringDown(
    systemd: Systemd,
    unit: string,
    clock: TimedClock,
    context: TaskContext,
): Promise<string | undefined> {
    const { signal } = context
    const state = await patiently(() => systemd.unitState(unit), clock, signal)
    if (isDown(state)) return undefined
    let result = await unlessAborted(systemd.stop(unit, bounds.stopMs), signal)
    // Somebody started it meanwhile, or the bus was lost on the way.
    if (result === 'canceled' || result === 'unknown')
        result = await unlessAborted(systemd.stop(unit, bounds.stopMs), signal)
    if (result === 'not-found' || (await goesDown(systemd, unit, bounds.settleMs, clock, signal))) {
        context.log(`${unit} is stopped`)
        return undefined
    }
    if (neverKilled.has(unit))
        return `${unit} does not stop (${result}), and it is not killed because the watchdog would reset this node`
    for (const [name, whom] of [
        ['SIGTERM', 'main'],
        ['SIGKILL', 'all'],
    ] as const) {
        context.log(`${unit} does not stop (${result}): sending ${name}`)
        try {
            await unlessAborted(systemd.kill(unit, whom, name), signal)
        } catch (error) {
            // Without a main process there is nobody to tell; the next signal reaches all.
            if (!(error instanceof Fault) || signal.aborted) throw error
        }
        if (await goesDown(systemd, unit, bounds.killMs, clock, signal)) {
            context.log(`${unit} is stopped, by ${name}`)
            return undefined
        }
    }
    return `${unit} does not stop (${result}), not even when it is killed`
}

interface NotStarted {
    unit: string
    why: string
    /** Its unit file is not there any more. */
    gone?: true
}

const show = ({ unit, why }: NotStarted) => `${unit} (${why})`

/** All of them, whatever happens to one; what could not be started. */
async function startAll(
    systemd: Systemd,
    units: readonly string[],
    clock: TimedClock,
    context: TaskContext,
    restart: boolean,
): Promise<NotStarted[]> {
    const failed: NotStarted[] = []
    for (const [done, unit] of units.entries()) {
        context.progress({ done, total: units.length, unit: 'entries', text: `starting ${unit}` })
        const problem = await bringUp(systemd, unit, clock, context, restart)
        if (problem === undefined) context.log(`${unit} is started`)
        else failed.push({ unit, ...problem })
    }
    return failed
}

async function bringUp(
    systemd: Systemd,
    unit: string,
    clock: TimedClock,
    { signal }: TaskContext,
    restart: boolean,
): Promise<Omit<NotStarted, 'unit'> | undefined> {
    let why = 'it did not start'
    for (let attempt = 0; attempt < bounds.starts; attempt++) {
        try {
            if (attempt > 0) {
                await pause(clock, bounds.againMs, signal)
                await systemd.resetFailed(unit)
            }
            const before = await systemd.unitState(unit)
            if (before.load === 'not-found') return { why: 'there is no such unit any more', gone: true }
            if (before.active === 'active' && !before.busy && !restart) return undefined
            const again = restart && before.active === 'active'
            const result = await unlessAborted(
                again ? systemd.restart(unit, bounds.startMs) : systemd.start(unit, bounds.startMs),
                signal,
            )
            if (result === 'not-found') return { why: 'there is no such unit any more', gone: true }
            const { active } = await systemd.unitState(unit)
            // One that does its work and ends is inactive behind a job that went well.
            if (active === 'active' || (active === 'inactive' && result === 'done')) return undefined
            why = `${result}, it is ${active}`
        } catch (error) {
            if (!(error instanceof Fault) || signal.aborted) throw error
            why = error.message
        }
    }
    return { why }
}

async function reloadUnits(systemd: Systemd, context: TaskContext): Promise<void> {
    try {
        await systemd.reload()
    } catch (error) {
        // The services are more important than what systemd thinks of their files.
        context.warn(error instanceof Error ? error.message : String(error))
    }
}

const isDown = ({ load, active, busy }: UnitState) =>
    (active === 'inactive' && !busy) || active === 'failed' || (load === 'not-found' && active === 'inactive')

async function goesDown(
    systemd: Systemd,
    unit: string,
    ms: number,
    clock: TimedClock,
    signal: AbortSignal,
): Promise<boolean> {
    const until = clock.bootMs() + ms
    for (;;) {
        if (isDown(await patiently(() => systemd.unitState(unit), clock, signal))) return true
        if (clock.bootMs() >= until) return false
        await pause(clock, bounds.lookMs, signal)
    }
}

/** A bus that restarts is back in a moment; one that stays away is a fault. */
async function patiently<T>(work: () => Promise<T>, clock: TimedClock, signal: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
        try {
            return await unlessAborted(work(), signal)
        } catch (error) {
            if (!(error instanceof Fault) || signal.aborted || attempt >= bounds.starts) throw error
            await pause(clock, bounds.againMs, signal)
        }
    }
}

function pause(clock: TimedClock, ms: number, signal: AbortSignal): Promise<void> {
    return unlessAborted(new Promise<void>(resolve => clock.after(ms, resolve)), signal)
}

/** Rejects with the reason as soon as somebody cancels; what was asked of systemd goes on without us. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) {
        work.catch(() => undefined)
        return Promise.reject(signal.reason)
    }
    return new Promise<T>((resolve, reject) => {
        const aborted = () => reject(signal.reason)
        signal.addEventListener('abort', aborted, { once: true })
        work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
    })
}
