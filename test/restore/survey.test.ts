/** What a survey finds of a backup and a host that went on living: every path that a restore would touch, and no other. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
    chmodSync,
    chownSync,
    existsSync,
    linkSync,
    mkdirSync,
    readFileSync,
    rmSync,
    statfsSync,
    statSync,
    symlinkSync,
    truncateSync,
    unlinkSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { Strategy } from '../../src/catalog/category.ts'
import { xattrsDigest } from '../../src/archive/digest.ts'
import { OwnArchive } from '../../src/archive/own.ts'
import type { SavedEntry } from '../../src/archive/saved.ts'
import { agrees } from '../../src/archive/reader.ts'
import { archiveDiff } from '../../src/backup/diff.ts'
import type { IndexEntry } from '../../src/format/index.ts'
import type { ReadEntry } from '../../src/format/tar-read.ts'
import type { TaskKind } from '../../src/engine/kinds.ts'
import { Fault } from '../../src/core/errors.ts'
import { PlaceTree } from '../../src/host/place.ts'
import { openSaved } from '../../src/restore/open.ts'
import { tasksOf } from '../../src/restore/strategies.ts'
import { checkTargets, stateNeeds, type Written } from '../../src/restore/space.ts'
import { type Survey, type SurveyParams, restoreSurvey } from '../../src/restore/survey.ts'
import { inMemory, isRoot, Lab, recorder, run } from '../backup/lab.ts'
import { restoreOn, runnerOn } from './bench.ts'

let lab: Lab
beforeEach(() => {
    lab = new Lab(inMemory())
})
afterEach(() => lab.remove())

const all: Strategy[] = ['replace', 'merge', 'guarded', 'database', 'export']

async function survey(
    path: string,
    chosen: string[],
    more: Partial<SurveyParams> = {},
    open = openSaved,
): Promise<Survey> {
    const params: SurveyParams = {
        path,
        root: lab.root,
        chosen,
        circumstances: {
            host: { name: 'pve1', product: { kind: 'pve' }, cluster: 'standalone' },
            available: all,
            cluster: undefined,
            database: false,
        },
        exact: false,
        exclude: [],
        never: [],
        leftOut: [],
        ...more,
    }
    return (await restoreSurvey(params, recorder(), open)) as unknown as Survey
}

/** Paths of the tree by what happens to them. */
function found({ rows }: Survey): Record<string, string[]> {
    const by: Record<string, string[]> = {}
    const add = (what: string, path: string) => {
        by[what] = [...(by[what] ?? []), path]
    }
    for (const row of rows) {
        for (const { action, path } of row.actions) add(action, path)
        for (const path of row.exported) add('export', `/${path}`)
    }
    for (const list of Object.values(by)) list.sort()
    return by
}

describe('interface files that the backup lacks', () => {
    /** A host that every manager has something to say about. */
    const live = [
        'etc/network/interfaces',
        'etc/network/interfaces.new',
        'etc/network/interfaces.d/extra',
        'etc/network/interfaces.d/.placeholder',
        'etc/network/if-up.d/script',
        'etc/netplan/99-extra.yaml',
        'etc/netplan/notes.txt',
        'etc/systemd/network/50-extra.network',
        'etc/systemd/network/50-extra.network.d/more.conf',
        'etc/systemd/network/50-extra.link',
        'etc/NetworkManager/system-connections/extra.nmconnection',
        'etc/NetworkManager/NetworkManager.conf',
    ]
    const spoil = () => {
        for (const path of live) lab.file(path, 'live\n')
        symlinkSync('/dev/null', join(lab.root, 'etc/network/interfaces.d/linked'))
        mkdirSync(join(lab.root, 'etc/network/interfaces.d/directory'), { recursive: true })
    }

    const managers: [string, string, string[]][] = [
        [
            'ifupdown',
            'etc/network/interfaces',
            [
                '/etc/network/interfaces.d/extra',
                '/etc/network/interfaces.d/linked',
                '/etc/network/interfaces.new',
            ],
        ],
        ['netplan', 'etc/netplan/01-netcfg.yaml', ['/etc/netplan/99-extra.yaml']],
        [
            'systemd-networkd',
            'etc/systemd/network/10-lan.network',
            ['/etc/systemd/network/50-extra.network', '/etc/systemd/network/50-extra.network.d/more.conf'],
        ],
        ['names of udev', 'etc/systemd/network/10-lan.link', ['/etc/systemd/network/50-extra.link']],
        [
            'NetworkManager',
            'etc/NetworkManager/system-connections/lan.nmconnection',
            ['/etc/NetworkManager/system-connections/extra.nmconnection'],
        ],
    ]
    for (const [name, saved, removed] of managers)
        test(`${name}: they go, those of other managers stay, because the backup says nothing of them`, async () => {
            lab.file(saved, 'saved\n')
            const { path } = await lab.save()
            spoil()
            const { remove } = found(await survey(path, ['network']))
            expect(remove).toEqual(removed)
        })

    test('none goes when the backup has none at all, with --exact they do', async () => {
        lab.file('etc/hosts', '127.0.0.1 localhost\n')
        lab.file('etc/netplan/notes.txt', 'no configuration\n')
        const { path } = await lab.save()
        spoil()
        expect(found(await survey(path, ['network'])).remove).toBeUndefined()
        const exact = found(await survey(path, ['network'], { exact: true })).remove
        expect(exact).toContain('/etc/network/interfaces')
        expect(exact).toContain('/etc/NetworkManager/NetworkManager.conf')
    })

    test('none goes while the network is not chosen or only exported', async () => {
        lab.file('etc/network/interfaces', 'saved\n')
        lab.file('etc/cron.d/job', 'saved\n')
        const { path } = await lab.save()
        spoil()
        expect(found(await survey(path, ['crontabs'])).remove).toBeUndefined()
        const circumstances = {
            host: { name: 'pve1', product: { kind: 'pve' as const }, cluster: 'standalone' as const },
            available: ['replace' as const, 'merge' as const],
            cluster: undefined,
            database: false,
        }
        const exported = found(await survey(path, ['network'], { circumstances, exact: true }))
        expect(exported.remove).toBeUndefined()
        expect(exported.export).toContain('/etc/network/interfaces')
    })

    test('what the backup left out stays', async () => {
        lab.file('etc/network/interfaces', 'saved\n')
        const { path } = await lab.save()
        spoil()
        const leftOut = ['/etc/network/interfaces.d/extra']
        const { remove } = found(await survey(path, ['network'], { leftOut }))
        expect(remove).toEqual(['/etc/network/interfaces.d/linked', '/etc/network/interfaces.new'])
        const excluded = found(await survey(path, ['network'], { exclude: ['/etc/network/interfaces.d/*'] }))
        expect(excluded.remove).toEqual(['/etc/network/interfaces.new'])
    })

    test('pending changes inside the backup are exported and never put in place', async () => {
        lab.file('etc/network/interfaces', 'saved\n')
        lab.file('etc/network/interfaces.new', 'pending when it was saved\n')
        const { path } = await lab.save()
        unlinkSync(join(lab.root, 'etc/network/interfaces.new'))
        const absent = await survey(path, ['network'])
        expect(found(absent)).toEqual({ export: ['/etc/network/interfaces.new'] })
        expect(absent.rows.find(({ exported }) => exported.length > 0)?.why).toContain('never applied')
        // The very same file on the host is pending as well: the next boot would apply it.
        lab.file('etc/network/interfaces.new', 'pending when it was saved\n')
        const same = found(await survey(path, ['network']))
        expect([same.remove, same.replace, same.create]).toEqual([
            ['/etc/network/interfaces.new'],
            undefined,
            undefined,
        ])
    })
})

describe('units', () => {
    const units = 'etc/systemd/system'
    const link = (path: string, target: string) => {
        mkdirSync(dirname(join(lab.root, path)), { recursive: true })
        rmSync(join(lab.root, path), { force: true })
        symlinkSync(target, join(lab.root, path))
    }
    const own = [
        `${units}/proxsave.service`,
        `${units}/proxsave-rollback@.service`,
        `${units}/proxsave-backup@.timer.d/more.conf`,
        `${units}/multi-user.target.wants/proxsave.service`,
        `${units}/sysinit.target.wants/proxsave-rollback-boot.service`,
    ]

    test('of proxsave itself are never written, whatever the backup has', async () => {
        for (const path of own) link(path, '/dev/null')
        lab.file(`${units}/other.service`, 'saved\n')
        const { path } = await lab.save()
        rmSync(join(lab.root, 'etc'), { recursive: true })
        link(own[3]!, '/usr/lib/systemd/system/proxsave.service')
        for (const exact of [false, true]) {
            const surveyed = await survey(path, ['services'], { exact })
            expect(found(surveyed)).toEqual({
                create: ['/etc/systemd/system/other.service', '/etc/systemd/system/sysinit.target.wants'],
            })
            expect(
                surveyed.warnings.filter(text => text.endsWith('belongs to proxsave itself')),
            ).toHaveLength(6)
        }
    })

    test('of proxsave itself are never removed, and are not worth a word where they are as saved', async () => {
        link(own[3]!, '/usr/lib/systemd/system/proxsave.service')
        lab.file(`${units}/other.service`, 'saved\n')
        const { path } = await lab.save()
        for (const one of own) link(one, '/usr/lib/systemd/system/x')
        link(own[3]!, '/usr/lib/systemd/system/proxsave.service')
        lab.file(`${units}/later.service`, 'live\n')
        const surveyed = await survey(path, ['services'], { exact: true })
        expect(found(surveyed)).toEqual({ remove: ['/etc/systemd/system/later.service'] })
        expect(surveyed.warnings).toEqual([])
    })

    test('that let people in and would be masked are told, those that are masked already are not', async () => {
        link(`${units}/ssh.service`, '/dev/null')
        link(`${units}/ssh.socket`, '/dev/null')
        link(`${units}/cron.service`, '/dev/null')
        lab.file(`${units}/networking.service`, '')
        lab.file(`${units}/NetworkManager.service`, '[Unit]\n')
        const { path } = await lab.save()
        rmSync(join(lab.root, units, 'ssh.service'))
        for (const name of ['networking', 'NetworkManager'])
            lab.file(`${units}/${name}.service`, 'live unit\n')
        expect((await survey(path, ['services'])).warnings).toEqual([
            'the restore masks networking.service: nothing starts it at the next boot, where no guard is',
            'the restore masks ssh.service: nothing starts it at the next boot, where no guard is',
        ])
    })
})

describe('room on the file systems that are written', () => {
    const mountable = isRoot && existsSync('/bin/mount')
    if (!mountable) console.log('skip: a small file system needs root and mount')
    const state = () => ({ state: lab.state })
    /** A file system of its own at a path of the tree, for as long as `act` takes. */
    async function mounted(path: string, kilobytes: number, act: () => Promise<void>): Promise<void> {
        const at = join(lab.root, path)
        await run(['mount', '-t', 'tmpfs', '-o', `size=${kilobytes}k,nr_inodes=40`, 'none', at])
        try {
            await act()
        } finally {
            await run(['umount', at])
        }
    }
    const refusal = (path: string) =>
        survey(path, ['included'], state()).then(
            () => undefined,
            (error: Fault) => error.message,
        )

    test.skipIf(!mountable)('a new file that does not fit is refused while planning', async () => {
        lab.file('tree/small/large', 'x'.repeat(600_000))
        lab.file('tree/elsewhere', 'x'.repeat(600_000))
        const { path } = await lab.save()
        await mounted('tree/small', 512, async () => {
            expect(await refusal(path)).toMatch(
                /^cannot restore: .* are needed in .*\/tree\/small and .* are free$/,
            )
        })
        await mounted('tree/small', 1536, async () => expect(await refusal(path)).toBeUndefined())
    })

    test.skipIf(!mountable)(
        'a new file stands beside the old one, which then gives its room back',
        async () => {
            for (const name of ['one', 'two', 'three']) lab.file(`tree/small/${name}`, 'x'.repeat(300_000))
            const { path } = await lab.save()
            const spoil = () => {
                for (const name of ['one', 'two', 'three'])
                    lab.file(`tree/small/${name}`, 'y'.repeat(300_000))
            }
            await mounted('tree/small', 1024, async () => {
                spoil()
                expect(await refusal(path)).toContain('/tree/small and ')
            })
            await mounted('tree/small', 1536, async () => {
                spoil()
                expect(await refusal(path)).toBeUndefined()
                // Under another name the old content stays.
                linkSync(join(lab.root, 'tree/small/one'), join(lab.root, 'tree/small/second'))
                expect(await refusal(path)).toContain('/tree/small and ')
            })
        },
    )

    test.skipIf(!mountable)('inodes are counted too', async () => {
        for (let i = 0; i < 60; i++) lab.file(`tree/small/${i}`, '')
        const { path } = await lab.save()
        await mounted('tree/small', 4096, async () => {
            expect(await refusal(path)).toMatch(/inodes are needed in .*\/tree\/small/)
        })
    })

    test('what is unpacked, kept and put in place on one file system is counted together', async () => {
        lab.file('tree/large', 'x')
        const { path } = await lab.save()
        lab.file('tree/large', 'live')
        const { bavail, bsize } = statfsSync(lab.root)
        const written = (size: number): Written[] => [
            { path: 'tree/large', action: 'replace', type: 'file', size },
        ]
        const live = new PlaceTree(lab.root)
        const needs = (bytes: number) => ({ directory: lab.state, needs: { bytes, inodes: 1 } })
        try {
            const third = (bavail * bsize) / 3
            checkTargets(lab.root, written(third), live, needs(third))
            expect(() => checkTargets(lab.root, written(third), live, needs(2.5 * third))).toThrow('are free')
            expect(() => checkTargets(lab.root, [], live, needs(4 * third))).toThrow('are free')
        } finally {
            live.close()
        }
        expect(await refusal(path)).toBeUndefined()
    })

    test('holes take no room, other metadata take that of the whole file', async () => {
        const at = lab.file('tree/sparse', '')
        truncateSync(at, 2 ** 40)
        lab.file('tree/mode', 'x'.repeat(100_000))
        const { path } = await lab.save()
        unlinkSync(at)
        chmodSync(join(lab.root, 'tree/mode'), 0o600)
        const { sizes } = await survey(path, ['included'], state())
        expect([sizes.entries, sizes.kept]).toEqual([2, 100_000])
        expect(sizes.staged).toBeGreaterThanOrEqual(100_000)
        expect(sizes.staged).toBeLessThan(200_000)
    })
})

describe.if(isRoot)('attributes', () => {
    const shell = (script: string) => run(['bash', '-ec', `cd '${lab.root}/tree'; ${script}`])
    const put = `
        echo a > acl; setfacl -m u:1000:rw acl
        echo c > caps; setcap cap_net_raw+ep caps
        mkdir inherits; setfacl -d -m u:1000:r inherits
        ln -s acl link; setfattr -h -n trusted.note -v x link
        echo n > note; setfattr -n user.empty note; setfattr -n 'user.odd=%3D' -v odd note
        echo h > first; setfattr -n user.note -v saved first; ln first second
        echo plain > plain; echo plain > other
        truncate -s 3M sparse; printf x | dd of=sparse bs=1 seek=2000000 conv=notrunc status=none
        setfattr -n user.note -v sparse sparse
    `
    const changes: [string, string, string[]][] = [
        ['an ACL that is gone', 'setfacl -b acl', ['acl']],
        ['an ACL for somebody else', 'setfacl -m u:1001:rw acl', ['acl']],
        ['a capability that is gone', 'setcap -r caps', ['caps']],
        ['another default ACL of a directory', 'setfacl -d -m u:1000:rwx inherits', ['inherits']],
        ['an attribute of a link', 'setfattr -h -n trusted.note -v y link', ['link']],
        ['an attribute without a value', 'setfattr -x user.empty note', ['note']],
        ['an attribute that somebody gave', 'setfattr -n user.extra -v x plain', ['plain']],
        ['a file with two names', 'setfattr -n user.note -v live first', ['first', 'second']],
        ['a sparse file', 'setfattr -x user.note sparse', ['sparse']],
    ]

    test('that are as they were are no difference, also from an archive of reused frames', async () => {
        lab.file('tree/empty')
        await shell(put)
        const later = { now: () => Date.now() + 60_000 }
        for (const { path } of [
            await lab.save({ cache: true }, later),
            await lab.save({ cache: true }, later),
        ]) {
            const { rows, unchanged } = await survey(path, ['included'])
            expect(found({ rows } as Survey)).toEqual({})
            expect(unchanged).toBe(12)
            await lab.verify(path)
        }
    })

    for (const [name, change, paths] of changes)
        test(`${name}: only the metadata are restored, and a comparison says so`, async () => {
            lab.file('tree/empty')
            await shell(put)
            const { path } = await lab.save()
            await shell(change)
            const wanted = paths.map(one => `/tree/${one}`)
            expect(found(await survey(path, ['included']))).toEqual({ metadata: wanted })
            const io = recorder()
            await archiveDiff({ left: { path }, right: { root: lab.root } }, io)
            const differ = io.items as { path: string; what: string[] }[]
            // A comparison tells of links only where they lead.
            expect(differ.map(one => one.path)).toEqual(paths[0] === 'link' ? [] : wanted)
            for (const { what } of differ) expect(what.join()).toContain('extended attributes or ACL')
        })

    test('an index that says otherwise than the data is damage', async () => {
        const read = { path: 'f', type: 'file', mode: 0, uid: 0, gid: 0, size: 0, mtimeNs: 0n } as ReadEntry
        const known = { ...read, category: 'included', at: 0 } as unknown as IndexEntry
        const xattrs = [{ name: 'user.note', value: Buffer.from('x') }]
        expect(agrees(known, { ...read, xattrs })).toBe(true)
        expect(agrees({ ...known, xattrs: '' }, { ...read, xattrs })).toBe(false)
        expect(agrees({ ...known, xattrs: '' }, { ...read, xattrs: undefined })).toBe(true)
        expect(agrees({ ...known, xattrs: xattrsDigest(xattrs) }, { ...read, xattrs })).toBe(true)
        expect(agrees({ ...known, xattrs: xattrsDigest(xattrs) }, { ...read, xattrs: [] })).toBe(false)
    })
})

describe.if(isRoot)('names of one file in several categories', () => {
    /** The name that the archive has as a file, and those that it has as links to it, by category. */
    async function linked(path: string): Promise<{ first: SavedEntry; links: SavedEntry[] }> {
        const archive = await OwnArchive.open(path, undefined)
        const entries = await archive.entries()
        archive.close()
        const links = entries.filter(({ type }) => type === 'hardlink')
        return { first: entries.find(one => one.path === links[0]!.link)!, links }
    }
    async function apply(archive: string, { rows, sizes }: Survey): Promise<string> {
        const exports = join(lab.state, 'exports/pve1-20260102T030405Z')
        const needs = stateNeeds(sizes)
        const tasks = tasksOf({ archive, rows, units: [], startOrder: [], exports, needs })
        const plan = { kind: 'restore', summary: 'restore', by: 'test', tasks }
        const end = await restoreOn(runnerOn({ root: lab.root, state: lab.state }), plan)
        expect([end.result, end.error?.message]).toEqual(['ok', undefined])
        return exports
    }
    const names = ['etc/cron.d/job', 'etc/init.d/job', 'etc/ssl/job.pem', 'etc/apt/apt.conf.d/job']
    const prepare = async () => {
        const at = lab.file(names[0]!, '* * * * * root /usr/bin/job\n', 0o640)
        chownSync(at, 1, 2)
        for (const name of names.slice(1)) {
            mkdirSync(dirname(join(lab.root, name)), { recursive: true })
            linkSync(at, join(lab.root, name))
        }
        await run(['setfattr', '-n', 'user.note', '-v', 'saved', at])
        const { path } = await lab.save()
        for (const name of names) unlinkSync(join(lab.root, name))
        return { path, ...(await linked(path)) }
    }
    const expectWhole = async (at: string) => {
        expect(readFileSync(at, 'utf8')).toBe('* * * * * root /usr/bin/job\n')
        const { mode, uid, gid } = statSync(at)
        expect([mode & 0o7777, uid, gid]).toEqual([0o640, 1, 2])
        expect(await run(['getfattr', '-n', 'user.note', '--only-values', at])).toContain('saved')
    }

    test('each alone comes back as a file with its content and metadata', async () => {
        const { path, links } = await prepare()
        expect(new Set(links.map(({ category }) => category)).size).toBe(3)
        for (const link of links) {
            const at = join(lab.root, link.path)
            const surveyed = await survey(path, [link.category], { state: lab.state })
            expect(surveyed.sizes.staged).toBeGreaterThan(20)
            await apply(path, surveyed)
            await expectWhole(at)
            expect(names.filter(name => existsSync(join(lab.root, name)))).toEqual([link.path])
            unlinkSync(at)
        }
    })

    test('what is exported has its content too, whichever name is the first, and so has what is not', async () => {
        const { path, first, links } = await prepare()
        for (const exported of [links[0]!.category, first.category, links.at(-1)!.category]) {
            const surveyed = await survey(path, [...new Set([first, ...links].map(one => one.category))])
            for (const row of surveyed.rows)
                if (row.id === exported)
                    Object.assign(row, {
                        action: 'export',
                        exported: row.actions.map(({ bytes }) => bytes),
                        actions: [],
                    })
            const exports = await apply(path, surveyed)
            const entry = [first, ...links].find(({ category }) => category === exported)!
            for (const name of names) await expectWhole(join(name === entry.path ? exports : lab.root, name))
            expect(existsSync(join(lab.root, entry.path))).toBe(false)
            for (const name of names) rmSync(join(lab.root, name), { force: true })
            rmSync(exports, { recursive: true })
        }
    })

    test('what they would run as root is told of every name', async () => {
        const { path, first, links } = await prepare()
        const { commands } = await survey(path, [...new Set([first, ...links].map(one => one.category))])
        expect(commands.filter(line => line.startsWith('/etc/cron.d/job:')).length).toBe(1)
        expect(commands.filter(line => line.startsWith('/etc/init.d/job:')).length).toBe(1)
    })

    test('one whose file is not in the backup is refused while planning', async () => {
        const { path, first, links } = await prepare()
        const without: typeof openSaved = async (...how) => {
            const archive = await openSaved(...how)
            const entries = (await archive.entries()).filter(entry => entry.path !== first.path)
            return Object.assign(Object.create(archive) as typeof archive, {
                entries: () => Promise.resolve(entries),
                visit: archive.visit.bind(archive),
                close: () => archive.close(),
            })
        }
        for (const { path: link, category } of links)
            await expect(survey(path, [category], {}, without)).rejects.toMatchObject({
                kind: 'damaged',
                message: `cannot restore /${link}: it is another name of /${first.path}, which the backup does not hold`,
            })
        expect(found(await survey(path, [first.category], {}, without)).create).toBeUndefined()
    })
})

describe('/etc/resolv.conf', () => {
    const conf = 'etc/resolv.conf'
    const link = (target: string) => () =>
        symlinkSync(target, lab.file('etc/hosts').replace('hosts', 'resolv.conf'))
    const content = (text: string) => () => void lab.file(conf, text)
    const stub = 'run/systemd/resolve/stub-resolv.conf'
    const cases: [string, () => void, boolean][] = [
        ['a link that leads nowhere', link(`../${stub}`), true],
        ['a file without a name server', content('# nothing here\n'), true],
        ['the stub of a program that is not here', content('nameserver 127.0.0.53\n'), true],
        ['a name server', content('nameserver 192.0.2.1\n'), false],
        [
            'a link to the stub of a program that is here',
            () => {
                link(`../${stub}`)()
                lab.file(stub, 'nameserver 127.0.0.53\n')
            },
            false,
        ],
        [
            'the stub of a program, and a link on the way to where it would be',
            () => {
                content('nameserver 127.0.0.53\n')()
                lab.file('volatile/systemd/resolve/stub-resolv.conf')
                symlinkSync('volatile', join(lab.root, 'run'))
            },
            true,
        ],
    ]
    for (const [name, make, mended] of cases)
        test(`${name}, the same in the backup: ${mended ? 'will be mended' : 'stays'}`, async () => {
            make()
            const { path } = await lab.save()
            const surveyed = await survey(path, ['network'])
            const rows = surveyed.rows.filter(({ action }) => action === 'merge')
            expect(rows.flatMap(({ actions }) => actions.map(one => one.path))).toEqual(
                mended ? [`/${conf}`] : [],
            )
            const tasks = tasksOf({
                archive: path,
                rows,
                units: [],
                startOrder: [],
                needs: stateNeeds(surveyed.sizes),
            })
            expect(tasks.filter(({ kind }) => kind === 'restore.merge').length).toBe(mended ? 1 : 0)
        })

    test.if(isRoot)('that cannot be mended is a warning, and the rest stays restored', async () => {
        lab.file(conf, '# nothing here\n')
        lab.file('etc/cron.d/job', 'saved\n')
        const { path } = await lab.save()
        lab.file('etc/cron.d/job', 'live\n')
        const { rows, sizes } = await survey(path, ['network', 'crontabs'])
        const tasks = tasksOf({ archive: path, rows, units: [], startOrder: [], needs: stateNeeds(sizes) })
        const more: TaskKind[] = [
            {
                kind: 'restore.merge',
                do: () =>
                    Promise.reject(new Fault('failed', 'cannot write /etc/resolv.conf: it is immutable')),
                undo: async () => undefined,
            },
        ]
        const plan = { kind: 'restore', summary: 'restore', by: 'test', tasks }
        const end = await restoreOn(runnerOn({ root: lab.root, state: lab.state, more }), plan)
        expect(end.result).toBe('warning')
        expect(readFileSync(join(lab.root, 'etc/cron.d/job'), 'utf8')).toBe('saved\n')
    })
})

describe('an exact restore', () => {
    test('removes nothing that the rule of a single path keeps from being replaced', async () => {
        lab.file('etc/network/interfaces', 'saved\n')
        const { path } = await lab.save()
        lab.file('etc/resolv.conf', 'nameserver 192.0.2.1\n')
        lab.file('etc/networks', 'loopback 127.0.0.0\n')
        const { remove } = found(await survey(path, ['network'], { exact: true }))
        expect(remove).toEqual(['/etc/networks'])
    })

    test('removes what lies in a directory with it, deepest first', async () => {
        lab.file('etc/network/interfaces', 'saved\n')
        const { path } = await lab.save()
        lab.file('etc/wireguard/keys/one', 'x')
        const { rows } = await survey(path, ['network'], { exact: true })
        const removed = rows.flatMap(({ actions }) => actions.map(one => one.path))
        expect(removed).toEqual(['/etc/wireguard/keys/one', '/etc/wireguard/keys', '/etc/wireguard'])
        const exclude = ['/etc/wireguard/keys/*']
        const around = found(await survey(path, ['network'], { exact: true, exclude }))
        expect(around.remove).toBeUndefined()
    })
})
