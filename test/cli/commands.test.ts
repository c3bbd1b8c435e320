/** Every command against a real daemon: what it prints, what it prints as JSON, how it ends. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nextSecond, type Ran, RunningDaemon, runHere } from '../daemon/running.ts'

setDefaultTimeout(60_000)

let daemon: RunningDaemon
const ctl = (...args: string[]) => daemon.ctl(...args)
const json = async (...args: string[]) => {
    const ran = await ctl(...args, '--json')
    return { ...ran, document: JSON.parse(ran.out) }
}
const events = (ran: Ran) =>
    ran.out
        .trim()
        .split('\n')
        .map(line => JSON.parse(line))

const secret = /AGE-SECRET-KEY-1[0-9A-Z]{50}/

beforeAll(async () => {
    daemon = await RunningDaemon.begin()
})
afterAll(() => daemon.end())

describe('before anything is set up', () => {
    test('status is quiet and says what is missing', async () => {
        const { status, document } = await json('status')
        expect(status).toBe(0)
        expect([document.last, document.guard, document.unfinished]).toEqual([null, null, []])
        expect(document.warnings[0].text).toContain('no recipient')
        expect(document.skipped.join(' ')).toContain('not captured')
    })

    test('a backup refuses, writes nothing, and says how to mend it', async () => {
        const ran = await ctl('backup')
        expect(ran.status).toBe(1)
        expect(ran.err).toStartWith(
            'proxsavectl: cannot back up: no recipient to encrypt for\nhint: run `proxsavectl setup`',
        )
        expect((await json('list')).document).toEqual({ backups: [] })
        expect((await json('history')).document).toEqual({ changes: [] })
    })

    test('doctor fails and names the command that mends it', async () => {
        const { status, document } = await json('doctor')
        expect(status).toBe(1)
        const recipients = document.checks.find((check: { id: string }) => check.id === 'recipients')
        expect([recipients.state, recipients.hint]).toEqual(['failed', 'proxsavectl setup'])
    })
})

describe('setup --defaults', () => {
    test('makes keys and a configuration, and prints no secret into a pipe', async () => {
        const ran = await ctl('setup', '--defaults')
        expect([ran.status, secret.test(ran.out)]).toEqual([0, false])
        expect(ran.out).toContain('Recovery sheet of testhost')
        expect(statSync(join(daemon.root, 'etc/proxsave/identity.txt')).mode & 0o777).toBe(0o600)
        const config = readFileSync(join(daemon.root, 'etc/proxsave/conf.d/10-setup.toml'), 'utf8')
        expect(config).toContain('[target.local]')
        expect(config).toContain('schedule = "02:30"')
    })

    test('run again changes nothing', async () => {
        const before = readFileSync(join(daemon.root, 'etc/proxsave/identity.txt'), 'utf8')
        const { status, document } = await json('setup', '--defaults')
        expect([status, document.changed]).toEqual([0, false])
        expect(readFileSync(join(daemon.root, 'etc/proxsave/identity.txt'), 'utf8')).toBe(before)
        expect((await json('history')).document.changes).toHaveLength(1)
    })

    test('a terminal sees the secret, once, and then the sheet counts as printed', async () => {
        expect(
            (await json('status')).document.warnings.map((one: { text: string }) => one.text).join(),
        ).toContain('was not printed')
        const piped = await ctl('keys', 'sheet')
        expect(piped.out).not.toMatch(secret)
        expect((await json('keys', 'list')).document.unprinted).toHaveLength(1)
        const seen = await runHere(['keys', 'sheet'], daemon.socket, { outIsTerminal: true, columns: 100 })
        expect(seen.out).toMatch(secret)
        expect((await json('keys', 'list')).document.unprinted).toEqual([])
    })
})

describe('backup', () => {
    test('tells what it did, in words', async () => {
        const ran = await ctl('backup', '--note', 'first one')
        expect([ran.status, ran.err]).toEqual([0, ''])
        expect(ran.out).toMatch(
            /^backup of testhost to local \(change \d{8}-\d{6}-[0-9a-f]{4}\)\n {2}write the archive\n {2}publish to local\ndone: backup [0-9a-f]{12}, on local, /,
        )
    })

    test('and as NDJSON whose last record is the end', async () => {
        await nextSecond()
        const ran = await ctl('backup', '--pin', '--json')
        const all = events(ran)
        const end = all.at(-1)
        expect([ran.status, end.event, end.result]).toEqual([0, 'end', 'ok'])
        expect(end.backup).toMatch(/^[0-9a-f]{12}$/)
        const numbered = all.filter(event => 'seq' in event).map(event => event.seq)
        expect(numbered).toEqual(numbered.map((_, at) => at + 1))
    })

    test('is listed newest first, with its facts', async () => {
        const { document } = await json('list')
        expect(document.backups).toHaveLength(2)
        const [second, first] = document.backups
        expect([
            second.pinned,
            first.pinned,
            first.note,
            first.encrypted,
            first.signed,
            first.target,
        ]).toEqual([true, false, 'first one', true, true, 'local'])
        expect(second.sequence).toBeGreaterThan(first.sequence)
        expect((await ctl('list')).out).toContain('encrypted,pinned')
    })

    test('to an unknown target or job is a wrong usage', async () => {
        expect((await ctl('backup', '--target', 'nas')).err).toContain('hint: it has local')
        expect((await ctl('backup', '--job', 'weekly')).status).toBe(2)
    })

    test('of a job takes its name along', async () => {
        await nextSecond()
        expect((await ctl('job', 'run', 'daily')).status).toBe(0)
        expect((await json('list')).document.backups[0].job).toBe('daily')
        const { document } = await json('job', 'show', 'daily')
        expect(document.last.result).toBe('ok')
        expect((await ctl('job', 'list')).out).toContain('daily')
    })
})

describe('one backup', () => {
    test('is found by its id, its beginning, latest and its path', async () => {
        const newest = (await json('list')).document.backups[0]
        for (const name of [newest.id, newest.id.slice(0, 6), 'latest', newest.path]) {
            const { document } = await json('show', name)
            expect(document.backup.id).toBe(newest.id)
        }
        const relative = await runHere(['show', newest.name, '--json'], daemon.socket, {
            cwd: join(daemon.root, 'var/backups/proxsave'),
        })
        expect(JSON.parse(relative.out).backup.id).toBe(newest.id)
    })

    test('that is not there is said so', async () => {
        const ran = await ctl('show', 'ffffffffffff')
        expect([ran.status, ran.err.includes('cannot find the backup ffffffffffff')]).toEqual([1, true])
        expect((await ctl('show', '/nowhere/x.tar')).err).toContain('there is no such file')
    })

    test('is verified, shallow and deep, and remembered as such', async () => {
        expect((await ctl('verify', 'latest')).status).toBe(0)
        expect((await json('list')).document.backups[0].verified.deep).toBe(false)
        const { status, document } = await json('verify', 'latest', '--deep')
        expect([status, document.signature.state]).toEqual([0, 'own'])
        expect(document.deep.entries).toBeGreaterThan(5)
        expect((await json('list')).document.backups[0].verified.deep).toBe(true)
        expect((await json('verify', '--all')).document.backups).toHaveLength(3)
    })

    test('shows its files, gives them back, and differs from a changed host', async () => {
        const { document } = await json('show', 'latest', '--files')
        expect(document.files.map((file: { path: string }) => file.path)).toContain('/etc/hosts')
        const output = join(daemon.base, 'out')
        expect((await ctl('extract', 'latest', '/etc/hosts', '--output', output)).status).toBe(0)
        expect(readFileSync(join(output, 'etc/hosts'), 'utf8')).toBe('127.0.0.1 localhost\n')
        daemon.write('etc/hosts', '127.0.0.1 localhost\n10.0.0.1 new\n')
        const diff = await ctl('diff', 'latest')
        expect(diff.out).toContain('~ /etc/hosts')
        expect(diff.out).toContain('+10.0.0.1 new')
        daemon.write('etc/hosts', '127.0.0.1 localhost\n')
    })

    test('is decrypted into a new file, never over an old one', async () => {
        const output = join(daemon.base, 'plain.proxsave.tar')
        expect((await ctl('decrypt', 'latest', '--output', output)).status).toBe(0)
        expect((await json('show', output)).document.backup.encrypted).toBe(false)
        const again = await ctl('decrypt', 'latest', '--output', output)
        expect(again.status).toBe(2)
        expect(again.err).toContain('it exists already')
    })

    test('with a flipped bit is 5, and says where', async () => {
        const newest = (await json('list')).document.backups[0]
        const copy = join(daemon.base, 'flipped.proxsave.tar')
        const bytes = readFileSync(newest.path)
        bytes[bytes.length - 4096]! ^= 1
        writeFileSync(copy, bytes)
        const ran = await ctl('verify', copy)
        expect([ran.status, ran.out]).toEqual([5, ''])
        expect(ran.err).toStartWith('proxsavectl: cannot ')
    })

    test('that is cut off is listed with its problem, not hidden', async () => {
        const path = join(daemon.root, 'var/backups/proxsave/testhost_20200101T000000Z.proxsave.tar')
        writeFileSync(path, 'not an archive')
        const { status, document } = await json('list')
        const odd = document.backups.find((backup: { id: string }) => backup.id === '')
        expect([status, odd.name]).toEqual([0, 'testhost_20200101T000000Z.proxsave.tar'])
        expect(odd.problem).toContain('cannot read')
        expect((await ctl('list')).out).toContain('unreadable')
        rmSync(path)
    })
})

describe('an identity that is not on the host', () => {
    test('is only taken off once its sheet was printed, and then backups go on and reading asks for it', async () => {
        const kept = join(daemon.base, 'kept.txt')
        writeFileSync(kept, readFileSync(join(daemon.root, 'etc/proxsave/identity.txt')))
        expect((await ctl('keys', 'remove', '--identity')).status).toBe(0)
        expect(existsSync(join(daemon.root, 'etc/proxsave/identity.txt'))).toBe(false)
        await nextSecond()
        expect((await ctl('backup')).status).toBe(0)
        const refused = await ctl('show', 'latest', '--files')
        expect(refused.status).toBe(5)
        expect(refused.err).toContain('--identity FILE')
        expect((await ctl('show', 'latest', '--files', '--identity', kept)).out).toContain('/etc/hosts')
        const wrong = join(daemon.base, 'wrong.txt')
        writeFileSync(wrong, 'AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33\n')
        expect((await ctl('show', 'latest', '--files', '--identity', wrong)).status).toBe(5)
        writeFileSync(join(daemon.root, 'etc/proxsave/identity.txt'), readFileSync(kept), { mode: 0o600 })
    })
})

describe('prune', () => {
    test('plans first, removes only what no rule keeps, and never the pinned', async () => {
        mkdirSync(join(daemon.root, 'etc/proxsave/conf.d'), { recursive: true })
        daemon.write(
            'etc/proxsave/conf.d/20-keep.toml',
            '[target.local]\nkeep = "keep-last=1"\nmin-keep = 1\n',
        )
        expect((await daemon.api('POST', '/v1/reload')).status).toBe(200)
        const before = (await json('list')).document.backups
        const { document } = await json('prune', '--dry-run')
        const gone = document.plan.filter((one: { verdict: string }) => one.verdict === 'remove')
        expect(gone.length).toBeGreaterThan(0)
        expect((await json('list')).document.backups).toHaveLength(before.length)
        const ran = await ctl('prune', '--json')
        expect([ran.status, events(ran).at(-1).result, events(ran).at(-1).removed]).toEqual([
            0,
            'ok',
            gone.length,
        ])
        const after = (await json('list')).document.backups
        expect(after).toHaveLength(before.length - gone.length)
        expect(after.some((backup: { pinned: boolean }) => backup.pinned)).toBe(true)
        expect((await ctl('prune')).out).toBe('Nothing to remove.\n')
    })

    test('follows a good backup by itself, and the next backup waits for it', async () => {
        const [one, two] = [await ctl('backup'), await ctl('backup')]
        expect([one.status, two.status]).toEqual([0, 0])
        const quiet = await ctl('backup')
        expect(quiet.status).toBe(0)
        const { changes } = (await json('history')).document
        expect(
            changes.some(
                (change: { kind: string; by: string }) => change.kind === 'prune' && change.by === 'proxsave',
            ),
        ).toBe(true)
    })
})

describe('further targets', () => {
    test('get their own copy; one that fails is a warning, the first one is not', async () => {
        daemon.write(
            'etc/proxsave/conf.d/30-second.toml',
            '[target.second]\ntype = "local"\npath = "/var/backups/second"\n',
        )
        await daemon.api('POST', '/v1/reload')
        const both = await ctl('backup', '--json')
        expect(events(both).at(-1)).toMatchObject({ result: 'ok', targets: ['local', 'second'] })
        const name = events(both).at(-1).name
        for (const place of ['proxsave', 'second'])
            expect(readdirSync(join(daemon.root, 'var/backups', place))).toContain(name)

        daemon.write(
            'etc/proxsave/conf.d/30-second.toml',
            '[target.second]\ntype = "local"\npath = "/missing/second"\n',
        )
        await daemon.api('POST', '/v1/reload')
        const half = await ctl('backup', '--json')
        expect([half.status, events(half).at(-1).result]).toEqual([6, 'warning'])
        expect((await ctl('backup', '--target', 'second')).status).toBe(1)
        const rows = (await json('list')).document.backups.length
        expect(rows).toBeGreaterThan(0)
        rmSync(join(daemon.root, 'etc/proxsave/conf.d/30-second.toml'))
        await daemon.api('POST', '/v1/reload')
    })
})

describe('history', () => {
    test('tells every change and what one of them did', async () => {
        const { document } = await json('history')
        const newest = document.changes.find((change: { by: string }) => change.by !== 'proxsave')
        expect(Date.parse(document.changes.at(-1).began)).toBeLessThan(Date.parse(newest.began))
        const told = await ctl('history', newest.id)
        expect(told.out).toContain('by        tester@test')
        expect(told.out).toContain('ended: ')
        expect((await json('history', newest.id)).document.events.at(-1).event).toBe('end')
        expect((await ctl('history', '19990101')).status).toBe(1)
    })

    test('attach shows an ended change once more, with its exit status', async () => {
        const { document } = await json('history')
        expect((await ctl('attach', document.changes[0].id)).out).toContain('done')
        const none = await ctl('attach')
        expect(none.err).toContain('no change is running')
    })
})

describe('the hook of apt', () => {
    const packages = 'VERSION 2\n\nifupdown2 3.1 < 3.2 /var/cache/apt/ifupdown2.deb\n'
    const hook = () => runHere(['apt-hook'], daemon.socket, { readInput: async () => packages })

    test('makes a backup before packages that matter change, and says so in one line', async () => {
        await nextSecond()
        const ran = await hook()
        expect([ran.status, ran.err]).toEqual([0, ''])
        expect(ran.out).toMatch(/^proxsave: backup [0-9a-f]{12} made before ifupdown2\n$/)
        const newest = (await json('list')).document.backups[0]
        expect([newest.reason, newest.note]).toEqual(['apt', 'before ifupdown2'])
    })

    test('says nothing when it is off', async () => {
        daemon.write('etc/proxsave/conf.d/40-apt.toml', '[apt]\nhook = "off"\n')
        await daemon.api('POST', '/v1/reload')
        expect(await hook()).toEqual({ status: 0, out: '', err: '' })
    })

    test('lets an upgrade fail only when the configuration is strict', async () => {
        const unusable = '[target.local]\npath = "/missing/place"\n'
        daemon.write('etc/proxsave/conf.d/40-apt.toml', unusable)
        await daemon.api('POST', '/v1/reload')
        const lenient = await hook()
        expect([lenient.status, lenient.out.startsWith('proxsave: no backup before this upgrade: ')]).toEqual(
            [0, true],
        )
        daemon.write('etc/proxsave/conf.d/40-apt.toml', `${unusable}[apt]\nhook = "strict"\n`)
        await daemon.api('POST', '/v1/reload')
        expect((await hook()).status).toBe(1)
        rmSync(join(daemon.root, 'etc/proxsave/conf.d/40-apt.toml'))
        await daemon.api('POST', '/v1/reload')
    })
})
