/** The kinds of target and of source, one line each. */
import { Fault } from '../core/errors.ts'
import type { RemoteSource, Target } from '../engine/target.ts'
import type { SourceConfig, TargetConfig } from '../format/config.ts'
import type { Mount } from '../host/mounts.ts'
import { LocalTarget } from './local.ts'
import { RcloneSource, type SourceHost } from './rclone.ts'

/** What a target needs to know of the host it runs on. */
export interface TargetHost {
    /** `/`, or the tree that is served instead of it. */
    root: string
    nowMs(): number
    /** What is mounted, by mount point. */
    mounts(): ReadonlyMap<string, Pick<Mount, 'point' | 'type'>>
    /** Mount points that /etc/fstab names, mounted or not; none with another root. */
    configuredMounts(): readonly string[]
}

type Constructors = {
    [Type in TargetConfig['type']]: new (
        config: Extract<TargetConfig, { type: Type }>,
        host: TargetHost,
    ) => Target
}

const targetTypes: Constructors = { local: LocalTarget }

/** The target that a section of the configuration describes. Touches nothing yet. */
export function openTarget(config: TargetConfig, host: TargetHost): Target {
    return new targetTypes[config.type](config, host)
}

/** All targets of a configuration by name, in its order. */
export function openTargets(configs: readonly TargetConfig[], host: TargetHost): Map<string, Target> {
    return new Map(configs.map(config => [config.name, openTarget(config, host)]))
}

type SourceConstructors = {
    [Type in SourceConfig['type']]: new (
        config: Extract<SourceConfig, { type: Type }>,
        host: SourceHost,
    ) => RemoteSource
}

const sourceTypes: SourceConstructors = { rclone: RcloneSource }

/** All sources of a configuration by name, in its order. Touches nothing yet. */
export function openSources(configs: readonly SourceConfig[], host: SourceHost): Map<string, RemoteSource> {
    return new Map(configs.map(config => [config.name, new sourceTypes[config.type](config, host)]))
}

export function targetNamed(targets: ReadonlyMap<string, Target>, name: string): Target {
    const target = targets.get(name)
    if (target !== undefined) return target
    throw new Fault('usage', `cannot use the target ${name}: the configuration has none of that name`, {
        hint: `it has ${[...targets.keys()].join(', ')}`,
    })
}
