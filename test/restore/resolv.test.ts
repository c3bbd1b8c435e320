/** resolv.conf: what works is kept, what is broken is mended, and nobody's names go to a public server. */
import { describe, expect, test } from 'bun:test'
import { planResolver, type ResolverFacts } from '../../src/restore/resolv.ts'

const plan = (more: Partial<ResolverFacts>) =>
    planResolver({ live: { kind: 'absent' }, backup: { kind: 'absent' }, resolved: false, ...more })
const file = (text: string) => ({ kind: 'file' as const, text })

describe('resolv.conf', () => {
    test('is kept when it names a server, through a link as well', () => {
        for (const text of [
            'nameserver 192.0.2.1\n',
            'search lan\nnameserver\tfe80::1%vmbr0\n',
            '# x\noptions rotate\nnameserver 127.0.0.1',
            'nameserver 2001:db8::53 ; first',
        ]) {
            expect(plan({ live: file(text), resolved: true }).action).toBe('keep')
            expect(plan({ live: { kind: 'link', target: '/run/x', text } }).action).toBe('keep')
        }
    })

    test('is not taken for working when no line counts', () => {
        for (const text of [
            '',
            '# nameserver 192.0.2.1',
            ' nameserver 192.0.2.1',
            'nameserver',
            'nameserver example.org',
            'nameserver 192.0.2.300',
            'Nameserver 192.0.2.1',
            'nameserver 127.0.0.53',
        ])
            expect(plan({ live: file(text) }).action).toBe('none')
    })

    test('becomes the stub of systemd-resolved where that runs', () => {
        const dead = { kind: 'link' as const, target: '/run/NetworkManager/resolv.conf', text: undefined }
        expect(plan({ live: dead, backup: file('nameserver 192.0.2.1\n'), resolved: true })).toMatchObject({
            action: 'link',
            target: '../run/systemd/resolve/stub-resolv.conf',
        })
    })

    test('else the file of the backup, as it is; but no stub address and no link', () => {
        const text = '# ours\nnameserver 192.0.2.7\n'
        expect(plan({ backup: file(text) })).toMatchObject({ action: 'write', text })
        expect(
            plan({ backup: { kind: 'link', target: '/run/x', text: undefined }, recorded: text }),
        ).toMatchObject({
            action: 'write',
            text,
        })
        expect(plan({ backup: file('nameserver 127.0.0.53\n'), gateway: '192.0.2.254' })).toMatchObject({
            action: 'write',
            text: expect.stringContaining('nameserver 192.0.2.254\n'),
        })
    })

    test('else the gateway, which it says is a guess; never a public server', () => {
        for (const gateway of ['192.0.2.254', 'fe80::1%vmbr0']) {
            const planned = plan({ gateway })
            expect(planned).toMatchObject({ action: 'write', why: expect.stringContaining('guess') })
            expect((planned as { text: string }).text.match(/^nameserver .*$/gm)).toEqual([
                `nameserver ${gateway}`,
            ])
        }
        expect(plan({ gateway: 'not an address' }).action).toBe('none')
        expect(plan({})).toMatchObject({ action: 'none', why: expect.stringContaining('nameserver ADDRESS') })
    })

    test('is left alone when something odd stands there', () => {
        expect(plan({ live: { kind: 'other' }, resolved: true }).action).toBe('none')
    })
})
