/** Whether the host is well: for the person who decides. Nothing here confirms, and nothing rolls back. */
import { ipFamily } from '../format/ip-address.ts'
import { outputOf } from '../host/exec.ts'
import { tcpAnswer } from '../host/reach.ts'
import type { AreaHost, Finding } from './area.ts'
import { quietly } from './configured.ts'
import type { Addresses, Argv } from './record.ts'

const bounds = {
    lookMs: 3_000,
    /** One echo, and `ping` gets this many seconds for it. */
    pingSeconds: 2,
    dnsMs: 5_000,
    tcpMs: 1_500,
    /** Gateways that are asked. */
    gateways: 4,
} as const

/** Everybody's resolver knows it; a host without a way out gets a warning and nothing more. */
const knownName = 'deb.debian.org'

export const finding = (name: string, level: Finding['level'], text: string): Finding => ({
    name,
    level,
    text,
})

/** Standard output, or undefined when there is none that counts. */
export async function said(
    host: AreaHost,
    argv: Argv,
    ms: number = bounds.lookMs,
    okStatuses?: number[],
): Promise<string | undefined> {
    const answer = outputOf(await host.look(argv, ms), okStatuses)
    return answer.ok ? answer.text : undefined
}

async function list<T>(host: AreaHost, argv: Argv): Promise<T[] | undefined> {
    const text = await said(host, argv)
    // `ip -j` prints nothing at all for an empty list.
    if (text?.trim() === '') return []
    const value = quietly(() => JSON.parse(text ?? 'null') as unknown)
    return Array.isArray(value) ? (value as T[]) : undefined
}

interface IpLink {
    ifname?: string
    flags?: string[]
    operstate?: string
    link_type?: string
    addr_info?: {
        family?: string
        local?: string
        scope?: string
        temporary?: boolean
        deprecated?: boolean
    }[]
}

interface IpRoute {
    dst?: string
    gateway?: string
    dev?: string
    via?: { host?: string }
}

/** Made for guests and containers, whose addresses are not where a host is reached. */
const ofGuests =
    /^(docker|br-[0-9a-f]{12}|veth|tap|fwbr|fwpr|fwln|virbr|vnet|lxc|lxdbr|cni|flannel|cali|podman|kube)/

/** Global addresses by interface. Undefined when `ip` does not tell. */
export async function liveAddresses(
    host: AreaHost,
): Promise<{ name: string; up: boolean; carrier: boolean; addresses: string[] }[] | undefined> {
    const links = await list<IpLink>(host, ['ip', '-j', 'addr'])
    return links
        ?.filter(({ ifname = '' }) => ifname !== '' && !ofGuests.test(ifname))
        .map(({ ifname = '', flags = [], addr_info = [] }) => ({
            name: ifname,
            up: flags.includes('UP'),
            carrier: flags.includes('LOWER_UP'),
            addresses: addr_info
                .filter(
                    ({ scope, temporary, local }) => scope === 'global' && !temporary && local !== undefined,
                )
                .map(({ local }) => local!),
        }))
        .filter(({ addresses }) => addresses.length > 0)
}

export async function networkHealth(host: AreaHost, addresses: Addresses): Promise<Finding[]> {
    const parts = await Promise.all([
        clientRoute(host, addresses),
        routesAndGateways(host),
        links(host, addresses),
        names(host),
        products(host),
        cluster(host),
    ])
    return parts.flat()
}

async function clientRoute(host: AreaHost, { client }: Addresses): Promise<Finding[]> {
    if (client === undefined || ipFamily(client) === undefined) return []
    const result = await host.look(['ip', '-j', 'route', 'get', client], bounds.lookMs)
    const answer = outputOf(result)
    if (!answer.ok) {
        // That the kernel says no is an answer; that nobody could be asked is none.
        const asked = result.found && result.status === 2
        const text = asked
            ? `there is no route to ${client}, where your connection comes from`
            : `it is not known whether there is a route to ${client}: ${answer.why}`
        return [finding('client-route', asked ? 'critical' : 'warning', text)]
    }
    const [route] = quietly(() => JSON.parse(answer.text) as IpRoute[]) ?? []
    const through = route?.gateway === undefined ? '' : ` through ${route.gateway}`
    return [
        finding('client-route', 'ok', `${client} is reached over ${route?.dev ?? 'an interface'}${through}`),
    ]
}

async function routesAndGateways(host: AreaHost): Promise<Finding[]> {
    const [v4, v6] = await Promise.all([
        list<IpRoute>(host, ['ip', '-j', 'route', 'show', 'default']),
        list<IpRoute>(host, ['ip', '-j', '-6', 'route', 'show', 'default']),
    ])
    if (v4 === undefined && v6 === undefined)
        return [finding('default-route', 'warning', 'it is not known whether there is a default route')]
    const routes = [...(v4 ?? []), ...(v6 ?? [])]
    if (routes.length === 0)
        return [
            finding('default-route', 'warning', 'there is no default route: only neighbours reach this host'),
        ]
    const gateways = routes
        .map(({ gateway, via, dev }) => ({ gateway: gateway ?? via?.host, dev }))
        .filter((one): one is { gateway: string; dev: string | undefined } => one.gateway !== undefined)
    const known = gateways.map(({ gateway, dev }) => `${gateway} on ${dev ?? 'an interface'}`)
    const findings = [
        finding(
            'default-route',
            'ok',
            `the default route leads to ${known.join(' and ') || routes[0]!.dev || 'a link'}`,
        ),
    ]
    if (!host.has('ping')) return findings
    const pings = gateways.slice(0, bounds.gateways).map(async ({ gateway, dev }) => {
        const address = /^fe80:/i.test(gateway) && dev !== undefined ? `${gateway}%${dev}` : gateway
        const argv: Argv = ['ping', '-n', '-q', '-c', '1', '-W', String(bounds.pingSeconds), address]
        const answered = (await said(host, argv, bounds.pingSeconds * 1_000 + 2_000)) !== undefined
        return finding(
            'gateway',
            answered ? 'ok' : 'warning',
            answered ? `the gateway ${gateway} answers` : `the gateway ${gateway} does not answer to a ping`,
        )
    })
    return [...findings, ...(await Promise.all(pings))]
}

async function links(host: AreaHost, { before, after, server, client }: Addresses): Promise<Finding[]> {
    const live = await liveAddresses(host)
    if (live === undefined)
        return [finding('addresses', 'warning', 'the addresses of this host could not be read')]
    const present = live.flatMap(({ addresses }) => addresses)
    const remote = client !== undefined || server !== undefined
    if (present.length === 0)
        return [finding('addresses', remote ? 'critical' : 'warning', 'this host has no global address')]
    const findings = live.map(({ name, up, carrier, addresses }) => {
        if (up && carrier) return finding('link', 'ok', `${name} is up with ${addresses.join(', ')}`)
        const text = `${name} has ${addresses.join(', ')} and ${up ? 'no carrier' : 'is down'}`
        return finding(
            'link',
            server !== undefined && addresses.includes(server) ? 'critical' : 'warning',
            text,
        )
    })
    const missing = (wanted: readonly string[]) => wanted.filter(address => !present.includes(address))
    // The same look serves before, after, and after a rollback: each of the two states is in order.
    const isNew = after !== undefined && missing(after).length === 0
    const isOld = missing(before).length === 0
    if (isNew) findings.push(finding('addresses', 'ok', 'all addresses of the new files are there'))
    else if (isOld) findings.push(finding('addresses', 'ok', 'all addresses from before are there'))
    else {
        const lost = after === undefined ? missing(before) : missing(after)
        const text = `${lost.join(', ')} ${lost.length === 1 ? 'is' : 'are'} not on this host`
        findings.push(finding('addresses', 'warning', text))
    }
    if (server !== undefined && !present.includes(server))
        // Left on purpose when the new files name others, and all of those are there.
        findings.push(
            isNew && after !== undefined && !after.includes(server)
                ? finding(
                      'server',
                      'warning',
                      `the address you came in by, ${server}, is gone as planned: connect to ${after.join(' or ')}`,
                  )
                : finding('server', 'critical', `the address you came in by, ${server}, is not on this host`),
        )
    return findings
}

async function names(host: AreaHost): Promise<Finding[]> {
    const answer = outputOf(await host.look(['getent', 'ahosts', knownName], bounds.dnsMs))
    return [
        answer.ok && answer.text.trim() !== ''
            ? finding('dns', 'ok', 'names are resolved')
            : finding('dns', 'warning', `names are not resolved: ${knownName} is not found`),
    ]
}

/** What each product listens on, where it is installed. */
const ports = [
    { program: 'pveproxy', port: 8006, name: 'the web interface of Proxmox VE' },
    { program: 'proxmox-backup-manager', port: 8007, name: 'Proxmox Backup Server' },
] as const

async function products(host: AreaHost): Promise<Finding[]> {
    const looks = ports
        .filter(({ program }) => host.has(program))
        .map(async ({ port, name }) => {
            const open = await answersLocally(host, '127.0.0.1', port)
            return finding(
                `port-${port}`,
                open ? 'ok' : 'warning',
                open ? `${name} answers on port ${port}` : `${name} does not answer on port ${port}`,
            )
        })
    return Promise.all(looks)
}

export async function answersLocally(host: AreaHost, address: string, port: number): Promise<boolean> {
    const ask = host.answers?.bind(host) ?? tcpAnswer
    return (await ask(address, port, bounds.tcpMs)) === 'open'
}

async function cluster(host: AreaHost): Promise<Finding[]> {
    if (!host.has('pmxcfs') && !host.has('pvecm')) return []
    const findings: Finding[] = []
    const mounted = await host.look(['mountpoint', '-q', '/etc/pve'], bounds.lookMs)
    if (mounted.found) {
        const why = mounted.timedOut ? 'does not answer' : 'is not mounted'
        findings.push(
            mounted.status === 0 && !mounted.timedOut
                ? finding('pmxcfs', 'ok', '/etc/pve is mounted')
                : finding('pmxcfs', 'warning', `/etc/pve ${why}`),
        )
    }
    if (quietly(() => host.read('/etc/corosync/corosync.conf')) === undefined) return findings
    const state = await host.active('corosync.service')
    if (state !== undefined)
        findings.push(finding('corosync', state === 'active' ? 'ok' : 'warning', `corosync is ${state}`))
    // Both end with another status than 0 where there is no quorum, and tell it all the same.
    const any = [0, 1, 2, 3, 255]
    const text = host.has('corosync-quorumtool')
        ? await said(host, ['corosync-quorumtool', '-s'], bounds.lookMs, any)
        : await said(host, ['pvecm', 'status'], bounds.lookMs, any)
    const quorate = /^Quorate:\s*(Yes|No)\b/im.exec(text ?? '')?.[1]?.toLowerCase()
    findings.push(
        quorate === 'yes'
            ? finding('quorum', 'ok', 'the cluster has quorum')
            : finding(
                  'quorum',
                  'warning',
                  quorate === 'no'
                      ? 'the cluster has no quorum'
                      : 'it is not known whether the cluster has quorum',
              ),
    )
    return findings
}

/** Where sshd listens, as addresses that this host itself can connect to. */
export async function sshPlaces(host: AreaHost): Promise<{ address: string; port: number }[]> {
    const places: string[] = []
    if ((await host.active('ssh.socket')) === 'active') {
        // systemd listens in its place, and what sshd's own files say does not count.
        const text = await said(host, ['systemctl', 'show', '--value', '-p', 'Listen', 'ssh.socket'])
        for (const [, place] of (text ?? '').matchAll(/^(\S+) \(Stream\)$/gm)) places.push(place!)
    }
    const bySystemd = places.length > 0
    if (!bySystemd) {
        const text = await said(host, ['sshd', '-T'])
        for (const [, place] of (text ?? '').matchAll(/^listenaddress (\S+)$/gm)) places.push(place!)
    }
    const found = new Map<string, { address: string; port: number }>()
    for (const place of places) {
        const [, address = '', port = ''] = /^(?:\[?([^\]]*)\]?:)?([0-9]+)$/.exec(place) ?? []
        if (port === '') continue
        // sshd listens for each family on its own; a socket of systemd for "any" takes both.
        const only6 = address === '::' && !bySystemd && !places.includes(`0.0.0.0:${port}`)
        const local = only6 ? '::1' : ['', '0.0.0.0', '::', '*'].includes(address) ? '127.0.0.1' : address
        found.set(`${local} ${port}`, { address: local, port: Number(port) })
    }
    return [...found.values()]
}

/** That sshd answers here does not prove that a packet from outside comes through. */
export async function sshHealth(host: AreaHost, { client, server }: Addresses): Promise<Finding[]> {
    if (!host.has('sshd')) return []
    const bad = client === undefined && server === undefined ? 'warning' : 'critical'
    const places = await sshPlaces(host)
    if (places.length === 0) return [finding('sshd', bad, 'sshd does not say where it listens')]
    return Promise.all(
        places.map(async ({ address, port }) => {
            const where = `${address} port ${port}`
            if (!(await answersLocally(host, address, port)))
                return finding('sshd', bad, `sshd does not answer at ${where}`)
            if (!host.has('ssh-keyscan')) return finding('sshd', 'ok', `somebody answers at ${where}`)
            // It ends with 0 whatever it met, and older ones print the greeting on standard error.
            const result = await host.look(['ssh-keyscan', '-T', '3', '-p', String(port), address], 12_000)
            const text = result.found ? `${Buffer.from(result.stdout)}\n${Buffer.from(result.stderr)}` : ''
            if (!/SSH-2\.0-/.test(text))
                return finding('sshd', bad, `who answers at ${where} is not an SSH server`)
            return /^\S+ (ssh|ecdsa|sk)-\S+ \S+$/m.test(text)
                ? finding('sshd', 'ok', `sshd answers at ${where} and shows its host keys`)
                : finding('sshd', bad, `sshd answers at ${where} and shows no host key`)
        }),
    )
}
