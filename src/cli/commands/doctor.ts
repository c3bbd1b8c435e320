/** `proxsavectl doctor`: checks everything that a backup or a restore needs, and says how to mend each. */
import type { Doctor } from '../../client/types.ts'
import { exitStatusOf } from '../../core/errors.ts'
import { count } from '../../core/units.ts'
import type { Command } from '../command.ts'
import { safe } from '../output.ts'

export const command: Command = {
    summary: 'check everything that a backup or a restore needs',
    about: 'Ends with 1 when a check failed and with 6 when one only warns.',
    statuses: [0, 1, 6],
    example: 'proxsavectl doctor',
    async run(cli) {
        const doctor = await cli.client.call<Doctor>('GET', '/v1/doctor')
        const failed = doctor.checks.filter(check => check.state === 'failed').length
        const warned = doctor.checks.filter(check => check.state === 'warning').length
        const status = failed > 0 ? exitStatusOf.failed : warned > 0 ? exitStatusOf.partial : 0
        if (cli.json) {
            cli.output.document(doctor)
            return status
        }
        const { line, colour } = cli.output
        const marks = {
            ok: colour('green', 'ok     '),
            warning: colour('yellow', 'warning'),
            failed: colour('red', 'failed '),
            skipped: colour('dim', 'skipped'),
        }
        for (const { state, title, text, hint } of doctor.checks) {
            line(`${marks[state]}  ${title}: ${safe(text)}`)
            if (hint !== undefined) line(`         hint: ${safe(hint)}`)
        }
        line()
        if (status === 0) line(colour('green', 'Everything that was checked is well.'))
        else line(`${count(failed, 'check')} failed, ${count(warned, 'check')} with a warning.`)
        return status
    },
}
