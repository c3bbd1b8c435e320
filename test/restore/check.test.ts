/** The look at a host after a restore: what it finds, the remedy that fits, and that it never hangs nor fails. */
import { describe, expect, test } from 'bun:test'
import type { Exec } from '../../src/host/exec.ts'
import { type CheckParams, parseQuorum, parseStorages, restoreCheck } from '../../src/restore/check.ts'
import { SimClock } from '../sim/clock.ts'
import { drive, SimSystemd, type SimUnit } from '../sim/systemd.ts'
import { testContext } from './context.ts'

interface Answer {
    status?: number
    text?: string
    error?: string
    timedOut?: true
    /** Fails so often first. */
    late?: number
}

const quorate =
    'Quorum information\nQuorate:          Yes\nExpected votes:   3\nTotal votes:      3\nQuorum:           2\n'
const well: Record<string, Answer> = {
    'pvecm status': { status: 2, error: "Error: Corosync config '/etc/pve/corosync.conf' does not exist" },
    'stat -c': { text: '755\n' },
    'pvesh get /version': { text: '{"version":"9.0"}' },
    'pvesh get /cluster/resources': {
        text: '[{"type":"node","node":"pve1","status":"online"},{"type":"qemu","node":"pve1","vmid":100}]',
    },
    'pvesm status': {
        text: 'Name  Type  Status  Total\nlocal dir active 1 2 3 4%\nold nfs disabled 0 0 0 N/A\n',
    },
    'proxmox-backup-manager versions': { text: 'proxmox-backup-server 4.0\n' },
    'proxmox-backup-manager datastore': { text: '[{"name":"main","path":"/srv/pbs"}]' },
    'test -d': {},
    'journalctl -p': {},
}

async function check(
    params: Partial<CheckParams>,
    answers: Record<string, Answer> = {},
    units: Record<string, SimUnit> = {},
    mounted = ['/', '/etc/pve'],
) {
    const clock = new SimClock()
    const calls: string[] = []
    const all = Object.entries({ ...well, ...answers }).map(([key, answer]) => ({ key, ...answer }))
    const exec: Exec = async (argv, options) => {
        expect(options?.timeoutMs).toBeGreaterThan(0)
        const line = argv.join(' ')
        calls.push(line)
        const answer = all.find(({ key }) => line.startsWith(key))
        if (answer === undefined) return { found: false }
        const failing = (answer.late ?? 0) > 0
        if (failing) answer.late!--
        return {
            found: true,
            status: failing ? 111 : answer.timedOut ? null : (answer.status ?? 0),
            endedBy: null,
            stdout: Buffer.from(failing ? '' : (answer.text ?? '')),
            stderr: Buffer.from(answer.error ?? ''),
            timedOut: answer.timedOut ?? false,
            truncated: false,
        }
    }
    const context = testContext({ results: { start: { started: Object.keys(units) } } })
    context.change = '20261120-023000-7f3a'
    const task = restoreCheck({
        exec,
        systemd: new SimSystemd(clock, units),
        clock,
        mounted: () => new Set(mounted),
    })
    await drive(clock, task.do({ product: 'pve', start: 'start', hostname: 'pve1', ...params }, context))
    return { warnings: context.warnings, text: context.warnings.join('\n'), calls, context }
}

describe('a host that is well', () => {
    for (const product of ['pve', 'pbs', 'both', 'debian'] as const)
        test(`draws no word: ${product}`, async () => {
            const { warnings, context } = await check({ product }, {}, { 'a.service': { active: 'active' } })
            expect(warnings).toEqual([])
            expect(context.facts.check).toEqual([])
        })

    test('a member with quorum, and daemons that answer only after a while', async () => {
        const { warnings } = await check(
            {},
            { 'pvecm status': { text: quorate }, 'pvesh get /version': { late: 3, text: '{}' } },
        )
        expect(warnings).toEqual([])
    })

    test('only what the host has is asked', async () => {
        expect((await check({ product: 'debian' })).calls).toEqual([
            expect.stringMatching(/^journalctl -p err --since @1795141800 /),
        ])
    })
})

describe('what is found has its remedy, and only that', () => {
    test('a unit that does not run', async () => {
        const { text } = await check({ product: 'debian' }, {}, { 'a.service': { active: 'failed' } })
        expect(text).toBe('a.service is failed. Remedy: journalctl -b -u a.service')
    })

    test('no quorum: the expected votes', async () => {
        const lost = quorate.replace('Yes', 'No').replace('Total votes:      3', 'Total votes:      1')
        const { text } = await check(
            { database: true, backupHostname: 'old' },
            { 'pvecm status': { status: 2, text: lost }, 'stat -c': { text: '555' } },
        )
        expect(text).toContain('1 of 2 votes')
        expect(text).toContain('pvecm expected 1')
        // Certificates cannot be written without quorum, so they are no remedy yet.
        expect(text).not.toContain('updatecerts')
    })

    test('/etc/pve not mounted because the host name leads nowhere: the hosts file, and nothing else is asked', async () => {
        const { text, calls } = await check(
            {},
            {
                'journalctl -b': {
                    text: "[main] crit: Unable to resolve node name 'pve1' to a non-loopback IP address",
                },
            },
            {},
            ['/'],
        )
        expect(text).toContain('put "ADDRESS pve1" into /etc/hosts')
        expect(calls.filter(call => call.startsWith('pvesh'))).toEqual([])
    })

    test('mounted, but read-only', async () => {
        expect((await check({}, { 'stat -c': { text: '555\n' } })).text).toContain('read-only')
    })

    test('nodes that are gone, and guests of a node of another name', async () => {
        const resources = [
            { type: 'node', node: 'pve1', status: 'online' },
            { type: 'node', node: 'pve2', status: 'offline' },
            { type: 'lxc', node: 'old', status: 'unknown' },
        ]
        const { warnings } = await check(
            {},
            { 'pvesh get /cluster/resources': { text: JSON.stringify(resources) } },
        )
        expect(warnings).toHaveLength(2)
        expect(warnings[0]).toContain('pvecm delnode pve2')
        expect(warnings[1]).toContain('/etc/pve/nodes/old to /etc/pve/nodes/pve1')
    })

    test('the database of another host: its certificates', async () => {
        const { warnings } = await check({ database: true, backupHostname: 'old' })
        expect(warnings).toEqual([expect.stringContaining('pvecm updatecerts --force')])
    })

    test('an API that does not answer, storages that are not active, a datastore without its disk', async () => {
        const { warnings } = await check(
            { product: 'both' },
            {
                'pvesh get /version': { status: 111, error: 'Connection refused' },
                'pvesm status': { text: 'Name Type Status\nnas nfs inactive 0 0 0 0%\n' },
                'test -d': { status: 1 },
            },
        )
        expect(warnings.map(text => text.slice(0, 24))).toEqual([
            'the API does not answer:',
            'storage nas is inactive.',
            'datastore main: /srv/pbs',
        ])
    })

    test('errors in the journal, a few of them shown and nothing that disturbs a terminal', async () => {
        const text = Array.from({ length: 9 }, (_, i) => `Nov 20 pve1 x[1]: error ${i} \x1b[2J`).join('\n')
        const { warnings } = await check({ product: 'debian' }, { 'journalctl -p': { text } })
        expect(warnings).toHaveLength(1)
        expect(warnings[0]).toContain('9 errors')
        expect(warnings[0]).toContain('error 8')
        expect(warnings[0]).not.toContain('\x1b')
        expect(warnings[0]).not.toContain('error 3')
    })

    test('a boot, where something counts only then; a pool that is missing', async () => {
        const { text } = await check(
            { product: 'debian', reboot: ['Boot'], pools: ['tank'] },
            {
                'zpool list': { text: 'rpool\tONLINE\n' },
                'zpool import': { text: '   pool: tank\n     id: 1\n' },
            },
        )
        expect(text).toContain('zpool import tank')
        expect(text).toEndWith('Remedy: reboot')
    })
})

describe('it has an end', () => {
    test('when systemd cannot be reached: a warning, and the restore stays', async () => {
        const clock = new SimClock()
        const systemd = new SimSystemd(clock, { a: { active: 'active' } })
        systemd.busLost = 1e9
        const context = testContext()
        const exec: Exec = async () => ({ found: false })
        await restoreCheck({ exec, systemd, clock }).do({ product: 'debian', units: ['a'] }, context)
        expect(context.warnings).toEqual([expect.stringContaining('could not be checked')])
    })

    test('when every command hangs', async () => {
        const hung = Object.fromEntries(Object.keys(well).map(key => [key, { timedOut: true as const }]))
        const { text } = await check({ product: 'both' }, hung)
        expect(text).toContain('did not end in time')
    })

    test('when the answers are nonsense', async () => {
        const odd = Object.fromEntries(Object.keys(well).map(key => [key, { text: '\0[{null' }]))
        await check({ product: 'both' }, odd)
        expect(parseQuorum('Quorate: Maybe')).toBeUndefined()
        expect(parseStorages('')).toEqual([])
    })

    test('on another root it says that it looks at nothing', async () => {
        const context = testContext()
        const exec = async () => {
            throw new Error('not to be called')
        }
        expect(
            await restoreCheck({ exec, systemd: undefined, clock: new SimClock() }).do(
                { product: 'pve' },
                context,
            ),
        ).toBeUndefined()
        expect(context.logs[0]).toContain('another root')
    })
})
