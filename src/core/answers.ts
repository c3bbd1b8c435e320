/** What the daemon answers: one schema a document, so that clients, routes and docs/openapi.yaml cannot disagree. */
import { type Static, type TSchema, Type } from '@sinclair/typebox'

const Text = Type.String()
const Count = Type.Integer({ minimum: 0 })
const Time = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' })
const may = <S extends TSchema>(schema: S) => Type.Optional(schema)

export const FaultAnswer = Type.Object(
    {
        kind: Text,
        message: Type.String({ description: 'a sentence that begins with "cannot"' }),
        hint: may(Type.String({ description: 'what to do now' })),
        facts: may(Type.Record(Text, Type.Union([Type.String(), Type.Number()]))),
    },
    { title: 'Fault' },
)

/** One archive on one target. What could not be read is listed too, with its `problem`. */
export const BackupInfo = Type.Object(
    {
        id: Type.String({ description: 'empty when the archive cannot be read' }),
        name: Type.String({ description: 'file name on the target' }),
        target: Text,
        host: Text,
        hostId: Text,
        created: Time,
        sequence: Count,
        size: Type.Integer({ minimum: 0, description: 'bytes of the file' }),
        plainSize: Count,
        entries: Count,
        encrypted: Type.Boolean(),
        signed: Type.Boolean({ description: 'carries a signature; verify tells whose' }),
        pinned: Type.Boolean(),
        own: Type.Boolean({ description: 'made by this host' }),
        product: Text,
        cluster: Type.Boolean(),
        reason: Text,
        job: may(Text),
        note: may(Text),
        path: may(Type.String({ description: 'absolute, when the target is a local directory' })),
        verified: may(
            Type.Object(
                { time: Time, deep: Type.Boolean() },
                { description: 'the last check that found it whole' },
            ),
        ),
        problem: may(Type.String({ description: 'why it cannot be read, or what is odd about it' })),
    },
    { title: 'Backup' },
)
export type BackupInfo = Static<typeof BackupInfo>

export const BackupList = Type.Object({
    backups: Type.Array(BackupInfo),
    problems: may(
        Type.Array(Type.Object({ target: Text, message: Text, hint: may(Text) }), {
            description: 'targets that could not be listed',
        }),
    ),
})
export type BackupList = Static<typeof BackupList>

/** One archive in full: its row and its manifest. */
export const BackupDetail = Type.Object({
    backup: BackupInfo,
    manifest: Type.Record(Text, Type.Unknown(), { description: 'the manifest, as the archive has it' }),
})
export type BackupDetail = Static<typeof BackupDetail>

export const ChangeInfo = Type.Object(
    {
        id: Text,
        kind: Text,
        summary: Text,
        by: Text,
        state: Text,
        result: may(Text),
        began: Time,
        ended: may(Time),
        warnings: Count,
        error: may(FaultAnswer),
        facts: Type.Record(Text, Type.Unknown()),
    },
    { title: 'Change' },
)
export type ChangeInfo = Static<typeof ChangeInfo>

export const ChangeList = Type.Object({ changes: Type.Array(ChangeInfo) })
export type ChangeList = Static<typeof ChangeList>

export const StartedChange = Type.Object({
    change: Type.String({ description: 'the id; follow its events' }),
})
export type StartedChange = Static<typeof StartedChange>

export const JobInfo = Type.Object(
    {
        name: Text,
        schedule: Text,
        targets: Type.Array(Text),
        categories: Type.Union([Type.Literal('all'), Type.Array(Text)]),
        note: may(Text),
        active: Type.Boolean({ description: 'its timer is waiting' }),
        next: may(Time),
        due: may(Type.String({ format: 'date-time', description: 'when its timer fired last' })),
        last: may(Type.Object({ change: Text, result: Text, time: Time })),
    },
    { title: 'Job' },
)
export type JobInfo = Static<typeof JobInfo>

export const JobList = Type.Object({ jobs: Type.Array(JobInfo) })
export type JobList = Static<typeof JobList>

const Addresses = Type.Union([Type.Array(Text), Type.Literal('unknown')])

/** A guard: what reverts by itself unless a person confirms it. */
export const GuardInfo = Type.Object(
    {
        id: Text,
        change: Type.String({ description: 'the change that it belongs to' }),
        area: Type.String({ description: 'network, ssh, firewall, access' }),
        state: Type.Union([Type.Literal('ARMED'), Type.Literal('EXECUTED'), Type.Literal('DISARMED')], {
            description: 'it waits for a person; it was rolled back; it was confirmed',
        }),
        applied: Type.Boolean({ description: 'the new state was put in place' }),
        secondsLeft: may(Type.Integer({ minimum: 0, description: 'until it is rolled back; 0: it is due' })),
        deadline: may(
            Type.String({ format: 'date-time', description: 'the same as a time of day, estimated' }),
        ),
        addresses: Type.Object({ before: Type.Array(Text), after: Addresses }),
        reconnect: Addresses,
        log: Type.String({ description: 'what the rollback did, a file' }),
        directory: Text,
        why: may(Type.String({ description: 'why it was rolled back: deadline, boot, asked' })),
        executed: may(Time),
        loaded: may(
            Type.Boolean({
                description: 'of one that was rolled back: the system runs with the old files again',
            }),
        ),
        confirmed: may(Type.Object({ time: Time, by: Text })),
        problems: may(Type.Array(Type.String({ description: 'what could not be put back or read' }))),
    },
    { title: 'Guard' },
)
export type GuardInfo = Static<typeof GuardInfo>

export const GuardList = Type.Object({ guards: Type.Array(GuardInfo) })
export type GuardList = Static<typeof GuardList>

export const Status = Type.Object({
    daemon: Type.Object({ version: Text, pid: Count, since: Time, root: Text }),
    host: Type.Object({ id: may(Text), name: Text, product: Text }),
    last: Type.Union([BackupInfo, Type.Null()]),
    next: Type.Union([Type.Object({ job: Text, time: Time }), Type.Null()]),
    guard: Type.Union([GuardInfo, Type.Null()], {
        description:
            'an armed guard, or the last one while it matters: one that was rolled back until the next change, or for a day; null when all is quiet',
    }),
    running: Type.Union([ChangeInfo, Type.Null()]),
    unfinished: Type.Array(ChangeInfo),
    deferred: Type.Array(Type.Unknown()),
    warnings: Type.Array(Type.Object({ text: Text, hint: may(Text) })),
    skipped: Type.Array(Type.String({ description: 'what another root leaves out, and why' })),
})
export type Status = Static<typeof Status>

export const Check = Type.Object(
    {
        id: Text,
        title: Text,
        state: Type.Union([
            Type.Literal('ok'),
            Type.Literal('warning'),
            Type.Literal('failed'),
            Type.Literal('skipped'),
        ]),
        text: Text,
        hint: may(Type.String({ description: 'how to mend it' })),
    },
    { title: 'Check' },
)
export type Check = Static<typeof Check>

export const Doctor = Type.Object({ checks: Type.Array(Check) })
export type Doctor = Static<typeof Doctor>

export const KeyInfo = Type.Object(
    {
        recipient: Type.String({ description: 'the public string' }),
        kind: Text,
        comment: Text,
        identity: Type.Union([Type.Literal('plain'), Type.Literal('protected'), Type.Literal('none')], {
            description: 'whether its private identity lies on this host',
        }),
        sheetPrinted: may(Time),
    },
    { title: 'Recipient' },
)
export type KeyInfo = Static<typeof KeyInfo>

export const Keys = Type.Object({
    recipients: Type.Array(KeyInfo),
    identities: Type.Array(
        Type.Object({
            path: Text,
            protected: Type.Boolean(),
            recipients: Type.Array(Text),
            listed: Type.Boolean(),
        }),
    ),
    plainIdentity: Type.Boolean({ description: 'an identity lies on the host in the plain' }),
    unprinted: Type.Array(
        Type.String({ description: 'recipients whose recovery sheet was not printed yet' }),
    ),
    signing: Type.Union([Type.Object({ fingerprint: Text, publicKey: Text }), Type.Null()]),
})
export type Keys = Static<typeof Keys>

export const Sheet = Type.Object({
    text: Text,
    html: Text,
    secret: Type.Boolean({ description: 'the private identity is on it' }),
    protected: Type.Boolean({ description: 'a passphrase opens the identity, which travels in each backup' }),
})
export type Sheet = Static<typeof Sheet>

/** What a setup would find and keep. */
export const SetupState = Type.Object({
    targets: Type.Array(Type.Object({ name: Text, path: Text })),
    jobs: Type.Array(Type.Object({ name: Text, schedule: Text })),
    source: may(
        Type.Object(
            { name: Text, remote: Text },
            { description: 'the remote of the Go ProxSave, which is not in the configuration yet' },
        ),
    ),
    wrongSchedule: may(Type.String({ description: 'what is wrong with the schedule that was asked about' })),
})
export type SetupState = Static<typeof SetupState>

export const SetupAnswer = Type.Object({
    change: may(Type.String({ description: 'absent when there was nothing to do' })),
    /** What the change will do, or why there is nothing. */
    steps: Type.Array(Text),
    notes: may(Type.Array(Text, { description: 'what else was found on this host' })),
})
export type SetupAnswer = Static<typeof SetupAnswer>

export const PruneDecision = Type.Object({
    target: Text,
    name: Text,
    id: may(Text),
    created: may(Time),
    size: Count,
    verdict: Type.String({ description: 'keep, remove, pinned, foreign, suspect or unreadable' }),
    why: Text,
})
export type PruneDecision = Static<typeof PruneDecision>

export const PruneAnswer = Type.Object({
    plan: Type.Array(PruneDecision),
    blocked: Type.Array(Type.Object({ target: Text, why: Text, hint: Text })),
    change: may(Type.String({ description: 'absent for a dry run and when there is nothing to remove' })),
})
export type PruneAnswer = Static<typeof PruneAnswer>

export const ExportsAnswer = Type.Object({
    plan: Type.Array(
        Type.Object({
            name: Text,
            path: Text,
            created: Time,
            size: Type.Integer({ minimum: 0, description: 'bytes on the disk' }),
            entries: Count,
            verdict: Type.String({ description: 'keep or remove' }),
            why: Text,
        }),
        { description: 'directories of exports, oldest first' },
    ),
    change: may(Type.String({ description: 'absent for a dry run and when there is nothing to remove' })),
})
export type ExportsAnswer = Static<typeof ExportsAnswer>
