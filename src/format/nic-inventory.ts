/** The inventory of network cards in a backup: what tells each card from the others, ours and that of the Go ProxSave. */
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

/** Where our own backups have it, below the root of the archive. */
export const nicInventoryPath = 'var/lib/proxsave/captured/network/nics.json'

/** Where archives of the Go tool have theirs, the newest place first. */
export const upstreamInventoryPaths = [
    'var/lib/proxsave-info/commands/system/network_inventory.json',
    'var/lib/proxsave-info/network_inventory.json',
    'commands/network_inventory.json',
] as const

// IFNAMSIZ is 16 with the final NUL, ALTIFNAMSIZ 128; neither `/` nor blanks (dev_valid_name), and we want to print it.
const Name = Type.String({ pattern: '^[!-.0-~]{1,15}$' })
const AltName = Type.String({ pattern: '^[!-.0-~]{1,127}$' })
/** Ethernet has 6 bytes, InfiniBand 20. */
const Address = Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5,31}$' })
const Text = Type.String({ minLength: 1, maxLength: 1024 })

/** One physical network card. Everything but its name is left out where the host does not tell. */
export const Nic = Type.Object(
    {
        name: Name,
        altnames: Type.Optional(Type.Array(AltName, { maxItems: 64 })),
        /** The address that the card was made with; that of the moment may be the bond's. */
        permanentMac: Type.Optional(Address),
        mac: Type.Optional(Address),
        driver: Type.Optional(Text),
        /** PCI address of the card, such as `0000:01:00.1`. */
        pciSlot: Type.Optional(Text),
        /** The device below `/sys/devices`: all bridges and ports on the way to it. */
        devicePath: Type.Optional(Text),
        /** What udev calls `ID_SERIAL`: USB cards have one. */
        serial: Type.Optional(Text),
        /** `ID_PATH` */
        path: Type.Optional(Text),
        /** `ID_NET_NAME_PATH` */
        netNamePath: Type.Optional(Text),
        /** `ID_NET_NAME_SLOT` */
        netNameSlot: Type.Optional(Text),
        /** `ID_NET_NAME_ONBOARD` */
        netNameOnboard: Type.Optional(Text),
    },
    { additionalProperties: false },
)
export type Nic = Static<typeof Nic>

const Inventory = Type.Object(
    { format: Type.Literal('proxsave-nics/1'), nics: Type.Array(Nic, { maxItems: 4096 }) },
    { additionalProperties: false },
)

const cannot = (why: string) => new Fault('damaged', `cannot read the inventory of network cards: ${why}`)

export function writeNicInventory(nics: readonly Nic[]): Uint8Array {
    return Buffer.from(`${JSON.stringify({ format: 'proxsave-nics/1', nics }, null, 2)}\n`)
}

/** Reads our own inventory. Throws a `damaged` fault at anything that this version would not have written. */
export function parseNicInventory(bytes: Uint8Array): Nic[] {
    const value = parseJson(bytes)
    const { format } = (value ?? {}) as { format?: unknown }
    if (format !== 'proxsave-nics/1') throw cannot(`its format is ${JSON.stringify(format) ?? 'missing'}`)
    if (!Value.Check(Inventory, value)) {
        const first = Value.Errors(Inventory, value).First()
        throw cannot(`${first?.path ?? ''}: ${first?.message ?? 'wrong shape'}`)
    }
    requireUnique(value.nics)
    return value.nics
}

/**
 * Reads the inventory of the Go tool, which lists every interface of the host: only the cards are returned. A value that
 * could not be one is left out, because older versions wrote whatever `ethtool` and `udevadm` printed.
 */
export function parseUpstreamInventory(bytes: Uint8Array): Nic[] {
    const value = parseJson(bytes) as { interfaces?: unknown } | null
    const interfaces = value?.interfaces
    // Go writes null for a list of nothing.
    if (interfaces === null) return []
    if (!Array.isArray(interfaces)) throw cannot('it has no list of interfaces')
    if (interfaces.length > 16_384) throw cannot(`it lists ${interfaces.length} interfaces`)
    const nics = interfaces.flatMap((one: unknown) => {
        if (typeof one !== 'object' || one === null) throw cannot('an interface is no object')
        const nic = nicOfUpstream(one as Record<string, unknown>)
        return nic === undefined ? [] : [nic]
    })
    requireUnique(nics)
    return nics
}

function nicOfUpstream(one: Record<string, unknown>): Nic | undefined {
    const name = one.name
    if (!Value.Check(Name, name)) throw cannot('an interface has no usable name')
    const devicePath = text(one.pci_path)
    if (one.is_virtual === true || devicePath === undefined) return undefined
    const udev = (typeof one.udev_properties === 'object' ? (one.udev_properties ?? {}) : {}) as Record<
        string,
        unknown
    >
    return nicOf({
        name,
        permanentMac: one.permanent_mac,
        mac: one.mac,
        driver: one.driver,
        device: devicePath,
        udev,
    })
}

/** Whether an interface can be in the inventory: the kernel would take names that nobody can type. */
export const isNicName = (name: string): boolean => Value.Check(Name, name)

/** Puts a card together from what the system says of it; leaves out what is empty or says nothing. */
export function nicOf(known: {
    name: string
    altnames?: readonly string[]
    permanentMac?: unknown
    mac?: unknown
    driver?: unknown
    /** Absolute path of the device in sysfs. */
    device?: string
    /** Properties of udev by name. */
    udev?: Readonly<Record<string, unknown>>
}): Nic {
    const udev = known.udev ?? {}
    const place = known.device === undefined ? undefined : placeOf(known.device)
    const nic: Nic = { name: known.name }
    const altnames = (known.altnames ?? []).filter(name => Value.Check(AltName, name))
    if (altnames.length > 0) nic.altnames = altnames.slice(0, 64)
    const facts: Omit<Nic, 'name' | 'altnames'> = {
        permanentMac: address(known.permanentMac),
        mac: address(known.mac),
        driver: text(known.driver),
        pciSlot: place?.pciSlot ?? text(udev.ID_PCI_SLOT_NAME),
        devicePath: place?.devicePath,
        serial: text(udev.ID_SERIAL),
        path: text(udev.ID_PATH),
        netNamePath: text(udev.ID_NET_NAME_PATH),
        netNameSlot: text(udev.ID_NET_NAME_SLOT),
        netNameOnboard: text(udev.ID_NET_NAME_ONBOARD),
    }
    for (const [key, value] of Object.entries(facts))
        if (value !== undefined) nic[key as keyof typeof facts] = value
    return nic
}

const pciAddress = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/

/** `virtio3` is counted in the order of discovery: one more disk would make another card of it. */
function placeOf(device: string): { devicePath?: string; pciSlot?: string } {
    const names = device.replace(/^\/sys\//, '/').split('/')
    while (/^virtio\d+$/.test(names.at(-1) ?? '')) names.pop()
    const last = names.at(-1) ?? ''
    return {
        devicePath: text(names.join('/').replace(/^\/?devices\//, '')),
        pciSlot: pciAddress.test(last) ? last : undefined,
    }
}

function text(value: unknown): string | undefined {
    if (typeof value !== 'string') return undefined
    const trimmed = value.trim()
    return Value.Check(Text, trimmed) ? trimmed : undefined
}

/** Lower case; undefined for what is no address, and for those of no card: all zeros, all ones. */
function address(value: unknown): string | undefined {
    if (typeof value !== 'string') return undefined
    const mac = value.trim().toLowerCase()
    if (!Value.Check(Address, mac) || /^(00|:)+$/.test(mac) || /^(ff|:)+$/.test(mac)) return undefined
    return mac
}

function parseJson(bytes: Uint8Array): unknown {
    if (bytes.length > limits.commandBytes) throw cannot(`it has ${bytes.length} bytes`)
    try {
        return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    } catch {
        throw cannot('it is not valid JSON')
    }
}

function requireUnique(nics: readonly Nic[]): void {
    const seen = new Set<string>()
    for (const { name } of nics) {
        if (seen.has(name)) throw cannot(`${name} is in it twice`)
        seen.add(name)
    }
}
