/** Where a process comes from, told from process tables as OpenSSH, tmux, consoles and containers leave them. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/host/clock.ts'
import { originOf, sshEndsOf } from '../../src/host/origin.ts'

let proc = ''
beforeEach(() => {
    proc = mkdtempSync(join(tmpdir(), 'proxsave-proc-'))
    add(1, 0, 'systemd', { ticks: 5 })
})
afterEach(() => rmSync(proc, { recursive: true }))

interface Facts {
    ticks?: number
    tty?: number
    title?: string
    env?: Record<string, string>
}

const ssh = { SSH_CONNECTION: '192.0.2.77 50122 192.0.2.10 22' }
const pts = (number: number) => (136 << 8) | number
const tty = (major: number, minor: number) => (major << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12)

function add(
    pid: number,
    parent: number,
    name: string,
    { ticks = 900, tty = 0, title, env = {} }: Facts = {},
) {
    const directory = join(proc, String(pid))
    mkdirSync(directory)
    const before = `${pid} (${name}) S ${parent} ${pid} ${pid} ${tty} -1 4194560 9 9 0 0 1 1 0 0 20 0 1 0`
    writeFileSync(join(directory, 'stat'), `${before} ${ticks} 1000 50 18446744073709551615 0 0\n`)
    writeFileSync(join(directory, 'cmdline'), `${(title ?? name).replaceAll(' ', '\0')}\0`)
    const entries = Object.entries(env).map(([key, value]) => `${key}=${value}\0`)
    writeFileSync(join(directory, 'environ'), `PATH=/bin\0${entries.join('')}`)
}

const origin = (pid: number) => originOf(pid, proc)
const ends = (pid: number) => sshEndsOf(pid, proc)

describe('a process below sshd', () => {
    test('is as old as its connection, in milliseconds since boot', () => {
        add(700, 1, 'sshd', { ticks: 100, title: 'sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups' })
        add(800, 700, 'sshd', { ticks: 123_456, title: 'sshd: root@pts/0' })
        add(801, 800, 'bash', { ticks: 123_470, tty: pts(0), env: ssh })
        add(802, 801, 'proxsavectl', { ticks: 999_999, tty: pts(0), env: ssh })
        expect(origin(802)).toEqual({ kind: 'ssh', since: 1_234_560 })
    })

    test('of another user counts from before the login, when the monitor was forked', () => {
        add(700, 1, 'sshd', { ticks: 100, title: 'sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups' })
        add(800, 700, 'sshd', { ticks: 2_000, title: 'sshd: admin [priv]' })
        add(810, 800, 'sshd', { ticks: 9_000, title: 'sshd: admin@pts/0' })
        add(811, 810, 'bash', { env: ssh })
        add(812, 811, 'sudo')
        add(813, 812, 'proxsavectl')
        expect(origin(813)).toEqual({ kind: 'ssh', since: 20_000 })
    })

    test('is recognised with the sshd-session of OpenSSH 9.8, whatever stands in its name', () => {
        add(700, 1, 'sshd', { ticks: 100 })
        add(800, 700, 'sshd-session', { ticks: 700, title: 'sshd-session: root@notty' })
        add(801, 800, 'a) S 1 (b')
        expect(origin(801)).toEqual({ kind: 'ssh', since: 7_000 })
    })

    test('stays one while its multiplexer is not detached from it', () => {
        add(800, 1, 'sshd', { ticks: 700, title: 'sshd: root@pts/0' })
        add(801, 800, 'screen', { env: ssh })
        add(802, 801, 'bash', { env: ssh })
        expect(origin(802).kind).toBe('ssh')
    })
})

describe('what has left its SSH connection', () => {
    for (const name of ['tmux: server', 'screen', 'mosh-server', 'zellij', 'dtach', 'abduco', 'tmate'])
        test(`into ${name} is known by that`, () => {
            add(900, 1, name, { env: ssh })
            add(901, 900, 'bash', { tty: pts(3) })
            add(902, 901, 'proxsavectl', { tty: pts(3) })
            expect(origin(902)).toEqual({ kind: 'left', program: name.split(':')[0] })
        })

    test('by nohup is known by its environment', () => {
        add(900, 1, 'bash', { env: ssh })
        expect(origin(900)).toEqual({ kind: 'left' })
    })

    test('is known by that of its ancestors, where sudo has cleaned its own', () => {
        add(900, 1, 'bash', { env: ssh })
        add(901, 900, 'sudo')
        add(902, 901, 'proxsavectl')
        expect(origin(902)).toEqual({ kind: 'left' })
    })

    test('or whose environment cannot be read, cannot be judged, but at a console', () => {
        // Root may read every file, so a directory refuses in place of the kernel.
        for (const [pid, device] of [
            [900, pts(0)],
            [910, tty(4, 1)],
        ] as const) {
            add(pid, 1, 'bash', { tty: device })
            rmSync(join(proc, `${pid}/environ`))
            mkdirSync(join(proc, `${pid}/environ`))
        }
        expect([origin(900).kind, origin(910).kind]).toEqual(['left', 'console'])
    })

    test('or is gone itself, cannot be judged', () => {
        expect(origin(4242)).toEqual({ kind: 'left' })
        add(901, 4243, 'proxsavectl')
        expect(origin(901)).toEqual({ kind: 'left' })
    })
})

describe('at the machine itself', () => {
    for (const [name, device] of [
        ['tty1', tty(4, 1)],
        ['ttyS0', tty(4, 64)],
        ['hvc0', tty(229, 0)],
        ['console', tty(5, 1)],
        ['ttyAMA0', tty(204, 64)],
    ] as const)
        test(`${name} is a console`, () => {
            add(600, 1, 'login', { tty: device })
            add(601, 600, 'bash', { tty: device })
            add(602, 601, 'proxsavectl')
            expect(origin(602)).toEqual({ kind: 'console', tty: name })
        })
})

describe('the shell of the web interface', () => {
    test('is as old as its terminal server', () => {
        add(500, 1, 'pvedaemon', { ticks: 50 })
        add(501, 500, 'termproxy', { ticks: 4_000 })
        add(502, 501, 'login', { tty: pts(1) })
        add(503, 502, 'bash', { tty: pts(1) })
        expect(origin(503)).toEqual({ kind: 'web', since: 40_000 })
    })
})

describe('no session at all', () => {
    test('is a unit of systemd, and a process that is not seen from here', () => {
        add(300, 1, 'proxsavectl')
        expect(origin(300)).toEqual({ kind: 'other' })
        expect(origin(0)).toEqual({ kind: 'other' })
    })

    test("is a process entered from a container's host, whatever it brought along in its environment", () => {
        add(310, 0, 'bash', { env: ssh, tty: pts(0) })
        add(311, 310, 'proxsavectl', { env: ssh, tty: pts(0) })
        expect(origin(311)).toEqual({ kind: 'other' })
    })

    test('is the system console of a container, which is a pseudo-terminal', () => {
        add(320, 1, 'login', { tty: pts(1) })
        add(321, 320, 'bash', { tty: pts(1) })
        expect(origin(321)).toEqual({ kind: 'other' })
    })
})

describe('the ends of an SSH connection', () => {
    test('are told by the nearest environment that knows them', () => {
        add(800, 1, 'sshd', { title: 'sshd: admin@pts/0' })
        add(801, 800, 'bash', { env: { SSH_CONNECTION: '2001:db8::7 50122 2001:db8::10 22' } })
        add(802, 801, 'sudo')
        add(803, 802, 'proxsavectl')
        expect(ends(803)).toEqual({ client: '2001:db8::7', server: '2001:db8::10' })
    })

    test('are none without one, nor those of whoever started the server', () => {
        add(700, 1, 'sshd', { env: ssh })
        add(701, 700, 'bash')
        expect([ends(701), ends(1), ends(0)]).toEqual([undefined, undefined, undefined])
        add(702, 1, 'bash', { env: { SSH_CONNECTION: '192.0.2.1' } })
        expect(ends(702)).toBeUndefined()
    })
})

test('the kernel counts as we do: this process began after the boot and not in the future', () => {
    // As if it were an sshd of its own; the only way to see the unit of the real field.
    const stat = `/proc/${process.pid}/stat`
    const text = require('node:fs').readFileSync(stat, 'latin1') as string
    add(process.pid === 1 ? 2 : process.pid, 1, 'sshd', {
        ticks: Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19]),
    })
    const found = originOf(process.pid, proc)
    if (found.kind !== 'ssh') throw new Error(`it is ${found.kind}`)
    const ago = systemClock.bootMs() - found.since
    expect(ago).toBeGreaterThanOrEqual(0)
    expect(ago).toBeLessThan(3_600_000)
})
