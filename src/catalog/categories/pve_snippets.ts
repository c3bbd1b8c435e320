/** PVE snippets and video BIOS files */
import type { Category } from '../category.ts'

export const pveSnippets: Category = {
    id: 'pve_snippets',
    title: 'PVE snippets and video BIOS files',
    product: 'pve',
    paths: ['/var/lib/vz/snippets/', '/usr/share/kvm/*vbios*', '/usr/share/kvm/*VBIOS*'],
    strategy: 'replace',
    risk: 'low',
    modes: ['full'],
    about: 'Hook scripts and cloud-init files of the default storage and video BIOS images, without which some guests do not start.',
}
