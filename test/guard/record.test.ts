/** The guard directory: what is armed, what ended, also when the disk has no room to say so. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GuardDirectory } from '../../src/guard/record.ts'
import { realDisk } from '../../src/host/disk.ts'

let state: string
beforeEach(() => {
    state = mkdtempSync(join(tmpdir(), 'proxsave-record-'))
})
afterEach(() => rmSync(state, { recursive: true }))

const full = {
    ...realDisk(),
    replace: () => {
        throw Object.assign(new Error('no room'), { code: 'ENOSPC' })
    },
}
const armed = { boot: 'b', deadlineMs: 1 }

test('a rollback ends a guard, and tells why', () => {
    const guard = new GuardDirectory(realDisk(), state, 'a-network')
    guard.write('armed', armed)
    expect(guard.state()).toBe('ARMED')
    guard.end({ time: 't', why: 'deadline', problems: [] })
    expect([guard.state(), guard.executed()?.why]).toEqual(['EXECUTED', 'deadline'])
})

test('without room on the disk it ends all the same, in one step', () => {
    new GuardDirectory(realDisk(), state, 'a-network').write('armed', armed)
    const guard = new GuardDirectory(full, state, 'a-network')
    guard.end({ time: 't', why: 'deadline', problems: [] })
    expect([guard.state(), guard.executed()]).toEqual(['EXECUTED', { time: '', why: '', problems: [] }])
    expect(existsSync(guard.file('armed'))).toBe(false)
})

test('what cannot be read of armed arms still', () => {
    const guard = new GuardDirectory(realDisk(), state, 'a-network')
    guard.write('armed', armed)
    writeFileSync(guard.file('armed'), '{"bo')
    expect([guard.state(), guard.armed()]).toEqual(['ARMED', { boot: '', deadlineMs: 0 }])
})
