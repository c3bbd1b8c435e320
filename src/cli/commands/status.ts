/** `proxsavectl status`: is everything well, and what happens next. */
import type { Status } from '../../client/types.ts'
import { count, showAge, showSize } from '../../core/units.ts'
import type { Command } from '../command.ts'
import { safe, showTime } from '../output.ts'

export const command: Command = {
    summary: 'daemon, last and next backup, unfinished changes, warnings',
    statuses: [0, 1],
    example: 'proxsavectl status --json | jq .warnings',
    async run(cli) {
        const status = await cli.client.call<Status>('GET', '/v1/status')
        if (cli.json) {
            cli.output.document(status)
            return 0
        }
        const { line, colour } = cli.output
        const { daemon, host, last, next, running } = status
        const row = (name: string, text: string) => line(`${colour('bold', name.padEnd(12))} ${text}`)
        const root = daemon.root === '/' ? '' : `, root ${daemon.root}`
        row(
            'daemon',
            `proxsaved ${daemon.version}, pid ${daemon.pid}, since ${showTime(daemon.since)}${root}`,
        )
        row('host', `${safe(host.name)} (${host.product})${host.id === undefined ? '' : `, id ${host.id}`}`)
        const age = last && showAge(Date.parse(last.created), Date.now())
        row('last backup', last ? `${last.id}, ${age}, ${showSize(last.size)} on ${last.target}` : 'none yet')
        row('next backup', next ? `${showTime(next.time)} (job ${next.job})` : 'none scheduled')
        row('guard', 'none armed')
        row('running', running ? `${running.summary} (change ${running.id})` : 'nothing')
        for (const change of status.unfinished.filter(({ id }) => id !== status.running?.id))
            row('unfinished', `${change.summary} (change ${change.id})`)
        if (status.deferred.length > 0) row('deferred', count(status.deferred.length, 'object'))
        for (const text of status.skipped) row('skipped', text)
        for (const warning of status.warnings) {
            line(`${colour('yellow', 'warning')}: ${safe(warning.text)}`)
            if (warning.hint !== undefined) line(`  hint: ${safe(warning.hint)}`)
        }
        return 0
    },
}
