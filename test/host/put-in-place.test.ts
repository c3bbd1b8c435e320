/** Entries put in place and put back outside of any change, as a process that has only the snapshot does it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PlaceCalls, placeCalls, PlaceTree } from '../../src/host/place.ts'
import { putBack } from '../../src/host/put-back.ts'
import {
    arrange,
    checkPlaces,
    type PathAction,
    putInPlace,
    type Teller,
} from '../../src/host/put-in-place.ts'
import { dropSecondNames, Snapshot, saveBefore } from '../../src/host/snapshot.ts'
import { isRoot, run } from '../backup/lab.ts'
import { Troubled } from '../restore/bench.ts'
import { Describer } from '../restore/describer.ts'
import type { Tree } from '../vm/tree.ts'

if (!isRoot) console.log('skip: owners and attributes can only be put in place by root')

const old = `
mkdir -p etc/network/interfaces.d etc/gone-later etc/file-later
echo 'auto lo' > etc/network/interfaces; chmod 640 etc/network/interfaces; chown 1:2 etc/network/interfaces
setfattr -n user.note -v old etc/network/interfaces; setfacl -m u:1000:r etc/network/interfaces
echo pending > etc/network/interfaces.new
echo eno1 > etc/network/interfaces.d/eno1; ln etc/network/interfaces.d/eno1 etc/network/interfaces.d/eno2
ln -s ../run/resolv.conf etc/resolv.conf
echo out > etc/gone-later/out; chmod 700 etc/gone-later
echo in > etc/file-later/in
echo mode > etc/mode; chmod 600 etc/mode
echo theirs > etc/theirs; ln etc/theirs etc/theirs-too
find etc -exec touch -h -d '2025-06-07 08:09:10.987654321' {} +
`
const staged = `
mkdir -p etc/network/interfaces.d etc/systemd/network
echo 'auto vmbr0' > etc/network/interfaces; setfattr -n user.note -v new etc/network/interfaces
echo eno7 > etc/network/interfaces.d/eno1
echo nameserver > etc/resolv.conf
echo now a file > etc/file-later
echo '[Match]' > etc/systemd/network/10.link; chmod 711 etc/systemd
ln -s 10.link etc/systemd/network/20.link
echo mode > etc/mode; chmod 644 etc/mode
echo mine > etc/theirs
find etc -exec touch -h -d '2024-02-03 04:05:06.123456789' {} +
`
const action = (path: string, what: PathAction['action'], type: PathAction['type'] = 'file'): PathAction => ({
    path,
    action: what,
    type,
})
const actions: PathAction[] = [
    action('etc/network/interfaces', 'replace'),
    action('etc/network/interfaces.new', 'remove'),
    action('etc/network/interfaces.d/eno1', 'replace'),
    action('etc/network/interfaces.d/eno2', 'remove'),
    action('etc/resolv.conf', 'replace'),
    action('etc/gone-later/out', 'remove'),
    action('etc/gone-later', 'remove', 'directory'),
    action('etc/file-later/in', 'remove'),
    action('etc/file-later', 'replace'),
    // The two directories above are not there, and named by nobody.
    action('etc/systemd/network/10.link', 'create'),
    action('etc/systemd/network/20.link', 'create', 'symlink'),
    action('etc/mode', 'metadata'),
    action('etc/theirs', 'replace'),
]

describe.if(isRoot)('putting in place and back', () => {
    let top: string
    let root: string
    let own: string
    let before: Tree
    let describer: Describer
    const logs: string[] = []
    const warnings: string[] = []
    const teller: Teller = {
        key: 'guard-1',
        log: text => void logs.push(text),
        warn: text => void warnings.push(text),
    }

    beforeAll(() => {
        describer = new Describer()
    })
    afterAll(() => describer.end())
    beforeEach(async () => {
        top = mkdtempSync(join(tmpdir(), 'proxsave-put-'))
        root = join(top, 'root')
        own = join(top, 'own')
        const stage = join(own, 'new')
        for (const path of [root, stage]) mkdirSync(path, { recursive: true })
        await run(['bash', '-ec', `umask 022; cd '${root}'; ${old}`])
        await run(['bash', '-ec', `umask 022; cd '${stage}'; ${staged}`])
        before = await describer.describe(root)
        logs.length = 0
        warnings.length = 0
    })
    afterEach(() => rmSync(top, { recursive: true }))

    /** Each step opens what it needs, as a process of its own does. */
    async function withTrees<T>(
        calls: PlaceCalls,
        act: (live: PlaceTree, mine: PlaceTree) => Promise<T> | T,
    ): Promise<T> {
        const live = new PlaceTree(root, calls)
        const mine = new PlaceTree(own, calls)
        try {
            return await act(live, mine)
        } finally {
            live.close()
            mine.close()
        }
    }

    const save = () =>
        withTrees(placeCalls, (live, mine) =>
            saveBefore(
                actions.map(({ path }) => path),
                live,
                mine,
                'old',
            ),
        )

    const place = (calls = placeCalls) =>
        withTrees(calls, async (live, mine) => {
            const places = { live, from: { tree: mine, at: 'new' }, snapshot: Snapshot.read(mine, 'old')! }
            const work = arrange(actions, places.snapshot)
            checkPlaces(work, places)
            return putInPlace(work, places, teller)
        })

    const back = (calls = placeCalls) =>
        withTrees(calls, async (live, mine) => {
            const snapshot = Snapshot.read(mine, 'old')!
            const problems = await putBack(snapshot.paths, live, snapshot, teller)
            dropSecondNames(snapshot, live)
            mine.settle()
            return problems
        })

    /** What was staged is there, as it was staged, and what had to go is gone. */
    async function expectPlaced(): Promise<void> {
        const wanted = await describer.describe(join(own, 'new'))
        const found = await describer.describe(root)
        for (const { path, action: what, type } of actions) {
            if (what === 'remove') {
                expect([path, found.has(path)]).toEqual([path, wanted.has(path)])
                continue
            }
            const { atime: _, ...is } = found.get(path)!
            const { atime: __, ...shall } = wanted.get(path)!
            expect([type, is]).toEqual([type, shall])
        }
        for (const path of ['etc/systemd', 'etc/systemd/network'])
            expect([path, found.get(path)?.mode, found.get(path)?.mtime]).toEqual([
                path,
                wanted.get(path)!.mode,
                wanted.get(path)!.mtime,
            ])
        expect([...found.keys()].filter(path => path.includes('proxsave-tmp'))).toEqual([])
    }

    async function crash(act: Promise<unknown>, troubled: Troubled): Promise<void> {
        await act.catch(() => undefined)
        expect(troubled.dead).toBe(true)
    }

    test('the way there and back leaves everything as it was, created directories gone', async () => {
        const snapshot = await save()
        expect(snapshot.paths).toContain('etc/systemd')
        expect(snapshot.paths).not.toContain('etc')
        const digests = await place()
        await withTrees(placeCalls, live => {
            for (const [path, digest] of digests) expect([path, digest]).toEqual([path, live.digest(path)])
        })
        expect(digests.size).toBe(7)
        await expectPlaced()
        expect(logs).toContain('wrote /etc/mode (file, 644, 0:0)')
        expect(logs).toContain('removed /etc/network/interfaces.new')
        expect(await back()).toEqual([])
        expect(await describer.differences(before, root)).toEqual([])
        // And once more, as a boot unit may after the timer.
        expect(await back()).toEqual([])
        expect(await describer.differences(before, root)).toEqual([])
        expect(warnings).toEqual([])
    })

    test('a crash at any call of the way there: it can go on, and it can go back', async () => {
        await save()
        const counting = new Troubled()
        await place(counting.calls)
        await back()
        expect(counting.count).toBeGreaterThan(60)
        for (let n = 1; n <= counting.count; n++) {
            await save()
            const troubled = new Troubled({ kind: 'crash', at: n })
            await crash(place(troubled.calls), troubled)
            if (n % 2 === 0) {
                await place()
                await expectPlaced()
            }
            expect(await back()).toEqual([])
            const left = await describer.differences(before, root)
            expect([`crash at ${n} (${troubled.last})`, left]).toEqual([
                `crash at ${n} (${troubled.last})`,
                [],
            ])
        }
    }, 60_000)

    test('a crash at any call of the way back: the next attempt ends it', async () => {
        await save()
        await place()
        const counting = new Troubled()
        await back(counting.calls)
        expect(counting.count).toBeGreaterThan(30)
        for (let n = 1; n <= counting.count; n++) {
            await save()
            await place()
            const troubled = new Troubled({ kind: 'crash', at: n })
            await crash(back(troubled.calls), troubled)
            expect(await back()).toEqual([])
            const left = await describer.differences(before, root)
            expect([`crash at ${n} (${troubled.last})`, left]).toEqual([
                `crash at ${n} (${troubled.last})`,
                [],
            ])
        }
    }, 60_000)

    test('what cannot be put back is told and keeps nothing else from it', async () => {
        await save()
        await place()
        rmSync(join(root, 'etc/mode'))
        mkdirSync(join(root, 'etc/mode'))
        writeFileSync(join(root, 'etc/mode/inside'), '')
        writeFileSync(join(root, 'etc/systemd/theirs'), '')
        rmSync(join(root, 'etc/network/interfaces.d'), { recursive: true })
        symlinkSync('..', join(root, 'etc/network/interfaces.d'))
        const synced: string[] = []
        const calls: PlaceCalls = {
            ...placeCalls,
            sync: fd => {
                synced.push(readlinkSync(`/proc/self/fd/${fd}`))
                placeCalls.sync(fd)
            },
        }
        const eno = (n: number) => `/etc/network/interfaces.d/eno${n}: a symbolic link stands in its way`
        expect(await back(calls)).toEqual([
            '/etc/mode is a directory by now, and not empty',
            `cannot look at ${eno(1)}`,
            `cannot look at ${eno(2)}`,
        ])
        // The others are durable all the same.
        expect(synced).toContain(join(root, 'etc'))
        expect(warnings).toEqual(['/etc/systemd stays: there is something in it since (theirs)'])
        const lines = await describer.differences(before, root)
        expect(
            lines.filter(line => !/^"etc(\/mode|\/systemd|\/network\/interfaces\.d|\/network"|")/.test(line)),
        ).toEqual([])
    })

    test('nothing is written for a path that the snapshot does not know', async () => {
        const snapshot = await save()
        expect(() => arrange([action('etc/hosts', 'create')], snapshot)).toThrow('not in the snapshot')
        // Of this one only the times are known.
        expect(() => arrange([action('etc', 'replace', 'directory')], snapshot)).toThrow(
            'not in the snapshot',
        )
    })
})
