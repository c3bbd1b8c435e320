/** Where a process comes from, told from process tables as OpenSSH, tmux, consoles and containers leave them. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/host/clock.ts'
import { originOf, sshEndsOf } from '../../src/host/origin.ts'

let proc = ''
/** There when the system runs in a container. */
let container = ''
beforeEach(() => {
    proc = mkdtempSync(join(tmpdir(), 'proxsave-proc-'))
    container = join(proc, 'container')
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

/** TCP connections of a process as the kernel shows them, by descriptor: both ends, server first, and their state. */
function addSockets(
    pid: number,
    sockets: Record<number, [server: string, client: string, state?: string]>,
    table = 'tcp',
) {
    const directory = join(proc, String(pid))
    mkdirSync(join(directory, 'net'), { recursive: true })
    mkdirSync(join(directory, 'fd'), { recursive: true })
    const rows = Object.entries(sockets).map(([fd, [server, client, state = '01']]) => {
        symlinkSync(`socket:[7${fd}]`, join(directory, 'fd', fd))
        return `   0: ${server} ${client} ${state} 00000000:00000000 02:000A 00000000     0        0 7${fd} 2 0000\n`
    })
    writeFileSync(join(directory, 'net', table), `  sl  local_address rem_address   st\n${rows.join('')}`)
}

const origin = (pid: number) => originOf(pid, proc, container)
const loopback4 = '0100007F'
const told = { client: '192.0.2.77', server: '192.0.2.10' }
const ends = (pid: number) => sshEndsOf(pid, proc)

describe('a process below sshd', () => {
    test('is as old as its connection, in milliseconds since boot', () => {
        add(700, 1, 'sshd', { ticks: 100, title: 'sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups' })
        add(800, 700, 'sshd', { ticks: 123_456, title: 'sshd: root@pts/0' })
        add(801, 800, 'bash', { ticks: 123_470, tty: pts(0), env: ssh })
        add(802, 801, 'proxsavectl', { ticks: 999_999, tty: pts(0), env: ssh })
        expect(origin(802)).toEqual({ kind: 'ssh', since: 1_234_560, ends: told })
    })

    test('of another user counts from before the login, when the monitor was forked', () => {
        add(700, 1, 'sshd', { ticks: 100, title: 'sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups' })
        add(800, 700, 'sshd', { ticks: 2_000, title: 'sshd: admin [priv]' })
        add(810, 800, 'sshd', { ticks: 9_000, title: 'sshd: admin@pts/0' })
        add(811, 810, 'bash', { env: ssh })
        add(812, 811, 'sudo')
        add(813, 812, 'proxsavectl')
        expect(origin(813)).toEqual({ kind: 'ssh', since: 20_000, ends: told })
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

describe('a process below dropbear', () => {
    test('is as old as the process that was forked for its connection', () => {
        add(700, 1, 'dropbear', { ticks: 100, title: '/usr/sbin/dropbear -F -E -p 22' })
        add(800, 700, 'dropbear', { ticks: 700, title: '/usr/sbin/dropbear -F -E -p 22 -2 7' })
        add(801, 800, 'sh', { env: ssh })
        expect(origin(801)).toEqual({ kind: 'ssh', since: 7_000, ends: told })
    })
})

describe('where a connection comes from', () => {
    beforeEach(() => {
        add(700, 1, 'sshd', { ticks: 100 })
        add(800, 700, 'sshd-session', { ticks: 700, title: 'sshd-session: root@pts/0' })
    })
    const endsOf = (pid: number) => {
        const found = origin(pid)
        return found.kind === 'ssh' ? found.ends : 'not over SSH'
    }

    test('is what the server told the first process, whatever a later one says of itself', () => {
        add(801, 800, 'bash', { env: { SSH_CONNECTION: '127.0.0.1 40000 127.0.0.1 22' } })
        add(802, 801, 'proxsavectl', { env: ssh })
        addSockets(800, { 3: ['0A0200C0:0016', '4D0200C0:C3AA'] })
        expect(endsOf(802)).toEqual({ client: '127.0.0.1', server: '127.0.0.1' })
    })

    test('is told by the socket of the server where the environment was cleared: not by what it forwards', () => {
        add(801, 800, 'proxsavectl')
        addSockets(800, {
            10: ['0100007F:9C40', '0100007F:1F46'],
            4: ['0A0200C0:0016', '4D0200C0:C3AA'],
            3: ['00000000:0016', '00000000:0000', '0A'],
        })
        symlinkSync('/dev/null', join(proc, '800/fd/0'))
        expect(endsOf(801)).toEqual(told)
    })

    test('is told for IPv6, and for IPv4 that came in on a socket of it', () => {
        add(801, 800, 'proxsavectl')
        const address = 'B80D0120000000000000000007000000:C3AA'
        const [six, loopback] = ['B80D0120000000000000000010000000:0016', '0000000000000000FFFF00000100007F']
        addSockets(800, { 4: [six, address] }, 'tcp6')
        // The kernel writes words, so these end as the bytes of memory begin.
        expect(endsOf(801)).toEqual({ client: '2001:db8:0:0:0:0:0:7', server: '2001:db8:0:0:0:0:0:10' })
        add(810, 700, 'sshd-session', { ticks: 800 })
        add(811, 810, 'proxsavectl')
        addSockets(810, { 4: [`${loopback}:0016`, `${loopback}:C3AA`] }, 'tcp6')
        expect(endsOf(811)).toEqual({ client: '127.0.0.1', server: '127.0.0.1' })
    })

    test('is told by the real socket of a real process', async () => {
        using server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
        const { hostname, port } = server
        const client = await Bun.connect({ hostname, port, socket: { data() {} } })
        try {
            add(810, 700, 'sshd-session', { ticks: 800 })
            add(811, 810, 'proxsavectl')
            for (const name of ['fd', 'net'])
                symlinkSync(`/proc/${process.pid}/${name}`, join(proc, '810', name))
            expect(endsOf(811)).toEqual({ client: '127.0.0.1', server: '127.0.0.1' })
        } finally {
            client.end()
        }
    })

    test('is, from this host to itself, where the client was begun', () => {
        // An older session, and in it: ssh 127.0.0.1 proxsavectl commit
        add(850, 700, 'sshd', { ticks: 500 })
        add(851, 850, 'bash', { env: ssh })
        add(852, 851, 'ssh', { env: ssh })
        addSockets(852, { 3: [`${loopback4}:C3AA`, `${loopback4}:0016`] })
        const local = { SSH_CONNECTION: '127.0.0.1 50090 127.0.0.1 22' }
        add(900, 700, 'sshd', { ticks: 9_000 })
        addSockets(900, { 4: [`${loopback4}:0016`, `${loopback4}:C3AA`] })
        // One table for the whole network: the server sees the client's end too.
        const table = join(proc, '900', 'net', 'tcp')
        writeFileSync(
            table,
            readFileSync(table, 'latin1') + readFileSync(join(proc, '852/net/tcp'), 'latin1'),
        )
        add(901, 900, 'proxsavectl', { env: local })
        expect(origin(901)).toMatchObject({
            kind: 'ssh',
            since: 90_000,
            from: { kind: 'ssh', since: 5_000, ends: told },
        })
        // The client is gone, or not for us to see.
        rmSync(join(proc, '852'), { recursive: true })
        expect(origin(901)).toEqual({
            kind: 'ssh',
            since: 90_000,
            ends: { client: '127.0.0.1', server: '127.0.0.1' },
        })
    })

    test('is not known when it is no TCP connection, or when nothing can be read', () => {
        add(801, 800, 'bash', { env: { SSH_CONNECTION: 'UNKNOWN 65535 UNKNOWN 65535' } })
        expect(endsOf(801)).toBeUndefined()
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

    test('is whoever logs in at the console of a container, which is a pseudo-terminal', () => {
        writeFileSync(container, 'lxc')
        add(320, 1, 'login', { tty: pts(1) })
        add(321, 320, 'bash', { tty: pts(1) })
        expect(origin(321)).toEqual({ kind: 'console', tty: 'pts/1' })
        add(330, 1, 'sulogin', { tty: pts(0) })
        add(331, 330, 'bash', { tty: pts(0) })
        expect(origin(331)).toEqual({ kind: 'console', tty: 'pts/0' })
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

describe('a pseudo-terminal below PID 1', () => {
    test('has left whatever it came from: run0, systemd-run, machinectl shell, cockpit, a container too', () => {
        add(300, 1, 'bash', { tty: pts(2) })
        add(310, 1, 'cockpit-session')
        add(311, 310, 'cockpit-bridge')
        add(312, 311, 'bash', { tty: pts(3) })
        for (const inside of [false, true]) {
            if (inside) writeFileSync(container, 'systemd-nspawn')
            expect([origin(300), origin(312)]).toEqual([{ kind: 'left' }, { kind: 'left' }])
        }
    })

    test('is no console on a machine, where machinectl login makes one for anybody', () => {
        add(320, 1, 'login', { tty: pts(1) })
        add(321, 320, 'bash', { tty: pts(1) })
        expect(origin(321)).toEqual({ kind: 'left' })
    })

    test('is none in a container either below a server that logs people in', () => {
        writeFileSync(container, 'lxc')
        add(330, 1, 'ttyd')
        add(331, 330, 'login', { tty: pts(1) })
        add(332, 331, 'bash', { tty: pts(1) })
        expect(origin(332)).toEqual({ kind: 'left' })
    })
})

describe('no terminal at all', () => {
    test('proves nothing below PID 1: a unit of systemd, cron, setsid', () => {
        add(300, 1, 'proxsavectl')
        add(310, 1, 'cron')
        add(311, 310, 'sh')
        expect([origin(300), origin(311), origin(1)]).toEqual(Array(3).fill({ kind: 'left' }))
        writeFileSync(container, 'lxc')
        expect(origin(300)).toEqual({ kind: 'left' })
    })
})

describe('from outside of this system', () => {
    test('is a process that is not seen from here', () => {
        expect(origin(0)).toEqual({ kind: 'other' })
    })

    test("is a process entered from a container's host, whatever it brought along in its environment", () => {
        add(310, 0, 'bash', { env: ssh, tty: pts(0) })
        add(311, 310, 'proxsavectl', { env: ssh, tty: pts(0) })
        expect(origin(311)).toEqual({ kind: 'other' })
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
    const text = readFileSync(stat, 'latin1')
    add(process.pid === 1 ? 2 : process.pid, 1, 'sshd', {
        ticks: Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19]),
    })
    const found = originOf(process.pid, proc)
    if (found.kind !== 'ssh') throw new Error(`it is ${found.kind}`)
    const ago = systemClock.bootMs() - found.since
    expect(ago).toBeGreaterThanOrEqual(0)
    expect(ago).toBeLessThan(3_600_000)
})
