/** The entries of a saved fstab that may join the live one: what stands there stays, byte for byte. */
import { Fault } from '../core/errors.ts'
import { entriesOf, type FstabEntry, parseFstab } from '../format/fstab.ts'
import type { Exec } from '../host/exec.ts'

/** Texts hold one character for a byte, as those of `format/fstab.ts`. */
export interface FstabFacts {
    /** Undefined when the host has none. */
    live: string | undefined
    backup: string
    /** Absolute points where something is mounted now. */
    mounted: ReadonlySet<string>
    /** Points that units of systemd care for. */
    units: ReadonlySet<string>
    /** The device node behind `UUID=…` and the like, undefined when it is not here, or when nobody can tell. */
    device(source: string): string | undefined
    /** Device nodes that are in use: mounted, or named by the live table. */
    used: ReadonlySet<string>
}

export interface FstabProposal {
    /** The line as it would be added. */
    line: string
    target: string
    /** For people: no passwords in it. */
    shown: string
}

export interface FstabMerge {
    proposals: FstabProposal[]
    /** Entries of the backup that are not proposed, without those that the host has already. */
    others: { shown: string; why: string }[]
    /** How many entries the host has already. */
    present: number
}

const networkTypes = new Set(['nfs', 'nfs4', 'cifs', 'smb3', 'ceph', 'glusterfs'])
const diskTypes = new Set([
    'ext2',
    'ext3',
    'ext4',
    'xfs',
    'btrfs',
    'vfat',
    'exfat',
    'ntfs3',
    'f2fs',
    'jfs',
    'auto',
])
/** Names that tell the content of a device, not the slot it is in. */
const stableSource = /^((PART)?(UUID|LABEL)=|\/dev\/disk\/by-(id|uuid|label|partuuid|partlabel)\/)/

/** A mount there takes the place of the running system, or of what it needs to come up. */
const systemTrees = [
    ...['boot', 'usr', 'etc', 'dev', 'proc', 'sys', 'run', 'bin', 'sbin', 'lib', 'lib32', 'lib64', 'root'],
    ...[
        'var/lib/dpkg',
        'var/lib/systemd',
        'var/lib/pve-cluster',
        'var/lib/proxmox-backup',
        'var/lib/proxsave',
    ],
]
const systemPoints = new Set([
    '',
    'var',
    'var/lib',
    'var/log',
    'var/cache',
    'var/spool',
    'var/tmp',
    'tmp',
    'home',
])

/** Ties a unit of the boot to the mount, which `nofail` does not loosen again. */
const bindsBoot =
    /^x-(systemd\.(required-by|wanted-by|before|requires|requires-mounts-for|after)|initrd\.mount)(=|$)/

/** More than a person reads, and enough for any host. */
const mostEntries = 500

export function planFstab(facts: FstabFacts): FstabMerge {
    const merge: FstabMerge = { proposals: [], others: [], present: 0 }
    let live: FstabEntry[]
    try {
        live = entriesOf(parseFstab(facts.live ?? ''))
    } catch (error) {
        const why = error instanceof Error ? error.message : String(error)
        merge.others.push({ shown: 'all entries', why: `the live fstab has an error of its own: ${why}` })
        return merge
    }
    const targets = new Set(live.map(entry => tidy(entry.target)))
    const seen = new Set<string>()
    for (const [index, raw] of facts.backup.split('\n').entries()) {
        let entry: FstabEntry | undefined
        try {
            entry = entriesOf(parseFstab(raw.replace(/\r$/, '')))[0]
        } catch (error) {
            const why = error instanceof Fault ? String(error.facts.why) : String(error)
            merge.others.push({ shown: `line ${index + 1}`, why })
        }
        if (entry === undefined) continue
        if (merge.proposals.length + merge.others.length + merge.present >= mostEntries) {
            merge.others.push({ shown: 'the rest', why: `there are more than ${mostEntries} entries` })
            break
        }
        const target = tidy(entry.target)
        if (targets.has(target) && entry.type !== 'swap') {
            merge.present++
            continue
        }
        const why = seen.has(target) ? 'its mount point was named before' : whyNot(entry, target, facts)
        if (why !== undefined) {
            merge.others.push({ shown: showEntry(entry), why })
            continue
        }
        seen.add(target)
        const added = safeEntry(entry, target)
        merge.proposals.push({ line: added, target, shown: showEntry(entry) })
    }
    return merge
}

/** The live table with these lines behind it; nothing before them changes. */
export function addToFstab(live: string | undefined, lines: readonly string[], remark: string): string {
    if (lines.length === 0) return live ?? ''
    const before = live === undefined || live === '' || live.endsWith('\n') ? (live ?? '') : `${live}\n`
    return `${before}# ${remark.replaceAll(/[^\x20-\x7e]/g, '?')}\n${lines.map(line => `${line}\n`).join('')}`
}

/** What `findmnt --verify` holds against the new table and not against the live one; undefined when it has no say. */
export async function verifyFstab(
    exec: Exec,
    livePath: string,
    mergedPath: string,
): Promise<string | undefined> {
    const errorsOf = async (path: string) => {
        const result = await exec(['findmnt', '--verify', '--tab-file', path], { timeoutMs: 20_000 })
        if (!result.found || result.timedOut || (result.status !== 0 && result.status !== 1)) return undefined
        const text = Buffer.concat([result.stdout, result.stderr]).toString('utf8')
        const parse = text.match(/parse error at line/g)?.length ?? 0
        // A mount point that is missing is made when it is mounted.
        const lines = text.split('\n').filter(line => line.includes('[E]') && !/unreachable/.test(line))
        return { parse, lines }
    }
    const [before, after] = [await errorsOf(livePath), await errorsOf(mergedPath)]
    if (before === undefined || after === undefined) return undefined
    const fresh = after.lines.filter(line => !before.lines.includes(line))
    if (after.parse > before.parse) return 'findmnt --verify cannot read it'
    return fresh[0] === undefined ? undefined : `findmnt --verify says ${fresh[0].replace('[E]', '').trim()}`
}

/** The path below `/dev` under which udev has what a source names; undefined when it names nothing of that kind. */
export function deviceLink(source: string): string | undefined {
    const tag = /^((?:PART)?(?:UUID|LABEL))="?([^"]*)"?$/.exec(source)
    if (tag !== null)
        return tag[2] === '' ? undefined : `disk/by-${tag[1]!.toLowerCase()}/${udevName(tag[2]!)}`
    const path = /^\/dev\/(.+)$/.exec(source)?.[1]
    return path === undefined || isCrooked(`/${path}`) ? undefined : path
}

/** Names of labels as udev writes them. */
const udevName = (label: string) =>
    label.replaceAll(
        /[^0-9A-Za-z#+\-.:=@_\x80-\xff]/g,
        c => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )

function whyNot(entry: FstabEntry, target: string, facts: FstabFacts): string | undefined {
    const { type, source } = entry
    const options = (entry.options ?? 'defaults').split(',')
    if (type === 'swap' || entry.target === 'none' || entry.target === 'swap')
        return 'swap space belongs to the disks of one machine'
    if (!entry.target.startsWith('/') || isCrooked(target)) return 'its mount point is no plain absolute path'
    if (isSystem(target)) return 'the running system lives there'
    if (options.some(option => option === 'bind' || option === 'rbind') || type === 'bind')
        return 'a bind mount: what it shows must be there first'
    if (facts.mounted.has(target)) return 'something else is mounted there now'
    if (facts.units.has(target)) return 'a unit of systemd mounts something there'
    const tie = options.find(option => bindsBoot.test(option))
    if (tie !== undefined) return `its option ${tie.split('=')[0]} could hold up the boot`
    if (/[\0-\x20\x7f]/.test(source.replaceAll(' ', '')) || source === '')
        return 'its source is not plain text'
    if (networkTypes.has(type))
        return source.startsWith('/dev/') ? 'a network file system on a device' : undefined
    if (!diskTypes.has(type)) return `file systems of type ${type} are not added by themselves`
    if (/^\/dev\/(sd|hd|vd|xvd|nvme|mmcblk|md|dm-|loop|sr|nbd)/.test(source))
        return 'names of this kind may mean another disk at each boot; add it by its UUID'
    if (!stableSource.test(source))
        return 'its device has a name that other hosts use as well; add it by its UUID'
    const device = facts.device(source)
    if (device === undefined) return 'its device is not here'
    if (facts.used.has(device)) return `its device ${device} is in use already`
    return undefined
}

/** The entry such that its absence never stops a boot. */
function safeEntry(entry: FstabEntry, target: string): string {
    const network = networkTypes.has(entry.type)
    const options = (entry.options ?? 'defaults')
        .split(',')
        .filter(option => option !== '' && option !== 'fail')
    const add = (option: string) => {
        if (!options.some(one => one === option || one.startsWith(`${option.split('=')[0]}=`)))
            options.push(option)
    }
    add('nofail')
    add('x-systemd.device-timeout=30s')
    if (network) add('_netdev')
    // 1 is for the root file system.
    const pass = network ? 0 : entry.pass === 1 ? 2 : entry.pass
    const fields = [mangle(entry.source), mangle(target), entry.type, options.join(',')]
    return `${fields.join(' ')} ${entry.dump} ${pass}`
}

const mangle = (field: string) =>
    field.replaceAll(/[ \t\n\\#]/g, c => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`)

/** One spelling for each path; `..` is left to be refused. */
function tidy(path: string): string {
    const names = path.split('/').filter(name => name !== '' && name !== '.')
    return path.startsWith('/') ? `/${names.join('/')}` : path
}

const isCrooked = (path: string) => /(^|\/)\.\.?(\/|$)/.test(path) || /[\0-\x1f\x7f]/.test(path)

function isSystem(target: string): boolean {
    const path = target.slice(1)
    return systemPoints.has(path) || systemTrees.some(tree => path === tree || path.startsWith(`${tree}/`))
}

/** Options may hold the password of a share. */
function showEntry({ source, target, type, options }: FstabEntry): string {
    const safe = (options ?? '').replaceAll(
        /\b(pass(?:word)?|secret|cred_?key|username|user)=[^,]*/gi,
        '$1=…',
    )
    const text = `${source} ${target} ${type} ${safe}`.trim()
    return Buffer.from(text, 'latin1')
        .toString('utf8')
        .replaceAll(/[\0-\x1f\x7f]/g, '?')
        .slice(0, 300)
}
