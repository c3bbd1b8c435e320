/** A small Proxmox VE host as a tree of files: what the demonstration saves and damages. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const files: Record<string, string> = {
    'etc/hostname': 'attic\n',
    'etc/hosts': '127.0.0.1 localhost\n192.0.2.10 attic.home.example attic\n',
    'etc/debian_version': '13.1\n',
    'etc/machine-id': '5d0c1f3a9b8e4c5f8a7d2e6b1c3f4a59\n',
    'etc/timezone': 'Europe/Vienna\n',
    'etc/fstab': [
        '# <file system> <mount point> <type> <options> <dump> <pass>',
        '/dev/pve/root / ext4 errors=remount-ro 0 1',
        '/dev/pve/swap none swap sw 0 0',
        'UUID=2c1b6c1e-53a4-4d0e-9a11-5f5b7a0f2d33 /mnt/shelf xfs nofail 0 2',
        '',
    ].join('\n'),
    'etc/network/interfaces': [
        'auto lo',
        'iface lo inet loopback',
        '',
        'iface enp3s0 inet manual',
        '',
        '# the bridge that every guest hangs on',
        'auto vmbr0',
        'iface vmbr0 inet static',
        '\taddress 192.0.2.10/24',
        '\tgateway 192.0.2.1',
        '\tbridge-ports enp3s0',
        '\tbridge-stp off',
        '\tbridge-fd 0',
        '',
    ].join('\n'),
    'etc/resolv.conf': 'search home.example\nnameserver 192.0.2.1\n',
    'etc/ssh/sshd_config': 'PermitRootLogin prohibit-password\nPasswordAuthentication no\n',
    'etc/default/grub': 'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=on"\n',
    'etc/modules-load.d/vfio.conf': 'vfio\nvfio_iommu_type1\nvfio_pci\n',
    'etc/sysctl.d/90-forward.conf': 'net.ipv4.ip_forward = 1\n',
    'etc/cron.d/scrub': '0 3 1 * * root /usr/local/sbin/shelf-scrub\n',
    'etc/passwd': 'root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000:Anna:/home/anna:/bin/bash\n',
    'etc/group': 'root:x:0:\nanna:x:1000:\n',
    'etc/shadow': 'root:!:20400:0:99999:7:::\nanna:!:20400:0:99999:7:::\n',
    'etc/pve/datacenter.cfg': 'keyboard: de\nmigration: secure\n',
    'etc/pve/storage.cfg': [
        'dir: local',
        '\tpath /var/lib/vz',
        '\tcontent iso,vztmpl,backup',
        '',
        'lvmthin: local-lvm',
        '\tthinpool data',
        '\tvgname pve',
        '\tcontent rootdir,images',
        '',
    ].join('\n'),
    'etc/pve/user.cfg':
        'user:root@pam:1:0:::root@home.example:::\nuser:anna@pve:1:0:Anna::::\nacl:1:/vms:anna@pve:PVEVMAdmin:\n',
    'etc/pve/nodes/attic/qemu-server/100.conf': [
        'boot: order=scsi0',
        'cores: 2',
        'memory: 4096',
        'name: mail',
        'net0: virtio=BC:24:11:5A:00:01,bridge=vmbr0,firewall=1',
        'onboot: 1',
        'scsi0: local-lvm:vm-100-disk-0,size=32G',
        '',
    ].join('\n'),
    'etc/pve/nodes/attic/lxc/101.conf': [
        'arch: amd64',
        'hostname: files',
        'memory: 1024',
        'net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:5A:00:02,ip=dhcp,type=veth',
        'rootfs: local-lvm:vm-101-disk-0,size=8G',
        '',
    ].join('\n'),
    'etc/pve/firewall/cluster.fw': '[OPTIONS]\nenable: 1\n\n[RULES]\nIN SSH(ACCEPT) -source 192.0.2.0/24\n',
    'root/.ssh/authorized_keys':
        'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMk0n8rVdW8vU6JmXzFvB3s0hVqXyJ7b1c2d3e4f5g6h anna@desk\n',
    'root/notes.txt': 'The shelf is the disk with the green label.\n',
    'usr/local/sbin/shelf-scrub': '#!/bin/sh\nexec xfs_scrub -n /mnt/shelf\n',
    'var/lib/dpkg/status': [
        ['dpkg', '1.22.21'],
        ['base-files', '13.8'],
        ['pve-manager', '9.1.2'],
    ]
        .map(
            ([name, version]) =>
                `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\n`,
        )
        .join('\n'),
}

/** Writes the host below `root`, which is an empty directory. */
export function makeDemoHost(root: string): void {
    for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true })
        writeFileSync(join(root, path), text, { mode: path.includes('/sbin/') ? 0o755 : 0o644 })
    }
    mkdirSync(join(root, 'var/backups'), { recursive: true })
    // pmxcfs shows a node's own guests here too.
    symlinkSync('nodes/attic/qemu-server', join(root, 'etc/pve/qemu-server'))
    symlinkSync('nodes/attic', join(root, 'etc/pve/local'))
}
