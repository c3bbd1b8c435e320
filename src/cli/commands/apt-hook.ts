/**
 * `proxsavectl apt-hook`: the backup before Proxmox, kernel and network packages change. apt calls it with the package
 * list on standard input (protocol version 2 or 3); it must never hold an upgrade up for long, nor make one fail
 * unless the configuration says `hook = "strict"`.
 */
import type { ChangeEvent, StartedChange } from '../../client/types.ts'
import { asFault, Fault } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import type { Cli, Command } from '../command.ts'

const listBytes = 4 * 1024 * 1024
const listMs = 10_000

/** Packages whose change can take a host off the network or out of its cluster. */
const watched = [
    /^(proxmox|pve|pbs|libpve|libproxmox|corosync|libknet|libqb)/,
    /^(linux-image|linux-modules|proxmox-kernel|pve-kernel|pve-firmware|firmware-)/,
    /^(ifupdown2?|bridge-utils|ifenslave|vlan|openvswitch-|frr|iproute2|netplan|isc-dhcp-client|dhcpcd)/,
    /^(ceph|zfsutils|zfs-|libzfs|lvm2|systemd|udev|grub-|openssh-server|qemu-server|lxc-pve)/,
]

export const command: Command = {
    summary: 'the backup before packages change; called by apt',
    hidden: true,
    statuses: [0, 1],
    example: 'proxsavectl apt-hook < package-list',
    async run(cli) {
        const packages = watchedPackages(await cli.terminal.readInput(listBytes, listMs))
        if (packages.length === 0) return 0
        try {
            await backUp(cli, packages)
            return 0
        } catch (error) {
            const fault = asFault(error)
            const strict = fault.facts.strict === 1
            // "Off" and "a change runs" are not worth a word in every upgrade.
            if (fault.facts.quiet !== 1)
                cli.output.line(`proxsave: no backup before this upgrade: ${fault.message}`)
            return strict ? 1 : 0
        }
    },
}

async function backUp(cli: Cli, packages: readonly string[]): Promise<void> {
    const deadline = AbortSignal.timeout(limits.aptMs)
    const late = () =>
        new Fault('failed', `it takes longer than ${limits.aptMs / 1000} s; the daemon goes on with it`, {
            facts: { late: 1 },
        })
    let strict = false
    try {
        const { change, strict: isStrict } = await cli.client.call<StartedChange & { strict?: boolean }>(
            'POST',
            '/v1/backups',
            {
                body: { reason: 'apt', note: `before ${summary(packages)}` },
                signal: deadline,
            },
        )
        strict = isStrict === true
        for await (const event of cli.client.stream<ChangeEvent>('GET', `/v1/changes/${change}/events`, {
            signal: deadline,
        })) {
            if (event.event !== 'end') continue
            if (event.result !== 'ok' && event.result !== 'warning')
                throw new Fault('failed', event.error?.message ?? event.result)
            cli.output.line(
                `proxsave: backup ${String(event.backup ?? change)} made before ${summary(packages)}`,
            )
            return
        }
        throw new Fault('failed', 'the daemon ended the answer early')
    } catch (error) {
        const fault = deadline.aborted ? late() : asFault(error)
        throw new Fault(fault.kind, fault.message, {
            facts: { ...fault.facts, ...(strict ? { strict: 1 } : {}) },
        })
    }
}

function summary(packages: readonly string[]): string {
    const [first, second, ...rest] = packages
    return [first, second].filter(Boolean).join(', ') + (rest.length > 0 ? ` and ${rest.length} more` : '')
}

/**
 * Names of the watched packages in apt's list. Behind the version line and the configuration, ended by an empty line,
 * each line is: name, old version, (version 3: architecture and multi-arch flag,) direction, new version, …, file or
 * **CONFIGURE** or **REMOVE**.
 */
export function watchedPackages(input: string): string[] {
    const end = input.startsWith('VERSION ') ? input.indexOf('\n\n') + 2 : 0
    const names = new Set<string>()
    for (const line of input.slice(Math.max(0, end)).split('\n')) {
        const name = line.split(' ', 1)[0]!
        if (name !== '' && watched.some(pattern => pattern.test(name)))
            names.add(name.replaceAll(/[^a-z0-9.+-]/g, ''))
    }
    return [...names].sort()
}
