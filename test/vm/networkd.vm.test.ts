/**
 * A machine whose network systemd-networkd manages: a restored bridge takes the place of the card's own address, and all of
 * it goes again when nobody confirms; what only the old files had goes when somebody does.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { suites } from './base.ts'
import { guardSeconds, guardWaits } from './host.ts'
import { Machine } from './machine.ts'
import { Neighbourhood } from './network.ts'
import { packagePath } from './package.ts'
import { letIn, prepareSshd } from './ssh.ts'

const root = process.getuid?.() === 0
if (!root) console.log('skipped: the container tests need root')

const directory = '/etc/systemd/network'
type Files = Record<string, string>

const [here, saved, live] = ['10.77.0.1', '10.77.0.20', '10.77.0.10'] as const
const uplink = (address: string) => `[Network]\nAddress=${address}/24\nGateway=${here}\n`
const bridge = (name: string) => `[NetDev]\nName=${name}\nKind=bridge\n`

/** A bridge with the card, and an address on the other card. */
const savedFiles: Files = {
    '10-eth0.network': '[Match]\nName=eth0\n[Network]\nBridge=br0\n',
    '20-eth1.network': '[Match]\nName=eth1\n[Network]\nAddress=10.88.0.1/24\n',
    '30-br0.netdev': bridge('br0'),
    '30-br0.network': `[Match]\nName=br0\n${uplink(saved)}`,
}
/** The card alone, and a bridge of the host's own. */
const liveFiles: Files = {
    '10-eth0.network': `[Match]\nName=eth0\n${uplink(live)}`,
    '40-br9.netdev': bridge('br9'),
    '40-br9.network':
        '[Match]\nName=br9\n[Network]\nAddress=10.66.0.1/24\nConfigureWithoutCarrier=yes\nLinkLocalAddressing=no\n',
}

describe.skipIf(!root).each([...suites])('networkd of %s', suite => {
    let machine: Machine
    let neighbourhood: Neighbourhood
    let before: string[]

    beforeAll(async () => {
        machine = await Machine.create(suite)
        neighbourhood = await Neighbourhood.create([`${here}/24`])
        machine.cards = neighbourhood.cards([
            { name: 'eth0', mac: '02:00:00:00:77:01' },
            { name: 'eth1', mac: '02:00:00:00:77:02' },
        ])
        write(machine.path(directory), savedFiles)
        const wants = machine.path('/etc/systemd/system/multi-user.target.wants')
        mkdirSync(wants, { recursive: true })
        symlinkSync(
            '/usr/lib/systemd/system/systemd-networkd.service',
            join(wants, 'systemd-networkd.service'),
        )
        // The sshd of Debian 12 does not know what that sets, and has no need of it.
        if (suite !== 'bookworm') prepareSshd(machine)
        machine.copyIn(packagePath(), `/var/tmp/${basename(packagePath())}`)
        await machine.boot()
        await machine.must(['dpkg', '--install', `/var/tmp/${basename(packagePath())}`])
        await letIn(machine)
        await machine.must(['proxsavectl', 'setup', '--defaults'])
        writeFileSync(
            machine.live('/etc/proxsave/conf.d/20-guard.toml'),
            `[guard]\ntimeout = "${guardSeconds}s"\n`,
        )
        await machine.must(['systemctl', 'reload', 'proxsave'])
        await machine.must(['proxsavectl', 'backup'])
        await machine.must(['sh', '-c', `rm ${directory}/*; ip link delete dev br0; ip addr flush dev eth1`])
        write(machine.live(directory), liveFiles)
        await machine.must(['systemctl', 'restart', 'systemd-networkd'])
        await reachedAt(live)
        await machine.until(30, 'the bridge of the host', async () =>
            (await network()).some(line => line.includes('10.66.0.1')),
        )
        before = await network()
    }, 600_000)
    afterAll(async () => {
        await machine?.destroy()
        await neighbourhood?.destroy()
    }, 120_000)

    const write = (at: string, files: Files) => {
        mkdirSync(at, { recursive: true })
        for (const [name, text] of Object.entries(files)) writeFileSync(join(at, name), text)
    }
    const reachedAt = (address: string) =>
        machine.until(30, `a way to ${address}`, () => neighbourhood.reaches(machine, address))
    /** Addresses, routes and ports. */
    const network = async (): Promise<string[]> => {
        const looks = ['-brief -4 address', '-4 route', '-brief link show type bridge_slave'].map(words =>
            machine.must(['ip', ...words.split(' ')]),
        )
        // A bridge without ports has no carrier, now or a moment later.
        return (await Promise.all(looks)).flatMap(text =>
            text
                .trim()
                .split('\n')
                .map(line =>
                    line.replace(/@\S+|\b(UP|DOWN|UNKNOWN|linkdown)\b|\s+$/g, '').replace(/\s+/g, ' '),
                ),
        )
    }
    const restore = () =>
        machine.run(
            [
                ...['proxsavectl', 'restore', 'latest', '--category', 'network'],
                ...['--answer', 'confirm=RESTORE', '--answer', 'network.apply=yes'],
            ],
            { seconds: 100 },
        )
    const names = () => readdirSync(machine.live(directory)).sort()

    test('what nobody confirms is gone when the window is over: files, bridge, addresses and routes', async () => {
        const ended = restore()
        await guardWaits(machine)
        await reachedAt(saved)
        expect(await network()).not.toEqual(before)
        const { status, stdout, stderr } = await ended
        expect(status, stdout + stderr).toBe(7)
        expect(names()).toEqual(Object.keys(liveFiles).sort())
        await reachedAt(live)
        expect(await network()).toEqual(before)
        expect(existsSync(machine.live('/sys/class/net/br0'))).toBe(false)
    }, 200_000)

    test('what is confirmed over the new address stays, and nothing of the old files does', async () => {
        const ended = restore()
        await guardWaits(machine)
        await reachedAt(saved)
        const committed = await neighbourhood.ssh(machine, saved, 'proxsavectl commit')
        expect(committed.status, committed.stdout + committed.stderr).toBe(0)
        const { status, stdout, stderr } = await ended
        expect([0, 6], stdout + stderr).toContain(status)
        expect(names()).toEqual(Object.keys(savedFiles).sort())
        const lines = (await network()).join('\n')
        for (const address of [saved, '10.88.0.1']) expect(lines).toContain(address)
        for (const address of [live, '10.66.0.1', 'br9']) expect(lines).not.toContain(address)
    }, 200_000)
})
