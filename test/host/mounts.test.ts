/** The mount table, and a file system that does not answer: the run goes past it in time and says so. */
import { describe, expect, test } from 'bun:test'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { isLocal, parseMountInfo, readMounts } from '../../src/host/mounts.ts'
import { Tree } from '../../src/host/tree.ts'
import { isRoot, Lab, missingIn } from '../backup/lab.ts'

describe('the table', () => {
    test('points, types and sources, optional fields or none, blanks and bytes of any kind', () => {
        const text = String.raw`22 27 0:20 / /proc rw,nosuid shared:5 - proc proc rw
36 35 98:0 /mnt1 /mnt/with\040blank rw,noatime master:1 shared:2 - ext3 /dev/root rw
40 35 0:50 / /mnt/tab\011and\134slash rw - nfs4 server:/export rw
41 35 0:51 / /mnt/over rw - ext4 /dev/sda1 rw
42 41 0:52 / /mnt/over rw - fuse.sshfs you@host: rw
broken line
`
        const mounts = parseMountInfo(text)
        expect(mounts.get('/mnt/with blank')).toEqual({
            point: '/mnt/with blank',
            type: 'ext3',
            source: '/dev/root',
        })
        expect(mounts.get('/mnt/tab\tand\\slash')?.type).toBe('nfs4')
        expect(mounts.get('/mnt/over')?.type).toBe('fuse.sshfs')
        expect(mounts.size).toBe(4)
    })
    test('this machine has one, with a root', () => {
        expect(readMounts().get('/')).toBeDefined()
    })
    test('only what answers without a server or a daemon is local', () => {
        for (const type of ['ext4', 'xfs', 'zfs', 'btrfs', 'tmpfs', 'vfat']) expect(isLocal(type)).toBe(true)
        for (const type of [
            'nfs',
            'nfs4',
            'cifs',
            'smb3',
            'fuse',
            'fuse.sshfs',
            'ceph',
            'glusterfs',
            '9p',
            'autofs',
        ])
            expect(isLocal(type), type).toBe(false)
    })
})

interface Dead {
    release(): Promise<void>
}

/** A dead mount, or why there can be none here. */
async function deadMount(directory: string): Promise<Dead | string> {
    if (!isRoot) return 'only root can mount'
    if (!fs.existsSync('/dev/fuse')) return 'there is no /dev/fuse'
    const script = join(import.meta.dir, 'dead-mount.py')
    const child = Bun.spawn(['python3', script, directory], {
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'pipe',
        timeout: 25_000,
    })
    const reader = child.stdout.getReader()
    const { value } = await reader.read()
    if (value === undefined) return (await new Response(child.stderr).text()).trim()
    return {
        async release() {
            child.stdin.end()
            await child.exited
        },
    }
}

/** `writeArchive` in a process of its own: one that hangs in the kernel must not take the tests with it. */
async function saveApart(lab: Lab, include: string[]): Promise<{ path: string; ms: number }> {
    const params = lab.params({ include })
    const code = `
        const { writeArchive } = await import(${JSON.stringify(join(import.meta.dir, '../../src/backup/write.ts'))})
        const io = { progress() {}, warn() {}, item() {} }
        await writeArchive(${JSON.stringify(params)}, io)`
    const began = performance.now()
    const child = Bun.spawn([process.execPath, '-e', code], { stdout: 'pipe', stderr: 'pipe' })
    const patience = setTimeout(() => child.kill('SIGKILL'), 8_000)
    const [status, errors] = await Promise.all([child.exited, new Response(child.stderr).text()])
    clearTimeout(patience)
    if (status !== 0) throw new Error(`the run did not end well: ${child.signalCode ?? status} ${errors}`)
    return { path: params.output, ms: performance.now() - began }
}

describe('a dead file system', () => {
    for (const [where, point] of [
        ['below a directory that is saved', 'tree/mnt'],
        ['instead of one that is looked for', 'etc/network'],
        ['above paths that are looked for', 'etc'],
        ['above paths of several categories, owned by none', 'var/lib'],
        ['instead of one that is included', 'tree'],
    ] as const)
        test(`${where}: the run ends in time, and says what it left out`, async () => {
            const lab = new Lab()
            lab.file('tree/f', 'x')
            lab.file('other/f', 'y')
            lab.file('etc/network/interfaces', 'auto lo\n')
            const directory = join(lab.root, point)
            fs.mkdirSync(directory, { recursive: true })
            const dead = await deadMount(directory)
            if (typeof dead === 'string') {
                console.log(`skip: ${dead}`)
                lab.remove()
                return
            }
            try {
                const { path, ms } = await saveApart(lab, ['/tree', '/other'])
                expect(ms).toBeLessThan(8_000)
                const whys = Object.values(missingIn(path)).join('\n')
                expect(whys).toContain('fuse.dead')
                expect((await lab.files(path)).map(row => row.path)).toContain('/other/f')
            } finally {
                await dead.release()
                lab.remove()
            }
        }, 15_000)

    test('is seen by its real place when the root is given through a link', async () => {
        const lab = new Lab()
        fs.mkdirSync(join(lab.root, 'tree/mnt'), { recursive: true })
        const through = lab.place('link')
        fs.symlinkSync(lab.root, through)
        try {
            const real = fs.realpathSync(lab.root)
            const mounts = new Map([[`${real}/tree/mnt`, { point: '', type: 'nfs4', source: '' }]])
            const tree = new Tree(`${through}/./`, { mounts })
            expect(tree.mountAt('tree/mnt')?.type).toBe('nfs4')
            expect(tree.stat('tree/mnt')).toBeUndefined()
            expect(tree.stat('tree')).toBeDefined()
            tree.close()
        } finally {
            lab.remove()
        }
    })
})
