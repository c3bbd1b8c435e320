/** The command line without a daemon: help, mistakes, exit statuses, and never a stack trace. */
import { describe, expect, test } from 'bun:test'
import type { Command, CommandGroup } from '../../src/cli/command.ts'
import { watchedPackages } from '../../src/cli/commands/apt-hook.ts'
import { commands } from '../../src/cli/commands/index.ts'
import { modeText } from '../../src/cli/commands/show.ts'
import { fit, safe } from '../../src/cli/output.ts'
import { runHere } from '../daemon/running.ts'

const nowhere = '/nowhere/at/all.sock'
const run = (...args: string[]) => runHere(args, nowhere)

describe('proxsavectl', () => {
    test('prints its version', async () => {
        for (const flag of ['--version', '-V'])
            expect(await run(flag)).toEqual({ status: 0, out: 'proxsavectl 1.2.3\n', err: '' })
    })

    test('alone shows its help as a mistake, with --help as an answer', async () => {
        const alone = await run()
        expect([alone.status, alone.out]).toEqual([2, ''])
        const asked = await run('--help')
        expect([asked.status, asked.err]).toEqual([0, ''])
        expect(alone.err).toBe(asked.out)
        for (const name of Object.keys(commands).filter(name => name !== 'apt-hook'))
            expect(asked.out).toContain(`\n  ${name} `)
        expect(asked.out).not.toContain('apt-hook')
        expect(asked.out).toContain('Exit status:')
    })

    test('breaks the lines of a help where the terminal ends, and nowhere else', async () => {
        const narrow = await runHere(['verify', '--help'], nowhere, { columns: 60 })
        const about = narrow.out.split('\n\n')[2]!.split('\n')
        expect(about.length).toBeGreaterThan(2)
        for (const line of about.slice(0, -1))
            expect([line.length > 40, line.length <= 60]).toEqual([true, true])
    })

    test('the help of a group is short and has its exit statuses', async () => {
        const { out } = await run('keys', '--help')
        expect(out).toContain('Exit status:\n  0  done')
        expect(out).toContain('generate [options]               make an identity for this host\n')
        expect(out).not.toContain('In the plain by default')
    })

    const mistakes: [string, string[], string, string | undefined][] = [
        ['a mistyped command', ['statsu'], 'cannot understand "statsu"', 'did you mean proxsavectl status?'],
        ['a command that is like none', ['xyzzy'], 'cannot understand "xyzzy"', 'see proxsavectl --help'],
        ['an option before any command', ['--frob'], 'cannot understand --frob', 'see proxsavectl --help'],
        ['a mistyped option', ['verify', '--deeep', 'x'], "unknown option '--deeep'", 'did you mean --deep?'],
        [
            'an option without its value',
            ['backup', '--note'],
            "option '--note <text>' argument missing",
            undefined,
        ],
        ['an argument too many', ['status', 'now'], 'too many arguments', undefined],
        [
            'an argument too few',
            ['show'],
            "missing required argument 'backup'",
            'see proxsavectl show --help',
        ],
        ['a group alone', ['keys'], 'cannot run keys alone', 'see proxsavectl keys --help'],
        [
            'a mistyped verb of a group',
            ['job', 'lst'],
            'cannot understand "lst"',
            'did you mean proxsavectl job list?',
        ],
        ['neither a backup nor --all', ['verify'], 'cannot verify', 'for example proxsavectl verify latest'],
        ['a backup and --all', ['verify', 'latest', '--all'], 'cannot verify', undefined],
        ['extract without --output', ['extract', 'latest', '/etc'], '--output DIR is missing', undefined],
        ['extract without a path', ['extract', 'latest', '--output', '/x'], 'at least one path', undefined],
        ['decrypt without --output', ['decrypt', 'latest'], '--output PATH is missing', undefined],
        ['an answer that is none', ['backup', '--answer', 'yes'], 'expected ID=VALUE', undefined],
        [
            'a confirmation ahead',
            ['backup', '--answer', 'network.commit=yes'],
            'cannot answer network.commit ahead',
            undefined,
        ],
        ['keys remove of nothing', ['keys', 'remove'], 'name one recipient', undefined],
    ]
    for (const [name, args, message, hint] of mistakes) {
        test(`${name} is refused with 2`, async () => {
            const ran = await run(...args)
            expect([ran.status, ran.out]).toEqual([2, ''])
            expect(ran.err).toStartWith('proxsavectl: cannot ')
            expect(ran.err).toContain(message)
            if (hint !== undefined) expect(ran.err).toContain(`hint: ${hint}\n`)
            expect(ran.err).not.toContain('    at ')
        })
        test(`${name} is a document with --json`, async () => {
            const ran = await run('--json', ...args)
            expect([ran.status, ran.err]).toEqual([2, ''])
            const { error } = JSON.parse(ran.out)
            expect(error.kind).toBe('usage')
            expect(error.message).toContain(message)
        })
    }

    test('an unreachable daemon is 3, with what to do', async () => {
        const ran = await run('status')
        expect(ran).toEqual({
            status: 3,
            out: '',
            err: `proxsavectl: cannot reach the daemon at ${nowhere}: there is no socket\nhint: start it: systemctl start proxsave\n`,
        })
        expect((await runHere(['list', '--socket', '/else.sock'], nowhere)).err).toContain('/else.sock')
    })

    test('setup without a terminal asks nothing and says how', async () => {
        const ran = await run('setup')
        expect(ran.status).toBe(4)
        expect(ran.err).toContain('hint: proxsavectl setup --defaults asks nothing')
    })

    test('the hook of apt never stops an upgrade for want of a daemon', async () => {
        const ran = await runHere(['apt-hook'], nowhere, {
            readInput: async () => 'VERSION 2\n\npve-manager 8.1 < 8.2 /var/cache/pve-manager.deb\n',
        })
        expect([ran.status, ran.err]).toEqual([0, ''])
        expect(ran.out.trim().split('\n')).toHaveLength(1)
        expect(ran.out).toContain('no backup before this upgrade')
        const other = await runHere(['apt-hook'], nowhere, {
            readInput: async () => 'VERSION 2\n\nvim 1 < 2 /var/cache/vim.deb\n',
        })
        expect(other).toEqual({ status: 0, out: '', err: '' })
    })
})

describe('the help of every command', () => {
    const leaves = async (): Promise<[string[], Command][]> => {
        const found: [string[], Command][] = []
        for (const [name, load] of Object.entries(commands)) {
            const command: Command | CommandGroup = (await load()).command
            if ('commands' in command)
                for (const [verb, leaf] of Object.entries(command.commands)) found.push([[name, verb], leaf])
            else found.push([[name], command])
        }
        return found
    }

    test('ends with its exit statuses and an example, and has --json', async () => {
        for (const [words, command] of await leaves()) {
            const ran = await run(...words, '--help')
            expect([words, ran.status, ran.err]).toEqual([words, 0, ''])
            expect(ran.out).toContain('--json')
            const [, end] = ran.out.split('\nExit status:\n')
            expect(end, words.join(' ')).toContain('  0  done\n')
            expect(end).toContain('  3  the daemon cannot be reached\n')
            expect(end).toEndWith(`\nExample:\n  ${command.example}\n`)
            expect(command.example).toStartWith(`proxsavectl ${words.join(' ')}`)
        }
    })

    test('is what help COMMAND shows too', async () => {
        expect((await run('help', 'backup')).out).toBe((await run('backup', '--help')).out)
    })
})

describe('text for a terminal', () => {
    test('is cut to its width, not in a pipe', () => {
        expect(fit('abcdefgh', 5)).toBe('abcd…')
        expect(fit('abcdefgh', 0)).toBe('abcdefgh')
        expect(fit('\x1b[31mabcdefgh\x1b[0m', 5)).toBe('\x1b[31mabcd…\x1b[0m')
        expect(fit('日本語日本語', 7)).toBe('日本語…')
    })

    test('has no control characters of strangers', () => {
        expect(safe('a\x1b[2Jb\n')).toBe('a\\x1b[2Jb\\x0a')
    })

    test('shows modes as ls does', () => {
        const shown = [
            ['file', 0o4755],
            ['directory', 0o1777],
            ['symlink', 0o777],
            ['file', 0o2640],
        ] as const
        expect(shown.map(([type, mode]) => modeText(type, mode))).toEqual([
            '-rwsr-xr-x',
            'drwxrwxrwt',
            'lrwxrwxrwx',
            '-rw-r-S---',
        ])
    })
})

describe('the package list of apt', () => {
    test('of version 2 and 3, and without a head, names the packages that matter', () => {
        const three = [
            'VERSION 3',
            'APT::Architecture=amd64',
            'proxmox-ve::Option=x',
            '',
            'proxmox-kernel-6.8 6.8.1 amd64 same < 6.8.4 amd64 same /var/cache/apt/k.deb',
            'ifupdown2 3.1 all none < 3.2 all none **CONFIGURE**',
            'bash 5.1 amd64 none < 5.2 amd64 none /var/cache/apt/bash.deb',
        ].join('\n')
        expect(watchedPackages(three)).toEqual(['ifupdown2', 'proxmox-kernel-6.8'])
        expect(watchedPackages('VERSION 2\nA=b\n\npve-ha-manager 1 < 2 x\n')).toEqual(['pve-ha-manager'])
        expect(watchedPackages('corosync - < 3.1 /x.deb\n')).toEqual(['corosync'])
        expect(watchedPackages('')).toEqual([])
    })
})
