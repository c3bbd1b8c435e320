/** The list of age recipients: who can open the archives of this host. */
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Json, Plan } from '../engine/change.ts'
import type { TaskContext, TaskKind } from '../engine/kinds.ts'
import { type AgeRecipient, parseRecipient, parseRecipientsFile } from '../format/age-keys.ts'
import { ensureDirectory, readSmallFile, removeFile, replaceFile } from '../host/atomic.ts'
import type { KeyPaths } from './paths.ts'

/** The recipients of this host; none when the file is absent. `Fault('usage')` with the line when it is malformed. */
export function loadRecipients(paths: KeyPaths): AgeRecipient[] {
    return parseRecipientsFile(readText(paths) ?? '', paths.recipients)
}

/** The text with one more recipient at its end, below a comment line that describes it. Every other byte stays. */
export function addToText(text: string, recipient: string, comment: string): string {
    const before = text === '' || text.endsWith('\n') ? text : `${text}\n`
    const note = comment === '' ? '' : `# ${comment.replaceAll(/[\r\n]+/g, ' ')}\n`
    return `${before}${note}${recipient}\n`
}

/** The text without this recipient, and without the one comment line right above it. Every other byte stays. */
export function removeFromText(text: string, recipient: string): string {
    const lines = text.match(/[^\n]*\n|[^\n]+/g) ?? []
    for (let at = lines.length - 1; at >= 0; at--) {
        const line = lines[at]!.trim()
        if (line === '' || line.startsWith('#') || parseRecipient(line).text !== recipient) continue
        const above = at > 0 && lines[at - 1]!.trim().startsWith('#') ? 1 : 0
        lines.splice(at - above, 1 + above)
        at -= above
    }
    return lines.join('')
}

type Params = { recipient: string; comment: string }

/** `keys.add-recipient`: everything in it is public. */
export function addRecipientTask(paths: KeyPaths): TaskKind<Params> {
    return {
        kind: 'keys.add-recipient',
        async do({ recipient, comment }, context) {
            const { text } = parseRecipient(recipient)
            editRecipients(paths, context, before =>
                has(before, text, paths) ? before : addToText(before, text, comment),
            )
            return { recipient: text }
        },
        async undo({ recipient }, context) {
            const { text } = parseRecipient(recipient)
            uneditRecipients(paths, context, now => removeFromText(now, text))
        },
    }
}

/** `keys.remove-recipient`: archives made before stay open to that recipient. */
export function removeRecipientTask(paths: KeyPaths): TaskKind<Params> {
    return {
        kind: 'keys.remove-recipient',
        async do({ recipient }, context) {
            const { text } = parseRecipient(recipient)
            editRecipients(paths, context, before => removeFromText(before, text))
            return { recipient: text }
        },
        async undo({ recipient, comment }, context) {
            const { text } = parseRecipient(recipient)
            uneditRecipients(paths, context, now =>
                has(now, text, paths) ? now : addToText(now, text, comment),
            )
        },
    }
}

/** A change that adds one recipient. Refuses what `age` of Debian could not open, and what is listed already. */
export function planAddRecipient(paths: KeyPaths, by: string, line: string, comment?: string): Plan {
    const recipient = parseRecipient(line)
    const present = loadRecipients(paths)
    if (present.some(({ text }) => text === recipient.text))
        throw new Fault('failed', 'cannot add the recipient: it is listed already')
    if (present.length >= limits.recipients)
        throw new Fault('failed', `cannot add the recipient: there are ${limits.recipients} already`)
    return plan('keys.add-recipient', `add the recipient ${brief(recipient.text)}`, by, {
        recipient: recipient.text,
        comment: comment ?? recipient.comment,
    })
}

/** A change that removes one recipient, named in full, by a unique prefix of 8 characters, or by its comment. */
export function planRemoveRecipient(paths: KeyPaths, by: string, named: string): Plan {
    const present = loadRecipients(paths)
    const wanted = named.trim()
    const exact = present.filter(({ text, comment }) => wanted === text || wanted === `${text} ${comment}`)
    const loose = present.filter(
        ({ text, comment }) => wanted === comment || (wanted.length >= 8 && text.startsWith(wanted)),
    )
    const found = exact.length > 0 ? exact : loose
    if (found.length !== 1)
        throw new Fault(
            'usage',
            `cannot remove the recipient: ${found.length === 0 ? 'none' : 'more than one'} is named so`,
            {
                hint: '`proxsavectl keys list` shows them; the comment, or 8 characters or more of the key, unlike any other',
            },
        )
    if (present.length === 1)
        throw new Fault(
            'refused',
            'cannot remove the recipient: it is the last one, and no backup could be made without it',
            {
                hint: 'add another one first: `proxsavectl keys add RECIPIENT`',
            },
        )
    const { text, comment } = found[0]!
    return plan('keys.remove-recipient', `remove the recipient ${brief(text)}`, by, {
        recipient: text,
        comment,
    })
}

function plan(kind: string, title: string, by: string, params: Params): Plan {
    return { kind: 'keys', summary: title, by, tasks: [{ id: 't1', kind, title, params }] }
}

/** Enough of a recipient to recognise it. */
export function brief(recipient: string): string {
    return recipient.length <= 40 ? recipient : `${recipient.slice(0, 20)}…${recipient.slice(-8)}`
}

/**
 * Changes the list; remembers the whole list before and after, so that undo restores it to the byte. Remembered first:
 * after a crash in between, undo finds the list before and does nothing.
 */
export function editRecipients(paths: KeyPaths, context: TaskContext, edit: (text: string) => string): void {
    const before = readText(paths)
    const after = edit(before ?? '')
    // A task that runs again after a crash finds its own effect, and must not forget what was before it.
    if (after === (before ?? '')) return
    parseRecipientsFile(after, paths.recipients)
    context.remember({ ...asObject(context.remembered()), before: before ?? null, after })
    ensureDirectory(paths.config, 0o755)
    replaceFile(paths.recipients, after, { mode: 0o644 })
}

/** Takes an edit back: exactly when nothing else was edited since, otherwise by the inverse edit. */
export function uneditRecipients(
    paths: KeyPaths,
    context: TaskContext,
    invert: (text: string) => string,
): void {
    const { before, after } = asObject(context.remembered())
    if (typeof after !== 'string') return
    const now = readText(paths) ?? ''
    if (now === before) return
    if (now !== after) {
        const inverted = invert(now)
        if (inverted !== now) replaceFile(paths.recipients, inverted, { mode: 0o644 })
    } else if (typeof before === 'string') replaceFile(paths.recipients, before, { mode: 0o644 })
    else removeFile(paths.recipients)
}

export function asObject(value: Json | undefined): { [key: string]: Json } {
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
}

function has(text: string, recipient: string, paths: KeyPaths): boolean {
    return parseRecipientsFile(text, paths.recipients).some(found => found.text === recipient)
}

function readText(paths: KeyPaths): string | undefined {
    const bytes = readSmallFile(paths.recipients, limits.configBytes)
    return bytes === undefined ? undefined : Buffer.from(bytes).toString()
}
