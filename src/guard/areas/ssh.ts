/** sshd: its configuration, its host keys, and whether the one who asks could log in again. */
import { parseSshPrivateKey, sshFingerprint, SshWire } from '../../format/ssh-key.ts'
import type { AreaHost, Candidate, Check, Finding, GuardArea, Session } from '../area.ts'
import { type Files, quietly } from '../configured.ts'
import { sshDiagnostics } from '../diagnostics.ts'
import { finding, sshHealth } from '../health.ts'
import { type LoaderWay, loadersOf, readUnits } from '../load.ts'
import { inList, matchesAddress, matchesPattern, type SshdOptions, sshdOptions } from '../sshd-effective.ts'

const bounds = { checkMs: 20_000, lookMs: 3_000, loadMs: 30_000 } as const

export const ssh: GuardArea = {
    id: 'ssh',
    diagnostics: sshDiagnostics,
    health: sshHealth,

    async checks(host, _area, candidate, session = {}) {
        const checks: Check[] = []
        if (host.has('sshd') && candidate.changed.some(isReadBySshd)) {
            // sshd refuses even a test without it, and a socket-activated one has it only while somebody is connected.
            const room = await host.look(['test', '-d', '/run/sshd'], bounds.lookMs)
            if (room.found && room.status === 1)
                checks.push({
                    title: 'the directory that sshd separates itself in',
                    argv: ['install', '-d', '-m', '0755', '/run/sshd'],
                    timeoutMs: bounds.checkMs,
                })
            checks.push({
                title: 'sshd reads its configuration and keys',
                argv: ['sshd', '-t'],
                timeoutMs: bounds.checkMs,
                // It goes on without such a key and ends with 0, and clients would find another host.
                refuse: /UNPROTECTED PRIVATE KEY|^Permissions .* are too open|does not match private key/,
            })
        }
        const { problems, findings } = hostKeys(candidate)
        findings.push(...newIdentity(host, candidate), ...logins(host, candidate, session))
        return { problems: host.has('sshd') ? problems : [], checks, findings }
    },

    async ways(host, candidate) {
        const loads: [string, LoaderWay[]][] = []
        if (candidate.changed.some(isUnitFile)) loads.push(readUnits)
        const bySocket = (await host.active('ssh.socket')) === 'active'
        const restarts = candidate.changed.some(path => isUnitFile(path) || path === '/etc/default/ssh')
        // Who listens is told anew; the socket cannot be while its service runs.
        if (bySocket && candidate.changed.some(path => path.startsWith('/etc/systemd/system/ssh.socket.d/')))
            loads.push([
                'ssh.socket',
                [
                    {
                        title: 'restart ssh.socket',
                        commands: [
                            ['systemctl', 'stop', 'ssh.service'],
                            ['systemctl', 'restart', 'ssh.socket'],
                        ],
                        timeoutMs: bounds.loadMs,
                    },
                    ...waysOf('restart', 'ssh.service'),
                ],
            ])
        else if (restarts && (await host.active('ssh.service')) !== 'inactive')
            loads.push(['ssh.service', waysOf('restart', 'ssh.service')])
        // Keys of users are read at each login; a socket without a running service reads everything anew.
        else if (candidate.changed.some(isReadBySshd) && (await host.active('ssh.service')) !== 'inactive')
            loads.push(['ssh.service', waysOf('reload', 'ssh.service')])
        const dropbear = candidate.changed.some(path => path.startsWith('/etc/dropbear/'))
        if (dropbear && (await host.active('dropbear.service')) === 'active')
            loads.push(['dropbear.service', waysOf('restart', 'dropbear.service')])
        return loadersOf(loads)
    },
}

const isUnitFile = (path: string): boolean => /^\/etc\/systemd\/system\/sshd?[^/]*\.d\//.test(path)

const isReadBySshd = (path: string): boolean =>
    /^\/etc\/ssh\/(sshd_config(\.d\/.*)?$|ssh_host_|moduli$)/.test(path)

/** A restart leaves the sessions that are there. */
function waysOf(verb: 'reload' | 'restart', unit: string): LoaderWay[] {
    const one = (title: 'reload' | 'restart'): LoaderWay => ({
        title: `${title} ${unit}`,
        commands: [['systemctl', title, unit]],
        timeoutMs: bounds.loadMs,
    })
    return verb === 'reload' ? [one('reload'), one('restart')] : [one('restart')]
}

const defaultKeys = ['rsa', 'ecdsa', 'ed25519'].map(type => `/etc/ssh/ssh_host_${type}_key`)

/** A private key and a public one that do not belong together, and no key at all, are problems. */
function hostKeys(candidate: Candidate): { problems: string[]; findings: Finding[] } {
    const problems: string[] = []
    const findings: Finding[] = []
    if (!candidate.changed.some(isReadBySshd)) return { problems, findings }
    const options = sshdOptions(candidate, {})
    const named = options.get('hostkey')?.split(' ')
    const keys = (named ?? defaultKeys).map(path => ({ path, text: quietly(() => candidate.read(path)) }))
    if (keys.every(({ text }) => text === undefined) && options.get('hostkeyagent') === undefined)
        problems.push('sshd would have no host key: nobody could connect')
    for (const { path, text } of keys) {
        const halves = text === undefined ? undefined : publicHalf(text)
        const shown = quietly(() => candidate.read(`${path}.pub`))
        if (text === undefined) {
            if (named !== undefined)
                findings.push(finding('host-key', 'warning', `the host key ${path} would not be there`))
            else if (shown !== undefined)
                findings.push(
                    finding('host-key', 'warning', `${path}.pub would be there without its private key`),
                )
            continue
        }
        if (shown === undefined) {
            findings.push(finding('host-key', 'warning', `${path} would have no ${path}.pub beside it`))
            continue
        }
        const blob = shown.trim().split(/\s+/)[1]
        if (halves !== undefined && blob !== Buffer.from(halves).toString('base64'))
            problems.push(`${path}.pub does not belong to ${path}`)
    }
    return { problems, findings }
}

/** Every client knows the host by the old ones, and refuses exactly when a new connection is to confirm. */
function newIdentity(host: AreaHost, candidate: Candidate): Finding[] {
    const paths = candidate.changed.filter(path => /^\/etc\/ssh\/ssh_host_[a-z0-9]+_key(\.pub)?$/.test(path))
    const shown = [...new Set(paths.map(path => path.replace(/\.pub$/, '')))].flatMap(path => {
        const [was, is] = [host, candidate].map(files => publicKeyOf(files, path))
        if (is === undefined || (was !== undefined && Buffer.compare(was, is) === 0)) return []
        return [`${path.replace(/^.*ssh_host_|_key$/g, '')} ${sshFingerprint(is)}`]
    })
    if (shown.length === 0) return []
    return [
        finding(
            'host-key-changed',
            'warning',
            `the host keys change, and ssh will say REMOTE HOST IDENTIFICATION HAS CHANGED to whoever connects to confirm: the new fingerprints are ${shown.join(', ')}; remove the old key there with ssh-keygen -R`,
        ),
    ]
}

function publicKeyOf(files: Files, path: string): Uint8Array | undefined {
    const text = quietly(() => files.read(path))
    const inside = text === undefined ? undefined : publicHalf(text)
    if (inside !== undefined) return inside
    const base64 = quietly(() => files.read(`${path}.pub`))
        ?.trim()
        .split(/\s+/)[1]
    return base64 === undefined ? undefined : new Uint8Array(Buffer.from(base64, 'base64'))
}

const armor = /-----BEGIN OPENSSH PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----/

/** The public key inside a private one, in wire format; undefined for what only sshd itself can tell. */
function publicHalf(text: string): Uint8Array | undefined {
    return quietly(() => {
        const body = armor.exec(text)?.[1]
        if (body === undefined) return parseSshPrivateKey(text).public.blob
        const bytes = Buffer.from(body.replace(/\s+/g, ''), 'base64')
        const wire = new SshWire(new Uint8Array(bytes.subarray('openssh-key-v1\0'.length)))
        for (let skipped = 0; skipped < 3; skipped++) wire.string()
        return wire.uint32() === 1 ? wire.string() : undefined
    })
}

/** Whether the one who asks, and root, could log in again: as good as files tell. */
function logins(host: AreaHost, candidate: Candidate, session: Session): Finding[] {
    const findings: Finding[] = []
    const user = session.user ?? 'root'
    for (const name of new Set([user, 'root'])) {
        const one = { ...session, user: name }
        const options = { now: sshdOptions(host, one), later: sshdOptions(candidate, one) }
        const bad = name === user ? 'critical' : 'warning'
        const refusal = refusalOf(options.later, one)
        if (refusal === undefined) findings.push(...keysOf(host, candidate, name, options, bad))
        // Whom the live configuration refuses as well did not come this way.
        else if (refusalOf(options.now, one) === undefined)
            findings.push(finding('login', bad, `${name} could not log in over SSH: ${refusal}`))
    }
    return findings
}

function refusalOf(options: SshdOptions, { user = 'root', client }: Session): string | undefined {
    const root = options.get('permitrootlogin')?.toLowerCase()
    if (user === 'root' && root === 'no') return 'PermitRootLogin is no'
    // A pattern may name the address as well: user@host.
    const fits = (pattern: string) => {
        const [name = '', from] = pattern.split('@', 2)
        if (!matchesPattern(name, user)) return false
        return from === undefined || (client !== undefined && matchesAddress(from, client))
    }
    const denied = options.get('denyusers')
    if (denied !== undefined && inList(denied, fits)) return 'DenyUsers names them'
    const allowed = options.get('allowusers')
    if (allowed !== undefined && !inList(allowed, fits)) return 'AllowUsers does not name them'
    return undefined
}

function keysOf(
    host: AreaHost,
    candidate: Candidate,
    user: string,
    options: { now: SshdOptions; later: SshdOptions },
    bad: Finding['level'],
): Finding[] {
    const home = homeOf(candidate, user)
    if (home === undefined) return []
    // Proxmox VE keeps those of root behind a link, which only a look at the host follows.
    const files: Files = {
        read: path => (candidate.changed.includes(path) ? candidate.read(path) : host.read(path)),
        names: path => candidate.names(path),
    }
    const now = authorized(host, user, home, options.now)
    const later = authorized(files, user, home, options.later)
    const count = (which: SshdOptions) => which.get('pubkeyauthentication')?.toLowerCase() !== 'no'
    const keysCount = count(options.later)
    const left = keysCount ? later.keys.filter(key => now.keys.includes(key)) : []
    if (!count(options.now) || now.keys.length === 0 || left.length > 0) return []
    if (later.unknown && keysCount)
        return [
            finding(
                'login',
                'warning',
                `the keys of ${user} become a link: whether one of those that work now stays is not known`,
            ),
        ]
    const root = options.later.get('permitrootlogin')?.toLowerCase() ?? 'prohibit-password'
    const password =
        options.later.get('passwordauthentication')?.toLowerCase() !== 'no' &&
        (user !== 'root' || root === 'yes')
    const lost = keysCount
        ? `none of the keys that let ${user} in now would do so any more`
        : `keys would not let ${user} in any more`
    if (password) return [finding('login', 'warning', `${lost}; a password would be needed`)]
    return [
        finding(
            'login',
            bad,
            `${lost}, and passwords are not taken${later.keys.length > 0 && keysCount ? `: you need one of the ${later.keys.length} of the backup` : ''}`,
        ),
    ]
}

function homeOf(files: Files, user: string): string | undefined {
    const line = quietly(() => files.read('/etc/passwd'))
        ?.split('\n')
        .find(one => one.startsWith(`${user}:`))
    return line?.split(':')[5] ?? (user === 'root' ? '/root' : undefined)
}

const keyTypes = /\b(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+ +([A-Za-z0-9+/]{16,}={0,2})/

/** Keys by their base64, whatever options stand before them. `unknown`: a file is there and is not a plain one. */
function authorized(
    files: Files,
    user: string,
    home: string,
    options: SshdOptions,
): { keys: string[]; unknown: boolean } {
    const patterns = (
        options.get('authorizedkeysfile') ?? '.ssh/authorized_keys .ssh/authorized_keys2'
    ).split(/\s+/)
    const keys: string[] = []
    let unknown = options.has('authorizedkeyscommand') && options.get('authorizedkeyscommand') !== 'none'
    for (const pattern of patterns) {
        if (pattern === 'none') continue
        const named = pattern.replaceAll('%h', home).replaceAll('%u', user).replaceAll('%%', '%')
        const path = named.startsWith('/') ? named : `${home}/${named}`
        const at = path.lastIndexOf('/')
        const text = quietly(() => files.read(path))
        if (
            text === undefined &&
            (quietly(() => files.names(path.slice(0, at))) ?? []).includes(path.slice(at + 1))
        )
            unknown = true
        for (const line of (text ?? '').split('\n')) {
            const key = line.trim().startsWith('#') ? undefined : keyTypes.exec(line)?.[1]
            if (key !== undefined) keys.push(key)
        }
    }
    return { keys, unknown }
}
