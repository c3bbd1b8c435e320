/** `proxsavectl prune`: removes what the retention of a target no longer keeps. */
import type { PruneAnswer } from '../../client/types.ts'
import { count } from '../../core/units.ts'
import type { Command } from '../command.ts'
import { changeOptions, followChange, readAnswers } from '../follow.ts'
import { type Output, safe, showTime } from '../output.ts'

export const command: Command = {
    summary: 'remove backups that the retention no longer keeps',
    about: 'Only backups of this host are removed, never the newest verified one, never pinned ones.\nWhat is removed cannot be brought back; --dry-run shows it first.',
    options: [
        { flags: '--target <name>', about: 'only on this target' },
        { flags: '--dry-run', about: 'show the plan and remove nothing' },
        ...changeOptions,
    ],
    statuses: [0, 1, 4, 6, 8],
    example: 'proxsavectl prune --dry-run',
    async run(cli, _args, options) {
        const dryRun = options.dryRun === true
        const answers = readAnswers(cli, options)
        const { plan, blocked, change } = await cli.client.call<PruneAnswer>('POST', '/v1/prune', {
            body: { target: options.target, dryRun },
        })
        if (dryRun) {
            if (cli.json) cli.output.document({ plan, blocked })
            else await showPlan(cli.output, plan, blocked)
            return 0
        }
        if (change === undefined) {
            if (cli.json) cli.output.document({ event: 'end', result: 'ok', removed: 0 })
            else cli.output.line('Nothing to remove.')
            return 0
        }
        if (options.detach === true) {
            if (cli.json) cli.output.document({ event: 'detached', change })
            else cli.output.line(`Running as change ${change}.`)
            return 0
        }
        return followChange(cli, change, answers)
    },
}

async function showPlan(
    output: Output,
    plan: PruneAnswer['plan'],
    blocked: PruneAnswer['blocked'],
): Promise<void> {
    if (plan.length === 0) return output.line('No backups on a target with a retention.')
    await output.table(
        ['', 'ID', 'CREATED', 'TARGET', 'WHY'],
        plan.map(({ verdict, id, created, target, name, why }) => [
            verdict === 'remove' ? output.colour('red', 'remove') : 'keep',
            id ?? name,
            created === undefined ? '-' : showTime(created),
            target,
            safe(why),
        ]),
    )
    for (const { target, why } of blocked) output.line(`${target}: nothing is removed: ${safe(why)}`)
    output.line(
        `${count(plan.filter(({ verdict }) => verdict === 'remove').length, 'backup')} would be removed.`,
    )
}
