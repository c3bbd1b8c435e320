/** The mount table: what is mounted where, read without touching any of the file systems, so that a dead one cannot hang. */
import { readFileSync } from 'node:fs'

export interface Mount {
    /** Absolute path, one character for one byte. */
    point: string
    /** `ext4`, `nfs4`, `fuse.sshfs`, … */
    type: string
    source: string
}

/** Parses `/proc/self/mountinfo` (proc(5)); of several mounts on one point the last, which is the one that is seen, wins. */
export function parseMountInfo(text: string): Map<string, Mount> {
    const mounts = new Map<string, Mount>()
    for (const line of text.split('\n')) {
        const fields = line.split(' ')
        const dash = fields.indexOf('-', 6)
        if (dash < 0 || fields[4] === undefined) continue
        const point = unescapeOctal(fields[4])
        mounts.set(point, {
            point,
            type: fields[dash + 1] ?? '',
            source: unescapeOctal(fields[dash + 2] ?? ''),
        })
    }
    return mounts
}

export function readMounts(): Map<string, Mount> {
    return parseMountInfo(readFileSync('/proc/self/mountinfo', 'latin1'))
}

const unescapeOctal = (text: string) =>
    text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

const localTypes = new Set([
    'ext2',
    'ext3',
    'ext4',
    'xfs',
    'btrfs',
    'zfs',
    'bcachefs',
    'f2fs',
    'jfs',
    'reiserfs',
    'vfat',
    'exfat',
    'ntfs3',
    'tmpfs',
    'overlay',
    'squashfs',
    'erofs',
    'iso9660',
    'ramfs',
    'devtmpfs',
    'proc',
    'sysfs',
])

/** Whether a file system answers without a network or a user-space process behind it. */
export const isLocal = (type: string): boolean => localTypes.has(type)
