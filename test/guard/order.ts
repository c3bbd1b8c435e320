/**
 * Judges the order of the calls that processes made. Knows the files of a guard by their names and shares no code with the
 * product: snapshot durable, then `armed` durable, then the timer, then the first file; `executed` before `armed` goes.
 */
import { dirname, join } from 'node:path'
import type { Call } from './process.ts'

const syncs = new Set(['fsync', 'syncDirectory', 'syncFileSystem'])
const changes = ({ call }: Call) => !syncs.has(call) && call !== 'timer'

export interface Where {
    root: string
    /** The guard's directory. */
    guard: string
    /** Directory below the root that only this guard writes to. */
    home: string
}

/** Throws when a file was changed before all that must stand before it. Returns how many changes of files it saw. */
export function checkForward(calls: readonly Call[], { root, guard, home }: Where): number {
    const below = (path: string) => path.startsWith(`${join(root, home)}/`)
    // Each daemon for itself: what another has made durable may be gone again.
    const writer = calls.find(
        call => /^daemon/.test(call.process) && changes(call) && below(call.path),
    )?.process
    const own = calls.filter(({ process }) => process === writer)
    const at = (what: string, is: (call: Call) => boolean, from = 0) => {
        const found = own.findIndex((call, index) => index >= from && is(call))
        if (found < 0) throw new Error(`${what} is missing`)
        return found
    }
    const first = own.findIndex(call => changes(call) && below(call.path))
    const durable = (name: string, temporary: string) => {
        const written = at(
            `the sync of ${name}`,
            ({ call, path }) => call === 'fsync' && path === join(guard, temporary),
        )
        const named = at(
            `the name ${name}`,
            ({ call, path }) => call === 'rename' && path === join(guard, name),
            written,
        )
        const directory = dirname(join(guard, name))
        return at(
            `the sync of the directory of ${name}`,
            ({ call, path }) => syncs.has(call) && path === directory,
            named,
        )
    }
    const record = durable('guard.json', '.guard.json.tmp')
    const index = durable('snapshot/index', 'snapshot/index.new')
    const copies = own.findLastIndex(
        call => changes(call) && call.path.startsWith(join(guard, 'snapshot/data/')),
    )
    const kept = at(
        'the sync of the copies',
        ({ call, path }) => call === 'syncFileSystem' && path.startsWith(guard),
        Math.max(0, copies),
    )
    const made = at(
        'the sync of the directory of guards',
        call => syncs.has(call.call) && call.path === dirname(guard),
    )
    const armedNamed = at('armed', ({ call, path }) => call === 'rename' && path === join(guard, 'armed'))
    for (const [what, when] of Object.entries({ record, index, kept, made }))
        if (when > armedNamed) throw new Error(`armed before ${what} was durable`)
    const armed = durable('armed', '.armed.tmp')
    const timer = at('the timer', ({ call }) => call === 'timer', armed)
    if (first >= 0 && first < timer)
        throw new Error(`${own[first]!.call} ${own[first]!.path} before armed was durable and the timer ran`)
    return own.filter((call, position) => position >= timer && changes(call) && below(call.path)).length
}

/** Of one rollback that went through: files durable, then `executed` durable, then `armed` gone, durably. */
export function checkBackward(calls: readonly Call[], { root, guard }: Where): void {
    const own = calls.filter(({ process }) => process === 'rollback')
    const gone = own.findIndex(({ call, path }) => call === 'unlink' && path === join(guard, 'armed'))
    if (gone < 0) throw new Error('armed was not removed')
    const told = own.findIndex(({ call, path }) => call === 'rename' && path === join(guard, 'executed'))
    if (told < 0 || told > gone) throw new Error('armed went before executed was there')
    const synced = own.findIndex(({ call, path }, index) => index > told && syncs.has(call) && path === guard)
    if (synced < 0 || synced > gone) throw new Error('armed went before executed was durable')
    if (!own.slice(gone).some(({ call, path }) => syncs.has(call) && path === guard))
        throw new Error('the removal of armed is not durable')
    for (const [index, call] of own.entries()) {
        if (!changes(call) || !call.path.startsWith(`${root}/`)) continue
        if (index > told) throw new Error(`${call.call} ${call.path} behind executed`)
        if (!['rename', 'unlink', 'rmdir', 'exchange', 'mkdir'].includes(call.call)) continue
        const directory = dirname(call.path)
        const removed = own
            .slice(index, told)
            .some(({ call, path }) => call === 'rmdir' && path === directory)
        const later = own.slice(index, told).some(({ call, path }) => syncs.has(call) && path === directory)
        if (!later && !removed) throw new Error(`${call.call} ${call.path} was not durable before executed`)
    }
}
