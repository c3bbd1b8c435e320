/** The journal: what is appended is read back, and what was torn is cut off. */
import { describe, expect, test } from 'bun:test'
import { Journal, JournalReader } from '../../src/engine/journal.ts'
import { SimDisk } from '../sim/disk.ts'
import { seeded } from '../sim/random.ts'

const path = '/state/journal'

function fresh(): SimDisk {
    const sim = new SimDisk(seeded(7))
    sim.disk.mkdir('/state', 0o700)
    return sim
}

function readAll(sim: SimDisk): unknown[] {
    const reader = new JournalReader(sim.disk, path)
    const records: unknown[] = []
    for (let record = reader.next(); record !== undefined; record = reader.next()) records.push(record)
    return records
}

describe('journal', () => {
    test('gives back what was appended, in order, whatever the size', () => {
        const sim = fresh()
        const journal = new Journal(sim.disk, path)
        const records = [1, 'two', { three: 'x'.repeat(200_000) }, [null], 'ü'.repeat(40_000)]
        journal.append(records.slice(0, 2))
        journal.append(records.slice(2))
        expect(readAll(sim)).toEqual(records)
        expect(journal.size).toBe(sim.bytes(path).length)
    })

    test('is empty after a power loss before the first append, and has its name', () => {
        const sim = fresh()
        new Journal(sim.disk, path)
        sim.losePower()
        expect(sim.disk.exists(path)).toBe(true)
        expect(readAll(sim)).toEqual([])
    })

    test('what append returned from survives every power loss', () => {
        for (let seed = 0; seed < 50; seed++) {
            const sim = new SimDisk(seeded(seed))
            sim.disk.mkdir('/state', 0o700)
            const journal = new Journal(sim.disk, path)
            journal.append(['kept', { also: 'kept' }])
            sim.losePower()
            expect(readAll(sim)).toEqual(['kept', { also: 'kept' }])
        }
    })

    test('truncated at any byte it gives the whole records before, and can go on', () => {
        const sim = fresh()
        const journal = new Journal(sim.disk, path)
        const ends = [0]
        for (const record of ['first', 'second', 'third']) {
            journal.append([record])
            ends.push(journal.size)
        }
        const whole = sim.bytes(path)
        for (let size = 0; size <= whole.length; size++) {
            sim.putBytes(path, whole.slice(0, size))
            const kept = ends.filter(end => end > 0 && end <= size).length
            expect(readAll(sim)).toEqual(['first', 'second', 'third'].slice(0, kept))
            new Journal(sim.disk, path).append(['more'])
            expect(readAll(sim)).toEqual([...['first', 'second', 'third'].slice(0, kept), 'more'])
        }
    })

    test('a flipped bit ends it there', () => {
        const sim = fresh()
        const journal = new Journal(sim.disk, path)
        journal.append(['first'])
        const first = journal.size
        journal.append(['second'])
        const whole = sim.bytes(path)
        for (let at = first; at < whole.length; at++) {
            const damaged = whole.slice()
            damaged[at]! ^= 1
            sim.putBytes(path, damaged)
            expect(readAll(sim)).toEqual(['first'])
        }
    })

    test('a reader of a live journal stops where it is durable, and goes on when it grew', () => {
        const sim = fresh()
        const journal = new Journal(sim.disk, path)
        const reader = new JournalReader(sim.disk, path)
        journal.append(['first'])
        const size = journal.size
        journal.append(['second'])
        expect(reader.next(size)).toBe('first')
        expect(reader.next(size)).toBeUndefined()
        expect(reader.next(journal.size)).toBe('second')
    })

    for (const what of ['ENOSPC', 'EIO'] as const)
        test(`an append that meets ${what} leaves nothing behind, and the next one works`, () => {
            for (let at = 1; at <= 2; at++) {
                const sim = fresh()
                const journal = new Journal(sim.disk, path)
                journal.append(['before'])
                sim.inject({ at, what })
                let failed = false
                try {
                    journal.append(['lost'])
                } catch (error) {
                    failed = true
                    expect((error as Error).message).toStartWith('cannot write the journal')
                }
                sim.inject(undefined)
                journal.append(['after'])
                sim.losePower()
                expect(readAll(sim)).toEqual(failed ? ['before', 'after'] : ['before', 'lost', 'after'])
            }
        })

    test('knows that a failed append which cannot be cut off leaves open what is on the disk', () => {
        const sim = new SimDisk(seeded(8))
        sim.disk.mkdir('/state', 0o700)
        const journal = new Journal(sim.disk, path)
        // The first call is the write, the second the sync.
        sim.inject({ at: 2, what: 'EIO', forGood: true })
        expect(() => journal.append(['open'])).toThrow()
        expect(journal.uncertain).toBe(true)
        sim.inject(undefined)
        journal.append(['certain'])
        expect(journal.uncertain).toBe(false)
        expect(readAll(sim)).toEqual(['certain'])
    })

    test('an append that failed half-way leaves none of its records', () => {
        for (let seed = 0; seed < 50; seed++) {
            const sim = new SimDisk(seeded(seed))
            sim.disk.mkdir('/state', 0o700)
            const journal = new Journal(sim.disk, path)
            sim.inject({ at: 1, what: 'ENOSPC', forGood: true })
            expect(() => journal.append(['one', 'two', 'three'])).toThrow('ENOSPC')
            expect(journal.uncertain).toBe(false)
            expect(readAll(sim)).toEqual([])
        }
    })

    test('refuses a record above the limit before it writes anything', () => {
        const sim = fresh()
        const journal = new Journal(sim.disk, path)
        expect(() => journal.append(['x'.repeat(64 * 1024 * 1024)])).toThrow('too large')
        expect(sim.bytes(path).length).toBe(0)
    })

    test('nothing is written by a dead process', () => {
        const sim = fresh()
        const journal = new Journal(sim.disk, path)
        sim.kill()
        expect(() => journal.append(['late'])).toThrow('dead')
        expect(readAll(sim)).toEqual([])
    })
})
