/** Who may confirm: only somebody whose being here proves that this host can be reached as it is now. */
import type { Origin } from '../host/origin.ts'
import type { Applied } from './record.ts'

export type Rights = { ok: true } | { ok: false; why: string; hint: string }

/** `address` is where this host can be reached once the new state is there, when that is known. */
export function mayConfirm(
    origin: Origin,
    applied: Applied | undefined,
    bootId: string,
    address?: string,
): Rights {
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
        case 'ssh':
            // Rounded down to a tick, so that one opened just before never counts as younger.
            if (origin.since > applied.ms) return { ok: true }
            return {
                ok: false,
                why: 'this SSH connection was opened before the new state was there: that it still works proves nothing',
                hint: `open a new connection to ${host} and type: proxsavectl commit`,
            }
        case 'web':
            if (origin.since > applied.ms) return { ok: true }
            return {
                ok: false,
                why: 'this shell in the browser was opened before the new state was there: that it still works proves nothing',
                hint: `open a new shell in the browser, or a connection to ${host}, and type: proxsavectl commit`,
            }
        case 'left': {
            const from = origin.program === undefined ? '' : ` (${origin.program})`
            return {
                ok: false,
                why: `this program has left the session that it came from${from}: that it still runs proves nothing`,
                hint: `from another computer, outside of tmux and screen: ssh ${host} proxsavectl commit`,
            }
        }
    }
}
