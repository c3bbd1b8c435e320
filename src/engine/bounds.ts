/** Bounds of the engine that are not in core/limits.ts, each with its reason. */

export const bounds = {
    /** Log lines wait this long (ms) for a record that is synced anyway, and for followers to see them. */
    logDelayMs: 250,
    /** … and no longer than until this many wait. */
    logLines: 256,
    /** A line of the log; the rest of a longer one is cut. */
    logLineBytes: 4096,
    /** The newest changes stay with all that their undo needs, whatever the configuration says. */
    keptAlways: 10,
    /** What one task may remember for its undo; larger material belongs into files below `dir`. */
    rememberedBytes: 64 * 1024 * 1024,
    /** Ids of one second are four random digits; a free one is found at once. */
    idTries: 32,
    /** Candidates that an ambiguous prefix names. */
    namedCandidates: 5,
} as const
