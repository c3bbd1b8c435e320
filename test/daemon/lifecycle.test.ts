/** The daemon from start to stop and across a crash: real processes, a real tree, nothing simulated. */
import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RunningDaemon, until } from './running.ts'

let daemon: RunningDaemon
afterEach(() => daemon.end())

const plain = '[backup]\nencryption = "none"\n'
const begin = (config = plain, prepare: (daemon: RunningDaemon) => void = () => undefined) =>
    RunningDaemon.begin(daemon => {
        daemon.write('etc/proxsave/proxsave.toml', config)
        prepare(daemon)
    })

/** A file that takes a moment to save: a FIFO would be skipped, so it is simply large and incompressible. */
function bigFile(daemon: RunningDaemon, mebibytes: number): void {
    daemon.write('opt/big', '')
    const bytes = new Uint8Array(1024 * 1024)
    let text = Buffer.alloc(0)
    for (let at = 0; at < mebibytes; at++) {
        crypto.getRandomValues(bytes.subarray(0, 65_536))
        for (let copy = 1; copy < 16; copy++) bytes.copyWithin(copy * 65_536, 0, 65_536)
        bytes[at % bytes.length] = at
        text = Buffer.concat([text, bytes])
    }
    writeFileSync(join(daemon.root, 'opt/big'), text)
}

const including = `${plain}include = ["/opt/big"]\n`
const archives = (daemon: RunningDaemon) => {
    const directory = join(daemon.root, 'var/backups/proxsave')
    return existsSync(directory) ? readdirSync(directory).filter(name => name.endsWith('.tar')) : []
}
const partials = (daemon: RunningDaemon) => {
    const directory = join(daemon.root, 'var/backups/proxsave/.partial')
    return existsSync(directory) ? readdirSync(directory) : []
}

setDefaultTimeout(30_000)

describe('a daemon', () => {
    test('stops cleanly at SIGTERM and leaves neither socket nor lock', async () => {
        daemon = await begin()
        expect(await daemon.stop('SIGTERM')).toBe(0)
        expect(existsSync(daemon.socket)).toBe(false)
        await daemon.start()
        expect((await daemon.ctl('status')).status).toBe(0)
    })

    test('refuses a state directory that another one serves, and the first goes on', async () => {
        daemon = await begin()
        const main = join(import.meta.dir, '../../src/main.ts')
        const args = [
            'proxsaved',
            '--root',
            daemon.root,
            '--state',
            daemon.state,
            '--socket',
            `${daemon.socket}2`,
        ]
        const second = Bun.spawnSync([process.execPath, main, ...args], { stderr: 'pipe', timeout: 20_000 })
        expect(second.exitCode).toBe(8)
        expect(second.stderr.toString()).toContain('proxsaved: cannot serve')
        expect((await daemon.ctl('status')).status).toBe(0)
    })

    test('wants usable options', async () => {
        daemon = await begin()
        const main = join(import.meta.dir, '../../src/main.ts')
        const ran = Bun.spawnSync([process.execPath, main, 'proxsaved', '--rot', '/x'], {
            stderr: 'pipe',
            timeout: 20_000,
        })
        expect(ran.exitCode).toBe(2)
        expect(ran.stderr.toString()).toContain('hint: see proxsaved --help')
    })

    test('restarts for an upgrade only once nothing runs', async () => {
        daemon = await begin()
        writeFileSync(join(daemon.base, 'run/restart-when-idle'), '')
        await daemon.logged('restarting with the new program')
        expect(await daemon.stop('SIGCONT')).toBe(0)
        expect(existsSync(join(daemon.base, 'run/restart-when-idle'))).toBe(false)
    })
})

describe('a broken configuration', () => {
    const broken = '[backup]\nencrypton = "none"\n'

    test('does not stop the daemon: reading goes on, a backup refuses with file, line and the nearest key', async () => {
        daemon = await begin(broken)
        expect((await daemon.ctl('list')).status).toBe(0)
        const status = await daemon.ctl('status')
        expect(status.status).toBe(0)
        expect(status.out).toContain('/etc/proxsave/proxsave.toml line 2: unknown key "encrypton"')
        const doctor = await daemon.ctl('doctor')
        expect(doctor.status).toBe(1)
        expect(doctor.out).toContain('did you mean "encryption"?')
        const backup = await daemon.ctl('backup')
        expect(backup.status).toBe(2)
        expect(backup.err).toContain(
            'proxsavectl: cannot use the configuration: /etc/proxsave/proxsave.toml line 2',
        )
        expect(backup.err).toContain('hint: did you mean "encryption"?')
        expect(archives(daemon)).toEqual([])
    })

    test('is noticed when it is mended, without a restart', async () => {
        daemon = await begin(broken)
        const from = daemon.log.length
        daemon.write('etc/proxsave/proxsave.toml', plain)
        await daemon.logged('configuration read again', from)
        expect((await daemon.ctl('backup')).status).toBe(0)
    })

    test('is noticed at SIGHUP too, and what worked before still reads', async () => {
        daemon = await begin()
        expect((await daemon.ctl('backup')).status).toBe(0)
        writeFileSync(join(daemon.root, 'etc/proxsave/proxsave.toml'), broken)
        process.kill(daemon.pid, 'SIGHUP')
        await daemon.logged('unknown key "encrypton"')
        expect(JSON.parse((await daemon.ctl('list', '--json')).out).backups.length).toBe(1)
    })
})

describe('while a backup runs', () => {
    test('another one ends with 8 and names the first; with --wait it comes after it', async () => {
        daemon = await begin(including, daemon => bigFile(daemon, 48))
        const first = await daemon.ctl('backup', '--detach', '--json')
        const { change } = JSON.parse(first.out)
        const second = await daemon.ctl('backup')
        expect(second.status).toBe(8)
        expect(second.err).toContain(change)
        expect((await daemon.ctl('status', '--json')).out).toContain(`"running":{"id":"${change}"`)
        const third = await daemon.ctl('backup', '--wait')
        expect(third.status).toBe(0)
        expect(archives(daemon).length).toBe(2)
        const history = JSON.parse((await daemon.ctl('history', '--json')).out)
        expect(history.changes.map((one: { result: string }) => one.result)).toEqual(['ok', 'ok'])
    }, 60_000)

    test('cancel stops it, leaves nothing, and both sides say so', async () => {
        daemon = await begin(including, daemon => bigFile(daemon, 96))
        const { change } = JSON.parse((await daemon.ctl('backup', '--detach', '--json')).out)
        await until(() => partials(daemon).length > 0, 'the archive is being written')
        expect((await daemon.ctl('cancel', change)).status).toBe(0)
        expect((await daemon.ctl('attach', change)).status).toBe(4)
        expect([archives(daemon), partials(daemon)]).toEqual([[], []])
    }, 60_000)

    test('a kill -9 of the daemon ends its worker; the next start cleans up and says so', async () => {
        daemon = await begin(including, daemon => bigFile(daemon, 96))
        expect((await daemon.ctl('backup', '--target', 'local')).status).toBe(0)
        const before = archives(daemon)
        const { change } = JSON.parse((await daemon.ctl('backup', '--detach', '--json')).out)
        await until(() => partials(daemon).length > 0, 'the archive is being written')
        await daemon.stop('SIGKILL')
        await daemon.start()
        await daemon.logged('is finished now: failed')
        expect(archives(daemon)).toEqual(before)
        expect(partials(daemon)).toEqual([])
        const status = JSON.parse((await daemon.ctl('status', '--json')).out)
        expect([status.unfinished, status.guard, status.running]).toEqual([[], null, null])
        const told = await daemon.ctl('history', change)
        expect(told.out).toContain('recovery: the daemon stopped during "write the archive"')
        expect((await daemon.ctl('verify', '--all')).status).toBe(0)
        expect((await daemon.ctl('backup')).status).toBe(0)
    }, 90_000)

    test('SIGTERM cancels and undoes it before the daemon goes', async () => {
        daemon = await begin(including, daemon => bigFile(daemon, 96))
        const { change } = JSON.parse((await daemon.ctl('backup', '--detach', '--json')).out)
        await until(() => partials(daemon).length > 0, 'the archive is being written')
        expect(await daemon.stop('SIGTERM')).toBe(0)
        expect(partials(daemon)).toEqual([])
        await daemon.start()
        const history = JSON.parse((await daemon.ctl('history', change, '--json')).out)
        expect([history.state, history.result]).toEqual(['done', 'cancelled'])
    }, 60_000)
})

describe('a client that leaves', () => {
    test('ends the worker that it had asked for', async () => {
        daemon = await begin(including, daemon => bigFile(daemon, 64))
        expect((await daemon.ctl('backup')).status).toBe(0)
        const leave = new AbortController()
        const response = await fetch('http://x/v1/archives/verify', {
            method: 'POST',
            body: JSON.stringify({ backup: 'latest', deep: true }),
            unix: daemon.socket,
            signal: leave.signal,
        })
        await response.body!.getReader().read()
        const workers = () =>
            readdirSync('/proc').filter(pid => /^\d+$/.test(pid) && parentOf(pid) === String(daemon.pid))
        leave.abort()
        await until(() => workers().length === 0, 'no worker is left')
    }, 60_000)
})

function parentOf(pid: string): string | undefined {
    try {
        return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[1]
    } catch {
        return undefined
    }
}

test('an unfinished file of another time is swept at the start', async () => {
    daemon = await begin()
    await daemon.stop()
    daemon.write('var/backups/proxsave/.partial/testhost_20200101T000000Z.proxsave.tar', 'half')
    await daemon.start()
    await daemon.logged('removed the unfinished')
    expect(partials(daemon)).toEqual([])
    rmSync(join(daemon.root, 'opt'), { recursive: true, force: true })
})
