/** Reading the configuration again, as SIGHUP does. */
import { Type } from '@sinclair/typebox'
import { route } from '../route.ts'

export const reloadRoutes = [
    route({
        method: 'POST',
        path: '/v1/reload',
        summary: 'read the configuration again and have systemd follow it',
        access: 'root',
        answer: Type.Object({ problems: Type.Array(Type.String()) }),
        handle: (_, daemon) => daemon.reload(),
    }),
]
