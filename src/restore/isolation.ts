/** Whether any other member of the cluster answers: a database that is put back beside a living cluster splits it. */
import { Fault } from '../core/errors.ts'
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

/** How long (ms) members are waited for. */
export interface Patience {
    /** One answer of one address. */
    probeMs: number
    /** After this no further address is asked. */
    allMs: number
    /** `pvecm status` and reading `.members`. */
    commandMs: number
}

/** Before anything stops: nobody is spared a second look. */
export const longPatience: Patience = { probeMs: 3_000, allMs: 600_000, commandMs: 20_000 }
/** While a plan is made and a person waits for it; the change asks again. */
export const shortPatience: Patience = { probeMs: 1_000, allMs: 3_000, commandMs: 2_000 }

const bounds = {
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
    /** Addresses that were not, for want of time. */
    left: number
}

/** Asks every address of every member that is not of this host. Bounded; stops with the signal. */
export async function findAlive(
    members: readonly Peer[],
    probe: PeerProbe,
    signal: AbortSignal,
    { probeMs, allMs }: Pick<Patience, 'probeMs' | 'allMs'> = longPatience,
): Promise<Isolation> {
    const own = probe.own()
    const isOwn = (address: string) => own.has(address) || /^127\.|^::1$/.test(address)
    const wanted = members.flatMap(({ node, addresses }) => addresses.map(address => ({ node, address })))
    const isolation: Isolation = { alive: [], unknown: [], asked: 0, left: 0 }
    const over = AbortSignal.timeout(allMs)
    const asked = wanted.slice(0, bounds.addresses)
    const notBegun = await inTurns(asked, signal, over, async ({ node, address }) => {
        const found = await probe.resolve(address, probeMs)
        if (found.length === 0) isolation.unknown.push({ node, address })
        for (const one of found) {
            if (isOwn(one) || isolation.alive.some(known => known.node === node)) continue
            if (over.aborted) {
                isolation.left++
                continue
            }
            isolation.asked++
            const by = await whoAnswers(one, probe, probeMs)
            if (by !== undefined && !isolation.alive.some(known => known.node === node))
                isolation.alive.push({ node, address: one, by })
        }
    })
    isolation.left += notBegun
    for (const { node, address } of wanted.slice(bounds.addresses)) isolation.unknown.push({ node, address })
    // In the order of the members, not in that of the answers: the same cluster makes the same plan.
    const order = members.map(({ node }) => node)
    const inOrder = (a: { node: string }, b: { node: string }) =>
        order.indexOf(a.node) - order.indexOf(b.node)
    isolation.alive.sort(inOrder)
    isolation.unknown.sort(inOrder)
    return isolation
}

async function whoAnswers(address: string, probe: PeerProbe, probeMs: number): Promise<string | undefined> {
    const answers = await Promise.all([
        probe.ping(address, probeMs).then(answers => (answers ? 'ping' : undefined)),
        ...ports.map(async ({ port, service }) => {
            const answer = await probe.connect(address, port, probeMs)
            if (answer === 'silent') return undefined
            return answer === 'open' ? service : `${service} (refused, so somebody is there)`
        }),
    ])
    return answers.find(answer => answer !== undefined)
}

/** Resolves to how many were not begun before it was over. */
async function inTurns<T>(
    list: readonly T[],
    signal: AbortSignal,
    over: AbortSignal,
    act: (one: T) => Promise<void>,
): Promise<number> {
    const rest = [...list]
    await Promise.all(
        Array.from({ length: Math.min(bounds.together, rest.length) }, async () => {
            while (!over.aborted) {
                const one = rest.shift()
                if (one === undefined) return
                signal.throwIfAborted()
                await act(one)
            }
        }),
    )
    return rest.length
}

/** Who runs beside this host, as far as can be told from here. */
export interface Neighbours extends Isolation {
    /** Everybody that was thought of. */
    members: Peer[]
    /** Members that corosync is connected to now. */
    seen: string[]
}

/** Asks all members that the given texts and this host name, and corosync itself. */
export async function findNeighbours(
    { exec, probe }: { exec: Exec; probe: PeerProbe },
    corosync: readonly (string | undefined)[],
    signal: AbortSignal,
    patience: Patience = longPatience,
): Promise<Neighbours> {
    const [live, seen] = await Promise.all([
        liveMembers(exec, signal, patience),
        seenByCorosync(exec, signal, patience),
    ])
    const members = membersOf({ corosync, members: live })
    return { members, seen, ...(await findAlive(members, probe, signal, patience)) }
}

/** Throws `failed` when any other member runs. */
export function refuseNeighbours({ alive, seen }: Pick<Neighbours, 'alive' | 'seen'>): void {
    if (alive.length === 0 && seen.length === 0) return
    const who =
        alive.length > 0
            ? `${describeAlive({ alive })} ${alive.length === 1 ? 'answers' : 'answer'}`
            : `corosync is connected to ${seen.join(', ')}`
    throw new Fault('failed', `cannot restore the cluster database: ${who}`, {
        hint: 'one of the two histories would overwrite the other: switch the other members off or unplug them; docs/cluster-recovery.md',
        facts: { alive: alive.map(({ node }) => node).join(',') || seen.join(',') },
    })
}

/** What nobody could tell, a sentence each. */
export function explainDoubts({ unknown, left }: Pick<Isolation, 'unknown' | 'left'>): string[] {
    return [
        ...unknown.map(
            ({ node, address }) => `nobody knows whether ${node} is off: ${address} leads to no address`,
        ),
        ...(left > 0 ? ['some members were not asked yet whether they are off, for want of time'] : []),
    ]
}

/** Through a command with a time limit, since pmxcfs may hang. */
async function liveMembers(exec: Exec, signal: AbortSignal, { commandMs }: Patience) {
    const output = outputOf(await exec(['cat', '/etc/pve/.members'], { timeoutMs: commandMs, signal }))
    return output.ok ? output.text : undefined
}

/** Lines of `pvecm status` that name members which corosync sees now, this node aside. */
async function seenByCorosync(exec: Exec, signal: AbortSignal, { commandMs }: Patience): Promise<string[]> {
    const output = outputOf(await exec(['pvecm', 'status'], { timeoutMs: commandMs, signal }), [0, 1, 2, 255])
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
