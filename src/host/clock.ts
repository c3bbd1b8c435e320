/** What time it is, and how much time has passed: two different questions on a machine whose clock may be set. */
import { readFileSync } from 'node:fs'
import { boottimeNs } from './libc.ts'

export interface Clock {
    /** Wall time, milliseconds since the epoch: for names, people and retention, never for deadlines. */
    nowMs(): number
    /** Milliseconds since boot, suspend included (CLOCK_BOOTTIME): the clock of deadlines; nobody can set it. */
    bootMs(): number
    /** Names this boot: a deadline in `bootMs` of another boot has no meaning. */
    bootId(): string
    /** IANA name of the host's zone: days, weeks and months of retention are local ones. */
    timeZone(): string
}

export const systemClock: Clock = {
    nowMs: () => Date.now(),
    bootMs: () => Number(boottimeNs() / 1_000_000n),
    bootId: () => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
    timeZone: () => Intl.DateTimeFormat().resolvedOptions().timeZone,
}
