/** Finds what opens an encrypted backup: a file that was named, the host's own identity, or a passphrase. */
import { Fault } from '../core/errors.ts'
import type { Cli, Option, Options } from './command.ts'
import { absolute } from './paths.ts'
import { askPassphrase, canAsk } from './prompt.ts'

/** As the daemon takes it; without one it uses the identity file of its own host. */
export type Identity = { texts: string[] } | { passphrase: string; file?: string }

export const identityOption: Option = {
    flags: '--identity <file>',
    about: 'private age identity; default: the one of this host, then the passphrase',
}

const identityBytes = 64 * 1024
const tries = 3

/**
 * Calls `attempt` with what the command line named, or with nothing; asks for the passphrase or the identity when the
 * daemon says that one is needed and somebody is there to type it: the passphrase three times at most, the identity once.
 */
export async function withIdentity<T>(
    cli: Cli,
    options: Options,
    attempt: (identity: Identity | undefined) => Promise<T>,
): Promise<T> {
    const named = typeof options.identity === 'string' ? readIdentity(cli, options.identity) : undefined
    let identity: Identity | undefined = named?.kind === 'plain' ? { texts: [named.text] } : undefined
    const file = named?.kind === 'protected' ? named.base64 : undefined
    if (file !== undefined) identity = { passphrase: await askOrRefuse(cli, String(options.identity)), file }

    for (let left = tries; ; left--) {
        try {
            return await attempt(identity)
        } catch (error) {
            const need = error instanceof Fault ? error.facts.need : undefined
            // Typed once: whoever mistypes 74 letters is told how to give them as a file.
            if (need === 'identity' && identity === undefined && canAsk(cli)) {
                cli.output.note(
                    'The private identity is not on this host. It is the line of the recovery sheet',
                )
                cli.output.note('that begins with AGE-SECRET-KEY-1; --identity FILE reads it from a file.')
                identity = { texts: [await askPassphrase('Private identity')] }
                continue
            }
            if (need !== 'passphrase' || !canAsk(cli) || left === 0) throw error
            if (identity !== undefined) cli.output.note('The passphrase does not fit.')
            identity = { passphrase: await askPassphrase('Passphrase of the backup'), file }
        }
    }
}

function askOrRefuse(cli: Cli, path: string): Promise<string> {
    if (canAsk(cli)) return askPassphrase(`Passphrase of ${path}`)
    throw new Fault(
        'refused',
        `cannot open ${path}: it needs a passphrase and there is no terminal to ask at`,
        {
            hint: 'run this at a terminal, or give a plain identity file',
        },
    )
}

function readIdentity(cli: Cli, path: string) {
    const bytes = cli.files.read(absolute(cli, path), identityBytes, 'the identity')
    const text = new TextDecoder().decode(bytes)
    if (text.startsWith('age-encryption.org/') || text.startsWith('-----BEGIN AGE ENCRYPTED FILE-----'))
        return { kind: 'protected' as const, base64: Buffer.from(bytes).toString('base64') }
    return { kind: 'plain' as const, text }
}

/** `--identity FILE` as answers to the questions of a restore; a protected file is opened by its passphrase. */
export async function readIdentityAnswer(cli: Cli, options: Options): Promise<Record<string, string>> {
    if (typeof options.identity !== 'string') return {}
    const named = readIdentity(cli, options.identity)
    if (named.kind === 'plain') return { 'decrypt.method': 'identity', 'decrypt.identity': named.text }
    return {
        'decrypt.method': 'passphrase',
        'decrypt.passphrase': await askOrRefuse(cli, options.identity),
        'decrypt.identity': named.base64,
    }
}
