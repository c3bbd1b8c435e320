/** Restores over the socket of a real daemon: planned without touching, carried out, taken back, and whole after a kill. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
    chmodSync,
    existsSync,
    readFileSync,
    readdirSync,
    renameSync,
    rmSync,
    symlinkSync,
    unlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { stampsOf } from '../backup/lab.ts'
import { treeState } from '../restore/stamps.ts'
import { nextSecond, RunningDaemon, until } from './running.ts'

setDefaultTimeout(60_000)

let daemon: RunningDaemon
const at = (path: string) => join(daemon.root, path)
const read = (path: string) => readFileSync(at(path), 'utf8')
/** All but the place of the backups, which grows. */
const state = () => treeState(daemon.root, '/var/backups')

type Plan = {
    categories: { id: string; action: string; why?: string }[]
    files: Record<'create' | 'replace' | 'metadata' | 'remove', string[]> & { unchanged: number }
    exports?: { directory: string; categories: string[] }
    commands: string[]
    warnings: string[]
    tasks: { kind: string }[]
}
type Answer = {
    plan: Plan
    digest: string
    question: { id: string; error?: string; choices: { value: string }[] }
}

const confirmed = { answers: { confirm: 'RESTORE' }, interactive: false }

async function post(
    path: string,
    body: unknown,
): Promise<{ status: number; json: Record<string, never> & Answer }> {
    const { status, text } = await daemon.api('POST', path, JSON.stringify(body))
    return { status, json: JSON.parse(text) }
}

async function planned(body: object): Promise<Answer> {
    const { status, json } = await post('/v1/restores/plan', { ...confirmed, ...body })
    expect([status, JSON.stringify(json).slice(0, 300)]).toEqual([200, expect.any(String)])
    return json
}

/** Plans, starts and waits; the end event. */
async function restore(body: object): Promise<{ change: string; result: string; [fact: string]: unknown }> {
    const { digest } = await planned(body)
    const started = await post('/v1/restores', { ...confirmed, ...body, digest })
    expect([started.status, JSON.stringify(started.json).slice(0, 300)]).toEqual([200, expect.any(String)])
    return ended((started.json as unknown as { change: string }).change)
}

async function ended(change: string) {
    const { text } = await daemon.api('GET', `/v1/changes/${change}/events`)
    return JSON.parse(text.trim().split('\n').at(-1)!)
}

async function undo(change: string) {
    const answers = { confirm: 'UNDO' }
    const { json } = await post(`/v1/changes/${change}/undo`, { answers, interactive: false })
    return ended((json as unknown as { change: string }).change)
}

beforeAll(async () => {
    daemon = await RunningDaemon.begin(daemon => {
        daemon.write('etc/cron.d/nightly', '# comment\n0 3 * * * root /usr/local/bin/tidy\n')
        daemon.write('etc/systemd/system/web.service', '[Service]\nExecStart=/usr/bin/web --fast\n')
        daemon.write('etc/ssl/certs/own.pem', 'not really\n')
        daemon.write('etc/vzdump.conf', 'tmpdir: /x\n')
        daemon.write('etc/zfs/zed.d/zed.rc', 'a=1\n')
        daemon.write('etc/machine-id', '0123456789abcdef0123456789abcdef\n')
        daemon.write('root/notes', 'hello\n')
        symlinkSync('web.service', join(daemon.root, 'etc/systemd/system/alias.service'))
    })
    expect((await daemon.ctl('setup', '--defaults')).status).toBe(0)
    expect((await daemon.ctl('backup')).status).toBe(0)
})
afterAll(() => daemon.end())

/** What happens to a host between a backup and the day it is needed. */
function spoil(): void {
    daemon.write('etc/systemd/system/web.service', '[Service]\nExecStart=/bin/false\n')
    unlinkSync(at('etc/systemd/system/alias.service'))
    unlinkSync(at('etc/cron.d/nightly'))
    chmodSync(at('root/notes'), 0o600)
    daemon.write('etc/ssl/certs/own.pem', 'broken\n')
    daemon.write('etc/systemd/system/new.service', '[Service]\n')
}

function mend(): void {
    rmSync(at('etc/systemd/system/new.service'), { force: true })
    rmSync(at('etc/cron.d/extra'), { force: true })
}

describe('a plan', () => {
    test('tells every path, what would run as root, and what is only exported', async () => {
        spoil()
        const { plan } = await planned({ backup: 'latest', mode: 'full' })
        expect(plan.files.replace.sort()).toEqual([
            '/etc/ssl/certs/own.pem',
            '/etc/systemd/system/web.service',
        ])
        expect(plan.files.create.sort()).toEqual(['/etc/cron.d/nightly', '/etc/systemd/system/alias.service'])
        expect(plan.files.metadata).toContain('/root/notes')
        expect(plan.files.remove).toEqual([])
        expect(plan.commands).toContain('/etc/systemd/system/web.service: ExecStart=/usr/bin/web --fast')
        expect(plan.commands).toContain('/etc/cron.d/nightly: 0 3 * * * root /usr/local/bin/tidy')
        expect(plan.exports?.categories).toContain('machine')
        const kinds = plan.tasks.map(({ kind }) => kind)
        expect(kinds.slice(0, 2)).toEqual(['restore.stage', 'restore.snapshot'])
        expect(kinds.indexOf('restore.files')).toBeLessThan(kinds.indexOf('restore.export'))
    })

    test('removes nothing unless it shall be exact, and then only of the categories chosen', async () => {
        const exact = await planned({ backup: 'latest', categories: ['services'], exact: true })
        expect(exact.plan.files.remove).toEqual(['/etc/systemd/system/new.service'])
        const base = await planned({ backup: 'latest', categories: ['crontabs'], exact: true })
        expect(base.plan.files.remove).toEqual([])
    })

    test('changes nothing: not a time, not an inode, on the host or in the state', async () => {
        // The first look at the archive may note that it was read; what follows must leave nothing at all.
        await planned({ backup: 'latest', mode: 'full' })
        const before = await Promise.all([stampsOf(daemon.root), stampsOf(daemon.state)])
        await planned({ backup: 'latest', mode: 'full' })
        await planned({ backup: 'latest', mode: 'full', exact: true })
        const shown = await daemon.ctl('restore', 'latest', '--mode', 'full', '--plan')
        const json = await daemon.ctl('restore', 'latest', '--mode', 'full', '--plan', '--json')
        expect([shown.status, json.status]).toEqual([0, 0])
        expect(shown.out).toContain('~ /etc/systemd/system/web.service')
        expect(JSON.parse(json.out).files.replace).toContain('/etc/systemd/system/web.service')
        expect(await Promise.all([stampsOf(daemon.root), stampsOf(daemon.state)])).toEqual(before)
        // The check sees what it is for.
        daemon.write('root/notes', 'hello\n')
        expect(await stampsOf(daemon.root)).not.toBe(before[0])
        chmodSync(at('root/notes'), 0o600)
    })

    test('has no secret in it', async () => {
        const { plan } = await planned({ backup: 'latest', mode: 'full' })
        expect(JSON.stringify(plan)).not.toContain('AGE-SECRET-KEY')
    })
})

describe('the conversation', () => {
    const ask = async (body: object, answers: Record<string, string> = {}) =>
        (await post('/v1/restores/plan', { ...body, answers, interactive: true })).json

    test('asks in the order of the workflow and ends in a plan', async () => {
        const first = await ask({})
        expect(first.question.id).toBe('backup')
        const backup = first.question.choices[0]!.value
        expect((await ask({ backup })).question.id).toBe('mode')
        expect((await ask({ backup }, { mode: 'custom' })).question.id).toBe('categories')
        const done = await ask({ backup }, { mode: 'custom', categories: 'services crontabs' })
        expect(done.plan.categories.map(({ id }) => id)).toEqual(['services', 'crontabs'])
    })

    test('without anybody to ask takes the safe answers, or refuses', async () => {
        const { plan } = await planned({})
        expect(plan.categories.length).toBeGreaterThan(3)
        const none = await post('/v1/restores/plan', { mode: 'custom', answers: {}, interactive: false })
        expect([none.status, JSON.stringify(none.json)]).toEqual([
            400,
            expect.stringContaining('--category ID'),
        ])
    })

    test('refuses what it does not know', async () => {
        for (const body of [
            { ...confirmed, backup: 'latest', mode: 'most' },
            { ...confirmed, backup: 'latest', strange: 1 },
            { interactive: false },
            { ...confirmed, categories: ['no such'] },
        ])
            expect((await post('/v1/restores/plan', body)).status).toBe(400)
        const unknown = await post('/v1/restores/plan', { ...confirmed, categories: ['unknown'] })
        expect(unknown.status).toBe(400)
        const absent = await post('/v1/restores/plan', { ...confirmed, backup: '/nowhere.proxsave.tar' })
        expect(absent.status).toBe(404)
    })

    test('a host of another name needs a typed yes', async () => {
        daemon.write('etc/hostname', 'elsewhere\n')
        await daemon.ctl('status')
        await daemon.stop()
        await daemon.start()
        const asked = await ask({ backup: 'latest', mode: 'base' })
        expect(asked.question.id).toBe('compat.mismatch')
        const refused = await post('/v1/restores/plan', { ...confirmed, backup: 'latest', mode: 'base' })
        expect([refused.status, JSON.stringify(refused.json)]).toEqual([
            403,
            expect.stringContaining('testhost'),
        ])
        const no = await post('/v1/restores/plan', {
            backup: 'latest',
            mode: 'base',
            answers: { 'compat.mismatch': 'y' },
            interactive: true,
        })
        expect(no.status).toBe(403)
        expect(
            (await ask({ backup: 'latest', mode: 'base' }, { 'compat.mismatch': 'yes' })).plan,
        ).toBeDefined()
        daemon.write('etc/hostname', 'testhost\n')
        await daemon.stop()
        await daemon.start()
    })
})

describe('a start', () => {
    test('needs the word, and the digest of the plan that was shown', async () => {
        const before = await state()
        const { digest } = await planned({ backup: 'latest', mode: 'full' })
        const body = { backup: 'latest', mode: 'full', digest }
        for (const confirm of [undefined, 'restore', 'RESTORE ', 'yes']) {
            const answers = confirm === undefined ? {} : { confirm }
            const { status } = await post('/v1/restores', { ...body, answers, interactive: false })
            expect(status).toBe(403)
        }
        const other = { ...body, ...confirmed, digest: '0'.repeat(64) }
        const stale = await post('/v1/restores', other)
        expect(JSON.stringify(stale.json)).toContain('has changed since the plan was shown')
        expect(await state()).toBe(before)
    })
})

describe('a restore', () => {
    test('brings back what the backup has, and its undo brings back every time and owner', async () => {
        mend()
        spoil2()
        const before = await state()
        const end = await restore({ backup: 'latest', mode: 'full' })
        expect(end.result).toBe('ok')
        expect(read('etc/systemd/system/web.service')).toContain('/usr/bin/web --fast')
        expect(read('etc/cron.d/nightly')).toContain('tidy')
        const directory = String(end.exports)
        expect(readFileSync(join(directory, 'etc/machine-id'), 'utf8')).toContain('0123456789abcdef')
        const again = await planned({ backup: 'latest', mode: 'full' })
        expect([again.plan.files.create, again.plan.files.replace, again.plan.files.metadata]).toEqual([
            [],
            [],
            [],
        ])
        const undone = await undo(end.change)
        expect(undone.result).toBe('ok')
        expect(await state()).toBe(before)
        expect(existsSync(directory)).toBe(false)
    })

    test('of one category leaves the others alone', async () => {
        const end = await restore({ backup: 'latest', categories: ['crontabs'] })
        expect(end.result).toBe('ok')
        expect(read('etc/cron.d/nightly')).toContain('tidy')
        expect(read('etc/ssl/certs/own.pem')).toBe('broken\n')
        expect((await undo(end.change)).result).toBe('ok')
    })

    test('exact removes what the backup does not have, and the undo has it again', async () => {
        daemon.write('etc/cron.d/extra', '* * * * * root /bin/true\n')
        const before = await state()
        const end = await restore({ backup: 'latest', categories: ['crontabs'], exact: true })
        expect([end.result, existsSync(at('etc/cron.d/extra'))]).toEqual(['ok', false])
        expect((await undo(end.change)).result).toBe('ok')
        expect(await state()).toBe(before)
    })

    test.each(['storage', 'base'])('in the mode %s touches only what belongs to it', async mode => {
        daemon.write('etc/zfs/zed.d/zed.rc', 'a=2\n')
        const end = await restore({ backup: 'latest', mode })
        expect(end.result).toBe('ok')
        expect(read('etc/zfs/zed.d/zed.rc')).toBe(mode === 'storage' ? 'a=1\n' : 'a=2\n')
        expect(read('etc/ssl/certs/own.pem')).toBe(mode === 'base' ? 'not really\n' : 'broken\n')
        expect((await undo(end.change)).result).toBe('ok')
    })

    test('leaves what somebody put in the place of a saved thing, and says so', async () => {
        // A full directory where a file was, and a link to where a directory was moved.
        rmSync(at('etc/cron.d/nightly'), { force: true })
        daemon.write('etc/cron.d/nightly/inside', 'mine\n')
        renameSync(at('etc/zfs/zed.d'), at('root/zed.d'))
        symlinkSync('../../root/zed.d', at('etc/zfs/zed.d'))
        try {
            const { plan } = await planned({ backup: 'latest', categories: ['crontabs', 'zfs'] })
            const said = plan.warnings.join('\n')
            expect(said).toContain(
                '/etc/cron.d/nightly: a directory that is not empty stands where a file was',
            )
            expect(said).toContain('/etc/zfs/zed.d: it is a symbolic link on this host and was a directory')
            expect(plan.files.replace).toEqual([])
        } finally {
            rmSync(at('etc/cron.d/nightly'), { recursive: true })
            unlinkSync(at('etc/zfs/zed.d'))
            renameSync(at('root/zed.d'), at('etc/zfs/zed.d'))
        }
    })

    test('keeps no passphrase or key in its journal', async () => {
        const end = await restore({ backup: 'latest', mode: 'full' })
        const journal = readFileSync(join(daemon.state, 'changes', end.change, 'journal'), 'latin1')
        expect(journal).toContain('restore.files')
        expect(journal).not.toContain('AGE-SECRET-KEY')
        const log = join(daemon.state, 'changes', end.change, 'log.txt')
        await until(() => existsSync(log), 'the log is written')
        const story = readFileSync(log, 'utf8')
        expect(story).toMatch(/wrote \/etc\/ssl\/certs\/own\.pem \(file, \d+, \d+:\d+\)/)
        expect(story).toContain('result: ok')
        expect(story).not.toContain('AGE-SECRET-KEY')
        expect((await undo(end.change)).result).toBe('ok')
    })
})

function spoil2(): void {
    daemon.write('etc/systemd/system/web.service', '[Service]\nExecStart=/bin/false\n')
    daemon.write('etc/ssl/certs/own.pem', 'broken\n')
    rmSync(at('etc/cron.d/nightly'), { force: true })
}

describe('a daemon that is killed', () => {
    test.each([1, 3, 5, 7, 9, 12])(
        'after %i steps comes back and leaves the tree as it was, or as it should be',
        async steps => {
            await nextSecond()
            spoil2()
            const before = await state()
            const { digest } = await planned({ backup: 'latest', mode: 'full' })
            const { json } = await post('/v1/restores', {
                ...confirmed,
                backup: 'latest',
                mode: 'full',
                digest,
            })
            const { change } = json as unknown as { change: string }
            const journal = join(daemon.state, 'changes', change, 'journal')
            const written = () => readFileSync(journal, 'latin1').split('"event":"task"').length - 1
            await until(
                () => written() >= steps || existsSync(join(daemon.state, 'changes', change, 'summary')),
                'steps',
            )
            await daemon.stop('SIGKILL')
            const from = daemon.log.length
            await daemon.start()
            await until(
                () => existsSync(join(daemon.state, 'changes', change, 'summary')),
                `finished: ${daemon.log.slice(from)}`,
            )
            const end = await ended(change)
            if (end.result === 'ok') expect((await undo(change)).result).toBe('ok')
            else expect(end.left ?? []).toEqual([])
            expect(await state()).toBe(before)
            expect(readdirSync(join(daemon.state, 'changes', change))).not.toContain('stage')
        },
    )
})
