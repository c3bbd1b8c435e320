/** PBS tape backup */
import { proxmoxTape } from '../commands.ts'
import type { Category } from '../category.ts'

export const pbsTape: Category = {
    id: 'pbs_tape',
    title: 'PBS tape backup',
    product: 'pbs',
    paths: [
        '/etc/proxmox-backup/tape.cfg',
        '/etc/proxmox-backup/tape-job.cfg',
        '/etc/proxmox-backup/media-pool.cfg',
        '/etc/proxmox-backup/tape-encryption-keys.json',
        '/etc/proxmox-backup/tape-encryption-key-config.json',
        // Which tape holds what. It can be read back from the tapes, in many hours.
        '/var/lib/proxmox-backup/tape/',
    ],
    commands: [
        proxmoxTape('drives.json', 'drive', 'list'),
        proxmoxTape('changers.json', 'changer', 'list'),
        proxmoxTape('media.json', 'media', 'list'),
    ],
    services: ['proxmox-backup-proxy.service', 'proxmox-backup.service'],
    strategy: 'objects',
    except: [{ path: '/var/lib/proxmox-backup/tape/', strategy: 'export' }],
    risk: 'high',
    modes: ['full'],
    validator: [
        { path: '/etc/proxmox-backup/tape.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/tape-job.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/media-pool.cfg', kind: 'pbs-section-config' },
        { path: '/etc/proxmox-backup/tape-encryption-keys.json', kind: 'json' },
        { path: '/etc/proxmox-backup/tape-encryption-key-config.json', kind: 'json' },
    ],
    about: 'Drives, changers, pools, jobs, encryption keys and the catalogue of tapes.',
}
