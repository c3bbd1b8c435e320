/** A machine with both products in stand-ins, set up and saved: what the tests of restore work on, and how they hold it. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { childrenOf, Machine, type Ran } from './machine.ts'
import { Neighbourhood } from './network.ts'
import { packagePath } from './package.ts'
import { letIn, prepareSshd, SshSession, sshLine } from './ssh.ts'
import { holds, installServices, units } from './stand-ins/services.ts'
import { dressTree, look } from './stand-ins/tree.ts'
import { differences, type Tree } from './tree.ts'

export interface ChangeSummary {
    id: string
    kind: string
    state: string
    result?: string
    left?: string[]
    error?: { message: string }
    facts: Record<string, unknown>
}

export interface Plan {
    categories: { id: string; action: string; why?: string }[]
    files: { create: string[]; replace: string[]; metadata: string[]; remove: string[]; merge: string[] }
    services: { unit: string; state: string }[]
    tasks: { id: string; kind: string }[]
    warnings: string[]
}

/** Short, because one test waits until it is over; long enough that a busy machine confirms in time. */
export const guardSeconds = 20

/** The phases that a restore can be held in, in their order. */
export type Phase = 'planning' | 'stop' | 'start' | 'stage' | 'snapshot' | 'apply-1' | 'export' | 'check'

export const state = '/var/lib/proxsave'

const phaseSeconds = 30
const successorSeconds = 30
const quietSeconds = 60
/** Behind the worker of a plan the daemon looks at units before a change begins: one look would come in between. */
const settledLooks = 3
const settledMs = 300

export class Host {
    readonly machine: Machine
    #daemon = 0

    protected constructor(machine: Machine) {
        this.machine = machine
    }

    static async create(): Promise<Host> {
        const machine = await Machine.create('trixie')
        await dressTree(machine)
        installServices(machine)
        prepareSshd(machine)
        machine.copyIn(packagePath(), `/var/tmp/${basename(packagePath())}`)
        await machine.boot()
        const host = new Host(machine)
        await machine.must(['dpkg', '--install', `/var/tmp/${basename(packagePath())}`])
        await letIn(machine)
        await host.ctl('setup', '--defaults')
        writeFileSync(
            machine.path('/etc/proxsave/conf.d/20-keep.toml'),
            `[target.local]\nkeep = "keep-all=1"\n[guard]\ntimeout = "${guardSeconds}s"\n`,
        )
        await machine.must(['systemctl', 'reload', 'proxsave'])
        await host.ctl('backup')
        return host
    }

    /** A command that has to do all it was told to; 6 is done with warnings. */
    async ctl(...argv: string[]): Promise<string> {
        const ran = await this.run(...argv)
        if (![0, 6].includes(ran.status))
            throw new Error(`proxsavectl ${argv.join(' ')}: ${ran.status}\n${ran.stdout}${ran.stderr}`)
        return ran.stdout
    }

    run(...argv: string[]): Promise<Ran> {
        return this.machine.run(['proxsavectl', ...argv])
    }

    async plan(...argv: string[]): Promise<Plan> {
        return JSON.parse(await this.ctl('restore', 'latest', '--plan', '--json', ...argv)) as Plan
    }

    async changes(): Promise<ChangeSummary[]> {
        const text = await this.ctl('history', '--json')
        return (JSON.parse(text) as { changes: ChangeSummary[] }).changes
    }

    async change(id: string): Promise<ChangeSummary> {
        const found = (await this.changes()).find(change => change.id === id)
        if (found === undefined) throw new Error(`history does not know ${id}`)
        return found
    }

    look(): Promise<Tree> {
        return look(this.machine)
    }

    /** What is not as it was, in content or metadata. Reading files is not a change. */
    async changedSince(before: Tree): Promise<string[]> {
        return differences(before, await this.look(), { ignoring: ['atime'] })
    }

    /** One line a unit. */
    async services(): Promise<string[]> {
        const { stdout } = await this.machine.run(['systemctl', 'is-active', ...units])
        const states = stdout.trim().split('\n')
        return units.map((unit, number) => `${unit} ${states[number]}`)
    }

    /** What a change leaves beside its journal, its undo material and its summary once it has ended. */
    leftovers(): string[] {
        const changes = this.machine.live(`${state}/changes`)
        return readdirSync(changes).flatMap(id =>
            existsSync(`${changes}/${id}/stage`) ? [`${id}/stage`] : id.startsWith('.') ? [id] : [],
        )
    }

    /** Ids of all changes that left a trace on the disk. */
    ids(): Set<string> {
        return new Set(readdirSync(this.machine.live(`${state}/changes`)))
    }

    // --- holding and killing ---------------------------------------------------------------------------------------

    /** The daemon as the host numbers it. */
    async daemon(): Promise<number> {
        const shown = await this.machine.must(['systemctl', 'show', '-P', 'MainPID', 'proxsave.service'])
        this.#daemon = this.machine.hostPid(Number(shown))
        return this.#daemon
    }

    /** Resolves when the journal of a change that is not in `known` says this of a task: its id, or undefined in time. */
    async reached(known: ReadonlySet<string>, task: string, what: 'doing' | 'done'): Promise<string> {
        const said = `"task":"${task}","state":"${what}"`
        const deadline = performance.now() + phaseSeconds * 1000
        while (performance.now() < deadline) {
            for (const id of this.ids()) {
                if (known.has(id)) continue
                if (this.journal(id).includes(said)) return id
            }
            await Bun.sleep(1)
        }
        throw new Error(`no change came to ${said} within ${phaseSeconds} s`)
    }

    journal(id: string): string {
        try {
            return readFileSync(this.machine.live(`${state}/changes/${id}/journal`), 'latin1')
        } catch {
            return ''
        }
    }

    /** Stops the restore that begins now in that phase; resolves to what lets it go on, and to the id of the change. */
    async hold(phase: Phase, known: ReadonlySet<string>): Promise<Held> {
        if (phase === 'stop' || phase === 'start') {
            const id = await this.reached(known, phase, 'doing')
            return { id, release: () => rmSync(this.machine.live(holds[phase]), { force: true }) }
        }
        const daemon = await this.daemon()
        if (phase === 'planning') {
            const worker = await this.#worker(daemon)
            process.kill(worker, 'SIGSTOP')
            return { release: () => resume(worker) }
        }
        const id = await this.reached(known, phase, 'doing')
        const frozen = [daemon, ...childrenOf(daemon)]
        for (const pid of frozen) process.kill(pid, 'SIGSTOP')
        return { id, release: () => frozen.toReversed().forEach(resume) }
    }

    /** Makes the phases `stop` and `start` wait until they are released. */
    bar(phase: Phase): void {
        if (phase === 'stop' || phase === 'start') writeFileSync(this.machine.live(holds[phase]), '')
    }

    async #worker(daemon: number): Promise<number> {
        const deadline = performance.now() + phaseSeconds * 1000
        while (performance.now() < deadline) {
            const [pid] = this.#workers(daemon)
            if (pid !== undefined) return pid
            await Bun.sleep(1)
        }
        throw new Error('no worker of the plan was seen')
    }

    #workers(daemon: number): number[] {
        return childrenOf(daemon).filter(pid => {
            try {
                return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('\0worker')
            } catch {
                // It has ended meanwhile.
                return false
            }
        })
    }

    /** kill -9, at once. */
    kill(daemon: number): void {
        process.kill(daemon, 'SIGKILL')
    }

    /** Waits until systemd has started another daemon, and that has nothing left to do. */
    async recovered(killed: number): Promise<void> {
        await this.machine.until(successorSeconds, 'the next daemon', async () => {
            const shown = await this.machine.run([
                ...['systemctl', 'show', '-P', 'ActiveState', '-P', 'MainPID', 'proxsave.service'],
            ])
            const [active, pid] = shown.stdout.includes('active\n')
                ? ['active', /\d+/.exec(shown.stdout)?.[0]]
                : []
            if (active === undefined || pid === undefined || pid === '0') return false
            try {
                return this.machine.hostPid(Number(pid)) !== killed
            } catch {
                return false
            }
        })
        await this.quiet()
    }

    /** Quiet, and nothing is being planned either that would begin by itself. */
    async settled(): Promise<void> {
        let looks = 0
        await this.machine.until(quietSeconds, 'rest', async () => {
            await this.quiet()
            looks = this.#workers(await this.daemon()).length === 0 ? looks + 1 : 0
            if (looks < settledLooks) await Bun.sleep(settledMs)
            return looks >= settledLooks
        })
    }

    async quiet(seconds = quietSeconds): Promise<void> {
        await this.machine.until(seconds, 'quiet', async () => {
            const ran = await this.run('status', '--json')
            if (![0, 6].includes(ran.status)) return false
            const status = JSON.parse(ran.stdout) as { running: unknown; unfinished: unknown[] }
            return status.running === null && status.unfinished.length === 0
        })
    }
}

/** Resolves when a guard is armed and what it guards is in place: from then on it can be confirmed. Its id. */
export async function guardWaits(machine: Machine): Promise<string> {
    const guards = machine.live(`${state}/guard`)
    let found: string | undefined
    await machine.until(phaseSeconds, 'a guard that waits', async () => {
        const ids = existsSync(guards) ? readdirSync(guards) : []
        found = ids.find(id => ['armed', 'applied'].every(name => existsSync(join(guards, id, name))))
        return found !== undefined
    })
    return found!
}

const [visitor, visited] = ['198.18.7.1', '198.18.7.2']

/** Confirms at another computer, over a new connection, and again while sshd reads its files. */
export async function confirmAnew(machine: Machine): Promise<{ status: number; output: string }> {
    const deadline = performance.now() + guardSeconds * 1000
    const neighbourhood = await Neighbourhood.create([`${visitor}/30`])
    try {
        await neighbourhood.join(machine, 'visit0', `${visited}/30`)
        for (;;) {
            const ran = await neighbourhood.ssh(machine, visited, 'proxsavectl commit')
            const ended = { status: ran.status, output: ran.stdout + ran.stderr }
            if (ended.status !== noConnection || performance.now() > deadline) return ended
        }
    } finally {
        await neighbourhood.destroy()
    }
}

/** What ssh ends with when there is no way in; for a moment that is so whenever sshd reads its files again. */
const noConnection = 255

/** From within a session: a new connection that never leaves the machine. */
export const confirmOverLo = sshLine('proxsavectl commit')

/** A session that is there already, and that tries to confirm as soon as it is told to. */
export async function waitingSession(
    machine: Machine,
    tries = 'proxsavectl commit',
): Promise<{ confirm(): Promise<{ status: number; output: string }> }> {
    const name = Buffer.from(crypto.getRandomValues(new Uint8Array(3))).toString('hex')
    const [here, go] = [`/run/old-session-${name}-is-here`, `/run/old-session-${name}-tries`]
    const command = `sh -c 'touch ${here}; while [ ! -e ${go} ]; do sleep 0.1; done; ${tries}'`
    let session: SshSession | undefined
    await machine.until(phaseSeconds, 'the session', async () => {
        if (session === undefined) {
            const begun = SshSession.begin(machine, command)
            session = begun
            void begun.ended.then(() => {
                if (session === begun && !existsSync(machine.live(here))) session = undefined
            })
        }
        return existsSync(machine.live(here))
    })
    return {
        async confirm() {
            writeFileSync(machine.live(go), '')
            const status = await session!.ended
            for (const path of [here, go]) rmSync(machine.live(path))
            return { status, output: session!.output }
        },
    }
}

export interface Held {
    /** None while planning: nothing has begun. */
    id?: string
    release(): void
}

function resume(pid: number): void {
    try {
        process.kill(pid, 'SIGCONT')
    } catch {
        // A worker that was at its end.
    }
}
