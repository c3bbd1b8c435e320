/** `proxsavectl list`: the backups on the targets, newest first. */
import type { BackupInfo, BackupList } from '../../client/types.ts'
import { showSize } from '../../core/units.ts'
import type { Command } from '../command.ts'
import { safe, showTime } from '../output.ts'
import { absolute } from '../paths.ts'

export const command: Command = {
    summary: 'list the backups',
    about: 'With a directory: the archives of the Go ProxSave that lie in it.',
    arguments: [{ usage: '[directory]', about: 'a directory of archives of the Go ProxSave' }],
    options: [
        { flags: '--target <name>', about: 'only on this target' },
        { flags: '--all-hosts', about: 'those of other hosts and of the Go ProxSave too' },
    ],
    statuses: [0, 1],
    example: 'proxsavectl list --json | jq -r ".backups[0].id"',
    async run(cli, [directory], options) {
        const all = options.allHosts === true || directory !== undefined
        const list = await cli.client.call<BackupList>('GET', '/v1/backups', {
            query: {
                target: options.target as string | undefined,
                all: all || undefined,
                directory: directory === undefined ? undefined : absolute(cli, String(directory)),
            },
        })
        if (cli.json) {
            cli.output.document(list)
            return 0
        }
        for (const { target, message } of list.problems ?? [])
            cli.output.note(`target ${target}: ${safe(message)}`)
        if (list.backups.length === 0) {
            cli.output.line(all ? 'No backups yet.' : 'No backups of this host yet.')
            return 0
        }
        const several = new Set(list.backups.map(backup => backup.target)).size > 1
        const head = [
            'ID',
            'CREATED',
            'SIZE',
            ...(all ? ['HOST', 'HOST ID'] : []),
            ...(several ? ['TARGET'] : []),
            'FLAGS',
            'NOTE',
        ]
        const rows = list.backups.map(backup => [
            backup.id || '-',
            showTime(backup.created),
            showSize(backup.size),
            ...(all ? [safe(backup.host) || '-', safe(backup.hostId) || '-'] : []),
            ...(several ? [safe(backup.target)] : []),
            flags(backup),
            safe(backup.problem === undefined ? (backup.note ?? '') : `${backup.name}: ${backup.problem}`),
        ])
        await cli.output.table(head, rows, [2])
        return 0
    },
}

function flags(backup: BackupInfo): string {
    if (backup.problem !== undefined && backup.id === '') return 'unreadable'
    const words = [backup.encrypted ? 'encrypted' : 'plain']
    if (!backup.signed) words.push('unsigned')
    if (backup.pinned) words.push('pinned')
    if (backup.verified !== undefined) words.push(backup.verified.deep ? 'verified-deep' : 'verified')
    return words.join(',')
}
