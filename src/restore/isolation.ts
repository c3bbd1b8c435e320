/** Whether any other member of the cluster answers: a database that is put back beside a living cluster splits it. */
import { parseCorosyncConf } from '../format/corosync-conf.ts'
import { type Exec, outputOf } from '../host/exec.ts'
import { addressesOf, type Answer, ownAddresses, tcpAnswer } from '../host/reach.ts'

/** How members are asked; a test gives its own. */
export interface PeerProbe {
    /** Resolves within about `ms`; never rejects. */
    ping(address: string, ms: number): Promise<boolean>
    connect(address: string, port: number, ms: number): Promise<Answer>
    /** Addresses of a name; an address is its own. */
    resolve(name: string, ms: number): Promise<string[]>
    /** Addresses of this host: whoever has one of them is no peer. */
    own(): ReadonlySet<string>
}

export const peerProbe = (exec: Exec): PeerProbe => ({
    async ping(address, ms) {
        const seconds = String(Math.max(1, Math.ceil(ms / 1000)))
        const argv = ['ping', '-n', '-q', '-c', '2', '-i', '0.3', '-w', seconds, address] as const
        const answer = await exec([...argv], { timeoutMs: ms + 1000 })
        return answer.found && answer.status === 0
    },
    connect: tcpAnswer,
    resolve: addressesOf,
    own: ownAddresses,
})

/** A name that somebody knows as a member of the cluster, and where it was reached. */
export interface Peer {
    node: string
    addresses: string[]
}

export interface MemberSources {
    /** Texts of corosync.conf: that of the database, that of this host. */
    corosync: readonly (string | undefined)[]
    /** Text of /etc/pve/.members. */
    members?: string
}

const bounds = {
    probeMs: 3_000,
    /** Addresses that are asked at the same time. */
    together: 32,
    /** corosync takes 32 members or so; each has up to 8 links. */
    addresses: 512,
} as const

/** ssh, and the API of Proxmox VE. */
const ports = [
    { port: 22, service: 'ssh' },
    { port: 8006, service: 'port 8006' },
] as const

/** Everybody that is named as a member, this host included: which addresses are its own is known only on it. */
export function membersOf({ corosync, members }: MemberSources): Peer[] {
    const found = new Map<string, Set<string>>()
    const add = (node: string, addresses: readonly string[]) => {
        const known = found.get(node) ?? new Set<string>()
        for (const address of addresses) known.add(address)
        found.set(node, known)
    }
    for (const text of corosync)
        if (text !== undefined)
            for (const { name, addresses } of parseCorosyncConf(text).nodes) add(name, addresses)
    for (const { node, address } of parseMembers(members)) add(node, [address])
    return [...found].map(([node, addresses]) => ({ node, addresses: [...addresses] }))
}

export interface Isolation {
    /** Who answers, each once, and how. */
    alive: { node: string; address: string; by: string }[]
    /** Names that lead to no address: nobody can tell whether these are off. */
    unknown: { node: string; address: string }[]
    /** Addresses that were asked. */
    asked: number
}

/** Asks every address of every member that is not of this host. Bounded; stops with the signal. */
export async function findAlive(
    members: readonly Peer[],
    probe: PeerProbe,
    signal: AbortSignal,
): Promise<Isolation> {
    const own = probe.own()
    const isOwn = (address: string) => own.has(address) || /^127\.|^::1$/.test(address)
    const wanted = members.flatMap(({ node, addresses }) => addresses.map(address => ({ node, address })))
    const isolation: Isolation = { alive: [], unknown: [], asked: 0 }
    await inTurns(wanted.slice(0, bounds.addresses), signal, async ({ node, address }) => {
        const found = await probe.resolve(address, bounds.probeMs)
        if (found.length === 0) isolation.unknown.push({ node, address })
        for (const one of found) {
            if (isOwn(one) || isolation.alive.some(known => known.node === node)) continue
            isolation.asked++
            const by = await whoAnswers(one, probe)
            if (by !== undefined && !isolation.alive.some(known => known.node === node))
                isolation.alive.push({ node, address: one, by })
        }
    })
    for (const { node, address } of wanted.slice(bounds.addresses)) isolation.unknown.push({ node, address })
    return isolation
}

async function whoAnswers(address: string, probe: PeerProbe): Promise<string | undefined> {
    const answers = await Promise.all([
        probe.ping(address, bounds.probeMs).then(answers => (answers ? 'ping' : undefined)),
        ...ports.map(async ({ port, service }) => {
            const answer = await probe.connect(address, port, bounds.probeMs)
            if (answer === 'silent') return undefined
            return answer === 'open' ? service : `${service} (refused, so somebody is there)`
        }),
    ])
    return answers.find(answer => answer !== undefined)
}

async function inTurns<T>(
    list: readonly T[],
    signal: AbortSignal,
    act: (one: T) => Promise<void>,
): Promise<void> {
    const rest = [...list]
    await Promise.all(
        Array.from({ length: Math.min(bounds.together, rest.length) }, async () => {
            for (let one = rest.shift(); one !== undefined; one = rest.shift()) {
                signal.throwIfAborted()
                await act(one)
            }
        }),
    )
}

/** Lines of `pvecm status` that name members which corosync sees now, this node aside. */
export async function seenByCorosync(exec: Exec, signal: AbortSignal): Promise<string[]> {
    const output = outputOf(await exec(['pvecm', 'status'], { timeoutMs: 15_000, signal }), [0, 1, 2, 255])
    return output.ok ? otherMembers(output.text) : []
}

export function otherMembers(status: string): string[] {
    return status.split('\n').flatMap(line => {
        const [, who, local] = /^0x[0-9a-f]+\s+\d+\s+(\S+)(\s+\(local\))?\s*$/.exec(line.trim()) ?? []
        return who === undefined || local !== undefined ? [] : [who]
    })
}

function parseMembers(text: string | undefined): { node: string; address: string }[] {
    let value: unknown
    try {
        value = JSON.parse(text ?? '')
    } catch {
        return []
    }
    const list = (value as { nodelist?: unknown } | null)?.nodelist
    if (typeof list !== 'object' || list === null) return []
    return Object.entries(list).flatMap(([node, about]) => {
        const address = (about as { ip?: unknown } | null)?.ip
        return typeof address === 'string' && address !== '' ? [{ node, address }] : []
    })
}

/** `pve2 at 10.0.0.2 (ping)`, for a sentence. */
export function describeAlive({ alive }: Pick<Isolation, 'alive'>): string {
    return alive.map(({ node, address, by }) => `${node} at ${address} (${by})`).join(', ')
}
