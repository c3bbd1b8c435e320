/** `proxsavectl undo`: back to the state before a change. */
import type { StartedChange } from '../../client/types.ts'
import type { Command } from '../command.ts'
import { changeOptions, followChange, readAnswers } from '../follow.ts'
import { safe } from '../output.ts'
import { canAsk } from '../prompt.ts'
import { confirm } from './restore.ts'

interface UndoPlan {
    summary: string
    steps: string[]
    cannot: string[]
}

export const command: Command = {
    summary: 'put the host back to the state before a change',
    about: 'Content, owners, modes and times come back, and what the change created goes. A file that was edited since is\nasked about and left alone without an answer.',
    arguments: [{ usage: '<change>', about: 'id or beginning of one' }],
    options: changeOptions,
    statuses: [0, 1, 4, 6, 8, 9],
    example: 'proxsavectl undo 20261120-023000-7f3a',
    async run(cli, [change], options) {
        const answers = Object.fromEntries(readAnswers(cli, options))
        const path = `/v1/changes/${encodeURIComponent(String(change))}/undo`
        const plan = await cli.client.call<UndoPlan>('GET', path)
        if (!cli.json) {
            const { line, colour } = cli.output
            line(safe(plan.summary))
            for (const step of plan.steps) line(`  take back: ${safe(step)}`)
            for (const text of plan.cannot) line(`  ${colour('yellow', 'cannot')}: ${safe(text)}`)
        }
        await confirm(cli, answers, 'UNDO')
        const started = await cli.client.call<StartedChange>('POST', path, {
            body: { answers, interactive: canAsk(cli) },
        })
        if (options.detach === true) {
            if (cli.json) cli.output.document({ event: 'detached', change: started.change })
            else cli.output.line(`Running as change ${started.change}.`)
            return 0
        }
        return followChange(cli, started.change)
    },
}
