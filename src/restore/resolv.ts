/** Whether /etc/resolv.conf works, and what may stand in its place when it does not. */

export type ResolverFile =
    | { kind: 'absent' }
    | { kind: 'file'; text: string }
    /** `text` is what the link leads to; undefined when it leads nowhere. */
    | { kind: 'link'; target: string; text: string | undefined }
    | { kind: 'other' }

export interface ResolverFacts {
    live: ResolverFile
    /** As in the backup; the text of a link is not known there. */
    backup: ResolverFile
    /** What the backup recorded of the content behind a link, when it did. */
    recorded?: string
    /** systemd-resolved runs, and its stub file is there. */
    resolved: boolean
    /** Address of the default gateway. */
    gateway?: string
}

export type ResolverPlan =
    | { action: 'keep'; why: string }
    | { action: 'link'; target: string; why: string }
    | { action: 'write'; text: string; why: string }
    | { action: 'none'; why: string }

export const stubFile = '/run/systemd/resolve/stub-resolv.conf'

/** Addresses on which only systemd-resolved answers. */
const stubAddresses = new Set(['127.0.0.53', '127.0.0.54'])

/**
 * What works stays. Then, in this order: the stub of systemd-resolved where it runs, the file of the backup, the gateway
 * as a name server. Never a public resolver: which names this host asks for is nobody else's business unless its
 * administrator says so.
 */
export function planResolver(facts: ResolverFacts): ResolverPlan {
    const { live, backup, recorded, resolved, gateway } = facts
    if (live.kind === 'other') return { action: 'none', why: 'something that is no file stands there' }
    const text = live.kind === 'absent' ? undefined : live.text
    if (text !== undefined && isUsable(text, resolved))
        return { action: 'keep', why: 'it names a name server' }
    const trouble =
        live.kind === 'absent'
            ? 'it is missing'
            : text === undefined
              ? 'it is a link that leads nowhere'
              : 'it names no name server that can answer'
    if (resolved)
        return { action: 'link', target: `..${stubFile}`, why: `${trouble}; systemd-resolved runs here` }
    const saved = backup.kind === 'file' ? backup.text : recorded
    if (saved !== undefined && isUsable(saved, resolved))
        return { action: 'write', text: saved, why: `${trouble}; this is the one of the backup` }
    if (gateway !== undefined && isAddress(gateway)) {
        const lines = [
            '# Written by a restore: neither the host nor the backup had a name server. Please check.',
        ]
        return {
            action: 'write',
            text: `${lines.join('\n')}\nnameserver ${gateway}\n`,
            why: `${trouble}, and the backup has none; the gateway is taken for one, which is a guess`,
        }
    }
    return {
        action: 'none',
        why: `${trouble}, and neither the backup nor a gateway gives a name server; write one line "nameserver ADDRESS" into it`,
    }
}

/** At least one address that can answer, as resolv.conf(5) reads it: keyword at the start of the line, then blanks. */
function isUsable(text: string, resolved: boolean): boolean {
    return text.split('\n').some(line => {
        const address = /^nameserver[ \t]+([^\s#;]+)/.exec(line)?.[1]
        if (address === undefined || !isAddress(address)) return false
        return resolved || !stubAddresses.has(address)
    })
}

/** An IPv4 or IPv6 address, the latter perhaps with the interface that it belongs to. */
function isAddress(text: string): boolean {
    const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
    if (four !== null) return four.slice(1).every(part => Number(part) < 256)
    const six = text.replace(/%[\w.-]+$/, '')
    return /^[0-9a-f:.]+$/i.test(six) && six.includes(':') && URL.canParse(`http://[${six}]/`)
}
