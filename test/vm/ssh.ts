/** Sessions over a real sshd inside of a machine, and the ways in which they are lost. */
import { mkdirSync, writeFileSync } from 'node:fs'
import type { Machine } from './machine.ts'

/** The server's side dies, the client dies, or the network swallows everything and says nothing. */
export const losses = ['session', 'client', 'silence'] as const
export type Loss = (typeof losses)[number]

const key = '/var/tmp/ssh/key'

/** Before the machine is booted. */
export function prepareSshd(machine: Machine): void {
    mkdirSync(machine.path('/etc/ssh/sshd_config.d'), { recursive: true })
    // Sessions that are killed look like attacks.
    writeFileSync(machine.path('/etc/ssh/sshd_config.d/test.conf'), 'PerSourcePenalties no\n')
}

/** A key that root may come in with. */
export async function letIn(machine: Machine): Promise<void> {
    const make = `mkdir -p /var/tmp/ssh /root/.ssh && chmod 700 /root/.ssh &&
        ssh-keygen -q -t ed25519 -N "" -f ${key} && cat ${key}.pub >> /root/.ssh/authorized_keys`
    await machine.must(['sh', '-ec', make])
    await machine.must(['systemctl', 'start', 'ssh'])
}

/** A command on the machine as somebody in it runs it over ssh. */
export const sshLine = (command: string): string =>
    `ssh -T -i ${key} -o BatchMode=yes -o LogLevel=ERROR -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1 ${command}`

export class SshSession {
    readonly #machine: Machine
    readonly #client: ReturnType<Machine['start']>
    readonly #mark: string
    output = ''
    readonly ended: Promise<number>

    private constructor(machine: Machine, client: ReturnType<Machine['start']>, mark: string) {
        this.#machine = machine
        this.#client = client
        this.#mark = mark
        const reading = Promise.all([this.#read(client.stdout), this.#read(client.stderr)])
        this.ended = client.exited.then(async status => {
            await reading
            return status
        })
    }

    /** A command on the machine as somebody at another computer runs it, at a terminal or not. */
    static begin(machine: Machine, command: string, terminal = false): SshSession {
        const mark = `session-${Buffer.from(crypto.getRandomValues(new Uint8Array(4))).toString('hex')}`
        const client = machine.start([
            ...['ssh', terminal ? '-tt' : '-T', '-i', key, '-o', 'BatchMode=yes', '-o', 'LogLevel=ERROR'],
            ...['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', 'root@127.0.0.1'],
            `: ${mark}; TERM=xterm ${command}`,
        ])
        return new SshSession(machine, client, mark)
    }

    /** Never returns an open session: what of it is left is ended behind the test. */
    async lose(loss: Loss): Promise<void> {
        const clients = await this.#pids(`^ssh .*${this.#mark}`)
        if (loss === 'silence') {
            await this.#machine.must(['kill', '-STOP', ...clients])
            return
        }
        const whom = loss === 'client' ? clients : await this.#serverPids()
        await this.#machine.must(['kill', '-KILL', ...whom])
        await this.ended
    }

    async end(): Promise<void> {
        this.#client.kill('SIGKILL')
        for (const pid of await this.#pids(`^ssh .*${this.#mark}`).catch(() => []))
            await this.#machine.run(['kill', '-KILL', pid])
        await this.ended
    }

    /** sshd's processes above the shell that runs the command. */
    async #serverPids(): Promise<string[]> {
        const ran = await this.#machine.run(['pgrep', '-f', '^sshd(-session)?: root'])
        const pids = ran.stdout.trim().split('\n')
        if (pids[0] === '') throw new Error('there is no session to be killed')
        return pids
    }

    async #pids(pattern: string): Promise<string[]> {
        const found = (await this.#machine.run(['pgrep', '-f', pattern])).stdout.trim().split('\n')
        if (found[0] === '') throw new Error(`no process is like ${pattern}`)
        return found
    }

    async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
        const decoder = new TextDecoder()
        for await (const piece of stream) this.output += decoder.decode(piece, { stream: true })
    }
}
