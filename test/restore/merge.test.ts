/** Merged files on a real tree: written whole, and taken back to the last byte and time stamp. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
    chmodSync,
    existsSync,
    lstatSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    readlinkSync,
    rmSync,
    symlinkSync,
    utimesSync,
    writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PlaceCalls, placeCalls } from '../../src/host/place.ts'
import { type MergeHost, type MergeParams, restoreMerge } from '../../src/restore/merge.ts'
import type { Json } from '../../src/engine/change.ts'
import { SimClock } from '../sim/clock.ts'
import { testContext } from './context.ts'

let top: string
const root = (path: string) => join(top, 'root', path)
const staged = (path: string) => join(top, 'change/stage', path)

beforeEach(() => {
    top = mkdtempSync(join(tmpdir(), 'proxsave-merge-'))
    for (const path of ['root/etc', 'change/stage/etc']) mkdirSync(join(top, path), { recursive: true })
})
afterEach(() => rmSync(top, { recursive: true }))

function lab(answers: string[] = [], calls?: PlaceCalls, results: Record<string, Json> = {}) {
    const host: MergeHost = {
        root: join(top, 'root'),
        exec: async () => {
            throw new Error('no command of this host is run for another root')
        },
        systemd: undefined,
        clock: new SimClock(),
        ...(calls === undefined ? {} : { calls }),
    }
    return { task: restoreMerge(host), context: testContext({ dir: join(top, 'change'), answers, results }) }
}
const params = (which: MergeParams['which']): MergeParams => ({ which, stage: 'stage', backup: 'pve1/x' })

function put(path: string, text: string, mode = 0o644) {
    writeFileSync(path, text)
    chmodSync(path, mode)
    utimesSync(path, 1_600_000_000, 1_600_000_000)
}

/** Everything that is to be the same afterwards. */
function picture(): Record<string, unknown> {
    const out: Record<string, unknown> = {}
    for (const name of ['', ...readdirSync(root('etc'))]) {
        const path = join(root('etc'), name)
        const { mode, uid, gid, mtimeMs, nlink, ino } = lstatSync(path)
        const content = lstatSync(path).isSymbolicLink()
            ? readlinkSync(path)
            : name === ''
              ? ''
              : readFileSync(path, 'latin1')
        out[name] = { mode, uid, gid, mtimeMs, content, nlink, ...(name === '' ? {} : { ino }) }
    }
    return out
}

const fstab = 'UUID=root / ext4 defaults 0 1\n'
const passwd = 'root:x:0:0::/root:/bin/bash\n'

describe('restore.merge fstab', () => {
    beforeEach(() => {
        put(root('etc/fstab'), fstab, 0o640)
        put(staged('etc/fstab'), 'UUID=old / ext4\nnas:/e /mnt/e nfs rw\n/dev/sda3 /x ext4\n')
        utimesSync(root('etc'), 1_600_000_000, 1_600_000_000)
    })

    test('adds what a person agrees to, keeps owner and mode, and its undo leaves nothing behind', async () => {
        const { task, context } = lab(['add'])
        const before = picture()
        expect(await task.do(params('fstab'), context)).toEqual({ changed: ['/etc/fstab'] })
        expect(readFileSync(root('etc/fstab'), 'utf8')).toBe(
            `${fstab}# added from the backup pve1/x\nnas:/e /mnt/e nfs rw,nofail,x-systemd.device-timeout=30s,_netdev 0 0\n`,
        )
        expect(lstatSync(root('etc/fstab')).mode & 0o7777).toBe(0o640)
        expect(context.logs.join()).toContain('/dev/sda3 /x ext4')
        await task.undo(params('fstab'), context)
        expect(picture()).toEqual(before)
        await task.undo(params('fstab'), context)
        expect(picture()).toEqual(before)
    })

    test('adds nothing when nobody answers in 90 seconds', async () => {
        const { task, context } = lab()
        const before = picture()
        expect(await task.do(params('fstab'), context)).toEqual({ changed: [] })
        expect(context.asked).toMatchObject([{ id: 'fstab.merge', safe: 'skip', timeoutMs: 90_000 }])
        expect(picture()).toEqual(before)
    })

    test('asks nothing when there is nothing to add', async () => {
        put(staged('etc/fstab'), fstab)
        const { task, context } = lab(['add'])
        expect(await task.do(params('fstab'), context)).toEqual({ changed: [] })
        expect(context.asked).toEqual([])
    })

    test('run again after a crash it does not add twice, and undo still knows the first state', async () => {
        const { task, context } = lab(['add', 'add'])
        const before = picture()
        await task.do(params('fstab'), context)
        await task.do(params('fstab'), context)
        expect(readFileSync(root('etc/fstab'), 'utf8').match(/nas:/g)).toHaveLength(1)
        await task.undo(params('fstab'), context)
        expect(picture()).toEqual(before)
    })

    test('what was edited since is asked about, and kept by default', async () => {
        const { task, context } = lab(['add'])
        await task.do(params('fstab'), context)
        writeFileSync(root('etc/fstab'), 'edited\n')
        await task.undo(params('fstab'), context)
        expect(context.asked.at(-1)).toMatchObject({ id: 'undo.conflict', safe: 'keep' })
        expect(readFileSync(root('etc/fstab'), 'utf8')).toBe('edited\n')
        context.answers.push('restore')
        await task.undo(params('fstab'), context)
        expect(readFileSync(root('etc/fstab'), 'utf8')).toBe(fstab)
    })

    test('creates the file where there was none, and undo removes it', async () => {
        rmSync(root('etc/fstab'))
        const { task, context } = lab(['add'])
        await task.do(params('fstab'), context)
        expect(existsSync(root('etc/fstab'))).toBe(true)
        await task.undo(params('fstab'), context)
        expect(readdirSync(root('etc'))).toEqual([])
    })

    test('a link in its place is left alone', async () => {
        rmSync(root('etc/fstab'))
        symlinkSync('/etc/passwd', root('etc/fstab'))
        const { task, context } = lab(['add'])
        expect(await task.do(params('fstab'), context)).toEqual({ changed: [] })
        expect(context.warnings).toHaveLength(1)
    })

    test('a staged link is not followed: it may lead to secrets of this host', async () => {
        rmSync(staged('etc/fstab'))
        symlinkSync(root('etc/fstab'), staged('etc/fstab'))
        const { task, context } = lab(['add'])
        expect(await task.do(params('fstab'), context)).toEqual({ changed: [] })
    })
})

describe('restore.merge accounts', () => {
    test('writes all tables, the secret ones privately, and takes them all back', async () => {
        put(root('etc/passwd'), passwd)
        put(root('etc/group'), 'root:x:0:\nshadow:x:42:\n')
        put(root('etc/shadow'), 'root:$y$h:1::::::\n', 0o640)
        put(staged('etc/passwd'), 'anna:x:1000:1000::/home/anna:/bin/sh\n')
        put(staged('etc/group'), 'anna:x:1000:\n')
        put(staged('etc/shadow'), 'anna:$y$a:1::::::\n')
        utimesSync(root('etc'), 1_600_000_000, 1_600_000_000)
        const before = picture()
        const { task, context } = lab()
        expect(await task.do(params('accounts'), context)).toEqual({
            changed: ['/etc/group', '/etc/shadow', '/etc/passwd'],
        })
        expect(readFileSync(root('etc/passwd'), 'utf8')).toContain('anna:x:1000')
        expect(lstatSync(root('etc/shadow')).mode & 0o7777).toBe(0o640)
        expect(context.logs).toContain('users added: anna')
        await task.undo(params('accounts'), context)
        expect(picture()).toEqual(before)
    })
})

describe('restore.merge resolv', () => {
    test('a dead link becomes the file of the backup; undo makes it the dead link again', async () => {
        symlinkSync('/run/nowhere', root('etc/resolv.conf'))
        put(staged('etc/resolv.conf'), 'nameserver 192.0.2.1\n')
        utimesSync(root('etc'), 1_600_000_000, 1_600_000_000)
        const { task, context } = lab()
        await task.do(params('resolv'), context)
        expect(lstatSync(root('etc/resolv.conf')).isFile()).toBe(true)
        expect(readFileSync(root('etc/resolv.conf'), 'utf8')).toBe('nameserver 192.0.2.1\n')
        await task.undo(params('resolv'), context)
        expect(readlinkSync(root('etc/resolv.conf'))).toBe('/run/nowhere')
        expect(lstatSync(root('etc')).mtimeMs).toBe(1_600_000_000_000)
    })

    test('one that works stays', async () => {
        mkdirSync(root('run'))
        put(root('run/resolv.conf'), 'nameserver 192.0.2.1\n')
        symlinkSync('../run/resolv.conf', root('etc/resolv.conf'))
        put(staged('etc/resolv.conf'), 'nameserver 192.0.2.2\n')
        const { task, context } = lab()
        expect(await task.do(params('resolv'), context)).toEqual({ changed: [] })
        expect(readlinkSync(root('etc/resolv.conf'))).toBe('../run/resolv.conf')
    })
})

describe('restore.merge behind a guard', () => {
    const behind: MergeParams = { ...params('resolv'), behind: 'network-confirm' }
    const broken = () => {
        symlinkSync('/run/nowhere', root('etc/resolv.conf'))
        put(staged('etc/resolv.conf'), 'nameserver 192.0.2.1\n')
    }

    test('merges when that was confirmed', async () => {
        broken()
        const { task, context } = lab([], undefined, { 'network-confirm': { confirmed: 'somebody' } })
        expect(await task.do(behind, context)).toEqual({ changed: ['/etc/resolv.conf'] })
    })

    test('leaves all as it is when it was declined, rolled back, or never came to it', async () => {
        broken()
        const all: Record<string, Json>[] = [
            {},
            { 'network-prepare': { apply: false } },
            { 'network-confirm': {} },
        ]
        for (const results of all) {
            const { task, context } = lab([], undefined, results)
            expect(await task.do(behind, context)).toEqual({ changed: [] })
            expect(readlinkSync(root('etc/resolv.conf'))).toBe('/run/nowhere')
            expect(context.warnings.join()).toStartWith('/etc/resolv.conf stays as it is')
            await task.undo(behind, context)
            expect(readlinkSync(root('etc/resolv.conf'))).toBe('/run/nowhere')
        }
    })
})

/** Calls of which the one with this number, and every one behind it, does nothing but fail: the process is dead. */
function dyingAt(number: number): { calls: PlaceCalls; died: () => boolean } {
    let count = 0
    const calls = Object.fromEntries(
        Object.entries(placeCalls).map(([name, call]) => [
            name,
            (...args: unknown[]) => {
                if (++count >= number) throw new Error('the process is dead')
                return (call as (...args: unknown[]) => unknown)(...args)
            },
        ]),
    ) as unknown as PlaceCalls
    return { calls, died: () => count >= number }
}

describe('killed at any call', () => {
    test('the undo of the next process leaves all account tables as they were', async () => {
        put(root('etc/passwd'), passwd)
        put(root('etc/group'), 'root:x:0:\nshadow:x:42:\n')
        put(root('etc/shadow'), 'root:$y$h:1::::::\n', 0o640)
        put(staged('etc/passwd'), 'anna:x:1000:1000::/home/anna:/bin/sh\n')
        put(staged('etc/group'), 'anna:x:1000:\n')
        put(staged('etc/shadow'), 'anna:$y$a:1::::::\n')
        utimesSync(root('etc'), 1_600_000_000, 1_600_000_000)
        const before = picture()
        let deaths = 0
        for (let number = 1; ; number++) {
            const { calls, died } = dyingAt(number)
            const first = lab([], calls)
            const outcome = await first.task.do(params('accounts'), first.context).then(
                () => 'done',
                () => 'died',
            )
            const next = lab()
            next.context.memory = first.context.memory
            await next.task.undo(params('accounts'), next.context)
            expect(picture()).toEqual(before)
            expect(next.context.asked).toEqual([])
            if (!died()) {
                expect(outcome).toBe('done')
                break
            }
            deaths++
        }
        expect(deaths).toBeGreaterThan(40)
        console.log(`killed at ${deaths} calls`)
        // Each round waits for the disk several times.
    }, 60_000)
})
