/** Whether a backup fits a host: what is said, and what is applied all the same. */
import { describe, expect, test } from 'bun:test'
import type { SavedSummary } from '../../src/archive/saved.ts'
import { categoryById } from '../../src/catalog/index.ts'
import { compare, type HostFacts, hasProduct } from '../../src/restore/compatibility.ts'

const host = (change: Partial<HostFacts> = {}): HostFacts => ({
    name: 'pve1',
    product: { kind: 'pve', pve: '9.0.3', debian: '13.1' },
    cluster: 'standalone',
    ...change,
})
const saved = (change: Partial<SavedSummary> = {}): SavedSummary => ({
    maker: 'proxsave',
    id: '0123456789ab',
    path: '/x',
    created: '2026-01-01T00:00:00Z',
    host: { name: 'pve1' },
    product: { kind: 'pve', pve: '9.1.0', debian: '13.0' },
    cluster: 'standalone',
    encrypted: false,
    ...change,
})

describe('compare', () => {
    test('minor versions and a domain behind the name are no difference', () => {
        expect(compare(saved(), host())).toEqual({ mismatches: [], product: false })
        expect(compare(saved({ host: { name: 'PVE1.example.org' } }), host()).mismatches).toEqual([])
    })

    test('another major version is told for each product', () => {
        const { mismatches, product } = compare(
            saved({ product: { kind: 'pve', pve: '8.4.1', debian: '12.9' } }),
            host(),
        )
        expect(mismatches).toEqual([
            'the backup is of Proxmox VE 8, this host has 9',
            'the backup is of Debian 12, this host has 13',
        ])
        expect(product).toBe(false)
    })

    test('a version that nobody knows is no difference', () => {
        expect(compare(saved({ product: { kind: 'pve' } }), host()).mismatches).toEqual([])
    })

    test('another name is told, with what it means for guests', () => {
        expect(compare(saved({ host: { name: 'pve2' } }), host()).mismatches[0]).toContain(
            'name of their node',
        )
        const pbs = { kind: 'pbs' as const }
        const [line] = compare(
            saved({ host: { name: 'b' }, product: pbs }),
            host({ product: pbs }),
        ).mismatches
        expect(line).toBe('the backup is of the host b, this host is pve1')
    })

    test('another product narrows what is applied', () => {
        expect(compare(saved({ product: { kind: 'pbs' } }), host()).product).toBe(true)
        expect(compare(saved({ product: { kind: 'both' } }), host()).product).toBe(true)
    })
})

test('a host of both products has the categories of each, one of Debian only the common ones', () => {
    const of = (kind: HostFacts['product']['kind']) =>
        ['pve_jobs', 'pbs_jobs', 'ssl'].map(id => hasProduct(categoryById(id)!, host({ product: { kind } })))
    expect(of('both')).toEqual([true, true, true])
    expect(of('pve')).toEqual([true, false, true])
    expect(of('pbs')).toEqual([false, true, true])
    expect(of('debian')).toEqual([false, false, true])
})
