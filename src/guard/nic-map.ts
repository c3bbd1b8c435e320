/** Which card of the backup is which card of this host, what has to be renamed for it, and what must be asked about first. */
import { type Files, quietly } from './configured.ts'
import { trimSpace } from '../format/lines.ts'
import type { Nic } from '../format/nic-inventory.ts'

/** What tells cards apart, the surest first. Behind the addresses come places: a new card in the old slot takes its part. */
const identities = [
    ['permanent MAC', nic => nic.permanentMac],
    ['MAC', nic => nic.mac],
    ['serial number', nic => nic.serial],
    ['PCI slot', nic => nic.pciSlot],
    ['ID_PATH', nic => nic.path],
    ['device path', nic => nic.devicePath],
    ['ID_NET_NAME_PATH', nic => nic.netNamePath],
    ['ID_NET_NAME_SLOT', nic => nic.netNameSlot],
    ['ID_NET_NAME_ONBOARD', nic => nic.netNameOnboard],
] as const satisfies readonly (readonly [string, (nic: Nic) => string | undefined])[]

export type IdentityKey = (typeof identities)[number][0]

export interface Match {
    saved: Nic
    live: Nic
    by: IdentityKey
}

export interface Rename {
    from: string
    to: string
    by: IdentityKey
}

export interface Clash {
    name: string
    /**
     * `other-card`: the saved name belongs to a card here that the backup does not know, so it may be meant.
     * `still-used`: the new name is one that the saved configuration uses for something else.
     */
    why: 'other-card' | 'still-used'
    /** The card of this host that has the name. */
    live: Nic | undefined
}

/** Renames that depend on each other: all of them or none. */
export interface NicConflict {
    renames: Rename[]
    clashes: Clash[]
}

export interface NicMap {
    matches: Match[]
    /** Safe to do without asking. */
    renames: Rename[]
    conflicts: NicConflict[]
    /** Saved cards that are not here; `namesake` is another card here that has the name and would get the settings. */
    unmatched: { saved: Nic; namesake?: Nic }[]
    /** Cards of this host that the backup does not know. */
    unknown: Nic[]
}

/**
 * Matches the cards of a backup with those of this host. A value that several cards of one side have proves nothing and
 * does not count; a card once matched stays so. `used` are the names that the saved configuration mentions (`interfaceNames`):
 * what it does not mention needs no renaming. Without it every saved name counts as used.
 */
export function mapNics(saved: readonly Nic[], live: readonly Nic[], used?: ReadonlySet<string>): NicMap {
    const matches = matchNics(saved, live)
    const partner = new Map(matches.map(match => [match.live, match.saved]))
    const found = new Set(matches.map(match => match.saved))
    const isUsed = (name: string) =>
        used === undefined ? saved.some(nic => nic.name === name) : used.has(name)
    const holder = (name: string) => live.find(nic => nic.name === name) ?? live.find(hasAltname(name))

    const renames = matches.flatMap(match => renamesOf(match, isUsed))
    const renamedAway = new Set(renames.map(({ from }) => from))
    const clashesOf = ({ from, to }: Rename): Clash[] => {
        const clashes: Clash[] = []
        const other = holder(from)
        if (other !== undefined && !partner.has(other))
            clashes.push({ name: from, why: 'other-card', live: other })
        // Another name of the same card is no stranger.
        const isItsOwn = matches.some(match => match.live.name === to && match.saved.name === to)
        if (isUsed(to) && !renamedAway.has(to) && !isItsOwn)
            clashes.push({ name: to, why: 'still-used', live: holder(to) })
        return clashes
    }

    const result: NicMap = { matches, renames: [], conflicts: [], unmatched: [], unknown: [] }
    for (const group of connected(renames)) {
        const clashes = group.flatMap(clashesOf)
        if (clashes.length === 0) result.renames.push(...group)
        else result.conflicts.push({ renames: group, clashes })
    }
    for (const nic of saved) {
        if (found.has(nic) || !isUsed(nic.name)) continue
        const namesake = holder(nic.name)
        result.unmatched.push(namesake === undefined ? { saved: nic } : { saved: nic, namesake })
    }
    result.unknown = live.filter(nic => !partner.has(nic))
    return result
}

/** The map that `renameInterfaces` takes; with the conflicts that somebody decided to go through with. */
export function renameMap(...lists: readonly (readonly Rename[])[]): Map<string, string> {
    return new Map(lists.flat().map(({ from, to }) => [from, to]))
}

function matchNics(saved: readonly Nic[], live: readonly Nic[]): Match[] {
    const matches: Match[] = []
    const taken = new Set<Nic>()
    for (const [by, identityOf] of identities) {
        const here = uniqueBy(live, identityOf)
        for (const [value, nic] of uniqueBy(saved, identityOf)) {
            const other = here.get(value)
            if (other === undefined || taken.has(nic) || taken.has(other)) continue
            taken.add(nic).add(other)
            matches.push({ saved: nic, live: other, by })
        }
    }
    return matches
}

/** Cards by a value that no other card of this side has. */
function uniqueBy(nics: readonly Nic[], identityOf: (nic: Nic) => string | undefined): Map<string, Nic> {
    const found = new Map<string, Nic>()
    const twice = new Set<string>()
    for (const nic of nics) {
        const value = identityOf(nic)
        if (value === undefined) continue
        if (found.has(value)) twice.add(value)
        found.set(value, nic)
    }
    for (const value of twice) found.delete(value)
    return found
}

const hasAltname = (name: string) => (nic: Nic) => nic.altnames?.includes(name) ?? false

/** The card's name, and those of its other names that the configuration uses and that it does not have here. */
function renamesOf({ saved, live, by }: Match, isUsed: (name: string) => boolean): Rename[] {
    const names = [saved.name, ...(saved.altnames ?? []).filter(name => !hasAltname(name)(live))]
    return [...new Set(names)]
        .filter(from => from !== live.name && isUsed(from))
        .map(from => ({ from, to: live.name, by }))
}

/** Groups of renames that share a name: a swap, a cycle, a chain. */
function connected(renames: readonly Rename[]): Rename[][] {
    const groups: Rename[][] = []
    for (const rename of renames) {
        const touches = (group: Rename[]) =>
            group.some(({ from, to }) => [from, to].some(name => name === rename.from || name === rename.to))
        const joined = groups.filter(touches)
        for (const group of joined) groups.splice(groups.indexOf(group), 1)
        groups.push([...joined.flat(), rename])
    }
    return groups
}

export interface NamingRule {
    path: string
    /** Counts from 1. */
    line: number
    /** The rule as it stands there. */
    text: string
}

/** Where an administrator, or Proxmox's own tool for pinning names, puts rules that name cards. */
export const namingRuleDirectories = [
    '/etc/udev/rules.d/',
    '/etc/systemd/network/',
    '/usr/local/lib/systemd/network/',
] as const

/**
 * Finds rules that name interfaces: `NAME=` in udev's rules, `Name=` and `NamePolicy=` in systemd's `.link` files and what
 * is added to them, `rename` in ifupdown's. Which file is which, its path tells; any other file has none. With such rules,
 * restored or of this host, the names of this moment may not be those of the next boot.
 */
export function namingRules(files: readonly { path: string; text: string }[]): NamingRule[] {
    return files.flatMap(({ path, text }) => {
        const find = finderOf(path)
        return find === undefined ? [] : find(text).map(rule => ({ path, ...rule }))
    })
}

/** Files whose rules for naming cards are others than before, as `PATH line N` or `PATH goes`; interfaces files left out. */
export function changedNamingRules(before: Files, after: Files & { changed: readonly string[] }): string[] {
    return after.changed
        .filter(path => namingRuleDirectories.some(directory => path.startsWith(directory)))
        .flatMap(path => {
            const [was, is] = [before, after].map(files =>
                namingRules([{ path, text: quietly(() => files.read(path)) ?? '' }]),
            ) as [NamingRule[], NamingRule[]]
            const same = was.length === is.length && was.every(({ text }, at) => text === is[at]!.text)
            if (same) return []
            return [is.length === 0 ? `${path} goes` : `${path} line ${is[0]!.line}`]
        })
}

type Finder = (text: string) => Omit<NamingRule, 'path'>[]

function finderOf(path: string): Finder | undefined {
    if (/\.rules$/.test(path)) return udevRules
    if (/\.link$|\.link\.d\/[^/]+\.conf$/.test(path)) return linkRules
    if (/(^|\/)etc\/network\/interfaces(\.d\/[^/]+)?$/.test(path)) return renameStanzas
    return undefined
}

/** udev(7): comments are whole lines, a backslash at the end continues a rule. */
function udevRules(text: string): Omit<NamingRule, 'path'>[] {
    const found: Omit<NamingRule, 'path'>[] = []
    const lines = text.split('\n')
    for (let at = 0; at < lines.length; at++) {
        const line = at + 1
        let rule = trimSpace(lines[at]!)
        if (rule.startsWith('#')) continue
        while (rule.endsWith('\\') && at + 1 < lines.length)
            rule = `${rule.slice(0, -1)}${trimSpace(lines[++at]!)}`
        if (assignsName(rule)) found.push({ line, text: rule })
    }
    return found
}

/** Goes key by key, so that neither a comparison (`NAME==`) nor a word inside quotes is taken for one. */
function assignsName(rule: string): boolean {
    const key = /([A-Z_]+)(?:\{[^}]*\})?[\t-\r ]*([=!+:-]?=)[\t-\r ]*[ei]?"((?:[^"\\]|\\.)*)"?/gy
    for (;;) {
        const from = key.lastIndex
        const skipped = /[\t-\r ,]*/y
        skipped.lastIndex = from
        skipped.exec(rule)
        key.lastIndex = skipped.lastIndex
        const found = key.exec(rule)
        if (found === null) return false
        const [, name, operator, value] = found
        if (name === 'NAME' && /^[:+]?=$/.test(operator!) && value !== '') return true
    }
}

/** systemd.link(5): `Name=`, `NamePolicy=` and its kin of the section `[Link]`. */
function linkRules(text: string): Omit<NamingRule, 'path'>[] {
    let section = ''
    return text.split('\n').flatMap((raw, at) => {
        const line = trimSpace(raw)
        if (line.startsWith('[')) section = line
        const isRule = section === '[Link]' && /^(Name|NamePolicy)[\t-\r ]*=[\t-\r ]*[^\t-\r ]/.test(line)
        return isRule ? [{ line: at + 1, text: line }] : []
    })
}

function renameStanzas(text: string): Omit<NamingRule, 'path'>[] {
    return text.split('\n').flatMap((raw, at) => {
        const line = trimSpace(raw)
        return /^rename[\t-\r ]/.test(line) ? [{ line: at + 1, text: line }] : []
    })
}
