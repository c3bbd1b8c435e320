/**
 * Restore on a real machine with stand-ins of both products: every mode, the terminal lost in every phase, the daemon
 * killed between its tasks, undo after all that may come in between, what is guarded confirmed or not, a full disk, and
 * services that do not obey.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import {
    confirmAnew,
    confirmOverLo,
    guardSeconds,
    guardWaits,
    Host,
    type Phase,
    state,
    waitingSession,
} from './host.ts'
import { type Loss, losses, SshSession } from './ssh.ts'
import { damage, damageDatabase, damageSsh, keepSsh, makeDatabase } from './stand-ins/tree.ts'
import { differences, type Tree } from './tree.ts'

const root = process.getuid?.() === 0
if (!root) console.log('skipped: the container tests need root')

/** 1: every way of losing a session in each phase, a kill behind each task, every phase with a full disk. */
const everything = process.env.PROXSAVE_VM_ALL === '1'

/** It is in the database of the backup, and gone from that of the host. */
const guest = '/etc/pve/nodes/trixie/qemu-server/100.conf'

const answers = ['--answer', 'confirm=RESTORE', '--answer', 'fstab.merge=add']

describe.skipIf(!root)('restore', () => {
    let host: Host
    /** The host after its damage, and after a whole restore of it. */
    let before: Tree
    let after: Tree
    let running: string[]
    /** Ids of the tasks of a full restore. */
    let tasks: string[]

    beforeAll(async () => {
        host = await Host.create()
        await damage(host.machine)
        await host.machine.must(['systemctl', 'restart', 'pve-cluster'])
        before = await host.look()
        running = await host.services()
    }, 300_000)
    afterAll(async () => await host?.machine.destroy(), 120_000)

    /** The first step that failed: the host is in no known state behind it. */
    let broken: string | undefined

    /** One step of the story; a failure is told together with what the daemon wrote. */
    const step = (what: string, run: () => Promise<void>, seconds = 120) =>
        test(
            what,
            async () => {
                if (broken !== undefined) throw new Error(`not tried, because this failed: ${broken}`)
                try {
                    await run()
                } catch (error) {
                    broken = what
                    console.log(
                        `--- journal of proxsave.service\n${await host.machine.journal('proxsave.service')}`,
                    )
                    throw error
                }
            },
            seconds * 1000,
        )

    const restore = async (...argv: string[]) => {
        const ran = await host.run('restore', 'latest', ...argv, ...answers, '--json')
        const end = JSON.parse(ran.stdout.trimEnd().split('\n').at(-1)!) as {
            event: string
            result: string
            change: string
            exports?: string
        }
        return { ...ran, end }
    }
    const undo = (id: string, ...more: string[]) => host.ctl('undo', id, '--answer', 'confirm=UNDO', ...more)

    const asBefore = async (what = 'as before') => {
        expect(await host.changedSince(before), what).toEqual([])
        expect(await host.services(), what).toEqual(running)
        expect(host.leftovers(), what).toEqual([])
    }
    /** Merged files, and directories that no action of the plan names, have times of the moment. */
    const ofTheMoment = (line: string, whole: Tree) => {
        const path = /^(".*?[^\\]"): mtime was /.exec(line)?.[1]
        if (path === undefined) return false
        const entry = whole.get(JSON.parse(path) as string)
        return entry?.type === 'd' || entry?.path === 'fstab'
    }
    const asAfter = async (what = 'as after') => {
        const found = (await host.changedSince(after)).filter(line => !ofTheMoment(line, after))
        expect(found, what).toEqual([])
        expect(await host.services(), what).toEqual(running)
        expect(host.leftovers(), what).toEqual([])
    }

    step('has services in every state', async () => {
        console.log(running.join('\n'))
        expect(running.filter(line => line.endsWith(' active')).length).toBe(10)
        expect(running).toContain('spiceproxy.service inactive')
        expect(running).toContain('chrony.service inactive')
    })

    step('is planned without touching anything', async () => {
        const ids = host.ids()
        for (const mode of ['full', 'storage', 'base']) {
            const plan = await host.plan('--mode', mode)
            expect(plan.files.replace.length + plan.files.create.length, mode).toBeGreaterThan(0)
            await host.ctl('restore', 'latest', '--mode', mode, '--plan')
        }
        const plan = await host.plan('--mode', 'full')
        tasks = plan.tasks.map(({ id }) => id)
        console.log(`a full restore has ${tasks.length} tasks: ${tasks.join(' ')}`)
        const exported = plan.categories.filter(({ action }) => action === 'export').map(({ id }) => id)
        expect(exported).toContain('pbs_config')
        expect(plan.categories.find(({ id }) => id === 'pve_cluster')?.action).toBe('database')
        expect(plan.services.map(({ unit }) => unit)).toContain('pvedaemon.service')
        await asBefore()
        expect(host.ids()).toEqual(ids)
    })

    step('is refused without its word, with nothing changed', async () => {
        const refused = await host.run('restore', 'latest', '--mode', 'full', '--answer', 'confirm=restore')
        expect(refused.status, refused.stderr).toBe(4)
        expect((await host.run('restore', 'latest', '--mode', 'full')).status).toBe(4)
        await asBefore()
    })

    step('full: files, services and exports are where they belong, and the summary says so', async () => {
        const began = performance.now()
        const ran = await host.run('restore', 'latest', '--mode', 'full', ...answers)
        console.log(`full restore: ${Math.round(performance.now() - began)} ms\n${ran.stdout}${ran.stderr}`)
        expect([0, 6], ran.stderr).toContain(ran.status)
        const at = (path: string) => readFileSync(host.machine.path(path), 'utf8')
        expect(at('/etc/vzdump.conf')).toBe('bwlimit: 100000\n')
        expect(at('/root/notes.txt')).toContain('green label')
        expect(at('/home/anna/.profile')).toBe('umask 077\n')
        expect(at('/etc/fstab')).toContain('/mnt/shelf')
        expect(at('/etc/new.conf')).toBe('made since\n')
        expect(statSync(host.machine.path('/etc/ssl/site.pem')).ino).toBe(
            statSync(host.machine.path('/etc/ssl/site-too.pem')).ino,
        )
        expect(ran.stdout).toContain('proxsavectl undo')
        const exports = /exported to (\S+)/.exec(ran.stdout)?.[1]
        expect(exports).toStartWith(`${state}/exports/trixie-`)
        const datastores = `${exports}/etc/proxmox-backup/datastore.cfg`
        expect(readFileSync(host.machine.path(datastores), 'utf8')).toContain('datastore: store')
        // Replayed over the new database, the log of the old one would undo it without a word.
        expect(readdirSync(host.machine.path('/var/lib/pve-cluster'))).toEqual(['config.db'])
        expect(await host.machine.must(['cat', guest])).toContain('name: mail')
        expect(await host.services()).toEqual(running)
        expect(host.leftovers()).toEqual([])
        after = await host.look()
        expect(differences(before, after)).not.toEqual([])
    })

    step('is undone: not a byte, owner or nanosecond is left of it', async () => {
        const [last] = await host.changes()
        const began = performance.now()
        await undo(last!.id)
        console.log(`undo: ${Math.round(performance.now() - began)} ms`)
        await asBefore()
    })

    for (const [mode, more, brings, leaves] of [
        [
            'storage',
            [],
            ['/etc/vzdump.conf', '/etc/zfs/zed.d/zed.rc'],
            ['/etc/ssl/private/site.key', '/root/notes.txt'],
        ],
        [
            'base',
            [],
            ['/etc/ssl/private/site.key', '/etc/default/stand-in'],
            ['/etc/vzdump.conf', '/root/notes.txt'],
        ],
        [
            'custom',
            ['--category', 'scripts', '--category', 'user_data'],
            ['/root/notes.txt', '/usr/local/odd/listed'],
            ['/etc/vzdump.conf', '/etc/ssl/private/site.key'],
        ],
    ] as const)
        step(`${mode}: what belongs to it and nothing else, and back`, async () => {
            const { end, stdout, stderr } = await restore('--mode', mode, ...more)
            expect(['ok', 'warning'], stdout + stderr).toContain(end.result)
            const now = await host.look()
            const entry = (tree: Tree, path: string) =>
                JSON.stringify({ ...tree.get(path.slice(1)), atime: 0 })
            for (const path of brings) expect(entry(now, path), path).toBe(entry(after, path))
            for (const path of leaves) expect(entry(now, path), path).toBe(entry(before, path))
            expect(await host.services()).toEqual(running)
            await undo(end.change)
            await asBefore()
        })

    // --- the terminal is lost ----------------------------------------------------------------------------------------

    const cuts = { done: 0, changes: 0 }

    async function lost(phase: Phase, loss: Loss, terminal: boolean): Promise<void> {
        const what = `${phase}, ${loss}, ${terminal ? 'at a terminal' : 'without a terminal'}`
        const known = host.ids()
        host.bar(phase)
        const session = SshSession.begin(
            host.machine,
            `proxsavectl restore latest --mode full ${answers.join(' ')}`,
            terminal,
        )
        const held = await host.hold(phase, known).catch(error => {
            throw new Error(`${what}: ${error}\n${session.output}`)
        })
        await session.lose(loss)
        if (held.id === undefined) {
            held.release()
            // Nobody is there who could have confirmed anything: nothing has begun, or all of it was given ahead.
            if (loss === 'silence') await host.reached(known, 'unstage', 'done')
            await session.end()
            // The restore itself may have been asked for, and is planned once more before it begins.
            await host.settled()
            for (const id of host.ids()) if (!known.has(id)) await undo(id)
            await asBefore(what)
        } else {
            const attached = SshSession.begin(host.machine, `proxsavectl attach ${held.id} --json`)
            held.release()
            const status = await attached.ended
            const last = JSON.parse(attached.output.trimEnd().split('\n').at(-1)!) as {
                event: string
                result: string
            }
            expect(last, what).toMatchObject({ event: 'end' })
            expect(['ok', 'warning'], what).toContain(last.result)
            expect([0, 6], what).toContain(status)
            await session.end()
            await asAfter(what)
            cuts.changes++
            await undo(held.id)
            await asBefore(what)
        }
        cuts.done++
    }

    const phases: Phase[] = ['planning', 'stage', 'snapshot', 'stop', 'apply-1', 'export', 'start', 'check']
    for (const [number, phase] of phases.entries())
        step(
            `goes on when the session is lost: ${phase}`,
            async () => {
                const all = losses.flatMap(loss => [
                    { loss, terminal: true },
                    { loss, terminal: false },
                ])
                const chosen = everything ? all : [all[number % all.length]!]
                for (const { loss, terminal } of chosen) await lost(phase, loss, terminal)
            },
            everything ? 300 : 120,
        )

    step('counts the sessions lost', async () => {
        console.log(
            `row 7: ${cuts.done} sessions lost in ${phases.length} phases, ${cuts.changes} changes followed to their end (48 with PROXSAVE_VM_ALL=1)`,
        )
        expect(cuts.done).toBe(everything ? 48 : phases.length)
    })

    // --- the daemon is killed ----------------------------------------------------------------------------------------

    step(
        'is whole-old or whole-new after kill -9 of the daemon behind any task',
        async () => {
            const ends = { old: 0, new: 0 }
            const chosen = tasks.filter((_, number) => everything || number % 4 === 0)
            for (const task of chosen) {
                const what = `killed behind ${task}`
                const known = host.ids()
                const daemon = await host.daemon()
                const reached = host.reached(known, task, 'done')
                const [id] = await Promise.all([
                    reached.then(found => {
                        host.kill(daemon)
                        return found
                    }),
                    host.run('restore', 'latest', '--mode', 'full', ...answers, '--detach'),
                ])
                await host.recovered(daemon)
                const change = await host.change(id)
                expect(change.state, what).toBe('done')
                expect(change.left ?? [], what).toEqual([])
                if (change.result === 'failed') {
                    await asBefore(what)
                    expect(await host.ctl('history', id), what).toMatch(/recovery|interrupted/)
                    ends.old++
                } else {
                    await asAfter(what)
                    await undo(id)
                    await asBefore(`${what}, undone`)
                    ends.new++
                }
            }
            console.log(
                `killed behind ${chosen.length} of ${tasks.length} tasks: whole-old ${ends.old}, whole-new ${ends.new}`,
            )
            expect(ends.old).toBeGreaterThan(0)
        },
        280,
    )

    // --- undo, later -------------------------------------------------------------------------------------------------

    step('is undone after a reboot and a later backup', async () => {
        const { end } = await restore('--mode', 'full')
        await host.machine.reboot()
        await host.quiet()
        await asAfter('after the reboot')
        await host.ctl('backup')
        await undo(end.change)
        await asBefore()
    })

    step('asks about what was edited since, and keeps it unless told otherwise', async () => {
        const file = host.machine.path('/etc/vzdump.conf')
        const { atime, mtime } = statSync(file)
        for (const answer of ['keep', 'restore']) {
            const { end } = await restore(
                '--mode',
                'custom',
                '--category',
                'storage_pve',
                '--category',
                'ssl',
            )
            writeFileSync(file, 'bwlimit: 7\n')
            // Without anybody to ask, the safe answer is taken.
            await undo(end.change, ...(answer === 'keep' ? [] : ['--answer', `undo.conflict=${answer}`]))
            if (answer === 'restore') continue
            expect(readFileSync(file, 'utf8')).toBe('bwlimit: 7\n')
            const others = (await host.changedSince(before)).filter(
                line => !line.startsWith('"etc/vzdump.conf"'),
            )
            expect(others).toEqual([])
            writeFileSync(file, 'bwlimit: 1\n# a longer one than before\n')
            utimesSync(file, atime, mtime)
            before = await host.look()
        }
        await asBefore()
    })

    // --- what refuses --------------------------------------------------------------------------------------------------

    for (const [what, lines] of [
        ['refuses to be stopped', ['RefuseManualStop=yes']],
        // Half a minute, because each round waits for what it started.
        ...(everything ? ([['is started again each time', []]] as const) : []),
    ] as const)
        step(`writes nothing when a service ${what}`, async () => {
            const dir = '/run/systemd/system/pvedaemon.service.d'
            const upholder = '/run/systemd/system/stand-in-upholder.service'
            mkdirSync(host.machine.live(dir), { recursive: true })
            writeFileSync(host.machine.live(`${dir}/test.conf`), ['[Unit]', ...lines, ''].join('\n'))
            if (lines.length === 0)
                writeFileSync(
                    host.machine.live(upholder),
                    '[Unit]\nUpholds=pvedaemon.service\n[Service]\nExecStart=/bin/sleep infinity\n',
                )
            await host.machine.must(['systemctl', 'daemon-reload'])
            if (lines.length === 0) await host.machine.must(['systemctl', 'start', 'stand-in-upholder'])
            const { end, status, stdout } = await restore('--mode', 'full')
            expect(end, stdout).toMatchObject({ result: 'failed' })
            expect(status).toBe(1)
            expect(await host.ctl('history', end.change)).toContain('cannot stop the services')
            await host.machine.run(['systemctl', 'stop', 'stand-in-upholder'])
            await host.machine.must(['rm', '-rf', dir, upholder])
            await host.machine.must(['systemctl', 'daemon-reload'])
            await asBefore()
        })

    // --- the guard -----------------------------------------------------------------------------------------------------

    const ofSsh = (line: string) => /^"(etc\/ssh|root\/\.ssh)["/]/.test(line)
    /** The host with another sshd than that of the backup; what puts the one of before back. */
    let damaged: Tree
    let heal: () => Promise<void>
    /** After a whole restore that was confirmed. */
    let confirmed: Tree

    step('what could lock somebody out stays when it is confirmed over a new SSH connection', async () => {
        const { machine } = host
        heal = await keepSsh(machine)
        damageSsh(machine)
        await machine.must(['systemctl', 'reload', 'ssh'])
        damaged = await host.look()
        const plan = await host.plan('--mode', 'full')
        expect(plan.categories.find(({ id }) => id === 'ssh')?.action).toBe('guarded')
        expect(plan.tasks.map(({ id }) => id).slice(-5)).toEqual([
            ...['ssh-prepare', 'ssh-arm', 'ssh-apply', 'ssh-confirm'],
            'unstage',
        ])
        const ahead = await host.run('restore', 'latest', ...answers, '--answer', 'ssh.commit=COMMIT')
        expect(ahead.status, ahead.stderr).toBe(2)
        expect(await host.changedSince(damaged)).toEqual([])

        const reloads = async () =>
            (await machine.journal('ssh.service', 1000)).split('Reloaded ssh.service').length
        const reloaded = await reloads()
        // Opened before the new state is there: that it still works proves nothing.
        const old = await waitingSession(machine)
        const within = await waitingSession(machine, confirmOverLo)
        const session = SshSession.begin(
            machine,
            `proxsavectl restore latest --mode full ${answers.join(' ')} --json`,
        )
        const guard = await guardWaits(machine)
        const refused = await old.confirm()
        expect(refused.status, refused.output).toBe(4)
        expect(refused.output).toContain('before the new state')
        // So does one that is new and was begun there: it would work on a host that nobody can reach any more.
        const overLo = await within.confirm()
        expect(overLo.status, overLo.output).toBe(4)
        expect(overLo.output).toContain('before the new state')
        const unit = ['systemd-run', '--quiet', '--wait', '--pipe', 'proxsavectl', 'commit']
        const asked = await machine.run(unit)
        expect(asked.status, asked.stderr).toBe(4)
        expect(asked.stderr).toContain('has left the session that it came from, or has none')
        const began = performance.now()
        const { status, output } = await confirmAnew(machine)
        console.log(`confirmed in ${Math.round(performance.now() - began)} ms: ${output}`)
        expect(status, output).toBe(0)
        expect(output).toContain('DISARMED')
        expect([0, 6], session.output).toContain(await session.ended)
        const end = JSON.parse(session.output.trimEnd().split('\n').at(-1)!) as {
            result: string
            change: string
        }
        expect(['ok', 'warning'], session.output).toContain(end.result)
        expect(guard).toBe(`${end.change}-ssh`)

        confirmed = await host.look()
        const at = (path: string) => readFileSync(machine.path(path), 'utf8')
        expect(at('/etc/ssh/sshd_config.d/50-site.conf')).toBe('MaxAuthTries 5\n')
        expect(at('/etc/ssh/sshd_config.d/60-lost.conf')).toBe('Banner none\n')
        expect(at('/root/.ssh/authorized_keys')).not.toContain('somebody was here')
        expect(await host.services()).toEqual(running)
        expect(host.leftovers()).toEqual([])
        const effective = await machine.must(['sshd', '-T'])
        expect(effective).toContain('maxauthtries 5')
        expect(await reloads()).toBe(reloaded + 1)

        // Those who came in by the new state are asked again before it goes.
        const undone = undo(end.change)
        await guardWaits(machine)
        const again = await confirmAnew(machine)
        expect(again.status, again.output).toBe(0)
        await undone
        expect(await host.changedSince(damaged)).toEqual([])
        expect(host.leftovers()).toEqual([])
    })

    step('what nobody confirms goes back, and all the rest of the restore stays', async () => {
        const { machine } = host
        const began = performance.now()
        const { end, status, stdout, stderr } = await restore('--mode', 'full')
        console.log(
            `a guard of ${guardSeconds} s that nobody confirmed: ended after ${Math.round(performance.now() - began)} ms`,
        )
        expect(status, stdout + stderr).toBe(7)
        expect(end).toMatchObject({ event: 'end', result: 'rolled-back' })
        expect(performance.now() - began).toBeGreaterThan(guardSeconds * 1000)
        const now = await host.look()
        expect(differences(damaged, now, { ignoring: ['atime'] }).filter(ofSsh)).toEqual([])
        // What is merged, and directories that no action of the plan names, have times of the moment.
        const rest = differences(confirmed, now, { ignoring: ['atime'] }).filter(line => !ofSsh(line))
        expect(rest.filter(line => !ofTheMoment(line, confirmed))).toEqual([])
        expect(differences(damaged, now, { ignoring: ['atime'] }).length).toBeGreaterThan(30)
        expect(await host.services()).toEqual(running)
        expect(host.leftovers()).toEqual([])
        expect(await machine.must(['sshd', '-T'])).toContain('maxauthtries 4')
        const told = await host.ctl('history', end.change)
        console.log(told)
        expect(told).toContain('rolled back')
        expect(told).toContain('nobody confirmed')
        const timers = await machine.must([
            'systemctl',
            'list-units',
            '--all',
            '--no-legend',
            'proxsave-rollback@*',
        ])
        expect(timers.trim()).toBe('')

        await undo(end.change)
        expect(await host.changedSince(damaged)).toEqual([])
        await heal()
        await asBefore()
    })

    // --- no room -------------------------------------------------------------------------------------------------------

    step(
        'takes all back when the disk of its state is full, in any of its phases',
        async () => {
            const { machine } = host
            const filler = `${state}/changes/filler`
            await machine.must(['systemctl', 'stop', 'proxsave'])
            await machine.must([
                'mount',
                '-t',
                'tmpfs',
                '-o',
                'size=32m,mode=700',
                'tmpfs',
                `${state}/changes`,
            ])
            await machine.must(['systemctl', 'start', 'proxsave'])
            const ends: string[] = []
            const all: Phase[] = ['stage', 'snapshot', 'stop', 'export', 'start']
            for (const phase of everything ? all : (['stage', 'export'] as Phase[])) {
                const known = host.ids()
                host.bar(phase)
                const ran = host.run('restore', 'latest', '--mode', 'full', ...answers, '--json')
                const held = await host.hold(phase, known)
                // dd ends with the failure that is wanted.
                await machine.run(['dd', 'if=/dev/zero', `of=${filler}`, 'bs=4k', 'status=none'])
                held.release()
                const { status, stderr } = await ran
                await machine.must(['rm', filler])
                // A daemon that could not even write its journal goes on with the next start.
                let restarted = ''
                await host.quiet(10).catch(async () => {
                    restarted = ', behind the next start'
                    await machine.must(['systemctl', 'restart', 'proxsave'])
                    await host.quiet()
                })
                const change = await host.change(held.id!)
                ends.push(`${phase}: ${change.result} (exit ${status})${restarted}`)
                expect(change.left ?? [], `${phase} ${stderr}`).toEqual([])
                if (change.result === 'failed') await asBefore(`full disk, ${phase}`)
                else {
                    await asAfter(`full disk, ${phase}`)
                    await undo(held.id!)
                    await asBefore(`full disk, ${phase}, undone`)
                }
            }
            console.log(`full disk: ${ends.join('; ')}`)
            // And when it is known beforehand, nothing begins.
            const ids = host.ids()
            await machine.run(['dd', 'if=/dev/zero', `of=${filler}`, 'bs=4k', 'status=none'])
            const refused = await host.run('restore', 'latest', '--mode', 'full', ...answers)
            expect(refused.status, refused.stderr).toBe(1)
            await machine.must(['rm', filler])
            expect(host.ids()).toEqual(ids)
            await asBefore()
            await machine.must(['systemctl', 'stop', 'proxsave'])
            await machine.must(['umount', `${state}/changes`])
            await machine.must(['systemctl', 'start', 'proxsave'])
        },
        200,
    )

    // --- RECOVERY ------------------------------------------------------------------------------------------------------

    step('RECOVERY: the database only where no member answers, and undone', async () => {
        const { machine } = host
        const corosync = [
            'totem {\n  cluster_name: test\n  config_version: 2\n  version: 2\n}',
            'nodelist {\n  node {\n    name: trixie\n    nodeid: 1\n    quorum_votes: 1\n    ring0_addr: 127.0.0.1\n  }',
            '  node {\n    name: second\n    nodeid: 2\n    quorum_votes: 1\n    ring0_addr: second\n  }\n}\n',
        ].join('\n')
        const peer = '192.0.2.2'
        writeFileSync(machine.path('/etc/hosts'), `127.0.0.1 localhost\n${peer} second\n`)
        await machine.must(['systemctl', 'stop', 'pve-cluster'])
        makeDatabase(machine, { 'corosync.conf': corosync })
        mkdirSync(machine.path('/etc/corosync'), { recursive: true })
        writeFileSync(machine.path('/etc/corosync/corosync.conf'), corosync)
        // It looks but once a minute whether it is in a cluster.
        await machine.must(['systemctl', 'restart', 'pve-cluster', 'proxsave'])
        await host.ctl('backup')
        await machine.must(['systemctl', 'stop', 'pve-cluster'])
        damageDatabase(machine)
        await machine.must(['systemctl', 'start', 'pve-cluster'])
        const only = ['--mode', 'custom', '--category', 'pve_cluster', '--cluster', 'recovery']
        const isolated = ['--answer', 'cluster.isolated=yes']

        // Without an address of its own: the sshd of this machine answers there, and stands for the other member's.
        await machine.must(['ip', 'route', 'add', 'local', peer, 'dev', 'lo'])
        before = await host.look()
        const known = host.ids()
        const unsaid = await host.run('restore', 'latest', ...only, ...answers)
        expect(unsaid.status, unsaid.stderr).toBe(4)
        expect(host.ids()).toEqual(known)
        const answered = await host.run('restore', 'latest', ...only, ...isolated, ...answers)
        expect(answered.status, answered.stdout).toBe(1)
        expect(answered.stderr).toContain('second')
        await asBefore('a member answers')

        await machine.must(['ip', 'route', 'del', 'local', peer, 'dev', 'lo'])
        const { end, stdout } = await restore(...only, ...isolated)
        expect(['ok', 'warning'], stdout).toContain(end.result)
        expect(readdirSync(machine.path('/var/lib/pve-cluster'))).toEqual(['config.db'])
        expect(await machine.must(['cat', guest])).toContain('name: mail')
        expect(await host.services()).toEqual(running)
        await undo(end.change)
        await asBefore('RECOVERY undone')
        console.log('RECOVERY: refused while a member answers, done when none does, undone')
    })
})
