/** Random numbers that a seed repeats (mulberry32); good enough to choose scenarios with. */

export interface Random {
    /** A whole number from 0 to `below` - 1. */
    int(below: number): number
    chance(probability: number): boolean
    pick<T>(items: readonly T[]): T
    bytes(count: number): Uint8Array
}

export function seeded(seed: number): Random {
    let state = seed >>> 0
    const next = () => {
        state = (state + 0x6d2b79f5) >>> 0
        let mixed = state
        mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
    }
    const int = (below: number) => Math.floor(next() * below)
    return {
        int,
        chance: probability => next() < probability,
        pick: items => items[int(items.length)]!,
        bytes: count => Uint8Array.from({ length: count }, () => int(256)),
    }
}
