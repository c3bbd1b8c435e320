/** The real disk and its simulated twin do the same, as far as one can see without pulling the plug. */
import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Disk, realDisk } from '../../src/host/disk.ts'
import { SimDisk } from '../sim/disk.ts'
import { seeded } from '../sim/random.ts'

const real = mkdtempSync(join(tmpdir(), 'proxsave-disk-'))
afterAll(() => rmSync(real, { recursive: true }))
const sim = new SimDisk(seeded(3))
sim.disk.mkdir('/sim', 0o700)

const text = (bytes: Uint8Array | undefined) =>
    bytes === undefined ? undefined : Buffer.from(bytes).toString()
const twins: [name: string, disk: Disk, root: string][] = [
    ['real', realDisk(), real],
    ['simulated', sim.disk, '/sim'],
]

for (const [name, disk, root] of twins)
    describe(`${name} disk`, () => {
        test('appends, cuts and reads', () => {
            const path = join(root, 'a/b/log')
            disk.mkdir(join(root, 'a/b'), 0o700)
            disk.mkdir(join(root, 'a/b'), 0o700)
            const file = disk.append(path, 0o600)
            file.append(Buffer.from('hello world'))
            file.truncate(5)
            file.append(Buffer.from('!'))
            file.sync()
            file.close()
            const again = disk.append(path, 0o600)
            again.append(Buffer.from('?'))
            again.close()
            expect(text(disk.read(path))).toBe('hello!?')
            expect(text(disk.readAt(path, 4, 100))).toBe('o!?')
            expect(text(disk.readAt(path, 100, 5))).toBe('')
            expect(disk.size(path)).toBe(7)
        })

        test('replaces, renames and removes', () => {
            const path = join(root, 'file')
            disk.replace(path, Buffer.from('old'), 0o600)
            disk.replace(path, Buffer.from('new'), 0o600)
            expect(text(disk.read(path))).toBe('new')
            disk.rename(path, join(root, 'other'))
            expect(disk.exists(path)).toBe(false)
            expect(disk.list(root)).toEqual(['a', 'other'])
            disk.remove(join(root, 'other'))
            disk.remove(join(root, 'other'))
            disk.removeTree(join(root, 'a'))
            disk.removeTree(join(root, 'a'))
            disk.syncAll(root)
            expect(disk.list(root)).toEqual([])
        })

        test('has nothing where nothing is', () => {
            const path = join(root, 'no/where')
            expect(disk.read(path)).toBeUndefined()
            expect(disk.size(path)).toBeUndefined()
            expect(disk.list(path)).toEqual([])
            expect(text(disk.readAt(path, 0, 5))).toBe('')
            expect(() => disk.replace(path, new Uint8Array(1), 0o600)).toThrow('ENOENT')
        })

        test('a replace that cannot put its copy in place leaves no copy', () => {
            disk.mkdir(join(root, 'taken/inside'), 0o700)
            if (name === 'simulated') sim.inject({ at: 4, what: 'EIO' })
            expect(() => disk.replace(join(root, 'taken'), Buffer.from('x'), 0o600)).toThrow()
            sim.inject(undefined)
            expect(disk.list(root)).toEqual(['taken'])
        })
    })

test('the real disk keeps to the modes it is given', () => {
    const disk = realDisk()
    disk.mkdir(join(real, 'private'), 0o700)
    disk.replace(join(real, 'private/file'), new Uint8Array(1), 0o600)
    expect(statSync(join(real, 'private')).mode & 0o777).toBe(0o700)
    expect(statSync(join(real, 'private/file')).mode & 0o777).toBe(0o600)
})
