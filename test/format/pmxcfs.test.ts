/** The tree of a cluster database: what becomes of its rows, and every one that pmxcfs would not take. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import { parseCorosyncConf } from '../../src/format/corosync-conf.ts'
import {
    checkPmxcfsTree,
    type PmxcfsRule,
    type PmxcfsSeverity,
    readPmxcfsTree,
    type TreeRow,
} from '../../src/format/pmxcfs-db.ts'

const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'))

function row(inode: number, parent: number, name: string, more: Partial<TreeRow> | string = {}): TreeRow {
    const base: TreeRow = {
        inode: BigInt(inode),
        parent: BigInt(parent),
        version: BigInt(inode),
        writer: 0n,
        mtime: 1_700_000_000n,
        type: 8n,
        name: bytes(name),
        data: null,
    }
    return typeof more === 'string' ? { ...base, data: bytes(more) } : { ...base, ...more }
}
const directory = (inode: number, parent: number, name: string) => row(inode, parent, name, { type: 4n })
const root = (version: number) => row(0, 0, '__version__', { version: BigInt(version) })

const healthy = (): TreeRow[] => [
    root(20),
    directory(1, 0, 'nodes'),
    directory(2, 1, 'pve1'),
    directory(3, 2, 'qemu-server'),
    row(4, 3, '100.conf', 'name: web\n'),
    row(5, 0, 'storage.cfg', 'dir: local\n'),
    row(6, 0, 'empty.cfg'),
    directory(7, 2, 'lxc'),
]

test('rows become files with path, time and content', () => {
    const tree = readPmxcfsTree(healthy())
    expect(tree.problems).toEqual([])
    expect(tree.version).toBe(20)
    expect(tree.nodes).toEqual(['pve1'])
    expect(tree.guests).toEqual([{ vmid: 100, kind: 'qemu', node: 'pve1' }])
    expect(tree.corosync).toBeUndefined()
    expect(tree.entries.map(({ path, type }) => `${type[0]} ${path}`)).toEqual([
        'f empty.cfg',
        'd nodes',
        'd nodes/pve1',
        'd nodes/pve1/lxc',
        'd nodes/pve1/qemu-server',
        'f nodes/pve1/qemu-server/100.conf',
        'f storage.cfg',
    ])
    expect(tree.entries.find(({ path }) => path === 'storage.cfg')).toMatchObject({
        mtime: 1_700_000_000,
        data: bytes('dir: local\n'),
    })
    expect(() => checkPmxcfsTree(tree)).not.toThrow()
})

const cases: [string, TreeRow[], PmxcfsSeverity, PmxcfsRule][] = [
    [
        'the same VMID on two nodes',
        [directory(10, 1, 'pve2'), directory(11, 10, 'qemu-server'), row(12, 11, '100.conf')],
        'refused',
        'duplicate-vmid',
    ],
    ['the same VMID as another kind', [row(10, 7, '100.conf')], 'refused', 'duplicate-vmid'],
    ['a parent that is not there', [row(10, 99, 'lost.cfg')], 'refused', 'orphan'],
    ['a parent that is a file', [row(10, 5, 'below-a-file')], 'refused', 'orphan'],
    ['one name twice', [row(10, 0, 'storage.cfg')], 'refused', 'duplicate-name'],
    [
        'a directory with content',
        [row(10, 0, 'priv', { type: 4n, data: bytes('x') })],
        'refused',
        'directory-data',
    ],
    ['a symbolic link', [row(10, 0, 'link', { type: 10n })], 'refused', 'unknown-type'],
    ['no name', [row(10, 0, '')], 'refused', 'empty-name'],
    ['a slash', [row(10, 0, 'a/b')], 'refused', 'invalid-name'],
    ['a NUL', [row(10, 0, 'a\0b')], 'refused', 'invalid-name'],
    ['two dots', [row(10, 0, '..')], 'refused', 'invalid-name'],
    ['one dot', [row(10, 0, '.')], 'refused', 'invalid-name'],
    ['a second version row', [row(10, 0, '__version__')], 'refused', 'invalid-name'],
    ['a directory in itself', [directory(10, 10, 'self')], 'refused', 'cycle'],
    [
        'two directories in each other',
        [directory(10, 11, 'a'), directory(11, 10, 'b'), row(12, 11, 'f')],
        'refused',
        'cycle',
    ],
    ['an inode twice', [row(5, 0, 'again.cfg')], 'refused', 'duplicate-inode'],
    ['a negative version', [row(10, 0, 'x', { version: -1n })], 'refused', 'columns'],
    ['a time beyond 32 bits', [row(10, 0, 'x', { mtime: 1n << 33n })], 'refused', 'columns'],
    ['an inode above the version', [row(21, 0, 'x')], 'dangerous', 'old-version'],
    ['a version above that of the root', [row(10, 0, 'x', { version: 21n })], 'dangerous', 'old-version'],
    [
        'a file of more than 1 MiB',
        [row(10, 0, 'x', { data: new Uint8Array(1024 * 1024 + 1) })],
        'dangerous',
        'large-file',
    ],
    [
        'a lock',
        [directory(10, 0, 'priv'), directory(11, 10, 'lock'), directory(12, 11, 'file-storage_cfg')],
        'remark',
        'stale-lock',
    ],
]

describe('finds', () => {
    for (const [name, rows, severity, rule] of cases)
        test(name, () => {
            const tree = readPmxcfsTree([...healthy(), ...rows])
            expect(tree.problems.map(one => [one.severity, one.rule])).toEqual([[severity, rule]])
            if (severity === 'remark') expect(() => checkPmxcfsTree(tree)).not.toThrow()
            else expect(() => checkPmxcfsTree(tree)).toThrow(Fault)
            // The rest can be taken out all the same.
            expect(tree.entries.some(({ path }) => path === 'storage.cfg')).toBe(true)
            expect(tree.entries.some(({ path }) => /(^|\/)\.{0,2}(\/|$)|\0/.test(path))).toBe(false)
        })

    test('a missing version row', () => {
        const tree = readPmxcfsTree(healthy().slice(1))
        expect(tree.problems.map(({ rule }) => rule)).toEqual(['no-version'])
        expect(() => checkPmxcfsTree(tree)).toThrow('would lose data')
    })

    test('a root of another name', () => {
        const tree = readPmxcfsTree([row(0, 0, 'root', { version: 20n }), ...healthy().slice(1)])
        expect(tree.problems.map(({ rule }) => rule)).toEqual(['invalid-name', 'no-version'])
    })

    test('nothing in what only looks like a guest or a limit', () => {
        const rows = [
            row(10, 7, '0100.conf'),
            row(11, 7, '99999999999.conf'),
            row(12, 7, '100.conf.tmp'),
            row(13, 0, 'x', { data: new Uint8Array(1024 * 1024) }),
            directory(14, 7, '100.conf'),
        ]
        expect(readPmxcfsTree([...healthy(), ...rows]).problems).toEqual([])
    })

    test('the last written of two files with one name, and a number instead of a thousand lines', () => {
        const many = Array.from({ length: 1000 }, (_, i) =>
            row(100 + i, 0, 'same', { version: 7n, data: bytes('old') }),
        )
        const tree = readPmxcfsTree([root(5000), ...many, row(2000, 0, 'same', 'new')])
        expect(Buffer.from(tree.entries[0]!.data).toString()).toBe('new')
        expect(tree.problems.length).toBe(21)
        expect(tree.problems.at(-1)!.text).toContain('980 more')
    })
})

test('only a corosync.conf at the top makes it the database of a member', () => {
    const tree = readPmxcfsTree([
        ...healthy(),
        row(10, 0, 'corosync.conf', 'totem {\n}\n'),
        row(11, 1, 'corosync.conf'),
    ])
    expect(tree.corosync).toBe('totem {\n}\n')
    expect(readPmxcfsTree([...healthy(), row(11, 1, 'corosync.conf')]).corosync).toBeUndefined()
})

test('corosync.conf: cluster, version, members with all their links', () => {
    const text = `logging { \n debug: off\n}\nnodelist {\n  node {\n    name: pve1\n    nodeid: 1\n    ring0_addr: 10.0.0.1\n    ring1_addr: fd00::1\n  }\n  node {\n    ring0_addr: pve2.example\n  }\n}\ntotem {\n  cluster_name: prod\n  config_version: 7\n  interface {\n    linknumber: 0\n  }\n}\n`
    expect(parseCorosyncConf(text)).toEqual({
        cluster: 'prod',
        version: 7,
        nodes: [
            { name: 'pve1', addresses: ['10.0.0.1', 'fd00::1'] },
            { name: 'pve2.example', addresses: ['pve2.example'] },
        ],
    })
    expect(parseCorosyncConf('}\n}\nname: x\nnode {')).toEqual({ cluster: undefined, version: 0, nodes: [] })
})
