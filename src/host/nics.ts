/** The physical network cards of a host, with all that tells one from another: from sysfs, udev's records and the kernel. */
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isNicName, type Nic, nicOf } from '../format/nic-inventory.ts'
import { askForLinks, type Link, messagesIn, parseLinks } from '../format/rtnetlink.ts'
import { codeOf, netlinkDump } from './libc.ts'

/**
 * Reads the cards, sorted by name. A card is what has hardware behind it (a `device` in sysfs): no bridge, bond, VLAN or
 * tunnel. A container has no hardware: there the ends of virtual cables (veth) that its host gave it are its cards.
 *
 * `links` is what the kernel says beside; another root than `/` has no kernel, and then it is empty.
 */
export function readNics(root = '/', links: readonly Link[] = root === '/' ? readLinks() : []): Nic[] {
    const all = join(root, 'sys/class/net')
    // systemd writes it when it starts as the first process of a container.
    const inContainer = existsSync(join(root, 'run/systemd/container'))
    const byName = new Map(links.map(link => [link.name, link]))
    return namesIn(all)
        .filter(isNicName)
        .filter(name => hasDevice(join(all, name)) || (inContainer && byName.get(name)?.kind === 'veth'))
        .map(name => readNic(root, name, byName.get(name)))
}

/** Every interface of this network namespace. A kernel that changes meanwhile is asked again, a few times. */
export function readLinks(): Link[] {
    const NLMSG_ERROR = 2
    const NLMSG_DONE = 3
    const NLM_F_DUMP_INTR = 0x10
    let datagrams: Uint8Array[] = []
    for (let tries = 0; tries < 5; tries++) {
        datagrams = netlinkDump(askForLinks(), datagram =>
            messagesIn(datagram).some(({ type }) => type === NLMSG_DONE || type === NLMSG_ERROR),
        )
        const torn = datagrams.some(one => messagesIn(one).some(({ flags }) => flags & NLM_F_DUMP_INTR))
        if (!torn) break
    }
    return parseLinks(datagrams)
}

function readNic(root: string, name: string, link: Link | undefined): Nic {
    const path = join(root, 'sys/class/net', name)
    const mac = link?.mac ?? line(join(path, 'address'))
    // NET_ADDR_PERM: nobody changed it since the driver found it.
    const unchanged = line(join(path, 'addr_assign_type')) === '0'
    return nicOf({
        name,
        altnames: link?.altnames,
        permanentMac: link?.permanentMac ?? (unchanged ? mac : undefined),
        mac,
        driver: driverOf(path),
        device: deviceOf(root, path),
        udev: udevProperties(root, line(join(path, 'ifindex'))),
    })
}

function deviceOf(root: string, path: string): string | undefined {
    try {
        const device = realpathSync(join(path, 'device'))
        const sys = realpathSync(join(root, 'sys'))
        return device.startsWith(`${sys}/`) ? device.slice(sys.length) : undefined
    } catch (error) {
        return gone(error)
    }
}

function driverOf(path: string): string | undefined {
    try {
        return basename(readlinkSync(join(path, 'device/driver')))
    } catch (error) {
        return gone(error)
    }
}

/** Lines `E:KEY=VALUE` of the record that udev keeps; none in containers, where udev does not run. */
function udevProperties(root: string, ifindex: string | undefined): Record<string, string> {
    if (ifindex === undefined || !/^\d+$/.test(ifindex)) return {}
    const properties: Record<string, string> = {}
    for (const text of (readText(join(root, 'run/udev/data', `n${ifindex}`)) ?? '').split('\n')) {
        const equals = text.indexOf('=')
        if (text.startsWith('E:') && equals > 0) properties[text.slice(2, equals)] = text.slice(equals + 1)
    }
    return properties
}

function namesIn(directory: string): string[] {
    try {
        return readdirSync(directory).sort()
    } catch (error) {
        return gone(error) ?? []
    }
}

/** A card may be unplugged while it is looked at. `bonding_masters` is a file among the directories. */
const absent = new Set(['ENOENT', 'ENOTDIR', 'ENODEV', 'EINVAL'])

function gone(error: unknown): undefined {
    if (!absent.has(codeOf(error) ?? '')) throw error
    return undefined
}

function hasDevice(path: string): boolean {
    try {
        lstatSync(join(path, 'device'))
        return true
    } catch (error) {
        return gone(error) ?? false
    }
}

function readText(path: string): string | undefined {
    try {
        return readFileSync(path, 'latin1')
    } catch (error) {
        return gone(error)
    }
}

const line = (path: string): string | undefined => readText(path)?.trim() || undefined
