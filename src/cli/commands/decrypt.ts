/** `proxsavectl decrypt`: the same backup file with its data decrypted. */
import { Fault } from '../../core/errors.ts'
import { showSize } from '../../core/units.ts'
import { runArchive } from '../archive.ts'
import type { Command } from '../command.ts'
import { identityOption, withIdentity } from '../identity.ts'
import { absolute, backupReference } from '../paths.ts'

export const command: Command = {
    summary: 'write a decrypted copy of a backup',
    arguments: [{ usage: '<backup>', about: 'id, beginning of an id, latest, or path' }],
    options: [{ flags: '--output <path>', about: 'the new file; must not exist' }, identityOption],
    statuses: [0, 1, 5],
    example: 'proxsavectl decrypt latest --output /root/plain.proxsave.tar',
    async run(cli, [backup], options) {
        if (typeof options.output !== 'string')
            throw new Fault('usage', 'cannot decrypt: --output PATH is missing', {
                hint: 'for example --output /root/plain.proxsave.tar',
            })
        const output = absolute(cli, options.output)
        const reference = backupReference(cli, String(backup))
        const result = await withIdentity(cli, options, identity =>
            runArchive<{ output: string; size: number; sha256: string }>(cli, 'decrypt', {
                backup: reference,
                output,
                identity,
            }),
        )
        if (cli.json) cli.output.document(result)
        else
            cli.output.line(
                `${result.output}: ${showSize(result.size)}, decrypted; keep it where only root reads`,
            )
        return 0
    },
}
