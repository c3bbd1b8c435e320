/** Sizes, durations and ages: what people read, and what they may write. */
import { describe, expect, test } from 'bun:test'
import { count, parseSize, parseDuration, showAge, showSize, showDuration } from '../../src/core/units.ts'

describe('bytes', () => {
    test('are shown in the unit that keeps them short', () => {
        const shown: [number, string][] = [
            [0, '0 B'],
            [512, '512 B'],
            [1023, '1023 B'],
            [1024, '1.0 KiB'],
            [10 * 1024, '10 KiB'],
            [1024 * 1024 - 1, '1.0 MiB'],
            [1_288_490_189, '1.2 GiB'],
            [2 ** 40 * 3, '3.0 TiB'],
            [2 ** 50 * 5000, '5000 PiB'],
        ]
        for (const [bytes, text] of shown) expect(showSize(bytes)).toBe(text)
    })

    test('are read with and without a unit', () => {
        expect(parseSize('512')).toBe(512)
        expect(parseSize('64K')).toBe(65536)
        expect(parseSize('1.5 GiB')).toBe(1_610_612_736)
        expect(parseSize('10mb')).toBe(10 * 2 ** 20)
    })

    test('refuse what is not a size', () => {
        for (const text of ['', 'K', '-1', '1e9', '5 parsecs', '999999999999T', '1,5G'])
            expect(() => parseSize(text)).toThrow('cannot read the size')
    })
})

describe('durations', () => {
    test('are read in units that fall', () => {
        expect(parseDuration('180s')).toBe(180_000)
        expect(parseDuration('5min')).toBe(300_000)
        expect(parseDuration('1h30m')).toBe(5_400_000)
        expect(parseDuration(' 2 d 1 h ')).toBe(49 * 3_600_000)
        expect(parseDuration('250ms')).toBe(250)
    })

    test('refuse bare numbers, repeated and rising units', () => {
        for (const text of ['', '180', '30m1h', '5s5s', '-5s', '1.5h', '5 fortnights', '1h30'])
            expect(() => parseDuration(text)).toThrow('cannot read the duration')
    })

    test('come back as they were shown', () => {
        for (const ms of [250, 1000, 59_000, 180_000, 5_400_000, 86_400_000, 90_061_000])
            expect(parseDuration(showDuration(ms))).toBe(ms)
        expect(showDuration(0)).toBe('0s')
        expect(showDuration(5_400_000)).toBe('1h30min')
    })
})

test('ages use the one unit that matters, in both directions', () => {
    const now = Date.UTC(2026, 10, 20, 12)
    const hour = 3_600_000
    expect(showAge(now - 4000, now)).toBe('just now')
    expect(showAge(now - 60_000, now)).toBe('60 s ago')
    expect(showAge(now - 5 * 60_000, now)).toBe('5 min ago')
    expect(showAge(now - 3 * hour, now)).toBe('3 h ago')
    expect(showAge(now - 50 * hour, now)).toBe('2 days ago')
    expect(showAge(now - 100 * 24 * hour, now)).toBe('3 months ago')
    expect(showAge(now - 1000 * 24 * hour, now)).toBe('3 years ago')
    expect(showAge(now + 5 * 60_000, now)).toBe('in 5 min')
})

test('a count carries its noun', () => {
    expect(count(1, 'backup')).toBe('1 backup')
    expect(count(0, 'backup')).toBe('0 backups')
    expect(count(2, 'entry', 'entries')).toBe('2 entries')
})
