/** The catalogue as a whole: complete, well-formed, and as the contract for restores says. */
import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Product, RestoreMode } from '../../src/catalog/category.ts'
import { categories, categoriesOf, categoryById } from '../../src/catalog/index.ts'
import { buildMatcher, parsePattern } from '../../src/catalog/match.ts'
import { neverSaved } from '../../src/catalog/never.ts'
import { categoriesPage } from '../../src/catalog/page.ts'

const root = join(import.meta.dir, '../..')
const idsOf = (mode: RestoreMode, ...products: Product[]) =>
    categories
        .filter(category => category.modes.includes(mode) && products.includes(category.product))
        .map(category => category.id)
        .sort()

describe('the registry', () => {
    test('holds every file of its folder under the name of its id, once', () => {
        const files = readdirSync(join(root, 'src/catalog/categories')).sort()
        const ids = categories.map(category => category.id)
        expect(ids.map(id => `${id}.ts`).sort()).toEqual(files)
        expect(new Set(ids).size).toBe(ids.length)
        for (const id of ids) expect(id).toMatch(/^[a-z][a-z0-9_]*$/)
    })

    test('has every category of the restore guide', () => {
        const guide =
            'pve_config_export pve_cluster storage_pve pve_jobs corosync ceph pbs_config datastore_pbs pbs_jobs network ' +
            'ssl ssh scripts crontabs services zfs'
        const finer =
            'pve_notifications pve_access_control pve_firewall pve_ha pve_sdn pbs_host pbs_remotes pbs_notifications ' +
            'pbs_access_control pbs_tape filesystem storage_stack accounts user_data'
        for (const id of `${guide} ${finer}`.split(' ')) expect(categoryById(id)?.id).toBe(id)
    })

    test('finds nothing under an unknown id', () => {
        expect(categoryById('nothing')).toBeUndefined()
    })

    test('puts captured output last', () => {
        expect(categories.at(-1)?.id).toBe('captured')
    })

    test('gives a host the categories of its products', () => {
        const products = (kind: Parameters<typeof categoriesOf>[0]) =>
            [...new Set(categoriesOf(kind).map(category => category.product))].sort()
        expect(products('pve')).toEqual(['common', 'pve'])
        expect(products('pbs')).toEqual(['common', 'pbs'])
        expect(products('both')).toEqual(['common', 'pbs', 'pve'])
        expect(products('debian')).toEqual(['common'])
        expect(categoriesOf('both')).toEqual([...categories])
    })
})

describe('restore modes', () => {
    test('storage', () => {
        expect(idsOf('storage', 'pve', 'common')).toEqual(['pve_cluster', 'pve_jobs', 'storage_pve', 'zfs'])
        expect(idsOf('storage', 'pbs', 'common')).toEqual(['datastore_pbs', 'pbs_config', 'pbs_jobs', 'zfs'])
    })
    test('base', () => {
        expect(idsOf('base', 'pve', 'pbs', 'common')).toEqual(['network', 'services', 'ssh', 'ssl'])
    })
    test('full', () => {
        expect(idsOf('full', 'pve', 'pbs', 'common')).toHaveLength(categories.length)
    })
})

describe('strategies', () => {
    test.each(['pve_config_export', 'pbs_config', 'captured', 'boot', 'packages', 'machine'])(
        '%s is only ever exported',
        id => {
            expect(categoryById(id)?.strategy).toBe('export')
        },
    )

    test('corosync and ceph are exported while another member is alive, and only they', () => {
        const conditional = categories.filter(category => category.exportWhile !== undefined)
        expect(conditional.map(category => category.id).sort()).toEqual(['ceph', 'corosync'])
    })

    test('what can lock a person out is guarded, or merged by a rule that cannot', () => {
        for (const category of categories.filter(category => category.risk === 'lock-out'))
            expect(['guarded', 'merge', 'objects'], category.id).toContain(category.strategy)
        for (const id of [
            'network',
            'ssh',
            'host_firewall',
            'pve_firewall',
            'pve_access_control',
            'pbs_access_control',
        ])
            expect(categoryById(id)?.strategy, id).toBe('guarded')
    })

    test('the database is swapped, fstab and accounts are merged', () => {
        expect(categoryById('pve_cluster')?.strategy).toBe('database')
        expect(categoryById('filesystem')?.strategy).toBe('merge')
        expect(categoryById('accounts')?.strategy).toBe('merge')
    })

    test('nothing below /etc/pve is swapped in as a file, except by the cluster file system for Ceph', () => {
        for (const category of categories.filter(category => category.strategy === 'replace'))
            for (const path of category.paths)
                if (path.startsWith('/etc/pve/')) expect(category.id).toBe('ceph')
    })

    test('HA stops first and pmxcfs starts before corosync', () => {
        const { services = [], startOrder = [] } = categoryById('pve_cluster')!
        expect(services.slice(0, 2)).toEqual(['pve-ha-lrm.service', 'pve-ha-crm.service'])
        expect(startOrder[0]).toBe('pve-cluster.service')
        expect([...startOrder].sort()).toEqual([...services].sort())
    })
})

describe('each category', () => {
    test.each(categories.map(category => [category.id, category] as const))(
        '%s is well-formed',
        (_, category) => {
            const lists = [category.paths, category.never, category.expected].flatMap(list => list ?? [])
            const checked = [...(category.except ?? []), ...(category.validator ?? [])].map(
                ({ path }) => path,
            )
            for (const path of [...lists, ...checked]) expect(() => parsePattern(path)).not.toThrow()
            if (category.id !== 'included') expect(category.paths.length).toBeGreaterThan(0)
            expect(category.title).not.toBe('')
            expect(category.about).toMatch(/^\S.*\.$/)
            for (const unit of category.services ?? [])
                expect(unit).toMatch(/^[a-z0-9@-]+\.(service|timer|socket)$/)
            for (const unit of category.startOrder ?? []) expect(category.services).toContain(unit)
            const files = (category.commands ?? []).map(command => command.file)
            expect(new Set(files).size).toBe(files.length)
            for (const { file, argv } of category.commands ?? []) {
                expect(file).toMatch(/^[a-z0-9-]+\.(txt|json)$/)
                expect(['sh', 'bash', 'env']).not.toContain(argv[0])
            }
        },
    )

    test('expects, excepts and checks only what it owns', () => {
        const matcher = buildMatcher(categories)
        for (const category of categories) {
            const checked = [...(category.except ?? []), ...(category.validator ?? [])].map(
                ({ path }) => path,
            )
            for (const path of [...(category.expected ?? []), ...checked]) {
                const sample = path.replace(/\/$/, '').replaceAll('*', 'x')
                if (category.strategy === 'export') expect(matcher.ownerOf(sample), path).toBeDefined()
                else expect(matcher.ownerOf(sample)?.id, path).toBe(category.id)
            }
        }
    })

    test('is told apart from every other: none lists a path of another', () => {
        const paths = categories.flatMap(category => category.paths)
        expect(paths.filter((path, i) => paths.indexOf(path) !== i)).toEqual([])
    })

    test('that reaches around another leaves it alone, unless it is exported', () => {
        for (const outer of categories) {
            if (outer.residual || outer.strategy === 'export') continue
            const trees = outer.paths.filter(path => path.endsWith('/'))
            for (const inner of categories.filter(category => category !== outer))
                for (const path of inner.paths)
                    expect(
                        trees.some(tree => path.startsWith(tree)),
                        `${outer.id} around ${path}`,
                    ).toBe(false)
        }
    })

    test('of PVE or PBS runs its commands only on that product', () => {
        const proxmox = /^(pve|qm|pct|proxmox-(backup|tape)|ceph|corosync)/
        for (const category of categories.filter(category => category.product === 'common'))
            for (const { argv } of category.commands ?? []) expect(argv[0]).not.toMatch(proxmox)
    })
})

test('paths that are never saved are well-formed', () => {
    for (const path of neverSaved) expect(() => parsePattern(path)).not.toThrow()
})

test('docs/categories.md is what packaging/generate-categories writes', () => {
    const committed = readFileSync(join(root, 'docs/categories.md'), 'utf8')
    expect(committed).toBe(categoriesPage(categories))
    const run = Bun.spawnSync([process.execPath, join(root, 'packaging/generate-categories'), '--stdout'])
    expect(run.stdout.toString()).toBe(committed)
}, 20_000)
