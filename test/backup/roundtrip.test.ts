/** What was saved comes back, by hand as the README says and with `extract`; the host keeps no trace of it. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
    linkSync,
    lstatSync,
    mkdirSync,
    readFileSync,
    symlinkSync,
    truncateSync,
    utimesSync,
    writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { archiveDecrypt } from '../../src/backup/decrypt.ts'
import { limits } from '../../src/core/limits.ts'
import { seeded } from '../sim/random.ts'
import { describeTree, differences, makeOdd, type Tree } from '../vm/tree.ts'
import { byHand, isRoot, Lab, manifestOf, missingIn, recorder, run, type Saved, stampsOf } from './lab.ts'

if (!isRoot) console.log('skip: owners, modes and attributes can only be compared by root')

describe.if(isRoot)('a tree of everything odd', () => {
    let lab: Lab
    let before: Tree
    let stampsBefore = ''
    let stampsAfter = ''
    let plain: Saved
    let sealed: Saved

    beforeAll(async () => {
        lab = await new Lab().withIdentity()
        await build(lab)
        stampsBefore = await stampsOf(lab.root)
        plain = await lab.save()
        sealed = await lab.save({ recipients: [lab.recipient] })
        stampsAfter = await stampsOf(lab.root)
        before = await described(lab.root)
    }, 30_000)
    afterAll(() => lab.remove())

    test('is saved without a warning and verifies', async () => {
        expect(plain.warnings_).toEqual([])
        for (const { path } of [plain, sealed]) {
            const result = await lab.verify(path)
            expect(result.signature.state).toBe('own')
            expect(result.deep!.entries).toBe(manifestOf(path).plain.entries)
            expect(result.problems).toEqual([])
        }
    })

    test('keeps no trace of being read: no access time, no change time, no new file', () => {
        expect(stampsAfter.split('\n')).toEqual(stampsBefore.split('\n'))
    })

    test('sockets, pipes and devices are left out and said so', () => {
        expect(missingIn(plain.path)).toEqual({
            '/tree/special/device': 'skipped: a character device',
            '/tree/special/pipe': 'skipped: a named pipe',
            '/tree/special/socket': 'skipped: a socket',
        })
    })

    for (const kind of ['plain', 'sealed'] as const) {
        test(`${kind}: by hand, with the command of its README`, async () => {
            const { path } = kind === 'plain' ? plain : sealed
            const text = await run(['tar', 'xOf', path, 'README.txt'])
            const line = text
                .slice(text.indexOf('EVERYTHING'))
                .split('\n')
                .find(one => one.startsWith('  tar'))!
            const out = lab.place('hand')
            mkdirSync(out)
            await byHand(line, { FILE: path, IDENTITY: join(lab.base, 'identity.txt'), DIR: out })
            // tar has no way to bring access times back.
            expect(different(before, await described(out), ['atime'])).toEqual([])
        }, 20_000)

        test(`${kind}: with extract`, async () => {
            const out = await lab.extract((kind === 'plain' ? plain : sealed).path)
            expect(different(before, await described(out), [])).toEqual([])
        }, 20_000)
    }

    test('the other commands of the README work too', async () => {
        const text = await run(['tar', 'xOf', sealed.path, 'README.txt'])
        const words = { FILE: sealed.path, IDENTITY: join(lab.base, 'identity.txt'), DIR: lab.place('one') }
        mkdirSync(words.DIR)
        const lines = text.split('\n').filter(line => line.startsWith('  tar'))
        const listing = await byHand(lines.find(line => line.includes('tar tv'))!, words)
        expect(listing).toContain('etc/network/interfaces')
        await byHand(lines.find(line => line.endsWith('etc/network/interfaces'))!, words)
        expect(readFileSync(join(words.DIR, 'etc/network/interfaces'), 'utf8')).toBe('auto lo\n')
        const sum = await byHand(lines.find(line => line.includes('sha256sum'))!, words)
        expect(sum.slice(0, 64)).toBe(manifestOf(sealed.path).data.sha256)
        // The signature, with ssh-keygen alone.
        const allowed = lab.place('ALLOWED')
        writeFileSync(allowed, `host ${lab.own}\n`)
        const check = lines.filter(line => line.includes('manifest.json')).slice(1)
        expect(check.length).toBe(2)
        const script = check
            .join('\n')
            .replaceAll(/\bsig$/gm, `'${lab.base}/sig'`)
            .replace('-s sig', `-s '${lab.base}/sig'`)
        expect(await byHand(script, { FILE: sealed.path, ALLOWED: allowed })).toContain(
            'Good "proxsave" signature',
        )
    })

    test('a decrypted copy holds the same, is signed, and its own README works', async () => {
        const output = lab.place('decrypted.tar')
        const signingKey = join(lab.state, 'signing_key')
        await archiveDecrypt(
            { path: sealed.path, identities: lab.identities(), output, signingKey },
            recorder(),
        )
        const verified = await lab.verify(output, { identities: undefined })
        expect(verified.signature.state).toBe('own')
        expect(manifestOf(output).decryptedFrom!.sha256).toBe(manifestOf(sealed.path).data.sha256)
        const text = await run(['tar', 'xOf', output, 'README.txt'])
        const line = text
            .slice(text.indexOf('EVERYTHING'))
            .split('\n')
            .find(one => one.startsWith('  tar'))!
        const out = lab.place('hand')
        mkdirSync(out)
        await byHand(line, { FILE: output, DIR: out })
        expect(different(before, await described(out), ['atime'])).toEqual([])
    }, 20_000)

    test('one name of a hard link alone, whichever, brings the content; the directories above have their own mode', async () => {
        for (const name of ['etc/ssh/linked', 'tree/far/linked', 'root/linked']) {
            const out = await lab.extract(plain.path, { paths: [`/${name}`] })
            expect(readFileSync(join(out, name), 'utf8')).toBe('one file in three categories\n')
            const tree = await described(out)
            const parent = name.slice(0, name.lastIndexOf('/'))
            expect(tree.get(parent)!.mode).toBe(before.get(parent)!.mode)
            expect(tree.get(parent)!.mtime).toBe(before.get(parent)!.mtime)
        }
    })

    test('times beyond those that 64 bits of nanoseconds hold are kept', async () => {
        const [row] = (await lab.files(plain.path)).filter(one => one.path === '/tree/late')
        expect(row!.modified).toBe('2400-01-01T00:00:00.000Z')
        const out = await lab.extract(plain.path, { paths: ['/tree/late'] })
        const stat = await run(['stat', '-c', '%Y', join(out, 'tree/late')])
        expect(stat.trim()).toBe('13569465600')
    })
})

/** Entries of a tree but its top; special files are known not to come back. */
async function described(directory: string): Promise<Tree> {
    const tree = await describeTree(directory)
    tree.delete('.')
    return tree
}

function different(before: Tree, after: Tree, ignoring: string[]): string[] {
    const without = ['tree/special/device', 'tree/special/pipe', 'tree/special/socket']
    return differences(before, after, { without, ignoring })
}

async function build(lab: Lab): Promise<void> {
    const random = seeded(11)
    const at = (path: string) => join(lab.root, path)
    lab.file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nodd:x:12345:12345::/:/bin/sh\n')
    lab.file('etc/network/interfaces', 'auto lo\n')
    lab.file('etc/ssh/linked', 'one file in three categories\n', 0o640)
    mkdirSync(at('root'), { mode: 0o700 })
    mkdirSync(at('root/noise'))
    mkdirSync(at('tree'))
    // Other categories and enough between them that the names fall into different groups.
    for (let i = 0; i < 40; i++) lab.file(`root/noise/${i}`, random.bytes(20_000))
    mkdirSync(at('tree/far'))
    linkSync(at('etc/ssh/linked'), at('tree/far/linked'))
    linkSync(at('etc/ssh/linked'), at('root/linked'))
    const frame = limits.frameBytes
    for (const size of [frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1, 511, 512, 513])
        lab.file(`tree/sizes/${size}`, random.bytes(size))
    linkSync(at(`tree/sizes/${frame + 1}`), at('tree/far/large-linked'))
    lab.file('tree/sparse-tail', 'x')
    truncateSync(at('tree/sparse-tail'), 3_000_001)
    lab.file('tree/sparse-unaligned', Buffer.concat([Buffer.alloc(70_000), Buffer.from('end')]))
    await run(['fallocate', '--dig-holes', at('tree/sparse-unaligned')]).catch(() => {})
    symlinkSync('with-attributes', at('tree/link-xattr'))
    const more = `set -e; cd '${at('tree')}'; mkdir special closed old; mkfifo special/pipe; mknod special/device c 1 3
        setfattr -h -n trusted.link -v 0x00ff link-xattr
        touch late; touch -d '2400-01-01T00:00:00Z' late
        touch early; touch -d '1905-01-01T00:00:00.000000001Z' early
        touch 'closed/in 0000'; chmod 0000 closed; touch -d '1999-01-01T00:00:00.5Z' closed
        python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("special/socket")'
        touch -d '2001-01-01T00:00:00.123456789Z' old special far sizes '${at('etc/ssh')}' '${at('etc')}' '${at('root')}' .`
    await makeOdd(at('tree/odd'))
    await run(['bash', '-c', more])
    // Old enough that reading anything carelessly would show (relatime).
    await run([
        'find',
        lab.root,
        '-type',
        'f',
        '-exec',
        'touch',
        '-a',
        '-d',
        '2000-01-01T00:00:00.25Z',
        '{}',
        '+',
    ])
    await run([
        'find',
        lab.root,
        '-depth',
        '-type',
        'd',
        '-exec',
        'touch',
        '-a',
        '-d',
        '1990-01-01T00:00:00.25Z',
        '{}',
        '+',
    ])
}

test('by hand, a directory that the archive comes back to keeps its own time', async () => {
    const lab = new Lab()
    try {
        // The bytes of `system.conf` sort between the directory `system` and what lies in it; the network files belong to
        // another category than the rest of /etc; and tar makes links that lead out of DIR only at its very end.
        lab.file('etc/systemd/system.conf', '[Manager]\n')
        lab.file('etc/systemd/system/a.service', '[Service]\n')
        lab.file('etc/network/interfaces', 'auto lo\n')
        lab.file('etc/zz', 'z\n')
        for (const link of [
            'etc/systemd/system/b.service',
            'etc/systemd/system/x.wants/c.service',
            'etc/rc.link',
        ]) {
            mkdirSync(dirname(join(lab.root, link)), { recursive: true })
            symlinkSync('/lib/systemd/system/none.service', join(lab.root, link))
        }
        const directories = [
            'etc',
            'etc/systemd',
            'etc/systemd/system',
            'etc/systemd/system/x.wants',
            'etc/network',
        ]
        for (const [i, path] of directories.entries())
            utimesSync(join(lab.root, path), 1_600_000_000 + i, 1_600_000_000 + i)
        const saved = await lab.save({ recipients: [] })
        const out = lab.place('hand')
        mkdirSync(out)
        const command = `tar xOf '${saved.path}' data.tar.zst | zstd -dc | tar x -p -C '${out}'`
        expect(Bun.spawnSync(['bash', '-c', command]).exitCode).toBe(0)
        expect(directories.map(path => lstatSync(join(out, path)).mtimeMs / 1000)).toEqual(
            directories.map((_, i) => 1_600_000_000 + i),
        )
    } finally {
        lab.remove()
    }
})
