/** People of a backup on another host: root stays root, numbers stay whose they are, and nothing uncertain is added. */
import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exec, findProgram } from '../../src/host/exec.ts'
import {
    type AccountFiles,
    accountTables,
    checkWithTools,
    findingsOf,
    mergeAccounts,
    sudoersRefusal,
} from '../../src/restore/accounts.ts'
import { seeded } from '../sim/random.ts'

const live: AccountFiles = {
    passwd: 'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\nsshd:x:105:65534::/run/sshd:/bin/false\ncarol:x:1005:1005::/home/carol:/bin/sh\n',
    group: 'root:x:0:\ndaemon:x:1:\nsudo:x:27:carol\nusers:x:100:\ndocker:x:990:\ncarol:x:1005:\nnogroup:x:65534:\n',
    shadow: 'root:$y$live:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nsshd:!:19000::::::\ncarol:$y$carol:19000:0:99999:7:::\n',
    gshadow: 'root:*::\ndaemon:*::\nsudo:*::carol\nusers:*::\ndocker:!::\ncarol:!::\nnogroup:*::\n',
    subuid: 'root:100000:65536\n',
    subgid: 'root:100000:65536\n',
}
const saved: AccountFiles = {
    passwd: 'root:x:0:0:evil:/:/bin/evil\nsshd:x:106:65534::/run/sshd:/bin/false\nanna:x:1000:1000:Anna,,,:/home/anna:/bin/bash\nben:x:1001:100::/home/ben:/bin/zsh\n',
    group: 'root:x:0:\nsudo:x:27:anna\nusers:x:100:\ndocker:x:998:ben\nanna:x:1000:\nteam:x:1500:anna,ben,zoe\nnogroup:x:65534:\n',
    shadow: 'root:$y$backup:1:0:99999:7:::\nanna:$y$anna:19500:0:99999:7:::\nben:$y$ben:19500:0:99999:7:::\n',
    gshadow: 'sudo:*::anna\nanna:!::\nteam:secret:anna:anna,ben\n',
    subuid: 'root:1005:1\nanna:200000:65536\nben:100000:65536\n',
    subgid: 'anna:200000:65536\n',
}

function merged(more: Partial<AccountFiles>, host: Partial<AccountFiles> = {}) {
    const own = { ...live, ...host }
    const merge = mergeAccounts(own, { ...saved, ...more })
    const files = { ...own }
    for (const { table, text } of merge.changed) files[table] = text
    return { ...merge, files }
}
const user = (line: string, more: Partial<AccountFiles> = {}, host: Partial<AccountFiles> = {}) => {
    const result = merged({ passwd: `${line}\n`, ...more }, host)
    return { ...result, why: result.left.map(({ why }) => why).join() }
}

describe('accounts', () => {
    test('people come with everything that is theirs: group, password, memberships, ranges', () => {
        const { files, users, groups, joined, left } = merged({})
        expect(users).toEqual(['anna', 'ben'])
        expect(groups).toEqual(['anna', 'team'])
        expect(joined).toEqual(['sudo: anna', 'docker: ben'])
        expect(left).toEqual([])
        expect(files.passwd).toBe(
            `${live.passwd}anna:x:1000:1000:Anna,,,:/home/anna:/bin/bash\nben:x:1001:100::/home/ben:/bin/zsh\n`,
        )
        expect(files.shadow).toBe(
            `${live.shadow}anna:$y$anna:19500:0:99999:7:::\nben:$y$ben:19500:0:99999:7:::\n`,
        )
        expect(files.group).toContain('sudo:x:27:carol,anna\n')
        expect(files.group).toContain('docker:x:990:ben\n')
        expect(files.group).toEndWith('anna:x:1000:\nteam:x:1500:anna,ben\n')
        expect(files.gshadow).toContain('sudo:*::carol,anna\n')
        expect(files.gshadow).toEndWith('anna:!::\nteam:secret::anna,ben\n')
        expect(files.subuid).toBe('root:100000:65536\nanna:200000:65536\n')
        expect(findingsOf(files)).toEqual([])
    })

    test('root and the accounts of the system stay as they are on the host, byte for byte', () => {
        const { files } = merged({})
        for (const table of ['passwd', 'shadow', 'subuid', 'subgid'] as const)
            expect(files[table]).toStartWith(live[table]!)
        expect(JSON.stringify(files)).not.toContain('evil')
        expect(files.shadow).not.toContain('$y$backup')
    })

    test('somebody who is there already keeps the password of the host, and nothing is said about it', () => {
        const { files, left } = merged({
            passwd: 'carol:x:1005:1005:other:/elsewhere:/bin/zsh\n',
            shadow: 'carol:$y$older:1:0:99999:7:::\n',
        })
        expect(files.passwd).toBe(live.passwd)
        expect(files.shadow).toBe(live.shadow)
        expect(left).toEqual([])
    })

    test('run twice it adds nothing the second time', () => {
        const { files } = merged({})
        expect(mergeAccounts(files, saved).changed).toEqual([])
    })

    test('the tables are written such that a user is there once all of it is', () => {
        expect(merged({}).changed.map(({ table }) => table)).toEqual([
            'group',
            'gshadow',
            'shadow',
            'subuid',
            'subgid',
            'passwd',
        ])
    })
})

describe('what is left out, with its reason', () => {
    const anna = 'anna:x:1000:1000::/home/anna:/bin/bash'
    const cases: [string, string, Partial<AccountFiles>, Partial<AccountFiles>, string][] = [
        [
            'a name with another number',
            'carol:x:1006:1000::/:/bin/sh',
            {},
            {},
            'with the number 1005, not 1006',
        ],
        ['a number with another name', 'dora:x:1005:1000::/:/bin/sh', {}, {}, 'is that of carol here'],
        [
            'a private group whose number is taken',
            anna,
            { group: 'anna:x:1005:\n' },
            {},
            'has no name in the backup',
        ],
        [
            'a group number that means another group here',
            'anna:x:1000:1005::/:/bin/sh',
            { group: 'anna:x:1005:\n' },
            {},
            'is carol here',
        ],
        [
            'a group name with another number here',
            anna,
            { group: 'carol:x:1000:\n' },
            {},
            '1000 in the backup and 1005 here',
        ],
        [
            'a first group of the system that is not here',
            'anna:x:1000:777::/:/bin/sh',
            { group: 'app:x:777:\n' },
            {},
            'one of the system',
        ],
        ['a number beyond people', 'anna:x:65000:1000::/:/bin/sh', {}, {}, 'not one for people'],
        ['a number that is none', 'anna:x:01000:1000::/:/bin/sh', {}, {}, 'is none'],
        ['a second root', 'toor:x:+0:0::/root:/bin/sh', {}, {}, 'is none'],
        ['a name no tool would take', '../x:x:1000:1000::/:/bin/sh', {}, {}, 'none that Debian takes'],
        ['control characters', 'anna:x:1000:1000:\x1b[2J:/:/bin/sh', {}, {}, 'control characters'],
        [
            'a password line that waits for its user',
            anna,
            {},
            { shadow: `${live.shadow}anna:$y$trap:1::::::\n` },
            'password line for that name',
        ],
    ]
    for (const [name, line, more, host, why] of cases)
        test(name, () => {
            const result = user(line, more, host)
            expect(result.why).toContain(why)
            expect(result.users).toEqual([])
            expect(result.files.passwd).toBe({ ...live, ...host }.passwd)
            expect(result.files.shadow).toBe({ ...live, ...host }.shadow)
        })

    test('a user number 0 under another name is no user at all', () => {
        const result = user('toor:x:0:0::/root:/bin/sh')
        expect(result.files.passwd).toBe(live.passwd)
    })

    test('names and numbers that the backup has twice: the first one only', () => {
        const twice = 'anna:x:1000:1000::/:/bin/sh\nanna:x:1002:1000::/:/bin/sh\nother:x:1000:1000::/:/bin/sh'
        const { users, left, files } = user(twice)
        expect(users).toEqual(['anna'])
        expect(left).toHaveLength(2)
        expect(files.passwd!.match(/^anna:/gm)).toHaveLength(1)
    })

    test('ranges that others have a part of, or that reach into real numbers', () => {
        const { notes, files } = merged({ subuid: 'anna:150000:65536\nanna:500:100\nben:4294967290:100\n' })
        expect(files.subuid).toBe(live.subuid)
        expect(notes.filter(note => note.includes('subuid'))).toHaveLength(3)
    })

    test('nobody can log in without a password', () => {
        const { files, notes } = merged({ shadow: 'anna::19500:0:99999:7:::\n' })
        expect(files.shadow).toContain('anna:!:::::::\n')
        expect(files.shadow).toContain('ben:!:::::::\n')
        expect(notes.filter(note => note.includes('locked'))).toHaveLength(2)
        const old = user('anna:$1$old:1000:1000::/:/bin/sh', { shadow: undefined })
        expect(old.files.passwd).toContain('anna:x:1000:')
        expect(old.files.shadow).toContain('anna:$1$old:::::::\n')
    })

    test('everything, when the tables of the host are not sound or not there', () => {
        const cases: Partial<AccountFiles>[] = [
            { passwd: undefined },
            { shadow: undefined },
            { passwd: '' },
            { passwd: live.passwd!.replace('root:x:0', 'root:x:5') },
            { shadow: live.shadow!.replace(/^root.*\n/, '') },
        ]
        for (const host of cases) {
            const { changed, left } = merged({}, host)
            expect(changed).toEqual([])
            expect(left).toHaveLength(1)
        }
        expect(merged({ passwd: undefined }).changed).toEqual([])
    })
})

describe('tables as they are found', () => {
    test('no newline at the end, comments, old mistakes and directory services are kept', () => {
        const odd = `# by hand\n${live.passwd}broken line\n+@staff::::::`
        const { files } = merged({}, { passwd: odd, group: live.group!.trimEnd() })
        expect(files.passwd).toStartWith(`# by hand\n${live.passwd}broken line\nanna:x:1000`)
        expect(files.passwd).toEndWith('/bin/zsh\n+@staff::::::')
        expect(files.group).toContain('nogroup:x:65534:\nanna:x:1000:\n')
    })

    test('bytes that are no UTF-8 pass through', () => {
        const { files } = user('anna:x:1000:1000:J\xfcrgen:/home/anna:/bin/sh')
        expect(files.passwd).toContain(':J\xfcrgen:')
    })

    test('no input whatever breaks the tables of the host', () => {
        const random = seeded(7)
        const pieces = [
            'root',
            'anna',
            'carol',
            'sudo',
            'x',
            '',
            '0',
            '1000',
            '1005',
            '27',
            '100',
            '-1',
            'a,b',
            '+',
            '#',
            '\t',
            '\xff',
            '$y$h',
        ]
        const line = () => Array.from({ length: random.int(9) }, () => random.pick(pieces)).join(':')
        for (let round = 0; round < 400; round++) {
            const backup = Object.fromEntries(
                accountTables.map(table => [
                    table,
                    `${saved[table]}${Array.from({ length: 6 }, line).join('\n')}`,
                ]),
            ) as AccountFiles
            const merge = mergeAccounts(live, backup)
            const files = { ...live }
            for (const { table, text } of merge.changed) files[table] = text
            expect(findingsOf(files)).toEqual([])
            for (const table of ['passwd', 'shadow'] as const) expect(files[table]).toStartWith(live[table]!)
            expect(files.passwd!.match(/^[^:]*:[^:]*:0:/gm)).toHaveLength(1)
        }
    })
})

describe('the tools of the host', () => {
    const there = findProgram('pwck') !== undefined && findProgram('grpck') !== undefined
    if (!there) console.log('skip: pwck and grpck are not installed')
    test.skipIf(!there)('have nothing against the result, and are heard when they have', async () => {
        const directory = mkdtempSync(join(tmpdir(), 'proxsave-accounts-'))
        try {
            const write = (name: string, files: AccountFiles) => {
                for (const table of accountTables)
                    writeFileSync(join(directory, `${name}.${table}`), files[table] ?? '')
                return (table: string) => join(directory, `${name}.${table}`)
            }
            const before = write('live', live)
            const { files } = merged({})
            expect(await checkWithTools(exec, before, write('good', files))).toBeUndefined()
            const bad = { ...files, passwd: `${files.passwd}odd:x:1:2\n` }
            expect(await checkWithTools(exec, before, write('bad', bad))).toContain('pwck says')
        } finally {
            rmSync(directory, { recursive: true })
        }
    })

    test('a sudoers file passes only when visudo says so', async () => {
        const good = Buffer.from('root ALL=(ALL:ALL) ALL\n')
        const visudo = (status: number) => async () => ({
            found: true as const,
            status,
            endedBy: null,
            stdout: new Uint8Array(),
            stderr: Buffer.from('syntax error'),
            timedOut: false,
            truncated: false,
        })
        expect(await sudoersRefusal(visudo(0), '/x', good)).toBeUndefined()
        expect(await sudoersRefusal(visudo(1), '/x', good)).toContain('syntax error')
        expect(await sudoersRefusal(async () => ({ found: false }), '/x', good)).toContain('not installed')
        expect(await sudoersRefusal(visudo(0), '/x', Buffer.from('root ALL=\n'))).toContain('line 1')
        expect(await sudoersRefusal(undefined, '/x', good)).toContain('another root')
    })
})
