/** `proxsavectl history`: every change, what it did and who asked. */
import type { ChangeEvent, ChangeInfo, ChangeList } from '../../client/types.ts'
import { showDuration, showSize } from '../../core/units.ts'
import type { Cli, Command } from '../command.ts'
import { safe, showTime } from '../output.ts'

export const command: Command = {
    summary: 'list the changes, or tell what one did',
    arguments: [{ usage: '[change]', about: 'id or beginning of one' }],
    statuses: [0, 1],
    example: 'proxsavectl history --json | jq ".changes[0].result"',
    async run(cli, [change]) {
        if (change !== undefined) return showChange(cli, String(change))
        const list = await cli.client.call<ChangeList>('GET', '/v1/changes')
        if (cli.json) {
            cli.output.document(list)
            return 0
        }
        if (list.changes.length === 0) {
            cli.output.line('Nothing was changed yet.')
            return 0
        }
        await cli.output.table(
            ['CHANGE', 'BEGAN', 'RESULT', 'BY', 'WHAT'],
            list.changes.map(({ id, began, result, state, by, summary }) => [
                id,
                showTime(began),
                result ?? state,
                safe(by),
                safe(summary),
            ]),
        )
        return 0
    },
}

async function showChange(cli: Cli, id: string): Promise<number> {
    const detail = await cli.client.call<ChangeInfo & { events: ChangeEvent[] }>(
        'GET',
        `/v1/changes/${encodeURIComponent(id)}`,
    )
    if (cli.json) {
        cli.output.document(detail)
        return 0
    }
    const { line, colour } = cli.output
    const row = (name: string, text: string) => line(`${colour('bold', name.padEnd(9))} ${safe(text)}`)
    row('change', detail.id)
    row('what', detail.summary)
    row('by', detail.by)
    row('began', showTime(detail.began))
    if (detail.ended !== undefined)
        row('took', showDuration(Date.parse(detail.ended) - Date.parse(detail.began)))
    row('result', detail.result ?? detail.state)
    for (const [name, value] of Object.entries(detail.facts)) row(name, showFact(name, value))
    line()
    const titles = new Map<string, string>()
    for (const event of detail.events) {
        const text = describe(event, titles)
        if (text !== undefined) line(`${event.time.slice(11, 19)}  ${safe(text)}`)
    }
    return 0
}

function showFact(name: string, value: unknown): string {
    if ((name === 'size' || name === 'bytes') && typeof value === 'number') return showSize(value)
    if (Array.isArray(value) && value.every(one => typeof one === 'string')) return value.join(', ')
    return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function describe(event: ChangeEvent, titles: Map<string, string>): string | undefined {
    switch (event.event) {
        case 'begin':
            for (const { id, title } of event.tasks) titles.set(id, title)
            return `began: ${event.summary}`
        case 'task': {
            const error = event.error === undefined ? '' : `: ${event.error.message}`
            return `${event.state.padEnd(7)} ${titles.get(event.task) ?? event.task}${error}`
        }
        case 'log':
            return `${event.level === 'warning' ? 'warning: ' : ''}${event.text}`
        case 'question':
            return `asked ${event.id}: ${event.text.replaceAll('\n', ' ')}`
        case 'answer':
            return `answered ${event.id}: ${event.value} (${event.by})`
        case 'recovery':
            return `recovery: ${event.text}`
        case 'end':
            return `ended: ${event.result}${event.error === undefined ? '' : `: ${event.error.message}`}`
    }
}
