/** Whole guarded changes on a real tree with a simulated clock and service manager: every way in which they can end. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { join } from 'node:path'
import type { EndEvent } from '../../src/engine/change.ts'
import { tryHold } from '../../src/engine/lock.ts'
import { disarm } from '../../src/guard/decide.ts'
import { rollBackNow } from '../../src/guard/fire.ts'
import { GuardDirectory } from '../../src/guard/record.ts'
import { isRoot } from '../backup/lab.ts'
import { Describer } from '../restore/describer.ts'
import { differences, type Tree } from '../vm/tree.ts'
import { checkBackward, checkForward } from './order.ts'
import { type Guarded, GuardWorld, guardedAreas, homes, temporaries } from './world.ts'

if (!isRoot) console.log('skip: guarded changes need root')

describe.if(isRoot)('a guarded change', () => {
    let world: GuardWorld
    let describer: Describer
    let before: Tree
    beforeAll(() => {
        world = new GuardWorld()
        describer = new Describer()
    })
    beforeEach(async () => {
        world.begin()
        before = await describer.describe(world.root)
    })
    afterEach(() => {
        world.daemon?.process.kill()
    })
    afterAll(async () => {
        await describer.end()
        world.end()
    })

    /** What differs from before, in everything but what `ignoring` says. */
    const changed = async (ignoring: string[] = []) =>
        differences(before, await describer.describe(world.root), { ignoring })

    /** All is as it was, and nothing is left behind. */
    async function expectOld(areas: readonly Guarded[] = guardedAreas): Promise<void> {
        expect(await changed()).toEqual([])
        await expectQuiet()
        for (const area of areas) expectLoaded(area)
    }

    async function expectQuiet(): Promise<void> {
        await world.pass(400_000)
        expect([...world.systemd.timers.keys()]).toEqual([])
        expect([...temporaries(world.root), ...temporaries(world.state)]).toEqual([])
        for (const guard of world.guards()) expect([guard.id, guard.state()]).not.toEqual([guard.id, 'ARMED'])
        for (const change of world.changes()) expect(change.state).toBe('done')
        for (const guard of world.guards())
            for (const name of ['proxsave', 'commit', 'rollback'])
                expect([name, fs.existsSync(guard.file(name))]).toEqual([name, false])
    }

    /** What runs is what the files say. */
    function expectLoaded(area: Guarded): void {
        const now = world.loaded.get(area)
        world.load(area)
        expect(now).toBe(world.loaded.get(area)!)
    }

    function expectNew(area: Guarded): void {
        if (area === 'ssh') {
            expect(world.read('etc/ssh/sshd_config')).toContain('2222')
            expect(world.read('etc/ssh/sshd_config.d/10-new.conf')).toBeDefined()
        } else {
            expect(world.read('etc/network/interfaces')).toContain('mtu 9000')
            expect(world.read('etc/network/interfaces.d/gone')).toBeUndefined()
            expect(world.read('etc/network/interfaces.d/new')).toBeDefined()
            expect(fs.readlinkSync(join(world.root, 'etc/network/linked'))).toBe('interfaces.d/new')
        }
        expectLoaded(area)
    }

    /** Begins a change and lets it come to the question of its area. */
    async function toQuestion(areas: Guarded[] = ['network'], timeoutMs = 180_000): Promise<string> {
        const { runner, recovered } = world.start()
        await world.driven(recovered)
        const id = runner.start(world.plan(areas, timeoutMs), {
            interactive: true,
            answers: { 'network.apply': 'yes' },
        })
        const asks = `${areas.at(0)}.commit`
        expect(await world.until(() => world.open(asks) !== undefined, 60_000)).toBe(true)
        return id
    }

    const endOf = (id: string): Promise<EndEvent | undefined> => world.driven(world.daemon!.runner.wait(id))

    describe('that is confirmed', () => {
        test('stays, with all of its metadata, and nothing of the guard runs on', async () => {
            world.told = []
            world.person = world.confirming()
            const end = await world.change(world.plan(['ssh', 'network']))
            expect([end?.result, end?.left]).toEqual(['ok', undefined])
            for (const area of guardedAreas) expectNew(area)
            await expectQuiet()
            for (const area of guardedAreas) {
                const guard = world.guard(end!.change, area)
                expect(guard.confirmed()?.by).toBe('somebody')
                const kept = fs.readdirSync(guard.record().diagnostics)
                expect(kept).toEqual(
                    expect.arrayContaining(['plan.json', 'before.health.json', 'after.health.json']),
                )
                expect(
                    checkForward(world.told, { root: world.root, guard: guard.path, home: homes[area] }),
                ).toBeGreaterThan(5)
            }
        })

        test('by the marker commit', async () => {
            const id = await toQuestion()
            fs.writeFileSync(world.guard(id, 'network').file('commit'), '')
            expect((await endOf(id))?.result).toBe('ok')
            expectNew('network')
            expect(world.guard(id, 'network').confirmed()?.by).toBe('a marker file')
            await expectQuiet()
        })

        test('by the removal of armed', async () => {
            const id = await toQuestion()
            fs.rmSync(world.guard(id, 'network').file('armed'))
            expect((await endOf(id))?.result).toBe('ok')
            expectNew('network')
            await expectQuiet()
        })

        test('leaves no second name of a file that it did not change', async () => {
            world.person = world.confirming()
            const plan = world.plan()
            for (const task of plan.tasks) {
                const params = task.params as { actions?: { path: string }[] }
                params.actions = params.actions?.filter(({ path }) => path !== 'etc/network/interfaces')
            }
            expect((await world.change(plan))?.result).toBe('ok')
            expect(fs.lstatSync(join(world.root, 'etc/network/interfaces')).nlink).toBe(1)
        })

        test('over a daemon that was started anew meanwhile', async () => {
            const id = await toQuestion()
            world.start()
            await world.until(() => world.open('network.commit') !== undefined)
            world.person = world.confirming()
            expect((await world.driven(world.daemon!.recovered))?.map(({ result }) => result)).toEqual(['ok'])
            expectNew('network')
            expect(world.guard(id, 'network').state()).toBe('DISARMED')
            await expectQuiet()
        })

        test('stays, whichever call fails behind the confirmation', async () => {
            let met = 0
            for (let at = 1; at <= 24; at++) {
                world.begin()
                before = await describer.describe(world.root)
                const id = await toQuestion()
                const { process } = world.daemon!
                process.failIn(at)
                try {
                    world.answer('network.commit', 'COMMIT')
                } catch {
                    // The journal refused, or the removal of armed: who asks again sees.
                }
                const isConfirmed = world.guard(id, 'network').state() === 'DISARMED'
                const end = await endOf(id)
                if (process.met !== '') met++
                if (!isConfirmed) continue
                expect([at, process.met, end?.result, end?.left]).toEqual([
                    ...[at, process.met],
                    expect.stringMatching(/^(ok|warning)$/),
                    undefined,
                ])
                expectNew('network')
            }
            expect(met).toBeGreaterThan(15)
        }, 20_000)

        test('is not confirmed by an answer while somebody holds the lock, and is by a later one', async () => {
            const id = await toQuestion()
            const lock = tryHold(world.guard(id, 'network').file('lock'))!
            expect(() => world.answer('network.commit', 'COMMIT')).toThrow('cannot commit')
            expect(world.guard(id, 'network').state()).toBe('ARMED')
            lock.release()
            world.answer('network.commit', 'COMMIT')
            expect((await endOf(id))?.result).toBe('ok')
            expectNew('network')
        })
    })

    describe('that is not confirmed', () => {
        test('returns at the deadline', async () => {
            world.told = []
            const end = await world.change(world.plan())
            expect([end?.result, end?.left]).toEqual(['rolled-back', undefined])
            expect(end?.error?.message).toContain('nobody confirmed it in time')
            const guard = world.guard(end!.change, 'network')
            expect(guard.executed()).toMatchObject({ why: 'deadline', problems: [] })
            checkBackward(world.told, { root: world.root, guard: guard.path, home: 'etc/network' })
            await expectOld()
        })

        test.each(['ROLLBACK', 'a marker'])('returns at once when asked to by %s', async how => {
            const id = await toQuestion()
            const asked = world.clock.bootMs()
            if (how === 'ROLLBACK') world.answer('network.commit', 'ROLLBACK')
            else fs.writeFileSync(world.guard(id, 'network').file('rollback'), '')
            const end = await endOf(id)
            expect(world.clock.bootMs() - asked).toBeLessThan(10_000)
            expect([end?.result, end?.error?.message]).toEqual([
                'rolled-back',
                expect.stringContaining('as asked'),
            ])
            await expectOld()
        })

        test('returns when it is told to although no marker can be written', async () => {
            const id = await toQuestion()
            const { runner, process } = world.daemon!
            const host = world.guardHost(process, runner)
            const guard = new GuardDirectory(process.disk, world.state, `${id}-network`)
            process.meet({ kind: 'fail', at: process.count + 1, code: 'ENOSPC', forGood: true })
            await world.driven(rollBackNow(host, guard, { log: () => undefined } as never))
            expect(guard.state()).toBe('EXECUTED')
            expect(await changed()).toEqual([])
        })

        test('returns although both markers are there', async () => {
            const id = await toQuestion()
            for (const name of ['commit', 'rollback'])
                fs.writeFileSync(world.guard(id, 'network').file(name), '')
            expect((await endOf(id))?.result).toBe('rolled-back')
            await expectOld()
        })

        test.each(['commit', 'both'])(
            'or has the marker %s when its timer fires while no daemon runs',
            async marker => {
                const id = await toQuestion()
                const guard = world.guard(id, 'network')
                world.daemon!.process.kill()
                fs.writeFileSync(guard.file('commit'), '')
                if (marker === 'both') fs.writeFileSync(guard.file('rollback'), '')
                await world.pass(300_000)
                expect(guard.state()).toBe(marker === 'both' ? 'EXECUTED' : 'DISARMED')
                const ends = await world.driven(world.start().recovered)
                if (marker === 'both') {
                    expect(ends?.map(({ result }) => result)).toEqual(['rolled-back'])
                    await expectOld()
                } else {
                    expect(ends?.map(({ result }) => result)).toEqual(['ok'])
                    expectNew('network')
                    await expectQuiet()
                }
            },
        )

        test.each([
            ['its unit is unknown', { startFails: undefined, gone: true }],
            ['its unit fails', { gone: false }],
            ['the bus is gone', { bus: true }],
        ])('returns by the kept program when %s', async (_why, how: { gone?: boolean; bus?: boolean }) => {
            const id = await toQuestion()
            const unit = `proxsave-rollback@${id}-network.service`
            for (const name of [...world.systemd.timers.keys()]) world.systemd.endTimer(name)
            if (how.bus) world.systemd.busLost = 1e9
            else if (how.gone) {
                world.systemd.template = () => undefined
                world.systemd.units.delete(unit)
            } else world.systemd.units.set(unit, { active: 'inactive', runs: async () => 'failed' })
            const end = await endOf(id)
            expect([end?.result, end?.left]).toEqual(['rolled-back', undefined])
            world.systemd.busLost = 0
            await expectOld()
        })

        test('leaves the other area as it was confirmed', async () => {
            world.person = world.confirming(['ssh'])
            const end = await world.change(world.plan(['ssh', 'network'], 20_000))
            expect([end?.result, end?.left]).toEqual(['rolled-back', undefined])
            expectNew('ssh')
            expectLoaded('network')
            expect((await changed()).filter(line => !line.includes('etc/ssh'))).toEqual([])
            await expectQuiet()
        })

        test('removes what appeared in a swept directory, and keeps its content', async () => {
            const id = await toQuestion()
            world.write('etc/network/interfaces.d/appeared', 'iface eth9 inet dhcp\n')
            const end = await endOf(id)
            expect(end?.result).toBe('rolled-back')
            await expectOld()
            const kept = join(world.guard(id, 'network').path, 'appeared/appeared')
            expect(fs.readFileSync(kept, 'utf8')).toBe('iface eth9 inet dhcp\n')
        })

        test('restores a swept directory that nothing else of the change lies in', async () => {
            const plan = world.plan()
            for (const task of plan.tasks) {
                const params = task.params as { actions?: { path: string }[] }
                params.actions = params.actions?.filter(({ path }) => path === 'etc/network/interfaces')
            }
            world.person = () => {
                if (world.open('network.commit') !== undefined)
                    world.write('etc/network/interfaces.d/appeared', 'iface eth9 inet dhcp\n')
            }
            expect((await world.change(plan))?.result).toBe('rolled-back')
            await expectOld()
        })

        test('removes interfaces.new that was created while armed', async () => {
            const id = await toQuestion()
            world.write('etc/network/interfaces.new', 'pending\n')
            expect((await endOf(id))?.result).toBe('rolled-back')
            await expectOld()
        })

        test('puts interfaces.new back that was taken away while armed', async () => {
            world.write('etc/network/interfaces.new', 'pending before\n')
            before = await describer.describe(world.root)
            const id = await toQuestion()
            fs.renameSync(
                join(world.root, 'etc/network/interfaces.new'),
                join(world.root, 'etc/network/interfaces'),
            )
            expect((await endOf(id))?.result).toBe('rolled-back')
            await expectOld()
        })
    })

    describe('that never comes to be applied', () => {
        test.each([
            ['no', 'no'],
            ['not at all', undefined],
        ])(
            'because network.apply is answered %s: the files are kept, and nothing is touched',
            async (_how, value) => {
                const { runner, recovered } = world.start()
                await world.driven(recovered)
                const id = runner.start(world.plan(), { interactive: true })
                await world.until(() => world.open('network.apply') !== undefined)
                if (value !== undefined) world.answer('network.apply', value)
                const end = await endOf(id)
                expect([end?.result, end?.left]).toEqual(['warning', undefined])
                expect(await changed()).toEqual([])
                const kept = join(world.state, 'exports/host/etc/network/interfaces')
                expect(fs.readFileSync(kept, 'utf8')).toContain('mtu 9000')
                expect(world.guards()).toEqual([])
                expect(world.systemd.calls.filter(call => /timer|run/.test(call))).toEqual([])
                // There is nothing of it to undo.
                expect((await world.undo(id))?.result).toBe('ok')
                await expectOld()
            },
        )

        test.each([
            ['our parser refuses it', { problems: ['line 3: what is that'], checks: [] }, []],
            [
                'the checker refuses it',
                { problems: [], checks: [{ title: 'check', argv: ['true'] as [string], timeoutMs: 5_000 }] },
                [{ result: 'failed' as const, status: 1, timedOut: false }],
            ],
            [
                'the checker hangs',
                { problems: [], checks: [{ title: 'check', argv: ['true'] as [string], timeoutMs: 5_000 }] },
                [{ result: 'failed' as const, timedOut: true }],
            ],
            [
                'the checker cannot be run',
                { problems: [], checks: [{ title: 'check', argv: ['true'] as [string], timeoutMs: 5_000 }] },
                ['throws' as const],
            ],
        ])('because %s', async (_why, checks, runs) => {
            world.checks = checks
            world.systemd.runs.push(...runs)
            const end = await world.change(world.plan())
            expect([end?.result, end?.left]).toEqual(['warning', undefined])
            const events = await world.events(end!.change)
            expect(JSON.stringify(events)).toContain('cannot apply the network')
            expect(world.guards()).toEqual([])
            await expectOld()
        })

        test.each([
            ['the timer cannot be started', 'fails'],
            ['nobody can tell whether the timer runs', 'lies'],
            ['the unit is missing', 'unit'],
            ['the bus is gone', 'bus'],
        ])('because %s: nothing is armed, nothing changed', async (_why, how) => {
            if (how === 'unit') world.systemd.template = () => undefined
            else if (how === 'bus') world.systemd.busLost = 1e9
            else world.systemd.timerFails = how as 'fails'
            world.told = []
            const end = await world.change(world.plan())
            expect([end?.result, end?.left]).toEqual(['warning', undefined])
            expect(world.told.filter(({ path }) => path.startsWith(`${world.root}/`))).toEqual([])
            expect(world.guards()).toEqual([])
            world.systemd.busLost = 0
            await expectOld()
        })

        test.each(['rolled back', 'disarmed by hand'])(
            'because it is %s between arming and the first file',
            async how => {
                world.told = []
                world.systemd.onCall = call => {
                    const [guard] = world.guards()
                    if (!call.startsWith('timer') || guard === undefined) return
                    if (how === 'rolled back')
                        guard.write('executed', { time: 'now', why: 'asked', problems: [] })
                    fs.rmSync(guard.file('armed'))
                }
                const end = await world.change(world.plan())
                expect([end?.result, end?.left]).toEqual([
                    how === 'rolled back' ? 'rolled-back' : 'warning',
                    undefined,
                ])
                expect(world.told.filter(({ path }) => path.startsWith(`${world.root}/`))).toEqual([])
            },
        )

        test('because a directory stands in the way of a file', async () => {
            fs.mkdirSync(join(world.root, 'etc/network/interfaces.d/new'))
            world.write('etc/network/interfaces.d/new/full', 'x')
            before = await describer.describe(world.root)
            const end = await world.change(world.plan())
            expect([end?.result, end?.left]).toEqual(['warning', undefined])
            await expectOld()
        })
    })

    describe('whose new state cannot be loaded', () => {
        test('falls back to the next way', async () => {
            world.commands.network = [
                ['true', 'first'],
                ['true', 'network'],
            ]
            world.systemd.runs.push({ result: 'failed', status: 3, timedOut: false })
            world.person = world.confirming()
            expect((await world.change(world.plan()))?.result).toBe('ok')
            expectNew('network')
        })

        test.each([
            [{ result: 'failed' as const, status: 1, timedOut: false }],
            [{ result: 'failed' as const, timedOut: true }],
            ['throws' as const],
        ])('asks all the same, says so, and returns unless it is confirmed: %p', async run => {
            world.systemd.runs.push(run)
            const id = await toQuestion()
            expect(world.open('network.commit')?.text).toContain('cannot load it')
            expect((await endOf(id))?.result).toBe('rolled-back')
            await expectOld()
        })

        test('leaves the last third of the window to the person, whatever is left to try', async () => {
            world.commands.network = [
                ['true', 'first'],
                ['true', 'network'],
            ]
            let mostMs = 0
            world.systemd.runs.push(async run => {
                mostMs = run.timeoutMs
                world.clock.advance(126_000)
                return { result: 'failed', timedOut: true }
            })
            await toQuestion()
            expect(world.open('network.commit')?.text).toContain('what is left of the window is for you')
            expect(world.systemd.calls.filter(call => call.includes('true network'))).toEqual([])
            expect(mostMs).toBeLessThanOrEqual(120_000)
        })

        test('tells when the old state cannot be loaded again', async () => {
            const id = await toQuestion()
            world.statuses = Array.from({ length: 50 }, () => 4)
            const end = await endOf(id)
            expect([end?.result, end?.error?.message]).toEqual([
                'rolled-back',
                expect.stringContaining('exit status 4'),
            ])
            expect(await changed()).toEqual([])
        })

        test('returns at the deadline while a command still hangs, and the next way is not begun', async () => {
            world.commands.network = [
                ['true', 'network'],
                ['true', 'second'],
            ]
            world.systemd.runs.push(
                () =>
                    new Promise(resolve =>
                        world.clock.after(200_000, () => resolve({ result: 'failed', timedOut: true })),
                    ),
            )
            const end = await world.change(world.plan(['network'], 20_000))
            expect([end?.result, end?.left]).toEqual(['rolled-back', undefined])
            expect(world.systemd.calls.filter(call => call.includes('second'))).toEqual([])
            await expectOld()
        })

        test('begins no other way while a rollback is at work', async () => {
            world.commands.network = [
                ['true', 'network'],
                ['true', 'second'],
            ]
            let rolling: Promise<unknown> = Promise.resolve()
            world.systemd.runs.push(async run => {
                // The rollback ends the unit first; it is still putting files back when that is seen.
                const id = /apply-(.*-network)/.exec(run.unit)![1]!
                world.rollbackTroubles.push({ kind: 'crash', at: 12 })
                rolling = world.rollback(id, 'asked')
                await rolling
                return { result: 'failed', timedOut: false }
            })
            const end = await world.change(world.plan())
            await rolling
            expect(end?.result).toBe('rolled-back')
            expect(world.systemd.calls.filter(call => call.includes('second'))).toEqual([])
            await expectOld()
        })
    })

    describe('that is decided while it is being applied', () => {
        test('by the removal of armed: it stays, and that is what is told', async () => {
            world.systemd.runs.push(async run => {
                for (const guard of world.guards()) fs.rmSync(guard.file('armed'))
                world.systemd.onRun(run)
                return { result: 'done' }
            })
            const end = await world.change(world.plan())
            expect([end?.result, end?.left]).toEqual(['ok', undefined])
            expectNew('network')
            await expectQuiet()
            world.person = world.confirming()
            expect((await world.undo(end!.change))?.result).toBe('ok')
            await expectOld()
        })

        test('by the removal of armed, and then the daemon dies: all of it is taken back', async () => {
            world.systemd.runs.push(async () => {
                for (const guard of world.guards()) fs.rmSync(guard.file('armed'))
                world.daemon!.process.kill()
                return { result: 'done' }
            })
            expect(await world.change(world.plan())).toBeUndefined()
            const ends = await world.driven(world.start().recovered)
            expect(ends?.map(({ result, left }) => [result, left])).toEqual([['failed', undefined]])
            await expectOld()
        })

        test('by a marker, and then the daemon dies: half of it is nothing to confirm', async () => {
            world.systemd.runs.push(async () => {
                for (const guard of world.guards()) guard.mark('commit')
                world.daemon!.process.kill()
                return { result: 'done' }
            })
            expect(await world.change(world.plan())).toBeUndefined()
            await world.pass(300_000)
            expect(world.guards().map(guard => guard.state())).toEqual(['EXECUTED'])
            await world.driven(world.start().recovered)
            await expectOld()
        })

        test('by a rollback that somebody asked for', async () => {
            world.systemd.runs.push(async run => {
                await world.rollback(/apply-(.*-network)/.exec(run.unit)![1]!, 'asked')
                return { result: 'failed', timedOut: false }
            })
            const end = await world.change(world.plan())
            expect([end?.result, end?.left]).toEqual(['rolled-back', undefined])
            await expectOld()
        })
    })

    describe('whose rollback is interrupted', () => {
        /** The timer fires while no daemon runs, and its rollback dies in the middle of the files. */
        async function half(): Promise<string> {
            const id = await toQuestion(['network'], 20_000)
            world.daemon!.process.kill()
            world.rollbackTroubles.push({ kind: 'crash', at: 22 })
            await world.until(() => world.rollbacks.length > 0 && world.rollbacks[0]!.dead)
            expect(await changed()).not.toEqual([])
            expect(fs.existsSync(join(world.root, 'etc/network/interfaces.d/gone'))).toBe(true)
            expect(world.guard(id, 'network').state()).toBe('ARMED')
            return id
        }

        test('cannot be confirmed any more, by a marker', async () => {
            const id = await half()
            fs.writeFileSync(world.guard(id, 'network').file('commit'), '')
            await world.pass(60_000)
            expect(world.guard(id, 'network').state()).toBe('EXECUTED')
            await world.driven(world.start().recovered)
            await expectOld()
        })

        test('cannot be confirmed any more, by an answer', async () => {
            const id = await half()
            const clock = { ...world.clock, timeZone: () => 'UTC' }
            expect(() => disarm(world.guard(id, 'network'), 'somebody', clock)).toThrow('cannot commit')
            expect(world.guard(id, 'network').state()).toBe('ARMED')
            world.start()
            await world.until(() => {
                if (world.open('network.commit') === undefined) return world.rollbacks.length > 1
                expect(() => world.answer('network.commit', 'COMMIT')).toThrow('cannot commit')
                return true
            }, 60_000)
            await world.driven(world.daemon!.recovered)
            expect(world.guard(id, 'network').state()).toBe('EXECUTED')
            await expectOld()
        })

        test('between executed and the removal of armed: a marker does not make it confirmed', async () => {
            const id = await toQuestion(['network'], 20_000)
            const guard = world.guard(id, 'network')
            world.daemon!.process.kill()
            guard.write('executed', { time: 'now', why: 'deadline', problems: [] })
            fs.writeFileSync(guard.file('commit'), '')
            await world.pass(60_000)
            expect([guard.state(), guard.confirmed()]).toEqual(['EXECUTED', undefined])
            await world.driven(world.start().recovered)
            await expectOld()
        })
    })

    describe('that is cancelled', () => {
        for (const verb of ['prepare', 'arm', 'apply'])
            test(`while ${verb} is at work: all returns`, async () => {
                const { runner, recovered } = world.start()
                await world.driven(recovered)
                const plan = world.plan()
                const id = runner.start(plan, { interactive: true })
                const task = `network-${verb}`
                let cancelled = false
                world.person = () => {
                    if (world.open('network.apply') === undefined) return
                    if (verb !== 'prepare') world.answer('network.apply', 'yes')
                    else if (!cancelled) runner.cancel(id, 'somebody')
                    cancelled ||= verb === 'prepare'
                }
                if (verb !== 'prepare') {
                    const needed = verb === 'arm' ? 'timer' : 'run proxsave-apply'
                    world.systemd.onCall = call => {
                        if (!cancelled && call.startsWith(needed)) {
                            cancelled = true
                            expect(runner.running()?.task?.id).toBe(task)
                            runner.cancel(id, 'somebody')
                        }
                    }
                }
                const end = await endOf(id)
                expect([cancelled, end?.result, end?.left]).toEqual([true, 'cancelled', undefined])
                await expectOld()
            })

        test('while it waits to be confirmed: it returns now', async () => {
            const id = await toQuestion()
            world.daemon!.runner.cancel(id, 'somebody')
            const end = await endOf(id)
            expect([end?.result, end?.left]).toEqual(['cancelled', undefined])
            await expectOld()
        })
    })

    describe('that a reboot interrupts', () => {
        test.each(['with', 'without'])('returns %s the boot unit having run', async how => {
            const id = await toQuestion()
            world.reboot()
            const loads = world.loaded.get('network')
            if (how === 'with') {
                await world.driven(world.bootUnit())
                // Nothing is loaded again: the network is not up yet.
                expect(world.loaded.get('network')).toBe(loads!)
                expect(world.guard(id, 'network').executed()?.why).toBe('boot')
                expect(await changed()).toEqual([])
            }
            world.bootUp()
            const ends = await world.driven(world.start().recovered)
            expect(ends?.map(({ result, left }) => [result, left])).toEqual([['rolled-back', undefined]])
            await expectOld()
        })

        test('is not touched by a boot unit that is started in the same boot', async () => {
            const id = await toQuestion()
            await world.driven(world.bootUnit())
            expect(world.guard(id, 'network').state()).toBe('ARMED')
            expect(await changed()).not.toEqual([])
        })

        test('cannot be confirmed behind it', async () => {
            const id = await toQuestion()
            world.reboot()
            world.bootUp()
            world.start()
            world.person = world.confirming()
            const ends = await world.driven(world.daemon!.recovered)
            expect(ends?.map(({ result }) => result)).toEqual(['rolled-back'])
            expect(world.guard(id, 'network').state()).toBe('EXECUTED')
            await expectOld()
        })
    })

    describe('that was confirmed and is undone', () => {
        let id: string
        beforeEach(async () => {
            world.person = world.confirming()
            id = (await world.change(world.plan(['ssh', 'network'], 20_000)))!.change
            expect(world.changes()[0]?.result).toBe('ok')
        })

        test('confirmed: all is as it was', async () => {
            world.told = []
            const end = await world.undo(id)
            expect([end?.result, end?.left]).toEqual(['ok', undefined])
            await expectOld()
            for (const area of guardedAreas)
                checkForward(world.told, {
                    root: world.root,
                    guard: `${world.guard(id, area).path}-undo`,
                    home: homes[area],
                })
            expect(() => world.daemon!.runner.planUndo(id, 'test')).toThrow('undone it already')
        })

        test('and its timer runs though nobody could tell: it can be tried again at once', async () => {
            world.systemd.timerFails = 'lies'
            const first = await world.undo(id)
            expect(first?.result).toBe('failed')
            for (const area of guardedAreas) expectNew(area)
            world.systemd.timerFails = 'no'
            expect((await world.undo(id))?.result).toBe('ok')
            await expectOld()
        })

        test('not confirmed: what was confirmed first stays, and it can be undone later', async () => {
            world.person = () => undefined
            const end = await world.undo(id)
            expect([end?.result, end?.left]).toEqual(['rolled-back', undefined])
            for (const area of guardedAreas) expectNew(area)
            await expectQuiet()
            world.person = world.confirming()
            expect((await world.undo(id))?.result).toBe('ok')
            await expectOld()
        })

        test.each(['keep', 'restore'])(
            'after it was edited, with undo.conflict answered %s',
            async answer => {
                const path = 'etc/network/interfaces'
                world.write(path, 'edited by hand\n')
                const end = await world.undo(id, { 'undo.conflict': answer })
                expect(['ok', 'warning']).toContain(end!.result)
                expect(world.read(path)).toContain(answer === 'keep' ? 'edited by hand' : '192.0.2.10')
                if (answer === 'restore') await expectOld()
                else expect((await changed()).filter(line => !line.startsWith(`"${path}"`))).toEqual([])
            },
        )

        test('asks before it removes an interfaces.new that somebody has made since', async () => {
            world.write('etc/network/interfaces.new', 'pending\n')
            const asked: string[] = []
            world.person = () => {
                const question = world.open('undo.conflict')
                if (question !== undefined) {
                    asked.push(question.text)
                    world.answer('undo.conflict', 'keep')
                }
                world.confirming()()
            }
            const end = await world.undo(id)
            expect(end?.left).toBeUndefined()
            expect(asked.join()).toContain('/etc/network/interfaces.new')
            expect(world.read('etc/network/interfaces.new')).toBe('pending\n')
        })

        test('the same answer does not confirm twice', async () => {
            // The daemon dies behind the confirmation of the undo, at each call until its end.
            let died = 0
            for (let at = 1; at < 80; at += 2) {
                world.begin()
                before = await describer.describe(world.root)
                world.person = world.confirming()
                id = (await world.change(world.plan(['network'], 20_000)))!.change
                const { runner } = world.daemon!
                const undo = runner.undo(id, 'test', { interactive: true })
                world.person = () => undefined
                await world.until(() => world.open('network.commit') !== undefined)
                const { process } = world.daemon!
                process.crashIn(at)
                try {
                    world.answer('network.commit', 'COMMIT')
                } catch {
                    // It died at once.
                }
                await world.driven(runner.wait(undo).catch(() => undefined))
                if (!process.dead) break
                died++
                await world.driven(world.start().recovered)
                const summary = world.changes().find(change => change.id === undo)
                if (summary?.result === 'ok') await expectOld(['network'])
                else {
                    expect(summary?.result).toBe('rolled-back')
                    expectNew('network')
                    await expectQuiet()
                }
            }
            expect(died).toBeGreaterThan(10)
        }, 30_000)
    })
})
