/** The recovery sheet, made of what the host knows. */
import type { Sheet } from '../core/answers.ts'
import { Fault } from '../core/errors.ts'
import { listKeys, loadIdentity } from '../keys/identity.ts'
import { loadRecipients } from '../keys/recipients.ts'
import { markSheetPrinted } from '../keys/record.ts'
import { renderSheetHtml, renderSheetText, type SheetData, sheetSecrets } from '../keys/sheet.ts'
import { loadSigningKey } from '../keys/signing-key.ts'
import { hostOf } from './backups.ts'
import type { Daemon } from './daemon.ts'

export function makeSheet(daemon: Daemon, options: { secrets?: boolean; colour?: boolean }): Sheet {
    const { state, random, clock } = daemon.parts
    const identity = loadIdentity(daemon.keys)
    const recipients = loadRecipients(daemon.keys)
    if (recipients.length === 0)
        throw new Fault('failed', 'cannot make a recovery sheet: this host has no key yet', {
            hint: 'proxsavectl setup makes one',
        })
    const inTheOpen = identity?.kind === 'plain' ? sheetSecrets(identity.text) : []
    const product = daemon.product()
    const data: SheetData = {
        hostName: product.fqdn ?? product.hostname,
        hostId: hostOf(daemon).id,
        printedMs: clock.nowMs(),
        recipients: recipients.map(({ text, comment }) => ({ recipient: text, comment })),
        secrets: options.secrets === true ? inTheOpen : [],
        // SSH keys are kept where they are, and printed nowhere.
        identityFile: inTheOpen.length > 0 ? daemon.keys.identity : undefined,
        protectedIdentity: identity?.kind === 'protected',
        signing: loadSigningKey(state, random, `proxsave@${product.hostname}`),
    }
    return {
        text: renderSheetText(data, { colour: options.colour === true }),
        html: renderSheetHtml(data),
        secret: data.secrets.length > 0,
        protected: data.protectedIdentity,
    }
}

/** From here on the identity may leave the host. */
export async function notePrinted(daemon: Daemon): Promise<{ recipients: string[] }> {
    const { identities } = await listKeys(daemon.keys)
    const recipients = identities.flatMap(identity => identity.recipients)
    markSheetPrinted(daemon.keys, recipients, daemon.parts.clock.nowMs())
    return { recipients }
}
