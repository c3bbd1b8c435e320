/** Which programs configure the network of this host, and which of them a set of files concerns. */
import type { AreaHost, Candidate } from './area.ts'
import { type Files, quietly } from './configured.ts'

export const allManagers = ['ifupdown2', 'ifupdown', 'netplan', 'networkd', 'NetworkManager'] as const
export type Manager = (typeof allManagers)[number]

const runs = (state: string | undefined): boolean => /^(active|activating|reloading)$/.test(state ?? '')

/**
 * Those that manage this machine; more than one may. Where systemd does not answer, what they leave below `/run` decides.
 */
export async function managersOf(host: AreaHost): Promise<Manager[]> {
    const [networking, networkd, networkManager] = await Promise.all(
        ['networking.service', 'systemd-networkd.service', 'NetworkManager.service'].map(unit =>
            host.active(unit),
        ),
    )
    const found: Manager[] = []
    const byNetworkd =
        runs(networkd) || (networkd === undefined && filesIn(host, '/run/systemd/netif').includes('state'))
    const byNetworkManager =
        runs(networkManager) ||
        (networkManager === undefined && filesIn(host, '/run/NetworkManager').length > 0)
    if (host.has('netplan') && filesIn(host, '/etc/netplan').some(name => name.endsWith('.yaml')))
        found.push('netplan')
    if (byNetworkd) found.push('networkd')
    if (byNetworkManager) found.push('NetworkManager')
    // It fails at boot for one interface of many and manages the others all the same; a host where nothing else
    // runs is its own even when the unit was never started.
    const byIfupdown =
        networking === 'inactive' ? found.length === 0 : networking !== undefined || found.length === 0
    if (host.has('ifup') && byIfupdown) found.unshift(host.has('ifreload') ? 'ifupdown2' : 'ifupdown')
    return found
}

const filesIn = (files: Files, directory: string): string[] => quietly(() => files.names(directory)) ?? []

/** Whether a manager reads this file when it loads its configuration. */
export function isReadBy(manager: Manager, path: string): boolean {
    return shapes[manager].test(path)
}

/** Hooks count when they run, `interfaces.new` at the next boot: neither needs anything loaded. */
const interfaces = /^\/etc\/network\/(?!interfaces\.new$|if-[a-z-]+\.d\/|run(\/|$))/
const shapes: Record<Manager, RegExp> = {
    ifupdown2: interfaces,
    ifupdown: interfaces,
    netplan: /^\/etc\/netplan\/[^/]*\.yaml$/,
    networkd:
        /^\/(etc|usr\/local\/lib)\/systemd\/(network\/(?!.*\.link).*\.(network|netdev|conf)|networkd\.conf(\.d\/.*)?)$/,
    NetworkManager: /^\/etc\/NetworkManager\//,
}

/** Tunnels that run from a file of their own each, by the template of their unit. */
const tunnels: readonly { directory: string; template: string }[] = [
    { directory: '/etc/wireguard', template: 'wg-quick' },
    { directory: '/etc/openvpn', template: 'openvpn' },
    { directory: '/etc/openvpn/client', template: 'openvpn-client' },
    { directory: '/etc/openvpn/server', template: 'openvpn-server' },
]

/** A tunnel whose file changes, or a key or script that its file names. */
export interface Tunnel {
    unit: string
    /** `wg-quick` makes an interface of this name, which stays when its file is gone. */
    device?: string
    config: string
}

export function tunnelsOf(host: Files, candidate: Candidate): Tunnel[] {
    return tunnels.flatMap(({ directory, template }) => {
        const within = candidate.changed.filter(path => path.startsWith(`${directory}/`))
        if (within.length === 0) return []
        const names = new Set([...filesIn(host, directory), ...filesIn(candidate, directory)])
        return [...names].sort().flatMap(file => {
            const name = /^([A-Za-z0-9_=+.-]+)\.conf$/.exec(file)?.[1]
            if (name === undefined) return []
            const config = `${directory}/${file}`
            const texts = [host, candidate].map(files => quietly(() => files.read(config)) ?? '')
            const concerned = within.some(
                path =>
                    path === config ||
                    (!path.endsWith('.conf') &&
                        texts.some(text => text.includes(path.slice(path.lastIndexOf('/') + 1)))),
            )
            const device = template === 'wg-quick' ? { device: name } : {}
            return concerned ? [{ unit: `${template}@${name}.service`, config, ...device }] : []
        })
    })
}

/** Units beside the managers that read a file of the network again when they are told to. */
export const followers: readonly { shape: RegExp; unit: string; verb: 'reload' | 'restart' }[] = [
    { shape: /^\/etc\/systemd\/resolved\.conf(\.d\/|$)/, unit: 'systemd-resolved.service', verb: 'restart' },
    { shape: /^\/etc\/frr\//, unit: 'frr.service', verb: 'reload' },
    { shape: /^\/etc\/dnsmasq\.d\//, unit: 'dnsmasq.service', verb: 'restart' },
]
