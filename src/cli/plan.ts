/** Prints the plan of a restore for a person: what would be done, to every single path. */
import { count, showSize } from '../core/units.ts'
import { type Output, safe, showTime } from './output.ts'

/** As the daemon sends it. */
export interface ShownPlan {
    backup: { id: string; path: string; created: string; host: string; signature: string }
    mode: string
    cluster?: string
    exact: boolean
    categories: { id: string; title: string; action: string; why?: string; entries: number; bytes: number }[]
    files: {
        create: string[]
        replace: string[]
        metadata: string[]
        remove: string[]
        merge: string[]
        unchanged: number
    }
    exports?: { directory: string; categories: string[] }
    services: { unit: string; state: string }[]
    console?: string
    guards: { title: string; apply?: string; commit: string; timeoutMs: number; files: number }[]
    commands: string[]
    warnings: string[]
    needs: { bytes: number; inodes: number }
    irreversible: string[]
}

export async function showPlan(output: Output, plan: ShownPlan): Promise<void> {
    const { backup, files, services, guards, commands, warnings, irreversible } = plan
    const { line, colour } = output
    const head = (text: string) => line(`\n${colour('bold', text)}`)
    line(
        `${colour('bold', 'Plan')}: restore ${backup.id} of ${safe(backup.host)}, made ${showTime(backup.created)}`,
    )
    line(
        `  mode ${plan.mode}${plan.cluster === undefined ? '' : `, cluster ${plan.cluster}`}${plan.exact ? ', exact' : ''}; signature: ${backup.signature}`,
    )

    if (plan.console !== undefined) line(`${colour('yellow', 'Before you go on')}: ${safe(plan.console)}`)

    head('Categories')
    await output.table(
        ['', 'CATEGORY', 'ENTRIES', 'SIZE', 'WHY'],
        plan.categories.map(({ id, action, why, entries, bytes }) => [
            action,
            id,
            String(entries),
            showSize(bytes),
            safe(why ?? ''),
        ]),
        [2, 3],
    )
    const list = (title: string, mark: string, paths: readonly string[]) => {
        if (paths.length === 0) return
        head(`${title} (${paths.length})`)
        for (const path of paths) line(`  ${mark} ${safe(path)}`)
    }
    list('Created', colour('green', '+'), files.create)
    list('Replaced', colour('yellow', '~'), files.replace)
    list('Merged by rule', colour('yellow', '&'), files.merge)
    list('Owner or mode set', colour('yellow', '='), files.metadata)
    list('Removed', colour('red', '-'), files.remove)
    line(
        `\n${count(files.unchanged, 'entry', 'entries')} ${files.unchanged === 1 ? 'is' : 'are'} as in the backup already.`,
    )
    if (plan.exports !== undefined) {
        head('Exported, not applied')
        line(`  ${plan.exports.categories.join(', ')}`)
        line(`  to ${safe(plan.exports.directory)}`)
    }
    if (services.length > 0) {
        head('Services stopped before and started after')
        for (const { unit, state } of services) line(`  ${unit} (${state})`)
    }
    if (guards.length > 0) {
        head('Guarded: goes back by itself unless confirmed over a new connection')
        for (const { title, apply, timeoutMs, files } of guards) {
            const asked = apply === undefined ? '' : `, applied only when ${apply} is answered with yes`
            line(`  ${title}: ${count(files, 'path')}, ${Math.round(timeoutMs / 1000)} s to confirm${asked}`)
        }
    }
    if (commands.length > 0) {
        head('Would run as root')
        for (const command of commands) line(`  ${command.split('\t').map(safe).join(' ')}`)
    }
    if (irreversible.length > 0) {
        head('Cannot be undone')
        for (const text of irreversible) line(`  ${safe(text)}`)
    }
    if (warnings.length > 0) {
        head('Warnings')
        for (const text of warnings) line(`  ${colour('yellow', '!')} ${safe(text)}`)
    }
    line(`\nNeeds ${showSize(plan.needs.bytes)} below the state directory while it runs.`)
}
