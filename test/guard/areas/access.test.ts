/** The area of sudo, PAM and name services: what would keep everybody out is refused, what is passed over is told. */
import { describe, expect, test } from 'bun:test'
import { access } from '../../../src/guard/areas/access.ts'
import { areaOf, candidateOver, type FakeOptions, fakeHost, verdictOf } from './fake-host.ts'
import { visudoChecks } from './recorded.ts'

const library = '/usr/lib/x86_64-linux-gnu'
const installed: Record<string, string> = {
    ...Object.fromEntries(
        ['pam_unix', 'pam_deny', 'pam_permit', 'pam_env'].map(name => [`${library}/security/${name}.so`, '']),
    ),
    [`${library}/libnss_files.so.2`]: '',
    [`${library}/libnss_compat.so.2`]: '',
    '/etc/pam.d/common-auth': 'auth required pam_unix.so\n',
    '/etc/sudoers': 'root ALL=(ALL:ALL) ALL\n',
    '/etc/sudoers.d/README': '',
}
const checksOf = (changes: Record<string, string | undefined>, more: FakeOptions = {}) =>
    access.checks(
        fakeHost({ files: installed, ...more }),
        areaOf('access'),
        candidateOver(more.files ?? installed, changes),
    )
const pam = async (text: string) => {
    const { problems, findings } = await checksOf({ '/etc/pam.d/sshd': text })
    return { problems, told: findings!.map(({ text: what }) => what) }
}

describe('sudo', () => {
    for (const { what, status, output, good } of visudoChecks)
        test(`visudo on ${what} is ${good ? 'passed' : 'refused'}`, async () => {
            const { checks } = await checksOf({ '/etc/sudoers.d/x': 'y' }, { programs: ['visudo'] })
            expect(verdictOf(checks[0]!, status, output) === undefined).toBe(good)
        })

    test('visudo is not run without sudoers among the files, nor where it is not installed', async () => {
        expect((await checksOf({ '/etc/shells': 'x' }, { programs: ['visudo'] })).checks).toEqual([])
        expect((await checksOf({ '/etc/sudoers': 'x' })).checks).toEqual([])
    })

    test('visudo cannot see a directory that is only about to be made: told, and not refused', async () => {
        const files = { '/etc/passwd': '' }
        const change = { '/etc/sudoers': 'x' }
        const { checks, findings } = await checksOf(change, { programs: ['visudo'], files })
        expect([checks.length, findings!.map(({ name }) => name)]).toEqual([0, ['unchecked']])
    })

    test('no sudoers left is critical', async () => {
        const { findings } = await checksOf({ '/etc/sudoers': undefined }, { programs: ['sudo'] })
        expect(findings!.map(({ level }) => level)).toEqual(['critical'])
    })
})

describe('PAM', () => {
    test('what is there is no problem, with comments and continued lines', async () => {
        const text = `# auth required pam_gone.so
@include common-auth
auth [success=1 default=ignore] \\
    pam_unix.so nullok # pam_gone.so
auth requisite pam_deny.so
account include common-auth
session required /lib/x86_64-linux-gnu/security/pam_env.so
`
        expect(await pam(text)).toEqual({ problems: [], told: [] })
    })

    test('a module that must answer and is missing is refused, with file and line', async () => {
        expect((await pam('\nauth required pam_sss.so\n')).problems).toEqual([
            '/etc/pam.d/sshd: line 2: pam_sss.so is not installed',
        ])
        expect((await pam('auth [success=ok default=bad] pam_sss.so\n')).problems).toHaveLength(1)
        expect((await pam('auth required /opt/lib/pam_own.so\n')).problems).toHaveLength(1)
    })

    test('one that is passed over is told; with a dash nothing is', async () => {
        for (const control of [
            'optional',
            'sufficient',
            '[success=1 default=ignore]',
            '[success=ok module_unknown=ignore default=bad]',
        ]) {
            const { problems, told } = await pam(`auth ${control} pam_sss.so\n`)
            expect([problems.length, told.length]).toEqual([0, 1])
        }
        expect(await pam('-session required pam_systemd_home.so\n')).toEqual({ problems: [], told: [] })
    })

    test('pam_unix is never one of those', async () => {
        const files = { ...installed }
        delete files[`${library}/security/pam_unix.so`]
        const { problems } = await checksOf(
            { '/etc/pam.d/login': 'auth [success=1 default=ignore] pam_unix.so\n' },
            { files },
        )
        expect(problems).toHaveLength(1)
    })

    test('an include that leads nowhere', async () => {
        expect((await pam('@include common-session\n')).problems).toHaveLength(1)
        expect((await pam('auth substack gone\n')).problems).toHaveLength(1)
        const both = {
            '/etc/pam.d/sshd': '@include gone\n',
            '/etc/pam.d/gone': 'auth required pam_unix.so\n',
        }
        expect((await checksOf(both)).problems).toEqual([])
    })

    test('pam.conf names the service first', async () => {
        expect(
            (await checksOf({ '/etc/pam.conf': 'login auth required pam_gone.so\n' })).problems,
        ).toHaveLength(1)
    })

    test('a host whose modules cannot be seen refuses nothing', async () => {
        expect(
            (await checksOf({ '/etc/pam.d/x': 'auth required pam_unix.so\n' }, { files: {} })).problems,
        ).toEqual([])
    })
})

describe('name services', () => {
    const look = (text: string) => checksOf({ '/etc/nsswitch.conf': text })

    test('the usual file', async () => {
        const { problems, findings } = await look(
            'passwd: files\nshadow:\tcompat [NOTFOUND=return] # sss\nhosts: files dns\n',
        )
        expect([problems, findings]).toEqual([[], []])
    })

    test('a service that is not installed is told', async () => {
        const { problems, findings } = await look('passwd: files sss\n')
        expect(problems).toEqual([])
        expect(findings!.map(({ text }) => text)).toEqual([
            '/etc/nsswitch.conf: line 1: passwd asks sss, which is not installed',
        ])
    })

    test('one that asks strangers alone for root is refused', async () => {
        expect((await look('passwd: sss\n')).problems).toHaveLength(1)
        expect((await look('shadow: compat\ngroup: sss\n')).problems).toEqual([])
    })
})

describe('health', () => {
    const look = async (says: FakeOptions['says'], programs: string[] = []) =>
        (await access.health(fakeHost({ says, programs }), { before: [] })).map(
            ({ name, level }) => `${name} ${level}`,
        )
    const root = 'root:x:0:0:root:/root:/bin/bash\n'

    test('root is known, or nobody gets in', async () => {
        expect(await look({ 'getent passwd root': root })).toEqual(['root ok'])
        expect(await look({ 'getent passwd root': { status: 2 } })).toEqual(['root critical'])
        expect(await look({ 'getent passwd root': { hangs: true } })).toEqual(['root warning'])
        expect(await look({})).toEqual(['root warning'])
        expect(await look({ 'getent passwd root': 'root:x:1000:0::/:/bin/sh\n' })).toEqual(['root critical'])
    })

    test('sudo only where it is', async () => {
        const says = { 'getent passwd root': root, 'sudo -n -l': { status: 1, stderr: 'syntax error' } }
        expect(await look(says, ['sudo'])).toEqual(['root ok', 'sudo warning'])
        expect(await look({ 'getent passwd root': root, 'sudo -n -l': 'ok' }, ['sudo'])).toEqual([
            'root ok',
            'sudo ok',
        ])
    })

    test('nothing has to be loaded again', async () => {
        expect(await access.ways(fakeHost(), candidateOver({}, { '/etc/sudoers': 'x' }))).toEqual([])
    })
})
