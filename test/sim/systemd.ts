/** A stand-in for systemd that is as unkind as the real one: slow, failing, hanging, and sometimes not there at all. */
import { Fault } from '../../src/core/errors.ts'
import {
    type JobResult,
    type Systemd,
    timerOf,
    type TransientResult,
    type TransientRun,
    type TransientTimer,
    type UnitState,
} from '../../src/host/systemd.ts'
import type { SimClock } from './clock.ts'

export interface SimUnit {
    active: string
    load?: string
    /** How long a stop takes; `Infinity`: until something kills it. */
    stopMs?: number
    /** The first signal that ends it; default SIGTERM. */
    diesOf?: 'SIGTERM' | 'SIGKILL' | 'nothing'
    /** The result of a stop that does not stop it. */
    stopFails?: JobResult
    /** So many starts fail before one goes well. */
    startFails?: number
    /** A start that hangs. */
    startHangs?: boolean
    /** After a stop something else starts it again, so many times. */
    comesBack?: number
    /** Its work is done when the start is: inactive afterwards. */
    oneshot?: boolean
    /** Its process ends again behind a start that went well. */
    diesAfterStart?: boolean
    busy?: boolean
    /** What it does when it is started; a start while it is at it waits for the same end. */
    runs?: () => Promise<JobResult>
    /** Tried again so long (ms) after it failed. */
    restartMs?: number
}

/** What becomes of one transient unit. */
export type SimRun = TransientResult | 'throws' | ((run: TransientRun) => Promise<TransientResult>)

export class SimSystemd implements Systemd {
    readonly units = new Map<string, SimUnit>()
    /** What was asked, in order: `stop a.service`, `kill main SIGTERM a.service`, `reload`, … */
    readonly calls: string[] = []
    /** So many calls meet a bus that is gone. */
    busLost = 0
    reloadFails = false
    onCall: (call: string) => void = () => undefined
    /** Made when a unit of an unknown name is asked for: `NAME@INSTANCE.service`. */
    template: (name: string) => SimUnit | undefined = () => undefined
    /** Taken one after the other; then all are done. */
    readonly runs: SimRun[] = []
    onRun: (run: TransientRun) => void = () => undefined
    /** The next timer cannot be started; `lies`: it is said to have failed, and runs. */
    timerFails: 'no' | 'fails' | 'lies' = 'no'
    /** Timers that wait, by name. */
    readonly timers = new Map<string, () => void>()
    readonly #jobs = new Map<string, Promise<JobResult>>()
    readonly #clock: SimClock

    constructor(clock: SimClock, units: Record<string, SimUnit> = {}) {
        this.#clock = clock
        for (const [name, unit] of Object.entries(units)) this.units.set(name, unit)
    }

    /** Calls that change something. */
    get effects(): string[] {
        return this.calls.filter(call => !call.startsWith('look '))
    }

    activeUnits(): string[] {
        return [...this.units].filter(([, unit]) => unit.active === 'active').map(([name]) => name)
    }

    async stop(name: string, waitMs = 180_000): Promise<JobResult> {
        const unit = this.#call('stop', name)
        if (this.timers.has(name)) {
            this.endTimer(name)
            return 'done'
        }
        if (unit === undefined) return 'not-found'
        if (unit.stopFails !== undefined) return unit.stopFails
        const needs = unit.stopMs ?? 0
        unit.active = needs > 0 ? 'deactivating' : unit.active
        unit.busy = needs > waitMs
        await this.#pass(Math.min(needs, waitMs))
        if (needs > waitMs) return 'timeout'
        unit.active = 'inactive'
        if ((unit.comesBack ?? 0) > 0) {
            unit.comesBack!--
            unit.active = 'active'
        }
        return 'done'
    }

    async start(name: string, waitMs = 180_000): Promise<JobResult> {
        const unit = this.#call('start', name)
        if (unit === undefined) return 'not-found'
        if (unit.load === 'masked') throw new Fault('failed', `cannot start ${name}: Unit ${name} is masked.`)
        unit.busy = false
        if (unit.runs !== undefined) return this.#work(name, unit)
        if (unit.startHangs) {
            unit.active = 'activating'
            await this.#pass(waitMs)
            return 'timeout'
        }
        if ((unit.startFails ?? 0) > 0) {
            unit.startFails!--
            unit.active = 'failed'
            return 'failed'
        }
        unit.active = unit.diesAfterStart ? 'failed' : unit.oneshot ? 'inactive' : 'active'
        return 'done'
    }

    async restart(name: string, waitMs?: number): Promise<JobResult> {
        const unit = this.#call('restart', name)
        if (unit === undefined) return 'not-found'
        unit.active = 'inactive'
        this.calls.pop()
        const result = await this.start(name, waitMs)
        this.calls.splice(-1, 1, `restart ${name}`)
        return result
    }

    async kill(name: string, whom: 'main' | 'all', signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
        const unit = this.#call(`kill ${whom} ${signal}`, name)
        const diesOf = unit?.diesOf ?? 'SIGTERM'
        if (unit === undefined || diesOf === 'nothing' || (diesOf === 'SIGKILL' && signal === 'SIGTERM'))
            return
        unit.active = signal === 'SIGKILL' ? 'failed' : 'inactive'
        unit.busy = false
    }

    async resetFailed(name: string): Promise<void> {
        const unit = this.#call('reset', name)
        if (unit?.active === 'failed') unit.active = 'inactive'
    }

    async unitState(name: string): Promise<UnitState> {
        const unit = this.#call('look', name)
        if (this.timers.has(name))
            return { name, description: '', load: 'loaded', active: 'active', sub: 'waiting', busy: false }
        const { load, active, busy } = unit ?? { load: 'not-found', active: 'inactive' }
        return { name, description: '', load: load ?? 'loaded', active, sub: '', busy: busy ?? false }
    }

    async listUnits(): Promise<UnitState[]> {
        return await Promise.all([...this.units.keys()].map(name => this.unitState(name)))
    }

    async reload(): Promise<void> {
        this.calls.push('reload')
        this.#bus()
        if (this.reloadFails) throw new Fault('failed', 'cannot make systemd read its units again: no')
    }

    timerTimes = async () => ({})

    async startTransientTimer({ unit, afterMs }: TransientTimer): Promise<void> {
        const name = timerOf(unit)
        this.calls.push(`timer ${name} ${afterMs}`)
        this.onCall(`timer ${name}`)
        this.#bus()
        const cannot = (why: string) => new Fault('failed', `cannot start the timer ${name}: ${why}`)
        if (this.timers.has(name)) throw cannot('Unit exists')
        if (this.timerFails === 'fails') throw cannot('systemd says failed')
        const stop = this.#clock.afterAwake(afterMs, () => {
            this.timers.delete(name)
            void this.#start(unit)
        })
        this.timers.set(name, stop)
        if (this.timerFails === 'lies') throw cannot('nobody could tell')
    }

    async runTransient(run: TransientRun): Promise<TransientResult> {
        this.calls.push(`run ${run.unit} ${run.argv.join(' ')}`)
        this.onCall(`run ${run.unit}`)
        this.#bus()
        const next = this.runs.shift() ?? { result: 'done' }
        if (next === 'throws') throw new Fault('failed', `cannot run ${run.argv.join(' ')}: the bus is gone`)
        if (typeof next === 'function') return next(run)
        if (next.result === 'done') this.onRun(run)
        else if (next.timedOut) await this.#pass(run.timeoutMs)
        return next
    }

    endTimer(name: string): void {
        this.timers.get(name)?.()
        this.timers.delete(name)
    }

    /** The machine was started anew: nothing transient is left, nothing runs. */
    reboot(): void {
        this.timers.clear()
        this.#jobs.clear()
    }

    close = () => undefined

    async #start(name: string): Promise<JobResult> {
        const unit = this.#unit(name)
        return unit === undefined ? 'not-found' : this.#work(name, unit)
    }

    #work(name: string, unit: SimUnit): Promise<JobResult> {
        const job =
            this.#jobs.get(name) ??
            unit.runs!().then(result => {
                this.#jobs.delete(name)
                if (result !== 'done' && unit.restartMs !== undefined)
                    this.#clock.afterAwake(unit.restartMs, () => void this.#start(name))
                return result
            })
        this.#jobs.set(name, job)
        return job
    }

    #unit(name: string): SimUnit | undefined {
        const unit = this.units.get(name) ?? this.template(name)
        if (unit !== undefined) this.units.set(name, unit)
        return unit
    }

    #call(verb: string, name: string): SimUnit | undefined {
        this.calls.push(`${verb} ${name}`)
        this.onCall(`${verb} ${name}`)
        this.#bus()
        return this.#unit(name)
    }

    #bus(): void {
        if (this.busLost <= 0) return
        this.busLost--
        throw new Fault('failed', 'cannot reach systemd: there is no D-Bus here')
    }

    #pass(ms: number): Promise<void> {
        return ms <= 0 ? Promise.resolve() : new Promise(resolve => this.#clock.after(ms, resolve))
    }
}

/** Lets simulated time pass until the work is over; fails when two hours of it do not suffice. */
export async function drive<T>(clock: SimClock, work: Promise<T>): Promise<T> {
    let over = false
    const watched = work.finally(() => {
        over = true
    })
    watched.catch(() => undefined)
    for (let second = 0; second < 7200 && !over; second++) {
        for (let turn = 0; turn < 3 && !over; turn++) await new Promise(resolve => setImmediate(resolve))
        if (!over) clock.advance(1000)
    }
    if (!over) throw new Error('still waiting after two simulated hours')
    return await watched
}
