/** What a person does after a restore: only what fits this one. */
import type { BarePlan } from './plan.ts'

/** Each a sentence; they stand in the end event and in `history`. */
export function nextSteps(plan: BarePlan, live: boolean): string[] {
    const steps: string[] = []
    const { create, replace, metadata, remove, merge } = plan.files
    const changed = [...create, ...replace, ...metadata, ...remove, ...merge]
    const touches = (...roots: string[]) => changed.some(path => roots.some(root => path.startsWith(root)))
    const why = new Set(
        plan.categories
            .filter(({ action, why }) => action === 'export' && why !== undefined)
            .map(({ id }) => id),
    )
    if (plan.exports !== undefined && why.size > 0)
        steps.push(
            `look through ${plan.exports.directory}: what was not applied lies there (${[...why].join(', ')})`,
        )
    if (!live) return steps
    if (touches('/etc/systemd/system/', '/etc/systemd/user/'))
        steps.push('see whether a restored unit failed: systemctl --failed')
    if (touches('/etc/sysctl', '/etc/modprobe.d/', '/etc/modules', '/etc/udev/', '/etc/initramfs-tools/'))
        steps.push('kernel settings, modules and udev rules take full effect with the next reboot')
    if (touches('/etc/modprobe.d/', '/etc/initramfs-tools/', '/etc/zfs/', '/etc/hostid', '/etc/lvm/'))
        steps.push('the initial ramdisk has its own copy of some of this: update-initramfs -u')
    if (touches('/etc/fstab'))
        steps.push('try the mounts before the next reboot: findmnt --verify && mount -a')
    if (touches('/etc/zfs/', '/etc/hostid'))
        steps.push('see whether all pools are there: zpool status; zpool import lists others')
    if (touches('/etc/ssl/', '/usr/local/share/ca-certificates/')) steps.push('update-ca-certificates')
    if (touches('/etc/apt/')) steps.push('apt update')
    return steps
}
