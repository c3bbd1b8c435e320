/** `proxsavectl attach`: follows a running change, also from another terminal than the one that began it. */
import type { ChangeList } from '../../client/types.ts'
import { Fault } from '../../core/errors.ts'
import type { Cli, Command } from '../command.ts'
import { changeOptions, followChange, readAnswers, tellArmed } from '../follow.ts'

export const command: Command = {
    summary: 'follow a running change and answer its questions',
    arguments: [{ usage: '[change]', about: 'id or beginning of one; default: the one that runs' }],
    options: changeOptions.filter(option => !option.flags.startsWith('--detach')),
    statuses: [0, 1, 4, 5, 6, 7, 8, 9],
    example: 'proxsavectl attach',
    async run(cli, [change], options) {
        const answers = readAnswers(cli, options)
        const id = change === undefined ? await runningChange(cli) : String(change)
        await tellArmed(cli)
        return followChange(cli, id, answers)
    },
}

export async function runningChange(cli: Cli): Promise<string> {
    const { changes } = await cli.client.call<ChangeList>('GET', '/v1/changes')
    const running = changes.find(change => change.state !== 'done')
    if (running === undefined)
        throw new Fault('failed', 'cannot attach: no change is running', {
            hint: 'proxsavectl history lists those that ended',
        })
    return running.id
}
