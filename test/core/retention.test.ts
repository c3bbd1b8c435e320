/** Proxmox's prune rules: its own vectors, and what must hold for any backups. */
import { describe, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
    applyRetention,
    type Keep,
    keepRules,
    parseKeep,
    type RetentionMark,
    showKeep,
} from '../../src/core/retention.ts'

interface Vector {
    id: string
    note: string
    tz: string
    keep: Record<string, number>
    entries: { t: string; mark?: string }[]
    expect: string[]
    kept: string[]
}

const vectorFile = join(import.meta.dir, '../../../shared/vectors/retention.json')
const present = existsSync(vectorFile)
if (!present) console.log('skip: the retention vectors of ../shared are not here')

describe.skipIf(!present)('the vectors', () => {
    const vectors: Vector[] = present ? JSON.parse(readFileSync(vectorFile, 'utf8')) : []
    test('are all there', () => expect(vectors.length).toBeGreaterThanOrEqual(24))
    for (const vector of vectors)
        test(`${vector.id}: ${vector.note}`, () => {
            const entries = vector.entries.map(entry => ({
                timeMs: Date.parse(entry.t),
                protected: entry.mark === 'protected',
            }))
            const marks = applyRetention(entries, vector.keep as Keep, vector.tz)
            expect(marks.map(mark => mark.mark)).toEqual(vector.expect as RetentionMark['mark'][])
            const kept = marks.flatMap((mark, index) => {
                if (mark.mark !== 'keep' || mark.rule === 'keep-all') return []
                return [`${vector.entries[index]!.t} ${mark.rule}#${mark.nth}`]
            })
            const wanted = vector.kept.filter(line => /keep-(?!all)/.test(line))
            expect(kept.toSorted()).toEqual(wanted.toSorted())
        })
})

describe('the notation', () => {
    test('is read and written as Proxmox does', () => {
        expect(parseKeep('keep-last=3,keep-daily=7')).toEqual({ 'keep-last': 3, 'keep-daily': 7 })
        expect(parseKeep('keep-all=1')).toEqual({})
        expect(parseKeep('keep-all=0,keep-last=2')).toEqual({ 'keep-last': 2 })
        expect(showKeep(parseKeep('keep-yearly=1, keep-last=2'))).toBe('keep-last=2,keep-yearly=1')
        expect(showKeep({ 'keep-last': 0 })).toBe('keep-all=1')
    })

    test('refuses what Proxmox would refuse', () => {
        for (const text of [
            '',
            'keep-last',
            'keep-last=',
            'keep-last=-1',
            'keep-last=1.5',
            'keep-last=1,keep-last=2',
            'keep-fortnightly=2',
            'keep-all=1,keep-last=1',
            'keep-all=2',
            'keep-last=1,',
            'keep-last=9999999',
            'constructor=1',
        ])
            expect(() => parseKeep(text)).toThrow('cannot read the retention')
    })
})

/** A small generator with a seed, so that a failure can be run again. */
function randomOf(seed: number): (below: number) => number {
    let state = seed
    return below => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return Math.floor((state / 2 ** 32) * below)
    }
}

const zones = [
    'UTC',
    'Europe/Vienna',
    'Asia/Kolkata',
    'Pacific/Apia',
    'America/New_York',
    'Australia/Lord_Howe',
]

describe('for any backups', () => {
    for (let seed = 1; seed <= 60; seed++)
        test(`seed ${seed}`, () => {
            const random = randomOf(seed)
            const zone = zones[seed % zones.length]!
            const times = new Set<number>()
            const count = 1 + random(60)
            while (times.size < count)
                times.add(Date.UTC(2026, 9, 20) - random(random(2) ? 900 : 90) * 3_600_000)
            const entries = [...times].map(timeMs => ({ timeMs, protected: random(12) === 0 }))
            const keep: Keep = {}
            for (const rule of keepRules) if (random(2)) keep[rule] = random(6)
            const marks = applyRetention(entries, keep, zone)

            // Protected entries are never judged.
            expect(marks.map(mark => mark.mark === 'protected')).toEqual(
                entries.map(entry => entry.protected),
            )
            // No rule keeps more than it says.
            for (const rule of keepRules)
                expect(
                    marks.filter(mark => mark.mark === 'keep' && mark.rule === rule).length,
                ).toBeLessThanOrEqual(keep[rule] ?? 0)
            // The newest entry that is judged always survives.
            const judged = entries.filter(entry => !entry.protected)
            if (judged.length > 0) {
                const newest = Math.max(...judged.map(entry => entry.timeMs))
                expect(
                    marks[entries.findIndex(entry => entry.timeMs === newest && !entry.protected)]!.mark,
                ).toBe('keep')
            }
            // The order of the input does not matter.
            const order = entries.map((_, index) => index).sort(() => random(3) - 1)
            const shuffled = applyRetention(
                order.map(index => entries[index]!),
                keep,
                zone,
            )
            expect(shuffled).toEqual(
                order.map((index, at) => {
                    const mark = marks[index]!
                    return mark.mark === 'keep' && mark.rule === 'keep-all' ? { ...mark, nth: at + 1 } : mark
                }),
            )
            // Pruning again what was left removes nothing: a second run on the same day changes nothing.
            const left = entries.filter((_, index) => marks[index]!.mark !== 'remove')
            expect(applyRetention(left, keep, zone).every(mark => mark.mark !== 'remove')).toBe(true)
        })
})

test('ten thousand backups are judged in well under a second', () => {
    const entries = Array.from({ length: 10_000 }, (_, hour) => ({
        timeMs: 1_700_000_000_000 + hour * 3_600_000,
    }))
    const began = performance.now()
    const marks = applyRetention(entries, { 'keep-daily': 300, 'keep-monthly': 12 }, 'Europe/Vienna')
    expect(marks.filter(mark => mark.mark === 'keep').length).toBeGreaterThan(300)
    expect(performance.now() - began).toBeLessThan(5000)
})
