/** A guard that is being made: it is no choice of anybody yet, and its directory must not look like one that was confirmed. */
import type { GuardDirectory } from './record.ts'

/** Nothing in it says that it ever was armed. */
export const isUnarmed = (guard: GuardDirectory): boolean =>
    guard.state() === 'DISARMED' && guard.applied() === undefined && guard.confirmed() === undefined
