/** Base systems for the container tests: one small Debian a suite, made once and kept under .cache. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const repository = resolve(import.meta.dir, '../..')
export const cache = join(repository, '.cache/vm')

/** The releases that the package supports, newest first. */
export const suites = ['trixie', 'bookworm'] as const
export type Suite = (typeof suites)[number]

/** What a bare Debian with systemd has, the dependencies of the package, and the tools to open a backup by hand. */
const packages = [
    ...['systemd', 'systemd-sysv', 'dbus', 'age', 'zstd', 'curl', 'procps'],
    // Whoever restores is connected through it.
    ...['openssh-client', 'openssh-server'],
    // The stand-ins: of pmxcfs, which shows a database as files, and of another member of the cluster.
    ...['sqlite3', 'iproute2'],
]

/** `plain` is a bare host; `network` configures its interfaces as Proxmox does. */
export type Flavour = 'plain' | 'network'
const morePackages: Record<Flavour, string[]> = {
    plain: [],
    network: ['ifupdown2', 'bridge-utils', 'isc-dhcp-client', 'iputils-ping', 'ethtool', 'libfaketime'],
}
const sslPackage: Record<Suite, string> = { trixie: 'libssl3t64', bookworm: 'libssl3' }

/** Changes when the way a base system is made does. */
const recipe = 1

const buildSeconds = 600

/** Path of the suite's base system, which is never booted itself. */
export async function baseSystem(suite: Suite, flavour: Flavour = 'plain'): Promise<string> {
    const include = [...packages, sslPackage[suite], ...morePackages[flavour]].join(',')
    const key = createHash('sha256').update(`${recipe} ${suite} ${include}`).digest('hex').slice(0, 12)
    const base = join(cache, `${suite}-${key}`)
    if (existsSync(base)) return base

    mkdirSync(cache, { recursive: true })
    const work = mkdtempSync(join(cache, `${suite}-part-`))
    const root = join(work, 'root')
    const argv = ['mmdebstrap', '--quiet', '--mode=root', '--variant=minbase', `--include=${include}`]
    const proxy = (await output(['apt-config', 'shell', 'proxy', 'Acquire::http::Proxy'])).match(
        /'(.+)'/,
    )?.[1]
    if (proxy !== undefined) argv.push(`--aptopt=Acquire::http::Proxy "${proxy}"`)
    argv.push(suite, root, ...(await mirrors(suite)))
    const made = Bun.spawn(argv, {
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: 'pipe',
        timeout: buildSeconds * 1000,
    })
    const errors = await new Response(made.stderr).text()
    try {
        if ((await made.exited) !== 0) throw new Error(`mmdebstrap could not make ${suite}:\n${errors}`)
        renameSync(root, base)
    } finally {
        rmSync(work, { recursive: true, force: true })
    }
    return base
}

/** Where this machine takes Debian's packages from; nothing means that mmdebstrap chooses. */
async function mirrors(suite: Suite): Promise<string[]> {
    const format = '$(LABEL) $(REPO_URI)'
    const listed = await output([
        'apt-get',
        'indextargets',
        '--format',
        format,
        'Identifier: Packages',
        'Origin: Debian',
    ])
    const found = new Map(listed.split('\n').map(line => line.split(' ', 2) as [string, string]))
    const lines: string[] = []
    const main = found.get('Debian')
    if (main !== undefined) lines.push(`deb ${main} ${suite} main`)
    const security = found.get('Debian-Security')
    if (main !== undefined && security !== undefined) lines.push(`deb ${security} ${suite}-security main`)
    return lines
}

async function output(argv: string[]): Promise<string> {
    const child = Bun.spawn(argv, { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore', timeout: 30_000 })
    return await new Response(child.stdout).text()
}
