/**
 * One history of a guarded change, or of the undo of one: people who confirm or do not, processes that die at a call, disks
 * that fail, timers that fire and machines that are started anew; and then a judge who knows only what lies on the disk.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { areaById } from '../../src/catalog/areas.ts'
import { checkForward } from '../guard/order.ts'
import type { Trouble } from '../guard/process.ts'
import { describe, type Guarded, type GuardWorld, guardedAreas, homes, temporaries } from '../guard/world.ts'
import { checkWhole, endOf, readStories, type Story } from './checker.ts'
import type { Random } from './random.ts'

export type Policy = 'commit' | 'nobody' | 'rollback' | 'marker commit' | 'marker rollback' | 'ssh only'
export type Then = 'recover' | 'timer' | 'boot' | 'late boot'

export interface History {
    areas: Guarded[]
    policy: Policy
    /** The change, or the undo of one that was confirmed. */
    phase: 'change' | 'undo'
    /** What the daemon meets, and the first rollback. */
    daemon?: Trouble
    rollback?: Trouble
    /** What happens once the daemon is gone. */
    follows: Then
    /** What the next daemon and the next rollback meet, and what happens then. */
    again?: { daemon?: Trouble; rollback?: Trouble; follows: Then }
}

const timeoutMs = 20_000
const policies: Policy[] = ['commit', 'nobody', 'rollback', 'marker commit', 'marker rollback', 'ssh only']
const thens: Then[] = ['recover', 'timer', 'boot', 'late boot']

export function randomHistory(random: Random): Omit<History, 'daemon' | 'rollback' | 'again'> {
    const both = random.chance(0.35)
    const areas: Guarded[] = both ? ['ssh', 'network'] : [random.pick(guardedAreas)]
    const phase = random.chance(0.25) ? 'undo' : 'change'
    return {
        areas,
        phase,
        policy: random.chance(0.4) ? 'commit' : random.pick(policies),
        follows: random.pick(thens),
    }
}

export interface Played {
    /** Calls that change something: of the first daemon, behind the start of what is looked at, and of the first rollback. */
    daemonCalls: number
    rollbackCalls: number
    /** A trouble was met. */
    met: boolean
    new: Guarded[]
}

/** Plays it on the world, which begins anew. Throws for whatever is not good. */
export async function play(world: GuardWorld, history: History): Promise<Played> {
    world.begin()
    const { areas, policy, phase } = history
    const old = new Map(areas.map(area => [area, describeArea(world, area)]))
    const promised = new Set<Guarded>()
    let change: string | undefined
    if (phase === 'undo') {
        world.person = world.confirming()
        const end = await world.change(world.plan(areas, timeoutMs))
        if (end?.result !== 'ok') throw new Error(`not even the change went well: ${JSON.stringify(end)}`)
        change = end.change
    }
    const confirmed = new Map(areas.map(area => [area, describeArea(world, area)]))
    world.told = []
    world.person = personOf(world, policy, areas, promised)
    world.rollbackTroubles = [history.rollback]
    let { process } = world.start()
    await world.driven(world.daemon!.recovered)
    const begun = process.count
    if (history.daemon !== undefined) process.meet({ ...history.daemon, at: history.daemon.at + begun })
    const first = process
    let failed = false
    try {
        const end =
            phase === 'change' ? await world.change(world.plan(areas, timeoutMs)) : await world.undo(change!)
        change ??= end?.change
    } catch (error) {
        // Its begin could not be written: it never was.
        if (history.daemon === undefined) throw error
        failed = true
    }
    const daemonCalls = process.count - begun
    const hasFailed = (history.daemon ?? history.rollback)?.kind === 'fail'
    if (hasFailed && !process.dead) {
        // A disk that refuses does so to all; then somebody mends it.
        await world.pass(60_000)
        process.kill()
        for (const one of world.rollbacks) one.mend()
    }
    if (first.dead) {
        let { follows } = history
        if (history.again !== undefined) {
            await happen(world, follows, history.again.rollback)
            ;({ process } = world.start(history.again.daemon))
            await world.driven(world.daemon!.recovered)
            if (process.dead) ({ follows } = history.again)
        }
        if (process.dead) await happen(world, follows)
        if (process.dead) {
            world.start()
            await world.driven(world.daemon!.recovered)
        }
    }
    await world.pass(400_000)
    // What somebody else left is swept by the next start.
    process.kill()
    world.start()
    await world.driven(world.daemon!.recovered)
    await world.pass(1_000)
    const met = first.met !== '' || world.rollbacks.some(one => one.met !== '')
    try {
        const isNew = judge(world, { history, old, confirmed, promised, failed })
        return { daemonCalls, rollbackCalls: world.rollbacks[0]?.count ?? 0, met, new: isNew }
    } catch (error) {
        const where = [first.met, ...world.rollbacks.map(one => one.met)].filter(Boolean).join(', ')
        throw new Error(`${(error as Error).message} (met ${where || 'nothing'})`)
    }
}

async function happen(world: GuardWorld, follows: Then, rollback?: Trouble): Promise<void> {
    world.rollbackTroubles = [rollback]
    if (follows === 'recover') await world.pass(1_000)
    else if (follows === 'timer') await world.pass(timeoutMs + 60_000)
    else {
        world.reboot()
        if (follows === 'boot') await world.driven(world.bootUnit())
        world.bootUp()
        await world.pass(1_000)
    }
}

function personOf(
    world: GuardWorld,
    policy: Policy,
    areas: readonly Guarded[],
    promised: Set<Guarded>,
): () => void {
    return () => {
        for (const area of areas) {
            const { commit } = areaById(area)
            if (world.open(commit) === undefined) continue
            const wanted = policy === 'ssh only' ? (area === 'ssh' ? 'commit' : 'nobody') : policy
            const marker = /^marker (.*)$/.exec(wanted)?.[1]
            const armed = world
                .guards()
                .find(guard => guard.id.includes(`-${area}`) && guard.state() === 'ARMED')
            if (marker !== undefined) {
                if (armed !== undefined && !armed.marked(marker as 'commit')) armed.mark(marker as 'commit')
            } else if (wanted === 'rollback') attempt(() => world.answer(commit, 'ROLLBACK'))
            else if (wanted === 'commit') {
                attempt(() => world.answer(commit, 'COMMIT'))
                // Whatever the answer said: once `armed` is gone it is confirmed, and stays so.
                if (armed?.state() === 'DISARMED') promised.add(area)
            }
        }
    }
}

function attempt(act: () => void): void {
    try {
        act()
    } catch {
        // The daemon died of it, or refused; the person will see.
    }
}

const describeArea = (world: GuardWorld, area: Guarded): string =>
    describe(join(world.root, homes[area])).join('\n')

/** The times of directories are those of the moment when new files came. */
const withoutTimes = (lines: string): string => lines.replaceAll(/^(\S* 4\d+ \d+:\d+) \d+/gm, '$1')

function judge(
    world: GuardWorld,
    given: {
        history: History
        old: Map<Guarded, string>
        confirmed: Map<Guarded, string>
        promised: Set<Guarded>
        failed: boolean
    },
): Guarded[] {
    const { history, old, confirmed, promised } = given
    const { areas, phase } = history
    const stories = storiesOf(world)
    const forward = stories.find(({ plan }) => plan.undoes === undefined)
    const undo = stories.find(({ plan }) => plan.undoes !== undefined)
    const fails = [history.daemon, history.rollback].some(trouble => trouble?.kind === 'fail')
    for (const story of stories) {
        checkWhole(story, new Map())
        const end = endOf(story)
        if (end.left !== undefined && !fails) throw new Error(`left: ${end.left.join('; ')}`)
    }
    const isNew: Guarded[] = []
    for (const area of areas) {
        // A disk that refused may have kept a second name of a file beside the guard.
        const told = (lines: string) => (fails ? lines.replaceAll(/ \d+ links /g, ' ') : lines)
        const now = told(describeArea(world, area))
        const state = last(forward, `${area}-confirm`)
        const taken = last(undo, `${area}-apply`)
        const expectNew = state === 'done' && taken !== 'undone'
        const isOld = now === told(old.get(area)!)
        // One that could not be finished is told as such, and is whole in any case.
        const unsure = fails && taken === 'undo-failed'
        if (isOld === expectNew && !unsure)
            throw new Error(
                `${area} is ${isOld ? 'old' : 'not old'}, and the journal says ${state}, ${taken}`,
            )
        if (!isOld) {
            isNew.push(area)
            if (phase === 'undo' && withoutTimes(now) !== withoutTimes(told(confirmed.get(area)!)))
                throw new Error(`${area} is neither as before nor as it was confirmed`)
            if (!isWholeNew(now, area)) throw new Error(`${area} is a mixture: ${now}`)
        }
        if (promised.has(area) && isOld !== (phase === 'undo'))
            throw new Error(`${area} was confirmed, and is ${isOld ? 'old' : 'new'}`)
        const loaded = world.loaded.get(area)
        world.load(area)
        if (loaded !== world.loaded.get(area)) throw new Error(`${area}: what runs is not what the files say`)
        // Who wrote first had armed first.
        const id = forward?.id
        const home = join(world.root, homes[area])
        const wrote = world.told!.some(
            ({ process, path }) => process.startsWith('daemon') && path.startsWith(`${home}/`),
        )
        if (wrote) {
            const guard = join(world.state, 'guard', `${id}-${area}${phase === 'undo' ? '-undo' : ''}`)
            checkForward(world.told!, { root: world.root, guard, home: homes[area] })
        }
    }
    if (forward !== undefined && phase === 'change') {
        const { result } = endOf(forward)
        if (result === 'ok' && isNew.length < areas.length) throw new Error('ok, and not all of it is there')
        if (result === 'cancelled') throw new Error('cancelled by nobody')
    }
    const open = stories.filter(({ events }) => events.at(-1)?.event !== 'end')
    if (open.length > 0) throw new Error(`not ended: ${open.map(({ id }) => id).join()}`)
    const left = [...temporaries(world.root), ...temporaries(world.state), ...leftovers(world, fails)]
    if (left.length > 0) throw new Error(`left behind: ${left.slice(0, 5).join(', ')}`)
    const timers = [...world.systemd.timers.keys()]
    if (timers.length > 0) throw new Error(`timers left: ${timers.join(', ')}`)
    return isNew
}

const wanted: Record<Guarded, RegExp[]> = {
    ssh: [/Port 2222/, /10-new.conf.*PermitRootLogin/],
    network: [/mtu 9000/, /\/interfaces.d\/new /, /"interfaces.d\/new"/, /if-up.d\/hook/],
}

const isWholeNew = (lines: string, area: Guarded): boolean =>
    wanted[area].every(pattern => pattern.test(lines)) && !lines.includes('/interfaces.d/gone')

function last(story: Story | undefined, task: string): string | undefined {
    const about = story?.events.filter(event => event.event === 'task' && event.task === task)
    return (about?.at(-1) as { state?: string } | undefined)?.state
}

const guardFiles = new Set([
    ...[
        'guard.json',
        'snapshot',
        'old-files',
        'after.json',
        'applied',
        'executed',
        'confirmed',
        'log',
        'lock',
    ],
    ...['appeared'],
])

/** A stage that could not be removed goes with the undo material. */
function leftovers(world: GuardWorld, fails: boolean): string[] {
    const found: string[] = []
    const guards = join(world.state, 'guard')
    for (const id of existsSync(guards) ? readdirSync(guards) : []) {
        if (id.endsWith('-undo')) found.push(`guard/${id}`)
        for (const name of readdirSync(join(guards, id)))
            if (!guardFiles.has(name)) found.push(`guard/${id}/${name}`)
    }
    const changes = join(world.state, 'changes')
    for (const id of existsSync(changes) ? readdirSync(changes) : [])
        if (!fails && existsSync(join(changes, id, 'undo/stage'))) found.push(`changes/${id}/undo/stage`)
    return found
}

function storiesOf(world: GuardWorld): Story[] {
    const tree = new Map<string, string>()
    const changes = join(world.state, 'changes')
    for (const id of existsSync(changes) ? readdirSync(changes) : []) {
        const journal = join(changes, id, 'journal')
        if (existsSync(journal)) tree.set(`/state/changes/${id}/journal`, readFileSync(journal, 'latin1'))
    }
    return readStories(tree)
}
