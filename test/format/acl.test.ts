/** POSIX ACLs: the kernel's bytes as the text that tar and setfacl read. */
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { aclText } from '../../src/format/acl.ts'
import * as libc from '../../src/host/libc.ts'

const list = (...entries: [number, number, number][]) => {
    const bytes = Buffer.alloc(4 + entries.length * 8)
    bytes.writeUInt32LE(2)
    for (const [i, [tag, permissions, id]] of entries.entries()) {
        bytes.writeUInt16LE(tag, 4 + i * 8)
        bytes.writeUInt16LE(permissions, 6 + i * 8)
        bytes.writeUInt32LE(id, 8 + i * 8)
    }
    return bytes
}

test('every kind of line', () => {
    const value = list([1, 7, 0], [2, 5, 4_000_000_000], [4, 4, 0], [8, 2, 7], [16, 6, 0], [32, 0, 0])
    expect(aclText({ name: 'system.posix_acl_access', value })).toEqual({
        key: 'SCHILY.acl.access',
        text: 'user::rwx\nuser:4000000000:r-x\ngroup::r--\ngroup:7:-w-\nmask::rw-\nother::---\n',
    })
    expect(aclText({ name: 'system.posix_acl_default', value })?.key).toBe('SCHILY.acl.default')
})

test('what setfacl sets is what it is told', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'proxsave-acl-'))
    try {
        const file = join(directory, 'f')
        writeFileSync(file, '')
        const text = 'user::rw-\nuser:1234:r--\ngroup::r--\ngroup:77:-w-\nmask::rw-\nother::---\n'
        const child = Bun.spawn(['setfacl', '--set-file=-', file], {
            stdin: Buffer.from(text),
            stderr: 'pipe',
        })
        const complaint = await new Response(child.stderr).text()
        if ((await child.exited) !== 0) return console.log(`skip: no ACLs on ${directory}: ${complaint}`)
        const xattr = libc.readXattrs(libc.cPath(file)).find(({ name }) => name === 'system.posix_acl_access')
        expect(aclText(xattr!)?.text).toBe(text)
    } finally {
        rmSync(directory, { recursive: true })
    }
})

test('other attributes, other versions, other lengths and unknown tags are none', () => {
    const good = list([1, 7, 0])
    const named = (value: Uint8Array, name = 'system.posix_acl_access') => aclText({ name, value })
    expect(named(good)).toBeDefined()
    expect(named(good, 'user.posix_acl_access')).toBeUndefined()
    expect(named(good.subarray(0, 11))).toBeUndefined()
    expect(named(new Uint8Array(3))).toBeUndefined()
    expect(named(list([3, 7, 0]))).toBeUndefined()
    const later = Buffer.from(good)
    later.writeUInt32LE(3)
    expect(named(later)).toBeUndefined()
})
