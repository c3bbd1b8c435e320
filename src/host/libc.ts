/**
 * The only door to the C library: what Bun's own file functions cannot do, on raw bytes and descriptors.
 *
 * Every function throws `OsError` with the errno's name. A typed array is passed to the call itself, never its address
 * kept as a number: the collector would free it under the call.
 */
import { dlopen, FFIType, read } from 'bun:ffi'
import { constants } from 'node:os'

const { i32, u32, i64, u64, ptr, cstring } = FFIType
void cstring

const library = dlopen('libc.so.6', {
    __errno_location: { args: [], returns: ptr },
    openat: { args: [i32, ptr, i32, u32], returns: i32 },
    close: { args: [i32], returns: i32 },
    statx: { args: [i32, ptr, i32, u32, ptr], returns: i32 },
    syscall: { args: [i64, i64, ptr, i64, i64, i64], returns: i64 },
    readlinkat: { args: [i32, ptr, ptr, u64], returns: i64 },
    flistxattr: { args: [i32, ptr, u64], returns: i64 },
    fgetxattr: { args: [i32, ptr, ptr, u64], returns: i64 },
    llistxattr: { args: [ptr, ptr, u64], returns: i64 },
    lgetxattr: { args: [ptr, ptr, ptr, u64], returns: i64 },
    lsetxattr: { args: [ptr, ptr, ptr, u64, i32], returns: i32 },
    lremovexattr: { args: [ptr, ptr], returns: i32 },
    utimensat: { args: [i32, ptr, ptr, i32], returns: i32 },
    fchownat: { args: [i32, ptr, u32, u32, i32], returns: i32 },
    fchmodat: { args: [i32, ptr, u32, i32], returns: i32 },
    mkdirat: { args: [i32, ptr, u32], returns: i32 },
    symlinkat: { args: [ptr, i32, ptr], returns: i32 },
    linkat: { args: [i32, ptr, i32, ptr, i32], returns: i32 },
    unlinkat: { args: [i32, ptr, i32], returns: i32 },
    renameat2: { args: [i32, ptr, i32, ptr, u32], returns: i32 },
    flock: { args: [i32, i32], returns: i32 },
    lseek: { args: [i32, i64, i32], returns: i64 },
    pread: { args: [i32, ptr, u64, i64], returns: i64 },
    read: { args: [i32, ptr, u64], returns: i64 },
    syncfs: { args: [i32], returns: i32 },
    prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
    umask: { args: [u32], returns: u32 },
    socket: { args: [i32, i32, i32], returns: i32 },
    sendto: { args: [i32, ptr, u64, i32, ptr, u32], returns: i64 },
    getsockopt: { args: [i32, i32, i32, ptr, ptr], returns: i32 },
    inet_pton: { args: [i32, ptr, ptr], returns: i32 },
    connect: { args: [i32, ptr, u32], returns: i32 },
    poll: { args: [ptr, u64, i32], returns: i32 },
    clock_gettime: { args: [i32, ptr], returns: i32 },
})
const c = library.symbols

// openat2 has no wrapper in the C library and takes two pointers, so it needs a signature of its own.
const openat2 = dlopen('libc.so.6', {
    syscall: { args: [i64, i64, ptr, ptr, i64], returns: i64 },
}).symbols.syscall

const errnoNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number as number, name]))
errnoNames.set(constants.errno.EAGAIN, 'EAGAIN')

/** A failed call of the operating system. `code` is the errno's name, as Bun's own file errors have it. */
export class OsError extends Error {
    readonly code: string
    constructor(call: string, errno: number, what: string) {
        const code = errnoNames.get(errno) ?? `errno ${errno}`
        super(`${call}: ${code}: ${what}`)
        this.name = 'OsError'
        this.code = code
    }
}

export function codeOf(error: unknown): string | undefined {
    const code = (error as { code?: unknown } | null)?.code
    return typeof code === 'string' ? code : undefined
}

function fail(call: string, what: Uint8Array | string): never {
    const errno = read.i32(c.__errno_location()!, 0)
    throw new OsError(call, errno, typeof what === 'string' ? what : showBytes(what))
}

/** A path or name as people may see it: UTF-8 where it is, escaped bytes where it is not, without its final NUL. */
export function showBytes(bytes: Uint8Array): string {
    const end = bytes.indexOf(0)
    const name = Buffer.from(end < 0 ? bytes : bytes.subarray(0, end))
    const text = name.toString('utf8')
    if (!text.includes('\ufffd')) return text
    let shown = ''
    for (const byte of name)
        shown +=
            byte >= 0x20 && byte < 0x7f
                ? String.fromCharCode(byte)
                : `\\x${byte.toString(16).padStart(2, '0')}`
    return shown
}

/** A path as the C library wants it: bytes with a NUL behind. Throws on a NUL inside. */
export function cPath(path: string | Uint8Array): Uint8Array {
    const bytes = typeof path === 'string' ? Buffer.from(path) : path
    if (bytes.includes(0)) throw new OsError('path', constants.errno.EINVAL, showBytes(bytes))
    const terminated = new Uint8Array(bytes.length + 1)
    terminated.set(bytes)
    return terminated
}

export const AT_FDCWD = -100
export const open = {
    RDONLY: 0,
    WRONLY: 1,
    CREAT: 0o100,
    EXCL: 0o200,
    NONBLOCK: 0o4000,
    DIRECTORY: 0o200000,
    NOFOLLOW: 0o400000,
    NOATIME: 0o1000000,
    CLOEXEC: 0o2000000,
    PATH: 0o10000000,
} as const

/** Opens relative to a directory; `path` ends with a NUL. The descriptor is close-on-exec. */
export function openAt(directory: number, path: Uint8Array, flags: number, mode = 0): number {
    for (;;) {
        const fd = c.openat(directory, path, flags | open.CLOEXEC, mode)
        if (fd >= 0) return fd
        const errno = read.i32(c.__errno_location()!, 0)
        if (errno !== constants.errno.EINTR) fail('open', path)
    }
}

const SYS_openat2 = 437
const RESOLVE_NO_MAGICLINKS_NO_SYMLINKS_BENEATH = 0x02 | 0x04 | 0x08

/**
 * Opens a path below a directory without following any symbolic link on the way: it cannot leave the directory, even
 * when somebody swaps a component for a link meanwhile (then: ELOOP). `path` is relative and ends with a NUL.
 */
export function openBeneath(directory: number, path: Uint8Array, flags: number, mode = 0): number {
    const how = new BigUint64Array([
        BigInt(flags | open.CLOEXEC),
        BigInt(mode),
        BigInt(RESOLVE_NO_MAGICLINKS_NO_SYMLINKS_BENEATH),
    ])
    for (;;) {
        const fd = Number(openat2(SYS_openat2, directory, path, how, 24))
        if (fd >= 0) return fd
        const errno = read.i32(c.__errno_location()!, 0)
        if (errno !== constants.errno.EINTR && errno !== constants.errno.EAGAIN) fail('open', path)
    }
}

export function close(fd: number): void {
    c.close(fd)
}

/** What `statx` tells of one entry. Times are nanoseconds since the epoch. */
export interface Stat {
    /** Type and permission bits, as `st_mode`. */
    mode: number
    nlink: number
    uid: number
    gid: number
    size: number
    blocks: number
    ino: bigint
    /** Device number of the file system, major and minor in one number. */
    dev: number
    mountId: bigint
    atimeNs: bigint
    mtimeNs: bigint
    ctimeNs: bigint
}

export const fileType = {
    mask: 0o170000,
    file: 0o100000,
    directory: 0o040000,
    symlink: 0o120000,
    socket: 0o140000,
    fifo: 0o010000,
    block: 0o060000,
    character: 0o020000,
} as const

const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
const AT_NO_AUTOMOUNT = 0x800
const STATX_BASIC_AND_MOUNT = 0x7ff | 0x1000
const statBuffer = new Uint8Array(256)
const statView = new DataView(statBuffer.buffer)
const empty = new Uint8Array(1)

/** Reads the metadata of one entry without following a final link and without triggering an automount. */
export function statAt(directory: number, path: Uint8Array): Stat {
    if (
        c.statx(directory, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_AND_MOUNT, statBuffer) !==
        0
    )
        fail('statx', path)
    return parseStat()
}

export function statFd(fd: number): Stat {
    if (c.statx(fd, empty, AT_EMPTY_PATH, STATX_BASIC_AND_MOUNT, statBuffer) !== 0) fail('statx', `fd ${fd}`)
    return parseStat()
}

function parseStat(): Stat {
    const view = statView
    const time = (at: number) =>
        view.getBigInt64(at, true) * 1_000_000_000n + BigInt(view.getUint32(at + 8, true))
    return {
        nlink: view.getUint32(16, true),
        uid: view.getUint32(20, true),
        gid: view.getUint32(24, true),
        mode: view.getUint16(28, true),
        ino: view.getBigUint64(32, true),
        size: Number(view.getBigUint64(40, true)),
        blocks: Number(view.getBigUint64(48, true)),
        atimeNs: time(64),
        ctimeNs: time(96),
        mtimeNs: time(112),
        dev: view.getUint32(136, true) * 0x100000 + view.getUint32(140, true),
        mountId: view.getBigUint64(144, true),
    }
}

const SYS_getdents64 = process.arch === 'arm64' ? 61 : 217
const direntBuffer = new Uint8Array(256 * 1024)
const direntView = new DataView(direntBuffer.buffer)

/** Names in an open directory, as raw bytes each with a NUL behind, unsorted, without `.` and `..`. */
export function readDirectory(fd: number): Uint8Array[] {
    const names: Uint8Array[] = []
    for (;;) {
        const length = Number(c.syscall(SYS_getdents64, fd, direntBuffer, direntBuffer.length, 0, 0))
        if (length < 0) fail('getdents64', `fd ${fd}`)
        if (length === 0) return names
        for (let at = 0; at < length; ) {
            const next = at + direntView.getUint16(at + 16, true)
            const end = direntBuffer.indexOf(0, at + 19)
            const size = end - (at + 19)
            const dot = direntBuffer[at + 19] === 0x2e
            const special = dot && (size === 1 || (size === 2 && direntBuffer[at + 20] === 0x2e))
            if (!special) names.push(direntBuffer.slice(at + 19, end + 1))
            at = next
        }
    }
}

/** The target of a symbolic link, raw bytes. */
export function readLinkAt(directory: number, path: Uint8Array): Uint8Array {
    const buffer = new Uint8Array(4097)
    const length = Number(c.readlinkat(directory, path, buffer, buffer.length))
    if (length < 0) fail('readlink', path)
    return buffer.slice(0, length)
}

const noAttributes = new Set(['ENOTSUP', 'EOPNOTSUPP', 'ENODATA'])
const listBuffer = new Uint8Array(64 * 1024)
const valueBuffer = new Uint8Array(64 * 1024)

export interface Xattr {
    name: string
    value: Uint8Array
}

/** Extended attributes of a path (not followed), sorted by name; none where the file system has none. */
export function readXattrs(path: Uint8Array): Xattr[] {
    return collectXattrs(
        () => c.llistxattr(path, listBuffer, listBuffer.length),
        name => c.lgetxattr(path, name, valueBuffer, valueBuffer.length),
        path,
    )
}

export function readXattrsFd(fd: number): Xattr[] {
    return collectXattrs(
        () => c.flistxattr(fd, listBuffer, listBuffer.length),
        name => c.fgetxattr(fd, name, valueBuffer, valueBuffer.length),
        `fd ${fd}`,
    )
}

function collectXattrs(
    list: () => number | bigint,
    get: (name: Uint8Array) => number | bigint,
    what: Uint8Array | string,
): Xattr[] {
    const length = Number(list())
    if (length === 0) return []
    if (length < 0) {
        try {
            fail('listxattr', what)
        } catch (error) {
            if (noAttributes.has(codeOf(error) ?? '')) return []
            throw error
        }
    }
    const names: string[] = []
    for (let at = 0; at < length; ) {
        const end = listBuffer.indexOf(0, at)
        names.push(Buffer.from(listBuffer.subarray(at, end)).toString('latin1'))
        at = end + 1
    }
    const found: Xattr[] = []
    for (const name of names.sort()) {
        const size = Number(get(cPath(Buffer.from(name, 'latin1'))))
        // An attribute may be unreadable to us (user namespaces) or gone since the listing.
        if (size >= 0) found.push({ name, value: valueBuffer.slice(0, size) })
    }
    return found
}

export function setXattr(path: Uint8Array, name: string, value: Uint8Array): void {
    const holder = value.length === 0 ? empty : value
    if (c.lsetxattr(path, cPath(Buffer.from(name, 'latin1')), holder, value.length, 0) !== 0)
        fail('setxattr', path)
}

export function removeXattr(path: Uint8Array, name: string): void {
    if (c.lremovexattr(path, cPath(Buffer.from(name, 'latin1'))) !== 0) fail('removexattr', path)
}

/** Sets access and modification time, nanoseconds since the epoch, of the entry itself. */
export function setTimesAt(directory: number, path: Uint8Array, atimeNs: bigint, mtimeNs: bigint): void {
    const times = new BigInt64Array(4)
    const billion = 1_000_000_000n
    const seconds = (ns: bigint) => (ns >= 0n ? ns / billion : -((-ns + billion - 1n) / billion))
    times[0] = seconds(atimeNs)
    times[1] = atimeNs - seconds(atimeNs) * billion
    times[2] = seconds(mtimeNs)
    times[3] = mtimeNs - seconds(mtimeNs) * billion
    if (c.utimensat(directory, path, times, AT_SYMLINK_NOFOLLOW) !== 0) fail('utimensat', path)
}

/** Changes the owner of the entry itself; never follows a link. */
export function chownAt(directory: number, path: Uint8Array, uid: number, gid: number): void {
    if (c.fchownat(directory, path, uid, gid, AT_SYMLINK_NOFOLLOW) !== 0) fail('chown', path)
}

/** Changes the mode; follows links (Linux has no other), so call it on what was just created. */
export function chmodAt(directory: number, path: Uint8Array, mode: number): void {
    if (c.fchmodat(directory, path, mode, 0) !== 0) fail('chmod', path)
}

export function mkdirAt(directory: number, path: Uint8Array, mode: number): void {
    if (c.mkdirat(directory, path, mode) !== 0) fail('mkdir', path)
}

export function symlinkAt(target: Uint8Array, directory: number, path: Uint8Array): void {
    if (c.symlinkat(target, directory, path) !== 0) fail('symlink', path)
}

export function linkAt(fromDirectory: number, from: Uint8Array, toDirectory: number, to: Uint8Array): void {
    if (c.linkat(fromDirectory, from, toDirectory, to, 0) !== 0) fail('link', to)
}

export function unlinkAt(directory: number, path: Uint8Array, isDirectory = false): void {
    if (c.unlinkat(directory, path, isDirectory ? 0x200 : 0) !== 0) fail('unlink', path)
}

export const RENAME_NOREPLACE = 1

export function renameAt(
    fromDirectory: number,
    from: Uint8Array,
    toDirectory: number,
    to: Uint8Array,
    flags = 0,
): void {
    if (c.renameat2(fromDirectory, from, toDirectory, to, flags) !== 0) fail('rename', to)
}

/** Takes an exclusive advisory lock without waiting; false when another process has it. Freed when the process dies. */
export function tryLock(fd: number): boolean {
    if (c.flock(fd, 2 | 4) === 0) return true
    const errno = read.i32(c.__errno_location()!, 0)
    if (errno === constants.errno.EAGAIN) return false
    fail('flock', `fd ${fd}`)
}

/** One stretch of real data in a file: everything between such stretches reads as zeros and takes no room. */
export interface Extent {
    offset: number
    length: number
}

/** The stretches of data in an open file of `size` bytes; one stretch where the file system cannot tell. */
export function dataExtents(fd: number, size: number, most: number): Extent[] {
    const SEEK_DATA = 3
    const SEEK_HOLE = 4
    const extents: Extent[] = []
    let at = 0
    while (at < size) {
        const data = Number(c.lseek(fd, at, SEEK_DATA))
        if (data < 0) {
            const errno = read.i32(c.__errno_location()!, 0)
            if (errno === constants.errno.ENXIO) break
            return [{ offset: 0, length: size }]
        }
        if (data >= size) break
        const hole = Number(c.lseek(fd, data, SEEK_HOLE))
        const end = hole < 0 ? size : Math.min(hole, size)
        extents.push({ offset: data, length: end - data })
        if (extents.length > most) return [{ offset: 0, length: size }]
        at = end
    }
    return extents
}

/** Reads into `buffer` at `offset` of the file; the number of bytes, 0 at the end. */
export function readAt(fd: number, buffer: Uint8Array, offset: number): number {
    if (buffer.length === 0) return 0
    for (;;) {
        const length = Number(c.pread(fd, buffer, buffer.length, offset))
        if (length >= 0) return length
        const errno = read.i32(c.__errno_location()!, 0)
        if (errno !== constants.errno.EINTR) fail('read', `fd ${fd}`)
    }
}

/** Makes everything written to the file system of `fd` durable. */
export function syncFileSystem(fd: number): void {
    if (c.syncfs(fd) !== 0) fail('syncfs', `fd ${fd}`)
}

/** Sends SIGKILL to this process when its parent dies: a worker never outlives the daemon. */
export function dieWithParent(): void {
    const PR_SET_PDEATHSIG = 1
    if (c.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0) !== 0) fail('prctl', 'PR_SET_PDEATHSIG')
}

export function setUmask(mask: number): number {
    return c.umask(mask)
}

/**
 * Sends one datagram to the service manager's socket (`$NOTIFY_SOCKET`, a path or `@abstract`). With `wait` false a
 * receiver that does not read is EAGAIN, not a wait.
 */
export function sendNotification(socketPath: string, message: string, wait = true): void {
    const MSG_DONTWAIT = 0x40
    const AF_UNIX = 1
    const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
    const fd = c.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0)
    if (fd < 0) fail('socket', socketPath)
    try {
        const path = Buffer.from(socketPath)
        const address = new Uint8Array(110)
        address[0] = AF_UNIX
        address.set(path, 2)
        if (path[0] === 0x40) address[2] = 0
        const body = Buffer.from(message)
        if (c.sendto(fd, body, body.length, wait ? 0 : MSG_DONTWAIT, address, 2 + path.length) < 0)
            fail('sendto', socketPath)
    } finally {
        c.close(fd)
    }
}

/** Who is at the other end of a connected Unix socket. */
export function peerOf(fd: number): { pid: number; uid: number; gid: number } {
    const credentials = new Int32Array(3)
    const length = new Uint32Array([12])
    if (c.getsockopt(fd, 1, 17, credentials, length) !== 0) fail('getsockopt', `fd ${fd}`)
    return { pid: credentials[0]!, uid: credentials[1]!, gid: credentials[2]! }
}

/** Begins a TCP connection to an address (never a name) and returns its descriptor at once; see `connected`. */
export function beginConnect(address: string, port: number): number {
    const isV6 = address.includes(':')
    const family = isV6 ? 10 : 2
    const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000
    const target = new Uint8Array(isV6 ? 28 : 16)
    const view = new DataView(target.buffer)
    view.setUint16(0, family, true)
    view.setUint16(2, port)
    if (c.inet_pton(family, cPath(address), target.subarray(isV6 ? 8 : 4)) !== 1)
        throw new OsError('inet_pton', constants.errno.EINVAL, address)
    const fd = c.socket(family, SOCK_STREAM_NONBLOCK_CLOEXEC, 0)
    if (fd < 0) fail('socket', address)
    if (c.connect(fd, target, target.length) === 0) return fd
    const errno = read.i32(c.__errno_location()!, 0)
    if (errno === constants.errno.EINPROGRESS) return fd
    c.close(fd)
    throw new OsError('connect', errno, address)
}

/** False as long as nobody has answered; throws what the answer was when it was no connection. Never waits. */
export function connected(fd: number): boolean {
    const POLLOUT = 4
    const [SOL_SOCKET, SO_ERROR] = [1, 4]
    const polled = new Int32Array([fd, POLLOUT])
    if (c.poll(polled, 1, 0) < 1) return false
    const error = new Int32Array(1)
    if (c.getsockopt(fd, SOL_SOCKET, SO_ERROR, error, new Uint32Array([4])) !== 0)
        fail('getsockopt', `fd ${fd}`)
    if (error[0] !== 0) throw new OsError('connect', error[0]!, `fd ${fd}`)
    return true
}

/** A dump that takes longer (ms) is stuck in the kernel. */
const netlinkMs = 2_000
/** The kernel fills at most 32 KiB at once. */
const netlinkBuffer = new Uint8Array(64 * 1024)

/**
 * Sends one dump request to the kernel's NETLINK_ROUTE and returns its answer, datagram by datagram, the one with the end
 * of the dump included. `ends` tells whether a datagram is the last. EAGAIN when the kernel does not answer.
 */
export function netlinkDump(request: Uint8Array, ends: (datagram: Uint8Array) => boolean): Uint8Array[] {
    const [AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE, POLLIN] = [16, 3 | 0o2000000, 0, 1]
    const mostDatagrams = 4_096
    const fd = c.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE)
    if (fd < 0) fail('socket', 'netlink')
    try {
        const kernel = new Uint8Array(12)
        kernel[0] = AF_NETLINK
        if (c.sendto(fd, request, request.length, 0, kernel, kernel.length) < 0) fail('sendto', 'netlink')
        const datagrams: Uint8Array[] = []
        while (datagrams.length < mostDatagrams) {
            const polled = new Int32Array([fd, POLLIN])
            if (c.poll(polled, 1, netlinkMs) < 1) throw new OsError('poll', constants.errno.EAGAIN, 'netlink')
            const length = Number(c.read(fd, netlinkBuffer, netlinkBuffer.length))
            if (length < 0) fail('read', 'netlink')
            const datagram = netlinkBuffer.slice(0, length)
            datagrams.push(datagram)
            if (ends(datagram)) return datagrams
        }
        throw new OsError('read', constants.errno.EMSGSIZE, 'netlink')
    } finally {
        c.close(fd)
    }
}

/** Nanoseconds since boot, suspend included. */
export function boottimeNs(): bigint {
    const CLOCK_BOOTTIME = 7
    const time = new BigInt64Array(2)
    if (c.clock_gettime(CLOCK_BOOTTIME, time) !== 0) fail('clock_gettime', 'CLOCK_BOOTTIME')
    return time[0]! * 1_000_000_000n + time[1]!
}
