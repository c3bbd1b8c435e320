/** Restores that lose power: what they change, and the runner of the product for a directory that a recorder watches. */
import { Database } from 'bun:sqlite'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import type { Json, Plan, PlannedTask } from '../../src/engine/change.ts'
import { type TaskKind, TaskKinds } from '../../src/engine/kinds.ts'
import { Runner, type StartOptions } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import type { RunWorker } from '../../src/engine/worker.ts'
import { databaseTasks } from '../../src/restore/cluster.ts'
import { type DatabaseHost, restoreDatabase } from '../../src/restore/database.ts'
import type { RestoreHost } from '../../src/restore/host.ts'
import { type MergeHost, restoreMerge } from '../../src/restore/merge.ts'
import { registerFileTasks } from '../../src/restore/tasks.ts'
import { run } from '../backup/lab.ts'
import { RestoreBench, workHere } from '../restore/bench.ts'
import { makeClusterDatabase, openClusterDatabase } from '../restore/cluster-db.ts'
import { SimClock } from './clock.ts'
import type { Image } from './platter.ts'
import { seeded } from './random.ts'
import { imageOf, type Recorder } from './recorder.ts'

export interface Restore {
    name: string
    /** What is there before, in `root` and `state`. */
    before(): Image
    /** `base` is where `root` and `state` lie. */
    plan(base: string): Plan
    options: StartOptions
    runner(recorder: Recorder): Runner
    /** Throws when what the boot finds is worse than either the old or the new tree. */
    checkBoot?(root: string): void
    /** What a boot does to the live tree before anything recovers; the path of what it wrote, if it did. */
    boot?(root: string): string | undefined
}

/** All of them, and what is to be called at the end. */
export async function makeRestores(): Promise<{ restores: Restore[]; remove(): void }> {
    const bench = await RestoreBench.begin()
    const home = fs.mkdtempSync(join(tmpdir(), 'proxsave-power-'))
    const files = ofFiles(bench)
    const host = await ofHost(home)
    return {
        restores: [files, host, failing(files), failing(host)],
        remove() {
            bench.remove()
            fs.rmSync(home, { recursive: true, force: true })
        },
    }
}

/** Two categories of every kind of entry, and an export. */
function ofFiles(bench: RestoreBench): Restore {
    return {
        name: 'files',
        before: () => imageOf(bench.lab.base),
        plan(base) {
            const tasks = bench.tasks()
            const directory = join(base, 'state/exports/pve1-20260102T030405Z')
            const entries = ['tree/same', 'tree/link', 'tree/sub']
            const params = { archive: bench.archive, entries, categories: ['third'], directory }
            const at = tasks.findIndex(({ kind }) => kind === 'restore.unstage')
            tasks.splice(at, 0, { id: 'export', kind: 'restore.export', title: 'export', params })
            return { kind: 'restore', summary: 'restore', by: 'test', tasks }
        },
        options: {},
        runner: recorder => runnerFor(recorder, workHere),
    }
}

/** What is merged, and the database of the cluster, which lies in its write-ahead log for the most part. */
async function ofHost(home: string): Promise<Restore> {
    await run(['bash', '-ec', `cd '${home}'; umask 022; ${host}`])
    const database = join(home, 'root/var/lib/pve-cluster/config.db')
    const owner = openClusterDatabase(join(home, 'owner.db'), {
        'storage.cfg': 'dir: now\n',
        'user.cfg': 'x',
    })
    for (const suffix of ['', '-wal', '-shm']) {
        fs.copyFileSync(join(home, `owner.db${suffix}`), database + suffix)
        fs.chmodSync(database + suffix, 0o640)
        fs.utimesSync(database + suffix, 1_650_000_000, 1_650_000_000.125)
    }
    owner.close()
    const saved = join(home, 'saved')
    makeClusterDatabase(join(saved, 'var/lib/pve-cluster/config.db'), { 'storage.cfg': 'dir: saved\n' })
    const hashes = (names: string[], directory: string) =>
        names.map(name => Bun.hash(fs.readFileSync(join(directory, `config.db${name}`))))
    const [old, ...oldBeside] = hashes(['', '-wal', '-shm'], join(home, 'root/var/lib/pve-cluster'))
    const [fresh] = hashes([''], join(saved, 'var/lib/pve-cluster'))
    const { swap } = databaseTasks({ isolated: true, hostname: 'pve1' })
    const merge = (which: string): PlannedTask => ({
        id: which,
        kind: 'restore.merge',
        title: `merge ${which}`,
        params: { which, stage: 'stage', backup: 'pve1/x' },
    })
    const tasks: PlannedTask[] = [
        {
            id: 'stage',
            kind: 'restore.stage',
            title: 'unpack',
            params: { archive: saved, entries: [] },
        },
        ...['fstab', 'accounts', 'resolv'].map(merge),
        { id: 'swap', ...swap, params: swap.params as Json },
        { id: 'unstage', kind: 'restore.unstage', title: 'remove what was unpacked', params: {} },
    ]
    const copy: RunWorker = async (_, params) => {
        const { path, output } = params as { path: string; output: string }
        await run(['cp', '-a', '--', path, output])
        return null
    }
    const directoryIn = (root: string) => join(root, 'var/lib/pve-cluster')
    return {
        name: 'host',
        before: () => imageOf(home),
        plan: () => ({ kind: 'restore', summary: 'restore', by: 'test', tasks }),
        options: { answers: { 'fstab.merge': 'add' } },
        runner: recorder => runnerFor(recorder, copy),
        checkBoot(root) {
            const directory = directoryIn(root)
            const there = fs.readdirSync(directory).filter(name => name.startsWith('config.db'))
            const of = (name: string) => Bun.hash(fs.readFileSync(join(directory, name)))
            if (!there.includes('config.db')) throw new Error('there is no database for pmxcfs')
            const content = of('config.db')
            if (content !== old && content !== fresh)
                throw new Error('the database is neither the old nor the new')
            for (const [index, name] of ['config.db-wal', 'config.db-shm'].entries()) {
                if (!there.includes(name)) continue
                const isOld = of(name) === oldBeside[index]
                // With the new one lies at most what a boot has written since.
                if (isOld !== (content === old)) throw new Error(`${name} is not the one of the database`)
            }
        },
        // pmxcfs starts with the new database, writes to it, and dies with what it wrote in a log.
        boot(root) {
            const path = join(directoryIn(root), 'config.db')
            if (Bun.hash(fs.readFileSync(path)) !== fresh) return undefined
            const aside = join(home, 'booted.db')
            fs.copyFileSync(path, aside)
            const booted = new Database(aside)
            booted.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0')
            booted.exec("INSERT INTO tree VALUES (90, 0, 90, 0, 1, 8, 'known_hosts', 'x')")
            for (const suffix of ['', '-wal', '-shm']) fs.copyFileSync(aside + suffix, path + suffix)
            booted.close()
            return directoryIn(root)
        },
    }
}

const host = `
mkdir -p root/etc root/var/lib/pve-cluster state saved/etc saved/var/lib/pve-cluster
chmod 700 state
printf 'root:x:0:0::/root:/bin/bash\\n' > root/etc/passwd
printf 'root:x:0:\\nshadow:x:42:\\n' > root/etc/group
printf 'root:\\$y\\$h:1::::::\\n' > root/etc/shadow; chmod 640 root/etc/shadow; chown 0:42 root/etc/shadow
printf 'anna:x:1000:1000::/home/anna:/bin/sh\\n' > saved/etc/passwd
printf 'anna:x:1000:\\n' > saved/etc/group
printf 'anna:!:1::::::\\n' > saved/etc/shadow
printf 'UUID=root / ext4 defaults 0 1\\n' > root/etc/fstab; chmod 640 root/etc/fstab
setfattr -n user.note -v live root/etc/fstab
printf 'UUID=old / ext4\\nnas:/e /mnt/e nfs rw\\n' > saved/etc/fstab
ln -s /run/nowhere root/etc/resolv.conf
printf 'nameserver 192.0.2.1\\n' > saved/etc/resolv.conf
find root saved -exec touch -h -d '2025-06-07 08:09:10.987654321' {} +
`

/** The same restore, but its last task fails: the process that did it takes it back. */
function failing(restore: Restore): Restore {
    return {
        ...restore,
        name: `${restore.name}, failing`,
        plan(base) {
            const plan = restore.plan(base)
            const fail = { id: 'fail', kind: 'test.fail', title: 'fail', params: {} }
            return { ...plan, tasks: [...plan.tasks, fail] }
        },
    }
}

function runnerFor(recorder: Recorder, worker: RunWorker): Runner {
    const root = join(recorder.base, 'root')
    const state = join(recorder.base, 'state')
    const { calls, disk } = recorder
    const runWorker: RunWorker = async (operation, params, options) => {
        const result = await worker(operation, params, options)
        recorder.adopt((params as { output: string }).output)
        return result
    }
    const store = new Store(disk, state)
    const exec = async () => ({ found: false }) as const
    const clock = new SimClock()
    const merging: MergeHost = { root, exec, systemd: undefined, clock, calls }
    const swapping: DatabaseHost = {
        ...merging,
        state,
        probe: {
            ping: async () => false,
            connect: async () => 'silent',
            resolve: async name => [name],
            own: () => new Set(),
        },
        finished: change => store.summary(change).state === 'done',
        mounted: () => new Set(),
        runWorker,
        calls,
    }
    const fail: TaskKind = {
        kind: 'test.fail',
        async do() {
            throw new Fault('failed', 'cannot go on: the test says so')
        },
        async undo() {},
    }
    const files: RestoreHost = {
        ...{ root, state, runWorker, calls, finished: swapping.finished },
        identity: () => undefined,
    }
    const kinds = registerFileTasks(new TaskKinds(), files)
        .register(restoreMerge(merging))
        .register(restoreDatabase(swapping))
        .register(fail)
    // With a clock that stands still and ids that repeat, a seed plays the same history again.
    return new Runner({ store, kinds, clock, random: seeded(1).bytes })
}
