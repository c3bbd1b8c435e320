/** A guard in plain words: its state, the time left, where to connect, and the commands that decide. */
import type { CallOptions, GuardInfo, GuardList } from '../client/types.ts'
import { asFault, Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type Cli, defaultSocket, type LocalGuards } from './command.ts'
import { safe } from './output.ts'

const list = (addresses: string[] | 'unknown'): string =>
    addresses === 'unknown' || addresses.length === 0 ? 'unknown' : addresses.map(safe).join(', ')

const areaNames: Readonly<Record<string, string>> = {
    network: 'network',
    ssh: 'SSH',
    firewall: 'firewall',
    access: 'access',
}
export const areaName = (guard: GuardInfo): string => areaNames[guard.area] ?? safe(guard.area)

/** One line: the state and what it means. */
export function guardHead(guard: GuardInfo): string {
    const what = `${areaName(guard)} of the change ${guard.change}`
    switch (guard.state) {
        case 'ARMED': {
            const left = guard.secondsLeft ?? 0
            const until = guard.deadline === undefined ? '' : ` (${guard.deadline.slice(11, 19)} UTC)`
            const when =
                left > 0 ? `in ${left} s${until} it goes back by itself` : 'its time is over, it goes back'
            return `ARMED, ${when}: ${what}${guard.applied ? '' : ', not in place yet'}`
        }
        case 'EXECUTED':
            return `EXECUTED, ${guard.loaded === false ? 'the old files are back, but could not be loaded' : 'the old state is back'}: ${what}${guard.why === undefined ? '' : `, rolled back ${whyWords(guard.why)}`}`
        case 'DISARMED': {
            const by = guard.confirmed === undefined ? '' : ` by ${safe(guard.confirmed.by)}`
            return `DISARMED, the new state stays: ${what}, confirmed${by}`
        }
    }
}

function whyWords(why: string): string {
    const words: Record<string, string> = {
        deadline: 'because nobody confirmed it in time',
        boot: 'because the host was started anew before it was confirmed',
        asked: 'because somebody asked for it',
    }
    return words[why] ?? `(${safe(why)})`
}

/** A reboot always does: the old files are what the host starts with. */
function loadWords(area: string): string {
    const commands: Record<string, string> = { network: 'ifreload -a', ssh: 'systemctl restart ssh' }
    const command = commands[area]
    return `reboot${command === undefined ? '' : `, or at the console: ${command}`}; the log tells what failed`
}

/** All that a person needs to decide; without indentation. */
export function guardLines(guard: GuardInfo): string[] {
    const { addresses, reconnect, state } = guard
    const lines = [
        `addresses before: ${list(addresses.before)}; after: ${list(addresses.after)}`,
        `reconnect to: ${list(reconnect)}`,
    ]
    if (state === 'ARMED') {
        const there =
            addresses.after === 'unknown' || addresses.after.length === 0
                ? ''
                : ` to ${list(addresses.after)}`
        lines.push(
            `to keep the new state, from another computer in a new connection${there}: proxsavectl commit`,
            'to go back now: proxsavectl rollback',
        )
    }
    if (state === 'EXECUTED' && guard.loaded === false) lines.push(`to load them: ${loadWords(guard.area)}`)
    lines.push(`log: ${safe(guard.log)}`)
    for (const problem of guard.problems ?? []) lines.push(`problem: ${safe(problem)}`)
    return lines
}

/** Prints it as rows of `status` are; `head` is 12 columns wide. */
export function showGuard(guard: GuardInfo, line: (text: string) => void, head = 'guard'.padEnd(12)): void {
    line(`${head} ${guardHead(guard)}`)
    const row = (text: string) => line(`${' '.repeat(12)} ${text}`)
    for (const text of guardLines(guard)) row(text)
    if (guard.state === 'EXECUTED') row('shown until the next change, or for a day')
}

/** All guards, newest first; none when the daemon cannot tell: whoever follows a change has other worries then. */
export async function readGuards(cli: Cli): Promise<GuardInfo[]> {
    try {
        return (await bounded<GuardList>(cli, 'GET', '/v1/guards')).guards ?? []
    } catch {
        return []
    }
}

/** One change runs at a time, and what is armed is of it. */
export async function armedGuard(cli: Cli): Promise<GuardInfo | undefined> {
    return (await readGuards(cli)).find(guard => guard.state === 'ARMED')
}

/** One request that does not wait for a daemon that hangs: that is `unreachable` too. */
export async function bounded<T>(cli: Cli, method: string, path: string): Promise<T> {
    const options: CallOptions = { signal: AbortSignal.timeout(limits.guardAnswerMs) }
    try {
        return await cli.client.call<T>(method, path, options)
    } catch (error) {
        if (!options.signal!.aborted || error instanceof Fault) throw error
        throw new Fault('unreachable', `cannot reach the daemon at ${cli.socket}: it does not answer`, {
            hint: 'see what it says: systemctl status proxsave',
            facts: { lost: 1 },
        })
    }
}

/**
 * Asks the daemon, or acts here when it cannot be reached: a guard is decided without it as well. Not for a socket of
 * another daemon, whose guards are somewhere else.
 */
export async function withOrWithoutDaemon<T>(
    cli: Cli,
    ask: () => Promise<T>,
    here: (guards: LocalGuards) => Promise<T>,
): Promise<T> {
    try {
        return await ask()
    } catch (error) {
        const fault = asFault(error)
        if (fault.kind !== 'unreachable' || cli.guards === undefined || cli.socket !== defaultSocket)
            throw error
        try {
            return await here(await cli.guards())
        } catch (local) {
            // Not root: what the daemon's socket said about that is clearer.
            if ((local as { code?: string }).code === 'EACCES') throw fault
            throw local
        }
    }
}
