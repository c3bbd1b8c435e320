/** `proxsavectl setup`: keys, target and schedule; asks at a terminal, takes the defaults otherwise. */
import type { Keys, SetupAnswer } from '../../client/types.ts'
import { Fault } from '../../core/errors.ts'
import type { Cli, Command } from '../command.ts'
import { finishChange } from '../finish.ts'
import { safe } from '../output.ts'
import { askChoice, askPassphrase, askText, canAsk } from '../prompt.ts'
import { printSheet } from '../sheet.ts'

interface Order {
    keys: boolean
    configure: boolean
    adopt?: string
    passphrase?: string
    recipients?: string[]
    targetPath?: string
    schedule?: string
}

export const command: Command = {
    summary: 'keys, target and schedule of this host',
    about: 'Keeps what is there already: a second run changes nothing. Runs no backup.\nEnds with a recovery sheet; its secret is printed only to a terminal.',
    options: [
        { flags: '--defaults', about: 'ask nothing: plain identity, local target, a backup each night' },
        {
            flags: '--adopt <hostid>',
            about: 'take over the archives of a reinstalled host; new: begin a new id',
        },
    ],
    statuses: [0, 1, 2, 4, 8],
    example: 'proxsavectl setup --defaults',
    async run(cli, _args, options) {
        const adopt = options.adopt as string | undefined
        const defaults = options.defaults === true
        if (!defaults && adopt === undefined && !canAsk(cli))
            throw new Fault('refused', 'cannot ask: there is no terminal', {
                hint: 'proxsavectl setup --defaults asks nothing',
            })
        const order: Order = defaults
            ? { keys: true, configure: true, adopt }
            : adopt !== undefined
              ? { keys: false, configure: false, adopt }
              : await interview(cli)
        const { change, steps, notes } = await cli.client.call<SetupAnswer>('POST', '/v1/setup', {
            body: order,
        })
        const end = change === undefined ? undefined : await finishChange(cli, change)
        if (cli.json) {
            const result = end?.result ?? 'ok'
            cli.output.document({ changed: change !== undefined, change, steps, notes, result })
            return 0
        }
        for (const step of steps) cli.output.line(change === undefined ? step : `done: ${step}`)
        for (const note of notes ?? []) cli.output.note(safe(note))
        if (steps.some(step => step.includes('identity'))) {
            cli.output.line()
            await printSheet(cli, undefined)
        }
        if (order.configure) {
            cli.output.line()
            cli.output.line(
                'Next: proxsavectl backup makes the first backup, proxsavectl doctor checks everything.',
            )
        }
        return 0
    },
}

async function interview(cli: Cli): Promise<Order> {
    const order: Order = { keys: true, configure: true }
    const keys = await cli.client.call<Keys>('GET', '/v1/keys')
    if (keys.recipients.length === 0 && keys.identities.length === 0) {
        const kind = await askChoice('Backups are encrypted. What opens them again?', [
            { value: 'plain', text: 'a private identity: printed on a sheet, then taken off this host' },
            { value: 'passphrase', text: 'a passphrase: a protected identity travels inside each backup' },
            { value: 'recipient', text: 'a public key that I have already (age or ssh)' },
        ])
        if (kind === 'passphrase')
            order.passphrase = await askPassphrase('New passphrase (8 characters or more)', true)
        if (kind === 'recipient') order.recipients = [await askText('The public key (age1… or ssh-…)')]
    }
    order.targetPath = await askText('Directory for the backups', '/var/backups/proxsave')
    order.schedule = await askText('When each day (systemd calendar expression)', '02:30')
    return order
}
