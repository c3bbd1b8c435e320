/** `proxsavectl rollback`: takes back now what a guard waits with, and says how that went. */
import type { GuardInfo, GuardList } from '../../client/types.ts'
import { exitStatusOf, Fault } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import type { Cli, Command } from '../command.ts'
import { bounded, guardHead, guardLines, withOrWithoutDaemon } from '../guard.ts'

/** Between two looks (ms). */
const lookMs = 500

export const command: Command = {
    summary: 'take back what is guarded, now',
    about: 'The old files come back and are loaded again; what is not guarded stays. It goes on when this connection dies of\nit, and works without the daemon too.',
    arguments: [{ usage: '[change]', about: 'id or beginning of one; default: the guard that is armed' }],
    options: [{ flags: '--detach', about: 'do not wait until it is done' }],
    statuses: [0, 1, 6, 7, 8, 9],
    example: 'proxsavectl rollback',
    async run(cli, [change], options) {
        const reference = change === undefined ? undefined : String(change)
        const path = `/v1/guards/${encodeURIComponent(reference ?? 'armed')}/rollback`
        const begun = await withOrWithoutDaemon<GuardInfo>(
            cli,
            () => bounded(cli, 'POST', path),
            guards => guards.rollback(reference, cli.terminal.user),
        )
        const say = (text: string) => {
            if (!cli.json) cli.output.line(text)
        }
        say(`Rolling back ${begun.id}. When this connection dies: it goes on, log ${begun.log}`)
        const guard = options.detach === true ? begun : await outcome(cli, begun)
        if (cli.json) cli.output.document(guard)
        else {
            say(guardHead(guard))
            for (const text of guardLines(guard)) say(`  ${text}`)
        }
        if (guard.state === 'DISARMED')
            throw new Fault('failed', `cannot roll back ${guard.id}: it was confirmed in the same moment`, {
                hint: `proxsavectl undo ${guard.change}`,
            })
        return (guard.problems?.length ?? 0) > 0 ? exitStatusOf.stuck : 0
    },
}

/** What the rollback wrote when it was done. Its own program does it: nothing here has to live for that. */
async function outcome(cli: Cli, begun: GuardInfo): Promise<GuardInfo> {
    const until = performance.now() + limits.guardRollbackMs
    for (;;) {
        const { guards } = await withOrWithoutDaemon<GuardList>(
            cli,
            () => bounded(cli, 'GET', '/v1/guards'),
            async local => ({ guards: await local.list() }),
        )
        const guard = guards.find(({ id }) => id === begun.id)
        if (guard !== undefined && guard.state !== 'ARMED') return guard
        if (performance.now() >= until)
            throw new Fault('partial', `cannot tell how the rollback of ${begun.id} ends: it takes long`, {
                hint: `look at ${begun.log}; by hand: ${begun.directory}/proxsave rollback ${begun.id}`,
            })
        await Bun.sleep(lookMs)
    }
}
