/** Whether anybody answers at an address: for telling that a machine is really off, not for using it. */
import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { beginConnect, close, codeOf, connected } from './libc.ts'

/** `refused` is an answer too: somebody is there. */
export type Answer = 'open' | 'refused' | 'silent'

/** Between two looks (ms). */
const lookMs = 20

/**
 * Tries one TCP connection to an address and closes it at once. Resolves always, after `ms` at the latest. Not with
 * Bun's own sockets: those say that a network without a way there has refused.
 */
export async function tcpAnswer(address: string, port: number, ms: number): Promise<Answer> {
    const until = performance.now() + ms
    let fd: number | undefined
    try {
        fd = beginConnect(address, port)
        while (!connected(fd)) {
            if (performance.now() >= until) return 'silent'
            await new Promise(resolve => setTimeout(resolve, lookMs))
        }
        return 'open'
    } catch (error) {
        return codeOf(error) === 'ECONNREFUSED' ? 'refused' : 'silent'
    } finally {
        if (fd !== undefined) close(fd)
    }
}

/** Addresses of a name, or itself when it is one; none when nobody knows it within `ms`. */
export async function addressesOf(name: string, ms: number): Promise<string[]> {
    let limit: ReturnType<typeof setTimeout> | undefined
    try {
        return await Promise.race([
            lookup(name, { all: true }).then(found => found.map(({ address }) => address)),
            new Promise<string[]>(resolve => {
                limit = setTimeout(() => resolve([]), ms)
            }),
        ])
    } catch {
        return []
    } finally {
        clearTimeout(limit)
    }
}

/** All addresses of this machine. */
export function ownAddresses(): Set<string> {
    return new Set(
        Object.values(networkInterfaces()).flatMap(list => (list ?? []).map(({ address }) => address)),
    )
}
