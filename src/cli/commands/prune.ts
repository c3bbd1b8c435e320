/** `proxsavectl prune`: removes what the retention of a target no longer keeps, or what restores exported. */
import type { ExportsAnswer, PruneAnswer } from '../../client/types.ts'
import { Fault } from '../../core/errors.ts'
import { count, showAge, showSize } from '../../core/units.ts'
import type { Cli, Command, Options } from '../command.ts'
import { changeOptions, followChange, readAnswers } from '../follow.ts'
import { type Output, safe, showTime } from '../output.ts'

export const command: Command = {
    summary: 'remove backups that the retention no longer keeps, or exports',
    about: 'Only backups of this host are removed, never the newest verified one, never pinned ones.\nWith --exports the directories that restores exported to are removed instead, and no backup: all of them, or those older than --older-than says. They hold secrets in the plain and go in no other way.\nWhat is removed cannot be brought back; --dry-run shows it first.',
    options: [
        { flags: '--target <name>', about: 'only on this target' },
        { flags: '--exports', about: 'remove what restores exported' },
        {
            flags: '--older-than <duration>',
            about: 'with --exports: only those older than this, such as 30d',
        },
        { flags: '--dry-run', about: 'show the plan and remove nothing' },
        ...changeOptions,
    ],
    statuses: [0, 1, 4, 6, 8],
    example: 'proxsavectl prune --dry-run',
    run: (cli, _args, options) => (options.exports === true ? exports : backups)(cli, options),
}

async function backups(cli: Cli, options: Options): Promise<number> {
    if (options.olderThan !== undefined)
        throw new Fault('usage', 'cannot prune: --older-than is for --exports', {
            hint: 'the keep of a target says how long its backups stay: see proxsave.toml(5)',
        })
    const answers = readAnswers(cli, options)
    const dryRun = options.dryRun === true
    const { plan, blocked, change } = await cli.client.call<PruneAnswer>('POST', '/v1/prune', {
        body: { target: options.target, dryRun },
    })
    if (!dryRun) return followPrune(cli, options, change, answers, 'removed')
    if (cli.json) cli.output.document({ plan, blocked })
    else await showPlan(cli.output, plan, blocked)
    return 0
}

async function exports(cli: Cli, options: Options): Promise<number> {
    if (options.target !== undefined)
        throw new Fault('usage', 'cannot prune: --exports and --target exclude each other', {
            hint: 'see proxsavectl prune --help',
        })
    const answers = readAnswers(cli, options)
    const dryRun = options.dryRun === true
    const { plan, change } = await cli.client.call<ExportsAnswer>('POST', '/v1/exports/prune', {
        body: { olderThan: options.olderThan, dryRun },
    })
    if (!dryRun) return followPrune(cli, options, change, answers, 'removedExports')
    if (cli.json) cli.output.document({ plan })
    else await showExports(cli.output, plan)
    return 0
}

/** `fact` is what an end event calls the number of those that were removed. */
async function followPrune(
    cli: Cli,
    options: Options,
    change: string | undefined,
    answers: ReturnType<typeof readAnswers>,
    fact: string,
): Promise<number> {
    if (change === undefined) {
        if (cli.json) cli.output.document({ event: 'end', result: 'ok', [fact]: 0 })
        else cli.output.line('Nothing to remove.')
        return 0
    }
    if (options.detach === true) {
        if (cli.json) cli.output.document({ event: 'detached', change })
        else cli.output.line(`Running as change ${change}.`)
        return 0
    }
    return followChange(cli, change, answers)
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
            showVerdict(output, verdict),
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

async function showExports(output: Output, plan: ExportsAnswer['plan']): Promise<void> {
    if (plan.length === 0) return output.line('Nothing is exported.')
    await output.table(
        ['', 'DIRECTORY', 'AGE', 'SIZE', 'WHY'],
        plan.map(({ verdict, path, created, size, why }) => [
            showVerdict(output, verdict),
            safe(path),
            showAge(Date.parse(created), Date.now()),
            showSize(size),
            safe(why),
        ]),
    )
    const gone = plan.filter(({ verdict }) => verdict === 'remove')
    const bytes = gone.reduce((sum, { size }) => sum + size, 0)
    output.line(`${count(gone.length, 'export')} would be removed, ${showSize(bytes)}.`)
}

const showVerdict = (output: Output, verdict: string): string =>
    verdict === 'remove' ? output.colour('red', 'remove') : 'keep'
