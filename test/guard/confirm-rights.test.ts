/** Who may confirm a guard. */
import { describe, expect, test } from 'bun:test'
import { mayConfirm } from '../../src/guard/confirm-rights.ts'
import type { Origin } from '../../src/host/origin.ts'

const applied = { boot: 'b1', ms: 50_000 }
const marker = '/var/lib/proxsave/guard/c1-network/commit'
const own = ['127.0.0.1', '192.0.2.10', '192.0.2.30', '2001:db8::10', 'fe80::10']
const ask = (origin: Origin, address?: string) => mayConfirm(origin, applied, 'b1', { address, own, marker })
const ends = { client: '192.0.2.77', server: '192.0.2.10' }
const over = (client: string, server = '192.0.2.10') =>
    ask({ kind: 'ssh', since: 50_010, ends: { client, server } }, '192.0.2.20')

describe('an SSH connection', () => {
    test('that is younger than the new state proves that it can be reached', () => {
        expect(ask({ kind: 'ssh', since: 50_010, ends })).toEqual({ ok: true })
        expect(over('2001:db8::77', '2001:db8::10')).toEqual({ ok: true })
    })

    test('that is older, or of the same moment, proves nothing', () => {
        for (const since of [0, 49_990, 50_000])
            expect(ask({ kind: 'ssh', since, ends }, '192.0.2.20')).toEqual({
                ok: false,
                why: 'this SSH connection was opened before the new state was there: that it still works proves nothing',
                hint: 'from another computer, open a new connection to 192.0.2.20 and type: proxsavectl commit',
            })
    })

    test('that begins on this host itself never came over the network, and proves nothing', () => {
        expect(over('127.0.0.1', '127.0.0.1')).toEqual({
            ok: false,
            why: 'this SSH connection comes from this host itself (127.0.0.1): it did not need the network and proves nothing',
            hint: `from another computer, not by way of this host: ssh 192.0.2.20 proxsavectl commit, or at the console: touch ${marker}`,
        })
        const here: [client: string, server?: string][] = [
            ['127.8.9.1'],
            ['::1', '::1'],
            ['::ffff:127.0.0.1', '::ffff:192.0.2.10'],
            // An address that no interface that is up has: the kernel takes the same for both ends.
            ['198.51.100.1', '198.51.100.1'],
            ['192.0.2.30'],
            ['::ffff:192.0.2.30'],
            ['2001:DB8:0::10', '2001:db8::20'],
            ['fe80::10%vmbr0', 'fe80::20%vmbr0'],
        ]
        for (const [client, server] of here)
            expect(over(client, server), client).toMatchObject({
                ok: false,
                why: expect.stringContaining('from this host itself'),
            })
    })

    test('from this host to itself proves as much as whatever began it', () => {
        const via = (from: Origin) =>
            ask({ kind: 'ssh', since: 60_000, ends: { client: '127.0.0.1', server: '127.0.0.1' }, from })
        const elsewhere = { client: '192.0.2.77', server: '192.0.2.10' }
        expect(via({ kind: 'console', tty: 'tty1' }).ok).toBe(true)
        expect(via({ kind: 'ssh', since: 51_000, ends: elsewhere }).ok).toBe(true)
        expect(via({ kind: 'ssh', since: 49_000, ends: elsewhere })).toMatchObject({
            ok: false,
            why: expect.stringContaining('before the new state'),
        })
        expect(via({ kind: 'left', program: 'tmux' }).ok).toBe(false)
    })

    test('of which nobody can tell where it comes from proves nothing either', () => {
        const refused = { ok: false, why: expect.stringContaining('nobody can tell where') }
        expect(ask({ kind: 'ssh', since: 50_010 })).toMatchObject(refused)
        expect(over('UNKNOWN')).toMatchObject(refused)
        expect(over('192.0.2.77', '')).toMatchObject(refused)
    })
})

test('a shell in the browser is treated alike', () => {
    expect(ask({ kind: 'web', since: 49_000 }).ok).toBe(false)
    expect(ask({ kind: 'web', since: 51_000 }).ok).toBe(true)
})

test('what has left its session proves nothing, and hears how to prove it', () => {
    const refused = ask({ kind: 'left', program: 'tmux' }, '192.0.2.20')
    expect(refused).toMatchObject({ ok: false, why: expect.stringContaining('(tmux)') })
    expect(refused).toMatchObject({
        hint: `from another computer, outside of tmux and screen: ssh 192.0.2.20 proxsavectl commit, or at the console: touch ${marker}`,
    })
    expect(ask({ kind: 'left' })).toMatchObject({
        ok: false,
        hint: expect.stringContaining('outside of tmux'),
    })
})

test('a console, and whoever came in from outside of this system, may', () => {
    expect(ask({ kind: 'console', tty: 'tty1' })).toEqual({ ok: true })
    expect(ask({ kind: 'other' })).toEqual({ ok: true })
})

test('nobody may before the new state is there, and none in another boot', () => {
    const origins: Origin[] = [
        { kind: 'ssh', since: 99_999, ends },
        { kind: 'web', since: 99_999 },
        { kind: 'console', tty: 'tty1' },
        { kind: 'other' },
        { kind: 'left' },
    ]
    for (const origin of origins) {
        expect(mayConfirm(origin, undefined, 'b1', { own, marker })).toMatchObject({
            ok: false,
            why: expect.stringContaining('not there yet'),
        })
        expect(mayConfirm(origin, applied, 'b2', { own, marker })).toMatchObject({
            ok: false,
            why: expect.stringContaining('started anew'),
        })
    }
})
