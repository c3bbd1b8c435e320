/**
 * People of a backup join the accounts of a host. Every line that the host has stays as it is, save that groups may gain
 * new members; whatever is not certain is left out and told. Texts hold one character for a byte.
 */
import { checks } from '../format/check/index.ts'
import { type Exec, outputOf } from '../host/exec.ts'

export const accountTables = ['group', 'gshadow', 'shadow', 'subuid', 'subgid', 'passwd'] as const
export type AccountTable = (typeof accountTables)[number]

/** A table that is undefined does not exist. */
export type AccountFiles = Record<AccountTable, string | undefined>

export interface AccountsMerge {
    /** Only tables that change, in the order of writing: a user is there once everything about it is. */
    changed: { table: AccountTable; text: string }[]
    users: string[]
    groups: string[]
    /** Old groups that gained new users: `sudo: anna`. */
    joined: string[]
    left: { name: string; why: string }[]
    /** What a person should know of those that were added. */
    notes: string[]
}

/** People, by the ranges of Debian Policy 9.2.2. */
const firstId = 1000
const lastId = 59_999

const plainName = /^[a-zA-Z_][a-zA-Z0-9_.-]{0,31}$/

interface Row {
    raw: string
    fields: string[]
    name: string
}

/** Nothing is changed when the host's own tables are not sound: then `left` says why. */
export function mergeAccounts(live: AccountFiles, backup: AccountFiles): AccountsMerge {
    const merge: AccountsMerge = { changed: [], users: [], groups: [], joined: [], left: [], notes: [] }
    const refuse = (why: string) => ({ ...merge, left: [{ name: 'all accounts', why }] })
    if (live.passwd === undefined || live.group === undefined || live.shadow === undefined)
        return refuse('this host lacks /etc/passwd, /etc/group or /etc/shadow')
    const own = findingsOf(live)
    if (own.some(finding => finding.startsWith('root')))
        return refuse(`the accounts of this host are not sound: ${own[0]}`)
    if (backup.passwd === undefined || backup.group === undefined)
        return refuse('the backup has no /etc/passwd or no /etc/group')

    const merger = new Merger(live, backup, merge)
    merger.addUsers()
    merger.addGroups()
    merger.joinGroups()
    const files = merger.files()
    const fresh = newFindings(live, files)
    // The merger made a mistake: then the host keeps what it has.
    if (fresh.length > 0) return refuse(`the result would not be sound: ${fresh[0]}`)
    for (const table of accountTables)
        if (files[table] !== undefined && files[table] !== live[table])
            merge.changed.push({ table, text: files[table] })
    return merge
}

/** What is wrong with a set of tables, a sentence each; those about root come first. */
export function findingsOf(files: AccountFiles): string[] {
    const findings: string[] = []
    const passwd = rowsOf(files.passwd, 7)
    const groups = rowsOf(files.group, 4)
    const shadow = rowsOf(files.shadow, 9)
    const root = passwd.find(({ name }) => name === 'root')
    if (root === undefined) findings.push('root has no line in passwd')
    else if (root.fields[2] !== '0') findings.push('root has another number than 0')
    if (root?.fields[1] === 'x' && !shadow.some(({ name }) => name === 'root'))
        findings.push('root has no line in shadow')
    for (const table of accountTables) {
        const text = files[table]
        if (text === undefined) continue
        const why = checks.passwd(Buffer.from(text, 'latin1'), `/etc/${table}`)
        if (why !== undefined) findings.push(`${table}: ${why}`)
        if (table === 'subuid' || table === 'subgid') continue
        for (const name of doubled(rowsOf(text, 2).map(row => row.name)))
            findings.push(`${table}: ${name} is there twice`)
    }
    for (const id of doubled(passwd.map(({ fields }) => fields[2]!)))
        findings.push(`passwd: ${id} is two users`)
    for (const id of doubled(groups.map(({ fields }) => fields[2]!)))
        findings.push(`group: ${id} is two groups`)
    const groupIds = new Set(groups.map(({ fields }) => fields[2]))
    const shadowed = new Set(shadow.map(({ name }) => name))
    const users = new Set(passwd.map(({ name }) => name))
    for (const { name, fields } of passwd) {
        if (!groupIds.has(fields[3])) findings.push(`passwd: the group ${fields[3]} of ${name} is not there`)
        if (fields[1] === 'x' && !shadowed.has(name)) findings.push(`shadow: ${name} has no line`)
    }
    for (const { name, fields } of groups)
        for (const member of membersOf(fields[3]!))
            if (!users.has(member)) findings.push(`group: ${member} in ${name} is no user`)
    return findings
}

/** What `pwck` and `grpck` hold against the new tables and not against the live ones. Paths are absolute. */
export async function checkWithTools(
    exec: Exec,
    before: (table: AccountTable) => string,
    after: (table: AccountTable) => string,
): Promise<string | undefined> {
    for (const [tool, ...tables] of [
        ['pwck', 'passwd', 'shadow'],
        ['grpck', 'group', 'gshadow'],
    ] as const) {
        const complaintsOf = async (path: (table: AccountTable) => string) => {
            const argv: [string, ...string[]] = [tool, '-r', ...tables.map(path)]
            // 2: there are complaints, and they are on standard output.
            const output = outputOf(await exec(argv, { timeoutMs: 20_000 }), [0, 2])
            if (!output.ok) return undefined
            return output.text.split('\n').filter(line => line !== '' && !harmless.test(line))
        }
        const [old, fresh] = [await complaintsOf(before), await complaintsOf(after)]
        const added = fresh?.find(line => !old?.includes(line))
        if (old !== undefined && added !== undefined) return `${tool} says ${added}`
    }
    return undefined
}

/** Homes come with their own category, shells with their packages; grpck looks for members in the host's own passwd. */
const harmless = /no user|\? No$|directory .* does not exist|program .* does not exist|no changes/

/** Why a saved sudoers file must not take the place of the live one, which a mistake in it would lock out of root. */
export async function sudoersRefusal(
    exec: Exec | undefined,
    path: string,
    bytes: Uint8Array,
): Promise<string | undefined> {
    const why = checks.sudoers(bytes, '/etc/sudoers')
    if (why !== undefined) return why
    if (exec === undefined) return 'visudo cannot be asked on another root'
    const output = outputOf(await exec(['visudo', '-c', '-q', '-f', path], { timeoutMs: 20_000 }))
    return output.ok ? undefined : `visudo does not accept it: ${output.why}`
}

class Merger {
    readonly #rows: Record<AccountTable, Row[]>
    readonly #saved: Record<AccountTable, Row[]>
    /** Lines to add to each table. */
    readonly #fresh: Record<AccountTable, string[]>
    /** New members of groups that the host has. */
    readonly #joins = new Map<string, string[]>()
    readonly #users = new Set<string>()

    constructor(
        readonly live: AccountFiles,
        backup: AccountFiles,
        readonly merge: AccountsMerge,
    ) {
        const widths = { passwd: 7, group: 4, shadow: 9, gshadow: 4, subuid: 3, subgid: 3 } as const
        const all = <T>(make: (table: AccountTable) => T) =>
            Object.fromEntries(accountTables.map(table => [table, make(table)])) as Record<AccountTable, T>
        this.#rows = all(table => rowsOf(live[table], widths[table]))
        this.#saved = all(table => rowsOf(backup[table], widths[table]))
        this.#fresh = all(() => [])
    }

    addUsers(): void {
        const seen = new Set<string>()
        for (const row of this.#saved.passwd) {
            const uid = idOf(row.fields[2]!)
            // The host's own system accounts stay, and the backup's are none of its business.
            if (uid !== undefined && uid < firstId) continue
            const why = seen.has(row.name) ? 'it is in the backup twice' : this.#whyNot(row, uid)
            seen.add(row.name)
            if (why === undefined) this.#addUser(row)
            else if (why !== '') this.merge.left.push({ name: show(row.name), why })
        }
    }

    /** Groups of people that are nobody's first group. */
    addGroups(): void {
        for (const { name, fields } of this.#saved.group) {
            const gid = idOf(fields[2]!)
            if (gid === undefined || gid < firstId || gid > lastId || this.#group(name) !== undefined)
                continue
            const members = membersOf(fields[3]!).filter(member => this.#users.has(member))
            const why = this.#whyNoGroup(name, gid)
            if (why === undefined) this.#addGroup(name, gid, members)
            else this.merge.left.push({ name: `group ${show(name)}`, why })
        }
    }

    /** New users join the groups of the same name that they were in; nobody else joins anything. */
    joinGroups(): void {
        for (const { name, fields } of this.#saved.group) {
            const there = this.#rows.group.find(row => row.name === name)
            if (there === undefined) {
                const lost = membersOf(fields[3]!).filter(member => this.#users.has(member))
                const added = this.merge.groups.includes(name)
                if (lost.length > 0 && !added)
                    this.merge.notes.push(
                        `${lost.join(', ')} not in ${show(name)}: this host has no such group`,
                    )
                continue
            }
            // A group of people is the same one only under the same number.
            const gid = idOf(fields[2]!)
            const isPeoples = (idOf(there.fields[2]!) ?? 0) >= firstId || (gid ?? 0) >= firstId
            if (isPeoples && there.fields[2] !== fields[2]) continue
            const old = new Set(membersOf(there.fields[3]!))
            const fresh = membersOf(fields[3]!).filter(member => this.#users.has(member) && !old.has(member))
            if (fresh.length === 0) continue
            this.#joins.set(name, [...new Set(fresh)])
            this.merge.joined.push(`${name}: ${[...new Set(fresh)].join(', ')}`)
        }
    }

    files(): AccountFiles {
        const files = { ...this.live }
        for (const table of accountTables) {
            let text = this.live[table]
            if (text === undefined) continue
            if (table === 'group' || table === 'gshadow') text = this.#withMembers(text)
            files[table] = append(text, this.#fresh[table])
        }
        return files
    }

    /** Undefined: it can be added. Empty: nothing to tell, it is there already. */
    #whyNot({ name, fields }: Row, uid: number | undefined): string | undefined {
        if (uid === undefined) return `its number ${show(fields[2]!)} is none`
        const same = this.#rows.passwd.find(row => row.name === name)
        if (same !== undefined)
            return same.fields[2] === fields[2]
                ? ''
                : `the host has a user of that name with the number ${same.fields[2]}, not ${uid}`
        if (uid > lastId) return `its number ${uid} is not one for people`
        if (!plainName.test(name)) return 'its name is none that Debian takes'
        if (fields.some(field => /[\0-\x1f\x7f]/.test(field))) return 'its line has control characters'
        const other = [...this.#rows.passwd, ...rowsOf(this.#fresh.passwd.join('\n'), 7)].find(
            row => idOf(row.fields[2]!) === uid,
        )
        if (other !== undefined) return `its number ${uid} is that of ${other.name} here`
        if (this.#rows.shadow.some(row => row.name === name))
            return 'the host has a password line for that name without a user; remove it first'
        return this.#whyNoFirstGroup(fields[3]!)
    }

    #whyNoFirstGroup(text: string): string | undefined {
        const gid = idOf(text)
        if (gid === undefined) return `the number ${show(text)} of its group is none`
        const saved = this.#saved.group.find(row => idOf(row.fields[2]!) === gid)
        if (saved === undefined) return `its group ${gid} has no name in the backup`
        const there = this.#group(saved.name)
        if (there !== undefined)
            return there === gid
                ? undefined
                : `its group ${saved.name} is ${gid} in the backup and ${there} here`
        const taken = this.#nameOfGroup(gid)
        if (taken !== undefined) return `its group ${saved.name} (${gid}) is ${taken} here`
        if (gid < firstId) return `its group ${saved.name} (${gid}) is one of the system that is not here`
        return this.#whyNoGroup(saved.name, gid)
    }

    #whyNoGroup(name: string, gid: number): string | undefined {
        if (gid > lastId) return `its number ${gid} is not one for people`
        if (!plainName.test(name)) return `the name ${show(name)} is none that Debian takes`
        const taken = this.#nameOfGroup(gid)
        if (taken !== undefined) return `its number ${gid} is that of ${taken} here`
        if (this.#rows.gshadow.some(row => row.name === name))
            return `the host has a line for ${name} in gshadow without a group`
        return undefined
    }

    #addUser({ name, fields }: Row): void {
        const gid = idOf(fields[3]!)!
        const saved = this.#saved.group.find(row => idOf(row.fields[2]!) === gid)!
        if (this.#group(saved.name) === undefined) this.#addGroup(saved.name, gid, [])
        this.#users.add(name)
        this.merge.users.push(name)
        this.#fresh.passwd.push([name, 'x', ...fields.slice(2)].join(':'))
        this.#fresh.shadow.push(this.#shadowLine(name, fields[1]!))
        for (const table of ['subuid', 'subgid'] as const) this.#addRanges(table, name, fields[2]!)
    }

    #shadowLine(name: string, inPasswd: string): string {
        const saved = this.#saved.shadow.find(row => row.name === name)
        const hash = saved?.fields[1] ?? (inPasswd === 'x' || inPasswd === '*' ? '!' : inPasswd)
        const sound = saved === undefined || /^[0-9:]*$/.test(saved.fields.slice(2).join(':'))
        if (hash !== '' && sound && !(saved === undefined && hash === '!'))
            return saved === undefined ? `${name}:${hash}:::::::` : saved.raw
        this.merge.notes.push(
            hash === ''
                ? `${name} could log in without a password: it is locked until one is set`
                : `${name} has no password in the backup: it is locked until one is set`,
        )
        return `${name}:!:::::::`
    }

    #addGroup(name: string, gid: number, members: string[]): void {
        this.merge.groups.push(name)
        const list = members.filter(member => this.#users.has(member)).join(',')
        this.#fresh.group.push(`${name}:x:${gid}:${list}`)
        const password = this.#saved.gshadow.find(row => row.name === name)?.fields[1] || '!'
        this.#fresh.gshadow.push(`${name}:${password}::${list}`)
    }

    /** Ranges of ids for containers, where nobody has any of them. */
    #addRanges(table: 'subuid' | 'subgid', name: string, uid: string): void {
        for (const { fields, raw } of this.#saved[table]) {
            if (fields[0] !== name && fields[0] !== uid) continue
            const range = rangeOf(fields)
            const taken = [...this.#rows[table], ...rowsOf(this.#fresh[table].join('\n'), 3)].find(row => {
                const other = rangeOf(row.fields)
                return other !== undefined && range !== undefined && overlap(range, other)
            })
            if (range === undefined || range.from <= 65_535)
                this.merge.notes.push(
                    `${name} does not get its line in ${table}: ${show(raw)} is no range for it`,
                )
            else if (taken !== undefined)
                this.merge.notes.push(
                    `${name} does not get its range in ${table}: ${show(taken.raw)} has a part of it`,
                )
            else this.#fresh[table].push(raw)
        }
    }

    /** Number of a group that is here, or will be. */
    #group(name: string): number | undefined {
        const rows = [...this.#rows.group, ...rowsOf(this.#fresh.group.join('\n'), 4)]
        const found = rows.find(row => row.name === name)
        return found === undefined ? undefined : (idOf(found.fields[2]!) ?? -1)
    }

    #nameOfGroup(gid: number): string | undefined {
        const rows = [...this.#rows.group, ...rowsOf(this.#fresh.group.join('\n'), 4)]
        return rows.find(row => idOf(row.fields[2]!) === gid)?.name
    }

    #withMembers(text: string): string {
        return text
            .split('\n')
            .map(line => {
                const fields = line.split(':')
                const fresh = fields.length === 4 ? this.#joins.get(fields[0]!) : undefined
                if (fresh === undefined) return line
                const old = membersOf(fields[3]!)
                const missing = fresh.filter(member => !old.includes(member))
                if (missing.length === 0) return line
                return `${line}${fields[3] === '' || line.endsWith(',') ? '' : ','}${missing.join(',')}`
            })
            .join('\n')
    }
}

/** Behind the last line, but before those that bring in a directory service: what stands behind these is not read first. */
function append(text: string, lines: readonly string[]): string {
    if (lines.length === 0) return text
    const block = lines.map(line => `${line}\n`).join('')
    const service = /^[+-].*$/m.exec(text)
    if (service !== null) return text.slice(0, service.index) + block + text.slice(service.index)
    return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${block}`
}

/** New faults in the tables, and lines of the host that would not be there any more. */
function newFindings(live: AccountFiles, files: AccountFiles): string[] {
    const old = new Set(findingsOf(live))
    const fresh = findingsOf(files).filter(finding => !old.has(finding))
    for (const table of accountTables) {
        const lines = new Set((files[table] ?? '').split('\n'))
        const grown = table === 'group' || table === 'gshadow'
        for (const line of (live[table] ?? '').split('\n')) {
            const kept = lines.has(line) || (grown && [...lines].some(one => one.startsWith(line)))
            if (!kept) fresh.push(`${table}: a line of the host is missing`)
        }
    }
    return fresh
}

/** Lines with that many fields or more; comments, blanks and those of directory services are passed over. */
function rowsOf(text: string | undefined, fields: number): Row[] {
    return (text ?? '')
        .split('\n')
        .filter(line => !/^[ \t]*(#|$)/.test(line) && !/^[+-]/.test(line))
        .map(raw => ({ raw, fields: raw.split(':'), name: raw.split(':', 1)[0]! }))
        .filter(row => row.fields.length === fields || (fields === 2 && row.fields.length > 2))
}

/** The number as the account tools write it: `+1`, `01` and an empty field are none. */
function idOf(text: string): number | undefined {
    return /^(0|[1-9][0-9]{0,9})$/.test(text) && Number(text) < 4_294_967_295 ? Number(text) : undefined
}

function rangeOf([, start, count]: readonly string[]): { from: number; to: number } | undefined {
    const [from, length] = [idOf(start ?? ''), idOf(count ?? '')]
    if (from === undefined || length === undefined || length === 0 || from + length > 4_294_967_295)
        return undefined
    return { from, to: from + length - 1 }
}

const overlap = (a: { from: number; to: number }, b: { from: number; to: number }) =>
    a.from <= b.to && b.from <= a.to

const membersOf = (field: string) => field.split(',').filter(member => member !== '')

function doubled(names: readonly string[]): string[] {
    const seen = new Set<string>()
    return [...new Set(names.filter(name => seen.size === seen.add(name).size))]
}

const show = (text: string) =>
    Buffer.from(text, 'latin1')
        .toString('utf8')
        .replaceAll(/[\0-\x1f\x7f]/g, '?')
        .slice(0, 80)
