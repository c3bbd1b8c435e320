/**
 * A host with a guarded tree, its service manager, its clock and the people in front of it; daemons and rollbacks run on it
 * as processes that can die. Everything is the product's own code but the area, the service manager and the clock.
 */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type AreaId, areaById } from '../../src/catalog/areas.ts'
import type { ChangeEvent, EndEvent, Plan, PlannedTask } from '../../src/engine/change.ts'
import { type TaskKind, TaskKinds } from '../../src/engine/kinds.ts'
import { Runner, type StartOptions } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import type { Checks, GuardArea } from '../../src/guard/area.ts'
import { registerGuardTasks } from '../../src/guard/index.ts'
import { GuardDirectory, listGuards } from '../../src/guard/record.ts'
import { sweepEnded } from '../../src/guard/sweep.ts'
import { type Occasion, rollBack } from '../../src/guard/rollback.ts'
import type { GuardHost } from '../../src/guard/tasks.ts'
import { realDisk } from '../../src/host/disk.ts'
import type { Exec } from '../../src/host/exec.ts'
import type { PathAction } from '../../src/host/put-in-place.ts'
import type { JobResult, Systemd } from '../../src/host/systemd.ts'
import { SimClock } from '../sim/clock.ts'
import { SimSystemd } from '../sim/systemd.ts'
import { type Call, Crash, Process, type Trouble } from './process.ts'

export const guardedAreas = ['ssh', 'network'] as const
export type Guarded = (typeof guardedAreas)[number]

/** Where the files of an area lie. */
export const homes: Record<Guarded, string> = { ssh: 'etc/ssh', network: 'etc/network' }

const action = (
    path: string,
    action: PathAction['action'],
    type: PathAction['type'] = 'file',
): PathAction => ({
    ...{ path, action, type },
})

export const actions: Record<Guarded, PathAction[]> = {
    ssh: [
        action('etc/ssh/sshd_config', 'replace'),
        action('etc/ssh/sshd_config.d', 'create', 'directory'),
        action('etc/ssh/sshd_config.d/10-new.conf', 'create'),
    ],
    network: [
        action('etc/network/interfaces', 'replace'),
        action('etc/network/interfaces.d/gone', 'remove'),
        action('etc/network/interfaces.d/new', 'create'),
        action('etc/network/linked', 'replace', 'symlink'),
        action('etc/network/if-up.d', 'create', 'directory'),
        action('etc/network/if-up.d/hook', 'create'),
    ],
}

const when = 1_700_000_000.25

function plant(base: string, files: Record<string, string>): void {
    for (const [path, content] of Object.entries(files)) {
        const at = join(base, path)
        fs.mkdirSync(dirname(at), { recursive: true, mode: 0o755 })
        if (content.startsWith('-> ')) fs.symlinkSync(content.slice(3), at)
        else fs.writeFileSync(at, content, { mode: 0o640 })
        fs.lutimesSync(at, when, when)
    }
}

const oldFiles: Record<string, string> = {
    'etc/ssh/sshd_config': 'Port 22\n',
    'etc/ssh/ssh_host_key': 'secret\n',
    'etc/network/interfaces': 'iface eth0 inet static\n address 192.0.2.10/24\n',
    'etc/network/interfaces.d/gone': 'iface eth1 inet manual\n',
    'etc/network/interfaces.d/stays': 'iface eth2 inet manual\n',
    'etc/network/linked': '-> interfaces',
}
const newFiles: Record<string, string> = {
    'etc/ssh/sshd_config': 'Port 2222\nListenAddress 192.0.2.20\n',
    'etc/ssh/sshd_config.d/10-new.conf': 'PermitRootLogin no\n',
    'etc/network/interfaces': 'iface eth0 inet static\n address 192.0.2.20/24\n mtu 9000\n',
    'etc/network/interfaces.d/new': 'iface eth3 inet manual\n',
    'etc/network/linked': '-> interfaces.d/new',
    'etc/network/if-up.d/hook': '#!/bin/sh\n',
}

export interface Daemon {
    process: Process
    runner: Runner
    /** What its recovery came to; undefined when it died or could not. */
    recovered: Promise<EndEvent[] | undefined>
}

export class GuardWorld {
    readonly base = fs.mkdtempSync(join(tmpdir(), 'proxsave-guarded-'))
    readonly root = join(this.base, 'root')
    readonly state = join(this.base, 'state')
    clock = new SimClock()
    systemd = new SimSystemd(this.clock)
    /** Calls of all processes in their order; only kept when asked for. */
    told: Call[] | undefined
    /** What the running system has loaded, by area: the files as they were then. */
    readonly loaded = new Map<string, string>()
    daemon: Daemon | undefined
    /** Does what people do; called whenever nothing goes on. */
    person: () => void = () => undefined
    /** What the next rollback processes meet, one after the other. */
    rollbackTroubles: (Trouble | undefined)[] = []
    rollbacks: Process[] = []
    /** What our own parsers say. */
    checks: Checks = { problems: [], checks: [] }
    health: GuardArea['health'] = async () => []
    /** Commands of the ways. */
    commands: Record<Guarded, [string, ...string[]][]> = {
        ssh: [['true', 'ssh']],
        network: [['true', 'network']],
    }
    /** Exit statuses of what a rollback runs, one after the other; then 0. */
    statuses: number[] = []
    #activity = 0
    #started = 0

    constructor() {
        this.begin()
    }

    /** The host as it was before anything. */
    begin(): void {
        for (const process of [...this.rollbacks, ...(this.daemon ? [this.daemon.process] : [])])
            process.kill()
        fs.rmSync(this.root, { recursive: true, force: true })
        fs.rmSync(this.state, { recursive: true, force: true })
        fs.mkdirSync(this.state, { mode: 0o700 })
        plant(this.root, oldFiles)
        for (const directory of ['etc/network/interfaces.d', 'etc/network', 'etc/ssh', 'etc', ''])
            fs.utimesSync(join(this.root, directory), when, when)
        this.clock = new SimClock()
        this.systemd = this.#newSystemd()
        this.told = undefined
        this.daemon = undefined
        this.person = () => undefined
        this.rollbackTroubles = []
        this.rollbacks = []
        this.checks = { problems: [], checks: [] }
        this.health = async () => []
        this.commands = { ssh: [['true', 'ssh']], network: [['true', 'network']] }
        this.statuses = []
        for (const area of guardedAreas) this.load(area)
    }

    end(): void {
        for (const process of [...this.rollbacks, ...(this.daemon ? [this.daemon.process] : [])])
            process.kill()
        fs.rmSync(this.base, { recursive: true, force: true })
    }

    #newSystemd(): SimSystemd {
        const systemd = new SimSystemd(this.clock)
        systemd.template = name => {
            const id = /^proxsave-rollback@(.+)\.service$/.exec(name)?.[1]
            if (name === 'proxsave-rollback-boot.service') return { active: 'inactive' }
            if (id === undefined) return undefined
            return { active: 'inactive', restartMs: 10_000, runs: () => this.rollback(id, 'deadline') }
        }
        systemd.onRun = ({ argv }) => {
            const area = argv.at(-1) as Guarded
            if (guardedAreas.includes(area)) this.load(area)
        }
        return systemd
    }

    /** The running system reads its files. */
    load(area: Guarded): void {
        this.loaded.set(area, describe(join(this.root, homes[area]), false).join('\n'))
    }

    read(path: string): string | undefined {
        const at = join(this.root, path)
        return fs.existsSync(at) ? contentOf(at) : undefined
    }

    write(path: string, content: string): void {
        fs.mkdirSync(dirname(join(this.root, path)), { recursive: true })
        fs.writeFileSync(join(this.root, path), content)
    }

    guard(change: string, area: Guarded): GuardDirectory {
        return new GuardDirectory(realDisk(), this.state, `${change}-${area}`)
    }

    guards(): GuardDirectory[] {
        return listGuards(realDisk(), this.state)
    }

    changes() {
        return new Store(realDisk(), this.state).list()
    }

    plan(areas: readonly Guarded[] = ['network'], timeoutMs = 180_000, more: Partial<Plan> = {}): Plan {
        const tasks: PlannedTask[] = [{ id: 'stage', kind: 'test.stage', title: 'stage', params: {} }]
        for (const area of areas)
            for (const verb of ['prepare', 'arm', 'apply', 'confirm'])
                tasks.push({
                    id: `${area}-${verb}`,
                    kind: `guard.${verb}`,
                    title: `${verb} ${area}`,
                    params: {
                        area,
                        actions: actions[area] as never,
                        timeoutMs,
                        exports: join(this.state, 'exports/host'),
                    },
                    optional: true,
                    group: `guard-${area}`,
                })
        tasks.push({ id: 'unstage', kind: 'test.unstage', title: 'unstage', params: {}, optional: true })
        return { kind: 'restore', summary: 'restore', by: 'test', tasks, ...more }
    }

    // --- processes ---------------------------------------------------------------------------------------------

    #process(name: string, trouble?: Trouble): Process {
        const tell = (call: Call) => {
            this.#activity++
            this.told?.push(call)
        }
        return new Process(name, trouble, tell)
    }

    /** A daemon that first finishes what another has left. */
    start(trouble?: Trouble): Daemon {
        this.daemon?.process.kill()
        const process = this.#process(`daemon ${++this.#started}`, trouble)
        const store = new Store(process.disk, this.state)
        const clock = this.#clockOf(process)
        const kinds = new TaskKinds()
        let seed = 0
        const runner: Runner = new Runner({
            store,
            kinds,
            clock,
            random: bytes => new Uint8Array(bytes).fill(++seed),
        })
        registerGuardTasks(kinds, this.guardHost(process, runner))
        for (const kind of this.#stageKinds()) kinds.register(kind)
        const recovered = runner
            .recover()
            .then(ends => {
                // A change that is not finished may need them.
                if (!process.dead && runner.unfinished().length === 0) sweepEnded(process.disk, this.state)
                return ends
            })
            .catch(() => undefined)
        this.daemon = { process, runner, recovered }
        return this.daemon
    }

    guardHost(process: Process, runner: Runner): GuardHost {
        const { disk } = process
        const runningOf = (change: string) => {
            const running = runner.running()?.summary
            return running?.facts.undoes === change ? running.id : change
        }
        return {
            root: this.root,
            state: this.state,
            disk,
            calls: process.calls,
            clock: this.#clockOf(process),
            exec: this.#exec(process),
            areas: this.#areas(),
            systemd: this.#systemdOf(process),
            keepProgram: to => disk.replace(to, Buffer.from('the program'), 0o700),
            answer: (change, question, value, by) => runner.answer(runningOf(change), question, value, by),
            watch: () => ({ close: () => undefined }),
            launch: async argv => {
                if (!process.dead) void this.rollback(argv[2]!, 'asked')
            },
        }
    }

    /** A rollback of its own, as its unit or a boot unit starts it. */
    async rollback(id: string, occasion: Occasion): Promise<JobResult> {
        const process = this.#process('rollback', this.rollbackTroubles.shift())
        this.rollbacks.push(process)
        const clock = this.#clockOf(process)
        const guard = new GuardDirectory(process.disk, this.state, id)
        const work = rollBack(
            guard,
            {
                root: this.root,
                state: this.state,
                disk: process.disk,
                calls: process.calls,
                clock,
                exec: this.#exec(process),
                areas: this.#areas(),
                kill: () => undefined,
                sleep: ms => process.alive(new Promise(resolve => void clock.after(ms, resolve))),
                say: () => undefined,
            },
            occasion,
        ).then(
            outcome => (outcome.done === 'failed' ? 'failed' : 'done'),
            () => 'failed',
        )
        return Promise.race([process.alive(work), process.died.then(() => 'failed')])
    }

    /** Everything that ran is gone, and so is what systemd had in memory. */
    reboot(): void {
        this.daemon?.process.kill()
        for (const process of this.rollbacks) process.kill()
        this.clock.reboot()
        this.systemd.reboot()
    }

    /** What the boot unit does for each guard; then the network comes up as its files say. */
    async bootUnit(): Promise<void> {
        for (const name of fs.existsSync(join(this.state, 'guard'))
            ? fs.readdirSync(join(this.state, 'guard'))
            : [])
            if (fs.existsSync(join(this.state, 'guard', name, 'armed'))) await this.rollback(name, 'boot')
    }

    bootUp(): void {
        for (const area of guardedAreas) this.load(area)
    }

    #clockOf(process: Process) {
        const clock = this.clock
        return {
            nowMs: clock.nowMs,
            bootMs: clock.bootMs,
            bootId: clock.bootId,
            timeZone: () => 'UTC',
            after: (ms: number, action: () => void) => {
                this.#activity++
                return clock.after(ms, () => {
                    if (!process.dead) action()
                })
            },
        }
    }

    #exec(process: Process): Exec {
        return argv => {
            const run = async () => {
                const empty = new Uint8Array()
                const ended = {
                    found: true,
                    endedBy: null,
                    stdout: empty,
                    stderr: empty,
                    timedOut: false,
                } as const
                const [program, ...args] = argv
                if (program === 'systemctl' && args.includes('stop')) this.systemd.endTimer(args.at(-1)!)
                if (program === 'systemctl' && args[0] === 'is-active') {
                    const active = args.some(unit => this.systemd.timers.has(unit))
                    const stdout = Buffer.from(active ? 'active\n' : 'inactive\n')
                    return { ...ended, stdout, status: active ? 0 : 3, truncated: false }
                }
                if (program !== 'true') return { ...ended, status: 0, truncated: false }
                const status = this.statuses.shift() ?? 0
                if (status === 0 && guardedAreas.includes(args[0] as Guarded)) this.load(args[0] as Guarded)
                return { ...ended, status, truncated: false }
            }
            return process.alive(process.dead ? Promise.reject(new Crash('dead')) : run())
        }
    }

    #systemdOf(process: Process): Systemd {
        return new Proxy(this.systemd, {
            get: (target, name: keyof Systemd) => {
                const call = target[name] as (...args: unknown[]) => Promise<unknown>
                return (...args: unknown[]) => {
                    if (process.dead) return Promise.reject(new Crash('dead'))
                    const told = call.apply(target, args)
                    if (name !== 'startTransientTimer') return process.alive(told)
                    return process.alive(
                        told.then(value => {
                            this.told?.push({ process: process.name, call: 'timer', path: '' })
                            return value
                        }),
                    )
                }
            },
        })
    }

    #areas(): GuardHost['areas'] {
        const area = (id: AreaId): GuardArea => ({
            id,
            checks: async () => this.checks,
            ways: async () =>
                (this.commands[id as Guarded] ?? []).map(argv => ({
                    title: argv.join(' '),
                    commands: [argv],
                    timeoutMs: 5_000,
                })),
            health: (host, addresses) => this.health(host, addresses),
            ...(id === 'network'
                ? { addresses: async () => ({ before: ['192.0.2.10'], after: ['192.0.2.20'] }) }
                : {}),
            diagnostics: [{ file: 'files.txt', argv: ['true'] }],
        })
        return {
            access: area('access'),
            firewall: area('firewall'),
            ssh: area('ssh'),
            network: area('network'),
        }
    }

    /** Not counted: what unpacks is another process, and its own test is elsewhere. */
    #stageKinds(): TaskKind[] {
        const remove = (dir: string) => fs.rmSync(join(dir, 'stage'), { recursive: true, force: true })
        return [
            {
                kind: 'test.stage',
                do: async (_params, context) => {
                    remove(context.dir)
                    plant(join(context.dir, 'stage'), newFiles)
                    return undefined
                },
                undo: async (_params, context) => remove(context.dir),
            },
            {
                kind: 'test.unstage',
                do: async (_params, context) => {
                    remove(context.dir)
                    return undefined
                },
                undo: async () => undefined,
            },
        ]
    }

    // --- time --------------------------------------------------------------------------------------------------

    /** Lets everything run that does not wait for the clock. */
    async quiet(): Promise<void> {
        for (let still = 0, seen = -1; still < 3; ) {
            await new Promise(resolve => setImmediate(resolve))
            still = seen === this.#activity ? still + 1 : 0
            seen = this.#activity
        }
    }

    /** Lets simulated time pass until this is so, or so much of it has passed. */
    async until(done: () => boolean, mostMs = 3_600_000): Promise<boolean> {
        for (let left = mostMs; ; ) {
            await this.quiet()
            if (done()) return true
            this.person()
            await this.quiet()
            if (done()) return true
            if (left <= 0) return false
            const step = Math.min(left, Math.max(1, this.clock.nextIn ?? left))
            this.clock.advance(step)
            left -= step
        }
    }

    async pass(ms: number): Promise<void> {
        await this.until(() => false, ms)
    }

    /** The end of what the promise waits for; undefined when the daemon died before, or two hours were not enough. */
    async driven<T>(work: Promise<T>): Promise<T | undefined> {
        let over: { value: T } | { error: unknown } | undefined
        work.then(
            value => (over = { value }),
            error => (over = { error }),
        )
        await this.until(() => over !== undefined || this.daemon?.process.dead === true, 7_200_000)
        if (this.daemon?.process.dead) return undefined
        if (over !== undefined && 'error' in over) throw over.error
        return over?.value
    }

    /** A whole change on a daemon that runs; undefined when the daemon died. */
    async change(plan: Plan, options: StartOptions = {}): Promise<EndEvent | undefined> {
        const { runner, recovered } = this.daemon ?? this.start()
        await this.driven(recovered)
        if (this.daemon!.process.dead) return undefined
        const answers = { 'network.apply': 'yes', ...options.answers }
        return this.driven(runner.wait(runner.start(plan, { interactive: true, ...options, answers })))
    }

    async undo(id: string, answers: Record<string, string> = {}): Promise<EndEvent | undefined> {
        const { runner, recovered } = this.daemon ?? this.start()
        await this.driven(recovered)
        if (this.daemon!.process.dead) return undefined
        return this.driven(runner.wait(runner.undo(id, 'test', { interactive: true, answers })))
    }

    /** The question of this id when it is open now. */
    open(id: string) {
        if (this.daemon === undefined || this.daemon.process.dead) return undefined
        return this.daemon.runner.running()?.questions.find(question => question.id === id)
    }

    answer(id: string, value: string): void {
        const { runner } = this.daemon!
        runner.answer(runner.running()!.summary.id, id, value, 'somebody')
    }

    /** Says COMMIT to whatever asks for it. */
    confirming(areas: readonly Guarded[] = guardedAreas): () => void {
        return () => {
            for (const area of areas) {
                const { commit } = areaById(area)
                if (this.open(commit) !== undefined) this.answer(commit, 'COMMIT')
            }
        }
    }

    async events(id: string): Promise<ChangeEvent[]> {
        const found: ChangeEvent[] = []
        for (const record of journalOf(this.state, id)) found.push(record.event)
        return found
    }
}

function* journalOf(state: string, id: string): Generator<{ event: ChangeEvent }> {
    const reader = new Store(realDisk(), state).reader(id)
    for (let record = reader.next(); record !== undefined; record = reader.next())
        yield record as unknown as { event: ChangeEvent }
}

/** Looking must not leave an access time; see open(2). */
const O_NOATIME = 0o1000000
const contentOf = (path: string): string =>
    fs.readFileSync(path, { encoding: 'latin1', flag: O_NOATIME as unknown as string })

/** A line for each entry: everything but access times. `times`: with the time of the last change. */
export function describe(directory: string, times = true): string[] {
    const lines: string[] = []
    const walk = (path: string, name: string) => {
        const stat = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false })
        if (stat === undefined) {
            lines.push(`${name} is not there`)
            return
        }
        const content = stat.isSymbolicLink() ? fs.readlinkSync(path) : stat.isFile() ? contentOf(path) : ''
        const links = stat.isFile() && times ? ` ${stat.nlink} links` : ''
        const meta = `${stat.mode.toString(8)} ${stat.uid}:${stat.gid}${times ? ` ${stat.mtimeNs}` : ''}${links}`
        lines.push(`${name} ${meta} ${JSON.stringify(content)}`)
        if (stat.isDirectory())
            for (const child of fs.readdirSync(path).sort()) walk(join(path, child), `${name}/${child}`)
    }
    walk(directory, '')
    return lines
}

/** Names of files that no finished change may leave, below a directory. */
export function temporaries(directory: string): string[] {
    const found: string[] = []
    const walk = (path: string) => {
        for (const entry of fs.readdirSync(path, { withFileTypes: true })) {
            const at = join(path, entry.name)
            if (/proxsave-tmp$|^\..*\.tmp$|\.new$/.test(entry.name) && !entry.name.endsWith('interfaces.new'))
                found.push(at.slice(directory.length))
            if (entry.isDirectory()) walk(at)
        }
    }
    walk(directory)
    return found
}
