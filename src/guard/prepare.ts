/** The task `guard.prepare`: makes what will be applied, checks it, and asks whether to go on. Changes nothing outside of the stage. */
import { basename, dirname } from 'node:path'
import { areaById } from '../catalog/areas.ts'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import { makePrivateDirectory } from '../host/data-file.ts'
import { PlaceTree } from '../host/place.ts'
import { toByteString } from '../host/tree.ts'
import type { AreaHost, Candidate } from './area.ts'
import { candidateOf, keepCopy } from './candidate.ts'
import { areaHostOf } from './host.ts'
import { worthTelling } from './observe.ts'
import { runPreflight } from './preflight.ts'
import { repairNames } from './repair.ts'
import type { Addresses } from './record.ts'
import { type GuardHost, type GuardParams, paramsOf, plain, type Prepared, tellOutcome } from './tasks.ts'

/** `network.apply` waits this long (ms). */
const applyMs = 90_000

export function guardPrepare(host: GuardHost): TaskKind<Json> {
    return {
        kind: 'guard.prepare',
        async do(given, context) {
            const params = paramsOf(given)
            const live = new PlaceTree(host.root, host.calls)
            const own = new PlaceTree(context.dir, host.calls)
            try {
                return plain(await prepare(host, params, context, live, own))
            } finally {
                own.close()
                live.close()
            }
        },
        // It worked in the stage, which goes with the change; a copy that was kept for people stays.
        async undo() {},
    }
}

async function prepare(
    host: GuardHost,
    params: GuardParams,
    context: TaskContext,
    live: PlaceTree,
    own: PlaceTree,
): Promise<Prepared> {
    const area = areaById(params.area)
    const code = host.areas[params.area]
    const look = areaHostOf(host)
    if (params.area === 'network') await repairNames(host, params, context, own)
    const candidate: Candidate = candidateOf(live, own, params.actions)
    const keep = () => {
        const kept = keepForReview(host, params, own)
        context.log(`the files are kept in ${kept}`)
        return kept
    }
    const { problems, findings, output } = await runPreflight(host, params, context, { candidate, live, own })
    if (problems.length > 0) {
        const kept = keep()
        tellOutcome(params, context, 'not applied')
        throw new Fault('failed', `cannot apply ${area.phrase}: ${problems.join('; ')}`, {
            hint: `nothing of it was changed; the files are in ${kept}${output === undefined ? '' : `, what the checks said in ${output}`}`,
        })
    }
    const addresses = {
        ...(await addressesOf(host, params.area, look, candidate)),
        ...(params.client === undefined ? {} : { client: params.client }),
        ...(params.server === undefined ? {} : { server: params.server }),
    }
    const told = worthTelling(findings).map(({ level, text }) => `${level}: ${text}`)
    for (const text of told) context.warn(text)
    if (area.apply !== undefined) {
        const seconds = Math.round(params.timeoutMs / 1000)
        const answer = await context.ask({
            id: area.apply,
            text: [
                `Apply ${area.phrase} now? It was checked; ${addressLine(addresses)}`,
                ...told,
                `Your connection may break. The old state returns by itself after ${seconds} s unless you confirm the new one over a new connection with: proxsavectl commit`,
            ].join('\n'),
            choices: [
                { value: 'yes', text: 'apply it, guarded' },
                { value: 'no', text: 'leave it as it is and keep the files for review' },
            ],
            timeoutMs: applyMs,
            safe: 'no',
        })
        if (answer !== 'yes') {
            const kept = keep()
            tellOutcome(params, context, 'not applied')
            context.warn(
                `${area.phrase} was not applied, nothing of it was changed; its checked files are in ${kept}; to apply it later, restore this category again and answer ${area.apply} with yes`,
            )
            return { apply: false, kept }
        }
    }
    return { apply: true, ways: await code.ways(look, candidate), addresses }
}

/** Only the network moves a host: with the other areas it stays where it is. */
async function addressesOf(
    host: GuardHost,
    area: GuardParams['area'],
    look: AreaHost,
    candidate: Candidate,
): Promise<Addresses> {
    const seen = area === 'network' ? candidate : { ...candidate, changed: [] }
    return (await host.areas.network.addresses?.(look, seen)) ?? { before: [] }
}

function addressLine({ before, after }: Pick<Addresses, 'before' | 'after'>): string {
    const was = before.length === 0 ? 'none' : before.join(', ')
    if (after === undefined) return `the address is ${was} now, and unknown afterwards.`
    const same = after.length === before.length && after.every(one => before.includes(one))
    return same
        ? `the address stays ${was}.`
        : `the address is ${was} now, and ${after.join(', ') || 'none'} afterwards.`
}

/** Below the directory of exports: the same place that everything else which is not applied goes to. */
function keepForReview(host: GuardHost, { exports, actions }: GuardParams, own: PlaceTree): string {
    makePrivateDirectory(dirname(exports))
    const tree = new PlaceTree(dirname(exports), host.calls)
    try {
        const name = toByteString(basename(exports))
        if (tree.look(name) === undefined) tree.makeDirectory(name)
        keepCopy(own, actions, tree, name)
        tree.settle()
        return exports
    } finally {
        tree.close()
    }
}
