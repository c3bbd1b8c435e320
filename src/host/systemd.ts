/** The service manager: start, stop and look at units, over D-Bus, each with a bound in time. */
import { constants } from 'node:os'
import type { Variant } from 'dbus-next'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { Bus, BusError, type BusSignal, busFault, systemBusSocket } from './dbus.ts'

/** How a job ended, in systemd's words; `not-found` when there is no such unit, `unknown` when nobody could tell. */
export type JobResult =
    | 'done'
    | 'failed'
    | 'timeout'
    | 'canceled'
    | 'dependency'
    | 'skipped'
    | 'not-found'
    | 'unknown'
    | (string & {})

export interface UnitState {
    name: string
    description: string
    /** `loaded`, `not-found`, `masked`, … */
    load: string
    /** `active`, `inactive`, `failed`, `activating`, … */
    active: string
    sub: string
    /** A job waits or runs. */
    busy: boolean
}

export interface TransientTimer {
    /** The service that it starts, installed before; the timer has its name, because systemd takes no other here. */
    unit: string
    description: string
    /** Milliseconds from now, on the monotonic clock. */
    afterMs: number
}

/** A command in a service of its own, with nothing of the daemon's limits on it. */
export interface TransientRun {
    /** `NAME.service`; must not exist yet. */
    unit: string
    description: string
    /** The program by its absolute path. */
    argv: readonly [string, ...string[]]
    /** After this long (ms) the command is killed. */
    timeoutMs: number
    /** Absolute path of the file that both of its outputs are appended to. */
    output: string
    /** What it starts and leaves behind goes on: a DHCP client does. */
    leavesChildren?: boolean
    /** Absolute paths that this command alone sees with another content: [what it is shown, where]. */
    shows?: readonly (readonly [string, string])[]
}

export type TransientResult =
    | { result: 'done' }
    | { result: 'failed' /** None when a signal ended it. */; status?: number; timedOut: boolean }

/** The timer that systemd lets start a service when both are made apart: that of the same name. */
export const timerOf = (service: string): string => service.replace(/\.service$/, '.timer')

/** What the rest of proxsave asks of the service manager. Failures to reach it are faults. */
export interface Systemd {
    start(unit: string, waitMs?: number): Promise<JobResult>
    stop(unit: string, waitMs?: number): Promise<JobResult>
    restart(unit: string, waitMs?: number): Promise<JobResult>
    /** Sends a signal to the main process of a unit or to all of its processes. */
    kill(unit: string, whom: 'main' | 'all', signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
    /** Forgets that a unit failed, and how often it was started; no error for one that did not fail. */
    resetFailed(unit: string): Promise<void>
    unitState(unit: string): Promise<UnitState>
    /** Loaded units whose names match one of the patterns (`proxsave-backup@*.timer`). */
    listUnits(...patterns: string[]): Promise<UnitState[]>
    /** Reads all unit files again and runs the generators. */
    reload(): Promise<void>
    /** When a timer fires next and fired last, ms since the epoch; undefined: never. */
    timerTimes(timer: string): Promise<{ nextMs?: number; lastMs?: number }>
    /** Starts a timer that outlives us; throws unless systemd confirms that it runs. Gone after a reboot. */
    startTransientTimer(timer: TransientTimer): Promise<void>
    /** Resolves when the command has ended; throws when it could not be started, or nobody can tell how it ended. */
    runTransient(run: TransientRun): Promise<TransientResult>
    close(): void
}

/** Beyond its own time limit a command's unit gets this long (ms) to be killed and cleared away. */
const transientGraceMs = 15_000

const systemd1 = 'org.freedesktop.systemd1'
const manager = { destination: systemd1, path: '/org/freedesktop/systemd1', interface: `${systemd1}.Manager` }
const daemon = {
    destination: 'org.freedesktop.DBus',
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
}

export interface SystemdOptions {
    socket?: string
    callMs?: number
    /** How long (ms) to wait between two looks when the signal of a job may be lost. */
    pollMs?: number
}

/** Connects with the first call, and again after the bus was lost. */
export class DbusSystemd implements Systemd {
    readonly #bus: Bus
    readonly #pollMs: number
    /** Results of jobs, or who waits for them. A signal may come before the reply that names its job. */
    readonly #results = new Map<string, JobResult>()
    readonly #waiting = new Map<string, (result: JobResult | undefined) => void>()
    /** Calls that will name a job; results are collected only while there are any. */
    #asking = 0
    /** Unique name of systemd on the bus; others may send signals that look alike. */
    #owner: string | undefined

    constructor(options: SystemdOptions = {}) {
        this.#pollMs = options.pollMs ?? 500
        this.#bus = new Bus({
            socket: options.socket ?? systemBusSocket,
            callMs: options.callMs,
            prepare: async call => {
                const rules = [
                    `type='signal',sender='${systemd1}',interface='${manager.interface}',member='JobRemoved'`,
                    `type='signal',sender='${daemon.destination}',interface='${daemon.interface}',member='NameOwnerChanged',arg0='${systemd1}'`,
                ]
                for (const rule of rules)
                    await call({ ...daemon, member: 'AddMatch', signature: 's', body: [rule] })
                await call({ ...manager, member: 'Subscribe' })
                const [owner] = await call({
                    ...daemon,
                    member: 'GetNameOwner',
                    signature: 's',
                    body: [systemd1],
                })
                this.#owner = String(owner)
            },
            onSignal: signal => this.#onSignal(signal),
            onLost: () => this.#forgetJobs(),
        })
    }

    start(unit: string, waitMs?: number): Promise<JobResult> {
        return this.#job('start', 'StartUnit', unit, waitMs)
    }

    stop(unit: string, waitMs?: number): Promise<JobResult> {
        return this.#job('stop', 'StopUnit', unit, waitMs)
    }

    restart(unit: string, waitMs?: number): Promise<JobResult> {
        return this.#job('restart', 'RestartUnit', unit, waitMs)
    }

    async kill(unit: string, whom: 'main' | 'all', signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
        const number = constants.signals[signal]
        await this.#call(`send ${signal} to ${unit}`, 'KillUnit', 'ssi', [unit, whom, number])
    }

    async resetFailed(unit: string): Promise<void> {
        try {
            await this.#bus.call({ ...manager, member: 'ResetFailedUnit', signature: 's', body: [unit] })
        } catch (error) {
            if (error instanceof BusError && error.type === `${systemd1}.NoSuchUnit`) return
            throw busFault(`forget that ${unit} failed`, error)
        }
    }

    async unitState(unit: string): Promise<UnitState> {
        const [units] = await this.#call(`look at ${unit}`, 'ListUnitsByNames', 'as', [[unit]])
        const [state] = (units as unknown[][]).map(readUnit)
        // A name that systemd finds invalid is left out of its answer.
        return (
            state ?? {
                name: unit,
                description: '',
                load: 'not-found',
                active: 'inactive',
                sub: 'dead',
                busy: false,
            }
        )
    }

    async listUnits(...patterns: string[]): Promise<UnitState[]> {
        const [units] = await this.#call('list units', 'ListUnitsByPatterns', 'asas', [[], patterns])
        return (units as unknown[][]).map(readUnit)
    }

    async reload(): Promise<void> {
        await this.#call('make systemd read its units again', 'Reload', '', [], limits.unitJobMs)
    }

    async timerTimes(timer: string): Promise<{ nextMs?: number; lastMs?: number }> {
        const properties = await this.#properties(`look at ${timer}`, timer, 'Timer')
        const nextMs = wallMs(properties.NextElapseUSecRealtime)
        const lastMs = wallMs(properties.LastTriggerUSec)
        return { ...(nextMs === undefined ? {} : { nextMs }), ...(lastMs === undefined ? {} : { lastMs }) }
    }

    async startTransientTimer({ unit, description, afterMs }: TransientTimer): Promise<void> {
        const { Variant } = await import('dbus-next')
        const timer = timerOf(unit)
        const properties = [
            ['Description', new Variant('s', description)],
            [
                'TimersMonotonic',
                new Variant('a(st)', [['OnActiveSec', BigInt(Math.max(0, Math.round(afterMs * 1000)))]]),
            ],
            // Without it the default of one minute applies.
            ['AccuracyUSec', new Variant('t', 1_000_000n)],
            ['RemainAfterElapse', new Variant('b', false)],
            // `systemctl rescue` must not disarm it, nor what it starts; nor must sysinit.target when that is stopped.
            ['IgnoreOnIsolate', new Variant('b', true)],
            ['DefaultDependencies', new Variant('b', false)],
        ]
        const doing = `start the timer ${timer}`
        const result = await this.#await(doing, timer, 'start', limits.busMs, async () => {
            const [job] = await this.#bus.call({
                ...manager,
                member: 'StartTransientUnit',
                signature: 'ssa(sv)a(sa(sv))',
                body: [timer, 'fail', properties, []],
            })
            return String(job)
        })
        if (result !== 'done') throw new Fault('failed', `cannot ${doing}: systemd says ${result}`)
        const { active } = await this.unitState(timer)
        if (active !== 'active') throw new Fault('failed', `cannot ${doing}: it is ${active}`)
    }

    async runTransient(run: TransientRun): Promise<TransientResult> {
        const { Variant } = await import('dbus-next')
        const { unit, argv, timeoutMs, output } = run
        const properties: [string, Variant][] = [
            ['Description', new Variant('s', run.description)],
            ['Type', new Variant('s', 'oneshot')],
            ['ExecStart', new Variant('a(sasb)', [[argv[0], [...argv], false]])],
            ['TimeoutStartUSec', new Variant('t', BigInt(Math.round(timeoutMs * 1000)))],
            ['TimeoutStopUSec', new Variant('t', 5_000_000n)],
            ['KillMode', new Variant('s', run.leavesChildren ? 'process' : 'control-group')],
            ['StandardOutputFileToAppend', new Variant('s', output)],
            ['StandardErrorFileToAppend', new Variant('s', output)],
            ['Environment', new Variant('as', ['LC_ALL=C'])],
            ['IgnoreOnIsolate', new Variant('b', true)],
        ]
        const shown = (run.shows ?? []).map(([from, to]) => [from, to, false, 0n])
        if (shown.length > 0) properties.push(['BindReadOnlyPaths', new Variant('a(ssbt)', shown)])
        const doing = `run ${argv.join(' ')}`
        const waitMs = timeoutMs + transientGraceMs
        const result = await this.#await(doing, unit, 'start', waitMs, async () => {
            const [job] = await this.#bus.call({
                ...manager,
                member: 'StartTransientUnit',
                signature: 'ssa(sv)a(sa(sv))',
                body: [unit, 'fail', properties, []],
            })
            return String(job)
        })
        if (result === 'done') return { result: 'done' }
        if (result !== 'failed') throw new Fault('failed', `cannot ${doing}: systemd says ${result}`)
        const ended = await this.#properties(doing, unit, 'Service')
        await this.resetFailed(unit)
        const timedOut = ended.Result?.value === 'timeout'
        // CLD_EXITED: anything else was a signal, and its number no status.
        if (ended.ExecMainCode?.value !== 1) return { result: 'failed', timedOut }
        return { result: 'failed', timedOut, status: Number(ended.ExecMainStatus?.value) }
    }

    close(): void {
        this.#bus.close()
    }

    /** Properties of one interface of a unit, `Timer` or `Service`. */
    async #properties(doing: string, unit: string, kind: string): Promise<Record<string, Variant>> {
        const [path] = await this.#call(doing, 'LoadUnit', 's', [unit])
        try {
            const [properties] = await this.#bus.call({
                destination: systemd1,
                path: String(path),
                interface: 'org.freedesktop.DBus.Properties',
                member: 'GetAll',
                signature: 's',
                body: [`${systemd1}.${kind}`],
            })
            return properties as Record<string, Variant>
        } catch (error) {
            throw busFault(doing, error)
        }
    }

    async #job(
        verb: 'start' | 'stop' | 'restart',
        member: string,
        unit: string,
        waitMs: number = limits.unitJobMs,
    ): Promise<JobResult> {
        return await this.#await(`${verb} ${unit}`, unit, verb, waitMs, async () => {
            const [job] = await this.#bus.call({
                ...manager,
                member,
                signature: 'ss',
                body: [unit, 'replace'],
            })
            return String(job)
        })
    }

    /** Sends what begins a job and waits for its end, `timeout` after `waitMs`. */
    async #await(
        doing: string,
        unit: string,
        verb: 'start' | 'stop' | 'restart',
        waitMs: number,
        begin: () => Promise<string>,
    ): Promise<JobResult> {
        const deadline = performance.now() + waitMs
        let job: string
        this.#asking++
        try {
            job = await begin()
            const early = this.#results.get(job)
            if (early !== undefined) return early
        } catch (error) {
            if (error instanceof BusError && error.type === `${systemd1}.NoSuchUnit`) return 'not-found'
            throw busFault(doing, error)
        } finally {
            this.#asking--
            if (this.#asking === 0) this.#results.clear()
        }
        const result = await this.#resultOf(job, waitMs)
        if (result !== undefined) return result
        return await this.#settled(unit, verb, deadline)
    }

    /** The result of a job; `timeout` after `waitMs`, undefined when the bus went away and the signal with it. */
    #resultOf(job: string, waitMs: number): Promise<JobResult | undefined> {
        return new Promise(resolve => {
            const finish = (result: JobResult | undefined) => {
                clearTimeout(timer)
                this.#waiting.delete(job)
                resolve(result)
            }
            const timer = setTimeout(() => finish('timeout'), waitMs)
            this.#waiting.set(job, finish)
        })
    }

    /** Looks at the unit until no job is left: what remains when the bus was restarted under a running job. */
    async #settled(unit: string, verb: 'start' | 'stop' | 'restart', deadline: number): Promise<JobResult> {
        while (performance.now() < deadline) {
            try {
                const { active, busy } = await this.unitState(unit)
                if (!busy && verb === 'stop')
                    return active === 'inactive' || active === 'failed' ? 'done' : 'failed'
                if (!busy) return active === 'active' || active === 'inactive' ? 'done' : 'failed'
            } catch (error) {
                // The bus is not back yet.
                if (!(error instanceof Fault)) throw error
            }
            await new Promise(resolve => setTimeout(resolve, this.#pollMs))
        }
        return 'unknown'
    }

    #onSignal({ sender, interface: interfaceName, member, body }: BusSignal): void {
        if (member === 'NameOwnerChanged' && sender === daemon.destination && body[0] === systemd1) {
            // systemd was executed anew: its subscription to us is gone, the next call makes a new one.
            if (this.#owner !== undefined && body[2] !== this.#owner) this.#bus.close()
            return
        }
        if (member !== 'JobRemoved' || interfaceName !== manager.interface || sender !== this.#owner) return
        const [, job, , result] = body as [number, string, string, string]
        const waiting = this.#waiting.get(job)
        if (waiting) waiting(result)
        else if (this.#asking > 0) this.#results.set(job, result)
    }

    #forgetJobs(): void {
        this.#owner = undefined
        this.#results.clear()
        for (const finish of [...this.#waiting.values()]) finish(undefined)
    }

    async #call(
        doing: string,
        member: string,
        signature: string,
        body: unknown[],
        callMs?: number,
    ): Promise<unknown[]> {
        try {
            return await this.#bus.call({ ...manager, member, signature, body }, callMs)
        } catch (error) {
            throw busFault(doing, error)
        }
    }
}

function readUnit(fields: unknown[]): UnitState {
    const [name, description, load, active, sub, , , job] = fields as [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        number,
    ]
    return { name, description, load, active, sub, busy: job !== 0 }
}

/** A time stamp of systemd: microseconds since the epoch, 0 or the largest number for "never". */
function wallMs(property: Variant | undefined): number | undefined {
    const usec = BigInt(property?.value ?? 0)
    return usec === 0n || usec >= 2n ** 63n ? undefined : Number(usec / 1000n)
}
