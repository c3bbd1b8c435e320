/** Bytes, durations and ages as people write and read them. */
import { Fault } from './errors.ts'

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** "0 B", "512 B", "1.2 GiB", "340 MiB": two digits that matter below 10, whole numbers from there on. */
export function showSize(bytes: number): string {
    let value = Math.max(0, bytes)
    let unit = 0
    // 1023.5 would be shown as "1024 MiB": the next unit says it better.
    while (value >= 1023.5 && unit < byteUnits.length - 1) {
        value /= 1024
        unit++
    }
    const digits = unit > 0 && value < 9.95 ? 1 : 0
    return `${value.toFixed(digits)} ${byteUnits[unit]}`
}

const sizes: Record<string, number> = { '': 1, B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** "512", "64K", "1.5 GiB", "10M" in bytes; units are powers of 1024, as in every Proxmox configuration. */
export function parseSize(text: string): number {
    const match = /^\s*(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?)(?:i?B)?\s*$/i.exec(text)
    const bytes = match && Math.round(Number(match[1]) * sizes[match[2]!.toUpperCase()]!)
    if (bytes === null || bytes === undefined || !Number.isSafeInteger(bytes))
        throw new Fault('usage', `cannot read the size "${text}": expected something like 512M or 1.5 GiB`)
    return bytes
}

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const durationUnits: Record<string, number> = {
    ms: 1,
    s: second,
    sec: second,
    m: minute,
    min: minute,
    h: hour,
    hr: hour,
    d: day,
    day: day,
    days: day,
    w: 7 * day,
}

/**
 * "180s", "5min", "1h30m", "2 d" in milliseconds. A bare number is refused: seconds in one program are minutes in
 * another.
 */
export function parseDuration(text: string): number {
    const compact = text.trim().replaceAll(/\s+/g, '')
    const part = /(\d{1,9})([a-z]+)/gy
    let total = 0
    let at = 0
    let smallest = Number.POSITIVE_INFINITY
    while (at < compact.length) {
        part.lastIndex = at
        const match = part.exec(compact)
        const unit = match && durationUnits[match[2]!]
        // Each unit once and downwards: "30m1h" and "5s5s" are slips, not durations.
        if (!match || !unit || unit >= smallest) break
        total += Number(match[1]) * unit
        smallest = unit
        at = part.lastIndex
    }
    if (compact === '' || at < compact.length || !Number.isSafeInteger(total))
        throw new Fault(
            'usage',
            `cannot read the duration "${text}": expected something like 180s, 5min or 1h30m`,
        )
    return total
}

/** A duration that `parseDuration` reads back: "180 s" becomes "3min", 5,400,000 ms become "1h30min". */
export function showDuration(ms: number): string {
    if (ms > 0 && ms < second) return `${Math.round(ms)}ms`
    let rest = Math.round(Math.max(0, ms) / second)
    let text = ''
    for (const [unit, length] of [
        ['d', day],
        ['h', hour],
        ['min', minute],
        ['s', second],
    ] as const) {
        const count = Math.floor(rest / (length / second))
        rest -= count * (length / second)
        if (count > 0) text += `${count}${unit}`
    }
    return text === '' ? '0s' : text
}

/** How long ago (or ahead) a moment is, in the one unit that matters: "just now", "3 h ago", "in 5 min". */
export function showAge(thenMs: number, nowMs: number): string {
    const distance = Math.abs(nowMs - thenMs)
    if (distance < 10 * second) return 'just now'
    const text = span(distance)
    return thenMs <= nowMs ? `${text} ago` : `in ${text}`
}

function span(ms: number): string {
    if (ms < 90 * second) return `${Math.round(ms / second)} s`
    if (ms < 90 * minute) return `${Math.round(ms / minute)} min`
    if (ms < 36 * hour) return `${Math.round(ms / hour)} h`
    if (ms < 60 * day) return `${Math.round(ms / day)} days`
    if (ms < 730 * day) return `${Math.round(ms / (30.44 * day))} months`
    return `${Math.round(ms / (365.25 * day))} years`
}

/** "1 backup", "3 backups": the number and its noun. */
export function count(number: number, noun: string, plural = `${noun}s`): string {
    return `${number} ${number === 1 ? noun : plural}`
}
