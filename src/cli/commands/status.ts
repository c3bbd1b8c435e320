/** `proxsavectl status`: is everything well, and what happens next. */
import type { Status } from '../../client/types.ts'
import { count, showAge, showSize } from '../../core/units.ts'
import { type Cli, type Command, defaultSocket } from '../command.ts'
import { showGuard } from '../guard.ts'
import { safe, showTime } from '../output.ts'

export const command: Command = {
    summary: 'armed guard, daemon, last and next backup, unfinished changes, warnings',
    statuses: [0, 1],
    example: 'proxsavectl status --json | jq .warnings',
    async run(cli) {
        const status = await cli.client.call<Status>('GET', '/v1/status').catch(async error => {
            await tellWithoutDaemon(cli)
            throw error
        })
        if (cli.json) {
            cli.output.document(status)
            return 0
        }
        const { line, colour } = cli.output
        const { daemon, host, last, next, running } = status
        const row = (name: string, text: string) => line(`${colour('bold', name.padEnd(12))} ${text}`)
        // Its time runs: before all else.
        if (status.guard !== null) showGuard(status.guard, line, colour('bold', 'guard'.padEnd(12)))
        const root = daemon.root === '/' ? '' : `, root ${daemon.root}`
        row(
            'daemon',
            `proxsaved ${daemon.version}, pid ${daemon.pid}, since ${showTime(daemon.since)}${root}`,
        )
        row('host', `${safe(host.name)} (${host.product})${host.id === undefined ? '' : `, id ${host.id}`}`)
        const age = last && showAge(Date.parse(last.created), Date.now())
        row('last backup', last ? `${last.id}, ${age}, ${showSize(last.size)} on ${last.target}` : 'none yet')
        row('next backup', next ? `${showTime(next.time)} (job ${next.job})` : 'none scheduled')
        if (status.guard === null) row('guard', 'none armed')
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

/** Whoever sits at the console of a machine whose daemon is dead must still hear that something goes back by itself. */
async function tellWithoutDaemon(cli: Cli): Promise<void> {
    if (cli.guards === undefined || cli.socket !== defaultSocket || cli.json) return
    try {
        const armed = (await cli.guards()).list().find(({ state }) => state === 'ARMED')
        if (armed !== undefined) showGuard(armed, cli.output.note)
    } catch {
        // Not root, most likely: the daemon's absence is what is told then.
    }
}
