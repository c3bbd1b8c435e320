/** What no backup ever holds, whichever categories are chosen and whatever the configuration includes. */

export const neverSaved: readonly string[] = [
    // The private age identity, and what an editor leaves of it. A protected one travels beside the data, as a member of
    // the bundle.
    '/etc/proxsave/*identity.*',
    // State, signing key, journal, undo material and frame cache: saving them would grow with every run.
    '/var/lib/proxsave/',
    // The archives themselves.
    '/var/backups/proxsave/',
    '/proc/',
    '/sys/',
    '/dev/',
    '/run/',
]
