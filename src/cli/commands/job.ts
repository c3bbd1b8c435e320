/** `proxsavectl job`: the scheduled backups of the configuration. */
import type { JobInfo, JobList } from '../../client/types.ts'
import type { Command, CommandGroup } from '../command.ts'
import { safe, showTime } from '../output.ts'
import { command as backup } from './backup.ts'

const list: Command = {
    summary: 'list the jobs and when they run next',
    statuses: [0, 1],
    example: 'proxsavectl job list',
    async run(cli) {
        const answer = await cli.client.call<JobList>('GET', '/v1/jobs')
        if (cli.json) cli.output.document(answer)
        else if (answer.jobs.length === 0) cli.output.line('No jobs. `proxsavectl setup` makes one.')
        else
            await cli.output.table(
                ['JOB', 'SCHEDULE', 'TARGETS', 'NEXT', 'LAST'],
                answer.jobs.map(job => [
                    job.name,
                    job.schedule,
                    job.targets.join(','),
                    job.next === undefined ? (job.active ? '-' : 'not active') : showTime(job.next),
                    job.last === undefined ? '-' : `${job.last.result} ${showTime(job.last.time)}`,
                ]),
            )
        return 0
    },
}

const show: Command = {
    summary: 'show one job',
    arguments: [{ usage: '<name>', about: 'name of the job: [job.NAME]' }],
    statuses: [0, 1],
    example: 'proxsavectl job show daily',
    async run(cli, [name]) {
        const job = await cli.client.call<JobInfo>('GET', `/v1/jobs/${encodeURIComponent(String(name))}`)
        if (cli.json) {
            cli.output.document(job)
            return 0
        }
        const row = (title: string, text: string) =>
            cli.output.line(`${cli.output.colour('bold', title.padEnd(11))} ${safe(text)}`)
        row('job', job.name)
        row('schedule', job.schedule)
        row('timer', job.active ? 'active' : 'not active')
        row('next', job.next === undefined ? '-' : showTime(job.next))
        row('targets', job.targets.join(', '))
        row('categories', job.categories === 'all' ? 'all' : job.categories.join(', '))
        if (job.note !== undefined) row('note', job.note)
        row(
            'last',
            job.last === undefined
                ? '-'
                : `${job.last.result}, ${showTime(job.last.time)}, change ${job.last.change}`,
        )
        return 0
    },
}

const run: Command = {
    summary: 'run one job now',
    arguments: [{ usage: '<name>', about: 'name of the job: [job.NAME]' }],
    options: backup.options?.filter(option => !/^--(job|target) /.test(option.flags)),
    statuses: backup.statuses,
    example: 'proxsavectl job run daily',
    run: (cli, [name], options) => backup.run(cli, [], { ...options, job: String(name) }),
}

export const command: CommandGroup = {
    summary: 'list, show or run the scheduled backups',
    commands: { list, show, run },
}
