/** Where Proxmox VE mounts its network storages: a directory there without the mount is on the disk of the system itself. */
import { parsePveSectionConfig } from '../format/section-config-pve.ts'
import { type Section, valuesOf } from '../format/section-config.ts'

/** As PVE::Storage::*Plugin have it: mounted on `path`, or on a directory of the storage's name. */
const mountedTypes = new Set(['nfs', 'cifs', 'cephfs', 'glusterfs'])

/** Mount points that a storage.cfg speaks of; none when it cannot be read as one. */
export function storageMounts(text: string): string[] {
    let sections: Section[]
    try {
        sections = parsePveSectionConfig(text).sections
    } catch {
        // Its own check complains of it; a backup to some other place must go on.
        return []
    }
    return sections
        .filter(section => valuesOf(section, 'disable').length === 0)
        .flatMap(section => {
            const path = valuesOf(section, 'path')[0]
            if (mountedTypes.has(section.type)) return [path ?? `/mnt/pve/${section.id}`]
            // `is_mountpoint` of a directory storage: yes, or the mount point above its path.
            const mountpoint = valuesOf(section, 'is_mountpoint')[0]
            if (mountpoint === undefined || /^(0|no|off|false)$/i.test(mountpoint)) return []
            return mountpoint.startsWith('/') ? [mountpoint] : path === undefined ? [] : [path]
        })
        .map(point => point.replace(/(?<=.)\/+$/, ''))
}
