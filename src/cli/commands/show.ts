/** `proxsavectl show`: what one backup is, or every file in it. */
import type { BackupDetail, WorkerEvent } from '../../client/types.ts'
import { Fault } from '../../core/errors.ts'
import { count, showSize } from '../../core/units.ts'
import type { Cli, Command, Options } from '../command.ts'
import { identityOption, withIdentity } from '../identity.ts'
import { safe, showTime } from '../output.ts'
import { backupReference } from '../paths.ts'

interface Missing {
    path: string
    state: string
    why?: string
}

/** The parts of the manifest that are printed; the daemon has checked its shape. */
interface Manifest {
    /** `upstream` for archives of the Go tool. */
    format: string
    product: Record<string, string>
    cluster: string
    tool: string
    encryption: { kind: string; recipients: string[] }
    plain: { size: number; entries: number }
    categories: { id: string; entries: number; bytes: number; missing?: Missing[]; missingMore?: number }[]
}

interface FileItem {
    path: string
    type: string
    /** Octal. */
    mode: string
    uid: number
    gid: number
    size: number
    /** RFC 3339. */
    modified: string
    link?: string
    category: string
}

export const command: Command = {
    summary: 'show one backup, or the files in it',
    arguments: [{ usage: '<backup>', about: 'id, beginning of an id, latest, or path' }],
    options: [
        { flags: '--files', about: 'list the files' },
        { flags: '--category <id>', about: 'only this category' },
        identityOption,
    ],
    statuses: [0, 1, 5],
    example: 'proxsavectl show latest --files --category network',
    async run(cli, [backup], options) {
        const reference = backupReference(cli, String(backup))
        if (options.files === true) return showFiles(cli, reference, options)
        const detail = await cli.client.call<BackupDetail>(
            'GET',
            `/v1/backups/${encodeURIComponent(reference)}`,
        )
        if (cli.json) cli.output.document(detail)
        else await showDetail(cli, detail, options.category as string | undefined)
        return 0
    },
}

async function showDetail(cli: Cli, detail: BackupDetail, category: string | undefined): Promise<void> {
    const { backup } = detail
    const manifest = detail.manifest as unknown as Manifest
    const { line, colour } = cli.output
    const row = (name: string, text: string) => line(`${colour('bold', name.padEnd(11))} ${safe(text)}`)
    row('id', backup.id)
    row('file', backup.path ?? `${backup.target}: ${backup.name}`)
    const foreign = manifest.format === 'upstream'
    row('created', `${showTime(backup.created)}${foreign ? '' : ` (number ${backup.sequence})`}`)
    row(
        'host',
        foreign ? backup.host : `${backup.host} (id ${backup.hostId}${backup.own ? ', this host' : ''})`,
    )
    const versions = Object.entries(manifest.product)
        .filter(([name]) => name !== 'kind')
        .map(([name, version]) => `${name} ${version}`)
    row(
        'product',
        `${manifest.product.kind}, ${manifest.cluster}${versions.length > 0 ? `: ${versions.join(', ')}` : ''}`,
    )
    row(
        'made by',
        foreign
            ? manifest.tool
            : `${manifest.tool}, ${backup.reason}${backup.job === undefined ? '' : `, job ${backup.job}`}`,
    )
    if (backup.note !== undefined) row('note', backup.note)
    if (backup.pinned) row('pinned', 'yes: prune keeps it')
    row('encryption', manifest.encryption.kind)
    for (const recipient of manifest.encryption.recipients) row('', `for ${recipient}`)
    row('signature', backup.signed ? 'present; verify tells whose' : 'none')
    if (foreign) {
        row('size', `${showSize(backup.size)}; show --files tells what is inside`)
        return
    }
    row(
        'size',
        `${showSize(backup.size)} for ${showSize(manifest.plain.size)} in ${count(manifest.plain.entries, 'entry', 'entries')}`,
    )
    if (backup.verified !== undefined)
        row('verified', `${showTime(backup.verified.time)}${backup.verified.deep ? ', deep' : ''}`)
    if (backup.problem !== undefined) row('problem', backup.problem)
    const categories = manifest.categories.filter(({ id }) => category === undefined || id === category)
    if (categories.length === 0 && category !== undefined)
        throw new Fault('failed', `cannot show ${category}: the backup has no such category`, {
            hint: `it has ${manifest.categories.map(({ id }) => id).join(', ')}`,
        })
    line()
    await cli.output.table(
        ['CATEGORY', 'ENTRIES', 'SIZE', 'NOT INSIDE'],
        categories.map(({ id, entries, bytes, missing = [], missingMore = 0 }) => [
            id,
            String(entries),
            showSize(bytes),
            missing.length === 0 ? '' : count(missing.length + missingMore, 'path'),
        ]),
        [1, 2],
    )
    const missing = categories.flatMap(({ missing = [] }) => missing)
    if (missing.length === 0) return
    line()
    line(colour('bold', 'Not inside:'))
    for (const { path, state, why } of missing)
        line(`  ${safe(path)}: ${state}${why === undefined ? '' : `, ${safe(why)}`}`)
    const more = categories.reduce((sum, { missingMore = 0 }) => sum + missingMore, 0)
    if (more > 0) line(`  and ${more} more`)
}

async function showFiles(cli: Cli, backup: string, options: Options): Promise<number> {
    return withIdentity(cli, options, async identity => {
        let first = true
        for await (const event of cli.client.stream<WorkerEvent>('POST', '/v1/archives/files', {
            body: { backup, identity, category: options.category },
        })) {
            if (event.event === 'warning') cli.output.note(`warning: ${safe(event.text)}`)
            if (event.event !== 'item') continue
            if (cli.json) cli.terminal.out(`${first ? '{"files":[' : ','}\n${JSON.stringify(event.item)}`)
            else cli.output.line(fileLine(event.item as unknown as FileItem))
            first = false
            await cli.terminal.drained()
        }
        if (cli.json) cli.terminal.out(first ? '{"files":[]}\n' : '\n]}\n')
        return 0
    })
}

function fileLine(item: FileItem): string {
    const owner = `${item.uid}:${item.gid}`.padEnd(9)
    const link = item.link === undefined ? '' : ` -> ${safe(item.link)}`
    return `${modeText(item.type, Number.parseInt(item.mode, 8))} ${owner} ${String(item.size).padStart(11)} ${showTime(item.modified)} ${safe(item.path)}${link}`
}

/** As `ls -l` writes it. */
export function modeText(type: string, mode: number): string {
    const kind = { directory: 'd', symlink: 'l', hardlink: 'h' }[type] ?? '-'
    const bits = ['r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'].map((letter, at) =>
        mode & (0o400 >> at) ? letter : '-',
    )
    if (mode & 0o4000) bits[2] = bits[2] === 'x' ? 's' : 'S'
    if (mode & 0o2000) bits[5] = bits[5] === 'x' ? 's' : 'S'
    if (mode & 0o1000) bits[8] = bits[8] === 'x' ? 't' : 'T'
    return kind + bits.join('')
}
