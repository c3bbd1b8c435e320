/** How much room a file system has left. */
import { statfsSync } from 'node:fs'
import { Fault } from '../core/errors.ts'

/** Free bytes for this user; free inodes where the file system counts them. Throws when the directory is not there. */
export function freeSpace(directory: string): { bytes: number; inodes: number | undefined } {
    try {
        const { bavail, bsize, files, ffree } = statfsSync(directory)
        return { bytes: bavail * bsize, inodes: files === 0 ? undefined : ffree }
    } catch (error) {
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault('failed', `cannot see how much room ${directory} has: ${why}`, { cause: error })
    }
}
