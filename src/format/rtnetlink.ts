/** Answers of the kernel about its network interfaces (rtnetlink(7)): bytes in, names, kinds and addresses out. */

/** One interface as the kernel lists it. */
export interface Link {
    index: number
    name: string
    altnames: string[]
    /** `veth`, `bridge`, `bond`, …; undefined for what a driver of hardware made. */
    kind?: string
    /** `aa:bb:…`, the address of the moment. */
    mac?: string
    /** The one that the card was made with. */
    permanentMac?: string
}

// linux/rtnetlink.h, linux/if_link.h
const RTM_NEWLINK = 16
const RTM_GETLINK = 18
const NLM_F_REQUEST_DUMP = 0x001 | 0x300
const IFLA = {
    ADDRESS: 1,
    IFNAME: 3,
    LINKINFO: 18,
    EXT_MASK: 29,
    PROP_LIST: 52,
    ALT_IFNAME: 53,
    PERM_ADDRESS: 54,
} as const
const INFO_KIND = 1
const RTEXT_FILTER_SKIP_STATS = 8
const headerBytes = 16
const linkBytes = 16

/** Asks for every interface, without counters, which are most of the answer. */
export function askForLinks(): Uint8Array {
    const message = new Uint8Array(headerBytes + linkBytes + 8)
    const view = new DataView(message.buffer)
    view.setUint32(0, message.length, true)
    view.setUint16(4, RTM_GETLINK, true)
    view.setUint16(6, NLM_F_REQUEST_DUMP, true)
    view.setUint32(8, 1, true)
    view.setUint16(headerBytes + linkBytes, 8, true)
    view.setUint16(headerBytes + linkBytes + 2, IFLA.EXT_MASK, true)
    view.setUint32(headerBytes + linkBytes + 4, RTEXT_FILTER_SKIP_STATS, true)
    return message
}

/** Reads the messages of a dump. What is cut off or of another type is passed over. */
export function parseLinks(messages: readonly Uint8Array[]): Link[] {
    const links: Link[] = []
    for (const bytes of messages)
        for (const { type, body } of messagesIn(bytes)) {
            if (type !== RTM_NEWLINK || body.length < linkBytes) continue
            const view = new DataView(body.buffer, body.byteOffset, body.length)
            const link: Link = { index: view.getInt32(4, true), name: '', altnames: [] }
            for (const [kind, value] of attributes(body.subarray(linkBytes))) {
                if (kind === IFLA.IFNAME) link.name = cString(value)
                else if (kind === IFLA.ADDRESS) link.mac = hex(value)
                else if (kind === IFLA.PERM_ADDRESS) link.permanentMac = hex(value)
                else if (kind === IFLA.LINKINFO)
                    link.kind = attributes(value)
                        .filter(([inner]) => inner === INFO_KIND)
                        .map(([, name]) => cString(name))[0]
                else if (kind === IFLA.PROP_LIST)
                    for (const [inner, name] of attributes(value))
                        if (inner === IFLA.ALT_IFNAME) link.altnames.push(cString(name))
            }
            if (link.name !== '') links.push(link)
        }
    return links
}

/** The messages that one datagram carries. */
export function messagesIn(bytes: Uint8Array): { type: number; flags: number; body: Uint8Array }[] {
    const found: { type: number; flags: number; body: Uint8Array }[] = []
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at + headerBytes <= bytes.length; ) {
        const length = view.getUint32(at, true)
        if (length < headerBytes || at + length > bytes.length) break
        found.push({
            type: view.getUint16(at + 4, true),
            flags: view.getUint16(at + 6, true),
            body: bytes.subarray(at + headerBytes, at + length),
        })
        at += (length + 3) & ~3
    }
    return found
}

function attributes(bytes: Uint8Array): [number, Uint8Array][] {
    const found: [number, Uint8Array][] = []
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at + 4 <= bytes.length; ) {
        const length = view.getUint16(at, true)
        if (length < 4 || at + length > bytes.length) break
        // The two highest bits say that the value is nested and of which byte order.
        found.push([view.getUint16(at + 2, true) & 0x3fff, bytes.subarray(at + 4, at + length)])
        at += (length + 3) & ~3
    }
    return found
}

function cString(bytes: Uint8Array): string {
    const end = bytes.indexOf(0)
    return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1')
}

const hex = (bytes: Uint8Array): string | undefined =>
    bytes.length === 0 ? undefined : Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(':')
