/** How the daemon and its host are doing. */
import { Doctor, Status } from '../../core/answers.ts'
import { examine } from '../doctor.ts'
import { route } from '../route.ts'
import { readStatus } from '../status.ts'

export const statusRoutes = [
    route({
        method: 'GET',
        path: '/v1/status',
        summary: 'daemon, last and next backup, unfinished changes, warnings',
        access: 'root',
        answer: Status,
        handle: (_, daemon) => readStatus(daemon),
    }),
    route({
        method: 'GET',
        path: '/v1/doctor',
        summary: 'everything that a backup or a restore needs, checked',
        access: 'root',
        answer: Doctor,
        handle: async (_, daemon) => ({ checks: await examine(daemon) }),
    }),
]
