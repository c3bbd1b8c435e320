/** A private bus with a stand-in for systemd on it, for tests of everything that talks to the service manager. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Message, type MessageBus, sessionBus, Variant } from 'dbus-next'
import { findProgram } from '../../src/host/exec.ts'

export const busDaemon = findProgram('dbus-daemon')

const configuration = (
    socket: string,
) => `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>`

/** A dbus-daemon of our own, which a test may stop, freeze and start again on the same socket. */
export class PrivateBus {
    readonly #directory = mkdtempSync(join(tmpdir(), 'proxsave-bus-'))
    readonly socket = join(this.#directory, 'socket')
    #daemon: ChildProcess | undefined

    async start(): Promise<this> {
        const config = join(this.#directory, 'bus.conf')
        writeFileSync(config, configuration(this.socket))
        const child = spawn(busDaemon!, ['--nofork', `--config-file=${config}`, '--print-address=1'], {
            stdio: ['ignore', 'pipe', 'ignore'],
        })
        this.#daemon = child
        // It prints its address once it listens.
        await once(child.stdout!, 'data')
        return this
    }

    signal(signal: NodeJS.Signals): void {
        this.#daemon?.kill(signal)
    }

    async kill(): Promise<void> {
        const child = this.#daemon
        this.#daemon = undefined
        if (child === undefined) return
        const ended = once(child, 'exit')
        child.kill('SIGKILL')
        await ended
        rmSync(this.socket, { force: true })
    }

    async close(): Promise<void> {
        await this.kill()
        rmSync(this.#directory, { recursive: true })
    }

    async connect(): Promise<MessageBus> {
        const bus = sessionBus({ busAddress: `unix:socket=${this.socket}` })
        bus.on('error', () => undefined)
        await once(bus, 'connect')
        return bus
    }
}

const systemd1 = 'org.freedesktop.systemd1'
const managerPath = '/org/freedesktop/systemd1'

export interface FakeUnit {
    load?: string
    active: string
}

/** Answers as systemd's manager does, and does with a job what the test says. */
export class FakeSystemd {
    readonly calls: { member: string; body: unknown[] }[] = []
    readonly units = new Map<string, FakeUnit>()
    readonly timers = new Map<string, { next: bigint; last: bigint }>()
    /** Members that get no answer at all. */
    readonly deaf = new Set<string>()
    /** What happens with the next jobs: the result and when its signal is sent; `never` leaves the job running. */
    outcome: { result: string; signal: 'after' | 'before' | 'never' } = { result: 'done', signal: 'after' }
    #bus!: MessageBus
    #job = 0
    readonly #running = new Map<string, number>()

    async join(bus: PrivateBus): Promise<this> {
        this.#bus = await bus.connect()
        this.#bus.addMethodHandler((message: Message) => this.#answer(message))
        await this.#bus.requestName(systemd1, 0)
        return this
    }

    leave(): void {
        this.#bus.disconnect()
    }

    /** Ends a job that was left running. */
    finish(unit: string, result = 'done', active = 'active'): void {
        const job = this.#running.get(unit)
        if (job === undefined) return
        this.#running.delete(unit)
        this.units.set(unit, { active })
        this.#bus.send(jobRemoved(job, unit, result))
    }

    #answer(message: Message): boolean {
        if (message.path === undefined || !message.path.startsWith(managerPath)) return false
        const body = message.body as unknown[]
        this.calls.push({ member: message.member, body })
        if (this.deaf.has(message.member)) return true
        const reply = (signature = '', values: unknown[] = []) => {
            this.#bus.send(Message.newMethodReturn(message, signature, values))
            return true
        }
        switch (message.member) {
            case 'Subscribe':
            case 'Reload':
                return reply()
            case 'KillUnit':
            case 'ResetFailedUnit':
                return this.units.has(String(body[0])) ? reply() : this.#noSuchUnit(message, String(body[0]))
            case 'StartUnit':
            case 'StopUnit':
            case 'RestartUnit':
                return this.#begin(
                    message,
                    String(body[0]),
                    message.member === 'StopUnit' ? 'inactive' : 'active',
                )
            case 'StartTransientUnit':
                this.units.set(String(body[0]), { active: 'inactive' })
                return this.#begin(message, String(body[0]), 'active')
            case 'ListUnitsByNames':
                return reply('a(ssssssouso)', [(body[0] as string[]).map(name => this.#row(name))])
            case 'ListUnitsByPatterns': {
                const patterns = (body[1] as string[]).map(
                    pattern => new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*')}$`),
                )
                const names = [...this.units.keys()].filter(name =>
                    patterns.some(pattern => pattern.test(name)),
                )
                return reply('a(ssssssouso)', [names.map(name => this.#row(name))])
            }
            case 'LoadUnit':
                return reply('o', [`${managerPath}/unit/${Buffer.from(String(body[0])).toString('hex')}`])
            case 'GetAll': {
                const unit = Buffer.from(message.path.split('/').at(-1)!, 'hex').toString()
                const { next, last } = this.timers.get(unit) ?? { next: 0n, last: 0n }
                return reply('a{sv}', [
                    {
                        NextElapseUSecRealtime: new Variant('t', next),
                        LastTriggerUSec: new Variant('t', last),
                    },
                ])
            }
            default:
                return false
        }
    }

    #begin(message: Message, unit: string, active: string): boolean {
        if (!this.units.has(unit)) return this.#noSuchUnit(message, unit)
        const job = ++this.#job
        this.#running.set(unit, job)
        const { result, signal } = this.outcome
        if (signal === 'before') this.finish(unit, result, result === 'done' ? active : 'failed')
        this.#bus.send(Message.newMethodReturn(message, 'o', [`${managerPath}/job/${job}`]))
        if (signal === 'after') this.finish(unit, result, result === 'done' ? active : 'failed')
        return true
    }

    #noSuchUnit(message: Message, unit: string): boolean {
        const text = `Unit ${unit} not found.`
        this.#bus.send(Message.newError(message as unknown as string, `${systemd1}.NoSuchUnit`, text))
        return true
    }

    #row(name: string): unknown[] {
        const unit = this.units.get(name)
        const load = unit === undefined ? 'not-found' : (unit.load ?? 'loaded')
        const job = this.#running.get(name) ?? 0
        return [name, `about ${name}`, load, unit?.active ?? 'inactive', 'sub', '', '/unit', job, '', '/job']
    }
}

export function jobRemoved(job: number, unit: string, result: string): Message {
    return Message.newSignal(managerPath, `${systemd1}.Manager`, 'JobRemoved', 'uoss', [
        job,
        `${managerPath}/job/${job}`,
        unit,
        result,
    ])
}
