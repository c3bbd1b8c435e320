/** POSIX ACLs: from the kernel's binary attribute to the text that `tar --acls` reads. */

const permissions = (bits: number) => `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${bits & 1 ? 'x' : '-'}`

const keys: Record<string, string> = {
    'system.posix_acl_access': 'SCHILY.acl.access',
    'system.posix_acl_default': 'SCHILY.acl.default',
}

/**
 * The pax record for an ACL attribute, ids as numbers; undefined for any other attribute or one that is not understood.
 * The layout is the kernel's: a version word of 2, then 8 bytes an entry: tag, permissions, id.
 */
export function aclText(xattr: {
    name: string
    value: Uint8Array
}): { key: string; text: string } | undefined {
    const key = keys[xattr.name]
    const { value } = xattr
    if (key === undefined || value.length < 4 || (value.length - 4) % 8 !== 0) return undefined
    const view = new DataView(value.buffer, value.byteOffset, value.length)
    if (view.getUint32(0, true) !== 2) return undefined
    const lines: string[] = []
    for (let at = 4; at < value.length; at += 8) {
        const tag = view.getUint16(at, true)
        const bits = permissions(view.getUint16(at + 2, true))
        const id = view.getUint32(at + 4, true)
        if (tag === 0x01) lines.push(`user::${bits}`)
        else if (tag === 0x02) lines.push(`user:${id}:${bits}`)
        else if (tag === 0x04) lines.push(`group::${bits}`)
        else if (tag === 0x08) lines.push(`group:${id}:${bits}`)
        else if (tag === 0x10) lines.push(`mask::${bits}`)
        else if (tag === 0x20) lines.push(`other::${bits}`)
        else return undefined
    }
    return { key, text: `${lines.join('\n')}\n` }
}
