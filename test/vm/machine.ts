/** A Debian machine with a running systemd, in a container that boots in about a second and has no network. */
import { type Subprocess, sleep, spawn } from 'bun'
import {
    cpSync,
    existsSync,
    mkdirSync,
    openSync,
    readdirSync,
    readFileSync,
    rmSync,
    writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { baseSystem, cache, type Flavour, type Suite } from './base.ts'

export interface Ran {
    status: number
    stdout: string
    stderr: string
}

export interface RunOptions {
    input?: string | Uint8Array
    /** Seconds until the command is killed; its status is 124 then. */
    seconds?: number
    /** Directory inside of the machine. */
    cwd?: string
    env?: Record<string, string>
}

/** Network cards of a machine. */
export interface Cards {
    /**
     * Makes the cards as hardware is: without an address. Answers a process of this host whose network namespace has
     * them, and that is let go when the machine has taken it over.
     */
    plug(): Promise<{ pid: number; release(): void }>
}

const bootSeconds = 60
const stopSeconds = 60
const commandSeconds = 120

export class Machine {
    readonly name: string
    /** The machine's root directory as the host sees it. */
    readonly dir: string
    /** Given before a boot; without any the machine has no network. */
    cards: Cards | undefined
    #container: Subprocess | undefined
    #leader = 0

    private constructor(name: string) {
        this.name = name
        this.dir = join(machines(), name)
    }

    /** A fresh copy of the suite's base system, not booted yet. */
    static async create(suite: Suite, flavour?: Flavour): Promise<Machine> {
        sweep()
        const base = await baseSystem(suite, flavour)
        const random = Buffer.from(crypto.getRandomValues(new Uint8Array(3))).toString('hex')
        const machine = new Machine(`${suite}-${random}-${process.pid}`)
        mkdirSync(machines(), { recursive: true })
        await must(['cp', '-a', '--reflink=auto', base, machine.dir])
        writeFileSync(machine.path('/etc/hostname'), `${suite}\n`)
        return machine
    }

    /** Starts the machine and waits until systemd has done all it does at boot. */
    async boot(): Promise<void> {
        if (this.#container !== undefined) throw new Error(`${this.name} runs already`)
        const log = openSync(this.#log(), 'a')
        // The container ends with the test run, whatever happens to it: the kernel then kills unshare, and with it every
        // process of the namespace that it made. systemd-nspawn alone would leave the machine's systemd running.
        const plugged = await this.cards?.plug()
        this.#container = spawn(
            [
                ...['setpriv', '--pdeathsig', 'KILL'],
                ...(plugged === undefined ? [] : showing(plugged.pid, this.#namespace())),
                ...['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'],
                ...['systemd-nspawn', '--quiet', '--boot'],
                ...[`--directory=${this.dir}`, `--machine=${this.name}`],
                ...['--register=no', '--keep-unit', '--link-journal=no'],
                ...['--resolv-conf=off', '--timezone=off'],
                ...(plugged === undefined
                    ? ['--private-network']
                    : [`--network-namespace-path=${this.#namespace()}`, '--capability=CAP_NET_ADMIN']),
            ],
            {
                stdin: 'ignore',
                stdout: log,
                stderr: log,
                // A card belongs to the machine, and so do its settings below /proc/sys/net.
                env: { ...process.env, SYSTEMD_NSPAWN_API_VFS_WRITABLE: plugged ? 'network' : 'no' },
            },
        )
        await this.#until(bootSeconds, 'boot', async () => {
            this.#leader = findInit(this.#container!.pid)
            if (this.#leader === 0 || !existsSync(`/proc/${this.#leader}/root/run/systemd/private`))
                return false
            const { stdout } = await this.run(['systemctl', 'is-system-running'])
            return ['running', 'degraded'].includes(stdout.trim())
        }).finally(() => plugged?.release())
    }

    /** Runs a command inside, as root, with a clean environment. Never throws for its status. */
    async run(argv: string[], options: RunOptions = {}): Promise<Ran> {
        const seconds = options.seconds ?? commandSeconds
        const environment = {
            PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
            HOME: '/root',
            LANG: 'C.UTF-8',
            DEBIAN_FRONTEND: 'noninteractive',
            ...options.env,
        }
        const child = spawn(
            [
                ...this.#enter(),
                ...['env', '-i', `--chdir=${options.cwd ?? '/root'}`],
                ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
                ...['timeout', '--kill-after=5', `${seconds}`, ...argv],
            ],
            {
                stdin: options.input === undefined ? 'ignore' : Buffer.from(options.input),
                stdout: 'pipe',
                stderr: 'pipe',
                timeout: (seconds + 10) * 1000,
            },
        )
        const [stdout, stderr, status] = await Promise.all([
            new Response(child.stdout).text(),
            new Response(child.stderr).text(),
            child.exited,
        ])
        return { status, stdout, stderr }
    }

    /** Runs a command that has to succeed; returns its standard output. */
    async must(argv: string[], options: RunOptions = {}): Promise<string> {
        const ran = await this.run(argv, options)
        if (ran.status !== 0)
            throw new Error(`${argv.join(' ')} ended with ${ran.status}\n${ran.stdout}${ran.stderr}`)
        return ran.stdout
    }

    /** Waits, bounded, until `check` holds inside. */
    async until(seconds: number, what: string, check: () => Promise<boolean>): Promise<void> {
        await this.#until(seconds, what, check)
    }

    /** Starts a command inside that goes on while a test does other things. */
    start(argv: string[]): Subprocess<'pipe', 'pipe', 'pipe'> {
        return spawn(
            [
                ...this.#enter(),
                ...['env', '-i', '--chdir=/root', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'],
                ...['LANG=C.UTF-8', ...argv],
            ],
            { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' },
        )
    }

    /** Path on the host of a path inside. What is mounted inside is not seen there. */
    path(inside: string): string {
        return join(this.dir, inside)
    }

    /** Path on the host of a path inside of the running machine, its mounts included. */
    live(inside: string): string {
        return `/proc/${this.#leader}/root${inside}`
    }

    /** A process inside as the host numbers it: signals get there without the time that entering takes. */
    hostPid(inside: number): number {
        const below = [this.#leader]
        for (let pid = below.pop(); pid !== undefined; pid = below.pop()) {
            try {
                const status = readFileSync(`/proc/${pid}/status`, 'utf8')
                if (/^NSpid:.*\t(\d+)$/m.exec(status)?.[1] === String(inside)) return pid
            } catch {
                continue
            }
            below.push(...childrenOf(pid))
        }
        throw new Error(`${this.name}: there is no process ${inside}`)
    }

    copyIn(from: string, inside: string): void {
        cpSync(from, this.path(inside), { recursive: true })
    }

    copyOut(inside: string, to: string): void {
        cpSync(this.path(inside), to, { recursive: true })
    }

    /** The last lines that a unit, or the whole machine, wrote to its journal. */
    async journal(unit?: string, lines = 60): Promise<string> {
        const only = unit === undefined ? [] : ['--unit', unit]
        return (
            await this.run([
                'journalctl',
                '--no-pager',
                '--output=short-monotonic',
                '-n',
                `${lines}`,
                ...only,
            ])
        ).stdout
    }

    /** An orderly shutdown. */
    async shutDown(): Promise<void> {
        const container = this.#container
        if (container === undefined) return
        // SIGRTMIN+3 asks systemd as init to halt.
        process.kill(this.#leader, 37)
        const timer = setTimeout(() => this.#kill(), stopSeconds * 1000)
        await container.exited
        clearTimeout(timer)
        this.#container = undefined
    }

    /** Shuts down in order and boots the same disk again. */
    async reboot(): Promise<void> {
        await this.shutDown()
        await this.boot()
    }

    /** As pulling the plug: every process gone at once, nothing stopped. */
    async cutPower(): Promise<void> {
        this.#kill()
        await this.#container?.exited
        this.#container = undefined
        // The kernel ends the processes of a namespace one by one; the machine's first is the last to go.
        const gone = performance.now() + 10_000
        while (this.#leader !== 0 && isAlive(this.#leader) && performance.now() < gone) await sleep(5)
    }

    /** Remembers the disk as it is, for `reset`; a machine that runs should be quiet. */
    async keep(): Promise<void> {
        await must(['rm', '-rf', '--one-file-system', this.#kept()])
        await must(['cp', '-a', '--reflink=auto', this.dir, this.#kept()])
    }

    /** Power off, and the disk is as it was when it was kept. */
    async reset(): Promise<void> {
        await this.cutPower()
        await must(['rm', '-rf', '--one-file-system', this.dir])
        await must(['cp', '-a', '--reflink=auto', this.#kept(), this.dir])
    }

    /** Ends the machine and removes its disk. */
    async destroy(): Promise<void> {
        await this.cutPower()
        const all = [this.dir, this.#kept(), this.#log(), this.#namespace()]
        await must(['rm', '-rf', '--one-file-system', ...all])
    }

    /** What the machine printed on its console. */
    console(): string {
        return readFileSync(this.#log(), 'utf8')
    }

    #kept(): string {
        return join(machines(), `kept-${this.name}`)
    }

    #log(): string {
        return `${this.dir}.log`
    }

    /** In front of a command that runs inside. It may not set the clock, which is this host's: nothing in a machine may. */
    #enter(): string[] {
        return ['setpriv', '--bounding-set=-sys_time', 'nsenter', `--target=${this.#leader}`, '--all', '--']
    }

    /** Where the machine's network namespace is mounted, for systemd-nspawn alone. */
    #namespace(): string {
        return `${this.dir}.net`
    }

    #kill(): void {
        this.#container?.kill('SIGKILL')
    }

    async #until(seconds: number, what: string, check: () => Promise<boolean>): Promise<void> {
        const deadline = performance.now() + seconds * 1000
        while (!(await check())) {
            if (this.#container?.exitCode != null || performance.now() > deadline)
                throw new Error(
                    `${this.name}: ${what} did not happen within ${seconds} s\n${this.console().slice(-3000)}`,
                )
            await sleep(30)
        }
    }
}

function machines(): string {
    return join(cache, 'machines')
}

/** In front of a command that sees the network namespace of a process at that path, and is the only one that does. */
function showing(pid: number, path: string): string[] {
    const script = 'touch "$2"; mount --bind "/proc/$1/ns/net" "$2"; shift 2; exec "$@"'
    return ['unshare', '--mount', 'sh', '-ec', script, 'sh', `${pid}`, path]
}

/** Removes what test runs that are gone left behind; the number at the end of a machine's name is its run's. */
function sweep(): void {
    if (!existsSync(machines())) return
    for (const name of readdirSync(machines())) {
        const run = name.match(/-(\d+)(\.log|\.net)?$/)?.[1]
        if (run !== undefined && !existsSync(`/proc/${run}`))
            rmSync(join(machines(), name), { recursive: true, force: true })
    }
}

/** The machine's process 1 as the host numbers it: the systemd below systemd-nspawn, or 0 as long as there is none. */
function findInit(pid: number): number {
    let below: string[]
    try {
        below = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
    } catch {
        return 0
    }
    for (const child of below) {
        if (child === '') continue
        const number = Number(child)
        try {
            // Process 1 of the innermost of three namespaces: this run's, unshare's, the machine's.
            if (/^NSpid:\t\d+\t\d+\t1$/m.test(readFileSync(`/proc/${number}/status`, 'utf8'))) return number
        } catch {
            continue
        }
        const deeper = findInit(number)
        if (deeper !== 0) return deeper
    }
    return 0
}

/** Children of all threads of a process on the host; none when it is gone. */
export function childrenOf(pid: number): number[] {
    try {
        return readdirSync(`/proc/${pid}/task`).flatMap(thread =>
            readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')
                .split(' ')
                .filter(child => child !== '')
                .map(Number),
        )
    } catch {
        return []
    }
}

function isAlive(pid: number): boolean {
    try {
        return readFileSync(`/proc/${pid}/cmdline`).length > 0
    } catch {
        return false
    }
}

async function must(argv: string[]): Promise<void> {
    const child = spawn(argv, { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' })
    const errors = await new Response(child.stderr).text()
    if ((await child.exited) !== 0) throw new Error(`${argv[0]} failed: ${errors}`)
}
