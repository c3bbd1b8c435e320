/** The network: ifupdown2, ifupdown, netplan, systemd-networkd or NetworkManager, whichever manages this machine. */
import type { AreaHost, Candidate, Check, Finding, GuardArea } from '../area.ts'
import {
    configuredAddresses,
    guestLinks,
    interfacesFile,
    interfacesProblem,
    networkdDevices,
    quietly,
    readInterfaces,
    settingsOf,
    slavesIn,
} from '../configured.ts'
import { networkDiagnostics } from '../diagnostics.ts'
import { fencingRisk } from '../fencing.ts'
import { finding, liveAddresses, networkHealth, said } from '../health.ts'
import {
    allManagers,
    followers,
    isReadBy,
    type Manager,
    managersOf,
    type Tunnel,
    tunnelsOf,
} from '../managers.ts'
import { type LoaderWay, loadersOf, readUnits } from '../load.ts'
import type { Argv } from '../record.ts'
import { changedNamingRules } from '../nic-map.ts'
import { unchecked, unseen } from '../shown.ts'

const bounds = {
    checkMs: 20_000,
    /** Loading: DHCP and bridges that wait for their ports take their time. */
    loadMs: 60_000,
    /** For another `ifreload` to end. */
    lockSeconds: 20,
    /** For networkd to have configured a link. */
    onlineSeconds: 20,
    /** Addresses and ports that are freed one by one. */
    freed: 64,
} as const

const networkingDropIns = '/etc/systemd/system/networking.service.d/'

/** The fault lies in its nlcache.py and was mended in the next version. */
const faultyIfupdown2 = '3.3.0-1+pmx11'

export const network: GuardArea = {
    id: 'network',
    diagnostics: networkDiagnostics,
    health: networkHealth,

    async checks(host, area, candidate) {
        const managers = await managersOf(host)
        const problems = problemsOf(candidate)
        const checks: Check[] = []
        const changed = (manager: Manager) =>
            managers.includes(manager) && candidate.changed.some(path => isReadBy(manager, path))
        if (changed('ifupdown2')) {
            checks.push({
                title: 'ifreload checks the syntax',
                argv: ['ifreload', '--syntax-check', '-a'],
                timeoutMs: bounds.checkMs,
                // It ends with 1 for mere advice too, such as that about the mtu of a bridge. A warning counts when it is about a
                // value or a file that is missing; those about hardware that is not there yet do not.
                okStatuses: [0, 1],
                refuse: /^error: |^warning: .*(\binvalid value\b|\bcannot find source file\b)/i,
            })
            checks.push({
                title: 'ifup tries it out',
                argv: ['ifup', '-n', '-a'],
                timeoutMs: bounds.checkMs,
                // The dry run of ifupdown2 3.0 ends with 1 at every bridge, and says "error: " of slaves "none":
                // only what it says about the text of a file counts.
                okStatuses: [0, 1],
                refuse: /^error: (\/|main exception\b)|^ifup: .*:[0-9]+: /i,
            })
        } else if (changed('ifupdown'))
            checks.push({
                title: 'ifup tries it out',
                argv: ['ifup', '-n', '-a'],
                timeoutMs: bounds.checkMs,
                refuse: /^ifup: .*:[0-9]+: |couldn't read interfaces file/,
            })
        const findings = await findingsOf(host, candidate, managers)
        if (changed('netplan')) {
            const hidden = unseen(host, area, candidate, /^\/etc\/netplan\//)
            if (hidden.length > 0) findings.push(unchecked('netplan', hidden))
            else
                checks.push({
                    title: 'netplan reads its files',
                    argv: ['netplan', 'get'],
                    timeoutMs: bounds.checkMs,
                    // It ends with 0 whatever it met.
                    refuse: /^Command failed|\bError in network definition\b|\bInvalid YAML\b/,
                })
        }
        return { problems, checks, findings }
    },

    async ways(host, candidate) {
        const managers = await managersOf(host)
        const mine = managers.filter(manager => candidate.changed.some(path => isReadBy(manager, path)))
        const loaders: [string, LoaderWay[]][] = []
        if (candidate.changed.some(path => path.startsWith(networkingDropIns))) loaders.push(readUnits)
        for (const manager of mine) loaders.push([manager, await waysOf[manager](host, candidate)])
        for (const { shape, unit, verb } of followers)
            if (candidate.changed.some(path => shape.test(path)) && (await host.active(unit)) === 'active')
                loaders.push([unit, [way(`${verb} ${unit}`, [['systemctl', verb, unit]])]])
        for (const tunnel of tunnelsOf(host, candidate))
            if ((await host.active(tunnel.unit)) === 'active')
                loaders.push([tunnel.unit, waysOfTunnel(tunnel)])
        return loadersOf(loaders)
    },

    async addresses(host, candidate) {
        const managers = await managersOf(host)
        const before = ((await liveAddresses(host)) ?? []).flatMap(({ addresses }) => addresses)
        const mine = managers.filter(manager => candidate.changed.some(path => isReadBy(manager, path)))
        // Names of hosts and settings of the resolver move no address.
        if (mine.length === 0) return { before, after: before }
        const { addresses, dynamic } = configuredAddresses(candidate, managers)
        return addresses.length === 0 && dynamic ? { before } : { before, after: addresses }
    },
}

function problemsOf(candidate: Candidate): string[] {
    const set = readInterfaces(candidate)
    const seen = new Set(set.files.map(({ path }) => path))
    const changed = new Set(candidate.changed)
    // What a file says that stays as it is cannot be the fault of the new ones.
    const problems = set.problems.filter(problem => changed.has(problem.slice(0, problem.indexOf(': '))))
    for (const path of candidate.changed) {
        if (seen.has(path) || !/^\/etc\/network\/(interfaces$|interfaces\.d\/[^./][^/]*$)/.test(path))
            continue
        const text = candidate.read(path)
        const problem = text === undefined ? undefined : interfacesProblem(path, text)
        if (problem !== undefined && !problems.includes(problem)) problems.push(problem)
    }
    return problems
}

async function findingsOf(
    host: AreaHost,
    candidate: Candidate,
    managers: readonly Manager[],
): Promise<Finding[]> {
    const findings: Finding[] = []
    const touched = allManagers.filter(manager => candidate.changed.some(path => isReadBy(manager, path)))
    const idle = touched.filter(manager => !managers.includes(manager) && !twinRuns(manager, managers))
    if (idle.length > 0)
        findings.push(
            finding(
                'manager',
                'warning',
                `files of ${idle.join(' and ')} change, which does not manage this machine now: they count when it does`,
            ),
        )
    if (managers.includes('ifupdown2') && candidate.changed.some(path => isReadBy('ifupdown2', path))) {
        const version = (await said(host, ['dpkg-query', '-W', 'ifupdown2']))?.trim().split('\t')[1]
        if (version === faultyIfupdown2)
            findings.push(
                finding(
                    'ifupdown2',
                    'warning',
                    `ifupdown2 ${version} has a known fault (nodad) and may fail to set addresses: install a later one first`,
                ),
            )
    }
    if (
        managers.some(manager => manager === 'ifupdown' || manager === 'ifupdown2') &&
        candidate.read(interfacesFile) === undefined
    )
        findings.push(
            finding(
                'interfaces',
                'critical',
                `${interfacesFile} would not be there: no interface would come up`,
            ),
        )
    const fencing = touched.length === 0 ? undefined : await fencingRisk(host)
    if (fencing !== undefined)
        findings.push(finding('fencing', 'critical', `this node may be reset: ${fencing}`))
    findings.push(...laterFindings(host, candidate))
    return findings
}

/** What counts at the next boot only, where no guard is. */
function laterFindings(host: AreaHost, candidate: Candidate): Finding[] {
    const findings: Finding[] = []
    const differs = (path: string) =>
        candidate.changed.includes(path) &&
        quietly(() => host.read(path)) !== quietly(() => candidate.read(path))
    const rules = changedNamingRules(host, candidate)
    if (rules.length > 0)
        findings.push(
            finding(
                'naming-rules',
                'critical',
                `rules that name network cards change (${rules.join(', ')}): they count at the next boot, where no guard is, and cards may then have other names than the new files use`,
            ),
        )
    if (differs('/etc/hostname')) {
        const name = quietly(() => candidate.read('/etc/hostname'))?.trim() || 'nothing'
        const isNode = host.has('pmxcfs')
        findings.push(
            finding(
                'hostname',
                isNode ? 'critical' : 'warning',
                `/etc/hostname changes to ${name}: it counts at the next boot, where no guard is${isNode ? ', and Proxmox VE would then look for a node of that name' : ''}`,
            ),
        )
    }
    const units = candidate.changed.filter(
        path => path === '/etc/default/networking' || path.startsWith(networkingDropIns),
    )
    if (units.some(differs))
        findings.push(
            finding(
                'networking',
                'warning',
                `how networking.service starts changes (${units.filter(differs).join(', ')}): it counts at the next boot, where no guard is`,
            ),
        )
    return findings
}

/** Both read the same files. */
const twinRuns = (manager: Manager, running: readonly Manager[]): boolean =>
    manager.startsWith('ifupdown') && running.some(one => one.startsWith('ifupdown'))

const way = (title: string, commands: Argv[], more: Partial<LoaderWay> = {}): LoaderWay => ({
    title,
    commands,
    timeoutMs: bounds.loadMs,
    ...more,
})

const restart = (unit: string): LoaderWay => way(`restart ${unit}`, [['systemctl', 'restart', unit]])

/** The last of all, for it takes the links of guests off their bridges, and nothing puts those back. */
const restartNetworking: LoaderWay = { ...restart('networking.service'), spares: 'guests' }

/** Without its file it cannot even be stopped well: what it has made goes by hand then. */
function waysOfTunnel({ unit, device, config }: Tunnel): LoaderWay[] {
    const stop: Argv[] = [['systemctl', 'stop', unit]]
    if (device !== undefined) stop.push(['ip', 'link', 'delete', 'dev', device])
    return [
        restart(unit),
        way(`stop ${unit}, whose file is gone`, [['test', '!', '-e', config], ...stop], {
            mayFail: stop.map((_, at) => at + 1),
        }),
    ]
}

const waysOf: Record<Manager, (host: AreaHost, candidate: Candidate) => LoaderWay[] | Promise<LoaderWay[]>> =
    {
        // Both end with 1 for a warning as well, `ifquery` for one port that this machine does not have.
        ifupdown2: () => [
            way(
                'ifreload',
                [
                    // It gives up at once when another one runs, or when the directory of its lock is missing, with the same words.
                    ['install', '-d', '-m', '0755', '/run/network'],
                    ['flock', '-w', String(bounds.lockSeconds), '/run/network/.lock', 'true'],
                    ['ifreload', '-a'],
                ],
                { judge: 'interfaces' },
            ),
            way('what ifreload has reached is what the files say', [['ifquery', '--check', '-a']]),
            way('ifup', [['ifup', '-a']], { judge: 'interfaces' }),
            restartNetworking,
        ],
        // Its `ifup -a` passes over every interface that is up, and `ifdown` knows only what the new files name: what the
        // other files have left goes by address. Flushing an address that is not there is no error.
        ifupdown: (host, candidate) => {
            const fileSets = [candidate, host]
            const left = new Set(
                fileSets.flatMap(files => configuredAddresses(files, ['ifupdown']).addresses),
            )
            const present = new Set(host.names('/sys/class/net'))
            const slaves = new Set(fileSets.flatMap(slavesIn).filter(name => present.has(name)))
            const commands: Argv[] = [
                ['ifdown', '-a', '--exclude=lo'],
                ...[...left]
                    .slice(0, bounds.freed)
                    .map((address): Argv => ['ip', 'addr', 'flush', 'to', address]),
                ...[...slaves]
                    .slice(0, bounds.freed)
                    .map((name): Argv => ['ip', 'link', 'set', 'dev', name, 'nomaster']),
                ['ifup', '-a'],
            ]
            // It takes bridges away and makes them anew: whoever runs on one has to be put back, unless it has ended meanwhile.
            const guests = new Set(guestLinks(host))
            const ports = [...present].flatMap(bridge =>
                (quietly(() => host.names(`/sys/class/net/${bridge}/brif`)) ?? [])
                    .filter(name => guests.has(name))
                    .map((name): Argv => ['ip', 'link', 'set', 'dev', name, 'master', bridge]),
            )
            return [
                way('ifdown and ifup', [...commands, ...ports], {
                    mayFail: ports.map((_, at) => commands.length + at),
                }),
                way('ifup', [['ifup', '-a', '--force']]),
                restartNetworking,
            ]
        },
        netplan: () => [
            way('netplan', [['netplan', 'apply']]),
            way('netplan and networkctl', [
                ['netplan', 'generate'],
                ['networkctl', 'reload'],
            ]),
        ],
        // It never takes away a device whose file has gone, nor makes one anew whose file says something else; the one of
        // Debian 12 leaves addresses of removed files too, and loses routes over a reload. So what only one side has goes
        // by hand, and a new process reads everything.
        networkd: (host, candidate) => {
            const sides = [candidate, host]
            const [later, now] = sides.map(
                files => new Set(configuredAddresses(files, ['networkd']).addresses),
            )
            const freed = [...later!.symmetricDifference(now!)].slice(0, bounds.freed)
            const [planned, present] = sides.map(networkdDevices)
            const changed = [...planned!].filter(([name, { kind, text }]) => {
                const before = present!.get(name)
                if (before === undefined || before.text === text) return false
                return before.kind !== kind || kind !== 'bridge'
            })
            const single = [...planned!, ...present!].filter(
                ([name]) => planned!.has(name) !== present!.has(name),
            )
            const remove = (name: string): Argv => ['ip', 'link', 'delete', 'dev', name]
            const before: Argv[] = changed.slice(0, bounds.freed).map(([name]) => remove(name))
            const commands: Argv[] = [
                ...before,
                ...freed.map((address): Argv => ['ip', 'addr', 'flush', 'to', address]),
                ['systemctl', 'restart', 'systemd-networkd.service'],
                // It says that it is ready before any link is.
                [
                    '/usr/lib/systemd/systemd-networkd-wait-online',
                    '--any',
                    `--timeout=${bounds.onlineSeconds}`,
                ],
            ]
            const after = single.slice(0, bounds.freed)
            return [
                way(
                    'restart systemd-networkd.service',
                    [...commands, ...after.map(([name]) => remove(name))],
                    {
                        mayFail: [
                            ...before.map((_, at) => at),
                            commands.length - 1,
                            ...after.map((_, at) => commands.length + at),
                        ],
                        without: after.map(([, { path }], at) => [commands.length + at, path]),
                    },
                ),
                way('networkctl', [['networkctl', 'reload']]),
            ]
        },
        NetworkManager: async (host, candidate) => {
            const reload: Argv = ['nmcli', 'connection', 'reload']
            const devices = await said(host, ['nmcli', '-t', '-f', 'DEVICE,STATE', 'device'])
            const connected = [...(devices ?? '').matchAll(/^([^:\s]+):connected$/gm)].map(
                ([, name]) => name!,
            )
            const ids = candidate.changed
                .filter(path => isReadBy('NetworkManager', path))
                .flatMap(path => settingsOf(candidate.read(path)))
                .filter(({ section, key }) => section === 'connection' && key === 'uuid')
                .map(({ value }) => value)
            return [
                ...(connected.length === 0
                    ? []
                    : [
                          way('nmcli', [
                              reload,
                              ...connected.map((name): Argv => ['nmcli', 'device', 'reapply', name]),
                          ]),
                      ]),
                ...(ids.length === 0
                    ? []
                    : [
                          way('nmcli again', [
                              reload,
                              ...ids.map((id): Argv => ['nmcli', 'connection', 'up', 'uuid', id]),
                          ]),
                      ]),
                restart('NetworkManager.service'),
            ]
        },
    }
