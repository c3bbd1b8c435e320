/** Path matching: the trie against a naive matcher, and what walking relies on. */
import { describe, expect, test } from 'bun:test'
import { categories, categoriesOf, categoryById } from '../../src/catalog/index.ts'
import {
    buildMatcher,
    memberOf,
    PathTrie,
    parsePattern,
    rootsToWalk,
    strategyOf,
} from '../../src/catalog/match.ts'
import { Fault } from '../../src/core/errors.ts'

/** mulberry32: the same numbers for the same seed. */
function random(seed: number): () => number {
    let state = seed
    return () => {
        state = (state + 0x6d2b79f5) | 0
        let t = Math.imul(state ^ (state >>> 15), 1 | state)
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296
    }
}

/** The rule of the documentation, written down without a trie: every pattern is tried, the most specific one is taken. */
function naiveOwner(patterns: readonly string[], path: string): string | undefined {
    let best: string | undefined
    for (const pattern of patterns)
        if (naiveMatches(pattern, path) && (best === undefined || isMoreSpecific(pattern, best)))
            best = pattern
    return best
}

function naiveMatches(pattern: string, path: string): boolean {
    const tree = pattern.endsWith('/')
    const body = (tree ? pattern.slice(0, -1) : pattern)
        .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
        .replaceAll('*', '[^/]*')
    return new RegExp(`^${body}${tree ? '(/.*)?' : ''}$`, 's').test(path)
}

function isMoreSpecific(a: string, b: string): boolean {
    const measure = (pattern: string) => {
        const bare = pattern.replace(/\/$/, '')
        return [
            bare.split('*')[0]!.length,
            bare.split('/').length,
            bare.replaceAll('*', '').length,
            pattern.endsWith('/') ? 0 : 1,
        ]
    }
    const [left, right] = [measure(a), measure(b)]
    for (const [i, value] of left.entries()) if (value !== right[i]) return value > right[i]!
    return false
}

describe('the trie', () => {
    test('says what trying every pattern says', () => {
        for (let seed = 1; seed <= 300; seed++) {
            const next = random(seed)
            const pick = <T>(from: readonly T[]) => from[Math.floor(next() * from.length)]!
            const patterns = Array.from({ length: 1 + Math.floor(next() * 12) }, () => {
                const depth = 1 + Math.floor(next() * 4)
                const names = Array.from({ length: depth }, () =>
                    pick(['a', 'b', 'ab', '*', 'a*', '*b', 'a*b*', '.*']),
                )
                return `/${names.join('/')}${next() < 0.5 ? '/' : ''}`
            })
            const trie = new PathTrie(patterns.map(pattern => ({ pattern, owner: pattern })))
            for (let i = 0; i < 60; i++) {
                const depth = 1 + Math.floor(next() * 5)
                const names = Array.from({ length: depth }, () =>
                    pick(['a', 'b', 'ab', 'aab', 'abb', '.a', 'x', '*']),
                )
                const path = `/${names.join('/')}`
                const told = `seed ${seed}, ${path} by ${patterns.join(' ')}`
                expect(trie.find(path)?.owner, told).toBe(naiveOwner(patterns, path))
                let node: ReturnType<typeof trie.descend> = trie.root
                for (const name of names) node = node && trie.descend(node, name)
                expect(node?.owner, told).toBe(naiveOwner(patterns, path))
                // Nothing below an absent node is anybody's, and everything below a settled one is its owner's.
                for (const name of ['a', 'ab', 'x']) {
                    const below = naiveOwner(patterns, `${path}/${name}`)
                    if (node === undefined) expect(below, told).toBeUndefined()
                    if (node?.settled) expect(trie.find(`${path}/${name}`)?.owner, told).toBe(node.owner)
                }
            }
        }
    })

    test('gives equal patterns to the earlier rule', () => {
        const trie = new PathTrie([
            { pattern: '/a/', owner: 'first' },
            { pattern: '/a/', owner: 'second' },
        ])
        expect(trie.find('/a/x')?.owner).toBe('first')
    })

    test('knows a directory that only leads somewhere from one that leads nowhere', () => {
        const trie = new PathTrie([{ pattern: '/var/lib/x/', owner: 1 }])
        expect(trie.find('/var')).toEqual(expect.objectContaining({ owner: undefined, named: false }))
        expect(trie.find('/var/log')).toBeUndefined()
        expect(trie.find('/var/lib/x')).toEqual(expect.objectContaining({ owner: 1, named: true }))
        expect(trie.find('/var/lib/x/y/z')).toEqual(expect.objectContaining({ owner: 1, named: false }))
    })

    test('does not take what lies below an entry for the entry', () => {
        const trie = new PathTrie([
            { pattern: '/etc/', owner: 'rest' },
            { pattern: '/etc/fstab', owner: 'filesystem' },
        ])
        expect(trie.find('/etc/fstab')?.owner).toBe('filesystem')
        expect(trie.find('/etc/fstab/odd')?.owner).toBe('rest')
    })

    test('reads paths of an archive, which have no leading slash', () => {
        expect(new PathTrie([{ pattern: '/etc/ssh/', owner: 1 }]).find('etc/ssh/sshd_config')?.owner).toBe(1)
    })

    test('keeps its size while names that no pattern knows go by', () => {
        const trie = new PathTrie([{ pattern: '/home/*/.ssh/', owner: 1 }])
        const home = trie.find('/home')!
        const first = trie.descend(home, 'somebody')
        for (let i = 0; i < 1000; i++) expect(trie.descend(home, `user${i}`)).toBe(first)
    })

    test.each(['etc', '/etc//x', '/etc/../x', '/etc/**/x', ''])('refuses %p as a pattern', pattern => {
        expect(() => parsePattern(pattern)).toThrow(Fault)
    })
})

describe('the matcher of the catalogue', () => {
    const both = buildMatcher(categoriesOf('both'))

    test.each([
        ['/etc/pve/storage.cfg', 'storage_pve'],
        ['/etc/pve/priv/storage/nas.pw', 'storage_pve'],
        ['/etc/pve/nodes/pve1/host.fw', 'pve_firewall'],
        ['/etc/pve/nodes/pve1/qemu-server/100.conf', 'pve_guests'],
        ['/etc/pve/nodes/pve1/lrm_status', 'pve_config_export'],
        ['/etc/pve/sdn/firewall/vn1.fw', 'pve_firewall'],
        ['/etc/pve/sdn/zones.cfg', 'pve_sdn'],
        ['/etc/proxmox-backup/proxy.pem', 'ssl'],
        ['/etc/proxmox-backup/csrf.key', 'pbs_config'],
        ['/etc/systemd/network/10-lan.link', 'network'],
        ['/etc/systemd/system/mnt-datastore-usb.mount', 'storage_stack'],
        ['/etc/systemd/system/own.service', 'services'],
        ['/etc/udev/rules.d/70-persistent-net.rules', 'network'],
        ['/etc/udev/rules.d/60-disks.rules', 'services'],
        ['/etc/default/grub', 'boot'],
        ['/etc/default/pveproxy', 'services'],
        ['/etc/cron.daily/logrotate', 'crontabs'],
        ['/root/.ssh/authorized_keys', 'ssh'],
        ['/home/ann/.ssh/authorized_keys', 'ssh'],
        ['/home/ann/.bashrc', 'user_data'],
        ['/usr/local/share/ca-certificates/own.crt', 'ssl'],
        ['/etc/nginx/nginx.conf', 'etc_rest'],
        ['/etc', 'etc_rest'],
        ['/var/log/syslog', undefined],
        ['/opt/scripts/x', undefined],
    ])('%s belongs to %p', (path, id) => {
        expect(both.ownerOf(path)?.id).toBe(id as string)
    })

    test.each(['pve', 'pbs', 'both', 'debian'] as const)(
        'leaves nothing below /etc without an owner on %s',
        kind => {
            const matcher = buildMatcher(categoriesOf(kind))
            const next = random(7)
            const names = [
                'pve',
                'proxmox-backup',
                'ssh',
                'priv',
                'nodes',
                'x',
                'cron.d',
                'systemd',
                'user.cfg',
                'corosync',
            ]
            for (let i = 0; i < 2000; i++) {
                const depth = Math.floor(next() * 5)
                const path = [
                    '/etc',
                    ...Array.from({ length: depth }, () => names[Math.floor(next() * names.length)]),
                ]
                expect(matcher.ownerOf(path.join('/'))).toBeDefined()
            }
        },
    )

    test('keeps what an uninstalled product left behind', () => {
        const debian = buildMatcher(categoriesOf('debian'))
        expect(debian.ownerOf('/etc/proxmox-backup/user.cfg')?.id).toBe('etc_rest')
        expect(debian.isNever('/etc/proxmox-backup/user.cfg')).toBe(false)
    })

    test.each([
        ['/etc/proxsave/identity.txt', true],
        ['/etc/proxsave/identity.age', true],
        ['/etc/proxsave/.identity.txt.swp', true],
        ['/etc/proxsave/#identity.txt#', true],
        ['/etc/proxsave/proxsave.toml', false],
        ['/etc/proxsave/recipients', false],
        ['/var/lib/proxsave', true],
        ['/var/lib/proxsave/cache/x', true],
        ['/var/backups/proxsave/a.tar', true],
        ['/var/lib/pve-cluster/config.db', false],
        ['/var/lib/pve-cluster/config.db-wal', true],
        ['/etc/pve/.version', true],
        ['/etc/pve/local', true],
        ['/etc/pve/qemu-server/100.conf', true],
        ['/etc/pve/priv/lock/storage-x', true],
        ['/etc/proxmox-backup/.user.lck', true],
        ['/etc/proxmox-backup/acme/plugins.lck', true],
        ['/root/.cache/x', true],
        ['/root/cache/x', false],
    ])('%s is never saved: %p', (path, never) => {
        expect(both.isNever(path)).toBe(never)
    })

    test('never saves the identity, even when it is included by name and no category is chosen', () => {
        const matcher = buildMatcher([], ['/etc/proxsave'])
        expect(matcher.isNever('/etc/proxsave/identity.txt')).toBe(true)
        expect(matcher.ownerOf('/etc/proxsave/proxsave.toml')?.id).toBe('included')
    })

    test('gives included paths to their own category, unless another one is closer', () => {
        const matcher = buildMatcher(categoriesOf('debian'), ['/opt/scripts', '/srv/file/', '/etc'])
        expect(matcher.ownerOf('/opt/scripts/a/b')?.id).toBe('included')
        expect(matcher.ownerOf('/srv/file')?.id).toBe('included')
        expect(matcher.ownerOf('/etc/ssh/sshd_config')?.id).toBe('ssh')
        expect(matcher.roots).toContain('/opt/scripts')
        expect(() => buildMatcher([], ['opt'])).toThrow('cannot use "opt/" as a path')
    })

    test('walks from few places, none below another, and finds all from them', () => {
        const roots = rootsToWalk(categories)
        expect(both.roots).toEqual(roots)
        for (const root of roots)
            for (const other of roots) if (root !== other) expect(root.startsWith(`${other}/`)).toBe(false)
        for (const category of categories.filter(category => !category.virtual))
            for (const path of category.paths) {
                const start = path.split('*')[0]!
                expect(
                    roots.some(root => `${start}/`.startsWith(`${root}/`) || start.startsWith(`${root}/`)),
                ).toBe(true)
            }
        expect(roots.filter(root => root.startsWith('/etc'))).toEqual(['/etc'])
        expect(roots.join(' ')).not.toContain('/var/lib/proxsave')
    })

    test('starts at a single file when only that is chosen, and at / when that is included', () => {
        expect(rootsToWalk([categoryById('filesystem')!])).toEqual(['/etc/fstab'])
        expect(rootsToWalk([categoryById('ssh')!])).toEqual([
            '/etc/default/ssh',
            '/etc/dropbear',
            '/etc/ssh',
            '/etc/systemd/system',
            '/home',
            '/root/.ssh',
        ])
        expect(buildMatcher(categoriesOf('pve'), ['/']).roots).toEqual(['/'])
    })
})

test('how sshd and the network are started is guarded with them; other units are not', () => {
    const ownerOf = (path: string) => buildMatcher(categories).ownerOf(path)?.id
    const owners = {
        ssh: ['system/ssh.service.d/a.conf', 'system/ssh.socket.d', 'system/sshd@.service.d/b.conf'],
        network: ['system/networking.service.d/a.conf'],
        services: ['system/ssh.service', 'system/cron.service.d/a.conf', 'system'],
    }
    for (const [owner, paths] of Object.entries(owners))
        for (const path of paths) expect(ownerOf(`/etc/systemd/${path}`), path).toBe(owner)
    expect(['ssh', 'networking', 'cron'].map(name => ownerOf(`/etc/default/${name}`))).toEqual([
        'ssh',
        'network',
        'services',
    ])
    expect(ownerOf('/usr/local/lib/systemd/network/10-lan.link')).toBe('network')
})

describe('choosing a category', () => {
    const chooses = (id: string, path: string) => {
        const owner = buildMatcher(categories).ownerOf(path)?.id
        return memberOf(categoryById(id)!)(path, owner)
    }

    test('chooses what finer categories own below an export', () => {
        expect(chooses('pve_config_export', '/etc/pve/storage.cfg')).toBe(true)
        expect(chooses('pbs_config', '/etc/proxmox-backup/proxy.pem')).toBe(true)
        expect(chooses('storage_pve', '/etc/pve/storage.cfg')).toBe(true)
        expect(chooses('storage_pve', '/etc/pve/user.cfg')).toBe(false)
    })

    test('leaves keys and network out of the rest', () => {
        expect(chooses('etc_rest', '/etc/network/interfaces')).toBe(false)
        expect(chooses('etc_rest', '/etc/nginx/nginx.conf')).toBe(true)
        expect(chooses('user_data', '/root/.ssh/authorized_keys')).toBe(false)
        expect(chooses('services', '/etc/systemd/network/x.link')).toBe(false)
    })

    test('believes the archive about who owns an entry', () => {
        expect(memberOf(categoryById('etc_rest')!)('/etc/proxmox-backup/user.cfg', 'etc_rest')).toBe(true)
    })

    test.each([
        ['network', '/etc/resolv.conf', 'merge'],
        ['network', '/etc/network/interfaces', 'guarded'],
        ['storage_stack', '/etc/crypttab', 'export'],
        ['storage_stack', '/etc/cryptsetup-keys.d/a.key', 'export'],
        ['storage_stack', '/etc/lvm/lvm.conf', 'replace'],
        ['storage_pve', '/etc/vzdump.conf', 'replace'],
        ['boot', '/etc/kernel/cmdline', 'export'],
    ])('%s brings %s back by %s', (id, path, strategy) => {
        expect<string>(strategyOf(categoryById(id)!)(path)).toBe(strategy)
    })
})
