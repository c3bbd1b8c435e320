/**
 * The guard on a real machine with ifupdown2, sshd and systemd: a network is restored over the connection that it cuts
 * off, and the machine comes back by itself, whatever is done to it meanwhile; or it is confirmed, and stays.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { FakedClock } from './faked-clock.ts'
import { away, cards, changeOf, GuardedHost, graceSeconds, home, interfaces, poll } from './guarded.ts'
import { state } from './host.ts'
import { packagePath } from './package.ts'
import type { Tree } from './tree.ts'

const root = process.getuid?.() === 0
if (!root) console.log('skipped: the container tests need root')
if (root)
    console.log(
        'not here: the clock of systemd set back and forward, because a container shares that of this host; that of the program is, and the timer of a guard goes by the time since boot',
    )

/** For what waits a whole window, and for what decides within one (s). */
const short = 10
const long = 60
/** Time enough to do several things within one that is waited for (s). */
const medium = 20

const file = '/etc/network/interfaces'
const pending = '/etc/network/interfaces.new'
const third = '10.77.0.77'

const renamedCards = cards.map((card, number) => ({ ...card, name: `enp${number + 7}s0` }))
const swappedCards = cards.map((card, number) => ({ ...card, name: cards[1 - number]!.name }))

describe.skipIf(!root)('guard', () => {
    let host: GuardedHost
    let before: Tree
    let addresses: string[]
    const measured: string[] = []

    beforeAll(async () => {
        host = await GuardedHost.at(interfaces({ card: 'enp7s0' }), renamedCards)
        await host.save('renamed', interfaces({ ...away, card: 'enp7s0' }))
        host.machine.cards = host.lan.cards(cards)
        writeFileSync(host.machine.path(file), interfaces())
        await host.machine.reboot()
        await host.quiet()
        await host.save('away', interfaces(away))
        await host.save('both', interfaces({ lines: [`address ${away.address}/24`] }))
        await host.save('broken', `${interfaces(away)}\niface\n\tthis is no option at all {\n`)
        await host.save('dhcp', interfaces({ method: 'dhcp' }))
        const second = 'iface enp2s0 inet static\n\taddress 192.0.2.9/24\n'
        await host.save('two', `${interfaces(away)}\n${second}`)
        await host.settle(interfaces())
        await host.machine.shutDown()
        await host.machine.keep()
        await host.machine.boot()
        await remember()
    }, 300_000)
    afterAll(async () => {
        console.log(
            `reached again (window ${short} s, ${graceSeconds} s more allowed):\n${measured.join('\n')}`,
        )
        await host?.destroy()
    }, 120_000)

    let broken = false

    /** One test on the machine at home; one that failed leaves it in no known state, so it is made anew. */
    const step = (what: string, window: number, run: () => Promise<void>, seconds = 150) =>
        test(
            what,
            async () => {
                if (broken) {
                    await host.machine.reset()
                    host.machine.cards = host.lan.cards(cards)
                    host.windowSeconds = long
                    await host.machine.boot()
                    await remember()
                }
                broken = true
                try {
                    if (host.windowSeconds !== window) {
                        await host.wait(window)
                        await remember()
                    }
                    await run()
                    await host.endSessions()
                    broken = false
                } catch (error) {
                    console.log(`--- ${what}: journal of the machine\n${await host.told().catch(String)}`)
                    await host.endSessions()
                    throw error
                }
            },
            seconds * 1000,
        )

    const remember = async () => {
        await host.quiet()
        before = await host.look()
        addresses = await host.addresses()
    }
    const goHome = async (text = interfaces()) => {
        await host.settle(text)
        await remember()
    }
    /** Installing the package touches directories of its own. */
    const asBefore = async (what = 'as before', ours = /^$/) => {
        const changed = await host.changedSince(before)
        expect(
            changed.filter(line => !ours.test(line)),
            what,
        ).toEqual([])
        expect(await host.addresses(), what).toEqual(addresses)
        await host.machine.until(
            15,
            'the units of the guard are gone',
            async () => (await host.remains()).length === 0,
        )
        expect(host.leftovers(), what).toEqual([])
    }
    /** A change that died before the new network was complete is undone as a whole: it failed. */
    const explained = async (change: string, complete = true) => {
        await host.quiet()
        const end = await host.end(change)
        const [result, status] = complete ? ['rolled-back', 7] : ['failed', 1]
        expect(end).toMatchObject({ event: 'end', result, status })
        const summary = await host.change(change)
        expect(summary).toMatchObject({ state: 'done', result })
        expect(summary.left ?? []).toEqual([])
        expect(await host.ctl('history', change)).toMatch(
            complete ? /rolled.back/i : /taking back what was done/,
        )
        const shown = await host.status()
        expect(shown?.state).toBe('EXECUTED')
        expect(JSON.stringify(shown)).toContain(home.address)
    }
    const stays = async (change: string) => {
        await host.quiet()
        const { result, status } = await host.end(change)
        expect(['ok', 'warning'], result).toContain(result)
        expect([0, 6]).toContain(status)
        expect(content()).toContain(away.address)
        expect(await host.lan.reaches(host.machine, away.address)).toBe(true)
        await host.machine.until(
            15,
            'the units of the guard are gone',
            async () => (await host.remains()).length === 0,
        )
    }
    const content = (path = file) => readFileSync(host.machine.path(path), 'utf8')
    const console_ = (...argv: string[]) => host.machine.run(['proxsavectl', ...argv])

    /** Restores a network, does something to the machine while the guard is armed, and waits until it is back. */
    async function lost(
        what: string,
        meanwhile: (guard: string) => Promise<void> = async () => {},
        name = 'away',
    ): Promise<{ guard: string; change: string; seconds: number }> {
        const { guard, change, session } = await host.arm(name)
        const armed = performance.now()
        const cut = (async () => {
            await meanwhile(guard)
        })()
        const [back] = await Promise.all([host.returns(guard, armed), cut])
        measured.push(`${what}: ${(back / 1000).toFixed(1)} s`)
        expect(back / 1000).toBeLessThan(host.windowSeconds + graceSeconds)
        await session.end()
        return { guard, change, seconds: back / 1000 }
    }

    step(
        'the bed: an address that is taken away loses the machine, and a reboot has it again',
        long,
        async () => {
            const { lan, machine } = host
            expect(await lan.reaches(machine, home.address)).toBe(true)
            writeFileSync(machine.path(file), interfaces(away))
            await machine.must(['ifreload', '-a'])
            expect(await lan.reaches(machine, home.address)).toBe(false)
            expect(await lan.reaches(machine, away.address)).toBe(true)
            await goHome()
            await machine.reboot()
            expect(await lan.reaches(machine, home.address)).toBe(true)
            expect(await host.addresses()).toEqual(addresses)
        },
    )

    // --- nothing without a yes -----------------------------------------------------------------------------------------

    step('network.apply not answered: /etc stays, and a copy is kept', long, async () => {
        const without = host.restoring('away').filter(word => word !== 'network.apply=yes')
        const argv = without.filter((word, number) => !(word === '--answer' && number === without.length - 1))
        const ran = await host.machine.run([...argv, '--json'])
        expect([0, 6], ran.stdout + ran.stderr).toContain(ran.status)
        await asBefore()
        expect(await host.lan.reaches(host.machine, home.address)).toBe(true)
        const exports = host.machine.path(`${state}/exports`)
        const kept = readdirSync(exports, { recursive: true, encoding: 'utf8' })
            .filter(path => path.endsWith('/interfaces'))
            .map(path => readFileSync(join(exports, path), 'utf8'))
        expect(kept.some(text => text.includes(away.address))).toBe(true)
    })

    step('network.commit cannot be answered ahead', long, async () => {
        const ids = host.ids()
        const ran = await host.machine.run(host.restoring('away', '--answer', 'network.commit=COMMIT'))
        expect(ran.status, ran.stdout + ran.stderr).toBe(2)
        expect(host.ids()).toEqual(ids)
        await asBefore()
    })

    step('a syntax error: returned before anything is armed', long, async () => {
        const known = host.guards()
        const ran = await host.machine.run(host.restoring('broken'))
        expect(ran.status, ran.stdout + ran.stderr).toBe(6)
        expect(host.guards().filter(guard => !known.includes(guard) && host.has(guard, 'executed'))).toEqual(
            [],
        )
        expect(ran.stdout + ran.stderr).toMatch(/interfaces/)
        await asBefore()
        expect(await host.lan.reaches(host.machine, home.address)).toBe(true)
    })

    // --- and it comes back by itself -------------------------------------------------------------------------------------

    step('the connection dies, and the machine is back where it was', short, async () => {
        const { change } = await lost('nothing more', async guard => {
            await host.applied(guard)
            expect(await host.lan.reaches(host.machine, home.address)).toBe(false)
            expect(await host.lan.reaches(host.machine, away.address)).toBe(true)
            const status = await host.status()
            expect(status?.state).toBe('ARMED')
            expect(JSON.stringify(status)).toContain(away.address)
        })
        await asBefore()
        await explained(change)
    })

    step('without a terminal it stays open for its whole window', short, async () => {
        const began = performance.now()
        const ran = await host.machine.run([...host.restoring('away'), '--json'])
        expect(ran.status, ran.stdout + ran.stderr).toBe(7)
        expect(performance.now() - began).toBeGreaterThan(short * 1000)
        const end = JSON.parse(ran.stdout.trimEnd().split('\n').at(-1)!) as { result: string; change: string }
        expect(end.result).toBe('rolled-back')
        await asBefore()
        await explained(end.change)
    })

    step('what loads the new network hangs: a DHCP client that nobody answers', short, async () => {
        const { change } = await lost('DHCP hangs', undefined, 'dhcp')
        await asBefore()
        await explained(change)
    })

    step('the daemon is killed, and so is each that follows', short, async () => {
        let kills = 0
        const { change } = await lost('daemon killed again and again', async guard => {
            await host.waits(guard)
            while (host.has(guard, 'armed')) {
                const daemon = await host.daemon().catch(() => 0)
                if (daemon !== 0) {
                    host.kill(daemon)
                    kills++
                }
                await Bun.sleep(100)
            }
        })
        console.log(`daemons killed: ${kills}`)
        expect(kills).toBeGreaterThan(2)
        await asBefore()
        await explained(change)
    })

    step('D-Bus is gone', short, async () => {
        const { change } = await lost('D-Bus stopped', async guard => {
            await host.waits(guard)
            await host.machine.must(['systemctl', 'stop', 'dbus.socket', 'dbus.service'])
        })
        expect((await host.machine.run(['systemctl', 'is-active', 'dbus.service'])).stdout.trim()).not.toBe(
            'active',
        )
        await host.machine.must(['systemctl', 'start', 'dbus.socket', 'dbus.service'])
        await asBefore()
        await explained(change)
    })

    step('rebooted while armed', long, async () => {
        const { change } = await lost('rebooted', async guard => {
            await host.waits(guard)
            await host.machine.reboot()
        })
        await asBefore()
        await explained(change)
    })

    step('killed hard while armed', long, async () => {
        const { change } = await lost('killed hard', async guard => {
            await host.waits(guard)
            await host.machine.cutPower()
            await host.machine.boot()
        })
        await asBefore()
        await explained(change)
    })

    step('killed hard in the moment of arming', long, async () => {
        const { change } = await lost('killed hard at once', async () => {
            await host.machine.cutPower()
            await host.machine.boot()
        })
        await asBefore()
        await explained(change, false)
    })

    // --- the clock is set ------------------------------------------------------------------------------------------------

    const hour = 3600
    /** Less than an hour, more than all that a test does (s). */
    const nearSeconds = 600

    /** How far ahead of the right time the program was when it wrote that (s). */
    const aheadOf = (time: unknown) => (Date.parse(String(time)) - Date.now()) / 1000
    const isAhead = (time: unknown, seconds: number, what: string) =>
        expect(Math.abs(aheadOf(time) - seconds), `${what}: ${time}`).toBeLessThan(nearSeconds)
    const written = (guard: string, name: string) =>
        (JSON.parse(readFileSync(host.at(guard, name), 'utf8')) as { time: string }).time

    /** Sets the clock of the program, which tells by then that its time of day jumped and the time left did not. */
    async function jump(clock: FakedClock, seconds: number): Promise<void> {
        const earlier = await host.status()
        clock.set(seconds)
        const later = await host.status()
        expect(later?.state).toBe('ARMED')
        isAhead(later?.deadline, seconds, 'the deadline as people read it')
        expect(Number(later?.secondsLeft)).toBeGreaterThan(0)
        expect(Number(later?.secondsLeft)).toBeLessThanOrEqual(Number(earlier?.secondsLeft))
    }

    step('the clock is set an hour forward, and later two hours back', medium, async () => {
        const clock = await FakedClock.give(host.machine)
        const { guard, change, seconds } = await lost('clock set forward and back', async guard => {
            const began = performance.now()
            await host.waits(guard)
            await jump(clock, hour)
            // By the watch of the test: the program is not asked how late it is.
            await host.machine.until(medium, 'most of the window is over', async () => {
                expect(host.has(guard, 'armed'), 'armed').toBe(true)
                return performance.now() - began > medium * 0.7 * 1000
            })
            await jump(clock, -hour)
        })
        expect(seconds).toBeGreaterThan(medium * 0.8)
        await asBefore()
        await explained(change)
        // The kept program, which systemd started, lived by that clock too.
        isAhead(written(guard, 'executed'), -hour, 'executed')
        await clock.takeAway()
        await remember()
    })

    step('confirmed in time, the clock set back in between: it stays', long, async () => {
        const clock = await FakedClock.give(host.machine)
        const { guard, change } = await host.arm('away')
        await host.waits(guard)
        await jump(clock, -hour)
        const ran = await host.lan.ssh(host.machine, away.address, 'proxsavectl commit')
        expect(ran.status, ran.stdout + ran.stderr).toBe(0)
        expect(host.has(guard, 'armed')).toBe(false)
        isAhead(written(guard, 'confirmed'), -hour, 'confirmed')
        await stays(change)
        await clock.takeAway()
        await goHome()
    })

    // --- changes that wait to be applied at the next boot ----------------------------------------------------------------

    step('interfaces.new was there, and is again', long, async () => {
        writeFileSync(host.machine.path(pending), interfaces({ address: third }))
        await host.machine.must(['chmod', '600', pending])
        before = await host.look()
        const { change } = await lost('interfaces.new', async guard => {
            await host.applied(guard)
            expect(existsSync(host.machine.path(pending))).toBe(false)
            writeFileSync(host.at(guard, 'rollback'), '')
        })
        await asBefore()
        await explained(change)
        rmSync(host.machine.path(pending))
        before = await host.look()
    })

    step(
        'interfaces.new made while armed does not win over the rollback at the next boot',
        long,
        async () => {
            const unit = [
                ...['[Unit]', 'DefaultDependencies=no', 'After=local-fs.target', 'Before=networking.service'],
                ...['[Service]', 'Type=oneshot', `ExecStart=-/usr/bin/mv ${pending} ${file}`],
                ...['[Install]', 'WantedBy=multi-user.target', ''],
            ]
            writeFileSync(host.machine.path('/etc/systemd/system/pvenetcommit.service'), unit.join('\n'))
            await host.machine.must(['systemctl', 'enable', '--quiet', 'pvenetcommit.service'])
            before = await host.look()
            const { change } = await lost('interfaces.new while armed', async guard => {
                await host.waits(guard)
                writeFileSync(host.machine.path(pending), interfaces({ address: third }))
                await host.machine.reboot()
            })
            await asBefore()
            await explained(change)
            await host.machine.must(['systemctl', 'disable', '--quiet', 'pvenetcommit.service'])
            rmSync(host.machine.path('/etc/systemd/system/pvenetcommit.service'))
            await remember()
        },
    )

    // --- the package -------------------------------------------------------------------------------------------------------

    const installed = /^"(proxsave|apt\/apt\.conf\.d)": mtime /
    const deb = `/var/tmp/${basename(packagePath())}`

    /** Once nothing is under way any more, the daemon makes room for the one of the package. */
    step('the package is installed again', short, async () => {
        const daemon = await host.daemon()
        const { change } = await lost('package installed again', async () => {
            await host.machine.must(['dpkg', '--install', deb])
        })
        await host.recovered(daemon)
        await asBefore('as before', installed)
        await explained(change)
        await remember()
    })

    step('the package is half replaced', short, async () => {
        const daemon = await host.daemon()
        const { change } = await lost('package half replaced', async () => {
            await host.machine.must(['dpkg', '--unpack', deb])
            rmSync(host.machine.path('/usr/lib/proxsave/proxsave'))
        })
        await host.machine.must(['dpkg', '--install', deb])
        await host.recovered(daemon)
        await asBefore('as before', installed)
        await explained(change)
        await remember()
    })

    step('the package is half replaced, and the power is cut', long, async () => {
        const { change } = await lost('half replaced and power cut', async guard => {
            await host.waits(guard)
            await host.machine.must(['dpkg', '--unpack', deb])
            rmSync(host.machine.path('/usr/lib/proxsave/proxsave'))
            await host.machine.cutPower()
            await host.machine.boot()
        })
        await host.machine.must(['dpkg', '--install', deb])
        await asBefore('as before', installed)
        await explained(change)
        await remember()
    })

    // --- from the console ----------------------------------------------------------------------------------------------------

    step('a marker file rolls back', long, async () => {
        const { change } = await lost('touch rollback', async guard => {
            await host.applied(guard)
            await host.machine.must(['touch', `${state}/guard/${guard}/rollback`])
        })
        await asBefore()
        await explained(change)
    })

    step('a marker file confirms', long, async () => {
        const { guard, change } = await host.arm('away')
        await host.applied(guard)
        await host.machine.must(['touch', `${state}/guard/${guard}/commit`])
        await poll(
            15,
            () => `${guard} stays armed`,
            () => !host.has(guard, 'armed'),
        )
        await stays(change)
        await goHome()
    })

    step('armed removed by hand: DISARMED, and the new network stays', long, async () => {
        const { guard, change } = await host.arm('away')
        await host.applied(guard)
        await host.machine.must(['rm', `${state}/guard/${guard}/armed`])
        await host.machine.until(15, 'DISARMED', async () => (await host.status())?.state === 'DISARMED')
        const status = JSON.stringify(await host.status())
        expect(status).toContain(away.address)
        await stays(change)
        await goHome()
    })

    step('Ctrl+C shows where the machine will be, and leaves the guard armed', short, async () => {
        const known = host.guards()
        const session = host.login(host.restoring('both').join(' '), home.address, true)
        const guard = await host.armed(known, () => session.output)
        await host.applied(guard)
        await session.shows(/COMMIT/, 10)
        session.type('\x03')
        await session.ended
        const footer = session.output.slice(session.output.lastIndexOf('COMMIT'))
        expect(footer).toContain('ARMED')
        expect(session.output).toContain(home.address)
        expect(session.output).toMatch(/proxsavectl (attach|commit|rollback)/)
        expect(host.has(guard, 'armed')).toBe(true)
        await host.returns(guard)
        await asBefore()
        await explained(changeOf(guard))
    })

    // --- who may confirm -----------------------------------------------------------------------------------------------------

    step('an old session may not confirm, nor what it left behind; a new one may', long, async () => {
        const old = host.login('exec sh')
        old.type('echo here\n')
        await old.shows('here', 10)
        const { guard, change } = await host.arm('both')
        await host.applied(guard)
        old.type('proxsavectl commit; echo status=$?\n')
        await old.shows(/status=\d+/, 15)
        expect(old.output).not.toContain('status=0')
        console.log(`an old session is told:\n${old.output}`)
        old.type('setsid -f nohup sh -c "sleep 0.2; proxsavectl commit; echo left=\\$?" 2>&1\n')
        await old.shows(/left=\d+/, 15)
        expect(old.output).not.toContain('left=0')
        expect(host.has(guard, 'armed')).toBe(true)
        const ran = await host.lan.ssh(host.machine, home.address, 'proxsavectl commit')
        expect(ran.status, ran.stdout + ran.stderr).toBe(0)
        expect(host.has(guard, 'armed')).toBe(false)
        await stays(change)
        await goHome()
    })

    step('confirmed in time over a new connection, it stays, after a reboot too', long, async () => {
        const { guard, change } = await host.arm('away')
        await host.applied(guard)
        const ran = await host.lan.ssh(host.machine, away.address, 'proxsavectl commit')
        expect(ran.status, ran.stdout + ran.stderr).toBe(0)
        await stays(change)
        const confirmed = await host.look()
        const then = await host.addresses()
        await host.machine.reboot()
        expect(await host.lan.reaches(host.machine, away.address)).toBe(true)
        expect(await host.lan.reaches(host.machine, home.address)).toBe(false)
        expect(await host.changedSince(confirmed)).toEqual([])
        expect(await host.addresses()).toEqual(then)
        expect(host.has(guard, 'armed')).toBe(false)
        await goHome()
    })

    step('commit and rollback work without the daemon', long, async () => {
        const first = await host.arm('away')
        await host.waits(first.guard)
        await host.machine.must(['systemctl', 'stop', 'proxsave'])
        const committed = await host.lan.ssh(host.machine, away.address, 'proxsavectl commit')
        expect(committed.status, committed.stdout + committed.stderr).toBe(0)
        expect(host.has(first.guard, 'armed')).toBe(false)
        await host.machine.must(['systemctl', 'start', 'proxsave'])
        await stays(first.change)
        await goHome()

        const second = await host.arm('away')
        await host.waits(second.guard)
        await host.machine.must(['systemctl', 'stop', 'proxsave'])
        const rolled = await console_('rollback')
        expect([0, 7], rolled.stdout + rolled.stderr).toContain(rolled.status)
        await host.returns(second.guard)
        await host.machine.must(['systemctl', 'start', 'proxsave'])
        await asBefore()
        await explained(second.change)
    })

    // --- other cards ---------------------------------------------------------------------------------------------------------

    step('cards of other names: found by their addresses, comments left alone', long, async () => {
        const { change } = await lost(
            'renamed',
            async guard => {
                await host.applied(guard)
                expect(content()).toContain('bridge-ports enp1s0')
                expect(content()).toContain('# The upper socket is enp7s0.')
                expect(await host.lan.reaches(host.machine, away.address)).toBe(true)
                writeFileSync(host.at(guard, 'rollback'), '')
            },
            'renamed',
        )
        await asBefore()
        await explained(change)
    })

    step('cards that have changed places', long, async () => {
        const swapped = interfaces({ card: 'enp2s0' })
        await host.machine.shutDown()
        host.machine.cards = host.lan.cards(swappedCards)
        writeFileSync(host.machine.path(file), swapped)
        await host.machine.boot()
        await goHome(swapped)
        expect(await host.lan.reaches(host.machine, home.address)).toBe(true)
        const { change } = await lost(
            'swapped',
            async guard => {
                await host.applied(guard)
                expect(content()).toContain('bridge-ports enp2s0')
                expect(content()).toMatch(/iface enp1s0 inet static\n\s+address 192\.0\.2\.9/)
                expect(await host.lan.reaches(host.machine, away.address)).toBe(true)
                writeFileSync(host.at(guard, 'rollback'), '')
            },
            'two',
        )
        await asBefore()
        await explained(change)
        await host.machine.shutDown()
        host.machine.cards = host.lan.cards(cards)
        writeFileSync(host.machine.path(file), interfaces())
        await host.machine.boot()
        await goHome()
    })

    step('without a bridge, and to one', short, async () => {
        await goHome(interfaces({ bridge: false }))
        const { change } = await lost('address on the card, restored to a bridge')
        await asBefore()
        await explained(change)
    })
})
