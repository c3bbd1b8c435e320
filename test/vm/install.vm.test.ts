/**
 * The main job on real machines: the package installed on Debian with systemd, a host set up, saved, verified, rebooted,
 * its /etc compared with what comes back, also by hand; and the package upgraded, removed and purged.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import {
    existsSync,
    lstatSync,
    mkdirSync,
    readdirSync,
    readFileSync,
    symlinkSync,
    writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { suites } from './base.ts'
import { confirmAnew, guardWaits, waitingSession } from './host.ts'
import { Machine, type RunOptions } from './machine.ts'
import { packagePath } from './package.ts'
import { letIn } from './ssh.ts'
import { describeTree, differences, makeOdd, type Tree } from './tree.ts'

const root = process.getuid?.() === 0
if (!root) console.log('skipped: the container tests need root')

/** Never in a backup, by contract: the private key. */
const secrets = ['proxsave/identity.txt']

const bootUnits = ['proxsave-rollback-boot.service', 'proxsave-rollback-pve.service']

/** Units around ours as Proxmox and Debian order them at boot; what they run does not matter here. */
const neighbours: Record<string, { unit: string[]; wantedBy: string }> = {
    'pvenetcommit.service': {
        unit: ['DefaultDependencies=no', 'After=local-fs.target', 'Before=sysinit.target'],
        wantedBy: 'sysinit.target',
    },
    'networking.service': {
        unit: [
            'DefaultDependencies=no',
            'Requires=local-fs.target',
            'Wants=network.target network-pre.target',
            'After=local-fs.target network-pre.target systemd-sysctl.service systemd-modules-load.service',
            'Before=network.target shutdown.target network-online.target',
            'Conflicts=shutdown.target',
        ],
        wantedBy: 'network-online.target',
    },
    'nftables.service': {
        unit: [
            'DefaultDependencies=no',
            'Wants=network-pre.target',
            'Before=network-pre.target shutdown.target',
            'Conflicts=shutdown.target',
        ],
        wantedBy: 'sysinit.target',
    },
    'pve-cluster.service': {
        unit: ['Wants=corosync.service', 'After=network.target time-sync.target', 'Before=corosync.service'],
        wantedBy: 'multi-user.target',
    },
    'corosync.service': {
        unit: ['Requires=network-online.target', 'After=network-online.target'],
        wantedBy: 'multi-user.target',
    },
    'pve-firewall.service': {
        unit: ['Wants=pve-cluster.service', 'After=pve-cluster.service network.target'],
        wantedBy: 'multi-user.target',
    },
    'pvedaemon.service': {
        unit: ['Wants=pve-cluster.service', 'After=pve-cluster.service network.target pve-firewall.service'],
        wantedBy: 'multi-user.target',
    },
    'pveproxy.service': {
        unit: ['Wants=pvedaemon.service', 'After=pve-storage.target pvedaemon.service'],
        wantedBy: 'multi-user.target',
    },
}

describe.skipIf(!root).each([...suites])('%s', suite => {
    let machine: Machine
    let etc: Tree
    const deb = packagePath()

    beforeAll(async () => {
        machine = await Machine.create(suite)
        machine.copyIn(deb, `/root/${basename(deb)}`)
        // Enough to read that a backup lasts until a test has found its worker.
        await Bun.write(machine.path('/root/large'), randomBytes(200 * 2 ** 20))
        await machine.boot()
    }, 600_000)
    afterAll(async () => await machine?.destroy(), 120_000)

    /** One step of the story; a failure is told together with what the daemon wrote. */
    const step = (what: string, run: () => Promise<void>, seconds = 120) =>
        test(
            what,
            async () => {
                try {
                    await run()
                } catch (error) {
                    console.log(
                        `--- journal of proxsave.service on ${suite}\n${await machine.journal('proxsave.service')}`,
                    )
                    throw error
                }
            },
            seconds * 1000,
        )

    const succeeds = (argv: string[], options?: RunOptions) => machine.must(['proxsavectl', ...argv], options)
    const json = async <T>(argv: string[]): Promise<T> => JSON.parse(await succeeds([...argv, '--json'])) as T
    const property = async (name: string, unit = 'proxsave.service') =>
        (await machine.must(['systemctl', 'show', '--property', name, '--value', unit])).trim()
    const active = async (unit = 'proxsave.service') =>
        (await machine.run(['systemctl', 'is-active', unit])).stdout.trim()
    const apt = (...argv: string[]) =>
        machine.run(['apt-get', '-y', '-q', '--no-install-recommends', ...argv], { seconds: 180 })
    const mode = (path: string) => (lstatSync(machine.path(path)).mode & 0o7777).toString(8)
    const backups = () =>
        readdirSync(machine.path('/var/backups/proxsave'))
            .filter(name => name.endsWith('.proxsave.tar'))
            .sort()
    const newSince = (before: string[]) => backups().filter(name => !before.includes(name))
    const changes = async () =>
        (await json<{ changes: { id: string; kind: string; state: string; result?: string }[] }>(['history']))
            .changes

    /** Waits until another process than `main` is the daemon, and ready. */
    const successor = (main: string, seconds: number) =>
        machine.until(seconds, 'the next daemon', async () => {
            const now = await property('MainPID')
            return now !== main && now !== '0' && (await active()) === 'active'
        })

    const quiet = (seconds: number) =>
        machine.until(seconds, 'quiet', async () => {
            const { running, unfinished } = await json<{ running: unknown; unfinished: unknown[] }>([
                'status',
            ])
            return running === null && unfinished.length === 0
        })

    /** Starts a backup and stops its worker in the middle: a change that runs for as long as a test wants. */
    const halfABackup = async () => {
        // Nothing of it may come out of the cache, or the worker is done before it is found.
        await machine.must(['touch', '/root/large'])
        const main = await property('MainPID')
        await succeeds(['backup', '--detach'])
        let worker = ''
        await machine.until(30, 'a worker of the backup', async () => {
            // A child of the daemon that was given the worker's role; commands that it captures have other names.
            const found = await machine.run(['pgrep', '--parent', main, '--full', 'worker'])
            worker = found.stdout.trim().split('\n')[0] ?? ''
            // One that is stopped before it has begun to write has not asked to die with its parent yet.
            return worker !== '' && readdirSync(machine.path('/var/backups/proxsave/.partial')).length > 0
        })
        await machine.must(['kill', '-STOP', worker])
        return { main, worker }
    }

    step('installs, and the daemon is active', async () => {
        const installed = await apt('install', `./${basename(deb)}`)
        expect(installed.status, installed.stdout + installed.stderr).toBe(0)
        expect(await active()).toBe('active')
        for (const unit of ['proxsave.service', ...bootUnits])
            expect(await property('UnitFileState', unit), unit).toBe('enabled')
        const status = await json<{ unfinished: unknown[]; guard: unknown }>(['status'])
        expect(status.unfinished).toEqual([])
        expect(status.guard).toBeNull()
        expect(await property('NRestarts')).toBe('0')
    })

    step('has put everything where it belongs, and nothing where others can read it', async () => {
        expect(mode('/etc/proxsave')).toBe('750')
        expect(mode('/etc/proxsave/proxsave.toml')).toBe('640')
        expect(mode('/var/lib/proxsave')).toBe('700')
        expect(mode('/var/backups/proxsave')).toBe('700')
        expect(
            await machine.must(['stat', '-c', '%a %U', '/run/proxsave', '/run/proxsave/proxsave.sock']),
        ).toBe('750 root\n600 root\n')
    })

    step('refuses another user at the socket', async () => {
        const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
        const status = await machine.run([...nobody, 'proxsavectl', 'status'], { cwd: '/' })
        expect(status.status, status.stdout + status.stderr).toBe(3)
        const curl = [
            ...nobody,
            'curl',
            '--silent',
            '--unix-socket',
            '/run/proxsave/proxsave.sock',
            'http://x/v1/status',
        ]
        expect((await machine.run(curl, { cwd: '/' })).status).toBe(7)
    })

    step('runs in the mount namespace of the host', async () => {
        const main = await property('MainPID')
        const of = async (pid: string) => (await machine.must(['readlink', `/proc/${pid}/ns/mnt`])).trim()
        expect(await of(main)).toBe(await of('1'))
    })

    step('is hardened as far as that goes', async () => {
        const report = await machine.run(['systemd-analyze', 'security', '--no-pager', 'proxsave.service'])
        console.log(`${suite}: ${report.stdout.trimEnd().split('\n').at(-1)}`)
        // A ceiling, so that a line that is lost from the unit is seen; the unit says what cannot be had.
        const exposure = Number(report.stdout.match(/exposure level for proxsave\.service: ([0-9.]+)/)?.[1])
        expect(exposure).toBeLessThanOrEqual(7.5)
    })

    step('is set up without questions', async () => {
        const said = await succeeds(['setup', '--defaults'])
        // Its output is no terminal here, and a secret that went into a log is none any more.
        expect(said).not.toMatch(/AGE-SECRET-KEY-1[0-9A-Z]{8}/)
        expect(mode('/etc/proxsave/identity.txt')).toBe('600')
        // An administrator's own file wins over the one of setup. Nothing is pruned, so that later steps can count.
        writeFileSync(
            machine.path('/etc/proxsave/conf.d/20-keep.toml'),
            '[target.local]\nkeep = "keep-all=1"\n',
        )
    })

    step('shows the schedule where an administrator looks for it', async () => {
        const timers = await machine.must(['systemctl', 'list-timers', '--all', '--no-pager'])
        expect(timers).toMatch(/proxsave-backup@\S+\.timer/)
        const timer = timers.match(/proxsave-backup@\S+\.timer/)![0]
        expect(await property('Persistent', timer)).toBe('yes')
        expect(await property('NextElapseUSecRealtime', timer)).not.toBe('')
    })

    /** What systemd has against a boot and an instance of each of our units, with those of `more` around them. */
    const unitProblems = async (more: typeof neighbours) => {
        const dir = '/run/units-around'
        for (const [name, { unit, wantedBy }] of Object.entries(more)) {
            const text = ['[Unit]', ...unit, '[Service]', 'Type=oneshot', 'ExecStart=/bin/true', '']
            const wants = `${machine.live(dir)}/${wantedBy}.wants`
            mkdirSync(wants, { recursive: true })
            writeFileSync(join(machine.live(dir), name), text.join('\n'))
            symlinkSync(`../${name}`, join(wants, name))
        }
        const installed = (await machine.must(['dpkg', '-L', 'proxsave']))
            .split('\n')
            .filter(path => /^\/usr\/lib\/systemd\/system\/[^/]+\.(service|timer)$/.test(path))
            .map(path => basename(path).replace('@.', '@daily.'))
        expect(installed.length).toBe(6)
        const verified = await machine.run(
            [
                ...['systemd-analyze', 'verify', '--man=no', '--generators=yes'],
                ...[...installed, 'multi-user.target', 'rescue.target'],
            ],
            { env: { SYSTEMD_UNIT_PATH: `${dir}:` } },
        )
        await machine.must(['rm', '-rf', dir])
        return (verified.stdout + verified.stderr)
            .split('\n')
            .filter(line => /proxsave|ordering cycle/i.test(line))
    }

    step('has units that systemd finds nothing wrong with, at a boot of Proxmox either', async () => {
        expect(await unitProblems({})).toEqual([])
        expect(await unitProblems(neighbours)).toEqual([])
        // It does find what would be wrong.
        const backwards = {
            unit: ['DefaultDependencies=no', 'After=ssh.service'],
            wantedBy: 'sysinit.target',
        }
        const found = await unitProblems({ ...neighbours, 'pvenetcommit.service': backwards })
        expect(found.join('\n')).toMatch(/ordering cycle/i)
    })

    step('takes a backup', async () => {
        await makeOdd(machine.path('/etc/zz-odd'))
        etc = await describeTree(machine.path('/etc'))
        const events = (await succeeds(['backup', '--json', '--note', 'the first'])).trimEnd().split('\n')
        const end = JSON.parse(events.at(-1)!) as { event: string; result: string; backup: string }
        expect(end, events.join('\n')).toMatchObject({ event: 'end', result: 'ok' })
        expect(backups().length).toBe(1)
        expect(mode(`/var/backups/proxsave/${backups()[0]}`)).toBe('600')
        const { backups: listed } = await json<{
            backups: { id: string; encrypted: boolean; signed: boolean }[]
        }>(['list'])
        expect(listed).toEqual([expect.objectContaining({ id: end.backup, encrypted: true, signed: true })])
    })

    step('verifies it, with the key and without', async () => {
        await succeeds(['verify', 'latest'])
        await succeeds(['verify', '--deep', 'latest'])
    })

    step('gives back all of /etc by hand, as the README in the archive says', async () => {
        const archive = `/var/backups/proxsave/${backups()[0]}`
        const readme = await machine.must(['tar', 'xOf', archive, 'README.txt'])
        const line = readme
            .split('\n')
            .find(text => text.includes('age -d') && text.includes('zstd') && text.includes('-C '))
        expect(line, readme).toBeDefined()
        const command = line!
            .trim()
            .replace(/^\$ /, '')
            .replaceAll('FILE', archive)
            .replaceAll(/\S+\.proxsave\.tar(?= data)/g, archive)
            .replaceAll('IDENTITY', '/etc/proxsave/identity.txt')
            .replaceAll('DIR', '/root/by-hand')
        mkdirSync(machine.path('/root/by-hand'))
        const ran = await machine.run(['bash', '-o', 'pipefail', '-c', command])
        expect(ran.status, `${command}\n${ran.stderr}`).toBe(0)
        // tar remarks that two of the odd files are from 1965 and from 2049.
        const remarks = ran.stderr.split('\n').filter(line => !/^tar: .*time stamp /.test(line))
        expect(remarks.join('\n')).toBe('')
        const copy = await describeTree(machine.path('/root/by-hand/etc'))
        // GNU tar does not set access times.
        const found = differences(etc, copy, { without: secrets, ignoring: ['atime'] })
        expect(found.slice(0, 30)).toEqual([])
        console.log(`${suite}: ${etc.size} entries of /etc came back by hand`)
    })

    step('has a signature that ssh-keygen accepts', async () => {
        const archive = `/var/backups/proxsave/${backups()[0]}`
        await machine.must(['tar', 'xf', archive, '-C', '/root', 'manifest.json', 'manifest.json.sig'])
        const checked = await machine.run(
            ['ssh-keygen', '-Y', 'check-novalidate', '-n', 'proxsave', '-s', '/root/manifest.json.sig'],
            { input: readFileSync(machine.path('/root/manifest.json')) },
        )
        expect(checked.status, checked.stdout + checked.stderr).toBe(0)
    })

    step('gives back all of /etc with extract', async () => {
        await succeeds(['extract', 'latest', 'etc', '--output', '/root/extracted'])
        const copy = await describeTree(machine.path('/root/extracted/etc'))
        expect(differences(etc, copy, { without: secrets, ignoring: ['atime'] }).slice(0, 30)).toEqual([])
        // Access times too where nobody else reads: the commands whose output is saved read some of /etc.
        const odd = (tree: Tree) => new Map([...tree].filter(([path]) => path.startsWith('zz-odd')))
        expect(differences(odd(etc), odd(copy))).toEqual([])
    })

    step('is as it was after a reboot', async () => {
        const began = performance.now()
        await machine.reboot()
        // No change runs, so nothing holds a shutdown up.
        expect(performance.now() - began).toBeLessThan(10_000)
        expect(await active()).toBe('active')
        const status = await json<{ unfinished: unknown[] }>(['status'])
        expect(status.unfinished).toEqual([])
        await succeeds(['verify', 'latest'])
        expect(await machine.must(['systemctl', 'list-timers', '--all', '--no-pager'])).toMatch(
            /proxsave-backup@/,
        )
    })

    step('runs the job of the timer', async () => {
        const before = backups()
        await machine.must(['systemctl', 'start', 'proxsave-backup@daily.service'])
        expect(newSince(before).length).toBe(1)
    })

    step('cleans up after kill -9 in the middle of a backup, and says so', async () => {
        const before = { names: backups(), changes: (await changes()).length }
        const { main } = await halfABackup()
        await machine.must(['kill', '-9', main])
        await successor(main, 30)
        await quiet(30)
        const [last, ...older] = await changes()
        expect(older.length).toBe(before.changes)
        expect(last!.result).toBe('failed')
        const told = await succeeds(['history', last!.id])
        expect(told).toMatch(/interrupted|crash|ended|undone|cleaned/i)
        const left = readdirSync(machine.path('/var/backups/proxsave'), {
            recursive: true,
            withFileTypes: true,
        })
        expect(
            left
                .filter(entry => !entry.isDirectory())
                .map(entry => entry.name)
                .sort(),
        ).toEqual(before.names.sort())
        expect(await machine.journal('proxsave.service')).toContain(last!.id)
        await succeeds(['backup'])
        await succeeds(['verify', '--deep', 'latest'])
    })

    step('takes a backup before Proxmox packages change, and none before others', async () => {
        const made = async (name: string) => {
            const control = `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: test <test@test.invalid>\nDescription: test\n`
            mkdirSync(machine.path(`/root/${name}/DEBIAN`), { recursive: true })
            writeFileSync(machine.path(`/root/${name}/DEBIAN/control`), control)
            await machine.must([
                'dpkg-deb',
                '--root-owner-group',
                '--build',
                `/root/${name}`,
                `/root/${name}.deb`,
            ])
        }
        await made('pve-manager')
        await made('harmless')

        const before = backups()
        const harmless = await apt('install', './harmless.deb')
        expect(harmless.status, harmless.stderr).toBe(0)
        expect(harmless.stdout + harmless.stderr).not.toContain('proxsave')
        expect(backups()).toEqual(before)

        const proxmox = await apt('install', './pve-manager.deb')
        expect(proxmox.status, proxmox.stderr).toBe(0)
        expect(newSince(before).length).toBe(1)
        const lines = (proxmox.stdout + proxmox.stderr).split('\n').filter(line => line.includes('proxsave'))
        expect(lines.length).toBe(1)
    })

    step('does not stop apt when the daemon is gone', async () => {
        const began = performance.now()
        await machine.must(['systemctl', 'stop', 'proxsave.service'])
        const took = performance.now() - began
        const proxmox = await apt('install', '--reinstall', './pve-manager.deb')
        await machine.must(['systemctl', 'start', 'proxsave.service'])
        expect(proxmox.status, proxmox.stdout + proxmox.stderr).toBe(0)
        // Nothing runs, so stopping waits for nothing.
        expect(took).toBeLessThan(5000)
    })

    step('is not interrupted by an upgrade: the new version starts when the change has ended', async () => {
        const { main, worker } = await halfABackup()
        const upgraded = await apt('install', '--reinstall', `./${basename(deb)}`)
        expect(upgraded.status, upgraded.stdout + upgraded.stderr).toBe(0)
        expect(await property('MainPID')).toBe(main)
        expect((await machine.run(['test', '-e', '/run/proxsave/restart-when-idle'])).status).toBe(0)
        await machine.must(['kill', '-CONT', worker])
        await successor(main, 90)
        const backup = (await changes()).find(change => change.kind === 'backup')
        expect(backup?.result).toBe('ok')
        expect((await machine.run(['test', '-e', '/run/proxsave/restart-when-idle'])).status).toBe(1)
    })

    step('is upgraded at once when nothing runs', async () => {
        const main = await property('MainPID')
        const upgraded = await apt('install', '--reinstall', `./${basename(deb)}`)
        expect(upgraded.status, upgraded.stdout + upgraded.stderr).toBe(0)
        await successor(main, 10)
        await succeeds(['verify', 'latest'])
    })

    // --- a guard on this systemd ---------------------------------------------------------------------------------

    /** The daemon is frozen meanwhile, and its watchdog is half a minute. */
    const guardSeconds = 12
    const site = '/etc/ssh/sshd_config.d/site.conf'

    const restoreOne = async (category: string) => {
        const ran = await machine.run([
            ...['proxsavectl', 'restore', 'latest', '--mode', 'custom', '--category', category, '--json'],
            ...['--answer', 'confirm=RESTORE'],
        ])
        const end = JSON.parse(ran.stdout.trimEnd().split('\n').at(-1)!) as { result: string; change: string }
        return { ...ran, end }
    }
    const restoreSsh = () => restoreOne('ssh')
    const changedSsh = async (before: Tree) =>
        differences(before, await describeTree(machine.path('/etc/ssh')), { ignoring: ['atime'] })

    step('checks what is guarded where only the checker sees it', async () => {
        writeFileSync(
            machine.path('/etc/proxsave/conf.d/30-guard.toml'),
            `[guard]\ntimeout = "${guardSeconds}s"\n`,
        )
        await machine.must(['systemctl', 'reload', 'proxsave'])
        writeFileSync(machine.path(site), 'NoSuchOption yes\n')
        await succeeds(['backup'])
        writeFileSync(machine.path(site), 'MaxAuthTries 4\n')
        await machine.must(['systemctl', 'restart', 'ssh'])
        const before = await describeTree(machine.path('/etc/ssh'))
        const { end, status, stdout } = await restoreSsh()
        expect(end.result, stdout).toBe('warning')
        expect(status).toBe(6)
        // Only the copy has that word: it was shown in the place of the real files.
        const said = `/var/lib/proxsave/changes/${end.change}/diagnostics/ssh/preflight.txt`
        expect(readFileSync(machine.path(said), 'utf8')).toContain('Bad configuration option: NoSuchOption')
        expect(await succeeds(['history', end.change])).toMatch(/sshd -t: .*bad configuration option/i)
        expect(await changedSsh(before)).toEqual([])
        const mounts = await machine.must(['cat', '/proc/1/mountinfo'])
        expect(mounts).not.toContain('/etc/ssh')
    })

    step('leaves the network as it is unless somebody says yes, and keeps a copy to look at', async () => {
        const hosts = machine.path('/etc/hosts')
        writeFileSync(hosts, '127.0.0.1 localhost\n192.0.2.9 of-the-backup\n')
        await succeeds(['backup'])
        writeFileSync(hosts, '127.0.0.1 localhost\n192.0.2.9 of-today\n')
        const { mtimeNs, ino } = lstatSync(hosts, { bigint: true })
        const { end, status, stdout } = await restoreOne('network')
        expect(end.result, stdout).toBe('warning')
        expect(status).toBe(6)
        expect(lstatSync(hosts, { bigint: true })).toMatchObject({ mtimeNs, ino })
        expect(readFileSync(hosts, 'utf8')).toContain('of-today')
        const copies = await machine.must(['find', '/var/lib/proxsave/exports', '-path', '*/etc/hosts'])
        expect(copies.trim().split('\n').length).toBe(1)
        expect(readFileSync(machine.path(copies.trim()), 'utf8')).toContain('of-the-backup')
        expect(await succeeds(['history', end.change])).toContain(copies.trim().split('/etc/')[0]!)
        expect((await json<{ guard: unknown }>(['status'])).guard).toBeNull()
    })

    step('is confirmed over a new SSH connection, and not over an older one', async () => {
        await letIn(machine)
        writeFileSync(machine.path(site), 'MaxAuthTries 5\n')
        await succeeds(['backup'])
        writeFileSync(machine.path(site), 'MaxAuthTries 4\n# other than the backup\n')
        await machine.must(['systemctl', 'reload', 'ssh'])
        const old = await waitingSession(machine)
        const restored = restoreSsh()
        const guard = await guardWaits(machine)
        const refused = await old.confirm()
        expect(refused.status, refused.output).toBe(4)
        expect(refused.output).toContain('before the new state')
        const confirmed = await confirmAnew(machine)
        expect(confirmed.status, confirmed.output).toBe(0)
        const { end, status, stdout } = await restored
        expect(['ok', 'warning'], stdout).toContain(end.result)
        expect([0, 6]).toContain(status)
        expect(readFileSync(machine.path(site), 'utf8')).toBe('MaxAuthTries 5\n')
        const left = await machine.must([
            ...['systemctl', 'list-units', '--all', '--no-legend', `proxsave-*${guard}*`],
        ])
        expect(left.trim()).toBe('')
    })

    step(
        'rolls back by its timer alone, and is not removed meanwhile',
        async () => {
            writeFileSync(machine.path(site), 'MaxAuthTries 5\n')
            await succeeds(['backup'])
            writeFileSync(machine.path(site), 'MaxAuthTries 4\n# other than the backup\n')
            await machine.must(['systemctl', 'reload', 'ssh'])
            const before = await describeTree(machine.path('/etc/ssh'))
            const main = await property('MainPID')
            const restored = restoreSsh()
            const guards = machine.live('/var/lib/proxsave/guard')
            const guard = await guardWaits(machine)
            expect(readFileSync(machine.path(site), 'utf8')).toBe('MaxAuthTries 5\n')
            const unit = `proxsave-rollback@${guard}`
            expect(await active(`${unit}.timer`)).toBe('active')
            const removed = await apt('remove', 'proxsave')
            // Nothing but the timer can take it back now.
            await machine.must(['kill', '-STOP', main])
            try {
                expect(existsSync(join(guards, guard, 'armed'))).toBe(true)
                expect(removed.status).not.toBe(0)
                const said = removed.stdout + removed.stderr
                for (const words of ['guard is armed', 'proxsavectl commit', 'proxsavectl rollback'])
                    expect(said).toContain(words)
                await machine.until(
                    guardSeconds + 10,
                    'the rollback',
                    async () => !existsSync(join(guards, guard, 'armed')),
                )
            } finally {
                await machine.must(['kill', '-CONT', main])
            }
            const { end, status, stdout, stderr } = await restored
            expect(end.result, stdout + stderr).toBe('rolled-back')
            expect(status).toBe(7)
            expect(end.change).toBe(guard.replace(/-ssh$/, ''))
            expect(await property('MainPID')).toBe(main)
            expect(await changedSsh(before)).toEqual([])
            // It looks around once more behind the removal of `armed`.
            await machine.until(30, 'the end of the rollback', async () =>
                ['inactive', 'failed'].includes(await active(`${unit}.service`)),
            )
            const journal = await machine.journal(`${unit}.service`)
            expect(journal).toContain('nobody confirmed in time')
            expect(journal).toContain('rolled back')
            console.log(`${suite}: ${journal.trimEnd().split('\n').slice(-4).join('\n')}`)
            expect(await machine.must(['sshd', '-T'])).toContain('maxauthtries 4')
            expect(await active('ssh')).toBe('active')
            // Neither the timer nor the unit is left.
            expect(
                (await machine.must(['systemctl', 'list-units', '--all', '--no-legend', `${unit}*`])).trim(),
            ).toBe('')
            await machine.must(['rm', site])
        },
        180,
    )

    step('refuses to be removed while a change runs', async () => {
        const { main, worker } = await halfABackup()
        const removed = await apt('remove', 'proxsave')
        expect(removed.status).not.toBe(0)
        expect(removed.stdout + removed.stderr).toContain('a change is running')
        expect(await property('MainPID')).toBe(main)
        await machine.must(['kill', '-CONT', worker])
        await quiet(90)
    })

    step('keeps backups and configuration when it is removed', async () => {
        const before = backups()
        const setup = readFileSync(machine.path('/etc/proxsave/conf.d/10-setup.toml'), 'utf8')
        const removed = await apt('remove', 'proxsave')
        expect(removed.status, removed.stdout + removed.stderr).toBe(0)
        expect(await active()).toBe('inactive')
        expect(existsSync(machine.path('/usr/bin/proxsavectl'))).toBe(false)
        expect(backups()).toEqual(before)
        expect(readFileSync(machine.path('/etc/proxsave/conf.d/10-setup.toml'), 'utf8')).toBe(setup)
        expect(existsSync(machine.path('/etc/proxsave/proxsave.toml'))).toBe(true)
        expect(await machine.must(['systemctl', 'list-timers', '--all', '--no-pager'])).not.toContain(
            'proxsave',
        )
        // The hook stays behind as configuration and has to be silent without its program.
        const other = await apt('install', '--reinstall', './pve-manager.deb')
        expect(other.status, other.stdout + other.stderr).toBe(0)
        expect(other.stdout + other.stderr).not.toContain('proxsave')
    })

    step('goes on where it was when it is installed again', async () => {
        const installed = await apt('install', `./${basename(deb)}`)
        expect(installed.status, installed.stdout + installed.stderr).toBe(0)
        expect(await active()).toBe('active')
        expect(await active('proxsave-backup@daily.timer')).toBe('active')
        const { backups: listed } = await json<{ backups: unknown[] }>(['list'])
        expect(listed.length).toBe(backups().length)
        await succeeds(['verify', '--deep', 'latest'])
    })

    step('keeps backups and keys when it is purged, and nothing else', async () => {
        const before = backups()
        const purged = await apt('purge', 'proxsave')
        expect(purged.status, purged.stdout + purged.stderr).toBe(0)
        expect(backups()).toEqual(before)
        expect(readdirSync(machine.path('/etc/proxsave')).sort()).toEqual([
            'conf.d',
            'identity.txt',
            'recipients',
        ])
        expect(readdirSync(machine.path('/etc/proxsave/conf.d'))).toEqual(['20-keep.toml', '30-guard.toml'])
        const state = readdirSync(machine.path('/var/lib/proxsave'))
        expect(state.length).toBeGreaterThan(0)
        expect(state.filter(name => !name.startsWith('signing_key'))).toEqual([])
        for (const unit of bootUnits)
            expect((await machine.run(['systemctl', 'cat', unit])).status, unit).not.toBe(0)
        const links = ['/etc/systemd/system', '/var/lib/systemd/deb-systemd-helper-enabled']
        expect((await machine.must(['find', ...links, '-name', 'proxsave*'])).trim()).toBe('')
        expect(existsSync(machine.path('/etc/apt/apt.conf.d/80proxsave'))).toBe(false)
    })
})
