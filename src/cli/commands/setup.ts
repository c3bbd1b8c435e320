/** `proxsavectl setup`: keys, target and schedule; asks at a terminal, takes the defaults otherwise. */
import type { Keys, SetupAnswer, SetupState } from '../../client/types.ts'
import { Fault } from '../../core/errors.ts'
import type { Cli, Command } from '../command.ts'
import { finishChange } from '../finish.ts'
import { safe } from '../output.ts'
import { askChoice, askNewPassphrase, askText, canAsk } from '../prompt.ts'
import { printSheet } from '../sheet.ts'

interface Order {
    keys: boolean
    configure: boolean
    adopt?: string
    passphrase?: string
    recipients?: string[]
    targetPath?: string
    schedule?: string
    source?: boolean
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
        if (order.configure && change !== undefined) {
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
        if (kind === 'passphrase') order.passphrase = await askNewPassphrase()
        if (kind === 'recipient')
            order.recipients = [
                await askText('The public key (age1… or ssh-…)', {
                    check: text =>
                        /^(age1|ssh-ed25519 |ssh-rsa )/.test(text)
                            ? undefined
                            : 'it begins with age1, ssh-ed25519 or ssh-rsa',
                }),
            ]
    }
    const found = await cli.client.call<SetupState>('GET', '/v1/setup')
    // What is configured is not asked about: the answers would not be used.
    for (const { name, path } of found.targets) cli.output.note(`Target ${name} stays: ${safe(path)}`)
    if (found.targets.length === 0)
        order.targetPath = await askText('Directory for the backups', {
            byDefault: '/var/backups/proxsave',
            check: text => (text.startsWith('/') ? undefined : 'a full path, beginning with /'),
        })
    for (const { name, schedule } of found.jobs) cli.output.note(`Job ${name} stays: ${safe(schedule)}`)
    if (found.jobs.length === 0)
        order.schedule = await askText('When each day (02:30, or another calendar expression of systemd)', {
            byDefault: '02:30',
            check: async schedule =>
                (await cli.client.call<SetupState>('GET', '/v1/setup', { query: { schedule } }))
                    .wrongSchedule,
        })
    if (found.source !== undefined)
        order.source =
            (await askChoice(
                `The Go ProxSave stored backups at ${safe(found.source.remote)}. Write it down as a source?`,
                [
                    { value: 'yes', text: 'yes: its archives are listed and read, nothing is written there' },
                    { value: 'no', text: 'no' },
                ],
            )) === 'yes'
    if (found.targets.length > 0 || found.jobs.length > 0)
        cli.output.note(
            'To change them edit /etc/proxsave/conf.d/10-setup.toml, then systemctl reload proxsave',
        )
    return order
}
