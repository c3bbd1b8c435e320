/** One simulated history: a random change, a fault somewhere in it, perhaps another one in its recovery. */
import type { ChangeEvent, EndEvent } from '../../src/engine/change.ts'
import { Runner } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import { checkRecordedFirst, checkSettled, type Evidence } from './checker.ts'
import { SimClock } from './clock.ts'
import { SimDisk } from './disk.ts'
import { seeded } from './random.ts'
import { oldWorld, randomPlan, world, worldKinds } from './world.ts'

export interface Faults {
    /** The disk call at which it happens; 0 for never. */
    at: number
    kind: 'kill' | 'power' | 'ENOSPC' | 'EIO'
    forGood?: boolean
    /** Errors meet the state directory only. */
    state?: boolean
    /** A crash at this call of the recovery; 0 for none. */
    again?: number
    againKind?: 'kill' | 'power'
}

export interface Sabotage {
    /** Leaves out disk calls, to see the checker find it. */
    calls?: (call: string, path: string, bytes?: Uint8Array) => boolean
    /** Plays only faults of this kind. */
    only?: (faults: Faults) => boolean
}

/** Runs the history of this seed with these faults; throws what the checker finds. Resolves to the number of calls. */
export async function play(seed: number, faults: Faults, sabotage: Sabotage = {}): Promise<number> {
    const choices = seeded(seed)
    // Tears and lost writes differ with the place of the fault, the change itself does not.
    const random = seeded(seed * 7919 + faults.at * 31 + (faults.again ?? 0))
    const ids = seeded(seed + 1)
    const clock = new SimClock()
    const sim = new SimDisk(random)
    const old = oldWorld(choices)
    const plan = randomPlan(choices, old)
    const confirms = choices.chance(0.5)
    const undoes = choices.chance(0.3)
    sim.disk.mkdir('/state', 0o700)
    sim.disk.mkdir(world, 0o700)
    for (const [path, content] of Object.entries(old))
        if (content !== null) sim.disk.replace(path, Buffer.from(content), 0o600)

    const seen: ChangeEvent[] = []
    const told: EndEvent[] = []
    let runner: Runner
    const boot = () => {
        const { disk } = sim
        const kinds = worldKinds({ disk, cancel: change => booted.cancel(change, 'sim') })
        const booted = new Runner({ store: new Store(disk, '/state'), kinds, clock, random: ids.bytes })
        runner = booted
    }
    const evidence = (): Evidence => {
        const diskErred = faults.at > 0 && (faults.kind === 'ENOSPC' || faults.kind === 'EIO')
        return { tree: sim.tree(), plan, old, seen, told, diskErred }
    }
    /** Plays on until the promise settles: answers questions, or lets their time pass. */
    const until = async <T>(promise: Promise<T>): Promise<T> => {
        let settled = false
        const watched = promise.finally(() => {
            settled = true
        })
        watched.catch(() => {})
        for (let turn = 0; turn < 1000 && !settled; turn++) {
            await new Promise(resolve => setImmediate(resolve))
            const running = runner.running()
            if (running?.questions.length && confirms) {
                try {
                    runner.answer(running.summary.id, 'sim.commit', 'keep', 'root')
                } catch (error) {
                    if (!sim.dead && faults.kind !== 'ENOSPC' && faults.kind !== 'EIO') throw error
                    clock.advance(30_000)
                }
            } else if (!settled) clock.advance(30_000)
        }
        if (!settled) throw new Error('nothing goes on any more')
        return watched
    }
    const follow = async (id: string) => {
        for await (const event of runner.events(id))
            if (event.event !== 'progress' && !sim.dead) seen.push(event)
    }
    /** The program: a change, and perhaps its undo. */
    const program = async () => {
        await until(runner.recover())
        const run = async (id: string) => {
            const following = follow(id)
            following.catch(() => {})
            const end = await until(runner.wait(id))
            if (!sim.dead) told.push(end)
            await until(following)
            return end
        }
        const id = runner.start(plan)
        const end = await run(id)
        if (undoes && end.result === 'ok' && plan.tasks.some(task => task.kind !== 'sim.final'))
            await run(runner.undo(id, 'root'))
    }
    const crash = (kind: 'kill' | 'power') => {
        clock.forget()
        if (kind === 'kill') return sim.kill()
        sim.losePower()
        clock.reboot()
    }

    boot()
    sim.sabotage = sabotage.calls
    if (faults.at > 0) {
        const what = faults.kind === 'kill' || faults.kind === 'power' ? 'crash' : faults.kind
        sim.inject({ at: faults.at, what, forGood: faults.forGood, below: faults.state ? '/state' : '/' })
    } else sim.inject(undefined)
    try {
        await program()
    } catch (error) {
        if (!sim.dead && faults.at === 0) throw error
    }
    const { calls } = sim
    // A disk that works again: the same process closes the story, when somebody wants to start the next change.
    if (faults.at > 0 && !sim.dead && choices.chance(0.5)) {
        sim.inject(undefined)
        try {
            runner!.start({ ...plan, pivot: 'none' })
        } catch {
            // That plan is refused at last; what comes before is the point.
        }
        await until(runner!.recover())
        if (runner!.unfinished().length > 0) throw new Error('something is unfinished, and the disk works')
    }
    if (faults.at === 0) {
        checkSettled(evidence())
        return calls
    }
    crash(faults.kind === 'kill' || faults.kind === 'EIO' ? 'kill' : 'power')
    checkRecordedFirst(evidence())
    boot()
    if (faults.again) {
        sim.inject({ at: faults.again, what: 'crash' })
        await until(runner!.recover()).catch(() => {})
        crash(faults.againKind ?? 'power')
        boot()
    }
    sim.inject(undefined)
    await until(runner!.recover())
    checkSettled(evidence())
    if (runner!.unfinished().length > 0) throw new Error('something is unfinished')
    return calls
}
