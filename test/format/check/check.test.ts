/** The checks of configuration files: what programs read passes, what they refuse is told with its line. */
import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Validator } from '../../../src/catalog/category.ts'
import { categories } from '../../../src/catalog/index.ts'
import { type Check, type CheckKind, checks } from '../../../src/format/check/index.ts'
import { bytesOf, samples } from './samples.ts'

const check = (kind: CheckKind, path: string, text: string) => checks[kind](Buffer.from(text, 'latin1'), path)

describe('the checks', () => {
    test('are one for each validator of the catalogue, but the database', () => {
        // The compiler compares the two unions in both directions.
        const all: Record<Exclude<Validator, 'config-db'>, Check> = checks
        const kinds: Record<CheckKind, unknown> = all
        const used = new Set(categories.flatMap(category => category.validator ?? []).map(({ kind }) => kind))
        used.delete('config-db')
        expect([...used].sort()).toEqual(Object.keys(kinds).sort() as Validator[])
    })

    test.each(samples.map(sample => [sample.path, sample] as const))('let %s pass', (_, sample) => {
        expect(checks[sample.kind](bytesOf(sample), sample.path)).toBeUndefined()
    })

    test('let empty files pass where a program takes them', () => {
        for (const kind of ['json', 'pem'] as const) expect(check(kind, '/etc/x', '')).toMatch(/^line 1: /)
        expect(check('json', '/etc/pve/sdn/.running-config', '')).toBeUndefined()
        for (const kind of Object.keys(checks) as CheckKind[])
            if (kind !== 'json' && kind !== 'pem') expect(check(kind, '/etc/x', ''), kind).toBeUndefined()
    })
})

/** Path, text, and the beginning of the answer. */
const wrong: Record<CheckKind, [string, string, string][]> = {
    'pve-section-config': [
        ['/etc/pve/storage.cfg', 'dir: a\n\tpath /a\ndir: b\n\tpath /b\n', 'line 3: "dir: b" stands inside'],
        ['/etc/pve/storage.cfg', 'dir: a\n\tpath /a\n \ndir: b\n', 'line 4: "dir: b" stands inside'],
        ['/etc/pve/storage.cfg', 'dir: a\r\n\tpath /a\r\n\r\ndir: b\r\n', 'line 4: '],
        ['/etc/pve/storage.cfg', 'dir\n', 'line 1: "dir" is not the head'],
        ['/etc/pve/storage.cfg', '\n\tpath /a\n', 'line 2: '],
        ['/etc/pve/mapping/usb.cfg', 'usb: key\n', 'line 1: '],
        ['/etc/pve/jobs.cfg', 'vzdump:\n', 'line 1: '],
        ['/etc/pve/replication.cfg', 'local: 100\n', 'line 1: "100" is not'],
        ['/etc/pve/notifications.cfg', '# mine\n', 'line 1: '],
        ['/etc/pve/notifications.cfg', 'smtp: ab\n\tfrom-address a@b\n', 'line 2: section "ab" ends without'],
        ['/etc/pve/sdn/fabrics.cfg', 'ospf_fabric: f1\n\tarea\n', 'line 2: property "area" has no value'],
    ],
    'pbs-section-config': [
        ['/etc/proxmox-backup/prune.cfg', 'prune: a-1\n\tstore s\n\tschedule x\n\tdisable 2\n', 'line 4: '],
        ['/etc/proxmox-backup/prune.cfg', 'prune: a-1\n\tstore s\n\tschedule x\n\tkeep-last x\n', 'line 4: '],
        ['/etc/proxmox-backup/prune.cfg', 'prune: a\n\tstore s\n\tschedule x\n', 'line 1: '],
        ['/etc/proxmox-backup/user.cfg', 'user: root\n', 'line 1: '],
        ['/etc/proxmox-backup/remote.cfg', 'remote: a\xff\n', 'line 1: it is not UTF-8'],
        [
            '/etc/proxmox-backup/remote.cfg',
            'remote: abc\n\thost h\n\thost i\n',
            'line 3: property "host" is there',
        ],
        ['/etc/proxmox-backup/unknown.cfg', '# x\n', 'line 1: '],
    ],
    interfaces: [
        ['/etc/network/interfaces', 'auto lo\naddress 192.0.2.1\n', 'line 2: "address 192.0.2.1" belongs'],
        ['/etc/network/interfaces', 'iface\n', 'line 1: "iface" has no name'],
        ['/etc/network/interfaces', 'iface a inet static\n\taddress\n', 'line 2: option "address" of "a"'],
        ['/etc/network/interfaces', 'auto a \\\n b\n\nifcae b inet dhcp\n', 'line 4: '],
    ],
    fstab: [
        ['/etc/fstab', '# x\n/dev/sda1 /\n', 'line 2: "/dev/sda1 /" has no mount point'],
        ['/etc/fstab', '/dev/sda1 / ext4 defaults 0 x\n', 'line 1: "x" is not a number'],
    ],
    'sshd-config': [
        [
            '/etc/ssh/sshd_config',
            'Port 22\nPermitRotLogin no\n',
            'line 2: sshd knows no option "PermitRotLogin"',
        ],
        ['/etc/ssh/sshd_config', 'PasswordAuthentication true\n', 'line 1: '],
        ['/etc/ssh/sshd_config', 'PermitRootLogin maybe\n', 'line 1: '],
        ['/etc/ssh/sshd_config', 'AllowUsers # nobody\n', 'line 1: option "AllowUsers" has no value'],
        ['/etc/ssh/sshd_config', 'Banner "/etc/issue\n', 'line 1: a quotation mark'],
        ['/etc/ssh/sshd_config.d/50-x.conf', 'garbage\n', 'line 1: '],
    ],
    sudoers: [
        ['/etc/sudoers', 'root ALL\n', 'line 1: '],
        ['/etc/sudoers', 'root = ALL\n', 'line 1: before "=" must stand'],
        ['/etc/sudoers', 'foo bar baz = ALL\n', 'line 1: before "=" must stand'],
        ['/etc/sudoers', '# x\nroot ALL=(ALL ALL\n', 'line 2: '],
        ['/etc/sudoers', 'a b = NOPASSWD:\n', 'line 1: it names no command'],
        ['/etc/sudoers', 'a b = /bin/ls, \\\n\n', 'line 1: it ends with a comma'],
        ['/etc/sudoers', 'a b = ls\n', 'line 1: "ls" is not a full path'],
        ['/etc/sudoers', 'User_Alias foo = a\n', 'line 1: '],
        ['/etc/sudoers', 'Host_Alias FOO =\n', 'line 1: nothing stands behind'],
        ['/etc/sudoers', 'Defaults\n', 'line 1: Defaults names no setting'],
        ['/etc/sudoers', 'Defaults secure_path="/a\n', 'line 1: a quotation mark'],
        ['/etc/sudoers', 'Defaults env_keep =\n', 'line 1: a setting of Defaults'],
        ['/etc/sudoers', '@include\n', 'line 1: it does not say what'],
    ],
    passwd: [
        [
            '/etc/passwd',
            'root:x:0:0:root:/root:/bin/bash\nx:x:1:1:\n',
            'line 2: it has 5 fields instead of 7',
        ],
        ['/etc/passwd', 'root:x:zero:0:root:/root:/bin/bash\n', 'line 1: field 3 of "root" is not a number'],
        ['/etc/passwd', ':x:0:0:root:/root:/bin/bash\n', 'line 1: it has no name'],
        ['/etc/group', 'root:x:0\n', 'line 1: it has 3 fields'],
        ['/etc/shadow', 'root:*:x:0:99999:7:::\n', 'line 1: field 3'],
        ['/etc/subgid', 'root:100000:\n', 'line 1: field 3'],
    ],
    crontab: [
        ['/etc/crontab', '* * * * * root x', 'line 1: the last line has no end'],
        ['/etc/crontab', '# x\n60 * * * * root x\n', 'line 2: "60" is not a minute'],
        ['/etc/crontab', '* * 0 * * root x\n', 'line 1: "0" is not a day of the month'],
        ['/etc/crontab', '* * * January * root x\n', 'line 1: "January" is not a month'],
        ['/etc/crontab', '*/0 * * * * root x\n', 'line 1: '],
        ['/etc/crontab', '5/10 * * * * root x\n', 'line 1: '],
        ['/etc/crontab', '1, * * * * root x\n', 'line 1: '],
        ['/etc/crontab', '@sometimes root x\n', 'line 1: '],
        ['/etc/crontab', '* * * * *\n', 'line 1: it does not say as whom'],
        ['/etc/crontab', 'A="b\n', 'line 1: '],
        ['/etc/crontab', '#\n'.repeat(10_001), 'line 10000: '],
    ],
    json: [
        ['/etc/x.json', '{\n "a": 1,\n}\n', 'line 3: '],
        ['/etc/x.json', '{"a": 1}\n{}', 'line 2: there is more'],
        ['/etc/x.json', '{\n"a": "x\n"}', 'line 2: '],
        ['/etc/x.json', '[01]', 'line 1: '],
        ['/etc/x.json', '\n\xff', 'line 2: it is not UTF-8'],
        ['/etc/x.json', '\xef\xbb\xbf{}', 'line 1: '],
        ['/etc/x.json', '[\n\n', 'line 3: it ends too early'],
        ['/etc/pve/priv/tfa.cfg', 'root@pam:oath:key\nx\n', 'line 2: it is neither'],
    ],
    pem: [
        ['/etc/x.pem', 'nothing\n', 'line 1: there is no certificate'],
        [
            '/etc/x.pem',
            '\n-----BEGIN CERTIFICATE-----\nMAA=\n',
            'line 2: the "CERTIFICATE" that begins here has no end',
        ],
        ['/etc/x.pem', '-----BEGIN CERTIFICATE-----\nMAA=\n-----END PRIVATE KEY-----\n', 'line 3: '],
        [
            '/etc/x.pem',
            '-----BEGIN CERTIFICATE-----\nM?A=\n-----END CERTIFICATE-----\n',
            'line 2: "M?A=" is not base64',
        ],
        ['/etc/x.pem', '-----BEGIN CERTIFICATE-----\nMAE=\n-----END CERTIFICATE-----\n', 'line 1: '],
        ['/etc/x.pem', '-----BEGIN CERTIFICATE-----\nMAA\n-----END CERTIFICATE-----\n', 'line 1: '],
        ['/etc/x.pem', '-----END CERTIFICATE-----\n', 'line 1: '],
    ],
    'systemd-unit': [
        ['/etc/systemd/system/x.service', '[Unit]\nDescription\n', 'line 2: "Description" has no "="'],
        ['/etc/systemd/system/x.service', '[Unit\n', 'line 1: "[Unit" is not the head'],
        ['/etc/systemd/system/x.service', 'A=b\n[Unit]\n', 'line 1: "A=b" stands before'],
        ['/etc/systemd/system/x.service', '[Unit]\n=b\n', 'line 2: there is no key'],
        ['/etc/systemd/system/x.service', '[Unit]\n\nA=\xff\n', 'line 3: it is not UTF-8'],
    ],
}

describe.each(Object.entries(wrong) as [CheckKind, [string, string, string][]][])('%s', (kind, cases) => {
    test.each(cases)('of %s refuses %j', (path, text, answer) => {
        expect(check(kind, path, text)).toStartWith(answer)
    })
})

test('answers are one sentence that is safe to print', () => {
    const answer = check('sshd-config', '/etc/ssh/sshd_config', `\x1b[2J${'x'.repeat(500)}\n`)
    expect(answer).toMatch(/^line 1: [\x20-\x7e]{1,100}$/)
})

test('files that a program passes over in its directory are not judged', () => {
    expect(check('crontab', '/etc/cron.d/.placeholder', 'x')).toBeUndefined()
    expect(check('crontab', '/etc/cron.d/x.dpkg-old', 'x')).toBeUndefined()
    expect(check('sudoers', '/etc/sudoers.d/x.bak', 'x')).toBeUndefined()
    expect(check('sshd-config', '/etc/ssh/sshd_config.d/x.bak', 'x')).toBeUndefined()
    expect(check('interfaces', '/etc/network/interfaces.d/.x', 'x')).toBeUndefined()
})

const etcPve = join(import.meta.dir, '../../../../shared/samples/pve/etc-pve')
const hasSamples = existsSync(etcPve)
if (!hasSamples) console.log('skip: the samples of ../shared are not here')

test.skipIf(!hasSamples)('the sample tree of Proxmox VE is fine', () => {
    const known = new Map(
        categories.flatMap(({ validator = [] }) => validator.map(({ path, kind }) => [path, kind] as const)),
    )
    const checked = (readdirSync(etcPve, { recursive: true }) as string[]).filter(name => {
        const kind = known.get(`/etc/pve/${name}`)
        if (kind === undefined || kind === 'config-db') return false
        expect(checks[kind](readFileSync(join(etcPve, name)), `/etc/pve/${name}`), name).toBeUndefined()
        return true
    })
    expect(checked.length).toBeGreaterThanOrEqual(11)
})

describe('on this host', () => {
    const files: [CheckKind, string][] = [
        ['fstab', '/etc/fstab'],
        ['crontab', '/etc/crontab'],
        ['sshd-config', '/etc/ssh/sshd_config'],
        ['passwd', '/etc/passwd'],
        ['passwd', '/etc/group'],
        ['interfaces', '/etc/network/interfaces'],
    ]
    for (const [kind, path] of files)
        test.skipIf(!existsSync(path))(`${path} is fine`, () => {
            expect(checks[kind](readFileSync(path), path)).toBeUndefined()
        })

    const units = '/usr/lib/systemd/system'
    test.skipIf(!existsSync(units))('every unit that packages brought is fine', () => {
        for (const name of readdirSync(units)) {
            const path = join(units, name)
            if (!/\.(service|timer|mount|socket|path|target|slice)$/.test(name)) continue
            if (!existsSync(path) || !statSync(path).isFile()) continue
            expect(checks['systemd-unit'](readFileSync(path), path), path).toBeUndefined()
        }
    })

    const certificates = '/etc/ssl/certs'
    test.skipIf(!existsSync(certificates))('every certificate that it trusts is fine', () => {
        for (const name of readdirSync(certificates)) {
            const path = join(certificates, name)
            if (!name.endsWith('.pem') || !existsSync(path)) continue
            expect(checks.pem(readFileSync(path), path), path).toBeUndefined()
        }
    })
})
