/** Services with the real names of Proxmox products, each with a temper: slow, deaf, at rest. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Machine } from '../machine.ts'

interface StandIn {
    name: string
    /** Enabled, and so active after a boot; default yes. */
    runs?: boolean
    /** More lines of its section [Service]. */
    lines?: string[]
    start?: string
}

/** While one of these files is there, pvedaemon neither stops nor starts: a test holds a restore in that phase. */
export const holds = { stop: '/run/hold-stop', start: '/run/hold-start' } as const

const wait = (file: string) => `/bin/sh -c 'while [ -e ${file} ]; do sleep 0.02; done'`

const services: StandIn[] = [
    {
        name: 'pve-cluster',
        // As pmxcfs: what is below /etc/pve is there while it runs, and is made of something else.
        lines: [
            'ExecStartPre=/usr/libexec/stand-in-pmxcfs mount',
            'ExecStopPost=/usr/libexec/stand-in-pmxcfs umount',
        ],
    },
    { name: 'corosync', runs: false },
    {
        name: 'pvedaemon',
        lines: [
            `ExecStartPre=${wait(holds.start)}`,
            `ExecStop=${wait(holds.stop)}`,
            'ExecStop=/bin/sleep 0.2',
        ],
    },
    { name: 'pveproxy' },
    {
        name: 'pvestatd',
        start: `/bin/sh -c 'trap "" TERM; while :; do sleep 1; done'`,
        lines: ['TimeoutStopSec=500ms'],
    },
    { name: 'spiceproxy', runs: false },
    { name: 'pvescheduler' },
    { name: 'pve-firewall' },
    { name: 'pve-ha-lrm' },
    { name: 'pve-ha-crm' },
    { name: 'proxmox-backup' },
    { name: 'proxmox-backup-proxy', lines: ['ExecStop=/bin/sleep 0.1'] },
]

/** All of them, and one that no machine here has. */
export const units = [...services.map(({ name }) => `${name}.service`), 'chrony.service']

/** Writes units, and the commands of the products that a backup and a check ask. */
export function installServices(machine: Machine): void {
    const wanted = machine.path('/etc/systemd/system/multi-user.target.wants')
    mkdirSync(wanted, { recursive: true })
    for (const { name, runs = true, lines = [], start = '/bin/sleep infinity' } of services) {
        const unit = [
            ...['[Unit]', `Description=stand-in of ${name}`, '[Service]', `ExecStart=${start}`, ...lines],
            ...['[Install]', 'WantedBy=multi-user.target', ''],
        ]
        put(machine, `/usr/lib/systemd/system/${name}.service`, unit.join('\n'))
        if (runs) symlinkSync(`/usr/lib/systemd/system/${name}.service`, `${wanted}/${name}.service`)
    }
    put(
        machine,
        '/usr/libexec/stand-in-pmxcfs',
        `#!/bin/sh
set -e
case $1 in
mount)
    mountpoint -q /etc/pve || mount -t tmpfs -o mode=755 pmxcfs /etc/pve
    # A copy, since whoever opens a database merges its log.
    rm -rf /run/stand-in-pmxcfs && mkdir /run/stand-in-pmxcfs
    cp /var/lib/pve-cluster/config.db* /run/stand-in-pmxcfs/
    sqlite3 /run/stand-in-pmxcfs/config.db >/dev/null "
        WITH RECURSIVE below(inode, path, type, data) AS (
            SELECT inode, name, type, data FROM tree WHERE parent = 0 AND inode > 0
            UNION ALL SELECT t.inode, b.path || '/' || t.name, t.type, t.data
            FROM tree t JOIN below b ON t.parent = b.inode)
        SELECT writefile('/etc/pve/' || path, coalesce(data, ''), CASE type WHEN 4 THEN 16877 ELSE 33184 END)
        FROM below ORDER BY path" ;;
umount) ! mountpoint -q /etc/pve || umount /etc/pve ;;
esac
`,
    )
    put(
        machine,
        '/usr/bin/pvesh',
        `#!/bin/sh
systemctl is-active --quiet pvedaemon || { echo "no answer of pvedaemon" >&2; exit 1; }
case "$2" in
/version) echo '{"version":"9.1.2","release":"9.1"}' ;;
/cluster/resources) echo '[{"type":"node","node":"trixie","status":"online"}]' ;;
*) echo '[]' ;;
esac
`,
    )
    put(
        machine,
        '/usr/bin/pvesm',
        "#!/bin/sh\necho 'Name Type Status Total Used Available %'\necho 'local dir active 1 1 1 1%'\n",
    )
    put(
        machine,
        '/usr/bin/proxmox-backup-manager',
        "#!/bin/sh\nsystemctl is-active --quiet proxmox-backup-proxy || exit 1\necho '[]'\n",
    )
}

function put(machine: Machine, path: string, text: string): void {
    mkdirSync(dirname(machine.path(path)), { recursive: true })
    writeFileSync(machine.path(path), text)
    if (!path.endsWith('.service')) chmodSync(machine.path(path), 0o755)
}
