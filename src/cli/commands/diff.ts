/** `proxsavectl diff`: what differs between two backups, or between a backup and the host as it is. */
import { count } from '../../core/units.ts'
import { runArchive } from '../archive.ts'
import type { Command } from '../command.ts'
import { identityOption, withIdentity } from '../identity.ts'
import { safe } from '../output.ts'
import { backupReference } from '../paths.ts'

interface Difference {
    path: string
    /** Seen from the backup to the other side: what came, went or changed since. */
    change: 'added' | 'removed' | 'changed'
    category?: string
    /** What of a changed entry differs: `content`, `mode`, `owner`, … */
    what?: string[]
    /** Unified, for text. */
    diff?: string
}

export const command: Command = {
    summary: 'compare a backup with the host or with another backup',
    arguments: [
        { usage: '<backup>', about: 'id, beginning of an id, latest, or path' },
        { usage: '[other]', about: 'another backup, or live (the default)' },
    ],
    options: [{ flags: '--category <id>', about: 'only this category', repeat: true }, identityOption],
    statuses: [0, 1, 5],
    example: 'proxsavectl diff latest live --category network',
    async run(cli, [left, right], options) {
        const other = right === undefined || right === 'live' ? 'live' : backupReference(cli, String(right))
        const differences: Difference[] = []
        const result = await withIdentity(cli, options, identity => {
            differences.length = 0
            return runArchive<{ added: number; removed: number; changed: number }>(
                cli,
                'diff',
                {
                    left: backupReference(cli, String(left)),
                    right: other,
                    categories: options.category,
                    identity,
                },
                item => {
                    if (cli.json) differences.push(item as Difference)
                    else show(cli.output, item as Difference)
                },
            )
        })
        if (cli.json) cli.output.document({ ...result, differences })
        else if (result.added + result.removed + result.changed === 0) cli.output.line('No differences.')
        else
            cli.output.line(
                `${count(result.added, 'entry', 'entries')} added, ${result.removed} removed, ${result.changed} changed`,
            )
        return 0
    },
}

function show(output: import('../output.ts').Output, { path, change, what, diff }: Difference): void {
    const mark = {
        added: output.colour('green', '+'),
        removed: output.colour('red', '-'),
        changed: output.colour('yellow', '~'),
    }[change]
    output.line(
        `${mark} ${safe(path)}${what === undefined || what.length === 0 ? '' : `  (${what.join(', ')})`}`,
    )
    if (diff === undefined) return
    for (const line of diff.split('\n')) {
        if (line === '') continue
        const colour = line.startsWith('+') ? 'green' : line.startsWith('-') ? 'red' : 'dim'
        output.line(`    ${output.colour(colour, line.split('\t').map(safe).join('\t'))}`)
    }
}
