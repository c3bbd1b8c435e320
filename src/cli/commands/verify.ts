/** `proxsavectl verify`: is a backup whole, and who signed it. */
import type { BackupList } from '../../client/types.ts'
import { exitStatusOf, Fault, toRecord } from '../../core/errors.ts'
import { count } from '../../core/units.ts'
import type { Cli, Command, Options } from '../command.ts'
import { identityOption, withIdentity } from '../identity.ts'
import { safe } from '../output.ts'
import { backupReference } from '../paths.ts'
import { runArchive } from '../archive.ts'

export interface VerifyResult {
    manifest: { format?: string; id: string; host: { name: string } }
    signature: {
        state: 'own' | 'trusted' | 'foreign' | 'unsigned'
        fingerprint?: string
        publicKey?: string
        principal?: string
    }
    blocks: { checked: number }
    deep?: { entries: number; bytes: number; parsed: number }
    problems: string[]
}

export const command: Command = {
    summary: 'check that a backup is whole, and who signed it',
    about: 'Without --deep no key is needed: signature, sizes and digests are checked. With --deep every entry is\nread, compared with the index, and known configuration files are parsed.',
    arguments: [{ usage: '[backup]', about: 'id, beginning of an id, latest, or path' }],
    options: [
        { flags: '--all', about: 'every backup of this host' },
        { flags: '--deep', about: 'decrypt and read every entry' },
        identityOption,
    ],
    statuses: [0, 1, 5],
    example: 'proxsavectl verify latest --deep',
    async run(cli, [backup], options) {
        if ((backup === undefined) === (options.all !== true))
            throw new Fault('usage', 'cannot verify: name one backup, or give --all', {
                hint: 'for example proxsavectl verify latest',
            })
        if (options.all === true) return verifyAll(cli, options)
        const result = await verifyOne(cli, backupReference(cli, String(backup)), options)
        if (cli.json) cli.output.document(result)
        else report(cli, result)
        return statusOf(result)
    },
}

async function verifyOne(cli: Cli, backup: string, options: Options): Promise<VerifyResult> {
    return withIdentity(cli, options, async identity =>
        runArchive<VerifyResult>(cli, 'verify', { backup, deep: options.deep === true, identity }),
    )
}

async function verifyAll(cli: Cli, options: Options): Promise<number> {
    const { backups } = await cli.client.call<BackupList>('GET', '/v1/backups')
    const documents: unknown[] = []
    let status = 0
    for (const backup of backups) {
        const label = `${backup.id || backup.name} on ${backup.target}`
        try {
            const reference = backup.path ?? backup.id
            const result = await verifyOne(cli, reference, options)
            documents.push({ id: backup.id, target: backup.target, ...result })
            status = Math.max(status, statusOf(result))
            if (!cli.json) {
                cli.output.line(cli.output.colour('bold', label))
                report(cli, result)
            }
        } catch (error) {
            if (!(error instanceof Fault) || error.kind === 'unreachable') throw error
            documents.push({ id: backup.id, target: backup.target, error: toRecord(error) })
            status = status === exitStatusOf.damaged ? status : error.exitStatus
            if (!cli.json)
                cli.output.line(
                    `${cli.output.colour('bold', label)}\n  ${cli.output.colour('red', safe(error.message))}`,
                )
        }
    }
    if (cli.json) cli.output.document({ backups: documents })
    else if (backups.length === 0) cli.output.line('No backups of this host yet.')
    return status
}

function statusOf(result: VerifyResult): number {
    if (result.signature.state === 'foreign' || result.signature.state === 'unsigned')
        return exitStatusOf.damaged
    // What a parser makes of a file is a note about the host: the backup holds it as it was.
    return 0
}

const signatureTexts = {
    own: 'signed by this host',
    trusted: 'signed by a trusted host',
    foreign: 'signed by a key that this host does not know',
    unsigned: 'not signed',
}

/** More notes than this say nothing more to a person. */
const shownNotes = 5

function report(cli: Cli, { manifest, signature, blocks, deep, problems }: VerifyResult): void {
    const { line, colour } = cli.output
    const good = signature.state === 'own' || signature.state === 'trusted'
    const who = [signature.principal, signature.fingerprint].filter(part => part !== undefined).join(' ')
    line(`  backup    ${manifest.id} of ${safe(manifest.host.name)}`)
    line(
        `  signature ${colour(good ? 'green' : 'red', signatureTexts[signature.state])}${who === '' ? '' : ` (${safe(who)})`}`,
    )
    line(`  data      ${colour('green', 'whole')}, ${count(blocks.checked, 'block')} checked`)
    if (deep !== undefined)
        line(
            `  content   ${colour('green', 'whole')}, ${count(deep.entries, 'entry', 'entries')} read, ${count(deep.parsed, 'file')} parsed`,
        )
    for (const problem of problems.slice(0, shownNotes))
        line(`  ${colour('yellow', 'note')}      ${safe(problem)}`)
    if (problems.length > 0)
        line(
            `  ${problems.length > shownNotes ? `and ${problems.length - shownNotes} more notes (--json has them); ` : ''}notes are about files of the host that read oddly: they are saved as they were`,
        )
    if (good) return
    if (manifest.format === 'upstream')
        line(
            '  hint: the Go ProxSave signs nothing: who could write the backup could also write its checksum',
        )
    else if (signature.publicKey === undefined)
        line('  hint: anybody could have made it: use a backup that is signed')
    else {
        const name = manifest.host.name.replaceAll(/[^A-Za-z0-9.-]/g, '-') || 'host'
        line(
            `  hint: when the recovery sheet of ${safe(manifest.host.name)} has this signing key, trust it from now on:`,
        )
        line(`    echo '${name} ${signature.publicKey}' >> /etc/proxsave/allowed_signers`)
    }
}
