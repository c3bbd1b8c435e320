/** A consistent copy of a live SQLite database, write-ahead log included, that leaves no trace beside the original. */
import { constants, Database } from 'bun:sqlite'
import { copyFileSync, existsSync } from 'node:fs'
import { Fault } from '../core/errors.ts'
import { discardFile, makePrivateDirectory } from './data-file.ts'

/**
 * Copies the database at `source` into the new file `copy` and checks it.
 *
 * A plain copy of a live pmxcfs database loses what sits in its write-ahead log, so SQLite itself makes the copy. Opened
 * naively it would create `-wal` and `-shm` beside a database that nobody has open, hence the three cases.
 */
export function copyDatabase(source: string, copy: string, scratch: string): void {
    const wal = existsSync(`${source}-wal`)
    const shm = existsSync(`${source}-shm`)
    makePrivateDirectory(scratch)
    discardFile(copy)
    if (!wal) {
        // Nobody has it open in write-ahead mode: the file alone is the database.
        vacuumInto(`file:${encodeURI(source)}?immutable=1`, copy)
        if (!existsSync(`${source}-wal`)) return
        // Somebody opened it meanwhile; what was copied may be half of a change.
        discardFile(copy)
        copyDatabase(source, copy, scratch)
        return
    }
    if (shm) {
        vacuumInto(`file:${encodeURI(source)}?mode=ro`, copy)
        return
    }
    // A log without its shared memory: its owner died. Replayed on a copy, so that the original stays as it is.
    const aside = `${scratch}/aside.db`
    try {
        copyFileSync(source, aside)
        copyFileSync(`${source}-wal`, `${aside}-wal`)
        vacuumInto(`file:${encodeURI(aside)}?mode=rw`, copy)
    } finally {
        for (const suffix of ['', '-wal', '-shm']) discardFile(`${aside}${suffix}`)
    }
}

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
    } catch (error) {
        discardFile(copy)
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault('failed', `cannot copy the database: ${why}`, { cause: error })
    } finally {
        database?.close()
    }
    checkDatabase(copy)
}

/** Opens a database read-only and runs SQLite's own integrity check; a Fault says what it found. */
export function checkDatabase(path: string): void {
    let database: Database | undefined
    try {
        database = open(`file:${encodeURI(path)}?immutable=1`)
        const rows = database.query('PRAGMA integrity_check').all() as { integrity_check: string }[]
        if (rows.length !== 1 || rows[0]?.integrity_check !== 'ok')
            throw new Fault('damaged', `cannot trust the database: ${rows[0]?.integrity_check ?? 'no answer'}`)
    } catch (error) {
        if (error instanceof Fault) throw error
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault('damaged', `cannot open the database: ${why}`, { cause: error })
    } finally {
        database?.close()
    }
}
