/** config.db read without Proxmox VE: whole, from memory, with its log, and without a trace beside it. */
import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import { etcPveFromDatabase, readPmxcfsBytes, readPmxcfsDatabase } from '../../src/host/pmxcfs-db.ts'
import { tcpAnswer } from '../../src/host/reach.ts'
import { makeClusterDatabase, openClusterDatabase } from '../restore/cluster-db.ts'

let base = ''
let path = ''
beforeEach(() => {
    base = fs.mkdtempSync(join(tmpdir(), 'proxsave-pmxcfs-'))
    fs.mkdirSync(join(base, 'db'))
    path = join(base, 'db/config.db')
})
afterEach(() => fs.rmSync(base, { recursive: true, force: true }))

const texts = (files: { path: string; data: Uint8Array }[]) =>
    Object.fromEntries(files.map(({ path, data }) => [path, Buffer.from(data).toString()]))

test('every file of /etc/pve comes out, and nothing is left beside the database', () => {
    makeClusterDatabase(path, {
        'storage.cfg': 'dir: local\n',
        'nodes/pve1/qemu-server/100.conf': 'cores: 2\n',
        empty: '',
    })
    const before = fs.statSync(path, { bigint: true })
    expect(texts(etcPveFromDatabase(path))).toEqual({
        '/etc/pve/empty': '',
        '/etc/pve/nodes/pve1/qemu-server/100.conf': 'cores: 2\n',
        '/etc/pve/storage.cfg': 'dir: local\n',
    })
    expect(etcPveFromDatabase(path)[0]!.mtime).toBe(1_700_000_000)
    expect(fs.readdirSync(join(base, 'db'))).toEqual(['config.db'])
    expect(fs.statSync(path, { bigint: true }).mtimeNs).toBe(before.mtimeNs)
})

test('what only the log of 4 MB holds is not overlooked: it needs a place for a copy, and says so', () => {
    const files = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`f${i}`, 'x'.repeat(70_000)]))
    const database = openClusterDatabase(path, files)
    try {
        expect(fs.statSync(`${path}-wal`).size).toBeGreaterThan(4_000_000)
        expect(() => readPmxcfsDatabase(path)).toThrow('log beside it')
        expect(etcPveFromDatabase(path, join(base, 'scratch'))).toHaveLength(60)
        expect(fs.readdirSync(join(base, 'scratch'))).toEqual([])
        expect(fs.statSync(`${path}-wal`).size).toBeGreaterThan(4_000_000)
    } finally {
        database.close()
    }
})

test('the bytes alone are enough, also of a database in WAL mode', () => {
    makeClusterDatabase(path, { 'user.cfg': 'user:root@pam:1:0:::::\n' })
    const bytes = fs.readFileSync(path)
    expect(bytes[18]).toBe(2)
    const tree = readPmxcfsBytes(bytes)
    expect(tree.problems).toEqual([])
    expect(tree.entries.map(({ path }) => path)).toEqual(['user.cfg'])
    expect(bytes[18]).toBe(2)
})

test('names are bytes: one that is not UTF-8 and one with a NUL arrive as they are', () => {
    makeClusterDatabase(path, { fine: 'x' })
    const database = new Database(path)
    database.exec("INSERT INTO tree VALUES (3, 0, 3, 0, 1, 8, CAST(x'61ff' AS TEXT), 'text as data')")
    database.exec("INSERT INTO tree VALUES (4, 0, 4, 0, 1, 8, CAST(x'610062' AS TEXT), NULL)")
    database.close()
    const tree = readPmxcfsDatabase(path)
    expect(tree.entries.map(({ path }) => path)).toEqual(['a\xff', 'fine'])
    expect(Buffer.from(tree.entries[0]!.data).toString()).toBe('text as data')
    expect(tree.problems.map(({ rule }) => rule)).toEqual(['invalid-name'])
})

function refuses(act: () => unknown, words: string): void {
    let thrown: unknown
    try {
        act()
    } catch (error) {
        thrown = error
    }
    expect(thrown).toBeInstanceOf(Fault)
    expect((thrown as Fault).kind).toBe('damaged')
    expect((thrown as Fault).message).toContain(words)
}

test('what is no database, another one, or a damaged one is refused', () => {
    refuses(() => readPmxcfsBytes(new Uint8Array()), 'no database')
    refuses(() => readPmxcfsBytes(Buffer.from('SQLite format 3\0')), 'cannot')
    const other = new Database(path)
    other.exec('CREATE TABLE something (x)')
    other.close()
    refuses(() => readPmxcfsDatabase(path), 'no table "tree"')
    fs.rmSync(path)
    makeClusterDatabase(
        path,
        Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, 'y'.repeat(3000)])),
    )
    const bytes = fs.readFileSync(path)
    bytes.fill(0x41, 8192, bytes.length - 4096)
    refuses(() => readPmxcfsBytes(bytes), 'cannot')
    refuses(() => readPmxcfsBytes(fs.readFileSync(path).subarray(0, 20_000)), 'cannot')
})

test('a column that is no number is refused', () => {
    const database = new Database(path)
    database.exec(
        'CREATE TABLE tree (inode INTEGER PRIMARY KEY, parent, version, writer, mtime, type, name, data)',
    )
    database.exec("INSERT INTO tree VALUES (1, 0, 'one', 0, 0, 8, 'x', NULL)")
    database.close()
    refuses(() => readPmxcfsDatabase(path), 'no number')
})

test('a port that listens, one that refuses, and nobody at all', async () => {
    const server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
    const { port } = server
    expect(await tcpAnswer('127.0.0.1', port, 5000)).toBe('open')
    expect(await tcpAnswer('::ffff:127.0.0.1', port, 5000)).toBe('open')
    server.stop(true)
    expect(await tcpAnswer('127.0.0.1', port, 5000)).toBe('refused')
    expect(await tcpAnswer('name.invalid', port, 5000)).toBe('silent')
    // The kernel itself knows no way there. To be taken for refused, it would mean that a member is alive.
    expect(await tcpAnswer('255.255.255.255', port, 5000)).toBe('silent')
})
