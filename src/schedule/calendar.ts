/** Asks systemd whether it understands a calendar expression; nobody else's opinion counts. */
import { type Exec, outputOf } from '../host/exec.ts'

export type CalendarCheck =
    /** `next` is systemd's own words for the next time, such as "Sat 2026-11-21 02:30:00 CET". */
    | { ok: true; next: string | undefined }
    | { ok: false; why: string }
    /** systemd-analyze is not here, or does not answer: nothing is known. */
    | { ok: undefined; why: string }

export async function checkCalendar(exec: Exec, schedule: string): Promise<CalendarCheck> {
    const result = await exec(['systemd-analyze', 'calendar', '--', schedule])
    if (!result.found) return { ok: undefined, why: 'systemd-analyze is not installed' }
    if (result.timedOut || result.status === null)
        return { ok: undefined, why: 'systemd-analyze did not answer' }
    const output = outputOf(result)
    if (!output.ok) return { ok: false, why: `systemd does not understand "${schedule}"` }
    const next = /^\s*Next elapse:\s*(.+?)\s*$/m.exec(output.text)?.[1]
    if (next === 'never') return { ok: false, why: `"${schedule}" never comes` }
    return { ok: true, next }
}
