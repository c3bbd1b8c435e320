/** Confirming and rolling back on request, on real files. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault } from '../../src/core/errors.ts'
import {
    chooseGuard,
    commitGuard,
    defaultState,
    disarm,
    requestRollback,
    stopGuardTimer,
} from '../../src/guard/decide.ts'
import { GuardDirectory } from '../../src/guard/record.ts'
import { diskOn, realDisk } from '../../src/host/disk.ts'
import type { Exec } from '../../src/host/exec.ts'
import { launch } from '../../src/host/launch.ts'
import { until } from '../daemon/running.ts'
import { GuardLab } from './planted.ts'

const change = '20261120-120000-aaaa'
let lab: GuardLab
beforeEach(() => {
    lab = new GuardLab()
})
afterEach(() => lab.end())

const faultOf = (act: () => unknown): Fault => {
    try {
        act()
    } catch (error) {
        return error as Fault
    }
    throw new Error('it was not refused')
}
const choose = (reference?: string) => chooseGuard(lab.disk, lab.state, 'commit', reference)
const commit = (guard: GuardDirectory, waitMs = 0) =>
    commitGuard(lab.disk, lab.state, guard.id, 'root@pts/1', { clock: lab.clock, waitMs })

describe('which guard is meant', () => {
    test('is the armed one, by nothing, its id, its change, or a beginning of that', () => {
        const guard = lab.applied(change, 'network')
        lab.executed('20261120-130000-bbbb', 'ssh')
        for (const reference of [undefined, guard.id, change, '20261120-12'])
            expect(choose(reference).id).toBe(guard.id)
    })

    test('is asked back when two are armed', () => {
        lab.armed(change, 'network')
        lab.armed(change, 'ssh')
        const fault = faultOf(() => choose(change))
        expect([fault.kind, fault.hint]).toEqual(['usage', `name one: ${change}-network, ${change}-ssh`])
        expect(choose(`${change}-ssh`).id).toBe(`${change}-ssh`)
    })

    test('is none without one', () => {
        const fault = faultOf(() => choose())
        expect([fault.kind, fault.message]).toEqual(['failed', 'cannot commit: no guard is armed'])
        expect(faultOf(() => choose('2025')).message).toBe('cannot commit: no guard of 2025 is armed')
    })

    test('was rolled back already, when that is what became of the last one', () => {
        lab.executed(change, 'network')
        const fault = faultOf(() => choose())
        expect([fault.kind, fault.exitStatus]).toEqual(['rolled-back', 7])
        expect(fault.message).toContain('was rolled back already')
    })

    test('is none that is being made: it is not armed yet, and nobody confirmed it', async () => {
        await commit(lab.applied(change, 'ssh'))
        lab.nowMs += 1_000
        lab.make(change, 'network')
        for (const reference of [undefined, `${change}-network`]) {
            const fault = faultOf(() => choose(reference))
            expect([fault.kind, fault.facts]).toEqual(['failed', {}])
            expect(fault.message).toBe(
                `cannot commit: ${change}-network is not armed yet, nothing of it was changed`,
            )
        }
        expect(faultOf(() => choose(`${change}-ssh`)).facts.confirmed).toBe(`${change}-ssh`)
    })

    test('was confirmed already, and by whom', async () => {
        await commit(lab.applied(change, 'network'))
        const fault = faultOf(() => choose(change))
        expect([fault.kind, fault.facts.confirmed]).toEqual(['failed', `${change}-network`])
        expect(fault.hint).toContain('was confirmed by root@pts/1')
    })
})

describe('a confirmation', () => {
    test('removes armed, says who it was, and keeps neither the program nor markers', async () => {
        const guard = lab.applied(change, 'network')
        writeFileSync(guard.file('commit'), '')
        await commit(guard)
        expect(guard.state()).toBe('DISARMED')
        expect(guard.confirmed()).toEqual({ time: '2026-11-20T12:00:00.000Z', by: 'root@pts/1' })
        expect(readdirSync(guard.path).sort()).toEqual(['applied', 'confirmed', 'guard.json', 'lock'])
    })

    test('is one durable removal: nothing is written before it, and the directory is synced behind it', () => {
        const guard = lab.applied(change, 'network')
        const calls: string[] = []
        const disk = diskOn(recording(calls))
        disarm(new GuardDirectory(disk, lab.state, guard.id), 'x', lab.clock)
        expect(calls.filter(call => !call.startsWith('syncDirectory')).slice(0, 1)).toEqual(['unlink armed'])
        const at = calls.indexOf('unlink armed')
        expect(calls[at + 1]).toBe(`syncDirectory ${guard.id}`)
    })

    test('stands although its report cannot be written', () => {
        const guard = lab.applied(change, 'network')
        const calls = recording([])
        calls.open = () => {
            throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
        }
        disarm(new GuardDirectory(diskOn(calls), lab.state, guard.id), 'x', lab.clock)
        expect([guard.state(), guard.confirmed()]).toEqual(['DISARMED', undefined])
    })

    test('did not happen when armed could not be removed', async () => {
        const guard = lab.applied(change, 'network')
        const calls = recording([])
        calls.unlink = () => {
            throw Object.assign(new Error('EROFS'), { code: 'EROFS' })
        }
        const broken = new GuardDirectory(diskOn(calls), lab.state, guard.id)
        expect(() => disarm(broken, 'x', lab.clock)).toThrow('EROFS')
        expect([guard.state(), guard.confirmed()]).toEqual(['ARMED', undefined])
        // The lock is free again.
        await commit(guard)
    })

    test('waits for whoever holds the lock, and gives up in time', async () => {
        const guard = lab.applied(change, 'network')
        const lock = guard.tryLock()!
        const fault = faultOf(() => disarm(guard, 'x', lab.clock))
        expect([fault.kind, fault.message]).toEqual(['conflict', 'cannot commit: the rollback is running'])
        await expect(commit(guard)).rejects.toThrow('the rollback is running')
        expect(guard.state()).toBe('ARMED')
        const waiting = commit(guard, 60_000)
        lock.release()
        await waiting
        expect(guard.state()).toBe('DISARMED')
    })

    test('comes too late once the old files are back, although armed is still there', async () => {
        const guard = lab.applied(change, 'network')
        guard.write('executed', { time: 't', why: 'deadline', problems: [] })
        await expect(commit(guard)).rejects.toMatchObject({ kind: 'rolled-back' })
        expect(() => disarm(guard, 'x', lab.clock)).toThrow('rolled back already')
        expect(existsSync(guard.file('armed'))).toBe(true)
    })

    test('does not count in another boot', async () => {
        const guard = lab.applied(change, 'network')
        lab.bootId = 'boot-2'
        await expect(commit(guard)).rejects.toThrow('this host was started anew')
        expect(guard.state()).toBe('ARMED')
    })

    test('of one that is confirmed already is a failure to a person, and nothing to do for the task', async () => {
        const guard = lab.applied(change, 'network')
        await commit(guard)
        await expect(commit(guard)).rejects.toThrow('not armed any more')
        disarm(guard, 'somebody else', lab.clock)
        expect(guard.confirmed()?.by).toBe('root@pts/1')
    })
})

describe('a rollback on request', () => {
    const ran: string[][] = []
    const exec =
        (status: number): Exec =>
        async argv => {
            ran.push([...argv])
            const empty = new Uint8Array()
            return {
                found: true,
                status,
                endedBy: null,
                stdout: empty,
                stderr: empty,
                timedOut: false,
                truncated: false,
            }
        }
    beforeEach(() => void ran.splice(0))

    test('is a unit of its own, without waiting', async () => {
        // Only the path is looked at: nothing below it is touched but the marker, and that may fail.
        const readOnly = { ...realDisk(), replace: () => {} }
        const guard = new GuardDirectory(readOnly, defaultState, `${change}-network`)
        await requestRollback(readOnly, guard, {
            exec: exec(0),
            launch: () => Promise.reject(new Error('no')),
        })
        const unit = `proxsave-rollback@${change}-network.service`
        expect(ran).toEqual([
            ['systemctl', 'reset-failed', unit],
            ['systemctl', 'start', '--no-block', unit],
        ])
    })

    test('is the kept program alone when systemd cannot be asked', async () => {
        const launched: string[][] = []
        const host = {
            exec: exec(1),
            launch: async (argv: readonly string[]) => void launched.push([...argv]),
        }
        const readOnly = { ...realDisk(), replace: () => {} }
        const guard = new GuardDirectory(readOnly, defaultState, `${change}-network`)
        await requestRollback(readOnly, guard, host)
        const program = `${defaultState}/guard/${change}-network/proxsave`
        expect(launched).toEqual([
            [program, 'rollback', `${change}-network`, '--asked', '--state', defaultState],
        ])
        await requestRollback(readOnly, guard, { ...host, exec: async () => ({ found: false }) })
        expect(launched).toHaveLength(2)
    })

    test('is the program of the package where the kept one cannot be started', async () => {
        const launched: string[] = []
        const host = {
            exec: exec(1),
            launch: async ([program]: readonly string[]) => {
                launched.push(program!)
                if (program!.startsWith(lab.state)) throw new Error('EACCES')
            },
        }
        const guard = lab.applied(change, 'network')
        await requestRollback(lab.disk, guard, host)
        expect(launched).toEqual([guard.file('proxsave'), '/usr/lib/proxsave/proxsave'])
    })

    test('never asks the unit for the guard of another state directory', async () => {
        const guard = lab.applied(change, 'network')
        const done = join(lab.state, 'done')
        writeFileSync(
            guard.file('proxsave'),
            `#!/bin/sh\necho "$@" > ${done}.new && mv ${done}.new ${done}\n`,
        )
        chmodSync(guard.file('proxsave'), 0o700)
        await requestRollback(lab.disk, guard, { exec: exec(0), launch })
        expect(ran).toEqual([])
        await until(() => existsSync(done), 'the kept program ran')
        expect(Buffer.from(lab.disk.read(done)!).toString()).toBe(
            `rollback ${guard.id} --asked --state ${lab.state}\n`,
        )
        expect(guard.marked('rollback')).toBe(true)
    })

    test('says what is left to do when neither works', async () => {
        const guard = lab.applied(change, 'network')
        const none = () => Promise.reject(new Error('ENOENT'))
        const failed = await requestRollback(lab.disk, guard, { exec: exec(0), launch: none }).catch(
            error => error as Fault,
        )
        expect(failed).toMatchObject({
            kind: 'failed',
            hint: expect.stringContaining(`touch ${guard.file('rollback')}`),
        })
        expect(guard.state()).toBe('ARMED')
    })
})

test('the timer of a confirmed guard is stopped by its name', async () => {
    const ran: string[][] = []
    await stopGuardTimer(async argv => {
        ran.push([...argv])
        return { found: false }
    }, `${change}-network`)
    expect(ran).toEqual([['systemctl', 'stop', '--no-block', `proxsave-rollback@${change}-network.timer`]])
})

/** Real calls that tell what they do; of each path only the last name. */
function recording(calls: string[]) {
    const fs = require('node:fs') as typeof import('node:fs')
    const name = (path: string) => path.split('/').at(-1)!
    const told = <A extends unknown[], R>(what: string, run: (...args: A) => R) => {
        return (...args: A): R => {
            calls.push(`${what} ${typeof args[0] === 'string' ? name(args[0]) : ''}`.trim())
            return run(...args)
        }
    }
    const look = (path: string) => fs.lstatSync(path, { throwIfNoEntry: false })
    return {
        open: told('open', (path: string, how: 'create' | 'append', mode: number) =>
            fs.openSync(path, how === 'create' ? 'wx' : 'a', mode),
        ),
        write: told('write', (fd: number, bytes: Uint8Array) => fs.writeSync(fd, bytes)),
        truncate: told('truncate', (fd: number, size: number) => fs.ftruncateSync(fd, size)),
        fsync: told('fsync', (fd: number) => fs.fsyncSync(fd)),
        close: (fd: number) => fs.closeSync(fd),
        syncDirectory: told('syncDirectory', (path: string) => {
            const fd = fs.openSync(path, 'r')
            fs.fsyncSync(fd)
            fs.closeSync(fd)
        }),
        mkdir: told('mkdir', (path: string, mode: number) => mkdirSync(path, { mode })),
        rename: told('rename', (from: string, to: string) => fs.renameSync(from, to)),
        unlink: told('unlink', (path: string) => fs.unlinkSync(path)),
        removeTree: told('removeTree', (path: string) => fs.rmSync(path, { recursive: true })),
        syncFileSystem: () => {},
        stat: (path: string) => {
            const found = look(path)
            return found && { directory: found.isDirectory(), size: found.size }
        },
        names: (path: string) => (look(path) ? readdirSync(path) : undefined),
        readAt: (path: string, offset: number, length: number) =>
            look(path) ? new Uint8Array(fs.readFileSync(path).subarray(offset, offset + length)) : undefined,
    }
}
