/** The story of a change as a text file beside its journal: for `less`, for mail, for when the daemon is gone. */
import { join } from 'node:path'
import { asFault } from '../core/errors.ts'
import { showDuration } from '../core/units.ts'
import type { ChangeEvent } from '../engine/change.ts'
import type { JournalRecord } from '../engine/ledger.ts'
import { journalSocket, sendToJournal } from '../host/journald.ts'
import type { DaemonParts } from './daemon.ts'

export const changeLogName = 'log.txt'

/** Tells the journal of the host each event as it comes, and writes the log when the change is over. */
export async function keepLog(parts: DaemonParts, id: string): Promise<void> {
    const { runner, root, disk } = parts
    if (root === '/' && disk.exists(journalSocket)) {
        try {
            await tellJournal(runner, id)
        } catch (error) {
            parts.log.warning(`cannot tell the journal about ${id}: ${asFault(error).message}`)
        }
    }
    await runner.wait(id)
    writeChangeLog(parts, id)
}

async function tellJournal(runner: DaemonParts['runner'], id: string): Promise<void> {
    const titles = new Map<string, string>()
    for await (const event of runner.events(id)) {
        if (event.event === 'progress') continue
        if (event.event === 'begin') for (const { id, title } of event.tasks) titles.set(id, title)
        const text = describe(event, titles)
        if (text === undefined) continue
        const warning = event.event === 'log' && event.level === 'warning'
        const failed = (event.event === 'task' && event.error !== undefined) || event.event === 'recovery'
        sendToJournal({
            MESSAGE: text,
            PRIORITY: failed ? '3' : warning ? '4' : '6',
            SYSLOG_IDENTIFIER: 'proxsaved',
            PROXSAVE_CHANGE: id,
            PROXSAVE_EVENT: event.event,
            ...('task' in event && typeof event.task === 'string' ? { PROXSAVE_TASK: event.task } : {}),
            ...(event.event === 'task' ? { PROXSAVE_STATE: event.state } : {}),
            ...(event.event === 'end' ? { PROXSAVE_RESULT: event.result } : {}),
        })
    }
}

/** Writes STATE/changes/ID/log.txt; one that cannot be written is told, because the journal has it all. */
export function writeChangeLog({ store, disk, log }: DaemonParts, id: string): void {
    try {
        const reader = store.reader(id)
        const events: ChangeEvent[] = []
        for (let record = reader.next(); record !== undefined; record = reader.next())
            events.push((record as unknown as JournalRecord).event)
        disk.replace(join(store.directory(id), changeLogName), Buffer.from(describeChange(events)), 0o600)
    } catch (error) {
        log.warning(`cannot write the log of ${id}: ${asFault(error).message}`)
    }
}

export function describeChange(events: readonly ChangeEvent[]): string {
    const titles = new Map<string, string>()
    const lines = events.flatMap(event => {
        if (event.event === 'begin') for (const { id, title } of event.tasks) titles.set(id, title)
        const text = describe(event, titles)
        return text === undefined ? [] : [`${event.time}  ${oneLine(text)}`]
    })
    const [first, last] = [events[0], events.at(-1)]
    if (first !== undefined && last?.event === 'end') {
        const took = Date.parse(last.time) - Date.parse(first.time)
        const { event: _event, seq: _seq, time: _time, error: _error, ...facts } = last
        lines.push('', `took ${showDuration(took)}`)
        for (const [name, value] of Object.entries(facts))
            lines.push(`${name}: ${oneLine(typeof value === 'string' ? value : JSON.stringify(value))}`)
    }
    return `${lines.join('\n')}\n`
}

function describe(event: ChangeEvent, titles: ReadonlyMap<string, string>): string | undefined {
    switch (event.event) {
        case 'begin':
            return `${event.summary}, by ${event.by}`
        case 'task': {
            const error = event.error === undefined ? '' : `: ${event.error.message}`
            return `${event.state}: ${titles.get(event.task) ?? event.task}${error}`
        }
        case 'log':
            return `${event.level === 'warning' ? 'warning: ' : ''}${event.text}`
        case 'question':
            return `asked ${event.id}: ${event.text}`
        case 'answer':
            return `answered ${event.id}: ${event.value} (${event.by})`
        case 'recovery':
            return `recovery: ${event.text}`
        case 'end':
            return `ended: ${event.result}${event.error === undefined ? '' : `: ${event.error.message}`}`
    }
}

/** Names from an archive must not forge lines of a log. */
const oneLine = (text: string): string =>
    text.replaceAll(
        /[\x00-\x1f\x7f-\x9f]/g,
        character => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
