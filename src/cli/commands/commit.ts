/** `proxsavectl commit`: keeps what a guard would take back. The proof is that it is called over a new connection. */
import type { GuardInfo } from '../../client/types.ts'
import { asFault } from '../../core/errors.ts'
import type { Command } from '../command.ts'
import { bounded, guardHead, guardLines, withOrWithoutDaemon } from '../guard.ts'

export const command: Command = {
    summary: 'confirm what is guarded: it stays',
    about: 'Over SSH it takes a connection from another computer that was opened after the new state was in place: an older one,\none that was begun in an older one, and one inside of tmux or screen, is refused, because that it works proves nothing.\nWorks without the daemon too.',
    arguments: [{ usage: '[change]', about: 'id or beginning of one; default: the guard that is armed' }],
    statuses: [0, 1, 4, 7, 8],
    example: 'proxsavectl commit',
    async run(cli, [change]) {
        const reference = change === undefined ? undefined : String(change)
        const path = `/v1/guards/${encodeURIComponent(reference ?? 'armed')}/commit`
        let lost = false
        const guard = await withOrWithoutDaemon<GuardInfo>(
            cli,
            async () => {
                try {
                    return await bounded(cli, 'POST', path)
                } catch (error) {
                    lost = asFault(error).facts.lost !== undefined
                    throw error
                }
            },
            async guards => {
                try {
                    return await guards.commit(reference, cli.terminal.user)
                } catch (error) {
                    // The daemon was asked and did not say whether it had done it.
                    const done = lost ? asFault(error).facts.confirmed : undefined
                    const info = (await guards.list()).find(({ id }) => id === done)
                    if (info === undefined) throw error
                    return info
                }
            },
        )
        if (cli.json) cli.output.document(guard)
        else {
            cli.output.line(guardHead(guard))
            for (const text of guardLines(guard)) cli.output.line(`  ${text}`)
        }
        return 0
    },
}
