/** What a survey finds of a backup and a host that went on living: every path that a restore would touch, and no other. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Strategy } from '../../src/catalog/category.ts'
import { type Survey, type SurveyParams, restoreSurvey } from '../../src/restore/survey.ts'
import { inMemory, Lab, recorder } from '../backup/lab.ts'

let lab: Lab
beforeEach(() => {
    lab = new Lab(inMemory())
})
afterEach(() => lab.remove())

const all: Strategy[] = ['replace', 'merge', 'guarded', 'database', 'export']

async function survey(path: string, chosen: string[], more: Partial<SurveyParams> = {}): Promise<Survey> {
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
    return (await restoreSurvey(params, recorder())) as unknown as Survey
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
