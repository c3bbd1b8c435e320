/** Follows a change to its end: prints what happens, answers its questions, and outlives a restart of the daemon. */
import { asFault, exitStatusOf, Fault } from '../core/errors.ts'
import { count, showSize } from '../core/units.ts'
import type { ChangeEvent, GuardInfo, ProgressEvent, Question } from '../client/types.ts'
import type { Cli, Option, Options } from './command.ts'
import { armedGuard, guardHead, guardLines, readGuards, showGuard } from './guard.ts'
import { safe } from './output.ts'
import { type Progress, showProgress } from './progress.ts'
import { askInTime, canAsk } from './prompt.ts'
import { didInRestore, summariseRestore } from './restored.ts'

export const changeOptions: Option[] = [
    { flags: '--detach', about: 'leave the change to the daemon and return at once' },
    { flags: '--answer <id=value>', about: 'answer a question ahead', repeat: true },
    { flags: '--answers <file>', about: 'answers ahead, one ID=VALUE a line' },
]

const answersBytes = 64 * 1024
/** A restarting daemon is back within seconds; after this many tries, one a second, somebody has to look. */
const reconnects = 30

export type Answers = ReadonlyMap<string, string>

/** `--answer` and `--answers` as a map. What must be confirmed over a new connection cannot be answered ahead. */
export function readAnswers(cli: Cli, options: Options): Answers {
    const given = (options.answer as string[] | undefined) ?? []
    const file = options.answers as string | undefined
    const text =
        file === undefined ? '' : new TextDecoder().decode(cli.files.read(file, answersBytes, 'the answers'))
    const lines = text.split('\n').filter(line => line.trim() !== '' && !line.startsWith('#'))
    const answers = new Map<string, string>()
    for (const line of [...lines, ...given]) {
        const at = line.indexOf('=')
        if (at <= 0)
            throw new Fault('usage', `cannot understand the answer "${line}": expected ID=VALUE`, {
                hint: 'for example --answer confirm=RESTORE',
            })
        const id = line.slice(0, at).trim()
        if (isCommit(id))
            throw new Fault(
                'usage',
                `cannot answer ${id} ahead: it confirms that the host can still be reached`,
                {
                    hint: 'run proxsavectl commit over a new connection once the change waits for it',
                },
            )
        answers.set(id, line.slice(at + 1).trim())
    }
    return answers
}

/** What asks whether this host can still be reached: never by default, never for want of a terminal. */
const isCommit = (id: string): boolean => id.endsWith('.commit')

type Streamed = ChangeEvent | ProgressEvent
type EndEvent = Extract<ChangeEvent, { event: 'end' }>

/** Resolves to the exit status of the change, or 6 when Ctrl+C left it to the daemon. */
export async function followChange(cli: Cli, change: string, answers: Answers = new Map()): Promise<number> {
    const progress = await showProgress(cli)
    const interrupt = new AbortController()
    const titles = new Map<string, string>()
    const warned = new Set<string>()
    const open = new OpenPrompts(cli, change)
    let detached = false
    const leave = () => {
        detached = true
        interrupt.abort(new Fault('partial', 'cannot wait: interrupted'))
    }
    const release = cli.terminal.onInterrupt(leave)
    open.onInterrupt = leave
    try {
        const end = await untilEnd(cli, change, interrupt.signal, event =>
            show(cli, change, event, answers, progress, titles, warned, open),
        )
        progress.stop()
        return cli.json ? statusOf(end) : await summarise(cli, end)
    } catch (error) {
        progress.stop()
        if (!detached) throw error
        cli.output.note(`\nThe daemon goes on with it. To see it again: proxsavectl attach ${change}`)
        cli.output.note(`To stop and undo it: proxsavectl cancel ${change}`)
        await tellArmed(cli)
        return exitStatusOf.partial
    } finally {
        open.close()
        release()
    }
}

/** An armed guard goes back by itself: whoever leaves or comes in must know, and how to decide. */
export async function tellArmed(cli: Cli): Promise<GuardInfo | undefined> {
    const guard = await armedGuard(cli)
    if (guard === undefined) return undefined
    if (cli.json) cli.output.document({ event: 'guard', ...guard })
    else showGuard(guard, cli.output.note)
    return guard
}

async function untilEnd(
    cli: Cli,
    change: string,
    signal: AbortSignal,
    onEvent: (event: Streamed) => Promise<void> | void,
): Promise<EndEvent> {
    let after = 0
    for (let tries = 0; ; tries++) {
        try {
            const path = `/v1/changes/${encodeURIComponent(change)}/events`
            for await (const event of cli.client.stream<Streamed>('GET', path, {
                query: { after },
                signal,
            })) {
                tries = 0
                if ('seq' in event) after = event.seq
                await onEvent(event)
                if (event.event === 'end') return event
            }
            throw new Fault('unreachable', 'cannot follow the change: the daemon closed the connection', {
                hint: `try proxsavectl attach ${change}`,
            })
        } catch (error) {
            const gone = error instanceof Fault && error.kind === 'unreachable'
            if (!gone || tries >= reconnects || signal.aborted) throw error
            if (tries === 0 && !cli.json) cli.output.note('The daemon is away; waiting for it …')
            await pause(1_000, signal)
        }
    }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, ms)
        signal.addEventListener(
            'abort',
            () => {
                clearTimeout(timer)
                reject(signal.reason)
            },
            { once: true },
        )
    })
}

async function show(
    cli: Cli,
    change: string,
    event: Streamed,
    answers: Answers,
    progress: Progress,
    titles: Map<string, string>,
    warned: Set<string>,
    open: OpenPrompts,
): Promise<void> {
    if (cli.json) {
        if (event.event === 'end' && event.result === 'rolled-back')
            for (const guard of await guardsOf(cli, event)) cli.output.document({ event: 'guard', ...guard })
        cli.output.document(event)
    }
    const { colour } = cli.output
    switch (event.event) {
        case 'begin':
            progress.line(`${safe(event.summary)} ${colour('dim', `(change ${event.change})`)}`)
            for (const task of event.tasks) titles.set(task.id, task.title)
            return
        case 'task': {
            const title = safe(titles.get(event.task) ?? event.task)
            if (event.state === 'doing') progress.line(`  ${title}`)
            if (event.state === 'undoing') progress.line(`  undo: ${title}`)
            if (event.state === 'failed' || event.state === 'undo-failed') {
                const why = `${title}: ${safe(event.error?.message ?? '')}`
                // A task that may fail has said so as a warning already.
                if (warned.has(why)) warned.delete(why)
                else progress.line(`  ${colour('red', 'failed')}: ${why}`)
            }
            return
        }
        case 'progress':
            progress.update({ ...event, text: event.text })
            return
        case 'log':
            if (event.level !== 'warning') return
            warned.add(safe(event.text))
            progress.line(`  ${colour('yellow', 'warning')}: ${safe(event.text)}`)
            return
        case 'recovery':
            progress.line(`  ${colour('yellow', 'recovery')}: ${safe(event.text)}`)
            return
        case 'question': {
            const ahead = answers.get(event.id)
            if (ahead !== undefined)
                return answer(cli, change, event.id, ahead).catch(error => {
                    // Whoever attaches sees old questions too: those that are answered are not open any more.
                    if (!(error instanceof Fault) || error.kind !== 'failed') throw error
                })
            if (!canAsk(cli) && !isCommit(event.id)) return
            progress.stop()
            open.ask(event)
            return
        }
        case 'answer':
            open.answered(event.id)
            progress.line(`  ${event.id}: ${safe(event.value)} (${safe(event.by)})`)
            return
        case 'end':
            return
    }
}

async function answer(cli: Cli, change: string, id: string, value: string): Promise<void> {
    await cli.client.call('POST', `/v1/changes/${encodeURIComponent(change)}/answers`, {
        body: { id, value },
    })
}

/** Whoever attaches sees the old questions too; their answers follow at once, and then there is nothing to ask. */
const settleMs = 100

/** Prompts at the terminal, each gone when its question is answered elsewhere or its time is over. */
class OpenPrompts {
    onInterrupt: () => void = () => undefined
    readonly #cli: Cli
    readonly #change: string
    readonly #open = new Map<string, AbortController>()

    constructor(cli: Cli, change: string) {
        this.#cli = cli
        this.#change = change
    }

    ask(question: Question): void {
        const gone = new AbortController()
        this.#open.set(question.id, gone)
        void this.#put(question, gone.signal).catch(error => {
            const fault = asFault(error)
            if (fault.kind === 'refused') this.onInterrupt()
            else this.#cli.output.note(fault.message)
        })
    }

    answered(id: string): void {
        this.#open.get(id)?.abort()
        this.#open.delete(id)
    }

    close(): void {
        for (const id of [...this.#open.keys()]) this.answered(id)
    }

    async #put(question: Question, signal: AbortSignal): Promise<void> {
        await Bun.sleep(settleMs)
        if (signal.aborted) return
        if (isCommit(question.id)) return this.#putCommit(question, signal)
        const { id, deadlineMs } = question
        const leftMs = deadlineMs === undefined ? undefined : deadlineMs - Date.now()
        const value = await this.#ask(question, { leftMs, signal })
        if (value !== undefined && !signal.aborted) await answer(this.#cli, this.#change, id, value)
    }

    /** Asks again when the answer is refused: the time runs, and to roll back is allowed from here as well. */
    async #putCommit(question: Question, signal: AbortSignal): Promise<void> {
        const cli = this.#cli
        if (!canAsk(cli) && !cli.json) cli.output.note(`\n${readable(question.text)}`)
        let guard = await tellArmed(cli)
        while (canAsk(cli) && !signal.aborted) {
            const byQuestion = (question.deadlineMs ?? Date.now()) - Date.now()
            const leftMs = guard?.secondsLeft === undefined ? byQuestion : guard.secondsLeft * 1000
            const value = await this.#ask(question, { leftMs, typed: true, signal })
            if (value === undefined || signal.aborted) return
            try {
                return await answer(cli, this.#change, question.id, value)
            } catch (error) {
                const { kind, message, hint } = asFault(error)
                cli.output.note(message)
                if (hint !== undefined) cli.output.note(`hint: ${hint}`)
                if (kind !== 'refused' && kind !== 'conflict') return
                guard = await armedGuard(cli)
            }
        }
    }

    #ask(
        { text, choices, safe: byDefault }: Question,
        options: { leftMs: number | undefined; typed?: boolean; signal: AbortSignal },
    ): Promise<string | undefined> {
        const shown = choices.map(choice => ({ value: choice.value, text: safe(choice.text) }))
        return askInTime(readable(text), shown, { safe: byDefault, ...options })
    }
}

const readable = (text: string): string => text.split('\n').map(safe).join('\n')

function statusOf(end: EndEvent): number {
    if ((end.left?.length ?? 0) > 0) return exitStatusOf.stuck
    switch (end.result) {
        case 'ok':
            return 0
        case 'warning':
            return exitStatusOf.partial
        case 'cancelled':
            return exitStatusOf.refused
        case 'rolled-back':
            return exitStatusOf['rolled-back']
        case 'failed':
            return end.error === undefined ? 1 : (exitStatusOf[end.error.kind] ?? 1)
    }
}

async function summarise(cli: Cli, end: EndEvent): Promise<number> {
    const { output, terminal } = cli
    const status = statusOf(end)
    if (end.result === 'ok' || end.result === 'warning') {
        if (typeof end.mode === 'string') {
            summariseRestore(cli, end)
            return status
        }
        const made = describeBackup(end)
        const done =
            end.result === 'ok'
                ? output.colour('green', 'done')
                : output.colour('yellow', 'done, with warnings')
        output.line(made === undefined ? done : `${done}: ${made}`)
        return status
    }
    if (end.error !== undefined) {
        terminal.err(`proxsavectl: ${safe(end.error.message)}\n`)
        if (end.error.hint !== undefined) terminal.err(`hint: ${safe(end.error.hint)}\n`)
    } else terminal.err(`proxsavectl: ${end.result === 'cancelled' ? 'cancelled' : 'failed'}\n`)
    if (end.left?.length) for (const left of end.left) terminal.err(`  left: ${safe(left)}\n`)
    if (end.result === 'rolled-back') await summariseRollback(cli, end)
    else if (!end.left?.length) terminal.err('What had been done was undone.\n')
    return status
}

/** What went back, what stays, and where this host is now. */
async function summariseRollback(cli: Cli, end: EndEvent): Promise<void> {
    const { note } = cli.output
    for (const guard of await guardsOf(cli, end)) {
        note(guardHead(guard))
        for (const text of guardLines(guard)) note(`  ${text}`)
    }
    const did = typeof end.mode === 'string' ? `: ${didInRestore(end)}` : ''
    note(`Only what was guarded went back, everything else stays${did}.`)
    if (typeof end.exports === 'string') note(`exported to ${safe(end.exports)}`)
    note(`What it did, path by path: proxsavectl history ${end.change}`)
}

/** An undo works with the guards of the change that it undoes. */
async function guardsOf(cli: Cli, end: EndEvent): Promise<GuardInfo[]> {
    return (await readGuards(cli)).filter(({ change }) => change === end.change || change === end.undoes)
}

function describeBackup(end: EndEvent): string | undefined {
    if (typeof end.backup === 'string') {
        const parts = [`backup ${end.backup}`]
        if (typeof end.target === 'string') parts.push(`on ${end.target}`)
        if (typeof end.size === 'number') parts.push(showSize(end.size))
        if (typeof end.entries === 'number') parts.push(count(end.entries, 'entry', 'entries'))
        return parts.join(', ')
    }
    if (typeof end.removedExports === 'number')
        return `removed ${count(end.removedExports, 'export')}, ${showSize(Number(end.bytes))}`
    if (typeof end.removed === 'number') return `removed ${count(end.removed, 'backup')}`
    return undefined
}
