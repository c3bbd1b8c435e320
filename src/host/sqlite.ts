/** A consistent copy of a live SQLite database, write-ahead log included, that leaves no trace beside the original. */
import { constants, Database } from 'bun:sqlite'
import { existsSync } from 'node:fs'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { DataFile, discardFile, makePrivateDirectory } from './data-file.ts'
import * as libc from './libc.ts'

/**
 * Copies the database at `source` into the new file `copy` and checks it.
 *
 * A plain copy of a live pmxcfs database loses what sits in its write-ahead log, so SQLite itself makes the copy. Opened
 * naively it would create `-wal` and `-shm` beside a database that nobody has open, hence the three cases.
 */
export function copyDatabase(source: string, copy: string, scratch: string): void {
    makePrivateDirectory(scratch)
    discardFile(copy)
    const shared = existsSync(`${source}-shm`)
    if (shared && existsSync(`${source}-wal`)) {
        vacuumInto(`${uriOf(source)}?mode=ro`, copy)
        return
    }
    // Nobody has it open: the file is the database, with the log or the journal of an owner that died. It is opened as a
    // copy, so that replaying them, and reading at all, leaves the original as it is.
    const aside = `${scratch}/aside.db`
    try {
        for (const suffix of suffixes) discardFile(`${aside}${suffix}`)
        for (const suffix of suffixes) copyUntouched(`${source}${suffix}`, `${aside}${suffix}`)
        // Somebody opened it meanwhile: what was copied may be half of a change.
        if (shared || !existsSync(`${source}-shm`)) {
            vacuumInto(`${uriOf(aside)}?mode=rw`, copy)
            return
        }
    } finally {
        for (const suffix of [...suffixes, '-shm']) discardFile(`${aside}${suffix}`)
    }
    copyDatabase(source, copy, scratch)
}

/** The database, its write-ahead log, its rollback journal. */
const suffixes = ['', '-wal', '-journal']

/** Copies a file that is there without leaving an access time. */
function copyUntouched(from: string, to: string): void {
    const flags = libc.open.RDONLY | libc.open.NOFOLLOW
    const open = (more: number) => libc.openAt(libc.AT_FDCWD, libc.cPath(from), flags | more)
    let fd: number
    try {
        try {
            fd = open(libc.open.NOATIME)
        } catch (error) {
            // Somebody else's file: reading it may leave an access time.
            if (libc.codeOf(error) !== 'EPERM') throw error
            fd = open(0)
        }
    } catch (error) {
        if (libc.codeOf(error) === 'ENOENT' && !to.endsWith('.db')) return
        throw new Fault('failed', `cannot copy the database: ${libc.codeOf(error)}`, { cause: error })
    }
    const copy = DataFile.create(to)
    try {
        const buffer = new Uint8Array(limits.writeBytes)
        for (let at = 0; ; ) {
            const got = libc.readAt(fd, buffer, at)
            if (got === 0) return
            copy.writeAt(buffer.subarray(0, got), at)
            at += got
        }
    } finally {
        copy.close()
        libc.close(fd)
    }
}

/** SQLite takes a question mark or a hash for the end of the path. */
const uriOf = (path: string) => `file:${encodeURI(path).replace(/[?#]/g, encodeURIComponent)}`

/** Opens by URI; a query `mode=rw` asks for writing, all else reads only. */
function open(uri: string): Database {
    const mode = uri.endsWith('?mode=rw') ? constants.SQLITE_OPEN_READWRITE : constants.SQLITE_OPEN_READONLY
    return new Database(uri, mode | constants.SQLITE_OPEN_URI)
}

function vacuumInto(uri: string, copy: string): void {
    let database: Database | undefined
    try {
        database = open(uri)
        database.exec('PRAGMA busy_timeout = 10000')
        database.query('VACUUM INTO ?').run(copy)
        database.close()
        database = undefined
        checkDatabase(copy)
    } catch (error) {
        discardFile(copy)
        if (error instanceof Fault) throw error
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault('failed', `cannot copy the database: ${why}`, { cause: error })
    } finally {
        database?.close()
    }
}

/** Opens a database read-only and runs SQLite's own integrity check; a Fault says what it found. */
export function checkDatabase(path: string): void {
    let database: Database | undefined
    try {
        database = open(`${uriOf(path)}?immutable=1`)
        const rows = database.query('PRAGMA integrity_check').all() as { integrity_check: string }[]
        if (rows.length !== 1 || rows[0]?.integrity_check !== 'ok')
            throw new Fault(
                'damaged',
                `cannot trust the database: ${rows[0]?.integrity_check ?? 'no answer'}`,
            )
    } catch (error) {
        if (error instanceof Fault) throw error
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault('damaged', `cannot open the database: ${why}`, { cause: error })
    } finally {
        database?.close()
    }
}
