/**
 * Restores of files, merged tables and the cluster database that lose power anywhere, and again while they recover: the
 * tree is whole-old or whole-new, and the journal says which. PROXSAVE_SIM sets the number of histories (each has one to
 * four power losses), PROXSAVE_SIM_SEED the first seed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { isRoot } from '../backup/lab.ts'
import { Outages, type Recorded } from './outage.ts'
import type { Sabotage } from './recorder.ts'
import { makeRestores, type Restore } from './restores.ts'

if (!isRoot) console.log('skip: a restore needs root')

const wanted = Number(process.env.PROXSAVE_SIM ?? 300)
const firstSeed = Number(process.env.PROXSAVE_SIM_SEED ?? 1)

describe.if(isRoot)('a restore that loses power', () => {
    let restores: Restore[]
    let remove: () => void
    let outages: Outages

    beforeAll(async () => {
        const made = await makeRestores()
        restores = made.restores
        remove = made.remove
        outages = new Outages()
    }, 60_000)
    afterAll(async () => {
        await outages?.end()
        remove?.()
    })

    /** Each restore, on one file system and on two. */
    async function records(sabotage?: Sabotage, only = restores): Promise<Recorded[]> {
        const found: Recorded[] = []
        for (const restore of only)
            for (const split of [false, true]) found.push(await outages.record(restore, { split, sabotage }))
        return found
    }

    async function playMany(all: readonly Recorded[], count: number, seed: number) {
        for (let played = 0; played < count; played++, seed++) {
            const record = all[seed % all.length]!
            try {
                await outages.play(record, seed)
            } catch (error) {
                const where = `${record.restore.name}${record.options.split ? ' on two file systems' : ''}`
                return { played, fault: `seed ${seed} (${where}): ${(error as Error).message}` }
            }
        }
        return { played: count, fault: undefined }
    }

    test(
        'is whole-old or whole-new after it, metadata and all, and leaves nothing behind',
        async () => {
            const { played, fault } = await playMany(await records(), wanted, firstSeed)
            const { losses, old, new: fresh, nothing } = outages.counts
            console.log(
                `power simulation: ${played} histories from seed ${firstSeed}, ${losses} power losses; ${old} taken back, ${fresh} there, ${nothing} never begun${fault ? `; FAILED ${fault}` : ''}`,
            )
            expect(fault).toBeUndefined()
        },
        60_000 + wanted * 200,
    )

    /** The witness is only worth what it finds: with a sync taken out, some history must fail. */
    const sabotages: [name: string, only: 'files' | 'host', sabotage: Sabotage][] = [
        ['the sync of a file before its rename', 'files', (call, path) => call === 'file' && inRoot(path)],
        [
            'the sync of directories behind a rename',
            'files',
            (call, path) => call === 'directory' && inRoot(path),
        ],
        [
            'the sync of merged files',
            'host',
            (call, path) => call === 'file' && path.startsWith('/root/etc/'),
        ],
        [
            'the sync of the directory of merged files',
            'host',
            (call, path) => call === 'directory' && path === '/root/etc',
        ],
        ['the sync of the database', 'host', (call, path) => call === 'file' && inDatabase(path)],
        [
            'the sync of the directory of the database',
            'host',
            (call, path) => call === 'directory' && inDatabase(path),
        ],
        [
            'the sync of what a snapshot holds',
            'files',
            (call, path) => call === 'disk' && path.endsWith('/undo/snapshot'),
        ],
        [
            'the sync of what the snapshot of a merge holds',
            'host',
            (call, path) => call === 'disk' && path.includes('/undo/merge-'),
        ],
        [
            'the sync of what the snapshot of the database holds',
            'host',
            (call, path) => call === 'disk' && path.includes('/undo/database-'),
        ],
        [
            'the sync of the index of a snapshot',
            'files',
            (call, path) => call === 'file' && path.endsWith('/index.new'),
        ],
        [
            'the sync of the directory of a snapshot',
            'files',
            (call, path) => call === 'directory' && path.endsWith('/undo/snapshot'),
        ],
        ['the sync of the journal', 'host', (call, path) => call === 'file' && path.endsWith('/journal')],
        [
            'the sync of what a task remembers',
            'files',
            (call, path) => call === 'file' && path.includes('/.remembered'),
        ],
        [
            'the sync of directories of the state',
            'host',
            (call, path) => call === 'directory' && path.startsWith('/state'),
        ],
    ]

    test('never leaves the new database beside the log of the old one', async () => {
        const host = restores.find(({ name }) => name === 'host')!
        const record = await outages.record(host, { split: false })
        const removed = record.steps.findIndex(
            step => step.step === 'names' && step.edits.some(({ name }) => name === 'config.db-wal'),
        )
        const lookAt = (one: Recorded) => {
            for (let at = removed; at < removed + 17; at++)
                for (let seed = 1; seed <= 12; seed++) outages.look(one, at, seed)
        }
        lookAt(record)
        const sync = record.steps.findIndex(({ step }, at) => at > removed && step === 'sync')
        expect(() => lookAt({ ...record, steps: record.steps.filter((_, at) => at !== sync) })).toThrow(
            'is not the one of the database',
        )
    }, 60_000)

    for (const [name, only, sabotage] of sabotages)
        test(`fails without ${name}`, async () => {
            const { played, fault } = await playMany(
                await records(
                    sabotage,
                    restores.filter(restore => restore.name === only),
                ),
                400,
                1,
            )
            console.log(`without ${name}: ${played} histories, then ${fault}`)
            expect(fault).toBeDefined()
        }, 120_000)
})

const inRoot = (path: string) => path.startsWith('/root/')
const inDatabase = (path: string) => path.startsWith('/root/var/lib/pve-cluster')
