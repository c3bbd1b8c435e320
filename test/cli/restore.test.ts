/** `restore` and `undo` as people and scripts call them: statuses, refusals, answers ahead, and a real terminal. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { toggle } from '../../src/cli/toggle.ts'
import { nextSecond, RunningDaemon } from '../daemon/running.ts'
import { treeState } from '../restore/stamps.ts'

setDefaultTimeout(60_000)

let daemon: RunningDaemon
const ctl = (...args: string[]) => daemon.ctl(...args)
const at = (path: string) => join(daemon.root, path)
const state = () => treeState(daemon.root, '/var/backups')
const spoil = () => daemon.write('etc/ssl/certs/own.pem', 'broken\n')
const mended = () => readFileSync(at('etc/ssl/certs/own.pem'), 'utf8') === 'whole\n'

/** At a terminal of its own, by another program; what it showed without its colours. */
async function atTerminal(steps: { wait: string; type?: string; close?: true }[], ...args: string[]) {
    const main = join(import.meta.dir, '../../src/main.ts')
    const child = Bun.spawn(
        [
            'python3',
            join(import.meta.dir, 'terminal.py'),
            JSON.stringify(steps),
            process.execPath,
            main,
            'proxsavectl',
            ...args,
        ],
        {
            stdout: 'pipe',
            stderr: 'inherit',
            env: { PATH: process.env.PATH ?? '', TERM: 'xterm', PROXSAVE_SOCKET: daemon.socket },
            timeout: 50_000,
        },
    )
    const { shown, status } = JSON.parse(await new Response(child.stdout).text())
    return { status, shown: shown.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]/g, '') as string }
}

beforeAll(async () => {
    daemon = await RunningDaemon.begin(daemon => {
        daemon.write('etc/ssl/certs/own.pem', 'whole\n')
        daemon.write('etc/systemd/system/web.service', '[Service]\nExecStart=/usr/bin/web\n')
    })
    expect((await ctl('setup', '--defaults')).status).toBe(0)
    expect((await ctl('backup')).status).toBe(0)
    spoil()
})
afterAll(() => daemon.end())

describe('without a terminal', () => {
    test('nothing happens without the word: exit 4, and a hint', async () => {
        const before = await state()
        const ran = await ctl('restore', 'latest', '--mode', 'base')
        expect(ran.status).toBe(4)
        expect(ran.err).toContain('nothing was changed')
        expect(ran.err).toContain('hint: type RESTORE when asked, or give --answer confirm=RESTORE')
        expect(await state()).toBe(before)
        expect((await ctl('restore', 'latest', '--answer', 'confirm=yes')).status).toBe(4)
        expect(await state()).toBe(before)
    })

    test('what confirms that the host can be reached is never answered ahead: exit 2', async () => {
        const args = ['restore', 'latest', '--answer', 'confirm=RESTORE', '--answer', 'network.commit=yes']
        expect((await ctl(...args)).status).toBe(2)
        expect(mended()).toBe(false)
    })

    test.each([
        [['restore', 'latest', '--mode', 'most'], 2],
        [['restore', 'latest', '--cluster', 'maybe'], 2],
        [['restore', 'latest', '--mode', 'base', '--category', 'ssl'], 2],
        [['restore', 'latest', '--category', 'nothing'], 2],
        [['restore', 'ffffff'], 1],
        [['restore', '/no/such/file.proxsave.tar', '--plan'], 1],
        [['undo', '20200101-000000-0000'], 1],
    ] as [string[], number][])('%p ends with %i', async (args, status) => {
        const ran = await ctl(...args)
        expect(ran.status).toBe(status)
        expect(ran.err).toStartWith('proxsavectl: cannot ')
    })

    test('a plan is one document with --json, and restores nothing', async () => {
        const ran = await ctl('restore', 'latest', '--mode', 'base', '--plan', '--json')
        expect(ran.status).toBe(0)
        const plan = JSON.parse(ran.out)
        expect(plan.files.replace).toEqual(['/etc/ssl/certs/own.pem'])
        expect(plan.mode).toBe('base')
        expect(mended()).toBe(false)
    })

    test('restores with the word given ahead, tells what to do next, and undo wants its own word', async () => {
        const before = await state()
        const ran = await ctl('restore', 'latest', '--mode', 'base', '--answer', 'confirm=RESTORE')
        expect([ran.status, ran.err]).toEqual([0, ''])
        expect(mended()).toBe(true)
        expect(ran.out).toContain('~ /etc/ssl/certs/own.pem')
        const change = /proxsavectl undo (\S+)/.exec(ran.out)![1]!
        const story = await ctl('history', change)
        expect(story.out).toContain('/etc/ssl/certs/own.pem')
        const refused = await ctl('undo', change)
        expect([refused.status, mended()]).toEqual([4, true])
        const undone = await ctl('undo', change, '--answer', 'confirm=UNDO')
        expect([undone.status, undone.err]).toEqual([0, ''])
        expect(await state()).toBe(before)
        const twice = await ctl('undo', change, '--answer', 'confirm=UNDO')
        expect([twice.status, twice.err]).toEqual([1, expect.stringContaining('has undone it already')])
    })

    test('prints events with --json, the last of which is the end', async () => {
        const ran = await ctl(
            'restore',
            'latest',
            '--category',
            'ssl',
            '--answer',
            'confirm=RESTORE',
            '--json',
        )
        const events = ran.out
            .trim()
            .split('\n')
            .map(line => JSON.parse(line))
        const end = events.at(-1)
        expect([ran.status, end.event, end.result, end.mode]).toEqual([0, 'end', 'ok', 'custom'])
        expect(end.backup).toMatch(/^[0-9a-f]{12}$/)
        expect((await ctl('undo', end.change, '--answer', 'confirm=UNDO', '--json')).status).toBe(0)
    })

    test('--detach leaves it to the daemon, attach sees its end', async () => {
        const ran = await ctl(
            'restore',
            'latest',
            '--category',
            'ssl',
            '--answer',
            'confirm=RESTORE',
            '--detach',
        )
        const change = /attach (\S+)/.exec(ran.out)![1]!
        expect((await ctl('attach', change)).status).toBe(0)
        expect(mended()).toBe(true)
        expect((await ctl('undo', change, '--answer', 'confirm=UNDO')).status).toBe(0)
    })

    test('what was edited since is asked about and, without an answer, left alone', async () => {
        const ran = await ctl('restore', 'latest', '--category', 'ssl', '--answer', 'confirm=RESTORE')
        const change = /proxsavectl undo (\S+)/.exec(ran.out)![1]!
        daemon.write('etc/ssl/certs/own.pem', 'mine since\n')
        const undone = await ctl('undo', change, '--answer', 'confirm=UNDO')
        expect([0, 6]).toContain(undone.status)
        expect(readFileSync(at('etc/ssl/certs/own.pem'), 'utf8')).toBe('mine since\n')
        spoil()
    })
})

describe('a backup that is not what it should be', () => {
    const copy = () => {
        const listed = at('var/backups/proxsave')
        const name = readdirSync(listed).find(name => name.endsWith('.tar'))!
        const path = join(daemon.base, 'copy.proxsave.tar')
        copyFileSync(join(listed, name), path)
        return path
    }

    test('damaged: exit 5, nothing touched', async () => {
        const path = copy()
        const bytes = readFileSync(path)
        bytes[bytes.indexOf('data.tar.zst.age\0') + 512 + 700]! ^= 1
        writeFileSync(path, bytes)
        const before = await state()
        const ran = await ctl('restore', path, '--mode', 'base', '--answer', 'confirm=RESTORE')
        expect(ran.status).toBe(5)
        expect(ran.err).toMatch(/block 0 of its data is damaged/)
        expect(await state()).toBe(before)
    })

    test('signed by a stranger: only by name', async () => {
        const path = copy()
        rmSync(join(daemon.state, 'signing_key'))
        const refused = await ctl('restore', path, '--category', 'ssl', '--answer', 'confirm=RESTORE')
        expect([refused.status, mended()]).toEqual([5, false])
        expect(refused.err).toContain('--answer signature.untrusted=yes')
        const no = await ctl(
            'restore',
            path,
            '--answer',
            'confirm=RESTORE',
            '--answer',
            'signature.untrusted=no',
        )
        expect(no.status).toBe(4)
        const yes = await ctl(
            'restore',
            path,
            '--category',
            'ssl',
            '--answer',
            'confirm=RESTORE',
            '--answer',
            'signature.untrusted=yes',
        )
        expect([yes.status, mended()]).toEqual([0, true])
        spoil()
    })

    test('locked by another key: exit 5, and --identity opens it', async () => {
        const identity = readFileSync(at('etc/proxsave/identity.txt'), 'utf8')
        const file = join(daemon.base, 'identity.txt')
        writeFileSync(file, identity, { mode: 0o600 })
        rmSync(at('etc/proxsave/identity.txt'))
        const args = [
            'restore',
            'latest',
            '--category',
            'ssl',
            '--answer',
            'signature.untrusted=yes',
            '--plan',
        ]
        const locked = await ctl(...args)
        expect([locked.status, locked.err]).toEqual([5, expect.stringContaining('--identity FILE')])
        const opened = await ctl(...args, '--identity', file)
        expect([opened.status, opened.err]).toEqual([0, ''])
        writeFileSync(at('etc/proxsave/identity.txt'), identity, { mode: 0o600 })
    })
})

describe('at a terminal', () => {
    const untrusted = ['--answer', 'signature.untrusted=yes']

    test('asks for backup, mode and categories, shows the plan, and begins at RESTORE', async () => {
        spoil()
        const steps = [
            { wait: 'Which backup?', type: '1\r' },
            { wait: 'What shall be restored?', type: 'custom\r' },
            { wait: 'Your choice', type: 'a n\r' },
            { wait: 'Your choice', type: 'ssl c\r' },
            { wait: 'Type RESTORE', type: 'RESTORE\r' },
        ]
        const { shown, status } = await atTerminal(steps, 'restore', ...untrusted)
        expect(shown).toContain('numbers toggle, a all, n none, c continue, 0 cancel')
        expect(shown).toContain('~ /etc/ssl/certs/own.pem')
        expect([status, mended()]).toEqual([0, true])
    })

    test('anything but RESTORE cancels: exit 4, nothing touched', async () => {
        spoil()
        const steps = [{ wait: 'Type RESTORE', type: 'restore\r' }]
        const { status } = await atTerminal(steps, 'restore', 'latest', '--mode', 'base', ...untrusted)
        expect([status, mended()]).toEqual([4, false])
    })

    test.each([
        ['Which backup?', [] as string[]],
        ['Type RESTORE', ['latest', '--mode', 'base']],
    ])('Ctrl+C at "%s" cancels: exit 4, nothing touched', async (wait, args) => {
        spoil()
        const { status } = await atTerminal([{ wait, type: '\x03' }], 'restore', ...args, ...untrusted)
        expect([status, mended()]).toEqual([4, false])
    })

    test('that goes away takes nothing with it: the daemon goes on', async () => {
        spoil()
        const steps: { wait: string; type?: string; close?: true }[] = [
            { wait: 'Type RESTORE', type: 'RESTORE\r' },
            { wait: 'unpack what will be restored', close: true },
        ]
        await atTerminal(steps, 'restore', 'latest', '--mode', 'base', ...untrusted)
        const { changes } = JSON.parse((await ctl('history', '--json')).out)
        const attached = await ctl('attach', changes[0].id)
        expect([changes[0].kind, attached.status, mended()]).toEqual(['restore', 0, true])
    })
})

describe('the toggle list', () => {
    const choices = ['a1', 'b2', 'c3'].map(value => ({ value, text: value }))
    const after = (text: string, before: string[] = []) => toggle(text, choices, new Set(before))

    test('numbers toggle, a takes all, n none, c goes on in the order of the list, 0 cancels', () => {
        expect(after('3 1 c')).toEqual({ kind: 'done', chosen: ['a1', 'c3'] })
        expect(after('1 c', ['a1', 'b2'])).toEqual({ kind: 'done', chosen: ['b2'] })
        expect(after('a 2 c')).toEqual({ kind: 'done', chosen: ['a1', 'c3'] })
        expect(after('n 2 c', ['a1'])).toEqual({ kind: 'done', chosen: ['b2'] })
        expect(after('0', ['a1'])).toEqual({ kind: 'cancel' })
    })

    test('does not go on with nothing, and says what it does not know', () => {
        expect(after('c')).toMatchObject({ kind: 'again', complaint: expect.stringContaining('Nothing') })
        expect(after('7')).toMatchObject({ kind: 'again', complaint: expect.stringContaining('"7"') })
    })
})

describe('a question of the running restore', () => {
    const fstab = 'UUID=0000-1111 / ext4 defaults 0 1\n'
    const mount = '//nas/share /mnt/nas cifs credentials=/root/.nas 0 0\n'

    test('shows what happens without an answer and how long that takes, and takes one', async () => {
        daemon.write('etc/fstab', fstab + mount)
        await nextSecond()
        expect((await ctl('backup')).status).toBe(0)
        daemon.write('etc/fstab', fstab)
        const steps = [
            { wait: 'Type RESTORE', type: 'RESTORE\r' },
            { wait: 's left, default skip] >', type: 'nonsense\r' },
            { wait: 'Please type one of', type: 'skip\r' },
        ]
        const { shown, status } = await atTerminal(
            steps,
            ...['restore', 'latest', '--category', 'filesystem', '--answer', 'signature.untrusted=yes'],
        )
        expect(shown).toContain('/mnt/nas')
        expect(shown).toContain('fstab.merge: skip')
        expect([0, 6]).toContain(status)
        expect(readFileSync(at('etc/fstab'), 'utf8')).toBe(fstab)
    })

    test('waits for whoever attaches when its terminal is gone', async () => {
        const steps: { wait: string; type?: string; close?: true }[] = [
            { wait: 'Type RESTORE', type: 'RESTORE\r' },
            { wait: 's left, default skip] >', close: true },
        ]
        const args = ['restore', 'latest', '--category', 'filesystem', '--answer', 'signature.untrusted=yes']
        await atTerminal(steps, ...args)
        const { running } = JSON.parse((await ctl('status', '--json')).out)
        expect(running.kind).toBe('restore')
        const second = await ctl(
            'restore',
            'latest',
            '--category',
            'ssl',
            '--answer',
            'signature.untrusted=yes',
            '--answer',
            'confirm=RESTORE',
        )
        expect(second.status).toBe(8)
        const attached = await atTerminal([{ wait: 's left, default skip] >', type: 'skip\r' }], 'attach')
        expect(attached.shown).toContain('/mnt/nas')
        expect([0, 6]).toContain(attached.status)
    })

    test('cancel while it waits takes everything back', async () => {
        spoil()
        const before = await state()
        const steps: { wait: string; type?: string; close?: true }[] = [
            { wait: 'Type RESTORE', type: 'RESTORE\r' },
            { wait: 's left, default skip] >', close: true },
        ]
        const args = ['restore', 'latest', '--category', 'filesystem', '--category', 'ssl']
        await atTerminal(steps, ...args, '--answer', 'signature.untrusted=yes')
        const { running } = JSON.parse((await ctl('status', '--json')).out)
        expect((await ctl('cancel', running.id)).status).toBe(0)
        expect(await state()).toBe(before)
    })
})

describe('a passphrase', () => {
    test('is asked for three times, then what opens the backup; the right one goes on', async () => {
        expect((await ctl('keys', 'list')).status).toBe(0)
        const body = JSON.stringify({ passphrase: 'correct horse battery' })
        rmSync(at('etc/proxsave/identity.txt'))
        rmSync(at('etc/proxsave/recipients'))
        const made = await daemon.api('POST', '/v1/keys', body)
        expect(made.status).toBe(200)
        await ctl('attach', JSON.parse(made.text).change)
        await nextSecond()
        const saved = await ctl('backup')
        expect([saved.status, saved.err]).toEqual([0, ''])
        const steps = [
            { wait: 'The backup is encrypted', type: 'passphrase\r' },
            // The prompt is drawn again with every key: what comes behind it tells that it was taken.
            ...[1, 2, 3].flatMap(() => [
                { wait: 'Passphrase of the backup', type: 'wrong guess\r' },
                { wait: 'does not fit', type: '' },
            ]),
            { wait: 'The backup is encrypted', type: 'passphrase\r' },
            { wait: 'Passphrase of the backup', type: 'correct horse battery\r' },
            { wait: 'Type RESTORE', type: 'no\r' },
        ]
        const { shown, status } = await atTerminal(steps, 'restore', 'latest', '--mode', 'base')
        expect(shown).toContain('the passphrase does not fit')
        expect(shown).toContain('Categories')
        expect(status).toBe(4)
        expect(shown).not.toContain('correct horse')
    })
})
