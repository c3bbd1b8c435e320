/** A guard that nobody waits for is not left to itself. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GuardDirectory } from '../../src/guard/record.ts'
import type { GuardHost } from '../../src/guard/tasks.ts'
import { tendArmed } from '../../src/guard/tend.ts'
import { realDisk } from '../../src/host/disk.ts'
import { SimClock } from '../sim/clock.ts'
import { SimSystemd } from '../sim/systemd.ts'

let state: string
let clock: SimClock
let systemd: SimSystemd
let guard: GuardDirectory
const id = '20261120-120000-aaaa-network'
const timer = `proxsave-rollback@${id}.timer`
const unit = `proxsave-rollback@${id}.service`

beforeEach(() => {
    state = mkdtempSync(join(tmpdir(), 'proxsave-tend-'))
    clock = new SimClock()
    systemd = new SimSystemd(clock, { [unit]: { active: 'inactive', oneshot: true } })
    guard = new GuardDirectory(realDisk(), state, id)
    guard.write('guard.json', { version: 1, id, change: '20261120-120000-aaaa', area: 'network' })
    guard.write('armed', { boot: clock.bootId(), deadlineMs: clock.bootMs() + 60_000 })
    systemd.onCall = call => {
        if (call === `start ${unit}`) guard.end({ time: '', why: 'deadline', problems: [] })
    }
})
afterEach(() => rmSync(state, { recursive: true }))

const host = () => ({ disk: realDisk(), state, clock, systemd }) as unknown as GuardHost

test('one that has time left and lost its timer gets it again', async () => {
    expect(await tendArmed(host())).toEqual([`guard ${id}: armed without a timer; it has one again`])
    expect(systemd.timers.has(timer)).toBe(true)
    expect(await tendArmed(host())).toEqual([])
    expect(guard.state()).toBe('ARMED')
})

test('one whose time is over is rolled back', async () => {
    clock.advance(61_000)
    expect(await tendArmed(host())).toEqual([`guard ${id}: was left armed and is rolled back now`])
    expect([guard.state(), systemd.effects.at(-1)]).toEqual(['EXECUTED', `start ${unit}`])
})

test('one of another boot is rolled back, whatever its time says', async () => {
    guard.write('armed', { boot: 'another', deadlineMs: clock.bootMs() + 60_000 })
    await tendArmed(host())
    expect(guard.state()).toBe('EXECUTED')
})
