/** What the guard is given: the tree and the state directory, the service manager, and how areas look at the host. */
import { join } from 'node:path'
import { areaById, type AreaId } from '../catalog/areas.ts'
import { limits } from '../core/limits.ts'
import { readSmallFile } from '../host/atomic.ts'
import type { Clock } from '../host/clock.ts'
import type { Disk } from '../host/disk.ts'
import { type Exec, findProgram } from '../host/exec.ts'
import { timerOf } from '../host/systemd.ts'
import { type PlaceCalls, PlaceTree, withPlaceTrees } from '../host/place.ts'
import type { AreaHost, GuardArea } from './area.ts'
import { GuardDirectory, guardId } from './record.ts'

export interface GuardPlaces {
    /** The tree that is guarded: `/`, or that of a test. */
    root: string
    state: string
    disk: Disk
    clock: Clock
    exec: Exec
    areas: Readonly<Record<AreaId, GuardArea>>
    /** The calls that change files; a test gives its own. */
    calls?: PlaceCalls
}

/** An area does not wait longer (ms) than this for one look. */
const lookMs = 5_000

/** How areas look at a host; `active` comes from systemctl, which needs no D-Bus. */
export function areaHostOf({ root, exec }: Pick<GuardPlaces, 'root' | 'exec'>): AreaHost {
    return {
        root,
        look: (argv, timeoutMs = lookMs) => exec(argv, { timeoutMs }),
        has: program => findProgram(program) !== undefined,
        async active(unit) {
            const result = await exec(['systemctl', 'show', '--value', '-p', 'ActiveState', unit], {
                timeoutMs: lookMs,
            })
            if (!result.found || result.status !== 0) return undefined
            return Buffer.from(result.stdout).toString().trim()
        },
        read(path) {
            const bytes = readSmallFile(join(root, path), limits.configBytes)
            return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1')
        },
        names(path) {
            const tree = new PlaceTree(root)
            try {
                return tree.names(path.replace(/^\/+/, ''))
            } finally {
                tree.close()
            }
        },
    }
}

export const guardOf = ({ disk, state }: Pick<GuardPlaces, 'disk' | 'state'>, change: string, area: string) =>
    new GuardDirectory(disk, state, guardId(change, areaById(area).id))

/** The live tree and the guard's own, closed when `act` is through. */
export const withGuardTrees = <T>(
    { root, calls }: GuardPlaces,
    { path }: GuardDirectory,
    act: (live: PlaceTree, own: PlaceTree) => Promise<T> | T,
): Promise<T> => withPlaceTrees({ live: root, own: path }, calls, act)

export const rollbackUnit = (id: string): string => `proxsave-rollback@${id}.service`
export const timerUnit = (id: string): string => timerOf(rollbackUnit(id))
/** Rolls back what another boot armed, before the network comes up. */
export const bootUnit = 'proxsave-rollback-boot.service'
/** Runs one of the commands that load the new state; what a command has left running keeps the name of its unit. */
export const applyUnit = (id: string, number: number): string => `proxsave-apply-${id}-${number}.service`
/** All of them, for systemctl. */
export const applyUnits = (id: string): string => `proxsave-apply-${id}-*.service`
