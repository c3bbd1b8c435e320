/** Tells beforehand that a change of the network may cost a node of HA. */
import { fencingRisk } from '../guard/fencing.ts'
import { areaHostOf } from '../guard/host.ts'
import type { Survey } from '../restore/survey.ts'
import type { Daemon } from './daemon.ts'

/** For the warnings of the plan. */
export async function fencingAdvice(
    { parts: { root, exec } }: Daemon,
    { network }: Survey,
): Promise<string[]> {
    if (network === undefined || root !== '/') return []
    const risk = await fencingRisk(areaHostOf({ root, exec }))
    return risk === undefined ? [] : [`the network of this node changes, and ${risk}`]
}
