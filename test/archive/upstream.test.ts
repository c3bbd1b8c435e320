/** Archives of the Go ProxSave, of every kind that it made and some that it never would. */
import { afterAll, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateIdentity, identityToRecipient } from 'age-encryption'
import type { SavedArchive, SavedEntry } from '../../src/archive/saved.ts'
import type { Identity } from '../../src/archive/unlock.ts'
import { openUpstream } from '../../src/archive/upstream.ts'
import { readBundleHead, readUpstreamHead } from '../../src/archive/upstream-head.ts'
import { Fault } from '../../src/core/errors.ts'
import { recipientOf } from '../../src/format/age.ts'
import { passphraseIdentities } from '../../src/format/upstream-passphrase.ts'
import { have, hostTree, type Piece, programOf, Shelf } from '../fixtures/upstream.ts'

const shelf = new Shelf()
afterAll(() => shelf.remove())

async function contents(archive: SavedArchive, wanted?: SavedEntry[]): Promise<Record<string, string>> {
    const found: Record<string, string> = {}
    await archive.visit(wanted ?? (await archive.entries()), entry => {
        const pieces: Buffer[] = []
        return {
            entry(read) {
                expect([read.path, read.mode, read.uid]).toEqual([entry.path, entry.mode, entry.uid])
            },
            data: piece => void pieces.push(Buffer.from(piece)),
            end() {
                if (entry.type === 'file') found[entry.path] = Buffer.concat(pieces).toString()
            },
        }
    })
    return found
}

async function opened<T>(
    path: string,
    use: (archive: SavedArchive) => Promise<T>,
    identity?: Identity,
): Promise<T> {
    const archive = await openUpstream(path, identity)
    try {
        return await use(archive)
    } finally {
        archive.close()
    }
}

async function faultOf(path: string, identity?: Identity): Promise<Fault> {
    try {
        await opened(path, contents, identity)
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error(`${path} was accepted`)
}

const whole = {
    'etc/hosts': '127.0.0.1 localhost\n',
    'etc/network/interfaces': 'auto lo\niface lo inet loopback\n',
    'etc/first.conf': 'the same\n',
    'etc/second.conf': 'the same\n',
    'var/lib/pve-cluster/config.db': 'database',
    'var/lib/proxsave-info/uname.txt': 'Linux\n',
}

for (const kind of ['none', 'gz', 'bz2', 'xz', 'lzma', 'zst'])
    for (const bundle of [false, true])
        test.skipIf(!have(programOf(kind)))(
            `reads ${kind}, ${bundle ? 'bundle' : 'loose files'}`,
            async () => {
                const { path } = shelf.make({ kind, bundle })
                expect(await opened(path, contents)).toEqual(whole)
            },
        )

for (const kind of ['gz', 'bz2', 'xz', 'lzma', 'zst'])
    test.skipIf(!have(programOf(kind)))(
        `refuses a cut ${kind} stream even when its digest fits`,
        async () => {
            const bulk = { path: './etc/bulk', content: crypto.getRandomValues(new Uint8Array(60_000)) }
            for (const keep of [-1, -30_000]) {
                const { path } = shelf.make({
                    kind,
                    pieces: hostTree([bulk]),
                    cut: bytes => bytes.subarray(0, keep),
                })
                expect((await faultOf(path)).kind).toBe('damaged')
            }
        },
    )

test('says what the manifest says, members of a bundle in any order', async () => {
    for (const order of ['msa', 'asm', 'mdsa', 'dasm', 'amds']) {
        const { path } = shelf.make({ bundle: true, order })
        const head = await readUpstreamHead(path)
        expect(head.summary).toMatchObject({
            maker: 'upstream',
            created: '2026-07-24T00:00:03.418Z',
            host: { name: 'pve1', fqdn: 'pve1.example.lan' },
            product: { kind: 'pve', pve: '9.1.7' },
            cluster: 'cluster',
            encrypted: false,
        })
        expect(head.digests.file).toBe(head.digests.manifest!)
        expect(await opened(path, contents)).toEqual(whole)
    }
})

test('reads the first KiB of a remote bundle, and steps over the data of another order', async () => {
    const bulk = { path: './etc/bulk', content: crypto.getRandomValues(new Uint8Array(500_000)) }
    for (const order of ['msa', 'asm']) {
        const { path } = shelf.make({ bundle: true, order, pieces: hostTree([bulk]) })
        const bytes = readFileSync(path)
        let asked = 0
        const read = (offset: number, length: number) => {
            asked += length
            return bytes.subarray(offset, offset + length)
        }
        const name = path.slice(path.lastIndexOf('/') + 1)
        const head = await readBundleHead({ size: bytes.length, read }, name)
        expect(head.summary.host.fqdn).toBe('pve1.example.lan')
        expect(asked).toBeLessThan(40_000)
    }
})

test('rebuilds deduplicated files, keeps genuine links, and leaves the notes of the tool out', async () => {
    const { path } = shelf.make()
    await opened(path, async archive => {
        const entries = await archive.entries()
        const named = (name: string) => entries.find(entry => entry.path === name)
        expect(named('etc/second.conf')).toMatchObject({
            type: 'file',
            mode: 0o640,
            uid: 11,
            gid: 12,
            size: 9,
        })
        expect(named('etc/genuine')).toMatchObject({ type: 'symlink', link: 'first.conf' })
        expect(named('etc/network/interfaces')).toMatchObject({ category: 'network' })
        expect(named('var/lib/proxsave-info/uname.txt')).toMatchObject({ category: 'captured' })
        for (const name of ['manifest.json', '.proxsave-marker', 'var/lib/pve-cluster/config.db-wal'])
            expect(named(name)).toBeUndefined()
        expect(entries.some(entry => entry.path.startsWith('var/lib/pve-cluster/info'))).toBe(false)
        // The copy alone, without the file it is a copy of.
        expect(await contents(archive, [named('etc/second.conf')!])).toEqual({
            'etc/second.conf': 'the same\n',
        })
    })
})

test('takes the bytes of a copy from a file that is itself left out', async () => {
    const info = 'var/lib/proxsave-info'
    const pieces = hostTree().filter(({ path }) => !path.endsWith('dedup_manifest.json'))
    pieces.push(
        { path: `./${info}/jobs.json`, type: 'symlink', link: '../pve-cluster/info/jobs.json' },
        { path: `./${info}/dedup_manifest.json`, content: `[{"path":"${info}/jobs.json","mode":420}]` },
    )
    const { path } = shelf.make({ pieces })
    expect((await opened(path, contents))[`${info}/jobs.json`]).toBe('the same\n')
})

test('hands out copies of a file that is too large to be kept', async () => {
    const large = Buffer.alloc(17 * 1024 * 1024, 'large')
    const list = ['etc/b', 'etc/c'].map(path => ({ path, mode: 0o600 }))
    const { path } = shelf.make({
        pieces: [
            { path: './etc', type: 'directory' },
            { path: './etc/a', content: large },
            { path: './etc/b', type: 'symlink', link: 'a' },
            { path: './etc/c', type: 'symlink', link: '../etc/a' },
            { path: './var/lib/proxsave-info/dedup_manifest.json', content: JSON.stringify(list) },
        ],
    })
    const sizes = await opened(path, async archive => {
        const found: Record<string, number> = {}
        await archive.visit(await archive.entries(), entry => ({
            entry() {},
            data(piece) {
                found[entry.path] = (found[entry.path] ?? 0) + piece.length
            },
            end() {},
        }))
        return found
    })
    expect(sizes).toEqual({ 'etc/a': large.length, 'etc/b': large.length, 'etc/c': large.length })
})

test('reads archives of the scripts: lines instead of JSON, hard links, no manifest at all', async () => {
    const manifestText =
        'HOSTNAME="old.example.lan"\nPROXMOX_TYPE=pbs\nPBS_VERSION=\'3.4\'\nCOMPRESSION_TYPE=gz\n'
    const pieces: Piece[] = [
        { path: './etc', type: 'directory' },
        { path: './etc/a', content: 'A' },
        { path: './etc/b', type: 'hardlink', link: './etc/a' },
    ]
    const lines = shelf.make({ bundle: true, order: 'mdsa', manifestText, pieces })
    const { summary } = await readUpstreamHead(lines.path)
    expect(summary).toMatchObject({ host: { name: 'old' }, product: { kind: 'pbs', pbs: '3.4' } })
    await opened(lines.path, async archive => {
        expect((await archive.entries()).find(({ path }) => path === 'etc/b')).toMatchObject({
            type: 'hardlink',
            link: 'etc/a',
        })
    })
    const bare = shelf.make({ manifestText: '', stem: 'pve-backup-node7-20240131-101112' })
    expect((await readUpstreamHead(bare.path)).summary.host.name).toBe('node7')
    expect(await opened(bare.path, contents)).toEqual(whole)
})

const age = have('age')
test.skipIf(!age)('opens with an X25519 identity, and says what is needed without one', async () => {
    const identity = await generateIdentity()
    const { path } = shelf.make({ kind: 'gz', bundle: true, recipient: await identityToRecipient(identity) })
    expect((await readUpstreamHead(path)).summary.encrypted).toBe(true)
    expect(await opened(path, contents, { texts: [identity] })).toEqual(whole)
    expect((await faultOf(path)).facts.need).toBe('passphrase')
    const other = await faultOf(path, { texts: [await generateIdentity()] })
    expect([other.kind, other.message]).toEqual(['damaged', expect.stringContaining('does not fit')])
})

test.skipIf(!age || !have('ssh-keygen'))('opens with an SSH key', async () => {
    const file = join(shelf.directory(), 'key')
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
    const { path } = shelf.make({ recipient: readFileSync(`${file}.pub`, 'utf8').trim() })
    expect(await opened(path, contents, { texts: [readFileSync(file, 'utf8')] })).toEqual(whole)
})

test.skipIf(!age)(
    'tries the salts of a passphrase in their order',
    async () => {
        const salt = `proxsave/age-passphrase/v2:${'9f'.repeat(16)}`
        const identities = await passphraseIdentities('Correct-Horse-9', salt)
        expect(identities).toHaveLength(3)
        for (const identity of identities) {
            const recipient = await recipientOf(identity)
            const { path } = shelf.make({ recipient, manifest: { passphrase_salt: salt } })
            expect(await opened(path, contents, { passphrase: 'Correct-Horse-9' })).toEqual(whole)
        }
        const { path } = shelf.make({ recipient: await recipientOf(identities[0]!) })
        // Its salt went with the manifest.
        const fault = await faultOf(path, { passphrase: 'Correct-Horse-9' })
        expect([fault.message, fault.facts.need]).toEqual([
            expect.stringContaining('wrong passphrase'),
            'passphrase',
        ])
    },
    60_000,
)

test('accepts only bytes that every digest there is speaks of', async () => {
    const flip = (stored: Buffer) => {
        const copy = Buffer.from(stored)
        copy[20]! ^= 1
        return copy
    }
    const wrong = 'f'.repeat(64)
    for (const bundle of [false, true]) {
        for (const [shape, why] of [
            [{ spoil: flip }, 'are not those of its SHA-256'],
            [{ spoil: (stored: Buffer) => stored.subarray(0, -5) }, 'its manifest says'],
            [{ digestText: `${wrong}  x\n` }, 'name different digests'],
            [{ manifest: { sha256: wrong }, digestText: '' }, 'are not those of its SHA-256'],
            [{ manifest: { sha256: '' }, digestText: '' }, 'nothing beside it tells'],
            [{ manifestText: '{"sha256": 5' }, 'not valid JSON'],
            [{ digestText: 'hello' }, 'holds no SHA-256'],
        ] as const) {
            const fault = await faultOf(shelf.make({ ...shape, bundle }).path)
            expect([fault.kind, fault.message]).toEqual(['damaged', expect.stringContaining(why)])
        }
        // Either one alone is enough.
        expect(await opened(shelf.make({ bundle, digestText: '' }).path, contents)).toEqual(whole)
        expect(await opened(shelf.make({ bundle, manifest: { sha256: null } }).path, contents)).toEqual(whole)
    }
})

test('refuses what no archive of the tool holds', async () => {
    const listed = (path: string, link: string, more: Piece[] = []): Piece[] => [
        { path: './etc', type: 'directory' },
        { path: `./${path}`, type: 'symlink', link },
        ...more,
        {
            path: './var/lib/proxsave-info/dedup_manifest.json',
            content: JSON.stringify(['etc/x', 'etc/y'].map(one => ({ path: one, mode: 420 }))),
        },
    ]
    const cases: [Piece[], string][] = [
        [[{ path: './../etc/shadow', content: 'x' }], 'must not have a path'],
        [[{ path: '/etc/shadow', content: 'x' }], 'must not have a path'],
        [[{ path: './etc/../../x', content: 'x' }], 'must not have a path'],
        [listed('etc/x', '../../etc/shadow'), 'outside'],
        [listed('etc/x', '/etc/shadow'), 'outside'],
        [listed('etc/x', 'nothing'), 'no file in it'],
        [listed('etc/x', 'y', [{ path: './etc/y', type: 'symlink', link: 'x' }]), 'copy of itself'],
        [listed('etc/x', '../etc'), 'no file in it'],
        [listed('etc/x', 'z', [{ path: './etc/z', type: 'symlink', link: '/etc/shadow' }]), 'no file in it'],
        [
            [
                { path: './etc', type: 'symlink', link: '/' },
                { path: './etc/shadow', content: 'x' },
            ],
            'below what is no directory',
        ],
        [[{ path: './etc/x', type: 'hardlink', link: './etc/y' }], 'links to what is not in it'],
        [[{ path: './etc/x', content: 'x', claimed: 2 ** 42 }], 'middle of an entry'],
        [
            [{ path: './var/lib/proxsave-info/dedup_manifest.json', content: '[{"path":5}]' }],
            'list of deduplicated files is broken',
        ],
    ]
    for (const [pieces, why] of cases) {
        const fault = await faultOf(shelf.make({ pieces }).path)
        expect([fault.kind, fault.message]).toEqual(['damaged', expect.stringContaining(why)])
    }
})

test('never gives more than permission bits to a rebuilt file, nor follows genuine links', async () => {
    const { path } = shelf.make({
        pieces: [
            { path: './etc', type: 'directory' },
            { path: './etc/a', content: 'a' },
            { path: './etc/b', type: 'symlink', link: 'a' },
            { path: './etc/loop', type: 'symlink', link: 'loop' },
            {
                path: './var/lib/proxsave-info/dedup_manifest.json',
                content: JSON.stringify([{ path: 'etc/b', mode: 0o6755 }]),
            },
        ],
    })
    await opened(path, async archive => {
        const entries = await archive.entries()
        expect(entries.find(entry => entry.path === 'etc/b')?.mode).toBe(0o755)
        expect(entries.find(entry => entry.path === 'etc/loop')).toMatchObject({
            type: 'symlink',
            link: 'loop',
        })
    })
})
