/** What could lock a person out, by area: each is guarded, applied and confirmed on its own. */

export type AreaId = 'access' | 'firewall' | 'ssh' | 'network'

export interface Area {
    id: AreaId
    title: string
    /** As it stands within a sentence. */
    phrase: string
    /** Asked before anything is armed; default no. */
    apply?: string
    /** Asked once the new state is there; default to roll back. */
    commit: string
    /** Absolute directories: files that appear in them while the guard is armed are removed by a rollback, and kept beside the guard. */
    sweeps: readonly string[]
    /** Absolute paths that are part of the area whether or not the backup has them: their absence is restored too. */
    always: readonly string[]
    /** Directories that a checker reads as a whole: preflight binds a copy of each over the real one. */
    checked: readonly string[]
}

/** In the order in which a restore applies them: the network last, because losing it hides what the others do. */
export const areas: readonly Area[] = [
    {
        id: 'access',
        title: 'Access',
        phrase: 'access',
        commit: 'access.commit',
        sweeps: ['/etc/sudoers.d', '/etc/pam.d'],
        always: [],
        checked: ['/etc/sudoers', '/etc/sudoers.d', '/etc/pam.d'],
    },
    {
        id: 'firewall',
        title: 'Firewall',
        phrase: 'the firewall',
        commit: 'firewall.commit',
        sweeps: [],
        always: [],
        checked: ['/etc/nftables.conf', '/etc/nftables.d', '/etc/nftables', '/etc/iptables'],
    },
    {
        id: 'ssh',
        title: 'SSH',
        phrase: 'SSH',
        commit: 'ssh.commit',
        sweeps: ['/etc/ssh/sshd_config.d'],
        always: [],
        checked: ['/etc/ssh'],
    },
    {
        id: 'network',
        title: 'Network',
        phrase: 'the network',
        apply: 'network.apply',
        commit: 'network.commit',
        sweeps: ['/etc/network/interfaces.d'],
        // Proxmox applies what waits there at the next boot, over whatever a rollback has put back.
        always: ['/etc/network/interfaces', '/etc/network/interfaces.new'],
        checked: ['/etc/network', '/etc/netplan'],
    },
]

export function areaById(id: string): Area {
    const area = areas.find(one => one.id === id)
    if (area === undefined) throw new Error(`there is no area ${id}`)
    return area
}
