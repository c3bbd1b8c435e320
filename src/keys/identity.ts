/** The private age identity of the host: making it, telling whether it is there, taking it off the host. */
import { createHash } from 'node:crypto'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json, Plan, PlannedTask } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import { protectIdentity } from '../format/age.ts'
import { identityFrom, parseIdentities, recipientOf } from '../format/age-keys.ts'
import { createFile, ensureDirectory, readSmallFile, removeFile } from '../host/atomic.ts'
import type { KeyPaths } from './paths.ts'
import {
    addToText,
    asObject,
    editRecipients,
    loadRecipients,
    removeFromText,
    uneditRecipients,
} from './recipients.ts'
import { readKeyRecord, writeKeyRecord } from './record.ts'

/** What the host itself can open archives with. */
export type StoredIdentity =
    | { kind: 'plain'; path: string; text: string }
    /** The bytes are an age file: they go into each backup as `identity.age`. */
    | { kind: 'protected'; path: string; bytes: Uint8Array }

/** The identity on this host, the plain one first; undefined when it was taken off, or never was here. */
export function loadIdentity(paths: KeyPaths): StoredIdentity | undefined {
    const plain = readSmallFile(paths.identity, limits.smallMemberBytes)
    if (plain !== undefined)
        return { kind: 'plain', path: paths.identity, text: Buffer.from(plain).toString() }
    const bytes = loadProtectedIdentity(paths)
    return bytes === undefined ? undefined : { kind: 'protected', path: paths.protectedIdentity, bytes }
}

/** The identity that a passphrase protects, whether or not there is a plain one as well. */
export function loadProtectedIdentity(paths: KeyPaths): Uint8Array | undefined {
    return readSmallFile(paths.protectedIdentity, limits.smallMemberBytes)
}

export interface KeyDependencies {
    paths: KeyPaths
    random: (bytes: number) => Uint8Array
    nowMs: () => number
    /**
     * A passphrase that the daemon holds in memory under a reference; the reference may be in a plan, the passphrase
     * never is. Undefined after a restart.
     */
    passphrase: (reference: string) => string | undefined
}

type GenerateParams = {
    comment: string
    /** Reference of the passphrase; null for an identity in the plain. */
    passphrase: string | null
}

/**
 * `keys.generate`: a new X25519 identity, and its recipient in the list. Irreversible once it is done, because an
 * archive may need the identity by then; therefore a failure half-way is taken back here, and after a crash it resumes.
 */
export function generateTask(dependencies: KeyDependencies): TaskKind<GenerateParams> {
    const { paths } = dependencies
    return {
        kind: 'keys.generate',
        irreversible: true,
        async do(params, context) {
            try {
                return await generate(dependencies, params, context)
            } catch (error) {
                takeBack(paths, context)
                throw error
            }
        },
        async undo(_, context) {
            takeBack(paths, context)
        },
    }
}

async function generate(
    dependencies: KeyDependencies,
    { comment, passphrase }: GenerateParams,
    context: TaskContext,
): Promise<Json> {
    const { paths, random } = dependencies
    const path = passphrase === null ? paths.identity : paths.protectedIdentity
    const begun = asObject(context.remembered())
    const present = existing(paths)
    let recipient: string
    if (present !== undefined) {
        // Ours, from a run that a crash interrupted? Then only the rest is to be done.
        if (typeof begun.recipient !== 'string' || digestOf(present) !== begun.sha256) throw exists(present)
        recipient = begun.recipient
    } else {
        const secret = identityFrom(random(32))
        recipient = await recipientOf(parseIdentities(secret)[0]!)
        const content = await identityFile(dependencies, secret, recipient, passphrase)
        // The digest tells this very file from one that a person put there; it gives nothing away.
        context.remember({ recipient, path, sha256: sha256(content) })
        ensureDirectory(paths.config, 0o755)
        if (!createFile(path, content, { mode: 0o600 })) throw exists(path)
    }
    if (passphrase !== null) {
        const owner = { recipient, sha256: digestOf(path)! }
        writeKeyRecord(paths, { ...readKeyRecord(paths), protected: owner })
    }
    editRecipients(paths, context, before =>
        removeFromText(before, recipient) === before ? addToText(before, recipient, comment) : before,
    )
    return { recipient, path, protected: passphrase !== null }
}

/** The content of `identity.txt` as `age-keygen` writes it, or that behind the passphrase. */
async function identityFile(
    dependencies: KeyDependencies,
    secret: string,
    recipient: string,
    passphrase: string | null,
): Promise<Uint8Array> {
    const created = new Date(dependencies.nowMs()).toISOString()
    const text = `# created: ${created}\n# public key: ${recipient}\n${secret}\n`
    if (passphrase === null) return new Uint8Array(Buffer.from(text))
    return protectIdentity(text, secretOf(dependencies, passphrase), dependencies.random)
}

function takeBack(paths: KeyPaths, context: TaskContext): void {
    const { path, sha256: digest, recipient } = asObject(context.remembered())
    if (typeof path !== 'string' || typeof recipient !== 'string') return
    // The list first: no backup may be encrypted to an identity that is gone.
    uneditRecipients(paths, context, now => removeFromText(now, recipient))
    if (digestOf(path) === digest) removeFile(path)
    const record = readKeyRecord(paths)
    if (record.protected?.sha256 === digest) writeKeyRecord(paths, { ...record, protected: undefined })
}

type RemoveParams = { path: string; sha256: string }

/** `keys.remove-identity`: takes the private identity off the host, durably. Nothing brings it back. */
export function removeIdentityTask(paths: KeyPaths): TaskKind<RemoveParams> {
    return {
        kind: 'keys.remove-identity',
        irreversible: true,
        async do({ path, sha256: digest }) {
            if (path !== paths.identity && path !== paths.protectedIdentity)
                throw new Fault('failed', `cannot remove ${path}: it is not the identity of this host`)
            const present = digestOf(path)
            if (present !== undefined && present !== digest)
                throw new Fault(
                    'failed',
                    `cannot remove ${path}: it is another identity than the one in the plan`,
                )
            removeFile(path)
            return { path }
        },
        async undo({ path }, context) {
            if (digestOf(path) === undefined) context.warn(`${path} is gone for good`)
        },
    }
}

/** A change that makes an identity. `passphrase` is the reference under which the daemon holds it. */
export function planGenerate(
    paths: KeyPaths,
    by: string,
    options: { comment: string; passphrase?: string },
): Plan {
    const present = existing(paths)
    if (present !== undefined) throw exists(present)
    if (loadRecipients(paths).length >= limits.recipients)
        throw new Fault(
            'failed',
            `cannot make an identity: there are ${limits.recipients} recipients already`,
        )
    const title = options.passphrase === undefined ? 'make an identity' : 'make an identity with a passphrase'
    const params = { comment: options.comment, passphrase: options.passphrase ?? null }
    return irreversiblePlan(by, { id: 't1', kind: 'keys.generate', title, params })
}

/**
 * A change that takes the identity off the host. Refused unless its sheet was printed, or `force`: without it every
 * archive so far would be lost. Refused too for an identity behind a passphrase: the passphrase opens only archives that
 * carry a copy, and a host without the file makes none of those.
 */
export async function planRemoveIdentity(paths: KeyPaths, by: string, force = false): Promise<Plan> {
    const path = existing(paths)
    if (path === undefined)
        throw new Fault('failed', 'cannot remove the identity: there is none on this host')
    if (!force && path === paths.protectedIdentity)
        throw new Fault(
            'refused',
            'cannot remove the identity: each backup takes a copy of it along, and later ones would not open with the passphrase alone',
            {
                hint: 'it may stay, nobody reads it without the passphrase; `--force` when a copy is kept elsewhere',
            },
        )
    const { sheets } = readKeyRecord(paths)
    const recipients = await recipientsOf(paths, path)
    const unprinted = recipients.filter(recipient => sheets[recipient] === undefined)
    if (!force && (recipients.length === 0 || unprinted.length > 0))
        throw new Fault(
            'refused',
            'cannot remove the identity: it was never printed, and without it no archive can be opened',
            {
                hint: 'print it first: `proxsavectl keys sheet`; or `--force` when a copy is kept elsewhere',
            },
        )
    const title = `remove the identity ${path}`
    const params = { path, sha256: digestOf(path)! }
    return {
        kind: 'keys',
        summary: title,
        by,
        tasks: [{ id: 't1', kind: 'keys.remove-identity', title, params }],
    }
}

/** Neither kind can be taken back, so a crash is followed by the rest of it. */
function irreversiblePlan(by: string, task: PlannedTask): Plan {
    return { kind: 'keys', summary: task.title, by, tasks: [task], recovery: 'resume' }
}

/** Recipients whose identity a file on this host holds; none when that cannot be told without the passphrase. */
async function recipientsOf(paths: KeyPaths, path: string): Promise<string[]> {
    if (path === paths.identity) {
        const stored = loadIdentity(paths)
        return stored?.kind === 'plain'
            ? Promise.all(parseIdentities(stored.text, path).map(recipientOf))
            : []
    }
    const known = readKeyRecord(paths).protected
    return known !== undefined && known.sha256 === digestOf(path) ? [known.recipient] : []
}

export interface KeyEntry {
    recipient: string
    kind: string
    comment: string
    /** Where its identity lies: in the plain on this host, behind a passphrase, or not here. */
    identity: 'plain' | 'protected' | 'none'
    /** When its recovery sheet was printed, RFC 3339. */
    sheetPrinted?: string
}

export interface KeyList {
    recipients: KeyEntry[]
    /** Identities on the host, and the recipients they open for: empty when only the passphrase would tell. */
    identities: { path: string; protected: boolean; recipients: string[]; listed: boolean }[]
    /** An identity lies on the host in the plain: whoever reads the host reads its archives. */
    plainIdentity: boolean
    /** The same, and it was not printed yet: `status` says so until it was. */
    unprinted: string[]
}

/** Everything `keys list` and `status` say about keys. No secret is in it. */
export async function listKeys(paths: KeyPaths): Promise<KeyList> {
    const { sheets } = readKeyRecord(paths)
    const recipients = loadRecipients(paths)
    const identities: KeyList['identities'] = []
    for (const path of [paths.identity, paths.protectedIdentity]) {
        if (digestOf(path) === undefined) continue
        const own = await recipientsOf(paths, path)
        identities.push({
            path,
            protected: path === paths.protectedIdentity,
            recipients: own,
            listed: own.some(text => recipients.some(recipient => recipient.text === text)),
        })
    }
    const holder = (text: string) => identities.find(({ recipients: own }) => own.includes(text))
    const plain = identities.find(identity => !identity.protected)
    return {
        recipients: recipients.map(({ text, kind, comment }) => {
            const held = holder(text)
            const identity = held === undefined ? 'none' : held.protected ? 'protected' : 'plain'
            const printed = sheets[text]
            return { recipient: text, kind, comment, identity, ...(printed && { sheetPrinted: printed }) }
        }),
        identities,
        plainIdentity: plain !== undefined,
        unprinted: identities.flatMap(({ recipients: own }) =>
            own.filter(text => sheets[text] === undefined),
        ),
    }
}

function existing(paths: KeyPaths): string | undefined {
    return [paths.identity, paths.protectedIdentity].find(path => digestOf(path) !== undefined)
}

function exists(path: string): Fault {
    return new Fault('failed', `cannot make an identity: ${path} exists, and it is never overwritten`, {
        hint: 'archives may need it: keep it, or print it (`proxsavectl keys sheet`) and take it off the host (`proxsavectl keys remove --identity`)',
    })
}

function secretOf(dependencies: KeyDependencies, reference: string): string {
    const passphrase = dependencies.passphrase(reference)
    if (passphrase === undefined)
        throw new Fault('failed', 'cannot protect the identity: its passphrase is no longer known', {
            hint: 'run `proxsavectl keys generate` again',
        })
    return passphrase
}

function digestOf(path: string): string | undefined {
    const bytes = readSmallFile(path, limits.smallMemberBytes)
    return bytes === undefined ? undefined : sha256(bytes)
}

function sha256(bytes: Uint8Array): string {
    return createHash('sha256').update(bytes).digest('hex')
}
