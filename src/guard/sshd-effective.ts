/** What a configuration of sshd means for one user who comes from one address, as far as the files tell it. */
import { ipFamily, isInNetwork } from '../format/ip-address.ts'
import { type Files, quietly } from './configured.ts'
import type { Session } from './area.ts'

/** The first value of each option, names in lower case. */
export type SshdOptions = ReadonlyMap<string, string>

/** Files that includes may lead to: sshd itself stops at a depth of 16. */
const mostDepth = 16

/**
 * Follows `Include`, and `Match` for users and addresses; a block under any other condition is passed over. Lists of
 * several lines (HostKey, Port) are joined with blanks.
 */
export function sshdOptions(files: Files, session: Session, file = '/etc/ssh/sshd_config'): SshdOptions {
    const options = new Map<string, string>()
    const read = (path: string, depth: number, applies: boolean) => {
        const text = quietly(() => files.read(path))
        if (text === undefined) return
        let inside = applies
        for (const raw of text.split('\n')) {
            const line = raw.trim()
            const parts = /^"?([A-Za-z0-9]+)"?[ \t]*=?[ \t]*(.*)$/.exec(line)
            if (line.startsWith('#') || parts === null) continue
            const key = parts[1]!.toLowerCase()
            const words = [...parts[2]!.matchAll(/"([^"]*)"|(#.*)|(\S+)/g)]
                .filter(([, , comment]) => comment === undefined)
                .map(([, quoted, , plain]) => quoted ?? plain ?? '')
            if (key === 'match') inside = applies && matches(words, session)
            else if (!inside || words.length === 0) continue
            else if (key === 'include') {
                if (depth < mostDepth)
                    for (const word of words)
                        for (const one of included(word, files)) read(one, depth + 1, inside)
            } else if (many.has(key)) options.set(key, `${options.get(key) ?? ''} ${words.join(' ')}`.trim())
            else if (!options.has(key)) options.set(key, words.join(' '))
        }
    }
    read(file, 0, true)
    return options
}

const many = new Set([
    'hostkey',
    'port',
    'listenaddress',
    'allowusers',
    'denyusers',
    'allowgroups',
    'denygroups',
])

function included(word: string, files: Files): string[] {
    const path = word.startsWith('/') ? word : `/etc/ssh/${word}`
    if (!/[*?]/.test(path)) return [path]
    const at = path.lastIndexOf('/')
    const directory = path.slice(0, at)
    const names = quietly(() => files.names(directory)) ?? []
    return [...names]
        .sort()
        .filter(name => !name.startsWith('.') && matchesPattern(path.slice(at + 1), name))
        .map(name => `${directory}/${name}`)
}

function matches(words: readonly string[], { user = 'root', client }: Session): boolean {
    for (let at = 0; at < words.length; at++) {
        const [criterion = '', inline] = words[at]!.toLowerCase().split('=', 2)
        if (criterion === 'all') continue
        const pattern = inline === undefined ? words[++at] : words[at]!.slice(criterion.length + 1)
        if (pattern === undefined) return false
        if (criterion === 'user' && inList(pattern, one => matchesPattern(one, user))) continue
        if (
            criterion === 'address' &&
            client !== undefined &&
            inList(pattern, one => matchesAddress(one, client))
        )
            continue
        return false
    }
    return words.length > 0
}

/** A pattern with `!` in front that fits makes the whole list fail. */
export function inList(list: string, fits: (pattern: string) => boolean): boolean {
    let found = false
    for (const pattern of list.split(/[, ]+/).filter(one => one !== '')) {
        const not = pattern.startsWith('!')
        if (!fits(not ? pattern.slice(1) : pattern)) continue
        if (not) return false
        found = true
    }
    return found
}

export function matchesPattern(pattern: string, text: string): boolean {
    const body = pattern
        .replace(/[.+^${}()|[\]\\]/g, '\\$&')
        .replaceAll('*', '.*')
        .replaceAll('?', '.')
    return new RegExp(`^${body}$`).test(text)
}

export function matchesAddress(pattern: string, address: string): boolean {
    const [network = '', prefix] = pattern.split('/')
    const family = ipFamily(network)
    if (family === undefined) return matchesPattern(pattern, address)
    return isInNetwork(address, network, prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix))
}
