/** Messages to the service manager: what they say, and that their loss harms nobody. */
import { expect, test } from 'bun:test'
import { systemClock } from '../../src/host/clock.ts'
import { notifierOf } from '../../src/host/notify.ts'

function recorder(environment: Record<string, string>, pid = 42) {
    const sent: string[] = []
    return {
        sent,
        notifier: notifierOf(environment, pid, (socket, message) => sent.push(`${socket} ${message}`)),
    }
}

test('messages go to the socket that the manager named', () => {
    const { sent, notifier } = recorder({ NOTIFY_SOCKET: '/run/systemd/notify' })
    notifier.ready('listening')
    notifier.status('a\nMAINPID=1')
    notifier.alive()
    notifier.stopping('bye')
    notifier.stopping('undoing', 90_000)
    notifier.reloading()
    expect(sent.slice(0, 5)).toEqual([
        '/run/systemd/notify READY=1\nSTATUS=listening',
        '/run/systemd/notify STATUS=a MAINPID=1',
        '/run/systemd/notify WATCHDOG=1',
        '/run/systemd/notify STOPPING=1\nSTATUS=bye',
        '/run/systemd/notify STOPPING=1\nSTATUS=undoing\nEXTEND_TIMEOUT_USEC=90000000',
    ])
    expect(sent[5]).toMatch(/RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$/)
})

test('without a manager nothing is sent and nothing is watched', () => {
    const { sent, notifier } = recorder({ WATCHDOG_USEC: '5000000' })
    notifier.ready('x')
    notifier.alive()
    expect(sent).toEqual([])
    expect(notifier.watchdogMs).toBeUndefined()
})

test('the watchdog is the one of this process', () => {
    const base = { NOTIFY_SOCKET: '@x', WATCHDOG_USEC: '5000000' }
    expect(recorder(base).notifier.watchdogMs).toBe(5000)
    expect(recorder({ ...base, WATCHDOG_PID: '42' }).notifier.watchdogMs).toBe(5000)
    expect(recorder({ ...base, WATCHDOG_PID: '41' }).notifier.watchdogMs).toBeUndefined()
    expect(recorder({ ...base, WATCHDOG_USEC: 'soon' }).notifier.watchdogMs).toBeUndefined()
})

test('a lost status is no failure, a lost READY is one', () => {
    const notifier = notifierOf({ NOTIFY_SOCKET: '/nowhere/notify' })
    notifier.status('x')
    notifier.alive()
    expect(() => notifier.ready('x')).toThrow('ENOENT')
})

test('the clock of deadlines runs on, and knows its boot and its zone', () => {
    const first = systemClock.bootMs()
    expect(first).toBeGreaterThan(0)
    expect(systemClock.bootMs()).toBeGreaterThanOrEqual(first)
    expect(systemClock.bootId()).toMatch(/^[0-9a-f-]{36}$/)
    expect(() => new Intl.DateTimeFormat('en', { timeZone: systemClock.timeZone() })).not.toThrow()
})
