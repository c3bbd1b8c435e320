/** The scheduled backups of the configuration. */
import { JobInfo, JobList } from '../../core/answers.ts'
import { jobNamed } from '../../schedule/apply.ts'
import { route } from '../route.ts'
import { readJobs } from '../status.ts'

export const jobRoutes = [
    route({
        method: 'GET',
        path: '/v1/jobs',
        summary: 'the jobs and when they run next',
        access: 'root',
        answer: JobList,
        async handle(_, daemon) {
            daemon.usableConfig()
            return { jobs: await readJobs(daemon) }
        },
    }),
    route({
        method: 'GET',
        path: '/v1/jobs/{name}',
        summary: 'one job',
        access: 'root',
        answer: JobInfo,
        async handle({ params }, daemon) {
            const { name } = jobNamed(daemon.usableConfig(), params.name!)
            return (await readJobs(daemon)).find(job => job.name === name)
        },
    }),
]
