/** Prints the recovery sheet: its secret goes to a terminal or into a private file of the caller's, nowhere else. */
import type { Sheet } from '../client/types.ts'
import type { Cli } from './command.ts'
import { absolute } from './paths.ts'

export async function printSheet(cli: Cli, html: string | undefined): Promise<number> {
    const toTerminal = cli.terminal.outIsTerminal && !cli.json
    const secrets = html !== undefined || toTerminal
    const sheet = await cli.client.call<Sheet>('POST', '/v1/keys/sheet', {
        body: { secrets, colour: toTerminal && !cli.terminal.env.NO_COLOR },
    })
    if (html !== undefined) {
        const path = absolute(cli, html)
        cli.files.create(path, sheet.html, 'the sheet')
        await noted(cli)
        if (cli.json) cli.output.document({ html: path, secret: sheet.secret })
        else cli.output.line(`${path}: print it, then remove the file; the private identity is on it`)
        return 0
    }
    if (cli.json) {
        cli.output.document({ text: sheet.text, secret: sheet.secret })
        return 0
    }
    cli.terminal.out(sheet.text)
    // A sheet without the secret in a pipe is no reason to let the identity leave the host.
    if (toTerminal && (sheet.secret || sheet.protected)) await noted(cli)
    else if (!toTerminal)
        cli.output.note(
            'The private identity is not printed, because this is no terminal; --html FILE writes it.',
        )
    return 0
}

async function noted(cli: Cli): Promise<void> {
    await cli.client.call('POST', '/v1/keys/sheet/printed')
}
