/**
 * The systemd generator: jobs of the configuration become timers in /run at each boot and each daemon-reload, so that
 * no backup carries them and no timer outlives its job.
 */
import { asFault } from '../core/errors.ts'
import { type Config, type ConfigFile, type JobConfig, loadConfigText } from '../format/config.ts'
import { readConfigFiles } from '../host/config-files.ts'
import { writeKernelLog, writeUnits } from '../host/generated-units.ts'

/** A file or a symbolic link, `path` below the generator's directory. */
export type UnitFile = { path: string; text: string } | { path: string; link: string }

/** The template that the package ships; it says everything about a job's timer but the time. */
export const timerTemplate = '/usr/lib/systemd/system/proxsave-backup@.timer'

/** Names of job timers, as systemd's pattern. */
export const timerPattern = 'proxsave-backup@*.timer'

/** The configuration admits only names that need no escaping in a unit name. */
export function timerOf(job: string): string {
    return `proxsave-backup@${job}.timer`
}

export function serviceOf(job: string): string {
    return `proxsave-backup@${job}.service`
}

/** The job that a timer or service belongs to, or undefined when it is not one of ours. */
export function jobOf(unit: string): string | undefined {
    return /^proxsave-backup@([a-z0-9][a-z0-9-]{0,31})\.(?:timer|service)$/.exec(unit)?.[1]
}

export interface GeneratorHost {
    readConfig(): ConfigFile[]
    writeUnits(directory: string, files: readonly UnitFile[]): void
    /** Where somebody will see it: standard error and the kernel's log. */
    report(line: string): void
}

const generatorHost: GeneratorHost = {
    readConfig: () => readConfigFiles('/'),
    writeUnits,
    report: line => {
        process.stderr.write(`proxsave-generator: ${line}\n`)
        writeKernelLog(line)
    },
}

/**
 * The program that systemd runs with its three directories; the first is for us. Never throws: a generator that fails
 * costs the timers and must not cost more. The status is 0, or 1 with nothing written.
 */
export function runGenerator(args: readonly string[], host: GeneratorHost = generatorHost): number {
    try {
        const [directory] = args
        if (directory === undefined || !directory.startsWith('/')) {
            host.report('cannot write timers: systemd calls this program with three directories')
            return 2
        }
        host.writeUnits(directory, timerFiles(loadConfigText(host.readConfig())))
        return 0
    } catch (error) {
        const { message, hint } = asFault(error)
        host.report(`${message}; no backup is scheduled until that is mended${hint ? ` (${hint})` : ''}`)
        return 1
    }
}

/** What the generator writes for a configuration; the same configuration always gives the same files. */
export function timerFiles(config: Pick<Config, 'jobs'>): UnitFile[] {
    return config.jobs.flatMap(job => [
        { path: `${timerOf(job.name)}.d/50-schedule.conf`, text: scheduleText(job) },
        { path: `timers.target.wants/${timerOf(job.name)}`, link: timerTemplate },
    ])
}

function scheduleText({ name, schedule }: JobConfig): string {
    // The configuration has refused these already; a unit file is worth asking twice.
    if (/[^ -~]|%/.test(schedule))
        throw new Error(`job ${name}: the schedule has characters for no unit file`)
    return [
        `# From [job.${name}] of /etc/proxsave; written anew at each boot and reload.`,
        '[Timer]',
        // An empty value first, so that it replaces what an administrator's drop-in may have set before.
        'OnCalendar=',
        `OnCalendar=${schedule}`,
        '',
    ].join('\n')
}
