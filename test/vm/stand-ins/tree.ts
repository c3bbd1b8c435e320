/** What a machine with both products has on its disk, what becomes of it, and which parts of it are compared. */
import { Database } from 'bun:sqlite'
import { createHash } from 'node:crypto'
import {
    appendFileSync,
    chmodSync,
    copyFileSync,
    linkSync,
    mkdirSync,
    renameSync,
    rmSync,
    symlinkSync,
    unlinkSync,
    writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import type { Machine } from '../machine.ts'
import { describeTree, makeOdd, type Tree } from '../tree.ts'

const pve: Record<string, string> = {
    'storage.cfg': 'dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup,snippets\n\n',
    'datacenter.cfg': 'keyboard: de\n',
    'user.cfg': 'user:root@pam:1:0::::::\n',
    'jobs.cfg': 'vzdump: backup-all\n\tschedule 02:00\n\tall 1\n\tstorage local\n\n',
    'nodes/trixie/qemu-server/100.conf': 'cores: 2\nmemory: 2048\nname: mail\n',
    'firewall/cluster.fw': '[OPTIONS]\nenable: 0\n',
}

const host: Record<string, string> = {
    'etc/vzdump.conf': 'bwlimit: 100000\n',
    'etc/corosync/uidgid.d/stand-in': 'uidgid {\n  uid: 42\n}\n',
    'etc/ssl/private/site.key': 'the key of the site\n',
    'etc/ssl/site.pem': 'the certificate of the site\n',
    'etc/letsencrypt/renewal/site.conf': 'version = 4\n',
    'etc/systemd/system/report.service': '[Service]\nExecStart=/usr/local/sbin/report\n',
    'etc/systemd/timesyncd.conf': '[Time]\nNTP=192.0.2.7\n',
    'etc/default/stand-in': 'OPTIONS=-v\n',
    'etc/zfs/zed.d/zed.rc': 'ZED_DEBUG_LOG=1\n',
    'etc/cron.d/report': '0 3 * * * root /usr/local/sbin/report\n',
    'etc/stand-in.conf': 'rest of /etc\n',
    'etc/fstab': 'shelf.example:/srv/shelf /mnt/shelf nfs defaults 0 0\n',
    'etc/ssh/sshd_config.d/50-site.conf': 'MaxAuthTries 5\n',
    'etc/ssh/sshd_config.d/60-lost.conf': 'Banner none\n',
    'etc/proxmox-backup/datastore.cfg': 'datastore: store\n\tpath /srv/store\n\n',
    'etc/proxmox-backup/user.cfg': 'user: root@pam\n\n',
    'usr/local/sbin/report': '#!/bin/sh\nexec uptime\n',
    'var/lib/vz/snippets/hook.pl': '#!/usr/bin/perl\nexit 0;\n',
    'root/notes.txt': 'The shelf is the disk with the green label.\n',
    'home/anna/.profile': 'umask 077\n',
}

/** Makes the disk of a machine that is not booted yet that of a host with both products. */
export async function dressTree(machine: Machine): Promise<void> {
    const at = (path: string) => machine.path(path)
    for (const [path, text] of Object.entries(host)) write(at(path), text)
    mkdirSync(at('etc/pve'), { recursive: true })
    chmodSync(at('etc/ssl/private/site.key'), 0o600)
    chmodSync(at('usr/local/sbin/report'), 0o755)
    linkSync(at('etc/ssl/site.pem'), at('etc/ssl/site-too.pem'))
    symlinkSync('site.pem', at('etc/ssl/current.pem'))
    await makeOdd(at('usr/local/odd'))
    // Its 64 MiB would be read in every comparison; the round trip has it.
    rmSync(at('usr/local/odd/sparse'))
    writeFileSync(at('usr/local/share/large'), filled(4 << 20, 'large'))
    makeDatabase(machine, {})
    for (const [name, version] of [
        ['pve-manager', '9.1.2'],
        ['proxmox-backup-server', '4.1.0-1'],
    ]) {
        appendFileSync(
            at('var/lib/dpkg/status'),
            `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nMaintainer: test <test@test.invalid>\nVersion: ${version}\nDescription: stand-in\n\n`,
        )
        writeFileSync(at(`var/lib/dpkg/info/${name}.list`), '')
    }
}

/** The same content whenever it is asked for, and nothing that compresses. */
export function filled(bytes: number, seed: string): Buffer {
    const pieces: Buffer[] = []
    let piece = Buffer.from(seed)
    for (let size = 0; size < bytes; size += piece.length) {
        piece = createHash('sha512').update(piece).digest()
        pieces.push(piece)
    }
    return Buffer.concat(pieces, bytes)
}

const databasePath = 'var/lib/pve-cluster/config.db'

/** The database of the cluster, which also has these files. */
export function makeDatabase(machine: Machine, more: Record<string, string>): void {
    const path = machine.path(databasePath)
    mkdirSync(dirname(path), { recursive: true })
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true })
    const database = new Database(path, { create: true })
    database.run('PRAGMA journal_mode = WAL')
    database.run(
        'CREATE TABLE tree (inode INTEGER PRIMARY KEY NOT NULL, parent INTEGER NOT NULL, version INTEGER NOT NULL, writer INTEGER NOT NULL, mtime INTEGER NOT NULL, type INTEGER NOT NULL, name TEXT NOT NULL, data BLOB)',
    )
    const add = database.prepare('INSERT INTO tree VALUES (?, ?, ?, 0, 1700000000, ?, ?, ?)')
    add.run(0, 0, 90, 8, '__version__', null)
    const inodes = new Map<string, number>([['.', 0]])
    let inode = 1
    for (const [file, text] of Object.entries({ ...pve, ...more })) {
        const names = file.split('/')
        let parent = 0
        for (const [depth, name] of names.entries()) {
            const path = names.slice(0, depth + 1).join('/')
            const isFile = depth === names.length - 1
            if (!inodes.has(path)) {
                inodes.set(path, ++inode)
                add.run(inode, parent, inode, isFile ? 8 : 4, name, isFile ? Buffer.from(text) : null)
            }
            parent = inodes.get(path)!
        }
    }
    add.finalize()
    database.close()
    chmodSync(path, 0o600)
}

/** A guest is lost and a storage changed, and the log of it is not merged: as a node leaves it that was reset. */
export function damageDatabase(machine: Machine): void {
    const path = machine.path(databasePath)
    const database = new Database(path)
    database.run('PRAGMA journal_mode = WAL')
    database.run('PRAGMA wal_autocheckpoint = 0')
    database.run("DELETE FROM tree WHERE name = '100.conf'")
    database.run("UPDATE tree SET data = CAST('dir: other' AS BLOB), version = 99 WHERE name = 'storage.cfg'")
    for (const suffix of ['', '-wal']) copyFileSync(`${path}${suffix}`, `${path}.kept${suffix}`)
    database.close()
    for (const suffix of ['', '-wal']) {
        renameSync(`${path}.kept${suffix}`, `${path}${suffix}`)
        chmodSync(`${path}${suffix}`, 0o600)
    }
    rmSync(`${path}-shm`, { force: true })
}

/** What people and accidents do to a host after its backup. */
export async function damage(machine: Machine): Promise<void> {
    const at = (path: string) => machine.path(path)
    damageDatabase(machine)
    // Replaced.
    writeFileSync(at('etc/vzdump.conf'), 'bwlimit: 1\n# a longer one than before\n')
    writeFileSync(at('etc/ssl/private/site.key'), 'another key\n')
    writeFileSync(at('etc/systemd/system/report.service'), '[Service]\nExecStart=/bin/false\n')
    writeFileSync(at('etc/stand-in.conf'), 'something else\n')
    writeFileSync(at('usr/local/odd/attributes'), 'without what it was\n')
    writeFileSync(at('usr/local/share/large'), filled(4 << 20, 'other'))
    writeFileSync(at('root/notes.txt'), 'lost\n')
    // Owner or mode only.
    chmodSync(at('etc/default/stand-in'), 0o600)
    chmodSync(at('usr/local/odd/sticky'), 0o700)
    // Gone.
    for (const path of ['etc/corosync/uidgid.d/stand-in', 'etc/systemd/timesyncd.conf', 'etc/cron.d/report'])
        unlinkSync(at(path))
    for (const path of ['etc/letsencrypt', 'usr/local/odd/deep', 'home/anna', 'etc/zfs'])
        rmSync(at(path), { recursive: true })
    unlinkSync(at('usr/local/odd/listed'))
    // Of another kind.
    unlinkSync(at('etc/ssl/current.pem'))
    writeFileSync(at('etc/ssl/current.pem'), 'a file now\n')
    unlinkSync(at('etc/ssl/site-too.pem'))
    writeFileSync(at('etc/ssl/site-too.pem'), 'a file of its own now\n')
    writeFileSync(at('etc/ssl/site.pem'), 'of another site\n')
    // The merged ones.
    writeFileSync(at('etc/fstab'), '# nothing is mounted\n')
    // New, and none of the backup's business.
    writeFileSync(at('etc/new.conf'), 'made since\n')
    writeFileSync(at('root/new.txt'), 'made since\n')
}

/** What a restore changes under a guard only: not part of `damage`, so that not every restore waits for somebody. */
export function damageSsh(machine: Machine): void {
    const at = (path: string) => machine.path(path)
    writeFileSync(at('etc/ssh/sshd_config.d/50-site.conf'), 'MaxAuthTries 4\n# a longer one than before\n')
    chmodSync(at('etc/ssh/sshd_config.d/50-site.conf'), 0o600)
    unlinkSync(at('etc/ssh/sshd_config.d/60-lost.conf'))
    writeFileSync(at('etc/ssh/sshd_config.d/70-new.conf'), 'LogLevel VERBOSE\n')
    appendFileSync(at('root/.ssh/authorized_keys'), '# somebody was here\n')
}

/** The sshd of the host as it is now, and to take that back to the last nanosecond. */
export async function keepSsh(machine: Machine): Promise<() => Promise<void>> {
    const kept = '/var/tmp/ssh-kept'
    await machine.must([
        'sh',
        '-ec',
        `mkdir ${kept}; cp -a /etc/ssh ${kept}/etc; cp -a /root/.ssh ${kept}/root`,
    ])
    return async () => {
        // Into the directories that are there, so that those above them stay as they are.
        const back = `for pair in etc:/etc/ssh root:/root/.ssh; do
            dir=\${pair#*:}; find "$dir" -mindepth 1 -delete; cp -aT "${kept}/\${pair%%:*}" "$dir"; done; rm -r ${kept}`
        await machine.must(['sh', '-ec', back])
        await machine.must(['systemctl', 'reload', 'ssh'])
    }
}

/** Whatever of the host a restore could have touched. */
const compared = ['etc', 'root', 'home', 'srv', 'usr/local', 'usr/lib/systemd/system', 'var/lib/vz']
const alsoCompared = ['var/lib/pve-cluster', 'var/lib/proxmox-backup', 'var/spool', 'mnt']

export async function look(machine: Machine): Promise<Tree> {
    const all: Tree = new Map()
    for (const root of [...compared, ...alsoCompared]) {
        const found = await describeTree(machine.path(root)).catch(() => undefined)
        if (found === undefined) all.set(root, { path: root, type: 'absent' })
        else for (const [path, entry] of found) all.set(path === '.' ? root : `${root}/${path}`, entry)
    }
    return all
}

function write(path: string, text: string): void {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
}
