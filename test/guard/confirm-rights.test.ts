/** Who may confirm a guard. */
import { describe, expect, test } from 'bun:test'
import { mayConfirm } from '../../src/guard/confirm-rights.ts'
import type { Origin } from '../../src/host/origin.ts'

const applied = { boot: 'b1', ms: 50_000 }
const ask = (origin: Origin, address?: string) => mayConfirm(origin, applied, 'b1', address)

describe('an SSH connection', () => {
    test('that is younger than the new state proves that it can be reached', () => {
        expect(ask({ kind: 'ssh', since: 50_010 })).toEqual({ ok: true })
    })

    test('that is older, or of the same moment, proves nothing', () => {
        for (const since of [0, 49_990, 50_000])
            expect(ask({ kind: 'ssh', since }, '192.0.2.20')).toEqual({
                ok: false,
                why: 'this SSH connection was opened before the new state was there: that it still works proves nothing',
                hint: 'open a new connection to 192.0.2.20 and type: proxsavectl commit',
            })
    })
})

test('a shell in the browser is treated alike', () => {
    expect(ask({ kind: 'web', since: 49_000 }).ok).toBe(false)
    expect(ask({ kind: 'web', since: 51_000 }).ok).toBe(true)
})

test('what has left its session proves nothing, and hears how to prove it', () => {
    const refused = ask({ kind: 'left', program: 'tmux' }, '192.0.2.20')
    expect(refused).toMatchObject({ ok: false, why: expect.stringContaining('(tmux)') })
    expect(refused).toMatchObject({ hint: expect.stringContaining('ssh 192.0.2.20 proxsavectl commit') })
    expect(ask({ kind: 'left' })).toMatchObject({
        ok: false,
        hint: expect.stringContaining('outside of tmux'),
    })
})

test('a console, and whoever has no session, may', () => {
    expect(ask({ kind: 'console', tty: 'tty1' })).toEqual({ ok: true })
    expect(ask({ kind: 'other' })).toEqual({ ok: true })
})

test('nobody may before the new state is there, and none in another boot', () => {
    const origins: Origin[] = [
        { kind: 'ssh', since: 99_999 },
        { kind: 'web', since: 99_999 },
        { kind: 'console', tty: 'tty1' },
        { kind: 'other' },
        { kind: 'left' },
    ]
    for (const origin of origins) {
        expect(mayConfirm(origin, undefined, 'b1')).toMatchObject({
            ok: false,
            why: expect.stringContaining('not there yet'),
        })
        expect(mayConfirm(origin, applied, 'b2')).toMatchObject({
            ok: false,
            why: expect.stringContaining('started anew'),
        })
    }
})
