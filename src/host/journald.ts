/** Entries with fields of their own in systemd's journal, by its native protocol (systemd.journal-fields(7)). */
import { sendNotification } from './libc.ts'

export const journalSocket = '/run/systemd/journal/socket'

/** A field is one line; more in one entry than this is not for a journal. */
const fieldBytes = 8 * 1024

/** Names are upper case. Never waits; throws what the system call throws when nobody listens or reads there. */
export function sendToJournal(fields: Readonly<Record<string, string>>, socket = journalSocket): void {
    sendNotification(socket, entryOf(fields), false)
}

export function entryOf(fields: Readonly<Record<string, string>>): string {
    return Object.entries(fields)
        .map(
            ([name, value]) => `${name}=${value.replaceAll(/[\x00-\x1f\x7f]+/g, ' ').slice(0, fieldBytes)}\n`,
        )
        .join('')
}
