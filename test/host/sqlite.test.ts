/** Copies of a live SQLite database: with what only its log holds, and without a trace beside the original. */
import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import { checkDatabase, copyDatabase } from '../../src/host/sqlite.ts'

let base = ''
let source = ''
let scratch = ''
beforeEach(() => {
    base = fs.mkdtempSync(join(tmpdir(), 'proxsave-sqlite-'))
    fs.mkdirSync(join(base, 'pve'))
    source = join(base, 'pve/config.db')
    scratch = join(base, 'scratch')
})
afterEach(() => fs.rmSync(base, { recursive: true, force: true }))

/** As pmxcfs has it: a write-ahead log, and an owner that holds it open. */
function live(rows: number): Database {
    const database = new Database(source)
    database.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0')
    database.exec('CREATE TABLE tree (inode INTEGER PRIMARY KEY, data BLOB)')
    add(database, rows)
    return database
}

function add(database: Database, rows: number): void {
    const insert = database.query('INSERT INTO tree (data) VALUES (?)')
    database.transaction(() => {
        for (let i = 0; i < rows; i++) insert.run(Buffer.alloc(4000, i))
    })()
}

function rowsIn(path: string): number {
    const database = new Database(path, { readonly: true })
    try {
        return (database.query('SELECT count(*) AS n FROM tree').get() as { n: number }).n
    } finally {
        database.close()
    }
}

/** Names and times beside the database; the shared memory of a live one belongs to its owner. */
const traces = () =>
    fs.readdirSync(join(base, 'pve')).map(name => {
        const { mtimeNs, atimeNs, ctimeNs, size } = fs.statSync(join(base, 'pve', name), { bigint: true })
        return name.endsWith('-shm') ? name : [name, mtimeNs, atimeNs, ctimeNs, size].join(' ')
    })

/** As a process that was killed leaves it: with or without the shared memory. */
function killed(rows: number, withSharedMemory: boolean): void {
    const database = live(rows)
    for (const suffix of ['', '-wal', '-shm']) fs.copyFileSync(source + suffix, join(base, `keep${suffix}`))
    database.close()
    for (const suffix of ['', '-wal', '-shm']) fs.rmSync(source + suffix, { force: true })
    for (const suffix of withSharedMemory ? ['', '-wal', '-shm'] : ['', '-wal'])
        fs.renameSync(join(base, `keep${suffix}`), source + suffix)
}

/** Access times older than the rest, so that reading shows. */
function age(): void {
    for (const name of fs.readdirSync(join(base, 'pve')))
        fs.utimesSync(join(base, 'pve', name), new Date(1e12), new Date())
}

test('what only a log of 4 MB holds is in the copy, while the owner has it open', () => {
    const database = live(1000)
    try {
        expect(fs.statSync(`${source}-wal`).size).toBeGreaterThan(4_000_000)
        expect(fs.statSync(source).size).toBeLessThan(10_000)
        copyDatabase(source, join(base, 'copy.db'), scratch)
        expect(rowsIn(join(base, 'copy.db'))).toBe(1000)
        // The owner goes on, and its log was not folded into the database behind its back.
        expect(fs.statSync(`${source}-wal`).size).toBeGreaterThan(4_000_000)
        add(database, 1)
        expect(database.query('SELECT count(*) AS n FROM tree').get()).toEqual({ n: 1001 })
    } finally {
        database.close()
    }
})

test('a transaction that is not committed is not in the copy', () => {
    const database = live(10)
    try {
        database.exec('BEGIN IMMEDIATE; DELETE FROM tree')
        copyDatabase(source, join(base, 'copy.db'), scratch)
        expect(rowsIn(join(base, 'copy.db'))).toBe(10)
    } finally {
        database.close()
    }
})

for (const withSharedMemory of [true, false])
    test(`the log of an owner that was killed is in the copy (shared memory ${withSharedMemory ? 'left' : 'gone'})`, () => {
        killed(500, withSharedMemory)
        age()
        const before = traces()
        copyDatabase(source, join(base, 'copy.db'), scratch)
        expect(rowsIn(join(base, 'copy.db'))).toBe(500)
        if (!withSharedMemory) expect(traces()).toEqual(before)
        // Not replayed in place: the original is still what the crash left.
        expect(fs.statSync(`${source}-wal`).size).toBeGreaterThan(1_000_000)
    })

test('a database that nobody has open: no trace, not even an access time', () => {
    live(20).close()
    expect(fs.readdirSync(join(base, 'pve'))).toEqual(['config.db'])
    age()
    const before = traces()
    copyDatabase(source, join(base, 'copy.db'), scratch)
    expect(traces()).toEqual(before)
    expect(rowsIn(join(base, 'copy.db'))).toBe(20)
    expect(fs.readdirSync(scratch)).toEqual([])
})

test('a rollback journal that a crash left is replayed in the copy, not in the original', () => {
    const database = new Database(source)
    database.exec('PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; PRAGMA synchronous = FULL')
    database.exec('CREATE TABLE tree (inode INTEGER PRIMARY KEY, data BLOB)')
    add(database, 300)
    database.exec('BEGIN IMMEDIATE')
    // More than the cache holds: it has to write pages before it commits.
    database.exec("UPDATE tree SET data = zeroblob(4000) || 'x'; DELETE FROM tree WHERE inode > 100")
    for (const suffix of ['', '-journal']) fs.copyFileSync(source + suffix, join(base, `keep${suffix}`))
    database.exec('ROLLBACK')
    database.close()
    for (const suffix of ['', '-journal']) fs.renameSync(join(base, `keep${suffix}`), source + suffix)
    expect(fs.statSync(`${source}-journal`).size).toBeGreaterThan(10_000)
    const before = traces()
    copyDatabase(source, join(base, 'copy.db'), scratch)
    expect(rowsIn(join(base, 'copy.db'))).toBe(300)
    expect(traces().map(line => line.split(' ')[0])).toEqual(before.map(line => line.split(' ')[0]))
    expect(fs.statSync(`${source}-journal`).size).toBeGreaterThan(10_000)
})

describe('names that a URI would misread', () => {
    for (const name of ['a b', 'a?mode=memory', 'a#b', 'a%3Fb', 'ä', "quote'"])
        test(name, () => {
            const odd = join(base, name)
            fs.mkdirSync(odd)
            live(7).close()
            fs.copyFileSync(source, join(odd, 'config.db'))
            copyDatabase(join(odd, 'config.db'), join(odd, 'copy.db'), join(odd, 'scratch'))
            expect(rowsIn(join(odd, 'copy.db'))).toBe(7)
            checkDatabase(join(odd, 'copy.db'))
        })
})

describe('is refused', () => {
    const refused = () => {
        expect(() => copyDatabase(source, join(base, 'copy.db'), scratch)).toThrow(Fault)
        expect(fs.existsSync(join(base, 'copy.db'))).toBe(false)
        expect(fs.readdirSync(scratch)).toEqual([])
    }
    test('what is no database', () => {
        fs.writeFileSync(source, 'no database at all, but long enough to be looked at'.repeat(100))
        refused()
    })
    test('a database with a torn page', () => {
        live(300).close()
        const size = fs.statSync(source).size
        const fd = fs.openSync(source, 'r+')
        fs.writeSync(fd, Buffer.alloc(8192, 0xff), 0, 8192, Math.floor(size / 2 / 4096) * 4096)
        fs.closeSync(fd)
        refused()
    })
    test('a database that SQLite can copy but finds wrong', () => {
        const script = `import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("CREATE TABLE tree (inode INTEGER PRIMARY KEY, data BLOB)")
db.execute("INSERT INTO tree (data) VALUES (NULL)")
db.execute("PRAGMA writable_schema = ON")
db.execute("UPDATE sqlite_master SET sql = replace(sql, 'BLOB', 'BLOB NOT NULL')")`
        // Bun's own SQLite does not let anybody do this.
        const made = Bun.spawnSync(['python3', '-c', script, source])
        expect(made.stderr.toString()).toBe('')
        expect(() => checkDatabase(source)).toThrow(/NULL value/)
        refused()
    })
    test('one that is not there, or is a link', () => {
        refused()
        live(3).close()
        fs.renameSync(source, join(base, 'elsewhere.db'))
        fs.symlinkSync(join(base, 'elsewhere.db'), source)
        refused()
    })
})
