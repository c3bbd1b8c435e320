/** What a saved fstab may add to the live one, and what it never may. */
import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exec, findProgram } from '../../src/host/exec.ts'
import { addToFstab, deviceLink, type FstabFacts, planFstab, verifyFstab } from '../../src/restore/fstab.ts'

const live = `# /etc/fstab: made by the installer
UUID=root / ext4 errors=remount-ro 0 1
UUID=efi /boot/efi vfat umask=0077 0 1
UUID=swap none swap sw 0 0
UUID=data\t/mnt/data\text4\tdefaults 0 2
`

function plan(backup: string, more: Partial<FstabFacts> = {}) {
    const here: Record<string, string> = {
        'UUID=new': '/dev/sdc1',
        'LABEL=media': '/dev/sdd1',
        'UUID=data': '/dev/sdb1',
    }
    return planFstab({
        live,
        backup,
        mounted: new Set(),
        units: new Set(),
        device: source => here[source],
        used: new Set(['/dev/sda2', '/dev/sdb1']),
        ...more,
    })
}
const why = (backup: string, more: Partial<FstabFacts> = {}) => {
    const { proposals, others } = plan(backup, more)
    expect(proposals).toEqual([])
    return others.map(other => other.why).join()
}

describe('what is proposed', () => {
    test('network file systems and devices that are here, made harmless for the boot', () => {
        const { proposals, others } = plan(
            'nas:/export/vm /mnt/nas nfs4 vers=4.2\nUUID=new /srv/new xfs noatime 0 1\nLABEL=media /media/x ext4\n',
        )
        expect(others).toEqual([])
        expect(proposals.map(({ line }) => line)).toEqual([
            'nas:/export/vm /mnt/nas nfs4 vers=4.2,nofail,x-systemd.device-timeout=30s,_netdev 0 0',
            'UUID=new /srv/new xfs noatime,nofail,x-systemd.device-timeout=30s 0 2',
            'LABEL=media /media/x ext4 defaults,nofail,x-systemd.device-timeout=30s 0 0',
        ])
    })

    test('options that are there already are not doubled, nor is a time limit overruled', () => {
        const [only] = plan('UUID=new /n ext4 nofail,x-systemd.device-timeout=5 0 2').proposals
        expect(only!.line).toBe('UUID=new /n ext4 nofail,x-systemd.device-timeout=5 0 2')
    })

    test('names with blanks and bytes that are not ASCII keep their meaning', () => {
        const [only] = plan('//nas/my\\040share /mnt/f\xfcr\\040alle cifs credentials=/root/c 0 0').proposals
        expect(only!.line).toStartWith('//nas/my\\040share /mnt/f\xfcr\\040alle cifs ')
        expect(only!.target).toBe('/mnt/f\xfcr alle')
    })
})

describe('what is never proposed', () => {
    test('what the host has already, however it is written', () => {
        expect(plan('UUID=other /mnt/data/ ext4\nUUID=other //mnt/./data xfs\nUUID=x / ext4\n')).toEqual({
            proposals: [],
            others: [],
            present: 3,
        })
    })

    for (const point of [
        '/boot',
        '/boot/efi2',
        '/usr',
        '/usr/local',
        '/var',
        '/etc/pve',
        '/dev/shm',
        '/root',
        '/home',
        '/tmp',
    ])
        test(`${point}, where the system lives`, () => {
            expect(why(`UUID=new ${point} ext4`)).toContain('the running system')
        })

    test('the root itself, on a host whose fstab names none, however it is spelled', () => {
        for (const root of ['/', '//', '/./', '/.'])
            expect(why(`UUID=new ${root} ext4`, { live: '' })).toContain('the running system')
        expect(why('UUID=new /mnt/../etc ext4')).toContain('no plain absolute path')
        expect(why('UUID=new relative ext4')).toContain('no plain absolute path')
        expect(why('UUID=new /mnt/\\012x ext4')).toContain('no plain absolute path')
    })

    test('swap, in every spelling', () => {
        expect(why('UUID=new none swap sw 0 0\n/swapfile swap swap sw\n/swap none swap')).toContain(
            'swap space',
        )
    })

    test('devices by names that change or that every host has', () => {
        for (const name of ['sda1', 'nvme0n1p2', 'vdb', 'md0', 'dm-3'])
            expect(why(`/dev/${name} /x ext4`, { device: () => '/dev/x' })).toContain(
                'another disk at each boot',
            )
        expect(why('/dev/mapper/pve-data /x ext4', { device: () => '/dev/dm-1' })).toContain('other hosts')
        expect(why('/dev/disk/by-path/pci-0 /x ext4', { device: () => '/dev/x' })).toContain('other hosts')
    })

    test('devices that are not here, or in use under another point', () => {
        expect(why('UUID=elsewhere /x ext4')).toBe('its device is not here')
        expect(why('UUID=data /x ext4')).toContain('in use already')
    })

    test('points where something is mounted, or a unit mounts something', () => {
        expect(why('UUID=new /tank ext4', { mounted: new Set(['/tank']) })).toContain('mounted there now')
        expect(why('UUID=new /d ext4', { units: new Set(['/d']) })).toContain('unit of systemd')
    })

    test('binds, odd types, and options that hold up a boot in spite of nofail', () => {
        expect(why('/a /b none bind 0 0')).toContain('bind mount')
        expect(why('tmpfs /x tmpfs size=1G')).toContain('type tmpfs')
        expect(why('UUID=new /x ext4 x-systemd.required-by=local-fs.target')).toContain('hold up the boot')
        expect(why('UUID=new /x ext4 x-initrd.mount')).toContain('hold up the boot')
    })

    test('a second entry for one point', () => {
        const { proposals, others } = plan('UUID=new /x ext4\nnas:/x /x nfs\n')
        expect([proposals.length, others.length]).toEqual([1, 1])
    })

    test('anything at all when the live table cannot be read', () => {
        expect(why('UUID=new /x ext4', { live: 'what is this\nbroken\n' })).toContain('an error of its own')
    })

    test('a broken line of the backup keeps no other from its chance', () => {
        const { proposals, others } = plan(
            'UUID=new\nUUID=new /x ext4 defaults zero\r\nLABEL=media /m ext4\r\n',
        )
        expect(proposals.map(({ target }) => target)).toEqual(['/m'])
        expect(others).toHaveLength(2)
    })

    test('passwords are not shown', () => {
        const { proposals, others } = plan(
            '//n/s /m cifs user=u,password=hunter2 0 0\n//n/t /etc cifs pass=hunter2',
        )
        expect(JSON.stringify([proposals.map(({ shown }) => shown), others])).not.toContain('hunter2')
        expect(proposals[0]!.line).toContain('password=hunter2')
    })

    test('a table of any size', () => {
        const { others, proposals } = plan(
            Array.from({ length: 5000 }, (_, i) => `nas:/e /m${i} nfs`).join('\n'),
        )
        expect(proposals.length).toBe(500)
        expect(others.at(-1)!.why).toContain('more than 500')
    })
})

describe('the merged table', () => {
    test('is the live one byte for byte, and the new lines', () => {
        for (const text of [live, live.trimEnd(), '# \xff odd\n\n\n', '', undefined]) {
            const merged = addToFstab(text, ['a b c d 0 0'], 'added\nby us')
            expect(merged).toStartWith(text ?? '')
            expect(merged).toEndWith('# added?by us\na b c d 0 0\n')
        }
        expect(addToFstab(live, [], 'x')).toBe(live)
    })

    test('sources are found where udev has them', () => {
        expect(deviceLink('UUID="ab-12"')).toBe('disk/by-uuid/ab-12')
        expect(deviceLink('PARTLABEL=my disk/1')).toBe('disk/by-partlabel/my\\x20disk\\x2f1')
        expect(deviceLink('/dev/disk/by-id/x')).toBe('disk/by-id/x')
        expect(deviceLink('/dev/../etc/passwd')).toBeUndefined()
        expect(deviceLink('nas:/x')).toBeUndefined()
    })

    const findmnt = findProgram('findmnt')
    if (findmnt === undefined) console.log('skip: findmnt is not installed')
    test.skipIf(findmnt === undefined)(
        'is held against findmnt, which does not mind what was wrong before',
        async () => {
            const directory = mkdtempSync(join(tmpdir(), 'proxsave-fstab-'))
            try {
                const write = (name: string, text: string) => {
                    writeFileSync(join(directory, name), text)
                    return join(directory, name)
                }
                const before = write('live', 'garbage\n')
                const good = write('good', 'garbage\nnas:/e /mnt/proxsave-none nfs nofail,_netdev 0 0\n')
                const bad = write('bad', 'garbage\nmore garbage\n')
                expect(await verifyFstab(exec, before, good)).toBeUndefined()
                expect(await verifyFstab(exec, before, bad)).toContain('findmnt')
            } finally {
                rmSync(directory, { recursive: true })
            }
        },
    )
})
