/** What the files that configure the network say: which interfaces files are read, what is wrong in them, which addresses follow. */
import { asFault } from '../core/errors.ts'
import { type Interfaces, optionsOf, parseInterfaces, type Stanza } from '../format/interfaces.ts'
import { ipFamily } from '../format/ip-address.ts'
import { outputOf } from '../host/exec.ts'
import type { AreaHost, Candidate } from './area.ts'
import type { Manager } from './managers.ts'
import type { Argv } from './record.ts'

export const interfacesFile = '/etc/network/interfaces'

/** Reads as a candidate does; the live host is one without changes. */
export type Files = Pick<Candidate, 'read' | 'names'>

/** Files that one interfaces file may lead to: more is a loop or a mistake. */
const mostFiles = 1_000

export interface InterfacesSet {
    files: { path: string; content: Interfaces }[]
    /** A sentence each, with file and line. */
    problems: string[]
}

/** `/etc/network/interfaces` and all that it sources, in the order of reading. */
export function readInterfaces(files: Files): InterfacesSet {
    const set: InterfacesSet = { files: [], problems: [] }
    const seen = new Set<string>()
    const queue = [interfacesFile]
    for (let at = 0; at < queue.length && at < mostFiles; at++) {
        const path = queue[at]!
        if (seen.has(path)) continue
        seen.add(path)
        const text = quietly(() => files.read(path))
        if (text === undefined) continue
        try {
            const content = parseInterfaces(text)
            set.files.push({ path, content })
            set.problems.push(...valuesAgainst(path, content))
            for (const stanza of content.stanzas) queue.push(...sourcedBy(stanza, path, files))
        } catch (error) {
            set.problems.push(placed(path, error))
        }
    }
    return set
}

/** The parser's word on one file, when it refuses it. */
export function interfacesProblem(path: string, text: string): string | undefined {
    try {
        return valuesAgainst(path, parseInterfaces(text))[0]
    } catch (error) {
        return placed(path, error)
    }
}

function placed(path: string, error: unknown): string {
    const { facts, message } = asFault(error)
    return facts.line === undefined ? `${path}: ${message}` : `${path}: line ${facts.line}: ${facts.why}`
}

/** Classic ifupdown's dry run prints a wrong address and calls it good; it would fail when it counts. */
function valuesAgainst(path: string, { stanzas }: Interfaces): string[] {
    const problems: string[] = []
    for (const stanza of stanzas) {
        if (stanza.keyword !== 'iface') continue
        for (const { key, value, line } of optionsOf(stanza)) {
            const [word = ''] = value.split(/\s/)
            if (/[$<%]/.test(word)) continue
            const wanted = key === 'address' || (key === 'gateway' && word !== 'none')
            // Tunnels and Wi-Fi have addresses of other kinds.
            if (!wanted || !['static', undefined].includes(stanza.words[2])) continue
            if (!isAddress(word))
                problems.push(`${path}: line ${line}: ${key} ${JSON.stringify(value)} is not an address`)
        }
    }
    return problems
}

function isAddress(word: string): boolean {
    const [address = '', prefix, ...more] = word.split('/')
    const family = ipFamily(address)
    if (family === undefined || more.length > 0) return false
    if (prefix === undefined) return true
    // `10.0.0.1/255.255.255.0` is taken too.
    if (ipFamily(prefix) === 4) return family === 4
    return /^[0-9]{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128)
}

function sourcedBy({ keyword, words }: Stanza, from: string, files: Files): string[] {
    const [word] = words
    if (word === undefined) return []
    const pattern = word.startsWith('/') ? word : `${from.slice(0, from.lastIndexOf('/'))}/${word}`
    if (keyword === 'source') {
        if (!/[*?[]/.test(pattern)) return [pattern]
        const directory = pattern.slice(0, pattern.lastIndexOf('/'))
        // A pattern in the directory's own name is nothing that a Debian host has.
        if (/[*?[]/.test(directory)) return []
        const shape = globOf(pattern.slice(directory.length + 1))
        return namesIn(files, directory)
            .filter(name => shape.test(name))
            .map(name => `${directory}/${name}`)
    }
    if (keyword !== 'source-directory' && keyword !== 'source-dir') return []
    const directory = pattern.replace(/\/+\*?$/, '')
    return namesIn(files, directory)
        .filter(name => /^[A-Za-z0-9_-]+$/.test(name))
        .map(name => `${directory}/${name}`)
}

const namesIn = (files: Files, directory: string): string[] =>
    [...(quietly(() => files.names(directory)) ?? [])].sort()

/** Hidden names never match, as in a shell. */
function globOf(pattern: string): RegExp {
    const body = pattern
        .replace(/[.+^${}()|\\]/g, '\\$&')
        .replaceAll('*', '.*')
        .replaceAll('?', '.')
        .replace(/\[!/g, '[^')
    try {
        return new RegExp(`^(?!\\.)${body}$`)
    } catch {
        return /$^/
    }
}

export interface Configured {
    /** Without prefix, in the order of the files. */
    addresses: string[]
    /** Some of it is left to DHCP or router advertisements, or the files could not be understood. */
    dynamic: boolean
}

/** What the files of these managers give the host, without loopback. */
export function configuredAddresses(files: Files, managers: readonly Manager[]): Configured {
    const found = new Set<string>()
    let dynamic = false
    for (const manager of managers) {
        const one = readers[manager](files)
        for (const address of one.addresses) found.add(address)
        dynamic ||= one.dynamic
    }
    return { addresses: [...found], dynamic }
}

const readers: Record<Manager, (files: Files) => Configured> = {
    ifupdown2: fromInterfaces,
    ifupdown: fromInterfaces,
    netplan: fromNetplan,
    networkd: fromNetworkd,
    NetworkManager: fromNetworkManager,
}

function fromInterfaces(files: Files): Configured {
    const set = readInterfaces(files)
    const stanzas = set.files.flatMap(({ content }) => content.stanzas)
    const started = new Set(
        stanzas
            .filter(({ keyword }) => keyword === 'auto' || keyword.startsWith('allow-'))
            .flatMap(({ words }) => words),
    )
    const addresses: string[] = []
    let dynamic = set.problems.length > 0
    for (const stanza of stanzas) {
        const [name = '', family, method] = stanza.words
        if (stanza.keyword !== 'iface') continue
        if (!started.has(name) && !started.has('all')) continue
        if (
            method === 'dhcp' ||
            method === 'dhcp6' ||
            method === 'ppp' ||
            (family === 'inet6' && method === 'auto')
        )
            dynamic = true
        // What is inherited or made by a template is not followed.
        if (stanza.words.includes('inherits')) dynamic = true
        for (const { key, value } of optionsOf(stanza)) {
            const address =
                key === 'address' && method !== 'tunnel'
                    ? value.split(/[\s/]/)[0]
                    : /^(pre-|post-)?up$/.test(key)
                      ? /\bip(?:\s+-[46])?\s+a(?:ddr(?:ess)?)?\s+(?:add|replace)\s+([0-9a-fA-F.:]+)/.exec(
                            value,
                        )?.[1]
                      : undefined
            if (
                address !== undefined &&
                ipFamily(address) !== undefined &&
                !/^(127\.|::1$|fe80:)/i.test(address)
            )
                addresses.push(address)
        }
    }
    return { addresses, dynamic }
}

/** Where an administrator puts files for networkd; one in the first hides its namesake in the second. */
const networkdDirectories = ['/etc/systemd/network', '/usr/local/lib/systemd/network']

/** Paths and names of networkd's files with this ending. */
function networkdFiles(files: Files, ending: string): { name: string; path: string }[] {
    const found = new Map<string, string>()
    for (const directory of networkdDirectories)
        for (const name of namesIn(files, directory))
            if (!name.startsWith('.') && name.endsWith(ending) && !found.has(name))
                found.set(name, `${directory}/${name}`)
    return [...found].map(([name, path]) => ({ name, path }))
}

function fromNetworkd(files: Files): Configured {
    const addresses: string[] = []
    let dynamic = false
    const read = (path: string) => {
        for (const { section, key, value } of settingsOf(quietly(() => files.read(path)))) {
            if (key === 'Address' && (section === 'Network' || section === 'Address'))
                addresses.push(...addressOf(value))
            if (section === 'Network' && key === 'DHCP' && !/^(no|false|off|0)$/i.test(value)) dynamic = true
        }
    }
    for (const { path } of networkdFiles(files, '.network')) read(path)
    for (const directory of networkdDirectories)
        for (const name of namesIn(files, directory))
            if (name.endsWith('.network.d'))
                for (const part of namesIn(files, `${directory}/${name}`))
                    if (part.endsWith('.conf')) read(`${directory}/${name}/${part}`)
    return { addresses, dynamic }
}

/** Devices that networkd makes, by name. */
export function networkdDevices(files: Files): Map<string, { path: string; kind: string; text: string }> {
    const devices = new Map<string, { path: string; kind: string; text: string }>()
    for (const { path } of networkdFiles(files, '.netdev')) {
        const text = quietly(() => files.read(path)) ?? ''
        const own = settingsOf(text).filter(({ section }) => section === 'NetDev')
        const settingOf = (wanted: string) => own.find(({ key }) => key === wanted)?.value
        const name = settingOf('Name')
        if (name !== undefined && /^[^\s/-][^\s/]{0,14}$/.test(name))
            devices.set(name, { path, kind: settingOf('Kind') ?? '', text })
    }
    return devices
}

function fromNetworkManager(files: Files): Configured {
    const directory = '/etc/NetworkManager/system-connections'
    const addresses: string[] = []
    let dynamic = false
    for (const name of namesIn(files, directory)) {
        const settings = settingsOf(quietly(() => files.read(`${directory}/${name}`)))
        if (
            settings.some(
                ({ section, key, value }) =>
                    section === 'connection' && key === 'autoconnect' && value === 'false',
            )
        )
            continue
        for (const { section, key, value } of settings) {
            if (section !== 'ipv4' && section !== 'ipv6') continue
            if (/^address(es)?[0-9]*$/.test(key)) addresses.push(...addressOf(value.split(',')[0]!))
            if (key === 'method' && (value === 'auto' || value === 'dhcp') && section === 'ipv4')
                dynamic = true
        }
    }
    return { addresses, dynamic }
}

function fromNetplan(files: Files): Configured {
    const addresses: string[] = []
    let dynamic = false
    for (const name of namesIn(files, '/etc/netplan')) {
        if (!/^[^.].*\.yaml$/.test(name)) continue
        const text = quietly(() => files.read(`/etc/netplan/${name}`))
        if (text === undefined) continue
        let value: unknown
        try {
            value = Bun.YAML.parse(text)
        } catch {
            dynamic = true
            continue
        }
        for (const kind of Object.values(membersOf(membersOf(value).network)))
            for (const device of Object.values(membersOf(kind))) {
                const { addresses: own, dhcp4, dhcp6 } = membersOf(device)
                if (dhcp4 === true || dhcp6 === true) dynamic = true
                for (const one of Array.isArray(own) ? own : [])
                    addresses.push(
                        ...addressOf(typeof one === 'string' ? one : (Object.keys(membersOf(one))[0] ?? '')),
                    )
            }
    }
    return { addresses, dynamic }
}

const membersOf = (value: unknown): Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
        ? (value as Record<string, unknown>)
        : {}

function addressOf(value: string): string[] {
    const [address = ''] = value.trim().split('/')
    return ipFamily(address) === undefined ? [] : [address]
}

/** Lines `key=value` of a file with sections in brackets. */
export function settingsOf(text: string | undefined): { section: string; key: string; value: string }[] {
    const settings: { section: string; key: string; value: string }[] = []
    let section = ''
    for (const raw of (text ?? '').split('\n')) {
        const line = raw.trim()
        const head = /^\[([^\]]*)\]$/.exec(line)
        if (head !== null) section = head[1]!
        const equals = line.indexOf('=')
        if (head !== null || equals <= 0 || /^[#;]/.test(line)) continue
        settings.push({ section, key: line.slice(0, equals).trim(), value: line.slice(equals + 1).trim() })
    }
    return settings
}

/** What is not as the interfaces files of this moment say, as far as it counts: addresses and ways out. */
export async function missingOf(host: AreaHost): Promise<string[]> {
    const wanted = wantedOf(host)
    if (wanted === undefined) return [`${interfacesFile} cannot be understood`]
    const looks = ['addr', 'route show default', '-6 route show default'].map(words =>
        listOf(host, ['ip', '-j', ...words.split(' ')]),
    )
    const [links, ...routes] = await Promise.all(looks)
    if (links === undefined) return ['nobody can tell which addresses are there']
    const byName = new Map(links.map(link => [link.ifname, link.addr_info ?? []]))
    const present = new Set([...byName.values()].flat().map(({ local }) => local))
    const ways = new Set(routes.flatMap(list => list ?? []).map(({ gateway, via }) => gateway ?? via?.host))
    return [
        ...wanted.addresses
            .filter(address => !present.has(address))
            .map(address => `${address} is not on this host`),
        ...wanted.dynamic
            .filter(name => !(byName.get(name) ?? []).some(({ scope }) => scope === 'global'))
            .map(name => `${name} has no address`),
        ...wanted.gateways
            .filter(gateway => !ways.has(gateway))
            .map(gateway => `no default route leads to ${gateway}`),
    ]
}

/** Without cards that this machine does not have: nothing could give those an address. */
function wantedOf(
    host: AreaHost,
): { addresses: string[]; dynamic: string[]; gateways: string[] } | undefined {
    const set = readInterfaces(host)
    if (set.problems.length > 0) return undefined
    const stanzas = set.files.flatMap(({ content }) => content.stanzas)
    const atBoot = stanzas.filter(({ keyword }) => keyword === 'auto' || keyword === 'allow-auto')
    const started = new Set(atBoot.flatMap(({ words }) => words))
    const present = new Set(namesIn(host, '/sys/class/net'))
    const made = /^(bridge|bond|vlan|vxlan|vrf|ovs|slaves|raw)\b/
    const wanted = { addresses: [] as string[], dynamic: [] as string[], gateways: [] as string[] }
    for (const stanza of stanzas) {
        const [name = '', , method] = stanza.words
        if (stanza.keyword !== 'iface' || !(started.has(name) || started.has('all'))) continue
        const options = optionsOf(stanza)
        const isCard = !/[.:]|^(vmbr|vlan|bond)/.test(name) && !options.some(({ key }) => made.test(key))
        if (isCard && !present.has(name)) continue
        if (method === 'dhcp') wanted.dynamic.push(name)
        for (const { key, value } of options) {
            const address = value.split(/[\s/]/)[0]!
            if (ipFamily(address) === undefined || method === 'tunnel') continue
            if (key === 'address' && !/^(127\.|::1$)/.test(address)) wanted.addresses.push(address)
            if (key === 'gateway') wanted.gateways.push(address)
        }
    }
    return wanted
}

interface LinkOrRoute {
    ifname?: string
    addr_info?: { local?: string; scope?: string }[]
    gateway?: string
    via?: { host?: string }
}

async function listOf(host: AreaHost, argv: Argv): Promise<LinkOrRoute[] | undefined> {
    const answer = outputOf(await host.look(argv))
    if (!answer.ok) return undefined
    // `ip -j` prints nothing at all for an empty list.
    if (answer.text.trim() === '') return []
    return quietly(() => JSON.parse(answer.text) as LinkOrRoute[])
}

/** Links that Proxmox VE has made for guests that run: they hang on the bridges of the host. */
export const guestLinks = (files: Files): string[] =>
    namesIn(files, '/sys/class/net').filter(name => /^(tap.|veth.*i.|fwpr|fwln)/.test(name))

/** Ports of bridges and bonds in the interfaces files. */
export function slavesIn(files: Files): string[] {
    const slaves = new Set<string>()
    for (const { content } of readInterfaces(files).files)
        for (const stanza of content.stanzas)
            for (const { key, value } of optionsOf(stanza))
                if (/^(bridge[-_]ports|bond[-_]slaves|slaves)$/.test(key))
                    for (const word of value.split(/\s+/)) if (/^[^\s/]{1,15}$/.test(word)) slaves.add(word)
    slaves.delete('none')
    slaves.delete('regex')
    return [...slaves]
}

/** What cannot be read is not there for a best effort. */
export function quietly<T>(look: () => T): T | undefined {
    try {
        return look()
    } catch {
        return undefined
    }
}
