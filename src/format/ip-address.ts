/** IP addresses as text: what is one, and which network it lies in. */

/** The 4 or 16 bytes; undefined for anything else. A zone (`%eth0`) belongs to IPv6 and is passed over. */
export function parseIpAddress(text: string): Uint8Array | undefined {
    if (text.length > 64) return undefined
    if (!text.includes(':')) return parse4(text)
    const [address = '', zone, ...more] = text.split('%')
    return zone === '' || more.length > 0 ? undefined : parse6(address)
}

export function ipFamily(text: string): 4 | 6 | undefined {
    const bytes = parseIpAddress(text)
    return bytes === undefined ? undefined : bytes.length === 4 ? 4 : 6
}

/** Whether the first `bits` of both are the same. False where the families differ, or one is no address. */
export function isInNetwork(address: string, network: string, bits: number): boolean {
    const one = parseIpAddress(address)
    const other = parseIpAddress(network)
    if (one === undefined || other === undefined || one.length !== other.length) return false
    if (!Number.isInteger(bits) || bits < 0 || bits > one.length * 8) return false
    for (let at = 0; at < bits; at++) {
        const mask = 0x80 >> (at & 7)
        if ((one[at >> 3]! & mask) !== (other[at >> 3]! & mask)) return false
    }
    return true
}

function parse4(text: string): Uint8Array | undefined {
    const parts = text.split('.')
    // A leading zero means octal to some and nothing to others.
    if (parts.length !== 4 || !parts.every(part => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256))
        return undefined
    return Uint8Array.from(parts.map(Number))
}

function parse6(text: string): Uint8Array | undefined {
    const halves = text.split('::')
    if (halves.length > 2) return undefined
    const [head, tail] = halves.map((half, at) => groupsOf(half, at === halves.length - 1))
    if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined
    const given = head.length + (tail?.length ?? 0)
    if (tail === undefined ? given !== 16 : given > 14) return undefined
    return Uint8Array.from([...head, ...new Array<number>(16 - given).fill(0), ...(tail ?? [])])
}

/** Bytes of what stands on one side of `::`; only the last group of all may be an IPv4 address. */
function groupsOf(half: string, last: boolean): number[] | undefined {
    if (half === '') return []
    const bytes: number[] = []
    const groups = half.split(':')
    for (const [at, group] of groups.entries()) {
        if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
            const value = Number.parseInt(group, 16)
            bytes.push(value >> 8, value & 0xff)
            continue
        }
        const four = last && at === groups.length - 1 ? parse4(group) : undefined
        if (four === undefined) return undefined
        bytes.push(...four)
    }
    return bytes
}
