/** Every bound on a loop, a queue, a buffer, a wait or a message from outside, each with its reason. */

const KiB = 1024
const MiB = 1024 * KiB

export const limits = {
    /**
     * One zstd frame holds at most about this much tar: small enough to read one file cheaply, and the size up to which
     * zstd's level 3 searches hardest, so that frames cost 1 % of one stream's size. A larger file has frames of its own,
     * so that a log that grew costs one frame.
     */
    frameBytes: 256 * KiB,
    /** The manifest's fixed room in the file, so that it can be written last and read first. */
    manifestBytes: 256 * KiB,
    /** `blocks.sha256` has one digest for this much stored data: damage has a place. */
    blockBytes: 4 * MiB,
    /** One write to the archive: the kernel gains nothing from more. */
    writeBytes: MiB,
    /** The README and the signature of an archive are never larger than this. */
    smallMemberBytes: MiB,
    /** A protected identity that travels along: it has to fit into what a listing reads of a remote file. */
    identityBytes: 64 * KiB,
    /** The index of an archive, decompressed: about 2 million entries. */
    indexBytes: 512 * MiB,
    /** Entries and frames of one index: each costs a few hundred bytes of memory. */
    indexEntries: 2_000_000,
    /** An index unfolds to at most this many times its stored size (paths compress tenfold) … */
    indexRatio: 256,
    /** … or this much, for small ones. */
    indexGrace: 16 * MiB,
    /** A decompressed frame from an archive that someone else may have made. */
    foreignFrameBytes: 16 * MiB,
    /** Memory of a decoder of a foreign stream: `xz -9` needs 65 MiB. */
    foreignDecoderBytes: 256 * MiB,
    /** Lists that a foreign archive carries about itself: 300 000 deduplicated files. */
    foreignListBytes: 32 * MiB,
    /** Equal files up to this size are kept in memory and handed out again; larger ones cost another pass each. */
    repeatedBytes: 16 * MiB,
    /** Such passes through one archive. */
    repeatedPasses: 64,
    /** Members of a foreign bundle: four are usual. */
    bundleMembers: 16,
    /** Pax header of one entry: xattrs are at most 64 KiB each on Linux, 1 MiB together is already odd. */
    paxBytes: MiB,
    /** Paths on Linux. */
    pathBytes: 4096,
    /** Stretches of data that are listed for one sparse file; a file of more is read whole … */
    sparseExtents: 32_768,
    /** … unless its holes are larger than this together: a user could keep a backup busy for days with one file. */
    unknownHoles: 16 * 1024 * MiB,
    /** A file that changes while it is read is read again this often, then taken as it is and reported. */
    rereads: 2,
    /** Larger changing files (logs, disks) are not read again: the second reading would be no better. */
    rereadBytes: 256 * MiB,
    /** Paths that are listed by name for one category and reason in a manifest; the rest is a count. */
    reportedPaths: 50,
    /** One captured command may run this long (ms) … */
    commandMs: 20_000,
    /** … and print this much. */
    commandBytes: 16 * MiB,
    /** After a command ended or was killed, its pipes and the kernel get this long (ms); then we go on without them. */
    commandGraceMs: 2_000,
    /** All captured output of one run. */
    capturedBytes: 64 * MiB,
    /** A worker that reports nothing for this long (ms) hangs in the kernel: the run fails and says where. */
    workerSilenceMs: 600_000,
    /** A request body at the socket. */
    requestBytes: MiB,
    /** Request line and headers together: our own requests have a few hundred bytes. */
    requestHeaderBytes: 16 * KiB,
    /** A request must be complete within this time (ms), from the connection or the last answer on. */
    requestMs: 30_000,
    /** Connections at once: fifty clients that each follow a change, and room for `status`. */
    connections: 128,
    /** One line of a worker, the daemon's event stream or a client's input: a plan with every path of a large change. */
    lineBytes: 64 * MiB,
    /** A worker that was asked to stop is killed after this (ms). */
    workerStopMs: 5_000,
    /** A stopping daemon waits this long (ms) for the running change to be undone; the next start does the rest. */
    stopMs: 60_000,
    /** A scheduled job waits this long (ms) for a running change. */
    jobWaitMs: 3_600_000,
    /** The backup before a package operation may take this long (ms); apt goes on after it. */
    aptMs: 120_000,
    /** Events that a client of the change stream may be behind before the daemon waits for it. */
    eventsBehind: 1_000,
    /** Configuration files are written by people. */
    configBytes: MiB,
    /** Files of `conf.d`: a person can still read them all. */
    configFiles: 100,
    /** A record of the journal: a plan with every file of a large restore. */
    journalRecordBytes: 64 * MiB,
    /** Changes whose journals are kept for `history`. */
    keptChanges: 500,
    /** A call to systemd or D-Bus (ms): longer means the bus is gone. */
    busMs: 25_000,
    /** A unit may take this long (ms) to start or stop before we look no further; its own time limit is usually 90 s. */
    unitJobMs: 180_000,
    /** One look at a target, or one piece of a copy to it (ms): longer means the server behind it is gone. */
    targetMs: 60_000,
    /** A download may take this long (ms) as a whole: 100 GiB at 10 Mbit/s. */
    downloadMs: 24 * 3_600_000,
    /** Once all bytes are here, the other side may still compute this long (ms) the digest that they are compared with. */
    downloadCheckMs: 600_000,
    /** A download that a restore was planned with stays this long (ms) after the last question. */
    downloadKeptMs: 1_800_000,
    /** A download whose reading failed stays this long (ms): most often a passphrase is asked for and it is read again. */
    downloadRetryMs: 180_000,
    /** Room (bytes) that a download leaves free on the disk of the state directory. */
    downloadReserve: 64 * MiB,
    /** Beginnings of archives that are read at once from a remote: each is a process of its own. */
    remoteReaders: 4,
    /** Names in the directory of a target: ten a day for ten years. */
    targetNames: 40_000,
    /** The private cache of frames; above it new frames are simply not cached. */
    cacheBytes: 1024 * MiB,
    /** A confirmation waits this long (ms) for whoever changes the guarded files … */
    guardLockMs: 5_000,
    /** … and who asks the daemon for one this long, before it acts on its own: a guard does not wait for a daemon that hangs. */
    guardAnswerMs: 10_000,
    /** systemctl only hands over a request (ms). */
    guardUnitMs: 10_000,
    /** Who asked for a rollback waits this long (ms) for its outcome; it goes on without anybody who looks. */
    guardRollbackMs: 180_000,
    /** Recipients of one archive: each adds a stanza to the header. */
    recipients: 32,
} as const
