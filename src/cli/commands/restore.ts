/** `proxsavectl restore`: asks what is needed, shows the plan, and has the daemon carry it out. */
import type { Question, StartedChange } from '../../client/types.ts'
import { Fault } from '../../core/errors.ts'
import { runArchive } from '../archive.ts'
import type { Cli, Command, Options } from '../command.ts'
import { changeOptions, followChange, readAnswers } from '../follow.ts'
import { readIdentityAnswer, identityOption } from '../identity.ts'
import { safe } from '../output.ts'
import { absolute, backupReference } from '../paths.ts'
import { type ShownPlan, showPlan } from '../plan.ts'
import { askInTime, askPassphrase, askText, canAsk } from '../prompt.ts'
import { askToggles } from '../toggle.ts'

type Asked = Question & { error?: string }
type Planned =
    | { question: Asked }
    | { fetch: { backup: string; from: string; size: number } }
    | { plan: ShownPlan; digest: string }

/** A conversation longer than this goes in circles. */
const mostRounds = 64
const passphraseTries = 3

export const command: Command = {
    summary: 'bring a backup back, as a transaction',
    about: 'Asks for what is not given, shows the plan, and starts when RESTORE is typed. The daemon does the work: a lost\nterminal changes nothing, `attach` shows it again. A failure, `cancel` or a crash takes everything back.\nCtrl+C before RESTORE cancels; afterwards it leaves the restore to the daemon.',
    arguments: [
        { usage: '[backup]', about: 'id, beginning of an id, latest, or path; asked for when missing' },
    ],
    options: [
        { flags: '--mode <mode>', about: 'full, storage, base or custom' },
        { flags: '--category <id>', about: 'only this category (custom mode)', repeat: true },
        { flags: '--cluster <mode>', about: 'safe or recovery, for the database of a cluster' },
        { flags: '--exact', about: 'also remove what the backup does not have' },
        { flags: '--all-hosts', about: 'offer backups of other hosts too' },
        { flags: '--plan', about: 'show what would be done and change nothing' },
        identityOption,
        ...changeOptions,
    ],
    statuses: [0, 1, 4, 5, 6, 7, 8, 9],
    example: 'proxsavectl restore latest --mode base --plan',
    async run(cli, [backup], options) {
        const answers = Object.fromEntries(readAnswers(cli, options))
        const request = await requestOf(cli, backup as string | undefined, options, answers)
        const { plan, digest } = await cancellable(cli, signal => converse(cli, request, signal))
        if (options.plan === true) {
            if (cli.json) cli.output.document({ ...plan, digest })
            else await showPlan(cli.output, plan)
            return 0
        }
        if (!cli.json) await showPlan(cli.output, plan)
        await confirm(cli, request.answers, 'RESTORE')
        const { change } = await cli.client.call<StartedChange>('POST', '/v1/restores', {
            body: { ...request, digest },
        })
        if (options.detach === true) {
            if (cli.json) cli.output.document({ event: 'detached', change })
            else cli.output.line(`Running as change ${change}. To see it: proxsavectl attach ${change}`)
            return 0
        }
        return followChange(cli, change)
    },
}

interface Request {
    backup?: string
    mode?: string
    categories?: string[]
    cluster?: string
    exact?: boolean
    allHosts?: boolean
    answers: Record<string, string>
    interactive: boolean
}

async function requestOf(
    cli: Cli,
    backup: string | undefined,
    options: Options,
    answers: Record<string, string>,
): Promise<Request> {
    const oneOf = (name: 'mode' | 'cluster', allowed: readonly string[]) => {
        const value = options[name] as string | undefined
        if (value === undefined || allowed.includes(value)) return value
        throw new Fault(
            'usage',
            `cannot understand --${name} ${safe(value)}: it is none of ${allowed.join(', ')}`,
        )
    }
    const mode = oneOf('mode', ['full', 'storage', 'base', 'custom'])
    const cluster = oneOf('cluster', ['safe', 'recovery'])
    Object.assign(answers, await readIdentityAnswer(cli, options))
    return {
        backup: backup === undefined ? undefined : backupReference(cli, backup),
        mode,
        categories: options.category as string[] | undefined,
        cluster,
        exact: options.exact === true ? true : undefined,
        allHosts: options.allHosts === true ? true : undefined,
        answers,
        interactive: canAsk(cli),
    }
}

/** Asks the daemon, answers its questions, and asks again, until there is a plan. */
async function converse(
    cli: Cli,
    request: Request,
    signal: AbortSignal,
): Promise<Extract<Planned, { digest: string }>> {
    const wrong = new Map<string, number>()
    for (let round = 0; round < mostRounds; round++) {
        const planned = await cli.client.call<Planned>('POST', '/v1/restores/plan', { body: request, signal })
        if ('plan' in planned) return planned
        if ('fetch' in planned) {
            await runArchive(cli, 'fetch', { backup: planned.fetch.backup })
            continue
        }
        const { question } = planned
        const { answers } = request
        if (question.error !== undefined) {
            cli.output.note(`${safe(question.error)}.`)
            const tries = (wrong.get(question.id) ?? 0) + 1
            wrong.set(question.id, tries)
            if (question.id === 'decrypt.passphrase' && tries >= passphraseTries) {
                // Perhaps it is not the passphrase that opens it: back to what does.
                for (const id of ['decrypt.passphrase', 'decrypt.method']) delete answers[id]
                wrong.delete(question.id)
                answers['decrypt.method'] = 'ask'
                continue
            }
        }
        if (question.id === 'decrypt.method')
            for (const id of Object.keys(answers)) if (id.startsWith('decrypt.')) delete answers[id]
        const answer = await put(cli, question, signal)
        if (question.id === 'backup' && question.choices.length === 0) request.backup = absolute(cli, answer)
        else answers[question.id] = answer
    }
    throw new Fault('failed', 'cannot restore: the questions do not come to an end')
}

/** Until RESTORE is typed, Ctrl+C cancels, whatever is going on. */
async function cancellable<T>(cli: Cli, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const interrupt = new AbortController()
    const release = cli.terminal.onInterrupt(() =>
        interrupt.abort(new Fault('refused', 'cannot go on: cancelled; nothing was changed')),
    )
    try {
        return await work(interrupt.signal)
    } catch (error) {
        if (interrupt.signal.aborted) throw interrupt.signal.reason
        throw error
    } finally {
        release()
    }
}

async function put(cli: Cli, question: Asked, signal: AbortSignal): Promise<string> {
    const text = question.text.split('\n').map(safe).join('\n')
    if (question.secret === true) return askPassphrase(text)
    if (question.id === 'categories')
        return (await askToggles(text, question.choices, askText, line => cli.output.note(line))).join(',')
    if (question.choices.length === 0) return askText(text)
    const answer = await askInTime(
        text,
        question.choices.map(({ value, text }) => ({ value, text: safe(text) })),
        { safe: question.safe, signal },
    )
    signal.throwIfAborted()
    return answer ?? question.safe
}

/** The word exactly as it is, or nothing happens. */
export async function confirm(cli: Cli, answers: Record<string, string>, word: string): Promise<void> {
    const refused = (why: string) =>
        new Fault('refused', `cannot go on: ${why}; nothing was changed`, {
            hint: `type ${word} when asked, or give --answer confirm=${word}`,
        })
    if (answers.confirm === undefined && !canAsk(cli)) throw refused('it was not confirmed')
    const typed = answers.confirm ?? (await askText(`Type ${word} to begin, anything else cancels`))
    if (typed !== word) throw refused(`"${safe(typed)}" is not ${word}`)
    answers.confirm = word
}
