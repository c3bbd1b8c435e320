/**
 * Guarded changes in which processes die, or disks fail, at every call that changes something; then the daemon recovers, or
 * the timer fires first, or the machine is started anew; and again in that. PROXSAVE_SIM sets the number of histories,
 * PROXSAVE_SIM_SEED the first seed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { isRoot } from '../backup/lab.ts'
import type { Trouble } from '../guard/process.ts'
import { GuardWorld } from '../guard/world.ts'
import { type History, play, randomHistory } from './guards.ts'
import { type Random, seeded } from './random.ts'

if (!isRoot) console.log('skip: guarded changes need root')

const wanted = Number(process.env.PROXSAVE_SIM ?? 300)
const firstSeed = Number(process.env.PROXSAVE_SIM_SEED ?? Math.floor(Math.random() * 1e6))

const crash = (at: number): Trouble => ({ kind: 'crash', at })

/** All that one seed is played with: about as many crashes at the daemon as at the rollback, and some failing disks. */
function* historiesFor(
    random: Random,
    base: History,
    { daemonCalls, rollbackCalls }: { daemonCalls: number; rollbackCalls: number },
): Generator<History> {
    const next = () => random.pick(['recover', 'timer', 'boot', 'late boot'] as const)
    const again = () =>
        random.chance(0.5)
            ? {}
            : {
                  again: {
                      follows: next(),
                      ...(random.chance(0.5)
                          ? { daemon: crash(1 + random.int(60)) }
                          : { rollback: crash(1 + random.int(Math.max(20, rollbackCalls))) }),
                  },
              }
    for (let tries = 0; tries < 10; tries++)
        yield { ...base, follows: next(), daemon: crash(1 + random.int(daemonCalls)), ...again() }
    for (let tries = 0; rollbackCalls > 0 && tries < 5; tries++) {
        const rollback = crash(1 + random.int(rollbackCalls))
        yield { ...base, follows: next(), rollback }
        // The daemon dies behind its question, and the timer's rollback meets the trouble.
        yield { ...base, follows: 'timer', daemon: crash(daemonCalls), again: { rollback, follows: next() } }
    }
    for (let tries = 0; tries < 4; tries++) {
        const code = random.pick(['ENOSPC', 'EIO'] as const)
        const forGood = random.chance(0.5)
        const fail = (calls: number): Trouble => ({
            kind: 'fail',
            at: 1 + random.int(Math.max(1, calls)),
            code,
            forGood,
        })
        if (rollbackCalls > 0 && random.chance(0.4)) yield { ...base, rollback: fail(rollbackCalls) }
        else yield { ...base, daemon: fail(daemonCalls) }
    }
}

describe.if(isRoot)('guards in trouble', () => {
    let world: GuardWorld
    beforeAll(() => {
        world = new GuardWorld()
    })
    afterAll(() => world.end())

    test(
        'every history ends whole, explained, and as it was decided',
        async () => {
            const counts = { histories: 0, met: 0, old: 0, new: 0 }
            const kinds = new Map<string, number>()
            for (let seed = firstSeed; counts.histories < wanted; seed++) {
                const random = seeded(seed)
                const plain = randomHistory(random)
                let history: History = plain
                try {
                    const calm = await play(world, plain)
                    counts.histories++
                    for (history of historiesFor(random, plain, calm)) {
                        const { met, new: isNew } = await play(world, history)
                        counts.histories++
                        if (met) counts.met++
                        counts[isNew.length > 0 ? 'new' : 'old']++
                        const trouble = history.daemon ?? history.rollback
                        const key = `${trouble?.kind} of the ${history.daemon ? 'daemon' : 'rollback'}`
                        kinds.set(key, (kinds.get(key) ?? 0) + 1)
                        if (counts.histories >= wanted) break
                    }
                } catch (error) {
                    throw new Error(`seed ${seed} ${JSON.stringify(history)}: ${(error as Error).message}`)
                }
            }
            const told = [...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ')
            console.log(
                `guards: ${counts.histories} histories from seed ${firstSeed}, ${counts.met} met trouble (${told}); ended old ${counts.old}, new ${counts.new}`,
            )
            expect(counts.met).toBeGreaterThan(counts.histories / 2)
            expect(Math.min(counts.old, counts.new)).toBeGreaterThan(0)
        },
        60_000 + wanted * 500,
    )
})
