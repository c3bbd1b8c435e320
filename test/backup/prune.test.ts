/** Pruning: whose archives are judged, what the guards save from the rules, and the plan that comes out. */
import { describe, expect, test } from 'bun:test'
import {
    type PruneArchive,
    type PruneRequest,
    planPrune,
    pruneChange,
    refuseBlocked,
} from '../../src/backup/prune.ts'
import { parseKeep } from '../../src/core/retention.ts'
import type { Manifest } from '../../src/format/manifest.ts'

const now = Date.UTC(2026, 10, 20, 12)
const day = 86_400_000

function archive(ageDays: number, changes: Partial<Manifest> = {}): PruneArchive {
    const created = new Date(now - ageDays * day).toISOString()
    const manifest = {
        id: `${Math.round(ageDays * 1000) & 0xffffffff}`.padStart(12, '0').slice(-12),
        created,
        sequence: 1000 - Math.round(ageDays),
        host: { id: 'me', name: 'pve1' },
        ...changes,
    } as Manifest
    return { name: `pve1_${created}`, size: 100, manifest }
}

function plan(archives: PruneArchive[], keep: string, changes: Partial<PruneRequest> = {}) {
    return planPrune({
        target: 'local',
        archives,
        keep: parseKeep(keep),
        minKeep: 1,
        hostId: 'me',
        hasPublished: true,
        nowMs: now,
        timeZone: 'UTC',
        verified: new Set(),
        ...changes,
    })
}

const verdicts = (result: ReturnType<typeof plan>) => result.decisions.map(decision => decision.verdict)
const reasons = (result: ReturnType<typeof plan>) => result.decisions.map(decision => decision.reason)

describe('the rules', () => {
    test('say by which one an archive stays', () => {
        const result = plan(
            [4, 0, 2, 1, 3].map(age => archive(age)),
            'keep-last=1,keep-daily=2',
        )
        expect(reasons(result)).toEqual([
            'keep-last 1',
            'keep-daily 1',
            'keep-daily 2',
            'no rule keeps it',
            'no rule keeps it',
        ])
        expect(result.blocked).toBeUndefined()
    })

    test('see local days', () => {
        const late = archive((now - Date.UTC(2026, 10, 18, 23, 30)) / day)
        const noon = archive((now - Date.UTC(2026, 10, 18, 12)) / day)
        expect(verdicts(plan([late, noon], 'keep-daily=5'))).toEqual(['keep', 'remove'])
        expect(verdicts(plan([late, noon], 'keep-daily=5', { timeZone: 'Europe/Vienna' }))).toEqual([
            'keep',
            'keep',
        ])
    })

    test('take two archives of one second for two, the later one first', () => {
        const first = { ...archive(1, { sequence: 7 }), name: 'a' }
        const second = { ...archive(1, { sequence: 8 }), name: 'a-2' }
        const judged = (keep: string) =>
            plan([first, second], keep).decisions.map(({ name, verdict }) => [name, verdict])
        expect(judged('keep-last=5')).toEqual([
            ['a-2', 'keep'],
            ['a', 'keep'],
        ])
        expect(judged('keep-last=1')).toEqual([
            ['a-2', 'keep'],
            ['a', 'remove'],
        ])
    })

    test('that keep all remove nothing', () => {
        expect(verdicts(plan([archive(0), archive(900)], 'keep-all=1'))).toEqual(['keep', 'keep'])
    })
})

describe('what no rule may remove', () => {
    test('other hosts: shown, never touched, in no slot', () => {
        const foreign = archive(0, { host: { id: 'you', name: 'pve2' } })
        const result = plan([foreign, archive(1), archive(2)], 'keep-last=1')
        expect(verdicts(result)).toEqual(['foreign', 'keep', 'remove'])
        expect(result.decisions[0]!.reason).toStartWith('of the host pve2, id ')
    })

    test('another host of the same name', () => {
        const clone = archive(5, { host: { id: 'clone', name: 'pve1' } })
        expect(verdicts(plan([archive(0), clone], 'keep-last=1'))).toEqual(['keep', 'foreign'])
    })

    test('archives from the future: reported, and in no slot', () => {
        const result = plan([archive(-400), archive(0), archive(1)], 'keep-last=1')
        expect(verdicts(result)).toEqual(['suspect', 'keep', 'remove'])
        expect(result.decisions[0]!.reason).toStartWith('its time is in ')
        // Less than an hour is the usual drift of a clock.
        expect(verdicts(plan([archive(-0.04), archive(1)], 'keep-last=1'))).toEqual(['keep', 'remove'])
    })

    test('unreadable manifests and impossible times', () => {
        const broken: PruneArchive = { name: 'x', size: 1, manifest: undefined, problem: 'it is truncated' }
        const odd = archive(1, { created: 'yesterday' })
        const result = plan([broken, odd, archive(0)], 'keep-last=1')
        expect(verdicts(result)).toEqual(['keep', 'unreadable', 'unreadable'])
        expect(reasons(result)).toContain('it is truncated')
    })

    test('pinned archives, which use no slot', () => {
        const result = plan([archive(0, { pinned: true }), archive(1), archive(2)], 'keep-last=1')
        expect(verdicts(result)).toEqual(['pinned', 'keep', 'remove'])
    })

    test('the newest few', () => {
        const archives = [0, 1, 2, 3].map(age => archive(age))
        const result = plan(archives, 'keep-last=1', { minKeep: 3 })
        expect(reasons(result)).toEqual([
            'keep-last 1',
            'one of the newest 3',
            'one of the newest 3',
            'no rule keeps it',
        ])
        // The floor is no extra: where the rules keep enough it changes nothing.
        expect(verdicts(plan(archives, 'keep-last=3', { minKeep: 2 }))).toEqual([
            'keep',
            'keep',
            'keep',
            'remove',
        ])
    })

    test('the newest verified one, and only that', () => {
        const archives = [0, 1, 2, 3].map(age => archive(age))
        const verified = new Set([archives[2]!.manifest!.id, archives[3]!.manifest!.id])
        const result = plan(archives, 'keep-last=1', { verified })
        expect(reasons(result)).toEqual([
            'keep-last 1',
            'no rule keeps it',
            'newest verified backup',
            'no rule keeps it',
        ])
    })
})

describe('a prune is held back', () => {
    test('where this host never published', () => {
        const result = plan([archive(0), archive(1)], 'keep-last=1', { hasPublished: false })
        expect(verdicts(result)).toEqual(['keep', 'keep'])
        expect(() => refuseBlocked([result])).toThrow('cannot prune local: this host never published')
    })

    test('when it would remove more than max-prune, until it is confirmed', () => {
        const archives = [0, 1, 2, 3].map(age => archive(age))
        const held = plan(archives, 'keep-last=1', { maxPrune: 2 })
        expect(verdicts(held)).not.toContain('remove')
        expect(held.blocked?.why).toBe('3 removals at once are more than max-prune = 2')
        expect(verdicts(plan(archives, 'keep-last=1', { maxPrune: 3 }))).toContain('remove')
        expect(verdicts(plan(archives, 'keep-last=1', { maxPrune: 2, confirmed: true }))).toContain('remove')
    })
})

describe('the plan', () => {
    test('names each archive, its age and the reason, oldest first', () => {
        const change = pruneChange(
            [plan([archive(0), archive(1), archive(3)], 'keep-last=1'), { target: 'usb', decisions: [] }],
            'root@pts/0',
            now,
        )!
        expect(change).toMatchObject({
            kind: 'prune',
            summary: 'remove 2 backups from local',
            by: 'root@pts/0',
            recovery: 'resume',
            facts: { removed: 2, bytes: 200 },
        })
        expect(change.tasks.map(task => task.title)).toEqual([
            'remove pve1_2026-11-17T12:00:00.000Z from local, 3 days ago: no rule keeps it',
            'remove pve1_2026-11-19T12:00:00.000Z from local, 24 h ago: no rule keeps it',
        ])
        expect(change.tasks.map(task => task.kind)).toEqual(['archive.remove', 'archive.remove'])
        expect(new Set(change.tasks.map(task => task.id)).size).toBe(2)
    })

    test('is none when nothing is to be removed', () => {
        expect(pruneChange([plan([archive(0)], 'keep-last=1')], 'timer', now)).toBeUndefined()
    })
})

test('whatever the rules, a target with archives of ours is never emptied', () => {
    for (let seed = 0; seed < 200; seed++) {
        const archives = Array.from({ length: 1 + (seed % 7) }, (_, index) =>
            archive(((seed * 7919 + index * 104729) % 4000) / 10),
        )
        const keep = `keep-last=${seed % 3},keep-yearly=${seed % 2}`
        const result = plan(archives, keep, { minKeep: 1 + (seed % 2) })
        expect(verdicts(result).filter(verdict => verdict === 'keep').length).toBeGreaterThanOrEqual(
            Math.min(archives.length, 1 + (seed % 2)),
        )
    }
})
