/** PVE backup jobs */
import { pvesh } from '../commands.ts'
import type { Category } from '../category.ts'

export const pveJobs: Category = {
    id: 'pve_jobs',
    title: 'PVE backup jobs',
    product: 'pve',
    paths: ['/etc/pve/jobs.cfg', '/etc/pve/vzdump.cron'],
    commands: [pvesh('not-backed-up.json', '/cluster/backup-info/not-backed-up')],
    services: ['pvedaemon.service', 'pvescheduler.service'],
    strategy: 'objects',
    risk: 'medium',
    modes: ['full', 'storage'],
    validator: [
        { path: '/etc/pve/jobs.cfg', kind: 'pve-section-config' },
        { path: '/etc/pve/vzdump.cron', kind: 'crontab' },
    ],
    about: 'Scheduled guest backups and realm synchronisation.',
}
