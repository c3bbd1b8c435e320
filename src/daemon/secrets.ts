/** Passphrases on their way from a request to the task that needs them: in memory, under a reference, for one change. */
import type { Daemon } from './daemon.ts'

/** The reference may stand in a plan; the passphrase never does. */
export function keepSecret(daemon: Daemon, secret: string): string {
    const reference = Buffer.from(daemon.parts.random(16)).toString('hex')
    daemon.secrets.set(reference, secret)
    return reference
}
