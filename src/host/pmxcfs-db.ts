/** Reads the database of the cluster file system with SQLite: nothing of Proxmox VE is needed, and nothing is changed. */
import { Database } from 'bun:sqlite'
import { closeSync, constants as flags, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { Fault } from '../core/errors.ts'
import { type PmxcfsTree, readPmxcfsTree, type TreeRow } from '../format/pmxcfs-db.ts'
import { discardFile } from './data-file.ts'
import { copyDatabase } from './sqlite.ts'

/** pmxcfs holds 128 MiB; a database keeps free pages besides. */
const databaseBytes = 512 * 1024 * 1024
const mostRows = 1_000_000

/**
 * The tree in the database at `path`. One that is in use, or was when its host went down, has a log beside it, without
 * which it would be an old state: then a whole copy is made in the private directory `scratch`. Throws `damaged` when
 * SQLite finds it so; what pmxcfs would not like is in `problems`.
 */
export function readPmxcfsDatabase(path: string, scratch?: string): PmxcfsTree {
    if (!hasLog(path)) return readPmxcfsBytes(readWhole(path))
    if (scratch === undefined)
        throw new Fault('damaged', `cannot read ${path}: changes that are not in it lie in a log beside it`, {
            hint: 'make a whole copy: sqlite3 config.db ".backup copy.db"',
        })
    const copy = `${scratch}/pmxcfs.db`
    try {
        copyDatabase(path, copy, scratch)
        return readPmxcfsBytes(readWhole(copy))
    } finally {
        discardFile(copy)
    }
}

/** The tree in a whole database, which lies in memory and nowhere else. */
export function readPmxcfsBytes(bytes: Uint8Array): PmxcfsTree {
    if (Buffer.from(bytes.subarray(0, 16)).toString('latin1') !== 'SQLite format 3\0')
        throw new Fault('damaged', 'cannot read the cluster database: it is no database of SQLite')
    const image = new Uint8Array(bytes)
    // The two bytes that say "there is a log": without them SQLite would look for one.
    image[18] = image[19] = 1
    let database: Database | undefined
    try {
        database = Database.deserialize(image, { readonly: true, safeIntegers: true })
        checkWhole(database)
        return readPmxcfsTree(rowsOf(database))
    } catch (error) {
        if (error instanceof Fault) throw error
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault('damaged', `cannot read the cluster database: ${why}`, { cause: error })
    } finally {
        database?.close()
    }
}

export interface EtcPveFile {
    /** Absolute, one character a byte. */
    path: string
    /** Seconds since the epoch. */
    mtime: number
    data: Uint8Array
}

/** The files of /etc/pve out of a database, for a backup that has nothing but it. */
export function etcPveFromDatabase(path: string, scratch?: string): EtcPveFile[] {
    return etcPveFiles(readPmxcfsDatabase(path, scratch))
}

export function etcPveFiles({ entries }: PmxcfsTree): EtcPveFile[] {
    return entries
        .filter(({ type }) => type === 'file')
        .map(({ path, mtime, data }) => ({ path: `/etc/pve/${path}`, mtime, data }))
}

/** Whether a log lies beside the database with something in it. */
function hasLog(path: string): boolean {
    return ['-wal', '-journal'].some(
        suffix => (statSync(`${path}${suffix}`, { throwIfNoEntry: false })?.size ?? 0) > 0,
    )
}

function readWhole(path: string): Uint8Array {
    let fd: number
    try {
        fd = openSync(path, flags.O_RDONLY | flags.O_NONBLOCK)
    } catch (error) {
        const why = error instanceof Error ? error.message : String(error)
        throw new Fault('failed', `cannot read ${path}: ${why}`, { cause: error })
    }
    try {
        const stat = fstatSync(fd)
        if (!stat.isFile() || stat.size > databaseBytes)
            throw new Fault('damaged', `cannot read ${path}: it is no database of pmxcfs`)
        const bytes = new Uint8Array(stat.size)
        for (let at = 0; at < bytes.length; ) {
            const got = readSync(fd, bytes, at, bytes.length - at, at)
            if (got === 0) return bytes.subarray(0, at)
            at += got
        }
        return bytes
    } finally {
        closeSync(fd)
    }
}

function checkWhole(database: Database): void {
    const rows = database.query('PRAGMA integrity_check').all() as { integrity_check: string }[]
    if (rows.length !== 1 || rows[0]?.integrity_check !== 'ok')
        throw new Fault(
            'damaged',
            `cannot trust the cluster database: ${rows[0]?.integrity_check ?? 'no answer'}`,
        )
}

function rowsOf(database: Database): TreeRow[] {
    const names = (
        database.query("SELECT name FROM pragma_table_info('tree')").all() as { name: string }[]
    ).map(({ name }) => name)
    if (columns.some(column => !names.includes(column)))
        throw new Fault(
            'damaged',
            'cannot read the cluster database: it has no table "tree" as pmxcfs makes it',
        )
    const { n } = database.query('SELECT count(*) AS n FROM tree').get() as { n: bigint }
    if (n > BigInt(mostRows)) throw new Fault('damaged', `cannot read the cluster database: it has ${n} rows`)
    const odd = database
        .query(
            `SELECT inode FROM tree WHERE ${numbers.map(column => `typeof(${column}) <> 'integer'`).join(' OR ')} LIMIT 1`,
        )
        .get() as { inode: bigint } | null
    if (odd !== null)
        throw new Fault(
            'damaged',
            `cannot use the cluster database: the inode ${odd.inode} has a column that is no number`,
            { facts: { rule: 'columns' } },
        )
    return database
        .query(
            `SELECT ${numbers.join(', ')}, CAST(name AS BLOB) AS name, CAST(data AS BLOB) AS data FROM tree ORDER BY inode`,
        )
        .all()
        .map(row => {
            const { name, ...rest } = row as TreeRow & { name: Uint8Array | null }
            return { ...rest, name: name ?? new Uint8Array() }
        })
}

const numbers = ['inode', 'parent', 'version', 'writer', 'mtime', 'type'] as const
const columns = [...numbers, 'name', 'data'] as const
