/** Which files configure interfaces, by the program that reads them: one that the backup lacks must not stay active. */
import type { ByteString } from '../format/tar-write.ts'

interface Manager {
    /** A file of it in the backup: without any, the backup says nothing about this manager, and nothing is removed. */
    saved: RegExp
    /** What goes when the backup lacks it. */
    removable: RegExp
}

/** Hidden names are read by none of them. */
const managers: readonly Manager[] = [
    {
        saved: /^etc\/network\/interfaces(\.d\/[^./][^/]*)?$/,
        removable: /^etc\/network\/interfaces\.d\/[^./][^/]*$/,
    },
    same(/^etc\/netplan\/[^./][^/]*\.yaml$/),
    same(/^etc\/systemd\/network\/[^./][^/]*\.(network|netdev)(\.d\/[^./][^/]*\.conf)?$/),
    // Read by udev whoever manages the addresses: they give the cards their names.
    same(/^etc\/systemd\/network\/[^./][^/]*\.link(\.d\/[^./][^/]*\.conf)?$/),
    same(/^etc\/NetworkManager\/system-connections\/[^./][^/]*$/),
]

function same(pattern: RegExp): Manager {
    return { saved: pattern, removable: pattern }
}

/** What somebody prepared in the web interface of Proxmox VE and did not apply: the next boot would. */
export const pendingInterfaces: ByteString = 'etc/network/interfaces.new'

/**
 * Tells of a file on the host whether restoring the network takes it away. `saved` are the paths of the backup that are
 * files or links.
 */
export function interfacesToRemove(saved: ReadonlySet<ByteString>): (path: ByteString) => boolean {
    const known = managers.filter(manager => [...saved].some(path => manager.saved.test(path)))
    const pending = known.includes(managers[0]!)
    return path =>
        path === pendingInterfaces
            ? pending
            : !saved.has(path) && known.some(({ removable }) => removable.test(path))
}
