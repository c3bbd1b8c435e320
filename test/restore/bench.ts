/** A host whose tree differs from its backup in every way a restore must deal with, and runners whose calls can fail. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { OwnArchive } from '../../src/archive/own.ts'
import type { ChangeSummary, EndEvent, Plan, PlannedTask } from '../../src/engine/change.ts'
import { type TaskKind, TaskKinds } from '../../src/engine/kinds.ts'
import { Runner, type StartOptions } from '../../src/engine/runner.ts'
import { Store } from '../../src/engine/store.ts'
import type { RunWorker } from '../../src/engine/worker.ts'
import { systemClock } from '../../src/host/clock.ts'
import { type AppendFile, type Disk, realDisk } from '../../src/host/disk.ts'
import { type PlaceCalls, placeCalls } from '../../src/host/place.ts'
import { withTimers } from '../../src/host/timer.ts'
import type { RestoreHost } from '../../src/restore/host.ts'
import type { SurveyRow } from '../../src/restore/survey.ts'
import { tasksOf } from '../../src/restore/strategies.ts'
import { registerFileTasks } from '../../src/restore/tasks.ts'
import type { FileAction } from '../../src/restore/types.ts'
import { archiveStage, type UnpackParams } from '../../src/restore/unpack.ts'
import { Lab, run } from '../backup/lab.ts'

/** The tree when it was saved, then what became of it since; bash, so that no code of the product makes it. */
const saved = `
mkdir -p tree/dir/inner tree/becomes-file tree/was-dir tree/sub
echo same > tree/same
echo old > tree/changed; chmod 640 tree/changed; chown 1:2 tree/changed
echo lost > tree/lost
echo deep > tree/dir/inner/deep; chmod 2750 tree/dir; chown 3:4 tree/dir
ln -s same tree/link
ln -s nowhere tree/lost-link
echo plain > tree/is-dir-now
echo x > tree/was-dir/child
ln -s /etc/hostname tree/link-is-dir-now
mkdir tree/dir-is-link-now; echo y > tree/dir-is-link-now/y
echo one > tree/hard1; ln tree/hard1 tree/hard2; ln tree/hard1 tree/sub/hard3
echo caps > tree/caps; chmod 755 tree/caps; setcap cap_net_raw+ep tree/caps
echo acl > tree/acl; setfacl -m u:1000:rw tree/acl; setfattr -n user.note -v saved tree/acl
mkdir tree/inherits; setfacl -d -m u:1000:r tree/inherits; echo new > tree/inherits/plain; setfacl -b tree/inherits/plain
truncate -s 3M tree/sparse; printf data | dd of=tree/sparse bs=1 seek=2000000 conv=notrunc status=none
echo odd > tree/$'odd \\xff\\xfe name'
echo a > tree/pair-a; echo b > tree/pair-b
echo o > tree/outside-a
echo mode > tree/mode; chmod 600 tree/mode
find tree -exec touch -h -d '2024-02-03 04:05:06.123456789' {} +
`
const since = `
echo changed since > tree/changed; chmod 600 tree/changed; chown 0:0 tree/changed
rm tree/lost tree/lost-link; rm -r tree/dir
ln -sfn elsewhere tree/link
rm tree/is-dir-now; mkdir tree/is-dir-now; chmod 711 tree/is-dir-now; echo in > tree/is-dir-now/in
rm -r tree/was-dir; echo file > tree/was-dir
rm tree/link-is-dir-now; mkdir tree/link-is-dir-now
rm -r tree/dir-is-link-now; ln -s sub tree/dir-is-link-now
rm tree/hard2 tree/sub/hard3; echo two > tree/hard2; echo three > tree/sub/hard3
setcap -r tree/caps; echo more >> tree/caps
setfattr -n user.note -v live tree/acl; setfacl -b tree/acl; setfattr -n user.other -v x tree/acl
rm tree/inherits/plain
echo sparse no more > tree/sparse
echo odder > tree/$'odd \\xff\\xfe name'
rm tree/pair-b; echo both > tree/pair-a; ln tree/pair-a tree/pair-b
echo outside > tree/outside-a; ln tree/outside-a tree/outside-b
chmod 644 tree/mode
echo extra > tree/extra; setfattr -n user.extra -v 1 tree/extra
mkdir -p tree/extras/more; echo z > tree/extras/more/z; ln -s z tree/extras/more/link; chmod 700 tree/extras
find tree -exec touch -h -d '2025-06-07 08:09:10.987654321' {} +
touch -d '2025-01-01 00:00:00.5' tree tree/sub
`
const removals: [string, FileAction['type']][] = [
    ['tree/is-dir-now/in', 'file'],
    ['tree/extra', 'file'],
    ['tree/extras/more/z', 'file'],
    ['tree/extras/more/link', 'symlink'],
    ['tree/extras/more', 'directory'],
    ['tree/extras', 'directory'],
]

export class RestoreBench {
    readonly lab: Lab
    readonly archive: string
    readonly rows: SurveyRow[]

    private constructor(lab: Lab, archive: string, rows: SurveyRow[]) {
        this.lab = lab
        this.archive = archive
        this.rows = rows
    }

    /** Ready to be restored, in two categories. */
    static async begin(): Promise<RestoreBench> {
        const lab = new Lab()
        const shell = (script: string) => run(['bash', '-ec', `cd '${lab.root}'; umask 022; ${script}`])
        await shell(saved)
        const { path } = await lab.save()
        await shell(since)
        const archive = await OwnArchive.open(path, undefined)
        const entries = (await archive.entries()).filter(entry => entry.path.startsWith('tree'))
        archive.close()
        const rows = ['first', 'second'].map(id => row(id))
        const put = (index: number, path: string, action: FileAction['action'], type: FileAction['type']) =>
            rows[index]!.actions.push({
                path: `/${path}`,
                bytes: path,
                action,
                type,
                category: rows[index]!.id,
            })
        // Directories that are not listed come along with what lies in them.
        const implied = new Set(['tree/same', 'tree/dir/inner', 'tree/sub'])
        let number = 0
        for (const { path, type } of entries) {
            if (implied.has(path)) continue
            const half = path.startsWith('tree/hard') || path.startsWith('tree/sub') ? 0 : number++ % 2
            put(half, path, 'replace', type)
        }
        for (const [path, type] of removals) put(path.startsWith('tree/is-dir') ? 0 : 1, path, 'remove', type)
        // What empties a directory and what takes its place is one task's work.
        for (const one of rows[1]!.actions.filter(({ bytes }) => bytes === 'tree/is-dir-now')) {
            rows[1]!.actions.splice(rows[1]!.actions.indexOf(one), 1)
            rows[0]!.actions.push(one)
        }
        return new RestoreBench(lab, path, rows)
    }

    get root(): string {
        return this.lab.root
    }

    get state(): string {
        return this.lab.state
    }

    plan(more: Partial<Plan> = {}): Plan {
        return { kind: 'restore', summary: 'restore', by: 'test', tasks: this.tasks(), ...more }
    }

    tasks(): PlannedTask[] {
        return tasksOf({
            archive: this.archive,
            rows: this.rows,
            units: [],
            startOrder: [],
            needs: { bytes: 1, inodes: 1 },
        })
    }

    runner(options: { calls?: PlaceCalls; disk?: Disk } = {}): Runner {
        const { calls, disk } = options
        return runnerOn({ root: this.root, state: this.state, calls, disk })
    }

    changes(): ChangeSummary[] {
        return new Store(realDisk(), this.state).list()
    }

    /** Forgets all changes. */
    forget(): void {
        rmSync(join(this.state, 'changes'), { recursive: true, force: true })
    }

    remove(): void {
        this.lab.remove()
    }
}

function row(id: string): SurveyRow {
    return {
        id,
        title: id,
        strategy: 'replace',
        action: 'replace',
        entries: 0,
        bytes: 0,
        actions: [],
        exported: [],
    }
}

/** The worker's operation in this process. */
export const workHere: RunWorker = (operation, params, options) => {
    if (operation !== 'archive.stage') throw new Error(operation)
    return archiveStage(params as unknown as UnpackParams, {
        progress() {},
        warn() {},
        item() {},
        signal: options?.signal,
    })
}

export interface RunnerParts {
    root: string
    state: string
    calls?: PlaceCalls
    disk?: Disk
    host?: Partial<RestoreHost>
    more?: TaskKind[]
}

export function runnerOn({ root, state, calls, disk = realDisk(), host, more = [] }: RunnerParts): Runner {
    const store = new Store(disk, state)
    const kinds = registerFileTasks(new TaskKinds(), {
        root,
        state,
        runWorker: workHere,
        identity: () => undefined,
        finished: change => store.summary(change).state === 'done',
        calls,
        ...host,
    })
    for (const kind of more) kinds.register(kind)
    const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes))
    return new Runner({ store, kinds, clock: withTimers(systemClock), random })
}

export async function restoreOn(runner: Runner, plan: Plan, options: StartOptions = {}): Promise<EndEvent> {
    await runner.recover()
    return runner.wait(runner.start(plan, options))
}

export async function undoOn(runner: Runner, id: string, options: StartOptions = {}): Promise<EndEvent> {
    return runner.wait(runner.undo(id, 'test', options))
}

/** What happens at the n-th call: the process is gone from there on, or the call fails. */
export type Trouble =
    | { kind: 'crash'; at: number }
    | { kind: 'fail'; at: number; code: string; fromThenOn?: (call: string) => boolean }

export class Crash extends Error {}

/** Counts the calls that change something, and makes trouble at one of them. */
export class Troubled {
    count = 0
    dead = false
    last = ''
    readonly #trouble: Trouble | undefined

    constructor(trouble?: Trouble) {
        this.#trouble = trouble
    }

    get calls(): PlaceCalls {
        return new Proxy(placeCalls, {
            get: (target, name: keyof PlaceCalls) => {
                const call = target[name] as (...args: unknown[]) => unknown
                return (...args: unknown[]) => this.#meet(name, () => call(...args), args)
            },
        })
    }

    /** A disk whose changing operations count as well. */
    get disk(): Disk {
        const disk = realDisk()
        const changing = new Set(['mkdir', 'append', 'replace', 'rename', 'remove', 'removeTree', 'syncAll'])
        return new Proxy(disk, {
            get: (target, name: keyof Disk) => {
                const call = target[name] as (...args: unknown[]) => unknown
                if (!changing.has(name)) return call.bind(target)
                return (...args: unknown[]) => {
                    const value = this.#meet(`disk.${name}`, () => call.apply(target, args), [])
                    return name === 'append' ? this.#appending(value as AppendFile) : value
                }
            },
        })
    }

    #appending(file: AppendFile): AppendFile {
        return {
            append: bytes => void this.#meet('disk.write', () => file.append(bytes), []),
            truncate: size => void this.#meet('disk.truncate', () => file.truncate(size), []),
            sync: () => void this.#meet('disk.sync', () => file.sync(), []),
            close: () => file.close(),
        }
    }

    #meet(name: string, act: () => unknown, args: unknown[]): unknown {
        if (this.dead) throw new Crash('dead')
        this.count++
        const trouble = this.#trouble
        if (trouble === undefined) return act()
        if (trouble.kind === 'crash') {
            if (this.count < trouble.at) return act()
            this.dead = true
            this.last = name
            // Half of what was to be written is there.
            if (name === 'write' && trouble.at % 2 === 0) {
                const [fd, bytes, offset] = args as [number, Uint8Array, number]
                placeCalls.write(fd, bytes.subarray(0, bytes.length >> 1), offset)
            }
            throw new Crash('crash')
        }
        const still = trouble.fromThenOn?.(name) === true && this.count > trouble.at
        if (this.count !== trouble.at && !still) return act()
        if (this.count === trouble.at) this.last = name
        if (name.startsWith('disk.')) return act()
        throw Object.assign(new Error(`${trouble.code}: ${name}`), { code: trouble.code })
    }
}
