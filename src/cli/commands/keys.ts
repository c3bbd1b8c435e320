/** `proxsavectl keys`: who can open the backups, and the private identity of this host. */
import type { Keys, StartedChange } from '../../client/types.ts'
import { Fault } from '../../core/errors.ts'
import type { Cli, Command, CommandGroup } from '../command.ts'
import { finishChange } from '../finish.ts'
import { safe, showTime } from '../output.ts'
import { absolute } from '../paths.ts'
import { askConfirm, askNewPassphrase, canAsk } from '../prompt.ts'
import { printSheet } from '../sheet.ts'

const generate: Command = {
    summary: 'make an identity for this host',
    about: 'In the plain by default. With --passphrase it is protected, and a copy travels inside each backup:\nthen the passphrase alone opens everything.',
    options: [
        { flags: '--passphrase', about: 'ask for a passphrase that protects it' },
        { flags: '--comment <text>', about: 'stands beside the recipient' },
    ],
    statuses: [0, 1, 4, 8],
    example: 'proxsavectl keys generate --passphrase',
    async run(cli, _args, options) {
        if (options.passphrase === true && !canAsk(cli))
            throw new Fault('refused', 'cannot ask for a passphrase: there is no terminal', {
                hint: 'run this at a terminal',
            })
        const passphrase = options.passphrase === true ? await askNewPassphrase() : undefined
        await run(cli, 'POST', '/v1/keys', { passphrase, comment: options.comment })
        if (!cli.json) {
            cli.output.line(
                'The identity is made. Print its recovery sheet now, and keep it away from this host:',
            )
            cli.output.line('  proxsavectl keys sheet')
        }
        return 0
    },
}

const add: Command = {
    summary: 'add a recipient: an age or an ssh public key',
    arguments: [
        { usage: '<recipient...>', about: 'age1…, ssh-ed25519 … or ssh-rsa …, or a file that holds one' },
    ],
    options: [{ flags: '--comment <text>', about: 'stands beside the recipient' }],
    statuses: [0, 1, 2, 8],
    example: 'proxsavectl keys add /root/.ssh/id_ed25519.pub',
    async run(cli, [words], options) {
        // An ssh key is three words; a shell may have split them.
        const given = (words as string[]).join(' ')
        const path = absolute(cli, given)
        const isKey = /^(age1|ssh-)/.test(given)
        const recipient =
            !isKey && (given.includes('/') || cli.files.exists(path))
                ? new TextDecoder().decode(cli.files.read(path, 16_384, 'the public key')).trim()
                : given
        if (/^(-----BEGIN |AGE-SECRET-KEY-|# created:)/.test(recipient))
            throw new Fault('usage', `cannot add the recipient: ${isKey ? 'this' : given} is a private key`, {
                hint: 'give its public half: FILE.pub of an ssh key, what age-keygen -y prints of an age key',
            })
        await run(cli, 'POST', '/v1/keys/recipients', { recipient, comment: options.comment })
        if (!cli.json) cli.output.line('Backups from now on can be opened by this recipient too.')
        return 0
    },
}

const list: Command = {
    summary: 'list the recipients and what is on this host',
    statuses: [0, 1],
    example: 'proxsavectl keys list',
    async run(cli) {
        const keys = await cli.client.call<Keys>('GET', '/v1/keys')
        if (cli.json) {
            cli.output.document(keys)
            return 0
        }
        const { line } = cli.output
        if (keys.recipients.length === 0) line('No recipients. `proxsavectl setup` makes one.')
        else
            await cli.output.table(
                ['TYPE', 'IDENTITY', 'SHEET', 'COMMENT', 'RECIPIENT'],
                keys.recipients.map(({ recipient, kind, comment, identity, sheetPrinted }) => [
                    kind,
                    { plain: 'on this host', protected: 'passphrase', none: 'elsewhere' }[identity],
                    sheetPrinted === undefined ? '-' : showTime(sheetPrinted),
                    safe(comment) || '-',
                    recipient,
                ]),
            )
        line()
        for (const { path, protected: isProtected } of keys.identities)
            line(`identity      ${path}${isProtected ? ', behind a passphrase' : ', in the plain'}`)
        if (keys.identities.length === 0) line('identity      not on this host')
        line(`signing key   ${keys.signing?.fingerprint ?? 'none yet: the first backup makes it'}`)
        return 0
    },
}

const remove: Command = {
    summary: 'remove a recipient, or the private identity from this host',
    arguments: [{ usage: '[recipient...]', about: 'its text, the beginning of it, or its comment' }],
    options: [
        { flags: '--identity', about: 'take the private identity off this host, for good' },
        { flags: '--force', about: 'although its sheet was never printed, or a passphrase protects it' },
    ],
    statuses: [0, 1, 2, 4, 8],
    example: 'proxsavectl keys remove --identity',
    async run(cli, [words], options) {
        const named = ((words as string[] | undefined) ?? []).join(' ')
        if ((named === '') === (options.identity !== true))
            throw new Fault('usage', 'cannot remove: name one recipient, or give --identity', {
                hint: 'proxsavectl keys list shows them',
            })
        if (options.identity !== true) {
            await run(cli, 'DELETE', `/v1/keys/recipients/${encodeURIComponent(named)}`)
            if (!cli.json) cli.output.line('Removed. Backups made before can still be opened by it.')
            return 0
        }
        if (canAsk(cli) && !(await askConfirm('Take the private identity off this host for good?', false)))
            throw new Fault('refused', 'cannot remove the identity: not confirmed')
        await run(cli, 'DELETE', '/v1/keys/identity', undefined, {
            force: options.force === true || undefined,
        })
        if (!cli.json)
            cli.output.line('The identity is off this host. Backups go on; restores will ask for it.')
        return 0
    },
}

const sheet: Command = {
    summary: 'print the recovery sheet',
    about: 'The private identity is on it only when it goes to a terminal or, with --html, into a new file.\nKeep it on paper or in a password manager, away from this host and its backups.',
    options: [{ flags: '--html <file>', about: 'write a page with QR codes to print instead' }],
    statuses: [0, 1, 4],
    example: 'proxsavectl keys sheet --html /root/sheet.html',
    run: (cli, _args, options) => printSheet(cli, options.html as string | undefined),
}

async function run(
    cli: Cli,
    method: string,
    path: string,
    body?: unknown,
    query?: Record<string, boolean | undefined>,
): Promise<void> {
    const { change } = await cli.client.call<StartedChange>(method, path, { body, query })
    const end = await finishChange(cli, change)
    if (cli.json) cli.output.document(end)
}

export const command: CommandGroup = {
    summary: 'who can open the backups: generate, add, list, remove, sheet',
    commands: { generate, add, list, remove, sheet },
}
