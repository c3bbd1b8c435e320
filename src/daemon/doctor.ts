/** Everything that a backup or a restore needs, checked one by one, each with how to mend it. */
import type { Check } from '../core/answers.ts'
import { asFault } from '../core/errors.ts'
import { count, showAge, showSize } from '../core/units.ts'
import type { Target } from '../engine/target.ts'
import { findProgram } from '../host/exec.ts'
import { AT_FDCWD, cPath, readLinkAt } from '../host/libc.ts'
import { readMounts } from '../host/mounts.ts'
import { listKeys } from '../keys/identity.ts'
import { readSigningKey } from '../keys/signing-key.ts'
import { listExports, warnOfOldExports } from '../restore/exports.ts'
import { checkCalendar } from '../schedule/calendar.ts'
import { hostOf, listAll } from './backups.ts'
import type { Daemon } from './daemon.ts'
import { readJobs } from './status.ts'
import { listUpstream, upstreamOffers, upstreamPlaces, within } from './upstream.ts'

type Found = Omit<Check, 'id' | 'title'>
type CheckKind = {
    id: string
    title: string
    run(daemon: Daemon): Promise<Found | Found[]> | Found | Found[]
}

const ok = (text: string): Found => ({ state: 'ok', text })
const warning = (text: string, hint: string): Found => ({ state: 'warning', text, hint })
const failed = (text: string, hint: string): Found => ({ state: 'failed', text, hint })
const skipped = (text: string): Found => ({ state: 'skipped', text })

const day = 24 * 3_600_000

/** In the order in which a person would mend them. */
export const checks: readonly CheckKind[] = [
    { id: 'daemon', title: 'daemon', run: checkDaemon },
    { id: 'config', title: 'configuration', run: checkConfig },
    { id: 'recipients', title: 'recipients', run: checkRecipients },
    { id: 'identity', title: 'private identity', run: checkIdentity },
    { id: 'signing', title: 'signing key', run: checkSigning },
    { id: 'clone', title: 'host id', run: checkHost },
    { id: 'target', title: 'target', run: checkTargets },
    { id: 'source', title: 'source', run: checkSources },
    { id: 'schedule', title: 'schedule', run: checkSchedule },
    { id: 'backup', title: 'last backup', run: checkLastBackup },
    { id: 'verify', title: 'last verification', run: checkVerified },
    { id: 'changes', title: 'changes', run: checkChanges },
    { id: 'exports', title: 'exports of restores', run: checkExports },
    { id: 'clock', title: 'clock', run: checkClock },
    { id: 'upstream', title: 'archives of the Go ProxSave', run: checkUpstreamPlaces },
    { id: 'tools', title: 'tools to open a backup by hand', run: checkTools },
]

/** Runs every check; one that fails itself is a failed check. */
export async function examine(daemon: Daemon): Promise<Check[]> {
    const found: Check[] = []
    for (const { id, title, run } of checks) {
        try {
            const result = await run(daemon)
            for (const one of Array.isArray(result) ? result : [result]) found.push({ id, title, ...one })
        } catch (error) {
            const { message, hint } = asFault(error)
            found.push({ id, title, state: 'failed', text: message, ...(hint === undefined ? {} : { hint }) })
        }
    }
    return found
}

function checkDaemon({ parts: { version, root } }: Daemon): Found {
    const running = `proxsaved ${version} answers${root === '/' ? '' : ` for ${root}`}`
    if (wasReplaced())
        return warning(
            `${running}, but the program on disk is another one`,
            'systemctl restart proxsave when no change runs',
        )
    return ok(running)
}

/** The kernel says so when the file that this program was started from is gone or another one. */
function wasReplaced(): boolean {
    const program = Buffer.from(readLinkAt(AT_FDCWD, cPath('/proc/self/exe'))).toString('latin1')
    return program.endsWith(' (deleted)')
}

function checkConfig({ config: { config, problems, fault } }: Daemon): Found | Found[] {
    if (problems.length > 0)
        return problems.map(({ file, line, message, hint }) =>
            failed(`${file} line ${line}: ${message}`, hint ?? `mend ${file}`),
        )
    if (fault !== undefined) return failed(fault.message, fault.hint ?? 'mend the file')
    const { jobs, targets } = config
    return ok(`${count(targets.length, 'target')}, ${count(jobs.length, 'job')}`)
}

async function checkRecipients(daemon: Daemon): Promise<Found> {
    const { encryption } = daemon.config.config.backup
    const { recipients } = await listKeys(daemon.keys)
    if (encryption === 'none')
        return warning(
            'backups are not encrypted: encryption = "none"',
            'remove that line and run proxsavectl setup',
        )
    if (recipients.length === 0)
        return failed(`${daemon.keys.recipients} names nobody: backups refuse`, 'proxsavectl setup')
    return ok(`backups are encrypted for ${count(recipients.length, 'recipient')}`)
}

async function checkIdentity(daemon: Daemon): Promise<Found> {
    const keys = await listKeys(daemon.keys)
    if (keys.recipients.length === 0 && keys.identities.length === 0) return skipped('there is none')
    if (keys.unprinted.length > 0)
        return warning(
            'its recovery sheet was not printed: without this host nobody could open the backups',
            'proxsavectl keys sheet',
        )
    if (keys.plainIdentity)
        return warning(
            'it is still on this host, although it was printed',
            'proxsavectl keys remove --identity takes it off; backups go on without it',
        )
    return ok(
        keys.identities.length > 0 ? 'behind a passphrase, printed' : 'not on this host: restores ask for it',
    )
}

function checkSigning({ parts: { state } }: Daemon): Found {
    const key = readSigningKey(state)
    if (key === undefined) return ok('none yet: the first backup makes it')
    return ok(key.fingerprint)
}

function checkHost(daemon: Daemon): Found {
    const host = hostOf(daemon)
    if (!host.cloned) return ok(host.id)
    return failed(
        `this machine looks like a copy of another one (${host.differs.join(', ')} changed): prune is refused`,
        `proxsavectl setup --adopt ${host.id} goes on with its archives, setup --adopt new begins anew`,
    )
}

/** Only where the Go tool was installed: what it left is still of use. */
async function checkUpstreamPlaces(daemon: Daemon): Promise<Found[]> {
    const { root } = daemon.parts
    const places = upstreamPlaces(root)
    if (places === undefined) return []
    const { backups, problems } = await listUpstream(places.directories.map(path => within(root, path)))
    const where = places.directories.join(', ') || 'no directory'
    const { source } = upstreamOffers(root, daemon.config.config)
    const remote =
        places.remote === undefined
            ? ''
            : `; its remote is ${places.remote}${source === undefined ? '' : `, here the source ${source.name} (setup writes that into the configuration)`}`
    const found = ok(
        `${count(backups.length, 'archive')} in ${where} (${places.file})${remote}: proxsavectl list --all-hosts`,
    )
    const broken = backups.filter(({ problem }) => problem !== undefined)
    return [
        found,
        ...problems.map(({ message, hint }) => warning(message, hint ?? 'look at the directory')),
        ...broken
            .slice(0, 5)
            .map(({ path, problem }) => warning(`${path}: ${problem}`, 'proxsavectl verify it')),
    ]
}

async function checkTargets(daemon: Daemon): Promise<Found[]> {
    const found: Found[] = []
    for (const target of daemon.targets().values()) {
        try {
            found.push(await checkTarget(daemon, target))
        } catch (error) {
            const { message, hint } = asFault(error)
            found.push(failed(`${target.name}: ${message}`, hint ?? `look at ${target.place}`))
        }
    }
    return found
}

/** Each is asked for its listing; nothing of an archive is read. */
async function checkSources(daemon: Daemon): Promise<Found[]> {
    const found: Found[] = []
    for (const source of daemon.sources().values()) {
        try {
            const archives = await source.list()
            found.push(ok(`${source.name}: ${count(archives.length, 'archive')} at ${source.place}`))
        } catch (error) {
            const { message, hint } = asFault(error)
            // One that only the settings of the Go tool name may be out of use.
            const chosen = daemon.config.config.sources.some(({ name }) => name === source.name)
            const told = chosen ? failed : warning
            found.push(told(`${source.name}: ${message}`, hint ?? `look at ${source.place}`))
        }
    }
    return found
}

/** Less than this is soon full. */
const littleBytes = 256 * 1024 * 1024

async function checkTarget(daemon: Daemon, target: Target): Promise<Found> {
    const archives = await target.list()
    // Making the room for unfinished files is the first thing a backup does: it shows that writing works.
    target.spool()
    const free = target.freeBytes()
    const room = free === undefined ? '' : `, ${showSize(free)} free`
    const text = `${target.name}: ${count(archives.length, 'archive')} at ${target.place}${room}`
    if (free !== undefined && free < littleBytes)
        return warning(text, 'make room there, or let proxsavectl prune remove old backups')
    if (daemon.parts.root === '/' && onRootDisk(target.place))
        return warning(
            `${text}; on the disk of the system itself`,
            'add a target on another disk or machine: a dead disk takes these backups along',
        )
    return ok(text)
}

function onRootDisk(place: string): boolean {
    let best = '/'
    for (const { point } of readMounts().values())
        if (point.length > best.length && (place === point || place.startsWith(`${point}/`))) best = point
    return best === '/'
}

async function checkSchedule(daemon: Daemon): Promise<Found | Found[]> {
    const { systemd, exec } = daemon.parts
    const { jobs } = daemon.config.config
    if (daemon.config.fault !== undefined) return skipped('the configuration cannot be read')
    if (jobs.length === 0) return warning('no backup is scheduled', 'proxsavectl setup makes a daily job')
    if (systemd === undefined) return skipped('systemd is not asked here: jobs are not scheduled')
    const found: Found[] = []
    const states = await readJobs(daemon)
    for (const job of jobs) {
        const calendar = await checkCalendar(exec, job.schedule)
        const state = states.find(({ name }) => name === job.name)
        if (calendar.ok === false) found.push(failed(`${job.name}: ${calendar.why}`, 'see systemd.time(7)'))
        else if (state?.active !== true)
            found.push(
                failed(
                    `${job.name}: its timer is not active`,
                    'systemctl reload proxsave, then systemctl list-timers',
                ),
            )
        else if (state.next === undefined && daemon.parts.runner.running() === undefined)
            found.push(failed(`${job.name}: systemd knows no next time for it`, 'systemctl reload proxsave'))
        else found.push(ok(`${job.name}: next ${state.next === undefined ? 'unknown' : showUtc(state.next)}`))
    }
    return found
}

/** The daemon does not know the caller's time zone. */
const showUtc = (rfc3339: string) => `${rfc3339.slice(0, 16).replace('T', ' ')} UTC`

async function checkLastBackup(daemon: Daemon): Promise<Found> {
    const { backups } = await listAll(daemon)
    const last = backups.find(backup => backup.own && backup.id !== '')
    const nowMs = daemon.parts.clock.nowMs()
    if (last === undefined) return warning('there is none of this host yet', 'proxsavectl backup')
    const age = nowMs - Date.parse(last.created)
    const text = `${last.id}, ${showAge(Date.parse(last.created), nowMs)}`
    if (age > 8 * day) return warning(text, 'proxsavectl backup; proxsavectl history tells why jobs failed')
    const unreadable = backups.filter(backup => backup.id === '').length
    if (unreadable > 0)
        return warning(`${text}; ${count(unreadable, 'file')} cannot be read`, 'proxsavectl list names them')
    return ok(text)
}

async function checkVerified(daemon: Daemon): Promise<Found> {
    const { backups } = await listAll(daemon)
    const own = backups.filter(backup => backup.own && backup.id !== '')
    if (own.length === 0) return skipped('there is no backup yet')
    const newest = own.find(backup => backup.verified !== undefined)
    if (newest?.verified === undefined)
        return warning('no backup was verified yet', 'proxsavectl verify latest --deep')
    const nowMs = daemon.parts.clock.nowMs()
    const when = showAge(Date.parse(newest.verified.time), nowMs)
    const text = `${newest.id}, verified ${when}${newest.verified.deep ? ', deep' : ''}`
    if (nowMs - Date.parse(newest.verified.time) > 35 * day)
        return warning(text, 'proxsavectl verify latest --deep')
    return ok(text)
}

function checkChanges({ parts: { runner, store } }: Daemon): Found {
    const [unfinished] = runner.unfinished()
    if (unfinished !== undefined)
        return failed(
            `change ${unfinished.id} (${unfinished.summary}) is not finished`,
            `proxsavectl history ${unfinished.id} tells what became of it; systemctl restart proxsave tries again`,
        )
    const changes = store.list()
    const stuck = changes.find(change => change.left !== undefined && change.left.length > 0)
    if (stuck !== undefined)
        return warning(
            `change ${stuck.id} could not be fully undone`,
            `proxsavectl history ${stuck.id} says what is left`,
        )
    return ok(
        changes.length === 0 ? 'none yet' : `${count(changes.length, 'change')} in the history, all finished`,
    )
}

function checkExports({ parts: { state, clock } }: Daemon): Found {
    const old = warnOfOldExports(state, clock.nowMs())
    if (old !== undefined) return warning(old.text, old.hint)
    const exports = listExports(state)
    return ok(exports.length === 0 ? 'none' : `${exports.length}, none older than 30 days`)
}

async function checkClock(daemon: Daemon): Promise<Found> {
    const nowMs = daemon.parts.clock.nowMs()
    // A machine whose battery is dead begins in the year of its firmware.
    if (nowMs < Date.parse('2025-01-01'))
        return failed(`it says ${new Date(nowMs).toISOString()}`, 'timedatectl set-ntp true')
    const { backups } = await listAll(daemon)
    const ahead = backups.find(backup => backup.own && backup.problem === 'dated in the future')
    if (ahead !== undefined)
        return warning(
            `backup ${ahead.id} is dated in the future: ${ahead.created}`,
            'timedatectl; such backups are never pruned',
        )
    return ok(`${new Date(nowMs).toISOString().slice(0, 19)}Z, ${daemon.parts.clock.timeZone()}`)
}

function checkTools(): Found {
    const missing = ['tar', 'age', 'zstd'].filter(tool => findProgram(tool) === undefined)
    if (missing.length === 0) return ok('tar, age and zstd are here')
    return warning(
        `${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} not installed`,
        `apt install ${missing.join(' ')}: then a backup opens without proxsave, as its README.txt says`,
    )
}
