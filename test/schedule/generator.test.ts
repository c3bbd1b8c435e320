/** The generator: which files a configuration gives, and that they reach the disk all or not at all. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    readlinkSync,
    rmSync,
    writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfigText } from '../../src/format/config.ts'
import { exec, findProgram } from '../../src/host/exec.ts'
import { writeUnits } from '../../src/host/generated-units.ts'
import { checkCalendar } from '../../src/schedule/calendar.ts'
import { jobOf, runGenerator, serviceOf, timerFiles, timerOf } from '../../src/schedule/generator.ts'

const configured = (text: string) => loadConfigText([{ file: 'proxsave.toml', text }])
const two = '[job.daily]\nschedule = "02:30"\n[job.before-work]\nschedule = "Mon..Fri 06:00 Europe/Vienna"\n'

describe('the files', () => {
    test('are a schedule and a link for each job', () => {
        const files = timerFiles(configured(two))
        expect(files.map(file => file.path)).toEqual([
            'proxsave-backup@daily.timer.d/50-schedule.conf',
            'timers.target.wants/proxsave-backup@daily.timer',
            'proxsave-backup@before-work.timer.d/50-schedule.conf',
            'timers.target.wants/proxsave-backup@before-work.timer',
        ])
        expect(files[0]).toMatchObject({
            text: expect.stringContaining('[Timer]\nOnCalendar=\nOnCalendar=02:30\n'),
        })
        expect(files[1]).toMatchObject({ link: '/usr/lib/systemd/system/proxsave-backup@.timer' })
    })

    test('are none without jobs', () => expect(timerFiles(configured(''))).toEqual([]))

    test('never carry a second line or a specifier, whoever made the configuration', () => {
        const job = { name: 'x', targets: [], categories: undefined, note: undefined }
        for (const schedule of ['02:30\nUnit=reboot.target', '02:30\r', '%H', '02:30\0', 'ü'])
            expect(() => timerFiles({ jobs: [{ ...job, schedule }] })).toThrow('no unit file')
    })
})

test('units and jobs name each other, and nothing else is ours', () => {
    expect(jobOf(timerOf('before-work'))).toBe('before-work')
    expect(jobOf(serviceOf('daily'))).toBe('daily')
    for (const unit of [
        'proxsave-backup@.timer',
        'proxsave-backup@A.timer',
        'proxsave-backup@a.timer.d',
        'x@a.timer',
    ])
        expect(jobOf(unit)).toBeUndefined()
})

describe('writing', () => {
    let directory: string
    beforeEach(() => {
        directory = mkdtempSync(join(tmpdir(), 'proxsave-generator-'))
    })
    afterEach(() => rmSync(directory, { recursive: true }))

    test('puts files and links below the directory', () => {
        writeUnits(directory, timerFiles(configured(two)))
        expect(readdirSync(directory).sort()).toEqual([
            'proxsave-backup@before-work.timer.d',
            'proxsave-backup@daily.timer.d',
            'timers.target.wants',
        ])
        expect(readlinkSync(join(directory, 'timers.target.wants/proxsave-backup@daily.timer'))).toBe(
            '/usr/lib/systemd/system/proxsave-backup@.timer',
        )
    })

    test('that fails half-way leaves no timer', () => {
        writeFileSync(join(directory, 'proxsave-backup@before-work.timer.d'), 'in the way')
        expect(() => writeUnits(directory, timerFiles(configured(two)))).toThrow('cannot write the timers')
        expect(readdirSync(join(directory, 'timers.target.wants'))).toEqual([])
        expect(readdirSync(join(directory, 'proxsave-backup@daily.timer.d'))).toEqual([])
    })
})

describe('the program', () => {
    function run(text: string, args = ['/run/normal', '/run/early', '/run/late']) {
        const reported: string[] = []
        const written: string[] = []
        const status = runGenerator(args, {
            readConfig: () => [{ file: '/etc/proxsave/proxsave.toml', text }],
            writeUnits: (directory, files) => written.push(...files.map(file => `${directory}/${file.path}`)),
            report: line => reported.push(line),
        })
        return { status, reported, written }
    }

    test('writes into the first directory and says nothing', () => {
        const { status, reported, written } = run(two)
        expect([status, reported]).toEqual([0, []])
        expect(written).toHaveLength(4)
        expect(written.every(path => path.startsWith('/run/normal/'))).toBe(true)
    })

    test('tells where a configuration is wrong, and writes nothing', () => {
        const { status, reported, written } = run(`${two}[apt]\nhoook = "on"\n`)
        expect([status, written]).toEqual([1, []])
        expect(reported).toEqual([
            'cannot use the configuration: /etc/proxsave/proxsave.toml line 6: unknown key "hoook" in [apt]; no backup is scheduled until that is mended (did you mean "hook"?)',
        ])
    })

    test('called by hand without a directory does nothing', () => {
        expect(run(two, [])).toMatchObject({ status: 2, written: [] })
        expect(run(two, ['relative'])).toMatchObject({ status: 2, written: [] })
    })
})

const analyze = findProgram('systemd-analyze')
if (analyze === undefined)
    console.log('skip: systemd-analyze is not installed, timers are not checked by systemd')

describe.skipIf(analyze === undefined)('systemd', () => {
    test('understands the schedules of the documentation, and says which it does not', async () => {
        expect(await checkCalendar(exec, '02:30')).toMatchObject({
            ok: true,
            next: expect.stringContaining('02:30'),
        })
        expect(await checkCalendar(exec, 'Mon..Fri 01:00')).toMatchObject({ ok: true })
        expect(await checkCalendar(exec, 'teatime')).toEqual({
            ok: false,
            why: 'systemd does not understand "teatime"',
        })
        expect(await checkCalendar(exec, '2001-01-01 00:00')).toEqual({
            ok: false,
            why: '"2001-01-01 00:00" never comes',
        })
    })

    test('accepts the generated timer together with its template', async () => {
        const root = mkdtempSync(join(tmpdir(), 'proxsave-verify-'))
        try {
            const units = join(root, 'units')
            mkdirSync(units)
            writeUnits(units, timerFiles(configured(two)))
            writeFileSync(join(units, 'proxsave-backup@.timer'), '[Timer]\nPersistent=true\n')
            writeFileSync(join(units, 'proxsave-backup@.service'), '[Service]\nExecStart=/bin/true\n')
            const result = await exec(
                ['systemd-analyze', 'verify', '--man=no', join(units, 'proxsave-backup@daily.timer')],
                { env: { SYSTEMD_UNIT_PATH: `${units}:`, PATH: '/usr/bin:/bin', LC_ALL: 'C' } },
            )
            if (!result.found) throw new Error('systemd-analyze is gone')
            expect(Buffer.from(result.stderr).toString()).not.toContain(units)
            expect(
                readFileSync(join(units, 'proxsave-backup@daily.timer.d/50-schedule.conf'), 'utf8'),
            ).toContain('OnCalendar=02:30')
        } finally {
            rmSync(root, { recursive: true })
        }
    })
})

test('a host without systemd-analyze knows nothing about a schedule', async () => {
    expect(await checkCalendar(() => Promise.resolve({ found: false }), '02:30')).toMatchObject({
        ok: undefined,
    })
})
