/**
 * Renames interfaces in /etc/network/interfaces and nothing else: a word changes only where ifupdown, ifupdown2 or a
 * command would read it as the name of an interface. All other bytes stay, comments and descriptions among them.
 */
import { type Interfaces, parseInterfaces, type Stanza, writeInterfaces } from './interfaces.ts'

/** The new name of an interface; undefined keeps it. */
type NewName = (name: string) => string | undefined

/**
 * Renames by `names` (old to new) in one pass, so names may be swapped. `eno1` also changes as `eno1.100` and `eno1:0`. Throws
 * a `damaged` fault where `parseInterfaces` does. Lines of a template are left alone: see `isTemplated` of `interfaces.ts`.
 *
 * Stanzas `rename` stay: they are naming rules of the host the file comes from. So do the file names behind `source`.
 */
export function renameInterfaces(text: string, names: ReadonlyMap<string, string>): string {
    const interfaces = parseInterfaces(text)
    rewrite(interfaces, { name: name => names.get(name), command: name => names.get(name) })
    return writeInterfaces(interfaces)
}

/**
 * Every word that stands where the name of an interface may stand: `eno1.100` gives that and `eno1`. Words of commands are
 * among them whatever they mean, so ask it about names that are known, do not list it.
 */
export function interfaceNames(text: string): Set<string> {
    const found = new Set<string>()
    const see = (name: string) => void found.add(name)
    rewrite(parseInterfaces(text), { name: see, command: see })
    return found
}

/** IFNAMSIZ without the final NUL. */
const longestName = 15

/** Names that the kernel refuses for their length: `eno1.4000` may have become `enp129s0f0np0.4000`. */
export function overlongNames(text: string): string[] {
    const found = new Set<string>()
    const see = (name: string) => {
        if (name.length > longestName && /^[\w.@-]+$/.test(name)) found.add(name)
        return undefined
    }
    rewrite(parseInterfaces(text), { name: see, command: () => undefined })
    return [...found].sort()
}

interface Namer {
    /** Called for a word that ifupdown itself takes for a name. */
    name: NewName
    /** Called for a word of a command. */
    command: NewName
}

function rewrite(interfaces: Interfaces, namer: Namer): void {
    for (const stanza of interfaces.stanzas) {
        stanza.raw = rewriteStanza(stanza, namer.name)
        for (const line of stanza.body)
            if ('key' in line) line.raw = rewriteOption(line.raw, line.key.replaceAll('_', '-'), namer)
    }
}

/** Classes of `allow-` that are no bridge. */
const classes = new Set(['allow-auto', 'allow-hotplug', 'allow-ovs'])

function rewriteStanza({ raw, keyword }: Stanza, rename: NewName): string {
    if (keyword === 'iface' || keyword === 'template' || keyword === 'vlan') {
        let before = ''
        return eachWord(raw, (word, nth) => {
            const isName = nth === 1 || before === 'inherits'
            before = word
            return isName ? renamed(word, rename) : word
        })
    }
    // `mapping` lists patterns; one without a wildcard is a name.
    if (keyword === 'auto' || keyword === 'mapping' || keyword === 'no-auto-down' || keyword === 'no-scripts')
        return eachWord(raw, (word, nth) => (nth === 0 ? word : renamed(word, rename)))
    if (keyword.startsWith('allow-'))
        return eachWord(raw, (word, nth) => {
            if (nth > 0) return renamed(word, rename)
            // Open vSwitch's own: `allow-vmbr0 eno1` says that eno1 belongs to vmbr0.
            return classes.has(word) ? word : `allow-${renamed(word.slice('allow-'.length), rename)}`
        })
    return raw
}

/** Options, with `-` for `_`, whose value is one or more names. */
const nameOptions = new Set([
    ...['bond-slaves', 'slaves', 'bond-primary', 'primary', 'bond-active-slave', 'bond-master', 'bond-ports'],
    ...['vlan-raw-device', 'vxlan-physdev', 'tunnel-physdev', 'tunnel-dev', 'xfrm-physdev', 'ppp-physdev'],
    ...['veth-peer-name', 'vrf', 'inherits'],
    ...['ovs-ports', 'ovs-bonds', 'ovs-bridge', 'ovs-patch-peer', 'batman-ifaces', 'map'],
])
const commandOptions = new Set(['up', 'down', 'pre-up', 'post-up', 'pre-down', 'post-down', 'ovs-extra'])

function rewriteOption(raw: string, key: string, namer: Namer): string {
    if (commandOptions.has(key)) return rewriteCommand(raw, namer.command)
    // Most options of bridges name ports: `bridge-ports eno1`, `bridge-portprios eno1=8`, `bridge_pathcost eno1 100`.
    const ofBridge = /^(bridge|mstpctl)-/.test(key)
    if (!ofBridge && !nameOptions.has(key)) return raw
    return eachWord(raw, (word, nth) => {
        if (nth === 0) return word
        const equals = ofBridge ? word.indexOf('=') : -1
        if (equals < 0) return renamed(word, namer.name)
        return renamed(word.slice(0, equals), namer.name) + word.slice(equals)
    })
}

/** Replaces the words of a line one by one; blanks and continued lines between them stay. */
function eachWord(raw: string, replace: (word: string, nth: number) => string): string {
    let nth = 0
    return raw.replace(/(?:(?!\\\n)[^\t-\r ])+/g, word => replace(word, nth++))
}

/** A name, two VLANs and a label are shorter; and whatever stands in the file, looking at a word stays cheap. */
const longestWord = 64

/** `eno1`, `eno1.100`, `eno1.100.7`, `eno1:0`: the whole name first, then what it is made of. */
function renamed(word: string, rename: NewName): string {
    if (word.length > longestWord) return word
    const whole = rename(word)
    if (whole !== undefined) return whole
    const tail = /(?:\.\d+)*(?::[\w.-]+)?$/.exec(word)![0]
    // A VLAN may have a name of its own: eno1.100:0 is asked for as eno1.100 before eno1.
    for (const cut of [tail.indexOf(':'), ...dotsFromTheEnd(tail)]) {
        if (cut < 0) continue
        const base = word.slice(0, word.length - tail.length + cut)
        const found = base === '' ? undefined : rename(base)
        if (found !== undefined) return found + tail.slice(cut)
    }
    return word
}

function dotsFromTheEnd(tail: string): number[] {
    const dots: number[] = []
    const end = tail.includes(':') ? tail.indexOf(':') : tail.length
    for (let at = tail.lastIndexOf('.', end - 1); at >= 0; at = at === 0 ? -1 : tail.lastIndexOf('.', at - 1))
        dots.push(at)
    return dots
}

const blanks = '\t\n\v\f\r '

/**
 * A line of shell. Names are whole words behind the command's own name, also quoted, after `=` or between commas, and the
 * part of a path or a sysctl key where the kernel has an interface's name. What stands behind a `#` is a comment.
 */
function rewriteCommand(raw: string, rename: NewName): string {
    // The option's own name stands before the command.
    const start = /^[\t-\r ]*[^\t-\r ]+/.exec(raw)![0].length
    let done = raw.slice(0, start)
    let quote = ''
    let atCommand = true
    let isFile = false
    /** In the quotes of `DEV="…" command`: what stands there is no command yet. */
    let inValue = false
    for (let at = start; at < raw.length; ) {
        const char = raw[at]!
        if (char === '\\' && raw[at + 1] === '\n') {
            done += '\\\n'
            at += 2
        } else if (char === '#' && quote === '' && (blanks + ';&|(').includes(raw[at - 1]!)) {
            return done + raw.slice(at)
        } else if (blanks.includes(char) || ';&|()<>,"\'`'.includes(char)) {
            // Not in `2>&1`: there the command goes on.
            if (';&|('.includes(char) && quote === '' && !(char === '&' && isFile)) atCommand = true
            if (char === '`') atCommand = true
            if ('<>'.includes(char) && quote === '') isFile = true
            if ((char === '"' || char === "'") && (quote === '' || quote === char)) {
                quote = quote === '' ? char : ''
                inValue &&= quote !== ''
            }
            done += char
            at++
        } else {
            const end = wordEnd(raw, at)
            const word = raw.slice(at, end)
            const assigns = /^\w+=/.test(word)
            const isCommand = atCommand && !assigns && !inValue
            done += isFile || isCommand ? renameInPaths(word, rename) : renameWord(word, rename)
            if (assigns) inValue = quote === '' && (raw[end] === '"' || raw[end] === "'")
            else if (isCommand && !isFile) atCommand = false
            isFile = false
            at = end
        }
    }
    return done
}

function wordEnd(raw: string, from: number): number {
    let at = from
    while (at < raw.length) {
        const char = raw[at]!
        if (char === '\\') {
            if (raw[at + 1] === '\n') break
            at = Math.min(at + 2, raw.length)
        } else if (blanks.includes(char) || ';&|()<>,"\'`'.includes(char)) break
        else at++
    }
    return at
}

function renameWord(word: string, rename: NewName): string {
    const value = word.slice(word.lastIndexOf('=') + 1)
    const head = word.slice(0, word.length - value.length)
    const name = renamed(value, rename)
    return name === value ? renameInPaths(word, rename) : head + name
}

const underSys = /(\/sys\/class\/net\/|\/sys\/devices\/virtual\/net\/)([^/]+)/
const underProc = /((?:^|\/proc\/sys\/|=)net\/ipv[46]\/(?:conf|neigh)\/)([^/]+)/
/** A dot separates here, so a VLAN is written otherwise and does not match. */
const sysctlKey = /((?:^|=)net\.ipv[46]\.(?:conf|neigh)\.)([^.]+)(?=\.)/

function renameInPaths(word: string, rename: NewName): string {
    const part = (_: string, before: string, name: string) => before + renamed(name, rename)
    return word.replace(underSys, part).replace(underProc, part).replace(sysctlKey, part)
}
