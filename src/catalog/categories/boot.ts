/** Boot. What it holds acts before the guard could: it is only ever exported. */
import type { Category } from '../category.ts'

export const boot: Category = {
    id: 'boot',
    title: 'Boot',
    product: 'common',
    paths: [
        '/etc/kernel/',
        '/etc/default/grub',
        '/etc/default/grub.d/',
        '/etc/grub.d/',
        '/etc/initramfs-tools/',
        '/etc/dracut.conf',
        '/etc/dracut.conf.d/',
        '/etc/cryptsetup-initramfs/',
        '/etc/dropbear/initramfs/',
        '/etc/dropbear-initramfs/',
        '/etc/kernel-img.conf',
        '/boot/grub/grub.cfg',
        '/boot/grub/custom.cfg',
        '/boot/loader/',
    ],
    commands: [
        { file: 'cmdline.txt', argv: ['cat', '/proc/cmdline'] },
        { file: 'proxmox-boot-tool.txt', argv: ['proxmox-boot-tool', 'status'], okStatuses: [0, 1, 2] },
        { file: 'efibootmgr.txt', argv: ['efibootmgr', '-v'], okStatuses: [0, 2] },
    ],
    strategy: 'export',
    risk: 'high',
    modes: ['full'],
    about: 'Kernel command line, boot loader, initramfs and the boot partitions of proxmox-boot-tool.',
}
