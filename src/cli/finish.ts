/** Waits for a short change whose steps nobody needs to watch, such as that of `keys add`. */
import { fromRecord, Fault } from '../core/errors.ts'
import type { ChangeEvent, ProgressEvent } from '../client/types.ts'
import type { Cli } from './command.ts'

type EndEvent = Extract<ChangeEvent, { event: 'end' }>

/** Resolves to the end of a change that went well; throws the fault of one that did not. */
export async function finishChange(cli: Cli, change: string): Promise<EndEvent> {
    const warnings: string[] = []
    for await (const event of cli.client.stream<ChangeEvent | ProgressEvent>(
        'GET',
        `/v1/changes/${change}/events`,
    )) {
        if (event.event === 'log' && event.level === 'warning') warnings.push(event.text)
        if (event.event !== 'end') continue
        if (event.left !== undefined && event.left.length > 0)
            throw new Fault('stuck', `cannot undo everything: ${event.left.join('; ')}`)
        if (event.error !== undefined && event.result !== 'warning') throw fromRecord(event.error)
        for (const text of warnings) cli.output.note(`warning: ${text}`)
        return event
    }
    throw new Fault('unreachable', 'cannot follow the change: the daemon ended the answer early', {
        hint: `proxsavectl history ${change} tells what became of it`,
    })
}
