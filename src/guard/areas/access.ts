/** Who may act as root, and how people log in: sudo, PAM and the name service switch. */
import type { AreaHost, Candidate, Check, Finding, GuardArea } from '../area.ts'
import { quietly } from '../configured.ts'
import { accessDiagnostics } from '../diagnostics.ts'
import { outputOf } from '../../host/exec.ts'
import { finding, said } from '../health.ts'
import { unchecked, unseen } from '../shown.ts'

export const access: GuardArea = {
    id: 'access',
    diagnostics: accessDiagnostics,

    async checks(host, area, candidate) {
        const checks: Check[] = []
        const findings: Finding[] = []
        const rules = /^\/etc\/sudoers(\.d\/|$)/
        if (host.has('visudo') && candidate.changed.some(path => rules.test(path))) {
            const hidden = unseen(host, area, candidate, rules)
            if (hidden.length > 0) findings.push(unchecked('visudo', hidden))
            else checks.push({ title: 'visudo reads the rules', argv: ['visudo', '-c'], timeoutMs: 20_000 })
        }
        const problems = [
            ...pamProblems(host, candidate, findings),
            ...nsswitchProblems(host, candidate, findings),
        ]
        if (host.has('sudo') && candidate.read('/etc/sudoers') === undefined)
            findings.push(
                finding('sudo', 'critical', '/etc/sudoers would not be there: sudo would refuse everybody'),
            )
        return { problems, checks, findings }
    },

    /** All of it is read again at the next login. */
    async ways() {
        return []
    },

    async health(host) {
        const findings: Finding[] = []
        const result = await host.look(['getent', 'passwd', 'root'], 3_000)
        // That nobody is found is an answer; that nobody could be asked is none.
        const root = outputOf(result, [0, 2])
        if (!root.ok)
            findings.push(finding('root', 'warning', `it is not known whether root is known: ${root.why}`))
        else if (root.text.startsWith('root:') && root.text.split(':')[2] === '0')
            findings.push(finding('root', 'ok', 'root is known'))
        else findings.push(finding('root', 'critical', 'root is not found: nobody could log in as root'))
        if (host.has('sudo')) {
            const works = (await said(host, ['sudo', '-n', '-l'])) !== undefined
            findings.push(
                works
                    ? finding('sudo', 'ok', 'sudo reads its rules')
                    : finding('sudo', 'warning', 'sudo does not work, not even for root'),
            )
        }
        return findings
    },
}

/** Directories of libraries; the links `/lib` and `/lib64` lead to the same. */
function libraryDirectories(host: AreaHost): string[] {
    const triplets = (quietly(() => host.names('/usr/lib')) ?? []).filter(name =>
        /-linux-gnu[a-z0-9]*$/.test(name),
    )
    return [...triplets.map(name => `/usr/lib/${name}`), '/usr/lib', '/usr/local/lib']
}

function pamProblems(host: AreaHost, candidate: Candidate, findings: Finding[]): string[] {
    const changed = candidate.changed.filter(path => /^\/etc\/pam\.(conf$|d\/[^./][^/]*$)/.test(path))
    if (changed.length === 0) return []
    const modules = new Set(
        libraryDirectories(host).flatMap(
            directory => quietly(() => host.names(`${directory}/security`)) ?? [],
        ),
    )
    // A host that shows no module at all cannot be told from here.
    if (modules.size === 0) return []
    const problems: string[] = []
    for (const path of changed) {
        const text = quietly(() => candidate.read(path))
        for (const { line, type, control, module, include } of text === undefined
            ? []
            : pamLines(text, path)) {
            const where = `${path}: line ${line}`
            if (include !== undefined) {
                const file = include.startsWith('/') ? include : `/etc/pam.d/${include}`
                if (quietly(() => candidate.read(file)) === undefined)
                    problems.push(`${where}: it includes ${file}, which is not there`)
                continue
            }
            const name = module.slice(module.lastIndexOf('/') + 1)
            const there = module.startsWith('/')
                ? isThere(host, module) || modules.has(name)
                : modules.has(name)
            if (there || type.startsWith('-')) continue
            // The stack goes on without it where its control says so, and nobody gets in where it does not.
            if (name !== 'pam_unix.so' && mayBeMissing(control))
                findings.push(
                    finding('pam', 'warning', `${where}: ${name} is not installed, and is passed over`),
                )
            else problems.push(`${where}: ${name} is not installed`)
        }
    }
    return problems
}

const isThere = (host: AreaHost, path: string): boolean => {
    const at = path.lastIndexOf('/')
    return (quietly(() => host.names(path.slice(0, at).replace(/^\/lib/, '/usr/lib'))) ?? []).includes(
        path.slice(at + 1),
    )
}

const mayBeMissing = (control: string): boolean =>
    /^(optional|sufficient)$/i.test(control) || /\b(default|module_unknown)=ignore\b/i.test(control)

interface PamLine {
    line: number
    type: string
    control: string
    module: string
    include?: string
}

function* pamLines(text: string, path: string): Generator<PamLine> {
    const lines = text.split('\n')
    for (let at = 0; at < lines.length; at++) {
        const line = at + 1
        let raw = lines[at]!
        while (raw.endsWith('\\') && at + 1 < lines.length) raw = `${raw.slice(0, -1)} ${lines[++at]}`
        raw = raw.replace(/#.*/, '').trim()
        // In pam.conf the name of the service stands first.
        if (path === '/etc/pam.conf') raw = raw.replace(/^\S+\s+/, '')
        const include = /^@include\s+(\S+)/.exec(raw)?.[1]
        const parts = /^(-?(?:auth|account|session|password))\s+(\[[^\]]*\]|\S+)\s+(\S+)/i.exec(raw)
        if (include !== undefined) yield { line, type: '', control: '', module: '', include }
        else if (parts !== null) {
            const [, type, control, module] = parts as unknown as [string, string, string, string]
            const other = /^(include|substack)$/i.test(control) ? { include: module } : {}
            yield { line, type, control, module, ...other }
        }
    }
}

/** What the C library has built in. */
const builtIn = new Set(['files', 'dns'])

function nsswitchProblems(host: AreaHost, candidate: Candidate, findings: Finding[]): string[] {
    const path = '/etc/nsswitch.conf'
    if (!candidate.changed.includes(path)) return []
    const text = quietly(() => candidate.read(path))
    if (text === undefined) return []
    const libraries = new Set(
        libraryDirectories(host).flatMap(directory => quietly(() => host.names(directory)) ?? []),
    )
    const problems: string[] = []
    for (const [at, raw] of text.split('\n').entries()) {
        const parts = /^\s*([a-z_]+)\s*:(.*)$/.exec(raw.replace(/#.*/, ''))
        if (parts === null) continue
        const [, database, sources] = parts as unknown as [string, string, string]
        const services = sources
            .replace(/\[[^\]]*\]/g, ' ')
            .split(/\s+/)
            .filter(word => word !== '')
        for (const service of services)
            if (!builtIn.has(service) && libraries.size > 0 && !libraries.has(`libnss_${service}.so.2`))
                findings.push(
                    finding(
                        'nsswitch',
                        'warning',
                        `${path}: line ${at + 1}: ${database} asks ${service}, which is not installed`,
                    ),
                )
        if (
            /^(passwd|shadow)$/.test(database) &&
            !services.some(service => /^(files|compat|db)$/.test(service))
        )
            problems.push(
                `${path}: line ${at + 1}: ${database} does not ask the host's own files, so root would not be found`,
            )
    }
    return problems
}
