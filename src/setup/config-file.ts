/** The one file that setup writes, `conf.d/10-setup.toml`: what the configuration does not say yet, and nothing else. */
import { join } from 'node:path'
import type { TaskKind } from '../engine/kinds.ts'
import { type Config, defaultKeep, defaultTargetPath, type SourceConfig } from '../format/config.ts'
import { ensureDirectory, readSmallFile, removeFile, replaceFile } from '../host/atomic.ts'
import { limits } from '../core/limits.ts'

export interface SetupChoices {
    /** Directory of the target `local`. */
    targetPath?: string
    /** systemd calendar expression of the job `daily`. */
    schedule?: string
    /** A remote that archives are read from. */
    source?: SourceConfig
}

export const defaultSchedule = '02:30'

export function setupFile(root: string): string {
    return join(root, 'etc/proxsave/conf.d/10-setup.toml')
}

/** The file's new text, or undefined when the configuration already has a target and a job, and no source is to come. */
export function setupText(
    config: Config,
    choices: SetupChoices,
    before: string | undefined,
): string | undefined {
    const parts: string[] = []
    if (config.targetsBuiltIn)
        parts.push(
            [
                '[target.local]',
                'type = "local"',
                `path = ${JSON.stringify(choices.targetPath ?? defaultTargetPath)}`,
                `keep = "${defaultKeep}"`,
            ].join('\n'),
        )
    if (config.jobs.length === 0) {
        const targets = config.targetsBuiltIn ? ['local'] : config.targets.map(target => target.name)
        parts.push(
            [
                '[job.daily]',
                `schedule = ${JSON.stringify(choices.schedule ?? defaultSchedule)}`,
                `targets = ${JSON.stringify(targets)}`,
            ].join('\n'),
        )
    }
    const { source } = choices
    if (source !== undefined)
        parts.push(
            [
                '# The remote of the Go ProxSave; archives there are only read.',
                `[source.${source.name}]`,
                `type = "${source.type}"`,
                `remote = ${JSON.stringify(source.remote)}`,
            ].join('\n'),
        )
    if (parts.length === 0) return undefined
    const head = before ?? '# Written by proxsavectl setup; later files of conf.d win over it.\n'
    return `${head.trimEnd()}\n\n${parts.join('\n\n')}\n`
}

/**
 * `setup.write-config`: writes the file and has systemd follow. `follow` reads the configuration again; it is called
 * after the undo too, so that no timer stays for a job that is gone.
 */
export function writeConfigTask(root: string, follow: () => Promise<string[]>): TaskKind<{ text: string }> {
    const path = setupFile(root)
    return {
        kind: 'setup.write-config',
        async do({ text }, context) {
            const now = readText(path)
            if (now !== text) {
                context.remember({ before: now ?? null, after: text })
                ensureDirectory(join(root, 'etc/proxsave'), 0o755)
                ensureDirectory(join(root, 'etc/proxsave/conf.d'), 0o755)
                replaceFile(path, text, { mode: 0o640 })
            }
            for (const problem of await follow()) context.warn(problem)
            return { path }
        },
        async undo({ text }, context) {
            const remembered = context.remembered() as { before: string | null; after: string } | undefined
            // Whoever edited it since keeps the edit.
            if (remembered === undefined || readText(path) !== text) return
            if (remembered.before === null) removeFile(path)
            else replaceFile(path, remembered.before, { mode: 0o640 })
            await follow()
        },
    }
}

export function readSetupFile(root: string): string | undefined {
    return readText(setupFile(root))
}

function readText(path: string): string | undefined {
    const bytes = readSmallFile(path, limits.configBytes)
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8')
}
