/** Tells somebody who came in over SSH, before anything begins, that the address they came in by would be gone. */
import { guardAreas } from '../guard/areas/index.ts'
import { areaHostOf } from '../guard/host.ts'
import type { SshEnds } from '../host/origin.ts'
import type { Survey } from '../restore/survey.ts'
import type { Daemon } from './daemon.ts'

/** One sentence for the top of the plan; undefined when nothing of that is to be feared. */
export async function consoleAdvice(
    { parts: { root, exec } }: Daemon,
    { network }: Survey,
    session: SshEnds | undefined,
): Promise<string | undefined> {
    if (session === undefined || network === undefined || root !== '/') return undefined
    const host = areaHostOf({ root, exec })
    const changed = new Map(network.map(({ path, text }) => [`/${path}`, text]))
    const addresses = await guardAreas.network.addresses?.(host, {
        read: path => (changed.has(path) ? changed.get(path) : host.read(path)),
        names(path) {
            const directory = path.replace(/\/*$/, '/')
            const names = new Set(host.names(path))
            for (const [file, text] of changed) {
                const name = file.slice(directory.length)
                if (!file.startsWith(directory) || name.includes('/')) continue
                if (text === undefined) names.delete(name)
                else names.add(name)
            }
            return [...names].sort()
        },
        changed: [...changed.keys()],
    })
    const after = addresses?.after
    if (after?.includes(session.server)) return undefined
    const where =
        after === undefined
            ? 'nobody knows where the host will be'
            : `the host will be at ${after.join(', ') || 'no address'}`
    return `you came in over SSH to ${session.server}; with this network that address is gone, and ${where}: have the console of the host open before you go on`
}
