/** Who may confirm: only somebody whose being here proves that this host can be reached as it is now. */
import { parseIpAddress } from '../format/ip-address.ts'
import type { Origin, SshEnds } from '../host/origin.ts'
import type { Applied } from './record.ts'

export type Rights = { ok: true } | { ok: false; why: string; hint: string }

export interface Asked {
    /** Where this host can be reached once the new state is there, when that is known. */
    address?: string
    /** All addresses that this host has now. */
    own: Iterable<string>
    /** The file that confirms at the console. */
    marker: string
}

export function mayConfirm(
    origin: Origin,
    applied: Applied | undefined,
    bootId: string,
    asked: Asked,
): Rights {
    const { address, own, marker } = asked
    if (applied === undefined)
        return {
            ok: false,
            why: 'the new state is not there yet',
            hint: 'wait until it is asked for: proxsavectl status',
        }
    if (applied.boot !== bootId)
        return {
            ok: false,
            why: 'this host was started anew since: the old state comes back',
            hint: 'proxsavectl status tells when it is there',
        }
    const host = address ?? 'this host'
    switch (origin.kind) {
        case 'console':
        case 'other':
            return { ok: true }
        case 'ssh': {
            // Rounded down to a tick, so that one opened just before never counts as younger.
            if (origin.since <= applied.ms)
                return {
                    ok: false,
                    why: 'this SSH connection was opened before the new state was there: that it still works proves nothing',
                    hint: `from another computer, open a new connection to ${host} and type: proxsavectl commit`,
                }
            const from = whereFrom(origin.ends, own)
            if (from === 'elsewhere') return { ok: true }
            // From this host to itself: it proves as much as whatever began it.
            if (from === 'here' && origin.from !== undefined)
                return mayConfirm(origin.from, applied, bootId, asked)
            return {
                ok: false,
                why:
                    from === 'here'
                        ? `this SSH connection comes from this host itself (${origin.ends?.client}): it did not need the network and proves nothing`
                        : 'nobody can tell where this SSH connection comes from, so it proves nothing',
                hint: `from another computer, not by way of this host: ssh ${host} proxsavectl commit, or at the console: touch ${marker}`,
            }
        }
        case 'web':
            if (origin.since > applied.ms) return { ok: true }
            return {
                ok: false,
                why: 'this shell in the browser was opened before the new state was there: that it still works proves nothing',
                hint: `open a new shell in the browser, or from another computer a connection to ${host}, and type: proxsavectl commit`,
            }
        case 'left': {
            const from = origin.program === undefined ? '' : ` (${origin.program})`
            return {
                ok: false,
                why: `this program has left the session that it came from, or has none${from}: that it runs proves nothing`,
                hint: `from another computer, outside of tmux and screen: ssh ${host} proxsavectl commit, or at the console: touch ${marker}`,
            }
        }
    }
}

/**
 * Unknown is refused like this host itself: whoever is refused wrongly has the console, whoever is let in wrongly may have
 * lost the host.
 */
function whereFrom(ends: SshEnds | undefined, own: Iterable<string>): 'elsewhere' | 'here' | 'unknown' {
    const [client, server] = [bytesOf(ends?.client), bytesOf(ends?.server)]
    if (ends === undefined || client === undefined || server === undefined) return 'unknown'
    if (client === server || isLoopback(client)) return 'here'
    for (const address of own) if (bytesOf(address) === client) return 'here'
    return 'elsewhere'
}

const isLoopback = (bytes: string): boolean =>
    bytes.length === 8 ? bytes.startsWith('7f') : bytes === bytesOf('::1')

/** The same for all ways to write an address, IPv4 in IPv6 too. */
function bytesOf(address = ''): string | undefined {
    const bytes = parseIpAddress(address)
    return bytes === undefined
        ? undefined
        : Buffer.from(bytes)
              .toString('hex')
              .replace(/^0{20}ffff/, '')
}
