/** A machine that is reached over its network alone, with backups of other networks: what the tests of the guard work on. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Host, state } from './host.ts'
import { Machine } from './machine.ts'
import { type Card, Neighbourhood, type RemoteSession } from './network.ts'
import { packagePath } from './package.ts'
import { letIn, prepareSshd } from './ssh.ts'
import { describeTree, differences, type Tree } from './tree.ts'

/** Where the machine is, and where the backups would have it. */
export const home = { address: '10.77.0.2', gateway: '10.77.0.1' } as const
export const away = { address: '10.77.9.9', gateway: '10.77.9.1' } as const

export const cards: readonly Card[] = [
    { name: 'enp1s0', mac: '52:54:00:77:00:01' },
    { name: 'enp2s0', mac: '52:54:00:77:00:02', connected: false },
]

/** How long behind the window of a guard the machine has to be reached at the latest. */
export const graceSeconds = 60

const network = '/etc/network'
/** ifupdown2 keeps a file there that it writes anew, or removes, whenever it likes. */
const tables = '/etc/iproute2/rt_tables.d'
const pollMs = 10
const armSeconds = 30
const reachSeconds = 20
const quietSeconds = 60

export interface Layout {
    address?: string
    gateway?: string
    /** More lines below the address. */
    lines?: string[]
    /** More lines below the card of a bridge. */
    cardLines?: string[]
    /** The card that carries it. */
    card?: string
    /** The address is on a bridge above the card; default yes. */
    bridge?: boolean
    method?: 'static' | 'dhcp'
    /** Whether it is brought up at boot; default yes. */
    auto?: boolean
}

/** A file as an administrator left it, comments and all. */
export function interfaces(layout: Layout = {}): string {
    const {
        address = home.address,
        gateway = home.gateway,
        lines = [],
        card = 'enp1s0',
        cardLines = [],
    } = layout
    const { bridge = true, method = 'static', auto = true } = layout
    const name = bridge ? 'vmbr0' : card
    return [
        ...[`# The upper socket is ${card}.`, 'auto lo', 'iface lo inet loopback', ''],
        ...(bridge ? [`iface ${card} inet manual`, ...cardLines.map(line => `\t${line}`), ''] : []),
        ...(auto ? [`auto ${name}`] : []),
        `iface ${name} inet ${method}`,
        ...(method === 'static' ? [`\taddress ${address}/24`, `\tgateway ${gateway}`] : []),
        ...(bridge ? [`\tbridge-ports ${card}`, '\tbridge-stp off', '\tbridge-fd 0'] : []),
        ...lines.map(line => `\t${line}`),
        ...['', 'source /etc/network/interfaces.d/*', ''],
    ].join('\n')
}

export interface GuardStatus {
    state: string
    [more: string]: unknown
}

export class GuardedHost extends Host {
    readonly lan: Neighbourhood
    /** Ids of the backups by the name of their network. */
    readonly backups = new Map<string, string>()
    /** How long a guard waits for a confirmation. */
    windowSeconds = 60
    #sessions: RemoteSession[] = []

    private constructor(machine: Machine, lan: Neighbourhood) {
        super(machine)
        this.lan = lan
    }

    /** At home, with the package installed and the program set up; nothing is saved yet. */
    static async at(text: string, plugged: readonly Card[] = cards): Promise<GuardedHost> {
        const lan = await Neighbourhood.create([`${home.gateway}/24`, `${away.gateway}/24`])
        const machine = await Machine.create('trixie', 'network')
        const host = new GuardedHost(machine, lan)
        try {
            machine.cards = lan.cards(plugged)
            prepareSshd(machine)
            // Its absence is an error in the journal at each login.
            writeFileSync(machine.path('/etc/default/locale'), 'LANG=C.UTF-8\n')
            // Nobody serves names there, and says so at once.
            writeFileSync(machine.path('/etc/resolv.conf'), `nameserver ${home.gateway}\n`)
            // ifupdown2 expects it, and the iproute2 of trixie does not bring it any more.
            mkdirSync(machine.path(tables), { recursive: true })
            writeFileSync(machine.path(`${network}/interfaces`), text)
            machine.copyIn(packagePath(), `/var/tmp/${basename(packagePath())}`)
            await machine.boot()
            await machine.must(['dpkg', '--install', `/var/tmp/${basename(packagePath())}`])
            await letIn(machine)
            await host.ctl('setup', '--defaults')
            await host.wait(host.windowSeconds)
            return host
        } catch (error) {
            await host.destroy()
            throw error
        }
    }

    /** Gives guards that are armed from now on this window. */
    async wait(seconds: number): Promise<void> {
        this.windowSeconds = seconds
        writeFileSync(
            this.machine.path('/etc/proxsave/conf.d/20-test.toml'),
            `[guard]\ntimeout = "${seconds}s"\n\n[target.local]\nkeep = "keep-all=1"\n`,
        )
        await this.machine.must(['systemctl', 'reload', 'proxsave'])
    }

    async destroy(): Promise<void> {
        for (const session of this.#sessions) await session.end()
        await this.machine.destroy()
        await this.lan.destroy()
    }

    // --- networks ----------------------------------------------------------------------------------------------------

    /** Makes a backup of the host with this file of interfaces, which it does not load. */
    async save(name: string, text: string): Promise<void> {
        this.#write(text)
        writeFileSync(this.machine.path(`${network}/interfaces.d/saved`), `# ${name}\n`)
        const lines = (await this.ctl('backup', '--json')).trimEnd().split('\n')
        const { backup } = JSON.parse(lines.at(-1)!) as { backup: string }
        this.backups.set(name, backup)
        rmSync(this.machine.path(`${network}/interfaces.d/saved`))
    }

    /** Gives the machine this network, with files whose metadata a careless hand would lose. */
    async settle(text: string): Promise<void> {
        rmSync(this.machine.path(`${network}/interfaces.new`), { force: true })
        rmSync(this.machine.path(`${network}/interfaces.d/saved`), { force: true })
        this.#write(text)
        const local = this.machine.path(`${network}/interfaces.d/local`)
        writeFileSync(local, '# of this host alone\n')
        await this.machine.must(['chown', '4711:4711', `${network}/interfaces.d/local`])
        await this.machine.must(['chmod', '640', `${network}/interfaces.d/local`, `${network}/interfaces`])
        utimesSync(local, 1_000_000_000.123, 1_000_000_001.456)
        await this.machine.must(['ifreload', '-a'])
        // Whoever asked for it in vain a moment ago is told so for some seconds more.
        await this.machine.until(reachSeconds, 'reached at home', () =>
            this.lan.reaches(this.machine, home.address),
        )
    }

    #write(text: string): void {
        mkdirSync(this.machine.path(`${network}/interfaces.d`), { recursive: true })
        writeFileSync(this.machine.path(`${network}/interfaces`), text)
    }

    /** All below /etc. */
    override look(): Promise<Tree> {
        return describeTree(this.machine.path('/etc'))
    }

    override async changedSince(before: Tree): Promise<string[]> {
        const found = differences(before, await this.look(), { ignoring: ['atime'] })
        return found.filter(line => !line.startsWith(`"${tables.replace('/etc/', '')}`))
    }

    /** One line for each interface and each route of the running machine. */
    async addresses(): Promise<string[]> {
        const read = async <T>(...argv: string[]) =>
            JSON.parse(await this.machine.must(['ip', '-j', ...argv])) as T[]
        const links = await read<{
            ifname: string
            mtu: number
            flags: string[]
            master?: string
            addr_info: { local: string; prefixlen: number; scope: string }[]
        }>('addr')
        const routes = await read<{ dst: string; gateway?: string; dev: string }>('route')
        return [
            ...links.map(
                ({ ifname, mtu, flags, master, addr_info }) =>
                    `${ifname} mtu ${mtu} ${flags.includes('UP') ? 'up' : 'down'} in ${master ?? '-'}: ${addr_info
                        .filter(({ scope }) => scope === 'global')
                        .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
                        .join(' ')}`,
            ),
            ...routes.map(({ dst, gateway, dev }) => `${dst} via ${gateway ?? '-'} ${dev}`),
        ].sort()
    }

    // --- guards ------------------------------------------------------------------------------------------------------

    guards(): string[] {
        const all = this.machine.path(`${state}/guard`)
        return existsSync(all) ? readdirSync(all).sort() : []
    }

    /** Path on this host of a file in the directory of a guard. */
    at(guard: string, file: string): string {
        return this.machine.path(`${state}/guard/${guard}/${file}`)
    }

    has(guard: string, file: string): boolean {
        return existsSync(this.at(guard, file))
    }

    async status(): Promise<GuardStatus | null> {
        return (JSON.parse(await this.ctl('status', '--json')) as { guard: GuardStatus | null }).guard
    }

    /** The command that restores the network of that name. */
    restoring(name: string, ...more: string[]): string[] {
        const backup = this.backups.get(name)
        if (backup === undefined) throw new Error(`there is no backup of the network ${name}`)
        return [
            ...['proxsavectl', 'restore', backup, '--mode', 'custom', '--category', 'network'],
            ...['--answer', 'confirm=RESTORE', '--answer', 'network.apply=yes', ...more],
        ]
    }

    /** Restores that network over SSH, the way in that it may cut off. Resolves once the guard is armed. */
    async arm(
        name: string,
        ...more: string[]
    ): Promise<{ guard: string; change: string; session: RemoteSession }> {
        const known = this.guards()
        const session = this.login(this.restoring(name, ...more).join(' '))
        const guard = await this.armed(known, () => session.output)
        return { guard, change: changeOf(guard), session }
    }

    login(command: string, address: string = home.address, terminal = false): RemoteSession {
        const session = this.lan.session(this.machine, address, command, terminal)
        this.#sessions.push(session)
        return session
    }

    /** The guard that is not among those known and is armed. */
    async armed(known: readonly string[], said: () => string = () => ''): Promise<string> {
        let found: string | undefined
        const arms = () => {
            found = this.guards().find(guard => !known.includes(guard) && this.has(guard, 'armed'))
            return found !== undefined
        }
        await poll(armSeconds, () => `no guard was armed\n${said()}`, arms)
        return found!
    }

    async applied(guard: string): Promise<void> {
        await poll(
            this.windowSeconds,
            () => `${guard} was not applied\n${this.log(guard)}`,
            () => this.has(guard, 'applied'),
        )
    }

    /** Waits until the new network is there, looked at, and a person is asked. */
    async waits(guard: string, seconds = this.windowSeconds): Promise<void> {
        const asked = '"task":"network-confirm","state":"doing"'
        await poll(
            seconds,
            () => `${guard} waits for nobody\n${this.log(guard)}`,
            () => this.journal(changeOf(guard)).includes(asked),
        )
    }

    /** Waits until nothing is armed any more and the machine is reached where it was; answers when (ms after `since`). */
    async returns(guard: string, since = performance.now()): Promise<number> {
        const until = since + (this.windowSeconds + graceSeconds) * 1000
        const left = () => (until - performance.now()) / 1000
        await poll(
            left(),
            () => `${guard} stays armed\n${this.log(guard)}`,
            () => !this.has(guard, 'armed'),
        )
        while (!(await this.lan.reaches(this.machine, home.address)))
            if (left() < 0)
                throw new Error(
                    `${home.address} is not reached ${this.windowSeconds} + ${graceSeconds} s after arming\n${this.log(guard)}${await this.machine.must(['ip', 'addr'])}`,
                )
        return performance.now() - since
    }

    log(guard: string): string {
        return this.has(guard, 'log') ? readFileSync(this.at(guard, 'log'), 'utf8') : `${guard} has no log\n`
    }

    /** The last event of a change, and what `attach` ends with. */
    async end(change: string): Promise<{ status: number; result: string; [fact: string]: unknown }> {
        const ran = await this.machine.run(['proxsavectl', 'attach', change, '--json'], {
            seconds: quietSeconds,
        })
        const last = ran.stdout.trimEnd().split('\n').at(-1)!
        return { ...(JSON.parse(last) as { result: string }), status: ran.status }
    }

    /** Units that a guard made for itself and that are gone when it is through. */
    async remains(): Promise<string[]> {
        const listing = ['systemctl', 'list-units', '--all', '--plain', '--no-legend', '--no-pager']
        const units = (await this.machine.must([...listing, 'proxsave-*'])).split('\n')
        const own = /^proxsave-(guard-|apply-|rollback@)/
        return units.filter(line => own.test(line) && !/ inactive +dead /.test(line))
    }

    /** What the program, and the network's, wrote to the journal last. */
    async told(lines = 80): Promise<string> {
        const units = ['proxsave*', 'networking*', 'dbus*'].flatMap(unit => ['--unit', unit])
        const argv = ['journalctl', '--no-pager', '--output=short-monotonic', '-n', `${lines}`, ...units]
        return (await this.machine.run(argv)).stdout
    }

    endSessions(): Promise<unknown> {
        return Promise.all(this.#sessions.splice(0).map(session => session.end()))
    }
}

export const changeOf = (guard: string): string => guard.replace(/-network$/, '')

/** Looks until it holds, and throws when it does not in time. */
export async function poll(seconds: number, why: () => string, holds: () => boolean): Promise<void> {
    const until = performance.now() + seconds * 1000
    while (!holds()) {
        if (performance.now() > until) throw new Error(`${why()} within ${Math.round(seconds)} s`)
        await Bun.sleep(pollMs)
    }
}
