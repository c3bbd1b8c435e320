/** What no guard writes, whatever a plan says. */
import { Fault } from '../core/errors.ts'
import type { ByteString } from '../format/tar-write.ts'
import { showPath } from '../host/tree.ts'
import { checkPath } from '../host/unpack.ts'

const never = ['etc/pve', 'proc', 'sys', 'dev', 'run', 'var/lib/proxsave', 'etc/proxsave']

/** The path itself, or a fault. */
export function guardPath(path: ByteString): ByteString {
    checkPath(path)
    const at = never.find(one => path === one || path.startsWith(`${one}/`) || one.startsWith(`${path}/`))
    if (at === undefined || (at.startsWith(`${path}/`) && path === 'etc')) return path
    throw new Fault('failed', `cannot write /${showPath(path)}: nothing below /${at} is written as a file`)
}
