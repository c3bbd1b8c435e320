/** `proxsavectl cancel`: stops a change at the next task boundary and undoes it. */
import type { Command } from '../command.ts'
import { followChange } from '../follow.ts'

export const command: Command = {
    summary: 'stop a running change and undo it',
    arguments: [{ usage: '<change>', about: 'id or beginning of one' }],
    options: [{ flags: '--detach', about: 'do not wait until it is undone' }],
    statuses: [0, 1, 9],
    example: 'proxsavectl cancel 20261120-023000-7f3a',
    async run(cli, [change], options) {
        const id = String(change)
        await cli.client.call('POST', `/v1/changes/${encodeURIComponent(id)}/cancel`)
        if (options.detach === true) return 0
        const status = await followChange(cli, id)
        // Cancelled is what was asked for here.
        return status === 4 ? 0 : status
    },
}
