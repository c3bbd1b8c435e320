/**
 * Crashes at every disk call of random changes, power losses that lose and reorder what was not synced, failing disks,
 * and a second crash in the recovery. PROXSAVE_SIM sets the number of histories, PROXSAVE_SIM_SEED the first seed.
 */
import { expect, test } from 'bun:test'
import { type Faults, play, type Sabotage } from './scenario.ts'
import { seeded } from './random.ts'

const wanted = Number(process.env.PROXSAVE_SIM ?? 10_000)
const firstSeed = Number(process.env.PROXSAVE_SIM_SEED ?? 1)

/** All faults that one seed is played with, given how many calls its change makes. */
function faultsFor(seed: number, calls: number): Faults[] {
    const random = seeded(seed ^ 0x5eed)
    const faults: Faults[] = []
    for (let at = 1; at <= calls; at++) {
        for (const kind of ['kill', 'power'] as const) {
            faults.push({ at, kind })
            // A power loss behind a kill is the worst: it takes what the recovery believed to be there.
            const againKind = random.chance(0.75) ? 'power' : 'kill'
            faults.push({ at, kind, again: 1 + random.int(25), againKind })
        }
        const kind = random.pick(['ENOSPC', 'EIO'] as const)
        faults.push({ at, kind, forGood: random.chance(0.5), state: random.chance(0.5) })
    }
    return faults
}

async function playMany(
    count: number,
    seed: number,
    sabotage?: Sabotage,
): Promise<{ played: number; fault?: string }> {
    let played = 0
    for (; played < count; seed++) {
        let faults: Faults = { at: 0, kind: 'kill' }
        try {
            const calls = await play(seed, faults, sabotage)
            played++
            for (faults of faultsFor(seed, calls)) {
                if (sabotage?.only?.(faults) === false) continue
                await play(seed, faults, sabotage)
                if (++played >= count) break
            }
        } catch (error) {
            return { played, fault: `seed ${seed} ${JSON.stringify(faults)}: ${(error as Error).message}` }
        }
    }
    return { played }
}

test(
    'every history ends whole and explained',
    async () => {
        const { played, fault } = await playMany(wanted, firstSeed)
        console.log(
            `crash simulation: ${played} histories from seed ${firstSeed}${fault ? `; FAILED ${fault}` : ''}`,
        )
        expect(fault).toBeUndefined()
    },
    20_000 + wanted * 10,
)

/** The checker is only worth what it finds: with a safety step taken out, some history must fail. */
const sabotages: [name: string, sabotage: Sabotage][] = [
    ['the sync of the journal', { calls: (call, path) => call === 'fsync' && path.endsWith('/journal') }],
    [
        'the sync of what a task remembers',
        { calls: (call, path) => call === 'fsync' && path.includes('/.remembered') },
    ],
    ['the sync of directories', { calls: call => call === 'syncDirectory' }],
    [
        'the sync of what a killed process left',
        {
            calls: call => call === 'syncFileSystem',
            only: ({ kind, againKind }) => kind === 'kill' && againKind === 'power',
        },
    ],
    [
        'the record that a task begins',
        {
            calls: (call, _, bytes) =>
                call === 'write' && bytes !== undefined && Buffer.from(bytes).includes('"state":"doing"'),
        },
    ],
    [
        'the removal of unfinished copies',
        { calls: (call, path) => call === 'unlink' && path.endsWith('.tmp') },
    ],
    ['cutting off a torn record', { calls: call => call === 'truncate' }],
]

for (const [name, sabotage] of sabotages)
    test(`a history fails without ${name}`, async () => {
        const { fault } = await playMany(6_000, 1, sabotage)
        expect(fault).toBeDefined()
    }, 60_000)
