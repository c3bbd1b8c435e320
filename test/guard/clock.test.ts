/** Deadlines only follow the clock of the boot: a wall clock that is set, summer time and suspend do not move them. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { isRoot } from '../backup/lab.ts'
import { seeded } from '../sim/random.ts'
import { describe, GuardWorld } from './world.ts'

const wanted = Number(process.env.PROXSAVE_CLOCKS ?? 200)
const seed = Number(process.env.PROXSAVE_SIM_SEED ?? Math.floor(Math.random() * 1e6))
if (!isRoot) console.log('skip: guarded changes need root')

let world: GuardWorld
beforeAll(() => {
    world = new GuardWorld()
})
afterAll(() => world.end())

const hour = 3_600_000

test.if(isRoot)(
    'a guard returns at its deadline, and can be confirmed until then, whatever happens to the clocks',
    async () => {
        const random = seeded(seed)
        const ends = { returned: 0, confirmed: 0, slept: 0 }
        for (let round = 0; round < wanted; round++) {
            world.begin()
            // Before the night in which the clock is set back, or forward.
            world.clock.wall = Date.parse(
                random.pick(['2026-10-25T00:59:50Z', '2026-03-29T00:59:50Z', '2026-11-20T02:30:00Z']),
            )
            const before = describe(world.root)
            const timeoutMs = random.pick([10_000, 60_000, 180_000])
            const confirms = random.chance(0.3)
            const alone = random.chance(0.4)
            const { runner, recovered } = world.start()
            await world.driven(recovered)
            const id = runner.start(world.plan(['network'], timeoutMs), {
                answers: { 'network.apply': 'yes' },
            })
            const what = `round ${round} of seed ${seed}`
            if (!(await world.until(() => world.open('network.commit') !== undefined, 5_000)))
                throw new Error(what)
            const guard = world.guard(id, 'network')
            const { deadlineMs } = guard.armed()!
            // Without the daemon the timer of systemd does it.
            if (alone) world.daemon!.process.kill()
            let slept = false
            const troubles = 1 + random.int(3)
            for (let trouble = 0; trouble < troubles; trouble++) {
                const left = deadlineMs - world.clock.bootMs()
                await world.pass(random.int(Math.max(1, Math.floor(left / (troubles + 1)))))
                const kind = random.pick(['step', 'summer time', 'suspend'])
                if (kind === 'step') world.clock.wall += random.pick([-hour, hour, -24 * hour, 1000 * hour])
                else if (kind === 'summer time') world.clock.wall += random.pick([-hour, hour])
                else {
                    slept = true
                    world.clock.suspend(random.int(timeoutMs))
                }
                await world.quiet()
            }
            const early = world.clock.bootMs() < deadlineMs
            if (early && guard.state() !== 'ARMED') throw new Error(`${what}: it returned before its time`)
            if (confirms && early && !alone) {
                world.answer('network.commit', 'COMMIT')
                await world.driven(runner.wait(id))
                if (guard.state() !== 'DISARMED') throw new Error(`${what}: it was confirmed in time`)
                await world.pass(2 * timeoutMs)
                expect(world.read('etc/network/interfaces')).toContain('mtu 9000')
                ends.confirmed++
                continue
            }
            // A timer of systemd sleeps with the machine; the daemon sees when it wakes.
            const lateMs = alone && slept ? troubles * timeoutMs + 2_000 : 2_000
            const left = Math.max(0, deadlineMs - world.clock.bootMs())
            await world.pass(left + lateMs)
            if (guard.state() !== 'EXECUTED') throw new Error(`${what}: ${guard.state()} behind its time`)
            if (alone) await world.driven(world.start().recovered)
            else await world.driven(runner.wait(id))
            const now = describe(world.root)
            if (now.join() !== before.join()) throw new Error(`${what}: not as before`)
            ends[slept ? 'slept' : 'returned']++
        }
        console.log(`clocks: ${wanted} guards from seed ${seed}: ${JSON.stringify(ends)}`)
        expect(Math.min(ends.returned, ends.confirmed, ends.slept)).toBeGreaterThan(0)
    },
    60_000 + wanted * 500,
)
