/** What goes to systemd's journal: one line a field, whatever a name from an archive holds. */
import { expect, test } from 'bun:test'
import { entryOf } from '../../src/host/journald.ts'

test('a value cannot make a field of its own', () => {
    expect(entryOf({ MESSAGE: 'wrote /a\nPRIORITY=0', PROXSAVE_CHANGE: 'x' })).toBe(
        'MESSAGE=wrote /a PRIORITY=0\nPROXSAVE_CHANGE=x\n',
    )
})

test('a value is bounded', () => {
    expect(entryOf({ MESSAGE: 'x'.repeat(100_000) }).length).toBeLessThan(9_000)
})
