import { describe, expect, test } from 'bun:test'
import { storageMounts } from '../../src/targets/storage-mounts.ts'

describe('the mount points of a storage.cfg', () => {
    test('are those of network storages, and of directories that say so', () => {
        const text = [
            'dir: local\n\tpath /var/lib/vz\n\tcontent iso',
            'nfs: nas\n\texport /tank\n\tserver 10.0.0.2\n\tpath /mnt/pve/nas/',
            'cifs: office\n\tserver 10.0.0.3\n\tshare s',
            'nfs: old\n\tdisable\n\texport /x\n\tserver 10.0.0.4',
            'dir: usb\n\tpath /mnt/usb\n\tis_mountpoint 1',
            'dir: usb-two\n\tpath /media/disk/dump\n\tis_mountpoint /media/disk',
            'dir: plain\n\tpath /srv\n\tis_mountpoint no',
        ].join('\n\n')
        expect(storageMounts(`${text}\n`)).toEqual([
            '/mnt/pve/nas',
            '/mnt/pve/office',
            '/mnt/usb',
            '/media/disk',
        ])
    })

    test('are none when it is broken', () => {
        expect(storageMounts('nonsense\n')).toEqual([])
        expect(storageMounts('')).toEqual([])
    })
})
