/** What to do about ZFS pools after a restore: proxsave imports none, it says which are missing and how they come back. */
import { type Exec, outputOf } from '../host/exec.ts'

export interface ZfsFacts {
    /** Pools that the backup knows. */
    expected: readonly string[]
    /** Pools that are imported, with their health. */
    imported: ReadonlyMap<string, string>
    /** Pools that `zpool import` finds on the disks. */
    importable: readonly string[]
    /** Pools whose `zfs-import@POOL.service` is enabled. */
    enabled: ReadonlySet<string>
}

export interface ZfsHint {
    what: string
    remedy: string
}

export function zfsHints({ expected, imported, importable, enabled }: ZfsFacts): ZfsHint[] {
    const hints: ZfsHint[] = []
    for (const [pool, health] of imported)
        if (health !== 'ONLINE')
            hints.push({ what: `pool ${pool} is ${health}`, remedy: `zpool status -v ${pool}` })
    for (const pool of new Set(expected)) {
        const unit = importUnit(pool)
        const enable = enabled.has(pool) ? '' : `; then, so that a boot does it: systemctl enable ${unit}`
        if (imported.has(pool)) continue
        if (importable.includes(pool))
            hints.push({
                what: `pool ${pool} is on the disks and not imported`,
                remedy: `zpool import ${pool} (with -f only when no other machine uses it: the host id may differ)${enable}`,
            })
        else
            hints.push({
                what: `pool ${pool} of the backup is not on any disk here`,
                remedy: `attach its disks, then zpool import ${pool}${enable}`,
            })
    }
    return hints
}

/** The unit's instance as systemd escapes it: `a-b` is `a\x2db`. */
export function importUnit(pool: string): string {
    const escaped = pool.replaceAll(
        /[^A-Za-z0-9:_.]/g,
        c => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
    return escaped === pool ? `zfs-import@${pool}.service` : `'zfs-import@${escaped}.service'`
}

/** Pools that saved configuration names: the zfspool storages of a storage.cfg, and a captured `zpool list`. */
export function poolsOf(storageCfg: string | undefined, zpoolList: string | undefined): string[] {
    const pools = new Set<string>()
    for (const [, pool] of (storageCfg ?? '').matchAll(
        /^[ \t]+pool[ \t]+([A-Za-z][\w.: -]*?)(?:\/\S*)?[ \t]*$/gm,
    ))
        pools.add(pool!)
    const [head, ...lines] = (zpoolList ?? '').split('\n')
    if (head?.startsWith('NAME'))
        for (const line of lines) {
            // Indented lines are the disks of the pool above.
            const pool = /^([A-Za-z][\w.:-]*)[ \t]/.exec(line)?.[1]
            if (pool !== undefined && !/^(cache|logs|special|spares|dedup)$/.test(pool)) pools.add(pool)
        }
    return [...pools]
}

/** Undefined when this host has no ZFS. Looking for pools on the disks takes a moment and changes nothing. */
export async function readZfs(exec: Exec, expected: readonly string[]): Promise<ZfsFacts | undefined> {
    const listed = await exec(['zpool', 'list', '-H', '-o', 'name,health'], { timeoutMs: 20_000 })
    if (!listed.found) return undefined
    const output = outputOf(listed)
    const imported = new Map<string, string>()
    for (const line of output.ok ? output.text.split('\n') : []) {
        const [pool, health] = line.split('\t')
        if (pool && health) imported.set(pool, health)
    }
    const importable: string[] = []
    const missing = expected.some(pool => !imported.has(pool))
    if (missing) {
        const found = outputOf(await exec(['zpool', 'import'], { timeoutMs: 60_000 }), [0, 1])
        if (found.ok)
            for (const [, pool] of found.text.matchAll(/^ {3}pool: (\S+)$/gm)) importable.push(pool!)
    }
    const enabled = new Set<string>()
    for (const pool of expected) {
        const unit = importUnit(pool).replaceAll("'", '')
        const state = outputOf(await exec(['systemctl', 'is-enabled', unit], { timeoutMs: 5000 }))
        if (state.ok && state.text.startsWith('enabled')) enabled.add(pool)
    }
    return { expected, imported, importable, enabled }
}
