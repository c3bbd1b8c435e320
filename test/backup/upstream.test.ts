/** The operations on archives of the Go ProxSave, as a worker calls them, and where the daemon finds those. */
import { afterAll, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import {
    existsSync,
    lstatSync,
    mkdirSync,
    readdirSync,
    readFileSync,
    readlinkSync,
    writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { generateIdentity, identityToRecipient } from 'age-encryption'
import { archiveDecrypt } from '../../src/backup/decrypt.ts'
import { archiveDiff } from '../../src/backup/diff.ts'
import { archiveExtract } from '../../src/backup/extract.ts'
import { archiveFiles } from '../../src/backup/files.ts'
import { archiveVerify } from '../../src/backup/verify.ts'
import { listUpstream, upstreamPlaces } from '../../src/daemon/upstream.ts'
import { have, hostTree, sha256, Shelf } from '../fixtures/upstream.ts'
import { isRoot, Lab, recorder } from './lab.ts'

const shelf = new Shelf()
afterAll(() => shelf.remove())

const withoutDatabase = hostTree().filter(({ path }) => !path.endsWith('/config.db'))

test('lists the files, and those of one category', async () => {
    const { path } = shelf.make({ kind: 'xz', bundle: true })
    const io = recorder()
    await archiveFiles({ path }, io)
    const rows = io.items as { path: string; type: string; mode: string }[]
    expect(rows.find(row => row.path === '/etc/second.conf')).toMatchObject({ type: 'file', mode: '0640' })
    const few = recorder()
    expect(await archiveFiles({ path, category: 'network' }, few)).toMatchObject({ bytes: 31 + 20 })
    expect((few.items as { path: string }[]).map(row => row.path)).toContain('/etc/network/interfaces')
})

test('extracts a copy alone, and everything with its links and modes', async () => {
    const { path } = shelf.make({ bundle: true })
    const one = join(shelf.directory(), 'out')
    await archiveExtract({ path, output: one, paths: ['/etc/second.conf'] }, recorder())
    expect(readdirSync(join(one, 'etc'))).toEqual(['second.conf'])
    const all = join(shelf.directory(), 'out')
    await archiveExtract({ path, output: all, paths: [] }, recorder())
    const second = lstatSync(join(all, 'etc/second.conf'))
    expect([second.isFile(), second.mode & 0o7777]).toEqual([true, 0o640])
    if (isRoot) expect([second.uid, second.gid]).toEqual([11, 12])
    expect(readFileSync(join(all, 'etc/second.conf'), 'utf8')).toBe('the same\n')
    expect(readlinkSync(join(all, 'etc/genuine'))).toBe('first.conf')
    expect(existsSync(join(all, 'var/lib/pve-cluster/info'))).toBe(false)
})

test('writes nothing when the archive is not what its digest says', async () => {
    const { path } = shelf.make({ digestText: `${'0'.repeat(64)}  x\n` })
    const output = join(shelf.directory(), 'out')
    await expect(archiveExtract({ path, output, paths: [] }, recorder())).rejects.toThrow('different digests')
    expect(existsSync(output)).toBe(false)
})

test('verifies the digest, and with deep every entry and what parsers make of it', async () => {
    const { path } = shelf.make({ kind: 'zst', pieces: withoutDatabase })
    const trust = {}
    expect(await archiveVerify({ path, deep: false, trust }, recorder())).toMatchObject({
        manifest: { format: 'upstream', host: { name: 'pve1' } },
        signature: { state: 'unsigned' },
    })
    const broken = { path: './etc/network/interfaces.d/x', content: 'iface\n' }
    const odd = shelf.make({ pieces: [...withoutDatabase, broken] })
    const result = await archiveVerify({ path: odd.path, deep: true, trust }, recorder())
    expect(result).toMatchObject({ deep: { entries: expect.any(Number) } })
    expect((result as { deep: { parsed: number } }).deep.parsed).toBeGreaterThan(0)
    const bad = shelf.make({ cut: packed => packed.subarray(0, -3) })
    await expect(archiveVerify({ path: bad.path, deep: true, trust }, recorder())).rejects.toThrow('cut off')
})

test('deep verification opens the cluster database', async () => {
    const { path } = shelf.make()
    const scratch = shelf.directory()
    await expect(archiveVerify({ path, deep: true, trust: {}, scratch }, recorder())).rejects.toThrow(
        'config.db',
    )
    expect(readdirSync(scratch)).toEqual([])
})

test.skipIf(!have('age', 'tar'))('a decrypted copy is a bundle of the tool with new digests', async () => {
    const identity = await generateIdentity()
    const recipient = await identityToRecipient(identity)
    const { path } = shelf.make({ bundle: true, recipient, manifest: { passphrase_salt: 'secret salt' } })
    const name = 'pve1.example.lan-backup-20260724-020003.tar.gz'
    const directory = shelf.directory()
    const output = join(directory, `${name}.decrypted.bundle.tar`)
    await archiveDecrypt({ path, identities: { texts: [identity] }, output }, recorder())
    execFileSync('tar', ['-xf', output, '-C', directory])
    const archive = readFileSync(join(directory, name))
    const manifest = JSON.parse(readFileSync(join(directory, `${name}.metadata`), 'utf8'))
    expect(manifest).toMatchObject({
        sha256: sha256(archive),
        archive_size: archive.length,
        encryption_mode: 'none',
        hostname: 'pve1.example.lan',
    })
    execFileSync('sha256sum', ['--status', '-c', `${name}.sha256`], { cwd: directory })
    const files = recorder()
    await archiveFiles({ path: output }, files)
    expect(files.items.length).toBeGreaterThan(10)
    const again = archiveDecrypt({ path, identities: { texts: [identity] }, output }, recorder())
    await expect(again).rejects.toThrow('exists already')
    const plain = archiveDecrypt({ path: output, output: join(directory, 'x.bundle.tar') }, recorder())
    await expect(plain).rejects.toThrow('not encrypted')
})

test('compares with another archive and with the host', async () => {
    const before = shelf.make({ pieces: withoutDatabase })
    const changed = withoutDatabase.map(piece =>
        piece.path === './etc/hosts' ? { ...piece, content: '127.0.0.1 other\n' } : piece,
    )
    const after = shelf.make({ kind: 'xz', pieces: changed })
    const io = recorder()
    const diff = { left: { path: before.path }, right: { path: after.path } }
    expect(await archiveDiff(diff, io)).toEqual({ added: 0, removed: 0, changed: 1 })
    expect(io.items).toMatchObject([
        { path: '/etc/hosts', diff: expect.stringContaining('+127.0.0.1 other') },
    ])
    const lab = new Lab()
    try {
        lab.file('etc/network/interfaces', 'auto lo\niface lo inet loopback\n')
        lab.file('etc/hosts', '127.0.0.1 localhost\n')
        const live = recorder()
        await archiveDiff({ left: { path: before.path }, right: { root: lab.root } }, live)
        const found = live.items as { path: string; change: string; what?: string[] }[]
        const of = (path: string) => found.find(item => item.path === path)
        expect(of('/etc/network/interfaces')?.what ?? []).not.toContain('content')
        expect(of('/etc/second.conf')?.change).toBe('removed')
    } finally {
        lab.remove()
    }
})

test('finds the directories that backup.env names, and lists what cannot be read with its reason', async () => {
    const root = shelf.directory()
    expect(upstreamPlaces(root)).toBeUndefined()
    mkdirSync(join(root, 'opt/proxsave/configs'), { recursive: true })
    writeFileSync(
        join(root, 'opt/proxsave/configs/backup.env'),
        `BACKUP_PATH=\${BASE_DIR}/backup\nSECONDARY_ENABLED=true\nSECONDARY_PATH=/mnt/second\n`,
    )
    expect(upstreamPlaces(root)?.directories).toEqual(['/opt/proxsave/backup', '/mnt/second'])
    const made = shelf.make({ bundle: true })
    const directory = made.path.slice(0, made.path.lastIndexOf('/'))
    writeFileSync(join(directory, 'other-backup-20260101-000000.tar.gz.bundle.tar'), 'no tar')
    writeFileSync(join(directory, 'unrelated.txt'), '')
    const { backups, problems } = await listUpstream([directory, join(directory, 'missing')])
    expect(problems).toEqual([])
    expect(backups).toMatchObject([
        { id: '', problem: expect.stringContaining('outer tar') },
        { host: 'pve1', product: 'pve', cluster: true, own: false, path: made.path },
    ])
})
