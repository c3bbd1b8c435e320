/** Whether losing the network for a while costs the whole node: its HA manager lets a watchdog reset it. */
import type { AreaHost } from './area.ts'
import { quietly } from './configured.ts'
import { said } from './health.ts'

/** Whoever holds the file system of the cluster up must not hold this up. */
const readMs = 3_000

/** One sentence; undefined where no watchdog waits for this node. */
export async function fencingRisk(host: AreaHost): Promise<string | undefined> {
    if (quietly(() => host.read('/etc/corosync/corosync.conf')) === undefined) return undefined
    const [lrm, crm] = await Promise.all([
        statusOf(host, '/etc/pve/local/lrm_status'),
        statusOf(host, '/etc/pve/ha/manager_status'),
    ])
    const node = (quietly(() => host.read('/etc/hostname')) ?? '').trim().split('.')[0]
    // What waits for its lock, or for anything to manage at all, holds no watchdog.
    const runsGuests = typeof lrm?.state === 'string' && lrm.state !== 'wait_for_agent_lock'
    const managed = Object.keys((crm?.service_status ?? {}) as object).length > 0
    const isMaster = managed && node !== '' && crm?.master_node === node
    if (!runsGuests && !isMaster) return undefined
    const which = runsGuests ? 'it runs resources of HA' : 'it is the master of HA'
    return `${which}: when corosync does not reach the others for about 60 s, the watchdog resets this node with all its guests, which may be sooner than the guard: a [guard] timeout below 45 s, or systemctl stop pve-ha-lrm pve-ha-crm beforehand, avoids that`
}

async function statusOf(host: AreaHost, path: string): Promise<Record<string, unknown> | undefined> {
    const text = await said(host, ['cat', path], readMs)
    const value = quietly(() => JSON.parse(text ?? 'null') as unknown)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
}
