/** The configuration: what it means, how files merge, and how every mistake is told with file and line. */
import { describe, expect, test } from 'bun:test'
import { Fault } from '../../src/core/errors.ts'
import { checkConfigText, defaultConfig, loadConfigText, nearestKey } from '../../src/format/config.ts'

const main = '/etc/proxsave/proxsave.toml'
const load = (text: string) =>
    loadConfigText([{ file: main, text }], { categories: ['network', 'ssh', 'zfs'] })

function faultOf(text: string): Fault {
    try {
        load(text)
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error(`no fault for ${text}`)
}

describe('a configuration', () => {
    test('without any file has one local target and no job', () => {
        const config = loadConfigText([])
        expect(config).toEqual(defaultConfig())
        expect(config.targetsBuiltIn).toBe(true)
        expect(config.targets.map(target => [target.name, target.path])).toEqual([
            ['local', '/var/backups/proxsave'],
        ])
        expect(config.backup.encryption).toBeUndefined()
        expect(config.jobs).toEqual([])
    })

    test('is read in full', () => {
        const config = load(`
[backup]
categories = ["network", "ssh"]
exclude = ["/home/*/.cache"]
include = ["/opt/scripts"]
encryption = "none"
cache = false
spool = "/srv/spool"

[target.local]
type = "local"
path = "/var/backups/proxsave/"
keep = "keep-last=3,keep-daily=7"
[target.usb]
type = "local"
path = "/mnt/usb"
min-keep = 5
max-prune = 10

[job.daily]
schedule = "02:30"
targets = ["usb", "local"]
note = "every night"
[job.short]
schedule = "Mon..Fri *-*-* 01:00:00 Europe/Vienna"
targets = ["local"]
categories = ["zfs"]

[guard]
timeout = "5min"
[apt]
hook = "strict"
[history]
keep = 50
undo = "90d"
`)
        expect(config).toEqual({
            backup: {
                categories: ['network', 'ssh'],
                exclude: ['/home/*/.cache'],
                include: ['/opt/scripts'],
                encryption: 'none',
                cache: false,
                spool: '/srv/spool',
            },
            targets: [
                {
                    type: 'local',
                    name: 'local',
                    path: '/var/backups/proxsave',
                    keep: { 'keep-last': 3, 'keep-daily': 7 },
                    minKeep: 2,
                    maxPrune: undefined,
                },
                { type: 'local', name: 'usb', path: '/mnt/usb', keep: {}, minKeep: 5, maxPrune: 10 },
            ],
            targetsBuiltIn: false,
            sources: [],
            jobs: [
                {
                    name: 'daily',
                    schedule: '02:30',
                    targets: ['usb', 'local'],
                    categories: undefined,
                    note: 'every night',
                },
                {
                    name: 'short',
                    schedule: 'Mon..Fri *-*-* 01:00:00 Europe/Vienna',
                    targets: ['local'],
                    categories: ['zfs'],
                    note: undefined,
                },
            ],
            guard: { timeoutMs: 300_000 },
            apt: { hook: 'strict' },
            history: { keep: 50, undoMs: 90 * 24 * 3_600_000 },
        })
    })

    test('merges files key by key, later ones over earlier ones', () => {
        const config = loadConfigText([
            {
                file: 'a',
                text: '[backup]\nexclude = ["/a"]\ncache = false\n[job.daily]\nschedule = "02:30"\n',
            },
            { file: 'b', text: '[backup]\nexclude = ["/b"]\n[job]\ndaily.note = "x"\n' },
        ])
        expect(config.backup.exclude).toEqual(['/b'])
        expect(config.backup.cache).toBe(false)
        expect(config.jobs).toMatchObject([{ schedule: '02:30', note: 'x', targets: ['local'] }])
    })
})

describe('a mistake names file, line and the way out', () => {
    const cases: [string, string, number, string, string?][] = [
        [
            'an unknown key',
            '[job.daily]\nschedul = "02:30"',
            2,
            'unknown key "schedul" in [job.daily]',
            'did you mean "schedule"?',
        ],
        [
            'an unknown section',
            '\n[bakup]\ncache = true',
            2,
            'unknown section [bakup]',
            'did you mean "backup"?',
        ],
        ['a key outside', 'cache = true', 1, 'unknown key "cache" outside any section'],
        [
            'a wrong type',
            '[backup]\ncache = "yes"',
            2,
            '"cache" in [backup] must be true or false, not "yes"',
        ],
        [
            'a wrong word',
            '[backup]\n\nencryption = "gpg"',
            3,
            '"encryption" in [backup] must be "age" or "none", not "gpg"',
        ],
        [
            'a missing key',
            '[target.usb]\ntype = "local"',
            1,
            '"path" is missing in [target.usb]: it must be an absolute path',
        ],
        ['a missing type', '[target.usb]\npath = "/x"', 1, '"type" is missing in [target.usb]'],
        [
            'another type',
            '[target.usb]\ntype = "ftp"',
            2,
            '"type" in [target.usb] must be "local", not "ftp"',
        ],
        [
            'a relative path',
            '[target.usb]\ntype = "local"\npath = "backups"',
            3,
            '"path" in [target.usb] must be an absolute path',
        ],
        [
            'a path with ..',
            '[target.usb]\ntype = "local"\npath = "/srv/../etc"',
            3,
            '"path" in [target.usb] must be an absolute path',
        ],
        [
            'a wrong retention',
            '[target.usb]\ntype = "local"\npath = "/x"\nkeep = "keep-dayly=3"',
            4,
            'there is no rule keep-dayly',
        ],
        [
            'a target that is not there',
            '[target.usb]\ntype = "local"\npath = "/x"\n[job.a]\nschedule = "1:00"\ntargets = ["ubs"]',
            6,
            'there is no [target.ubs], only usb',
            'did you mean "usb"?',
        ],
        [
            'a doubtful target',
            '[target.a]\ntype="local"\npath="/a"\n[target.b]\ntype="local"\npath="/b"\n[job.x]\nschedule="1:00"',
            7,
            '"targets" is missing in [job.x]',
        ],
        [
            'an unknown category',
            '[backup]\ncategories = ["netwrk"]',
            2,
            'there is no category "netwrk"',
            'did you mean "network"?',
        ],
        ['a short guard', '[guard]\ntimeout = "5s"', 2, '"timeout" is 5s: it is 10s to 1h'],
        ['a short time for an undo', '[history]\nundo = "23h"', 2, '"undo" is 23h: it is 1d to 365d'],
        ['a long time for an undo', '[history]\nundo = "53w"', 2, '"undo" is 53w: it is 1d to 365d'],
        ['a time without a unit', '[history]\nundo = "30"', 2, 'cannot read the duration "30"'],
        ['less history than ten changes', '[history]\nkeep = 9', 2, 'must be a whole number from 10 to 500'],
        ['a bare number', '[guard]\ntimeout = 180', 2, '"timeout" in [guard] must be a duration'],
        ['a name for a shell', '[job."a b"]\nschedule = "1:00"', 1, '"a b" cannot be the name of a job'],
        [
            'a newline in a schedule',
            '[job.a]\nschedule = "1:00\\nExecStart=/bin/sh"',
            2,
            '"schedule" in [job.a] must be a systemd calendar expression',
        ],
        [
            'a specifier in a schedule',
            '[job.a]\nschedule = "%n"',
            2,
            '"schedule" in [job.a] must be a systemd calendar expression',
        ],
        ['an array of tables', '[[job]]\nschedule = "1:00"', 1, '"job" must be a section: [job.NAME]'],
        ['a section as a value', 'backup = 3', 1, '"backup" must be a section: [backup]'],
        ['a syntax error', '[backup]\ncache = yes', 2, ''],
        ['a key twice', '[backup]\ncache = true\ncache = false', 3, ''],
        ['a method of Object', '[backup]\nconstructor = 1', 2, 'unknown key "constructor" in [backup]'],
        ['the prototype', '[backup]\n__proto__ = 1', 2, 'unknown key "__proto__" in [backup]'],
        ['the prototype as section', '[__proto__]\nx = 1', 1, 'unknown section [__proto__]'],
    ]
    for (const [what, text, line, message, hint] of cases)
        test(what, () => {
            const fault = faultOf(text)
            expect(fault.kind).toBe('usage')
            expect(fault.message).toStartWith(`cannot use the configuration: ${main} line ${line}: `)
            expect(fault.message).toContain(message)
            expect(fault.message).not.toContain('more)')
            if (hint !== undefined) expect(fault.hint).toBe(hint)
        })

    test('is told once when a mistyped key is also the missing one', () => {
        const { problems } = checkConfigText([
            { file: main, text: '[target.a]\ntype = "local"\npaht = "/x"' },
        ])
        expect(problems.map(problem => problem.message)).toEqual(['unknown key "paht" in [target.a]'])
    })

    test('in a file of conf.d names that file', () => {
        const { problems } = checkConfigText([
            { file: main, text: '[backup]\ncache = true\n' },
            { file: '/etc/proxsave/conf.d/20-mine.toml', text: '\n\n[backup]\ncache = 1\n' },
        ])
        expect(problems).toEqual([
            {
                file: '/etc/proxsave/conf.d/20-mine.toml',
                line: 4,
                message: '"cache" in [backup] must be true or false, not 1',
            },
        ])
    })

    test('comes with all others', () => {
        const text = '[backup]\ncache = 1\nexclud = []\n[job.a]\nschedule = 5\n[apt]\nhook = true\n'
        const { problems } = checkConfigText([{ file: main, text }])
        expect(problems.map(problem => problem.line).sort()).toEqual([2, 3, 5, 7])
        expect(faultOf(text).message).toEndWith('(and 3 more)')
    })

    test('of the syntax does not hide the one in another file', () => {
        const { problems } = checkConfigText([
            { file: 'a', text: 'x' },
            { file: 'b', text: 'y = [' },
        ])
        expect(problems.map(problem => problem.file)).toEqual(['a', 'b'])
    })

    test('of a thousand brackets is a mistake like any other', () => {
        expect(faultOf(`x = ${'['.repeat(200_000)}`).kind).toBe('usage')
        expect(faultOf(`${'a.'.repeat(50_000)}b = 1`).kind).toBe('usage')
    })
})

test('a near key is named, a far one is not', () => {
    const keys = ['schedule', 'targets', 'note']
    expect(nearestKey('shedule', keys)).toBe('schedule')
    expect(nearestKey('Target', keys)).toBe('targets')
    expect(nearestKey('bandwidth', keys)).toBeUndefined()
    expect(nearestKey('x', [])).toBeUndefined()
})

describe('a source', () => {
    test('is a remote of rclone with what it needs', () => {
        expect(load('[source.cloud]\ntype = "rclone"\nremote = "nas:backups/pve1"\n').sources).toEqual([
            {
                type: 'rclone',
                name: 'cloud',
                remote: 'nas:backups/pve1',
                timeoutMs: 30_000,
                config: '/root/.config/rclone/rclone.conf',
            },
        ])
        const config = load(
            '[source.cloud]\ntype = "rclone"\nremote = "n:"\ntimeout = "10min"\nconfig = "/etc/rclone.conf"\n',
        )
        expect(config.sources).toMatchObject([{ timeoutMs: 600_000, config: '/etc/rclone.conf' }])
        expect(config.targetsBuiltIn).toBe(true)
    })

    const rclone = (more: string) => `[source.cloud]\ntype = "rclone"\n${more}\n`
    test.each([
        [rclone(''), '"remote" is missing in [source.cloud]'],
        [rclone('remote = "no colon"'), 'must be a remote of rclone'],
        [rclone('remote = "-vv:x"'), 'must be a remote of rclone'],
        [rclone('remote = ":sftp,pass=x:/"'), 'must be a remote of rclone'],
        [rclone('remote = "n:"\ntimeout = "4s"'), '"timeout" is 4s: it is 5s to 10min'],
        [rclone('remote = "n:"\ntimeout = "11min"'), '"timeout" is 11min: it is 5s to 10min'],
        [rclone('remote = "n:"\ntimeout = "soon"'), 'soon'],
        ['[source.cloud]\ntype = "ftp"\n', '"type" in [source.cloud] must be "rclone"'],
        ['[source.cloud]\nremote = "n:"\n', '"type" is missing in [source.cloud]'],
        ['[source.local]\ntype = "rclone"\nremote = "n:"\n', 'has the name of a target'],
        [rclone('remot = "n:"'), 'unknown key "remot" in [source.cloud]'],
    ])('that is wrong is told: %j', (text, message) => {
        expect(faultOf(text).message).toContain(message)
    })

    test('has its keys and its section corrected', () => {
        expect(faultOf(rclone('remot = "n:"')).hint).toBe('did you mean "remote"?')
        expect(faultOf('[sorce.cloud]\ntype = "rclone"\n').hint).toBe('did you mean "source"?')
    })
})
