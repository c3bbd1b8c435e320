/** Whether anybody answers at an address: for telling that a machine is really off, not for using it. */
import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'

/** `refused` is an answer too: somebody is there. */
export type Answer = 'open' | 'refused' | 'silent'

/** Tries one TCP connection and closes it at once. Resolves always, after `ms` at the latest. */
export function tcpAnswer(address: string, port: number, ms: number): Promise<Answer> {
    return new Promise(resolve => {
        const socket = connect({ host: address, port })
        const finish = (answer: Answer) => {
            clearTimeout(limit)
            socket.destroy()
            resolve(answer)
        }
        const limit = setTimeout(() => finish('silent'), ms)
        socket.once('connect', () => finish('open'))
        socket.on('error', error =>
            finish((error as { code?: string }).code === 'ECONNREFUSED' ? 'refused' : 'silent'),
        )
    })
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
