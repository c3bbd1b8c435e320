/** A neighbourhood for machines: a switch, a gateway and somebody who logs in, all in a namespace of their own. */
import { type Subprocess, spawn } from 'bun'
import type { Cards, Machine, Ran } from './machine.ts'

export interface Card {
    name: string
    mac: string
    /** Whether it is plugged into the switch; the other end of its cable is up all the same. */
    connected?: boolean
}

const commandSeconds = 60
const connectSeconds = 2

/** The key that `letIn` made in the machine. */
const key = '/var/tmp/ssh/key'

export class Neighbourhood {
    /** Random, so that two test runs never meet. */
    readonly name: string
    readonly #holder: Subprocess
    #cables = 0
    /** Of one machine: a neighbourhood has no second. */
    #plugged: string[] = []

    private constructor(name: string, holder: Subprocess) {
        this.name = name
        this.#holder = holder
    }

    /** A switch with nobody on it but us, under all these addresses (`10.77.0.1/24`). */
    static async create(addresses: readonly string[]): Promise<Neighbourhood> {
        const random = Buffer.from(crypto.getRandomValues(new Uint8Array(3))).toString('hex')
        const name = `proxsave-test-${random}`
        const neighbourhood = new Neighbourhood(name, await holdNamespace(name))
        await neighbourhood.#ip(
            'link set lo up',
            'link add lan type bridge',
            'link set lan up',
            ...addresses.map(address => `addr add ${address} dev lan nodad`),
        )
        return neighbourhood
    }

    /** Cards of a machine: the same at every boot, and made anew for each. */
    cards(cards: readonly Card[]): Cards {
        return {
            plug: async () => {
                // The kernel takes its time to remove those of a machine that is gone, and the switch would still send
                // there what is meant for the new ones.
                for (const cable of this.#plugged.splice(0)) await this.run(['ip', 'link', 'del', cable])
                const holder = await holdNamespace(`${this.name}-machine`)
                const { pid } = holder
                for (const { name, mac, connected = true } of cards) {
                    const cable = `cable${this.#cables++}`
                    this.#plugged.push(cable)
                    await this.#ip(
                        `link add ${cable} type veth peer name ${name} address ${mac} netns ${pid}`,
                        ...(connected ? [`link set ${cable} master lan`] : []),
                        `link set ${cable} up`,
                    )
                }
                return { pid, release: () => holder.kill('SIGKILL') }
            },
        }
    }

    /** One more card of a machine that runs already, with an address (`10.77.0.2/24`); it goes with the neighbourhood. */
    async join(machine: Machine, name: string, address: string): Promise<void> {
        const pid = machine.hostPid(1)
        const cable = `cable${this.#cables++}`
        await this.#ip(
            `link add ${cable} type veth peer name ${name} netns ${pid}`,
            `link set ${cable} master lan`,
            `link set ${cable} up`,
        )
        await batch(pid, [`addr add ${address} dev ${name}`, `link set ${name} up`])
    }

    /** Another address of ours on the switch, with a prefix length. */
    async claim(address: string): Promise<void> {
        await this.#ip(`addr add ${address} dev lan nodad`)
    }

    async release(address: string): Promise<void> {
        await this.#ip(`addr del ${address} dev lan`)
    }

    /** A command of this host that sees the neighbourhood's network instead of its own. */
    start(argv: readonly string[]): Subprocess<'pipe', 'pipe', 'pipe'> {
        return startIn(this.#holder.pid, argv)
    }

    async run(argv: readonly string[], seconds = commandSeconds): Promise<Ran> {
        const child = this.start(['timeout', '--kill-after=1', `${seconds}`, ...argv])
        child.stdin.end()
        const [stdout, stderr, status] = await Promise.all([
            new Response(child.stdout).text(),
            new Response(child.stderr).text(),
            child.exited,
        ])
        return { status, stdout, stderr }
    }

    /** A command on the machine over a new connection. 255: there is no way in. */
    ssh(machine: Machine, address: string, command: string, seconds?: number): Promise<Ran> {
        return this.run(sshArgv(machine, address, command), seconds)
    }

    /** A session that lasts, at a terminal or not. */
    session(machine: Machine, address: string, command: string, terminal = false): RemoteSession {
        return new RemoteSession(this.start(sshArgv(machine, address, command, terminal)))
    }

    async reaches(machine: Machine, address: string): Promise<boolean> {
        return (await this.ssh(machine, address, 'true', 2 * connectSeconds + 1)).status === 0
    }

    /** Ends the neighbourhood; its links go with it, and so do the other ends of them. */
    async destroy(): Promise<void> {
        this.#holder.kill('SIGKILL')
        await this.#holder.exited
    }

    async #ip(...commands: string[]): Promise<void> {
        await batch(this.#holder.pid, commands)
    }
}

/** Commands of ip in the network namespace of a process of this host. */
async function batch(pid: number, commands: readonly string[]): Promise<void> {
    const child = startIn(pid, ['ip', '-batch', '-'])
    child.stdin.write(`${commands.join('\n')}\n`)
    child.stdin.end()
    const errors = await new Response(child.stderr).text()
    if ((await child.exited) !== 0) throw new Error(`ip ${commands.join('; ')}: ${errors}`)
}

function startIn(pid: number, argv: readonly string[]): Subprocess<'pipe', 'pipe', 'pipe'> {
    return spawn(['nsenter', `--net=/proc/${pid}/ns/net`, '--', ...argv], {
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'pipe',
    })
}

export class RemoteSession {
    readonly #client: Subprocess<'pipe', 'pipe', 'pipe'>
    output = ''
    readonly ended: Promise<number>

    constructor(client: Subprocess<'pipe', 'pipe', 'pipe'>) {
        this.#client = client
        const reading = Promise.all([this.#read(client.stdout), this.#read(client.stderr)])
        this.ended = client.exited.then(async status => {
            await reading
            return status
        })
    }

    type(text: string): void {
        this.#client.stdin.write(text)
        this.#client.stdin.flush()
    }

    /** Waits, bounded, until it has printed that. */
    async shows(what: string | RegExp, seconds: number): Promise<void> {
        const deadline = performance.now() + seconds * 1000
        while (!(typeof what === 'string' ? this.output.includes(what) : what.test(this.output))) {
            if (performance.now() > deadline)
                throw new Error(`the session did not show ${what} within ${seconds} s:\n${this.output}`)
            await Bun.sleep(20)
        }
    }

    /** The client dies; its machine is not told when the way there is gone. */
    async end(): Promise<void> {
        this.#client.kill('SIGKILL')
        await this.ended
    }

    async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
        const decoder = new TextDecoder()
        for await (const piece of stream) this.output += decoder.decode(piece, { stream: true })
    }
}

function sshArgv(machine: Machine, address: string, command: string, terminal = false): string[] {
    return [
        ...['ssh', terminal ? '-tt' : '-T', '-F', 'none', '-i', machine.path(key), '-o', 'BatchMode=yes'],
        ...['-o', 'LogLevel=ERROR', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null'],
        ...['-o', `ConnectTimeout=${connectSeconds}`, `root@${address}`, command],
    ]
}

/** A process that does nothing in a network namespace of its own, and ends with this one. */
async function holdNamespace(name: string): Promise<Subprocess> {
    const holder = spawn(
        // Its name is what a person sees of it.
        ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--net', 'sh', '-c', 'echo; exec sleep infinity', name],
        { stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' },
    )
    const { value } = await holder.stdout.getReader().read()
    if (value === undefined) throw new Error(`cannot make the network namespace ${name}`)
    return holder
}
