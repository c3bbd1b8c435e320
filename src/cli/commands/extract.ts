/** `proxsavectl extract`: single files or trees out of a backup into a directory. */
import { Fault } from '../../core/errors.ts'
import { count, showSize } from '../../core/units.ts'
import { runArchive } from '../archive.ts'
import type { Command } from '../command.ts'
import { identityOption, withIdentity } from '../identity.ts'
import { safe } from '../output.ts'
import { absolute, backupReference } from '../paths.ts'

interface Skipped {
    path: string
    why: string
}

export const command: Command = {
    summary: 'take files or trees out of a backup into a directory',
    about: 'Paths are those of the host: /etc/network takes the whole tree below it.',
    arguments: [
        { usage: '<backup>', about: 'id, beginning of an id, latest, or path' },
        { usage: '[paths...]', about: 'files or directories of the host' },
    ],
    options: [
        { flags: '--output <dir>', about: 'where to; made when it is not there' },
        { flags: '--category <id>', about: 'everything of this category' },
        identityOption,
    ],
    statuses: [0, 1, 5, 6],
    example: 'proxsavectl extract latest /etc/network /etc/hosts --output /root/from-backup',
    async run(cli, [backup, paths], options) {
        const wanted = (paths as string[] | undefined) ?? []
        if (typeof options.output !== 'string')
            throw new Fault('usage', 'cannot extract: --output DIR is missing', {
                hint: 'for example --output /root/from-backup',
            })
        if (wanted.length === 0 && options.category === undefined)
            throw new Fault('usage', 'cannot extract: name at least one path, or a --category', {
                hint: `proxsavectl show ${String(backup)} --files lists them`,
            })
        const output = absolute(cli, options.output)
        const reference = backupReference(cli, String(backup))
        const extracted: unknown[] = []
        const result = await withIdentity(cli, options, identity => {
            extracted.length = 0
            return runArchive<{ entries: number; bytes: number; skipped: (string | Skipped)[] | number }>(
                cli,
                'extract',
                { backup: reference, output, paths: wanted, category: options.category, identity },
                item => {
                    if (cli.json) extracted.push(item)
                },
            )
        })
        const skipped = Array.isArray(result.skipped) ? result.skipped : []
        const number = Array.isArray(result.skipped) ? skipped.length : result.skipped
        if (cli.json) cli.output.document({ ...result, output, paths: extracted })
        else {
            cli.output.line(
                `${count(result.entries, 'entry', 'entries')}, ${showSize(result.bytes)} in ${output}`,
            )
            for (const entry of skipped)
                cli.output.line(
                    `  skipped: ${safe(typeof entry === 'string' ? entry : `${entry.path}: ${entry.why}`)}`,
                )
        }
        return number > 0 ? 6 : 0
    },
}
