/**
 * `proxsave rollback`: puts back what a guard holds and loads it again. Needs the guard's directory, the files concerned and
 * the tools of the area, and nothing else: no daemon, no D-Bus, no network, no /tmp. May be killed at any point and run again.
 */
import { parseArgs } from 'node:util'
import { areaById } from '../catalog/areas.ts'
import { asFault, exitStatusOf, Fault } from '../core/errors.ts'
import type { Lock } from '../engine/lock.ts'
import { close } from '../host/libc.ts'
import { lockHolder } from '../host/lock-holder.ts'
import { breathing, type PlaceTree } from '../host/place.ts'
import { putBack } from '../host/put-back.ts'
import { lookPast, sweep, type Teller } from '../host/put-in-place.ts'
import { dropSecondNames, Snapshot } from '../host/snapshot.ts'
import { showPath, toByteString } from '../host/tree.ts'
import { applyUnits, areaHostOf, type GuardPlaces, rollbackUnit, timerUnit, withGuardTrees } from './host.ts'
import { type LoaderWay, runWays } from './load.ts'
import { editedSince } from './edited.ts'
import { observe } from './observe.ts'
import { isMounted, putPmxcfsBack } from './pmxcfs.ts'
import { GuardDirectory, type GuardRecord, listGuards } from './record.ts'

export interface RollbackHost extends GuardPlaces {
    /** Ends a process that holds the lock and does not let go. */
    kill(pid: number): void
    sleep(ms: number): Promise<void>
    /** A line for the journal; the guard's log gets it as well. */
    say(text: string): void
}

/** `boot`: the network is not up yet, so nothing is loaded again. */
export type Occasion = 'deadline' | 'asked' | 'boot'

export type Outcome =
    | { done: 'nothing' | 'disarmed' }
    | { done: 'rolled back'; problems: string[] }
    /** It stays armed: a later run tries again. */
    | { done: 'failed'; problems: string[] }

const bounds = {
    /** The daemon holds the lock while it puts files in place, which takes far less (ms). */
    lockMs: 30_000,
    lookMs: 100,
    /** Tries to put files back within one run; a disk may be busy for a moment. */
    attempts: 3,
    againMs: 2_000,
    systemctlMs: 10_000,
    /** No new attempt to load the old files begins behind this (ms) … */
    loadMs: 150_000,
    /** … nor sooner than this after the one before. */
    loadAgainMs: 10_000,
    /** Another rollback that holds the lock is at work, and takes its time (ms). */
    otherMs: 600_000,
} as const

export async function rollBack(
    guard: GuardDirectory,
    host: RollbackHost,
    occasion: Occasion,
): Promise<Outcome> {
    if (guard.armed() === undefined) return { done: 'nothing' }
    const say = (text: string) => {
        host.say(`${guard.id}: ${text}`)
        log(guard, host, text)
    }
    const lock = await takeLock(guard, host, say)
    try {
        return await rollBackLocked(guard, host, occasion, say)
    } finally {
        lock?.release()
    }
}

async function rollBackLocked(
    guard: GuardDirectory,
    host: RollbackHost,
    occasion: Occasion,
    say: (text: string) => void,
): Promise<Outcome> {
    const armed = guard.armed()
    if (armed === undefined) return { done: 'nothing' }
    // The same boot without its timer: the system was started anew without the kernel (systemd-soft-reboot.service(8)).
    if (occasion === 'boot' && armed.boot === host.clock.bootId() && (await isTimed(guard, host)))
        return { done: 'nothing' }
    if (occasion !== 'asked' && isConfirmed(guard)) {
        guard.remove('armed')
        guard.write('confirmed', { time: now(host), by: 'a marker file' })
        say('confirmed by its marker file: the new state stays')
        return { done: 'disarmed' }
    }
    const record = guard.record()
    say(`rolling back ${areaById(record.area).phrase} (${reasons[occasion]})`)
    try {
        guard.mark('returning')
    } catch (error) {
        // A disk without room must not keep the old state from coming back.
        say(asFault(error).message)
    }
    if (occasion !== 'boot') await stopApply(guard, host)
    let problems: readonly string[] = []
    for (let attempt = 1; attempt <= bounds.attempts; attempt++) {
        problems = await putFilesBack(guard, record, host, say)
        if (problems.length === 0) break
        for (const problem of problems) say(problem)
        if (attempt < bounds.attempts) await host.sleep(bounds.againMs)
    }
    if (problems.length > 0) {
        say('the guard stays armed; the next start tries again')
        return { done: 'failed', problems: [...problems] }
    }
    // Whoever applies may have begun another command before it saw that we are here.
    if (occasion !== 'boot') await stopApply(guard, host)
    const loading = occasion === 'boot' ? [] : await loadAgain(guard, record, host, say)
    const why = occasion === 'deadline' && guard.marked('rollback') ? 'asked' : occasion
    guard.end({ time: now(host), why, problems: loading })
    if (occasion !== 'boot') await lookAround(guard, record, host)
    say(loading.length === 0 ? 'rolled back' : `rolled back; ${loading.join('; ')}`)
    // Also when its unit was started early.
    if (occasion !== 'boot') await stopUnit(host, timerUnit(guard.id))
    guard.tidy()
    return { done: 'rolled back', problems: loading }
}

/** By its marker, as long as all of the new state is there: none of it has gone back yet. */
function isConfirmed(guard: GuardDirectory): boolean {
    if (guard.marked('rollback') || guard.marked('returning') || guard.executed() !== undefined) return false
    return guard.marked('commit') && guard.applied() !== undefined
}

const reasons: Record<Occasion, string> = {
    deadline: 'nobody confirmed in time',
    asked: 'as asked',
    boot: 'the host was started anew before anybody confirmed',
}

const now = ({ clock }: RollbackHost): string => new Date(clock.nowMs()).toISOString()

// --- files -----------------------------------------------------------------------------------------------------------

async function putFilesBack(
    guard: GuardDirectory,
    record: GuardRecord,
    host: RollbackHost,
    say: (text: string) => void,
): Promise<readonly string[]> {
    const teller: Teller = { key: guard.id, log: say, warn: say }
    try {
        return await withGuardTrees(host, guard, async (live, own) => {
            const snapshot = Snapshot.read(own, 'snapshot')
            if (snapshot === undefined)
                throw new Fault('stuck', 'cannot roll back: the snapshot of the guard is not there')
            if (record.place === 'pmxcfs') {
                if (!isMounted(host.root)) return ['/etc/pve is not mounted']
                return putPmxcfsBack(snapshot.paths, live, snapshot, say)
            }
            // What an apply that was interrupted has left did not appear: it is our own.
            for (const path of snapshot.paths) sweep(live, path, teller)
            await sweepAppeared(record, live, own, snapshot, say)
            for (const path of editedSince(own, live, snapshot)) keepEdited(live, own, path, say)
            const problems = await putBack(snapshot.paths, live, snapshot, teller)
            dropSecondNames(snapshot, live)
            live.settle()
            own.settle()
            return problems
        })
    } catch (error) {
        return [asFault(error).message]
    }
}

/** What appeared since in directories of the area would be read like the rest: it goes, and is kept beside the guard. */
async function sweepAppeared(
    record: GuardRecord,
    live: PlaceTree,
    own: PlaceTree,
    snapshot: Snapshot,
    say: (text: string) => void,
): Promise<void> {
    const breathe = breathing()
    for (const { directory, names } of record.sweeps) {
        const at = toByteString(directory.replace(/^\/+/, ''))
        const known = new Set(names)
        for (const name of live.names(at)) {
            await breathe()
            const path = `${at}/${name}`
            if (known.has(name) || snapshot.has(path)) continue
            const found = lookPast(live, path)
            if (found?.type === 'file') keepAside(live, own, path, name)
            else if (found?.type !== 'symlink') {
                say(`/${showPath(path)} appeared since and stays: it is no file`)
                continue
            }
            live.remove(path)
            say(
                `removed /${showPath(path)}, which appeared since; its content is kept in ${own.root}/appeared`,
            )
        }
    }
}

/** Somebody has edited it while it waited to be confirmed. */
function keepEdited(live: PlaceTree, own: PlaceTree, path: string, say: (text: string) => void): void {
    if (lookPast(live, path)?.type !== 'file') return
    keepAside(live, own, path, path.replaceAll('/', '_').slice(-200))
    say(`/${showPath(path)} was edited since; what it said is kept in ${own.root}/appeared`)
}

function keepAside(live: PlaceTree, own: PlaceTree, path: string, name: string): void {
    if (own.look('appeared') === undefined) own.makeDirectory('appeared')
    own.remove(`appeared/${name}`)
    const fd = live.openFile(path)
    try {
        own.writeFile(`appeared/${name}`, fd, live.look(path)!)
    } finally {
        close(fd)
    }
    own.settle()
}

// --- the live system -------------------------------------------------------------------------------------------------

/** Tries again when it does not work: a server of addresses may be away for a moment, another tool at work. */
async function loadAgain(
    guard: GuardDirectory,
    record: GuardRecord,
    host: RollbackHost,
    say: (text: string) => void,
): Promise<string[]> {
    const until = host.clock.bootMs() + bounds.loadMs
    let ways: readonly LoaderWay[] = record.ways
    for (;;) {
        const { problem, left } = await runWays(
            ways,
            ({ argv, timeoutMs }) => runHere(guard, host, argv, timeoutMs),
            say,
            areaHostOf(host),
        )
        if (problem === undefined) return []
        if (host.clock.bootMs() + bounds.loadAgainMs >= until) return [problem]
        // What has worked is not done again: it may take links down for a moment.
        ways = left ?? ways
        await host.sleep(bounds.loadAgainMs)
    }
}

async function runHere(
    guard: GuardDirectory,
    host: RollbackHost,
    argv: [string, ...string[]],
    timeoutMs: number,
): Promise<{ ok: boolean; why?: string; missing?: boolean }> {
    const result = await host.exec(argv, { timeoutMs })
    if (!result.found) return { ok: false, missing: true, why: 'it is not installed' }
    for (const bytes of [result.stdout, result.stderr])
        if (bytes.length > 0) log(guard, host, `${argv[0]}: ${Buffer.from(bytes).toString().trimEnd()}`)
    if (result.timedOut) return { ok: false, why: `it did not end within ${timeoutMs / 1000} s` }
    return result.status === 0 ? { ok: true } : { ok: false, why: `exit status ${result.status}` }
}

/** Whether its timer runs, or its unit: then this rollback has its time still to come. Unknown counts as no. */
async function isTimed({ id }: GuardDirectory, host: RollbackHost): Promise<boolean> {
    const asked = ['systemctl', 'is-active', timerUnit(id), rollbackUnit(id)] as const
    const result = await host.exec(asked, { timeoutMs: bounds.systemctlMs })
    if (!result.found) return false
    const states = Buffer.from(result.stdout).toString().trim().split('\n')
    return states.some(state => state === 'active' || state === 'activating')
}

/** With all that it has started: a DHCP client of the new state would work against the old one. */
async function stopApply({ id }: GuardDirectory, host: RollbackHost): Promise<void> {
    const units = applyUnits(id)
    await host.exec(['systemctl', '--quiet', 'kill', '--kill-whom=all', '--signal=SIGKILL', units], {
        timeoutMs: bounds.systemctlMs,
    })
    await stopUnit(host, units)
}

/** Over systemd's own socket: no D-Bus is needed. Best effort, bounded. */
async function stopUnit(host: RollbackHost, unit: string): Promise<void> {
    await host.exec(['systemctl', '--quiet', 'stop', unit], { timeoutMs: bounds.systemctlMs })
}

async function lookAround(guard: GuardDirectory, record: GuardRecord, host: RollbackHost): Promise<void> {
    try {
        const { addresses, diagnostics: directory } = record
        await observe(
            host.areas[record.area],
            areaHostOf(host),
            { disk: host.disk, directory, addresses },
            'rolled-back',
        )
    } catch (error) {
        // It is for reading later; the files are back, and that is what counts.
        log(guard, host, asFault(error).message)
    }
}

// --- the lock --------------------------------------------------------------------------------------------------------

/** A holder that does not let go hangs or is stopped, and could go on writing behind our back: it is ended. */
async function takeLock(
    guard: GuardDirectory,
    host: RollbackHost,
    say: (text: string) => void,
): Promise<Lock | undefined> {
    const { clock } = host
    const begun = clock.bootMs()
    let patience = begun + bounds.lockMs
    for (;;) {
        try {
            const lock = guard.tryLock()
            if (lock !== undefined) return lock
        } catch (error) {
            // A directory that cannot be written is no reason to stay locked out.
            say(asFault(error).message)
            return undefined
        }
        if (clock.bootMs() >= patience) {
            const holder = lockHolder(guard.file('lock'))
            const isRollback = holder?.argv.includes('rollback') === true
            if (!isRollback || clock.bootMs() - begun >= bounds.otherMs) {
                say(`process ${holder?.pid ?? '?'} holds the lock and does not let go: it is ended`)
                if (holder === undefined) return undefined
                host.kill(holder.pid)
            }
            patience = clock.bootMs() + bounds.lockMs
        }
        await host.sleep(bounds.lookMs)
    }
}

function log(guard: GuardDirectory, host: RollbackHost, text: string): void {
    try {
        const file = host.disk.append(guard.file('log'), 0o600)
        file.append(Buffer.from(`${now(host)} ${text}\n`))
        file.close()
    } catch {
        // A disk without room must not keep the rollback from going on.
    }
}

// --- the program -----------------------------------------------------------------------------------------------------

const usage = 'proxsave rollback ID [--asked | --boot host|pmxcfs] [--state DIR]'

/** Resolves to the exit status. */
export async function runRollback(
    args: readonly string[],
    host: (state: string) => RollbackHost,
): Promise<number> {
    const tell = (fault: Fault) => {
        const line = `proxsave: ${fault.message}\n${fault.hint === undefined ? '' : `hint: ${fault.hint}\n`}`
        process.stderr.write(line)
        return fault.exitStatus
    }
    try {
        const { values, positionals } = readArguments(args)
        if (values.help) {
            process.stdout.write(`Usage: ${usage}\n\nPuts back what the guard ID holds.\n`)
            return 0
        }
        const parts = host(values.state ?? '/var/lib/proxsave')
        const [id] = positionals
        const place = values.boot ?? 'host'
        const guards =
            id === undefined
                ? listGuards(parts.disk, parts.state)
                : [new GuardDirectory(parts.disk, parts.state, id)]
        let status = 0
        for (const guard of guards) {
            try {
                // Each boot unit has its own: the file system of the cluster is there much later.
                if (values.boot !== undefined && placeOf(guard) !== place) continue
                const occasion = values.boot !== undefined ? 'boot' : values.asked ? 'asked' : 'deadline'
                const outcome = await rollBack(guard, parts, occasion)
                const failed =
                    outcome.done === 'failed' ||
                    (outcome.done === 'rolled back' && outcome.problems.length > 0)
                if (failed) status = exitStatusOf.stuck
            } catch (error) {
                // One that cannot be read must not keep the others from going back.
                status = tell(asFault(error))
            }
        }
        return status
    } catch (error) {
        return tell(asFault(error))
    }
}

/** One that cannot be read is the matter of the first boot unit. */
function placeOf(guard: GuardDirectory): 'host' | 'pmxcfs' {
    try {
        return guard.exists() ? guard.record().place : 'host'
    } catch {
        return 'host'
    }
}

function readArguments(args: readonly string[]) {
    try {
        const parsed = parseArgs({
            args: [...args],
            allowPositionals: true,
            options: {
                boot: { type: 'string' },
                asked: { type: 'boolean' },
                state: { type: 'string' },
                help: { type: 'boolean', short: 'h' },
            },
        })
        const { boot } = parsed.values
        if (boot !== undefined && boot !== 'host' && boot !== 'pmxcfs') throw new Error(`--boot ${boot}`)
        if (parsed.positionals.length > 1) throw new Error('more than one guard is named')
        if (parsed.positionals.length === 0 && boot === undefined && !parsed.values.help)
            throw new Error('no guard is named')
        return parsed
    } catch (error) {
        const why = error instanceof Error ? error.message.split('\n')[0] : String(error)
        throw new Fault('usage', `cannot understand the command line: ${why}`, { hint: usage })
    }
}
