/** `proxsavectl backup`: starts a backup in the daemon and follows it. */
import type { StartedChange } from '../../client/types.ts'
import type { Command } from '../command.ts'
import { changeOptions, followChange, readAnswers } from '../follow.ts'

export const command: Command = {
    summary: 'back this host up now',
    about: 'Ctrl+C leaves the backup to the daemon and says how to see it again or stop it.',
    options: [
        { flags: '--job <name>', about: 'with the targets and categories of this job' },
        { flags: '--target <name>', about: 'to this target only' },
        { flags: '--note <text>', about: 'a line that list shows' },
        { flags: '--pin', about: 'never remove this backup by prune' },
        { flags: '--wait', about: 'wait up to an hour while another change runs, as scheduled jobs do' },
        { flags: '--reason <word>', about: 'who wanted it: manual, timer, apt', hidden: true },
        ...changeOptions,
    ],
    statuses: [0, 1, 4, 6, 8, 9],
    example: 'proxsavectl backup --note "before the upgrade" --pin',
    async run(cli, _args, options) {
        const answers = readAnswers(cli, options)
        const interrupt = new AbortController()
        const release = cli.terminal.onInterrupt(() => interrupt.abort())
        let change: string
        try {
            const started = await cli.client.call<StartedChange>('POST', '/v1/backups', {
                body: {
                    job: options.job,
                    target: options.target,
                    note: options.note,
                    pin: options.pin === true ? true : undefined,
                    wait: options.wait === true ? true : undefined,
                    reason: options.reason ?? (options.wait === true ? 'timer' : 'manual'),
                },
                signal: interrupt.signal,
            })
            change = started.change
        } finally {
            release()
        }
        if (options.detach === true) {
            if (cli.json) cli.output.document({ event: 'detached', change })
            else cli.output.line(`Running as change ${change}. To see it: proxsavectl attach ${change}`)
            return 0
        }
        return followChange(cli, change, answers)
    },
}
