/** Databases as pmxcfs makes them, built by the test itself. */
import { Database } from 'bun:sqlite'

export type Wanted = Record<string, string | Uint8Array | null>

const schema =
    "CREATE TABLE tree (inode INTEGER PRIMARY KEY NOT NULL, parent INTEGER NOT NULL CHECK(typeof(parent)=='integer'), version INTEGER NOT NULL CHECK(typeof(version)=='integer'), writer INTEGER NOT NULL CHECK(typeof(writer)=='integer'), mtime INTEGER NOT NULL CHECK(typeof(mtime)=='integer'), type INTEGER NOT NULL CHECK(typeof(type)=='integer'), name TEXT NOT NULL, data BLOB)"

/** `null` is a directory; those on the way are made. Left open, in WAL mode, as pmxcfs has it. */
export function openClusterDatabase(path: string, wanted: Wanted): Database {
    const database = new Database(path)
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0')
    database.exec(schema)
    const insert = database.query('INSERT INTO tree VALUES (?, ?, ?, 0, 1700000000, ?, ?, ?)')
    const inodes = new Map<string, number>([['', 0]])
    let next = 1
    const put = (path: string, content: string | Uint8Array | null) => {
        const slash = path.lastIndexOf('/')
        const parent = path.slice(0, Math.max(0, slash))
        if (!inodes.has(parent)) put(parent, null)
        const data = content === null || content.length === 0 ? null : Buffer.from(content)
        insert.run(next, inodes.get(parent)!, next, content === null ? 4 : 8, path.slice(slash + 1), data)
        inodes.set(path, next++)
    }
    database.transaction(() => {
        for (const [path, content] of Object.entries(wanted)) put(path, content)
        database
            .query("INSERT INTO tree VALUES (0, 0, ?, 0, 1700000000, 8, '__version__', NULL)")
            .run(next + 5)
    })()
    return database
}

/** Closed: one whole file. */
export function makeClusterDatabase(path: string, wanted: Wanted): void {
    openClusterDatabase(path, wanted).close()
}

export const corosyncConf = (nodes: Record<string, string>, version = 4, cluster = 'prod') =>
    `nodelist {\n${Object.entries(nodes)
        .map(([name, address]) => `  node {\n    name: ${name}\n    ring0_addr: ${address}\n  }\n`)
        .join('')}}\ntotem {\n  cluster_name: ${cluster}\n  config_version: ${version}\n}\n`
